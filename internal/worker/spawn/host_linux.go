package spawn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	beginLimit  = 10 * time.Second // for the guardian to answer the first time
	answerLimit = 5 * time.Second  // for requests without a context
	endLimit    = 5 * time.Second  // for its process to end after its socket closed
)

// guardian is the host's side of the control socket.
type guardian struct {
	log  *slog.Logger
	cmd  *exec.Cmd
	link *link

	cgroup string // the guardian's control group, "" without
	note   string // why it has none

	mu      sync.Mutex // guards what follows
	last    uint64     // id of the newest request
	waiting map[uint64]chan<- message
	trees   map[uint64]*held
	closing bool
	left    error // what could not be killed, known when ended is closed

	ended chan struct{} // closed when the guardian and all that it held are gone
	lost  chan struct{}
}

// held is what the host knows of a tree that was not released.
type held struct {
	proc *Process
	mark []byte
}

// tree is the system's part of a Process.
type tree struct {
	g  *guardian
	id uint64
}

func limits() []string { return nil }

// hasTerminal reports whether this process has a controlling terminal.
func hasTerminal() bool {
	fd, err := unix.Open("/dev/tty", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return false
	}
	unix.Close(fd)
	return true
}

func (g *guardian) start(o Options) error {
	g.log = o.Log
	g.waiting = make(map[uint64]chan<- message)
	g.trees = make(map[uint64]*held)
	g.ended, g.lost = make(chan struct{}), make(chan struct{})

	// If the guardian is killed, its workers' descendants come to us, not to
	// process 1, so that they can be killed.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("become a subreaper: %w", err)
	}
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("make the control socket: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "control")
	defer theirs.Close()
	if g.link, err = newLink(os.NewFile(uintptr(pair[0]), "control")); err != nil {
		return err
	}
	g.cmd = exec.Command(o.Executable, o.Args...)
	g.cmd.ExtraFiles = []*os.File{theirs}
	g.cmd.Stderr = os.Stderr
	g.cmd.Dir = "/"
	// What is typed at our terminal is not for it. Where there is one, it gets
	// a session of its own, so that no application can reach that terminal;
	// where there is none, a process group is enough. A session more has its
	// price: the kernel schedules each as a group of its own (autogroup), and
	// a request then costs a tenth more CPU, measured.
	terminal := hasTerminal()
	g.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: terminal, Setpgid: !terminal}
	if err := g.cmd.Start(); err != nil {
		g.link.conn.Close()
		return err
	}
	theirs.Close()
	go g.run()

	ctx, cancel := context.WithTimeout(context.Background(), beginLimit)
	defer cancel()
	hello, err := g.ask(ctx, message{Op: opBegin, NoCgroup: o.NoCgroup})
	if err != nil {
		_ = g.close(ctx)
		return fmt.Errorf("%s %q: %w (%v)", o.Executable, o.Args, err, g.cmd.ProcessState)
	}
	g.mu.Lock() // the end may be near already
	g.cgroup, g.note = hello.Cgroup, hello.Note
	g.mu.Unlock()
	g.log.Debug("guardian process started", "pid", g.cmd.Process.Pid, "containment", g.describe())
	return nil
}

func (g *guardian) describe() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cgroup != "" {
		return "guardian process with control group " + g.cgroup
	}
	return "guardian process without control groups: " + g.note
}

// run receives until the socket closes, then clears up.
func (g *guardian) run() {
	for {
		m, files, err := g.link.receive()
		if err != nil {
			break
		}
		closeAll(files) // the guardian sends none
		g.dispatch(m)
	}
	g.bury()
}

// dispatch notes an exit and gives an answer to the one who waits for it.
func (g *guardian) dispatch(m message) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch m.Op {
	case opExit:
		if t := g.trees[m.Tree]; t != nil {
			t.proc.end(Exit{Code: m.Code, Signal: m.Signal})
		}
		return
	case opSpawn:
		if t := g.trees[m.ID]; t != nil && m.Failed == nil {
			t.proc.pid = m.Pid
		} else {
			delete(g.trees, m.ID)
		}
	case opKill:
		delete(g.trees, m.Tree)
	}
	if answer := g.waiting[m.ID]; answer != nil {
		delete(g.waiting, m.ID)
		answer <- m // has room for one
	}
}

