// Package spawn starts the processes of applications and contains them: every
// process that a worker leaves behind can be named, signalled and killed, and
// none outlives its host, even when the host is killed with SIGKILL.
//
// On Linux one small guardian process (the host's own binary in a hidden
// role, see Serve) is parent and subreaper of all workers. Its control socket
// is a lifeline: when that closes, for whatever reason, the guardian kills
// every tree and ends. On Windows a job object with kill-on-close does the
// same. Limits names what a system cannot do.
//
// It stands below the pool of workers. internal/worker may import it, and the
// command that plays the guardian's role.
package spawn

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// ErrLost reports that the guardian ended without being asked to, and its
// workers with it.
var ErrLost = errors.New("the guardian process is gone")

// Options say how to start a guardian.
type Options struct {
	// Executable is the absolute path of the program that plays the
	// guardian's role by calling Serve. Systems without a guardian process
	// ignore it.
	Executable string

	// Args are the arguments that select that role, without the program's
	// own name.
	Args []string

	// NoCgroup keeps the guardian from using control groups where it could.
	NoCgroup bool

	// Log receives the guardian's fate. Nil discards it.
	Log *slog.Logger
}

// Guardian starts workers and holds them. Its methods may be called
// concurrently.
type Guardian struct{ sys guardian }

// Start starts a guardian and returns when it is ready to spawn, or after ten
// seconds with an error. A process needs one guardian; after it was lost,
// Start may be called again.
func Start(o Options) (*Guardian, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	g := &Guardian{}
	if err := g.sys.start(o); err != nil {
		return nil, fmt.Errorf("start the guardian process: %w", err)
	}
	return g, nil
}

// Spec is what to run. Nothing is taken from the host's own environment.
type Spec struct {
	Path string   // the program, an absolute path; no search, no shell
	Args []string // the whole argument list, the program's name first
	Env  []string // the whole environment, NAME=value
	Dir  string   // the working folder, an absolute path

	// Stdout and Stderr are the write ends of pipes, or any files. The caller
	// still owns them and closes them after Spawn. Nil is the null device,
	// which standard input always is.
	Stdout, Stderr *os.File

	// User to run as. Nil is the host's own user.
	User *User

	// Mark is a secret value in Env, unique to this worker, by which a
	// descendant that cut all its ties is still known as the worker's. Empty
	// does without.
	Mark string
}

// User is a numeric identity.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary groups; none when empty
}

func (s *Spec) check() error {
	switch {
	case !filepath.IsAbs(s.Path):
		return fmt.Errorf("the program's path %q is not absolute", s.Path)
	case !filepath.IsAbs(s.Dir):
		return fmt.Errorf("the working folder %q is not absolute", s.Dir)
	case len(s.Args) == 0:
		return errors.New("the argument list is empty")
	case s.User != nil && len(s.User.Groups) > maxGroups:
		return fmt.Errorf("user %d is in more than %d groups", s.User.UID, maxGroups)
	}
	for _, list := range [][]string{{s.Path, s.Dir}, s.Args, s.Env} {
		for _, item := range list {
			if strings.IndexByte(item, 0) >= 0 {
				return fmt.Errorf("%.40q contains a zero byte", item)
			}
		}
	}
	return nil
}

// maxGroups is NGROUPS_MAX of Linux.
const maxGroups = 65536

// Spawn starts a process in a process group of its own, with default signal
// actions, no blocked signals and no open files but the three standard ones.
// A program that cannot be started is an *Error. When ctx ends first, the
// process is killed if it was started at all.
//
// Every process that Spawn returned must be released with KillTree.
func (g *Guardian) Spawn(ctx context.Context, s Spec) (*Process, error) {
	if err := s.check(); err != nil {
		return nil, &Error{Path: s.Path, Err: err}
	}
	return g.sys.spawn(ctx, &s)
}

// Close kills every process that the guardian holds, and ends it. It returns
// nil when nothing is left. When ctx ends first, the guardian is killed and
// the error says so. It may be called more than once.
func (g *Guardian) Close(ctx context.Context) error { return g.sys.close(ctx) }

// Lost is closed when the guardian ended without Close and what it held has
// been killed as far as it could be found.
func (g *Guardian) Lost() <-chan struct{} { return g.sys.lost }

// Describe says in a few words by which means workers are held.
func (g *Guardian) Describe() string { return g.sys.describe() }

// Limits names what containment cannot do on this operating system. It is
// empty where there is nothing to say.
func Limits() []string { return limits() }

// Serve plays the guardian's role on the control socket that Start handed to
// this process as file descriptor 3, and returns its exit code when all is
// done. It must be called from the main goroutine, the process must do
// nothing else and exit with the code when it returns.
func Serve(control *os.File) int { return serve(control) }

// Process is a worker's first process and the tree that grew from it. Its
// methods may be called concurrently.
type Process struct {
	pid  int
	done chan struct{}
	exit Exit // written before done is closed
	sys  tree
}

// Pid returns the process id of the first process.
func (p *Process) Pid() int { return p.pid }

// Done is closed when the first process has ended. Others of its tree may
// still run.
func (p *Process) Done() <-chan struct{} { return p.done }

// Exit tells how the first process ended. It is the zero Exit until Done is
// closed.
func (p *Process) Exit() Exit {
	select {
	case <-p.done:
		return p.exit
	default:
		return Exit{}
	}
}

// end notes how the first process ended. It is called once.
func (p *Process) end(e Exit) {
	p.exit = e
	close(p.done)
}

// Ask asks the worker to end: SIGTERM to its process group, CTRL_BREAK on
// Windows. It returns os.ErrProcessDone when the first process has ended.
func (p *Process) Ask() error { return p.Signal(syscall.SIGTERM) }

// Signal sends a signal to the worker's process group. It returns
// os.ErrProcessDone when the first process has ended.
func (p *Process) Signal(sig syscall.Signal) error { return p.sys.signal(p, sig) }

// KillTree kills everything that belongs to the worker, descendants that left
// its process group or session included, and returns nil when nothing of it
// is left. When ctx ends first, the guardian goes on killing. It may be called
// more than once.
func (p *Process) KillTree(ctx context.Context) error { return p.sys.kill(ctx, p) }

// Tree returns the ids of the processes that belong to the worker now, in no
// order, without those that have ended. After KillTree it is empty.
func (p *Process) Tree() ([]int, error) { return p.sys.members(p) }

// Exit tells how a process ended.
type Exit struct {
	Code   int            // exit code; -1 when Signal ended it
	Signal syscall.Signal // 0 when the process exited by itself
}

// String returns "exit code 3" or "signal 9 (killed)".
func (e Exit) String() string {
	if e.Signal != 0 {
		return fmt.Sprintf("signal %d (%v)", int(e.Signal), e.Signal)
	}
	return fmt.Sprintf("exit code %d", e.Code)
}
