package sockio

import (
	"net"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// Tick is how often a Watcher looks: limits are kept to within two and a fifth,
// and a client that goes away while its backend is slow is noticed within three.
const Tick = 100 * time.Millisecond

// stride is the most that the clock advances at once. What the sweeper is late by
// beyond a tick has no effect up to that.
const stride = Tick + Tick/5

// trimTicks is after how many ticks a task that nobody wanted is given back.
const trimTicks = 10

// Watcher keeps the coarse clock, enforces the limits of its connections and
// holds those that wait without a goroutine. One serves a whole process.
type Watcher struct {
	now    atomic.Int64 // time of day: nanoseconds since the Unix epoch
	clock  atomic.Int64 // nanoseconds; see Clock
	ticked time.Time    // the sweeper's own: when it advanced them

	mu    sync.Mutex
	conns []*Conn // all of them, in no order

	pipes   pipes
	buffers sync.Pool // of *[copySize]byte, for what passes through user space
	loops   []*loop   // none where the system has none: nothing parks
	turn    atomic.Uint32

	// goroutines counts the detached tasks and the connections that goroutines
	// use: while there are any, loops leave the processor to them.
	goroutines atomic.Int64

	left leftovers
	tidy func() // gives the memory of leftovers back

	memory memory
	waits  bool // a peer with a minimum rate is waited for; the sweeper's own
	done   chan struct{}
	wait   sync.WaitGroup
}

// NewWatcher starts a watcher. Close ends it.
func NewWatcher() (*Watcher, error) {
	w, err := prepare(runtime.GOMAXPROCS(0))
	if err == nil {
		w.wait.Go(w.sweep)
	}
	return w, err
}

// prepare returns a watcher with so many loops whose sweeper has yet to begin.
func prepare(loops int) (*Watcher, error) {
	w := &Watcher{done: make(chan struct{}), tidy: tidy, memory: memory{scarce: newScarce()}}
	w.tick(time.Now())
	w.buffers.New = func() any { return new([copySize]byte) }
	for range loops {
		l, err := newLoop(w)
		if err != nil {
			w.release()
			return nil, err
		}
		if l != nil {
			l.number = len(w.loops)
			w.loops = append(w.loops, l)
		}
	}
	return w, nil
}

// Close ends the watcher and waits for its goroutines. Connections stay open;
// their limits are not kept any more.
func (w *Watcher) Close() {
	close(w.done)
	for _, l := range w.loops {
		l.close()
	}
	w.wait.Wait()
	w.release()
	w.pipes.close()
}

func (w *Watcher) release() {
	for _, l := range w.loops {
		l.release()
	}
}

// Now returns the coarse time of day, at most a tick or two behind.
func (w *Watcher) Now() time.Time { return time.Unix(0, w.now.Load()) }

// Clock returns the coarse time that limits are kept by, which is above 0 and
// means nothing by itself. It never advances by more than a stride at once, so what
// the sweeper is later by, on a machine that has no time for it, does not count as
// time that others have had: a limit may fire late, but never early. Who subtracts
// two readings may find a stride too much; limits allow for it.
func (w *Watcher) Clock() time.Duration { return time.Duration(w.clock.Load()) }

// tick advances both to now.
func (w *Watcher) tick(now time.Time) {
	w.clock.Add(int64(min(now.Sub(w.ticked), stride)))
	w.ticked = now
	w.now.Store(now.UnixNano())
}

// Loops returns how many loops there are, at least 1: what is kept for each
// of them is seldom wanted by two processors.
func (w *Watcher) Loops() int { return max(len(w.loops), 1) }

// Count returns how many connections the watcher holds.
func (w *Watcher) Count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.conns)
}

// Adopt makes a Conn of nc, which belongs to it from then on. The owner may be
// nil for one that never parks.
func (w *Watcher) Adopt(nc net.Conn, owner Owner) *Conn {
	return w.AdoptFor(nil, nc, owner)
}

// AdoptFor is Adopt for a connection that t is to use: it belongs to the same
// loop.
func (w *Watcher) AdoptFor(t *Task, nc net.Conn, owner Owner) *Conn {
	c := &Conn{fd: -1, nc: nc, w: w, owner: owner, task: t}
	if fd, ok := descriptor(nc); ok {
		c.fd = fd
		c.wr.state.Store(sideReady)
	}
	if w.take(c) != nil {
		c.aborted.Store(true)
	}
	return c
}

