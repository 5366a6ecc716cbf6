package sockio

import (
	"net"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Tick is how often a Watcher looks: limits are kept to within two, and a
// client that goes away while its backend is slow is noticed within three.
const Tick = 100 * time.Millisecond

// Watcher keeps the coarse clock, enforces the limits of its connections and
// holds those that wait without a goroutine. One serves a whole process.
type Watcher struct {
	now atomic.Int64 // nanoseconds since the Unix epoch

	mu    sync.Mutex
	conns []*Conn // all of them, in no order

	pipes   pipes
	buffers sync.Pool // of *[copySize]byte, for what passes through user space
	poll    *poller   // nil where the system has none: nothing parks
	left    leftovers
	tidy    func() // gives the memory of leftovers back
	done    chan struct{}
	wait    sync.WaitGroup
}

// NewWatcher starts a watcher. Close ends it.
func NewWatcher() (*Watcher, error) {
	w := &Watcher{done: make(chan struct{}), tidy: debug.FreeOSMemory}
	w.now.Store(time.Now().UnixNano())
	w.buffers.New = func() any { return new([copySize]byte) }
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	w.poll = p
	w.wait.Go(w.sweep)
	return w, nil
}

// Close ends the watcher and waits for its goroutines. Connections stay open;
// their limits are not kept any more.
func (w *Watcher) Close() {
	close(w.done)
	w.wait.Wait()
	if w.poll != nil {
		w.poll.close()
	}
	w.pipes.close()
}

// Now returns the coarse time, at most a tick or two behind.
func (w *Watcher) Now() time.Time { return time.Unix(0, w.now.Load()) }

// Count returns how many connections the watcher holds.
func (w *Watcher) Count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns)
}

// Adopt makes a Conn of nc. The owner may be nil for one that never parks.
func (w *Watcher) Adopt(nc net.Conn, owner Owner) *Conn {
	c := &Conn{nc: nc, w: w, owner: owner}
	c.layer.conn = c
	if sc, ok := nc.(syscall.Conn); ok && rawIO {
		if raw, err := sc.SyscallConn(); err == nil {
			c.raw = raw
			c.in.init()
			c.peek.init()
			c.out.init(c)
		}
	}
	w.mu.Lock()
	c.index = len(w.conns)
	w.conns = append(w.conns, c)
	w.mu.Unlock()
	return c
}

func (w *Watcher) remove(c *Conn) {
	w.mu.Lock()
	if c.index >= 0 {
		last := len(w.conns) - 1
		w.conns[c.index] = w.conns[last]
		w.conns[c.index].index = c.index
		w.conns[last] = nil
		w.conns = w.conns[:last]
		c.index = -1
	}
	w.mu.Unlock()
	if w.poll != nil {
		w.poll.forget(c)
	}
}

// limit returns the coarse time d from now. The clock may be a tick behind,
// so one is added: a limit may fire late, never early.
func (w *Watcher) limit(d time.Duration) int64 {
	if d <= 0 {
		return limitNone
	}
	return w.now.Load() + int64(d+Tick)
}

// sweep advances the clock and looks at every connection, once a tick.
func (w *Watcher) sweep() {
	t := time.NewTicker(Tick)
	defer t.Stop()
	for {
		select {
		case <-w.done:
			return
		case <-t.C:
		}
		now := time.Now().UnixNano()
		w.now.Store(now)
		w.mu.Lock()
		for _, c := range w.conns {
			c.look(now)
		}
		w.mu.Unlock()
		if w.left.due(now) {
			w.wait.Go(w.tidy) // it takes longer than a tick
		}
	}
}

// look expires the limits of c that have passed and starts to watch for its
// peer's going if its owner has been waiting since the last look.
func (c *Conn) look(now int64) {
	if at := c.readLimit.at.Load(); at > 0 && now >= at {
		// In this order: a reader that sees the limit fire may park at once,
		// and is not to be woken from there.
		parked := c.Unpark()
		if c.readLimit.expire(at, now) {
			c.nc.SetReadDeadline(past())
		}
		if parked {
			go c.owner.Wake()
		}
	}
	if at := c.writeLimit.at.Load(); at > 0 {
		c.lookWrite(at, now)
	}
	stay := c.stay.Load()
	if stay&1 == 1 && stay == c.seen && c.owner != nil && c.w.poll != nil {
		c.w.poll.watchGone(c, stay)
	}
	c.seen = stay
}

// lookWrite looks after a write that waits. The kernel reports room only when
// a third of a large buffer has drained, and a slow but honest reader must not
// be cut for that: what the kernel holds for it has become less.
func (c *Conn) lookWrite(at, now int64) {
	before := c.unsent.Load()
	if before == unsampled || now >= at {
		held, ok := c.heldByKernel()
		switch {
		case !ok:
		case before == unsampled:
			c.unsent.Store(held)
		default:
			d := c.allowed(patience)
			least := max(int64(d.Seconds()*float64(c.rate.Load())), 1)
			if before-held >= least && c.writeLimit.at.CompareAndSwap(at, c.w.limit(d)) {
				c.unsent.Store(held)
				return
			}
		}
	}
	if c.writeLimit.expire(at, now) {
		c.nc.SetWriteDeadline(past())
	}
}
