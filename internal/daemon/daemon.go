// Package daemon puts a running host together: it builds the plan, starts the
// stages in their order, follows changes of the configuration and of the
// applications' files, and stops everything in the reverse order. It owns what
// outlives a plan: listeners, connections, pools, the guardian.
//
// internal/cli imports it; it imports the plan and the stages.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/handler/forward"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/logs"
	"github.com/perchserver/perch/internal/plan"
	"github.com/perchserver/perch/internal/serve"
	"github.com/perchserver/perch/internal/sockio"
	"github.com/perchserver/perch/internal/worker"
	"github.com/perchserver/perch/internal/worker/spawn"
)

// Options say what to run.
type Options struct {
	Folder   string // absolute
	Bindings []listen.Binding
	Environ  []string
	Log      *slog.Logger

	// Executable and GuardianArgs start this program in the guardian's role.
	Executable   string
	GuardianArgs []string

	Version string    // of this program, for debug logs
	Stderr  io.Writer // where debug logs with the console token go
}

// Daemon is a running host.
type Daemon struct {
	opts    Options
	watcher *sockio.Watcher
	forward *forward.Forwarder
	system  *worker.System
	sockets *listen.Group
	server  *serve.Server
	files   *files

	mu      sync.Mutex // a change at a time
	current atomic.Pointer[plan.Plan]
	user    *worker.Account
	debug   []*logs.Debug
	told    map[string]bool // problems of the running plan

	retiring sync.WaitGroup // pools that no plan has any more
}

// Start starts everything, in this order: clock and idle connections, the
// forwarder, the sockets, the plan, the server, the watch over files. If one
// step fails, what was started is stopped again.
func Start(o Options) (*Daemon, error) {
	d := &Daemon{opts: o}
	steps := []func() error{d.startWatcher, d.open, d.startSystem, d.build, d.startServer}
	for _, step := range steps {
		if err := step(); err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return nil, errors.Join(err, d.Stop(ctx))
		}
	}
	return d, nil
}

func (d *Daemon) startWatcher() (err error) {
	if d.watcher, err = sockio.NewWatcher(); err != nil {
		return fmt.Errorf("watch connections: %w", err)
	}
	d.forward = forward.New(d.watcher)
	return nil
}

// open binds the sockets first: a port that is taken should be known before
// anything else, and ports that the system chooses belong to the plan.
func (d *Daemon) open() (err error) {
	d.sockets, err = listen.Open(d.opts.Bindings)
	return err
}

func (d *Daemon) startSystem() error {
	d.system = worker.NewSystem(spawn.Options{
		Executable: d.opts.Executable,
		Args:       d.opts.GuardianArgs,
		Log:        d.opts.Log,
	}, d.opts.Log)
	return nil
}

// build makes the first plan.
func (d *Daemon) build() error {
	d.files = newFiles(d)
	var warning string
	var err error
	if d.user, warning, err = owner(d.opts.Folder); err != nil {
		return err
	}
	p, err := plan.Build(d.input(), d.parts(), nil)
	if err != nil {
		return err
	}
	d.current.Store(p)
	d.tell(p.Problems)
	if p.Problems.HasErrors() {
		d.opts.Log.Error("requests are answered with 500 until the configuration is mended", "folder", d.opts.Folder)
	}
	if p.Application != nil && warning != "" {
		d.opts.Log.Warn(warning)
	}
	return nil
}

func (d *Daemon) input() plan.Input {
	return plan.Input{Folder: d.opts.Folder, Bindings: d.sockets.Bindings, Environ: d.opts.Environ, User: d.user}
}

func (d *Daemon) parts() plan.Parts {
	return plan.Parts{
		Log:     d.opts.Log,
		Forward: d.forward,
		Machine: d.system,
		AppLog:  d.applicationLog,
		Output:  d.output,
		Visited: d.files.visited,
	}
}

func (d *Daemon) startServer() error {
	d.server = serve.New(d.running().Connections, d.watcher, d.running().Handler)
	for _, s := range d.sockets.Sockets {
		d.server.Serve(serve.Listener{Listener: s, URL: s.URL})
	}
	d.files.start()
	if d.running().Application != nil {
		d.system.Prepare()
	}
	return nil
}

// output logs one line of an application.
func (d *Daemon) output(application string, pid int, stream string, line []byte) {
	logs.Line(d.opts.Log, application, pid, stream, line)
}

