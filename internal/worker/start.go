package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// errNotListening is the cause of a start whose application ran, but opened
// no port in time.
var errNotListening = errors.New("no listener within the startup time limit")

// journey is one start: the steps from a configured command to a ready
// worker, with up to two attempts at the later ones.
type journey struct {
	pool     *Pool
	settings *Settings
	log      *slog.Logger

	environ  *environ
	resolver resolver
	command  command
	token    string
	file     io.WriteCloser // stdout log; nil: none

	report StartError // filled in on the way
	step   Step
	since  time.Time // begin of step
}

// run makes the journey. Without worker and failure, the application turned
// out to be offline, and nothing was started.
func (p *Pool) run(ctx context.Context, settings *Settings) (*Worker, *StartError) {
	if p.lookOffline(settings.AppOffline) != nil {
		return nil, nil
	}
	j := &journey{pool: p, settings: settings, log: p.log, environ: newEnviron(settings)}
	j.resolver = resolver{root: settings.Root, lookup: j.environ.lookup}
	j.report.Application, j.report.Folder = settings.Name, settings.Root
	w, err := j.travel(ctx)
	if err == nil {
		return w, nil
	}
	closeLog(j.file, j.log)
	if ctx.Err() == nil {
		j.log.Error("the application did not start", "event", EventStartFailed, "step", j.report.Step, "err", j.report.Err,
			"attempts", j.report.Attempts, "advice", j.report.advice(), "output", j.report.Output)
	}
	return nil, &j.report
}

// travel prepares once and then makes its attempts, back to back (spec 2.7).
func (j *journey) travel(ctx context.Context) (*Worker, error) {
	if err := j.prepare(); err != nil {
		return nil, j.fail(err)
	}
	last := j.settings.attempts()
	for n := 1; ; n++ {
		j.report.Attempts = n
		w, err := j.attempt(ctx)
		if err == nil || ctx.Err() != nil {
			return w, err
		}
		j.log.Warn("start attempt failed", "event", EventAttemptFailed, "step", j.report.Step, "port", j.report.Port,
			"err", j.report.Err, "attempts_left", last-n, "output", lastLines(j.report.Output, 10))
		if n == last {
			return nil, err
		}
	}
}

// enter begins a step and notes how long the one before it took.
func (j *journey) enter(step Step) {
	now := time.Now()
	if j.step != "" {
		j.report.Journey = append(j.report.Journey, StepTime{j.step, now.Sub(j.since)})
	}
	j.step, j.since = step, now
}

// fail notes the cause and the step in the report.
func (j *journey) fail(err error) error {
	j.report.Step, j.report.Err = j.step, err
	j.enter("")
	var advised *advisedError
	if errors.As(err, &advised) {
		j.report.Advice = advised.advice
	} else {
		j.report.Advice = spawnAdvice(err)
	}
	return err
}

// prepare does what is done once per start. What fails here would fail again.
func (j *journey) prepare() (err error) {
	j.enter(StepCommand)
	path, tail := j.settings.commandLine(j.environ)
	j.report.Command = append([]string{path}, splitArguments(tail)...)
	if j.command, err = j.resolver.command(path, tail); err != nil {
		return err
	}

	j.enter(StepEnvironment)
	j.token = j.environ.token()
	if _, err = j.environ.fixedPort(); err != nil {
		j.log.Error("no port could be chosen", "event", EventStarted, "err", err)
		return &advisedError{err, []string{"Correct the variable in web.config, or remove it to have a free port chosen."}}
	}

	j.enter(StepLog)
	if s := j.settings; s.StdoutLog != "" && !s.DiscardOutput {
		if j.file, err = j.pool.machine.OpenLog(s.Root, s.StdoutLog, s.user()); err != nil {
			j.log.Warn("the stdout log cannot be written; the application runs without it", "event", EventStdoutLog, "err", err)
			j.file = nil
		}
	}
	return nil
}

// attempt starts the process and waits until it listens. A failure leaves
// nothing behind.
func (j *journey) attempt(ctx context.Context) (w *Worker, err error) {
	r := &j.report
	r.Port, r.Exit, r.Listens, r.Missing, r.Output = 0, nil, nil, nil, ""

	j.enter(StepPort)
	port, text, release, err := j.choosePort(ctx)
	if err != nil {
		return nil, j.fail(err)
	}
	r.Port = port

	j.enter(StepSpawn)
	spawning, cancel := context.WithTimeout(ctx, max(j.settings.StartupTimeLimit, time.Second))
	process, err := j.pool.machine.Spawn(spawning, j.launch(text))
	cancel()
	if err != nil {
		release()
		return nil, j.fail(err)
	}

	j.enter(StepListen)
	found, err := j.await(ctx, process, port)
	if err != nil {
		j.fail(err)
		j.diagnose(process)
		j.pool.destroy(process)
		release()
		r.Output = process.Output()
		return nil, err
	}

	j.enter(StepReady)
	return j.ready(process, found, port, release), nil
}