// take holds a new connection from now on. The error is why its loop has no room
// for it, as the system may have none: then it cannot be used.
func (w *Watcher) take(c *Conn) error {
	c.layer.conn = c
	switch {
	case c.fd < 0:
	case c.task != nil:
		c.loop = c.task.loop
	default:
		c.loop = w.loops[int(w.turn.Add(1))%len(w.loops)]
	}
	w.mu.Lock()
	c.index = len(w.conns)
	w.conns = append(w.conns, c)
	w.mu.Unlock()
	if c.loop == nil {
		return nil
	}
	err := c.loop.add(c)
	if err != nil {
		c.loop = nil
	}
	return err
}

// remove takes c out of the watcher, once.
func (w *Watcher) remove(c *Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if c.index < 0 {
		return false
	}
	last := len(w.conns) - 1
	w.conns[c.index] = w.conns[last]
	w.conns[c.index].index = c.index
	w.conns[last] = nil
	w.conns = w.conns[:last]
	c.index = -1
	return true
}

// limit returns the time d from now by the clock, which may be behind by all that
// it advances at once, so that is added.
func (w *Watcher) limit(d time.Duration) int64 {
	if d <= 0 {
		return limitNone
	}
	return w.clock.Load() + int64(d+stride)
}

// sweep advances the clock and looks at every connection, once a tick.
func (w *Watcher) sweep() {
	t := time.NewTicker(Tick)
	defer t.Stop()
	for tick := 1; ; tick++ {
		select {
		case <-w.done:
			return
		case <-t.C:
		}
		w.tick(time.Now())
		now := w.clock.Load()
		hard := w.waits && w.Scarce()
		w.waits = false
		w.mu.Lock()
		for _, c := range w.conns {
			c.look(now, hard)
		}
		w.mu.Unlock()
		for _, l := range w.loops {
			l.unblock()
			if tick%trimTicks == 0 {
				w.left.behind.Add(int64(l.trim()))
			}
		}
		if w.left.due(now) {
			w.wait.Go(w.tidy) // it takes longer than a tick
		}
	}
}

// look expires the limits of c that have passed and starts to watch for its
// peer's going if its owner has been waiting since the last look. hard says that
// the kernel is in need of memory.
func (c *Conn) look(now int64, hard bool) {
	if at := c.readLimit.at.Load(); at > 0 && now >= at {
		if c.readLimit.expire(at, now) {
			// In this order: a reader that sees the limit fire may set another
			// and park at once, and is not to be woken from there.
			parked := c.rd.state.Load() == sideParked && c.readLimit.expired()
			if c.fd >= 0 {
				c.signal(&c.rd, parked)
			} else {
				c.nc.SetReadDeadline(past())
			}
		}
	}
	if at := c.writeLimit.at.Load(); at > 0 {
		c.lookWrite(at, now, hard)
	}
	stay := c.stay.Load()
	if stay&1 == 1 && stay == c.seen && c.owner != nil && c.ended.Load() {
		c.owner.Gone()
	}
	c.seen = stay
}

// lookWrite looks after a write that waits. The kernel reports room only when
// a third of a large buffer has drained, and a slow but honest reader must not
// be cut for that: what the kernel holds for it has become less.
func (c *Conn) lookWrite(at, now int64, hard bool) {
	rate := c.rate.Load()
	c.w.waits = c.w.waits || rate > 0
	d, due := c.allowed(patience), now >= at
	if waited := time.Duration(now-at) + d + stride; hard && rate > 0 && waited >= HardTimes+stride { // by a coarse clock
		d, due = waited, true
	}
	if before := c.unsent.Load(); before == unsampled || due {
		switch held, ok := c.heldByKernel(); {
		case !ok:
		case before == unsampled:
			c.unsent.Store(held)
			due = now >= at
		case before-held >= max(int64(d.Seconds()*float64(rate)), 1) &&
			c.writeLimit.at.CompareAndSwap(at, c.w.limit(c.allowed(patience))):
			c.unsent.Store(held)
			return
		}
	}
	if due && c.writeLimit.at.CompareAndSwap(at, limitExpired) {
		c.breakOff(false, true)
	}
}