// ask sends a request and waits for its answer.
func (g *guardian) ask(ctx context.Context, m message, files ...*os.File) (message, error) {
	answer := make(chan message, 1)
	g.mu.Lock()
	if m.ID == 0 {
		m.ID = g.nextID()
	}
	g.waiting[m.ID] = answer
	g.mu.Unlock()
	defer func() {
		g.mu.Lock()
		delete(g.waiting, m.ID)
		g.mu.Unlock()
	}()

	err := g.link.send(m, files...)
	if errors.Is(err, errTooBig) {
		return message{}, err
	}
	if err != nil {
		// A frame cut short cannot be taken back, and a guardian that does
		// not read is none: without its socket it kills everything and ends.
		g.link.conn.Close()
		return message{}, fmt.Errorf("%w: %w", ErrLost, err)
	}
	select {
	case m := <-answer:
		return m, nil
	case <-ctx.Done():
		return message{}, ctx.Err()
	case <-g.ended:
		return message{}, ErrLost
	}
}

// nextID is called with mu held.
func (g *guardian) nextID() uint64 {
	g.last++
	return g.last
}

func (g *guardian) spawn(ctx context.Context, s *Spec) (*Process, error) {
	p := &Process{done: make(chan struct{})}
	g.mu.Lock()
	id := g.nextID()
	p.sys = tree{g, id}
	g.trees[id] = &held{proc: p, mark: []byte(s.Mark)}
	g.mu.Unlock()

	var files []*os.File
	for _, f := range []*os.File{s.Stdout, s.Stderr} {
		if f != nil {
			files = append(files, f)
		}
	}
	m, err := g.ask(ctx, message{Op: opSpawn, ID: id, Spec: toWire(s)}, files...)
	switch {
	case err != nil:
		// The guardian may have started it, or be about to.
		_ = g.link.send(message{Op: opKill, Tree: id})
		return nil, fmt.Errorf("spawn %s: %w", s.Path, err)
	case m.Failed != nil:
		return nil, &Error{Reason: m.Failed.Reason, Path: string(m.Failed.Path), User: s.User, Err: m.Failed.Errno}
	}
	return p, nil
}

func (t tree) signal(p *Process, sig syscall.Signal) error {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	m, err := t.g.ask(ctx, message{Op: opSignal, Tree: t.id, Signal: sig})
	switch {
	case err != nil:
		return fmt.Errorf("signal process %d: %w", p.pid, err)
	case m.Errno == unix.ESRCH:
		return os.ErrProcessDone
	case m.Errno != 0:
		return fmt.Errorf("signal process %d: %w", p.pid, m.Errno)
	}
	return nil
}

func (t tree) kill(ctx context.Context, p *Process) error {
	_, err := t.g.ask(ctx, message{Op: opKill, Tree: t.id})
	if errors.Is(err, ErrLost) {
		select {
		case <-t.g.ended: // nothing is left
			return nil
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	if err != nil {
		return fmt.Errorf("kill the tree of process %d: %w", p.pid, err)
	}
	return nil
}

func (t tree) members(p *Process) ([]int, error) {
	ctx, cancel := context.WithTimeout(context.Background(), answerLimit)
	defer cancel()
	m, err := t.g.ask(ctx, message{Op: opTree, Tree: t.id})
	if err == nil && m.Errno != 0 {
		err = m.Errno
	}
	if err != nil {
		return nil, fmt.Errorf("list the tree of process %d: %w", p.pid, err)
	}
	return m.Pids, nil
}

func (g *guardian) close(ctx context.Context) error {
	g.mu.Lock()
	g.closing = true
	g.mu.Unlock()
	// Half of the lifeline: the guardian hears that we are done, and we still
	// hear from it how its workers end.
	_ = g.link.conn.CloseWrite()
	select {
	case <-g.ended:
		return g.left
	case <-ctx.Done():
	}
	_ = g.cmd.Process.Kill()
	<-g.ended // bounded by bury
	return errors.Join(fmt.Errorf("stop the guardian process: %w, so it was killed", ctx.Err()), g.left)
}
