package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/perchserver/perch/internal/worker/output"
	"github.com/perchserver/perch/internal/worker/ports"
	"github.com/perchserver/perch/internal/worker/spawn"
)

// Range of the ports that are chosen (spec 2.2).
const (
	minPort = 10000
	maxPort = 48000
)

const (
	lostLimit = 10 * time.Second // for clearing up after a lost guardian
	lastWords = time.Second      // for which a report waits for output; a busy machine takes its time to read it
)

// System is the Machine that this process runs on. All pools of a host share
// one. It starts the guardian when it is first needed, and again when it was
// lost.
type System struct {
	options spawn.Options
	log     *slog.Logger
	watch   *ports.Watch

	mu       sync.Mutex
	guardian *spawn.Guardian // nil: not started, or closed
	closed   bool
}

// NewSystem returns the machine. options say how the guardian is started.
func NewSystem(options spawn.Options, log *slog.Logger) *System {
	return &System{options: options, log: log, watch: ports.NewWatch()}
}

// Close kills what is left of the processes that were spawned and ends the
// guardian. It is called when all pools have stopped.
func (s *System) Close(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	g := s.guardian
	s.guardian = nil
	if g == nil {
		return nil
	}
	return g.Close(ctx)
}

// Prepare starts the guardian ahead of the first worker, which is then ready
// so much sooner. A failure is told when a worker is started.
func (s *System) Prepare() {
	if _, err := s.running(); err != nil {
		s.log.Warn("the guardian process did not start", "err", err)
	}
}

// running returns the guardian, which it starts if there is none.
func (s *System) running() (*spawn.Guardian, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, errors.New("the host is stopping")
	}
	if s.guardian != nil {
		select {
		case <-s.guardian.Lost():
			s.log.Warn("the guardian process was lost and is started again")
		default:
			return s.guardian, nil
		}
	}
	g, err := spawn.Start(s.options)
	if err != nil {
		return nil, err
	}
	s.log.Debug("guardian started", "containment", g.Describe())
	s.guardian = g
	return g, nil
}

// ReservePort implements Machine. A wanted port is only looked at: whether it
// can be bound is known when the application tries.
func (s *System) ReservePort(want uint16) (uint16, func(), error) {
	if want == 0 {
		r, err := ports.Choose(minPort, maxPort, nil)
		if err != nil {
			return 0, nil, err
		}
		return r.Port, r.Release, nil
	}
	taken, err := ports.Listeners(func(port uint16) bool { return port == want })
	if err == nil && len(taken) > 0 {
		return 0, nil, &advisedError{fmt.Errorf("port %d is taken: a process of user %d listens on %v", want, taken[0].UID, taken[0].Addr),
			[]string{"Stop that process, or configure another port, or none to have a free one chosen."}}
	}
	return want, func() {}, nil
}

// OpenLog implements Machine.
func (s *System) OpenLog(root, name string, user *spawn.User) (io.WriteCloser, error) {
	f := output.File{Name: name, Root: root, Start: time.Now(), PID: os.Getpid()}
	if user != nil {
		f.Owner = &output.Owner{UID: user.UID, GID: user.GID, Groups: user.Groups}
	}
	return f.Open(s.log)
}

// AwaitListener implements Machine.
func (s *System) AwaitListener(ctx context.Context, port uint16, tree func() ([]int, error)) (Listener, error) {
	l, pid, err := s.watch.Wait(ctx, port, tree)
	if errors.Is(err, errors.ErrUnsupported) {
		return awaitConnect(ctx, port, tree)
	}
	var foreign *ports.ForeignError
	if errors.As(err, &foreign) {
		err = &advisedError{err, []string{"Stop the process that listens there, or let the application itself listen and not a service that it starts."}}
	}
	if err != nil {
		return Listener{}, err
	}
	address, _ := l.Loopback()
	return Listener{Pid: pid, Address: address}, nil
}

// awaitConnect waits for a listener where the system does not tell who owns
// it: port was free before, so whoever accepts a connection is taken for the
// application.
func awaitConnect(ctx context.Context, port uint16, tree func() ([]int, error)) (Listener, error) {
	tick := time.NewTicker(2 * ports.Tick)
	defer tick.Stop()
	for {
		for _, ip := range []netip.Addr{netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback()} {
			address := netip.AddrPortFrom(ip, port)
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", address.String())
			if err != nil {
				continue
			}
			conn.Close()
			pids, err := tree()
			if err != nil || len(pids) == 0 {
				return Listener{}, fmt.Errorf("find the application that listens on %v: %w", address, err)
			}
			return Listener{Pid: pids[0], Address: address}, nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return Listener{}, ctx.Err()
		}
	}
}

// Listeners implements Machine.
func (s *System) Listeners(pids []int) ([]Listener, error) {
	held, err := ports.Held(pids)
	if err != nil {
		return nil, err
	}
	var list []Listener
	for _, l := range held {
		if pid, err := ports.Owner(l, pids); err == nil {
			list = append(list, Listener{Pid: pid, Address: l.Addr})
		}
	}
	return list, nil
}

// Exited implements Machine.
func (s *System) Exited(ctx context.Context, pid int) <-chan struct{} { return exited(ctx, pid) }

// Spawn implements Machine.
func (s *System) Spawn(ctx context.Context, l Launch) (Process, error) {
	spec := spawn.Spec{Path: l.Path, Args: l.Args, Env: l.Env, Dir: l.Dir, User: l.User, Mark: l.Mark}
	if l.Discard {
		p, err := s.spawn(ctx, spec)
		if err != nil {
			return nil, err
		}
		return &captured{Process: p, log: s.log}, nil
	}
	var pid int // set before lines are read
	options := output.Options{File: l.Log, Log: s.log}
	if l.Line != nil {
		options.Line = func(stream output.Stream, line []byte) { l.Line(pid, stream.String(), line) }
	}
	capture, err := output.New(options)
	if err != nil {
		return nil, err
	}
	spec.Stdout, spec.Stderr = capture.Writers()
	p, err := s.spawn(ctx, spec)
	capture.CloseWriters()
	if err == nil {
		pid = p.Pid()
	}
	capture.Start()
	if err != nil {
		capture.Close()
		return nil, err
	}
	return &captured{p, capture, s.log}, nil
}

// spawn starts a process. When the guardian turns out to be dying, the next
// one does it, once all that the old one held is gone.
func (s *System) spawn(ctx context.Context, spec spawn.Spec) (*spawn.Process, error) {
	g, err := s.running()
	if err != nil {
		return nil, err
	}
	p, err := g.Spawn(ctx, spec)
	if !errors.Is(err, spawn.ErrLost) {
		return p, err
	}
	limit := time.NewTimer(lostLimit)
	defer limit.Stop()
	select {
	case <-g.Lost():
	case <-limit.C:
		return nil, err
	case <-ctx.Done():
		return nil, err
	}
	if g, err = s.running(); err != nil {
		return nil, err
	}
	return g.Spawn(ctx, spec)
}

// captured is a process with its output.
type captured struct {
	*spawn.Process
	capture *output.Capture // nil: discarded
	log     *slog.Logger
}

// Output implements Process.
func (c *captured) Output() string {
	if c.capture == nil {
		return ""
	}
	select {
	case <-c.Done():
		c.capture.AwaitEnd(lastWords)
	default:
	}
	return c.capture.Tail()
}

// Close implements Process.
func (c *captured) Close() {
	if c.capture == nil {
		return
	}
	if err := c.capture.Close(); err != nil {
		c.log.Warn("the application's output was cut off", "pid", c.Pid(), "err", err)
	}
}
