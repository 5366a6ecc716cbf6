//go:build unix && !linux

package spawn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// killPause is the time between two looks at a group that was killed.
const killPause = 5 * time.Millisecond

// guardian here is no process: workers are children of the host and held by
// their process groups alone.
type guardian struct {
	mu    sync.Mutex
	procs map[*Process]struct{} // not released yet
	shut  bool
	lost  chan struct{} // never closed
}

// tree is the system's part of a Process.
type tree struct {
	g  *guardian
	mu *sync.Mutex // held while the group is signalled or its leader reaped
}

func limits() []string {
	return []string{
		"on " + runtime.GOOS + " a worker is held by its process group: a descendant that leaves the group escapes",
		"on " + runtime.GOOS + " workers outlive a host that is killed",
		"on " + runtime.GOOS + " only the first process of a worker can be listed",
	}
}

func serve(*os.File) int {
	fmt.Fprintln(os.Stderr, "guardian: not needed on", runtime.GOOS)
	return 1
}

func (g *guardian) start(Options) error {
	g.procs = make(map[*Process]struct{})
	g.lost = make(chan struct{})
	return nil
}

func (g *guardian) describe() string { return "process groups" }

func (g *guardian) spawn(ctx context.Context, s *Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &os.ProcAttr{Dir: s.Dir, Env: s.Env, Files: []*os.File{null, null, null}, Sys: &syscall.SysProcAttr{Setpgid: true}}
	for i, f := range []*os.File{s.Stdout, s.Stderr} {
		if f != nil {
			attr.Files[i+1] = f
		}
	}
	attr.Sys.Credential = credential(s.User)
	if attr.Env == nil {
		attr.Env = []string{} // nil would be our own
	}

	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		return nil, fmt.Errorf("spawn %s: %w", s.Path, ErrLost)
	}
	first, err := os.StartProcess(s.Path, s.Args, attr)
	if err != nil {
		return nil, explain(s.Path, s.Dir, s.User, errnoOf(err))
	}
	p := &Process{pid: first.Pid, done: make(chan struct{}), sys: tree{g, new(sync.Mutex)}}
	g.procs[p] = struct{}{}
	go p.wait(first)
	return p, nil
}

// wait reaps the first process.
func (p *Process) wait(first *os.Process) {
	state, err := first.Wait()
	p.sys.mu.Lock()
	defer p.sys.mu.Unlock()
	e := Exit{Code: -1, Signal: syscall.SIGKILL}
	if err == nil {
		status, _ := state.Sys().(syscall.WaitStatus)
		e = Exit{Code: status.ExitStatus()}
		if status.Signaled() {
			e = Exit{Code: -1, Signal: status.Signal()}
		}
	}
	p.end(e)
}

func (t tree) signal(p *Process, sig syscall.Signal) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-p.done:
		return os.ErrProcessDone
	default:
	}
	err := unix.Kill(-p.pid, sig)
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

func (t tree) kill(ctx context.Context, p *Process) error {
	t.g.mu.Lock()
	_, held := t.g.procs[p]
	t.g.mu.Unlock()
	if !held {
		return nil // released before; the number may be another's now
	}
	tick := time.NewTicker(killPause)
	defer tick.Stop()
	for {
		err := unix.Kill(-p.pid, unix.SIGKILL)
		select {
		case <-p.done:
			// EPERM: nothing but zombies that others have to reap.
			if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EPERM) {
				t.g.mu.Lock()
				delete(t.g.procs, p)
				t.g.mu.Unlock()
				return nil
			}
		default:
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("kill the group of process %d: %w", p.pid, ctx.Err())
		}
	}
}

func (tree) members(p *Process) ([]int, error) {
	select {
	case <-p.done:
		return nil, nil
	default:
		return []int{p.pid}, nil
	}
}

func (g *guardian) close(ctx context.Context) error {
	g.mu.Lock()
	g.shut = true
	var all []*Process
	for p := range g.procs {
		all = append(all, p)
	}
	g.mu.Unlock()
	var errs []error
	for _, p := range all {
		_ = unix.Kill(-p.pid, unix.SIGKILL)
	}
	for _, p := range all {
		errs = append(errs, p.KillTree(ctx))
	}
	return errors.Join(errs...)
}