// applicationLog opens the debug log that the environment and web.config ask
// for, beside the host's log (spec 5.4). It is open until the host stops.
func (d *Daemon) applicationLog(root string, settings map[string]string) *slog.Logger {
	environ := func(name string) string {
		for _, e := range d.opts.Environ {
			if n, value, ok := strings.Cut(e, "="); ok && strings.EqualFold(n, name) {
				return value
			}
		}
		return ""
	}
	own := logs.DebugSource{Level: settings["debuglevel"], File: settings["debugfile"]}
	if d.user != nil && own.File != "" && !filepath.IsLocal(strings.ReplaceAll(own.File, `\`, "/")) {
		// The file would be opened with the rights of root, and web.config is
		// in the hands of somebody else.
		d.opts.Log.Warn("debugFile leads out of the application's folder and is left out: the folder does not belong to root", "file", own.File)
		own.File = ""
	}
	debug, err := logs.OpenDebug(logs.DebugOptions{
		Root:    root,
		Sources: []logs.DebugSource{logs.DebugEnvironment(environ), own},
		Console: d.opts.Stderr,
		Program: "perch",
		Version: d.opts.Version,
	})
	if err != nil {
		d.opts.Log.Warn("the debug log is not as it should be", "err", err)
	}
	d.debug = append(d.debug, debug)
	return debug.Logger(d.opts.Log)
}

// tell logs the problems of a plan that were not in the one before.
func (d *Daemon) tell(problems config.Problems) {
	told := make(map[string]bool, len(problems))
	for _, p := range problems {
		line := p.String()
		if told[line] = true; d.told[line] {
			continue
		}
		if p.Severity == config.Error {
			d.opts.Log.Error(line, "hint", p.Hint)
		} else {
			d.opts.Log.Warn(line)
		}
	}
	d.told = told
}

// URLs are where the host listens, one for each binding.
func (d *Daemon) URLs() []string { return d.sockets.URLs() }

// change is why the configuration is read again.
type change struct {
	why string

	// touched replaces the workers though their settings stay (spec 2.12:
	// touching web.config is enough).
	touched bool

	// asked is set when somebody wants to know that it was done.
	asked bool
}

// Reload reads the configuration again and, if it can be used, makes it the
// running one: a new plan is built beside the old one, which goes on serving
// if the new one has errors. Workers are replaced if what they run with has
// changed.
func (d *Daemon) Reload(why string) { d.reload(change{why: why, asked: true}) }

func (d *Daemon) reload(c change) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.running()
	next, err := plan.Build(d.input(), d.parts(), before)
	switch {
	case err != nil:
		d.opts.Log.Error("the configuration was not taken over; the one before stays", "why", c.why, "err", err)
		return
	case next.WebConfig == "" && before.WebConfig != "" && !c.asked:
		// A deployment that moves folders takes it away for a moment.
		d.opts.Log.Warn("web.config is gone; the configuration before stays until it is there again, or until HUP")
		return
	}
	d.tell(next.Problems)
	if next.Problems.HasErrors() {
		d.opts.Log.Error("the configuration has errors and was not taken over; the one before stays", "why", c.why)
		return
	}
	d.adopt(before, next, c)
}

// adopt makes next the running plan.
func (d *Daemon) adopt(before, next *plan.Plan, c change) {
	d.current.Store(next)
	d.server.Apply(next.Connections)
	d.server.SetHandler(next.Handler)
	d.files.forget()
	was, is := before.Application, next.Application
	switch {
	case is == nil && was != nil:
		d.retiring.Go(func() { d.retire(was.Pool) })
	case is != nil && was != nil && (is.Changed(was) || c.touched && !is.IgnoreConfigChanges):
		next.Commit(c.why)
	}
	if c.asked || c.touched {
		d.opts.Log.Info("configuration taken over", "why", c.why)
	}
}

// retire stops a pool that no plan has any more.
func (d *Daemon) retire(p *worker.Pool) {
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	p.Stop(ctx)
}

// awaitStarts lets starts end that requests wait for: those requests came
// before the stop, and are to be answered.
func awaitStarts(ctx context.Context, pool *worker.Pool) {
	const look = 20 * time.Millisecond
	t := time.NewTicker(look)
	defer t.Stop()
	for pool.Status().Starting > 0 {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// Stop stops everything, in the reverse order of Start: no new connection, no
// new configuration, exchanges end while the applications are asked to stop
// (which is what ends WebSockets), then the rest. When ctx ends, what is left
// is cut.
func (d *Daemon) Stop(ctx context.Context) error {
	var errs []error
	if d.files != nil {
		d.files.stop()
	}
	if d.server != nil {
		d.server.StopAccepting()
	}
	var pool *worker.Pool
	if p := d.running(); p != nil && p.Application != nil {
		pool = p.Application.Pool
	}
	var stopping sync.WaitGroup
	if pool != nil {
		stopping.Go(func() {
			awaitStarts(ctx, pool)
			pool.Stop(ctx)
		})
	}
	if d.server != nil {
		if err := d.server.Shutdown(ctx); err != nil {
			errs = append(errs, fmt.Errorf("requests were cut: %w", err))
		}
	}
	stopping.Wait()
	d.retiring.Wait()
	if d.sockets != nil {
		d.sockets.Close()
	}
	if d.system != nil {
		// The applications are gone; the guardian needs no time of theirs.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := d.system.Close(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if d.forward != nil {
		d.forward.Close()
	}
	if d.watcher != nil {
		d.watcher.Close()
	}
	for _, log := range d.debug {
		errs = append(errs, log.Close())
	}
	return errors.Join(errs...)
}
