package worker

import (
	"context"
	"io"
	"net/netip"
	"time"

	"github.com/perchserver/perch/internal/worker/spawn"
)

// Machine is what a pool needs of the operating system. System is the real
// one.
type Machine interface {
	// ReservePort sets a free port aside, so that no other host on this
	// machine chooses it, until release is called: want, or any of 10000 to
	// 48000 when want is 0.
	ReservePort(want uint16) (port uint16, release func(), err error)

	// OpenLog creates the stdout log file of one start, with the rights of
	// the application's user. name is as configured (spec 5.1). A file system
	// that hangs holds up neither this call nor the file's methods for long.
	OpenLog(root, name string, user *spawn.User) (io.WriteCloser, error)

	// Spawn starts a process that cannot outlive the host.
	Spawn(ctx context.Context, l Launch) (Process, error)

	// AwaitListener waits until a process of tree listens on port, and
	// returns the loopback address that reaches it. It returns an error when
	// ctx ends, and when it is clear that there will be no such listener.
	AwaitListener(ctx context.Context, port uint16, tree func() ([]int, error)) (Listener, error)

	// Listeners returns every listening socket of the processes, with the
	// address that it is bound to.
	Listeners(pids []int) ([]Listener, error)

	// Exited is closed when a process that is not the host's child has
	// ended. It is nil where the operating system cannot tell. The watch
	// ends with ctx.
	Exited(ctx context.Context, pid int) <-chan struct{}
}

// Launch is one process to start.
type Launch struct {
	Path string
	Args []string // argv, with its first element
	Env  []string
	Dir  string
	User *spawn.User // nil: the host's own

	// Mark is a text in Env that no other process has there. Orphans are
	// known by it where the kernel has no better way.
	Mark string

	Discard bool      // output goes nowhere
	Log     io.Writer // raw output also goes here; may be nil
	Line    func(pid int, stream string, line []byte)
}

// Listener is a listening socket that was found.
type Listener struct {
	Pid     int // of an owner; the first process of the tree where it is one
	Address netip.AddrPort
}

// Process is a process that was started, with its descendants and its output.
type Process interface {
	Pid() int
	Done() <-chan struct{} // closed when the process itself has ended
	Exit() spawn.Exit      // valid after Done
	Tree() ([]int, error)  // pids of the process and of everything below it

	// Ask asks the process to end: SIGTERM, or CTRL_BREAK on Windows.
	Ask() error

	// KillTree kills the process and everything below it, and returns when
	// nothing of that is left, or when ctx ends.
	KillTree(ctx context.Context) error

	// Output returns the last output, 30,000 characters at most. For a
	// process that has just ended it waits a moment for the last words.
	Output() string

	// Close ends the capture of the output, which it reads to its end first,
	// for a bounded time.
	Close()
}

// whileRunning returns a context that ends with ctx, after limit, or when the
// process has ended.
func whileRunning(ctx context.Context, process Process, limit time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	go func() {
		defer cancel()
		select {
		case <-process.Done():
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}