// choosePort sets a port aside, until release is called. text is how the
// application is told.
func (j *journey) choosePort(ctx context.Context) (port uint16, text string, release func(), err error) {
	text, _ = j.environ.fixedPort()
	fixed, _ := strconv.Atoi(strings.TrimSpace(text))
	leave := func() {}
	if text != "" {
		select {
		case j.pool.fixedPort <- struct{}{}:
			leave = func() { <-j.pool.fixedPort }
		case <-ctx.Done():
			return 0, "", nil, ctx.Err()
		}
	}
	port, free, err := j.pool.machine.ReservePort(uint16(fixed))
	if err != nil {
		leave()
		j.log.Error("no port could be chosen", "event", EventStarted, "err", err)
		return 0, "", nil, err
	}
	if text == "" {
		text = strconv.Itoa(int(port))
	}
	return port, text, func() { free(); leave() }, nil
}

// launch is the process to start, told of its port.
func (j *journey) launch(port string) Launch {
	s, instance := j.settings, newGUID()
	args := append([]string{j.command.path}, j.command.args...)
	if s.Protocol == HTTPPlatform {
		for i, arg := range args[1:] {
			args[i+1] = expandPort(arg, port)
		}
	}
	j.report.Command = args
	l := Launch{
		Path: j.command.path, Args: args, Dir: s.Root, User: s.user(),
		Env: j.environ.block(port, j.token, instance), Mark: instance,
		Discard: s.DiscardOutput, Line: s.Line,
	}
	if j.file != nil {
		l.Log = j.file
	}
	return l
}

// await waits until the process or a descendant listens on port at an
// address that loopback reaches (spec 2.6). The end of the process is noticed
// at once.
func (j *journey) await(ctx context.Context, process Process, port uint16) (Listener, error) {
	limit := j.settings.StartupTimeLimit
	wait, cancel := whileRunning(ctx, process, limit)
	defer cancel()
	l, err := j.pool.machine.AwaitListener(wait, port, process.Tree)
	if err == nil || ctx.Err() != nil {
		return l, err
	}
	select {
	case <-process.Done():
		return l, fmt.Errorf("the application ended with %v before it listened on port %d", process.Exit(), port)
	default:
	}
	if wait.Err() != nil {
		return l, fmt.Errorf("port %d: %w of %v", port, errNotListening, limit)
	}
	return l, err
}

// diagnose looks at a process that failed, while it is still there.
func (j *journey) diagnose(process Process) {
	r := &j.report
	select {
	case <-process.Done():
		exit := process.Exit()
		r.Exit = &exit
		r.Missing = j.resolver.missingFrameworks(j.command)
	default:
		if pids, err := process.Tree(); err == nil {
			listeners, _ := j.pool.machine.Listeners(pids)
			for _, l := range listeners {
				r.Listens = append(r.Listens, l.Address)
			}
		}
	}
}

// ready makes the worker.
func (j *journey) ready(process Process, found Listener, port uint16, release func()) *Worker {
	w := &Worker{
		drained: make(chan struct{}), gone: make(chan struct{}), leave: make(chan struct{}),
		settings: j.settings, process: process, listener: found.Pid, port: port, since: time.Now(),
	}
	file, log := j.file, j.log
	w.free = func() {
		release()
		closeLog(file, log)
	}
	w.channel = j.settings.Connect(Endpoint{
		Address: found.Address, Token: j.token,
		Gone: w.gone, Refused: func() { j.pool.refused(w) }, Linger: w.linger,
	})
	j.enter("")
	args := []any{"event", EventStarted, "pid", process.Pid(), "listener", found.Pid, "address", found.Address.String()}
	var total time.Duration
	for _, t := range j.report.Journey {
		total += t.Took
	}
	args = append(args, "took", total.Round(time.Millisecond))
	j.log.Info("worker started", args...)
	return w
}

// closeLog closes a stdout log; nil is none.
func closeLog(file io.Closer, log *slog.Logger) {
	if file == nil {
		return
	}
	if err := file.Close(); err != nil {
		log.Warn("the stdout log is not complete", "event", EventStdoutLog, "err", err)
	}
}
