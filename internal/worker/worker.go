package worker

import (
	"context"
	"math"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// Channel carries exchanges to one ready worker. Its methods may be called at
// the same time.
type Channel interface {
	// Serve answers x with what the worker says.
	Serve(x *exchange.Exchange) error

	// Shutdown sends the shutdown request of the protocol. Nil means that
	// the worker accepted it (202); the error says what it did instead. It
	// returns when ctx ends.
	Shutdown(ctx context.Context) error

	// Close closes idle connections. It is called once, when the worker is
	// gone.
	Close() error
}

// Endpoint is what a Channel needs to know of its worker.
type Endpoint struct {
	// Address reaches the listener that was found: 127.0.0.1, or ::1 for one
	// that listens on IPv6 alone.
	Address netip.AddrPort

	// Token pairs the host with its worker. It is sent with every request,
	// and is empty where the protocol has none.
	Token string

	// Gone is closed when the worker's process has ended. From then on,
	// Pool.Acquire gives another worker.
	Gone <-chan struct{}

	// Refused says that the worker refused a connection. If it really does
	// not listen any more, as when it stops itself, it is taken out of
	// service before Refused returns: Pool.Acquire then gives another worker.
	Refused func()

	// Linger says that an exchange in flight has become a long-lived one,
	// such as a WebSocket: it does not hold up a drain, but lives until the
	// worker stops. The caller calls end when that exchange is over.
	Linger func() (end func())
}

// Worker is one process of an application, with everything below it, that was
// found listening.
type Worker struct {
	// users counts exchanges in flight. Retiring subtracts so much that the
	// count stays negative, and then equals retired when nobody is left.
	users   atomic.Int64
	_       [56]byte      // every exchange writes to users, and reads what follows
	drained chan struct{} // closed when retired and nobody is left
	empty   atomic.Bool   // drained is closed, or is just being closed

	channel  Channel
	settings *Settings
	process  Process
	listener int // pid of the process that listens: the process itself or a descendant; the keeper's own
	port     uint16
	since    time.Time
	free     func() // gives back what the start had taken

	gone  chan struct{} // closed when the process has ended
	leave chan struct{} // closed when the worker is retired

	// Guarded by Pool.mu; drain is read after leave is closed.
	slot    *slot // set when the worker is put into it
	leaving bool
	drain   time.Duration
}

const retired = math.MinInt64 / 2

// enter counts one more exchange in flight. It refuses when the worker is
// retired. It neither locks nor waits.
func (w *Worker) enter() bool {
	if w.users.Add(1) > 0 {
		return true
	}
	w.Release()
	return false
}

// Release ends what Acquire began. It is called once for each.
func (w *Worker) Release() {
	if w.users.Add(-1) == retired {
		w.markDrained()
	}
}

// markDrained tells that nobody is in flight. A late, refused enter may bring
// the count here a second time.
func (w *Worker) markDrained() {
	if w.empty.CompareAndSwap(false, true) {
		close(w.drained)
	}
}

// linger takes one exchange out of the count, and end puts it back, so that
// its own Release finds what it expects.
func (w *Worker) linger() (end func()) {
	w.Release()
	return func() { w.users.Add(1) }
}

// retire lets nobody enter any more and asks the worker's keeper to stop it:
// when nobody is in flight, but after drain at the latest. Callers hold
// Pool.mu.
func (w *Worker) retire(drain time.Duration) {
	if w.leaving {
		return
	}
	w.leaving, w.drain = true, drain
	if w.users.Add(retired) == retired {
		w.markDrained()
	}
	close(w.leave)
}

// Serve answers x. The caller holds the worker by Pool.Acquire.
func (w *Worker) Serve(x *exchange.Exchange) error { return w.channel.Serve(x) }

// Gone is closed when the worker's process has ended. From then on,
// Pool.Acquire gives another worker.
func (w *Worker) Gone() <-chan struct{} { return w.gone }

// Pid is the process that was started; its descendants belong to the worker
// as well.
func (w *Worker) Pid() int { return w.process.Pid() }

// status reads the state of this moment. Callers hold Pool.mu.
func (w *Worker) status() WorkerStatus {
	n := w.users.Load()
	if w.leaving {
		n -= retired
	}
	return WorkerStatus{Pid: w.Pid(), Port: w.port, Since: w.since, Leaving: w.leaving, Serving: int(n)}
}
