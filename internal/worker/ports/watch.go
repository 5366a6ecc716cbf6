package ports

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"
)

// Tick is the time between two queries of a Watch.
const Tick = 10 * time.Millisecond

// foreignTicks is for how many queries in a row a port must be held by
// somebody else before that is believed: a process that is just being born is
// not in its tree yet.
const foreignTicks = 25

// Watch waits for workers to listen. However many wait, the kernel is asked
// once per Tick, and not at all when nobody waits. Whoever waits takes its
// turn in asking for all, so no goroutine is needed.
type Watch struct {
	query func(func(uint16) bool) ([]Listener, error)
	owner func(Listener, []int) (int, error)

	turn chan time.Time // holds the time of the last query while nobody asks

	mu      sync.Mutex
	waiters map[*waiter]struct{} // guarded by mu
}

// NewWatch returns a Watch on the kernel's tables.
func NewWatch() *Watch { return newWatch(Listeners, Owner) }

func newWatch(query func(func(uint16) bool) ([]Listener, error), owner func(Listener, []int) (int, error)) *Watch {
	w := &Watch{query: query, owner: owner, turn: make(chan time.Time, 1), waiters: make(map[*waiter]struct{})}
	w.turn <- time.Time{}
	return w
}

// waiter is one start that waits. What follows result belongs to the one whose
// turn it is.
type waiter struct {
	port    uint16
	tree    func() ([]int, error)
	result  chan result // has room for one
	foreign int         // queries in a row that found a stranger
}

type result struct {
	listener Listener
	pid      int
	err      error
}

// ForeignError is a port that is listened on by a process which is not of the
// worker.
type ForeignError struct{ Listener Listener }

// Error names the address and the socket's user.
func (e *ForeignError) Error() string {
	return fmt.Sprintf("%v is listened on by a process of user %d that does not belong to the application", e.Listener.Addr, e.Listener.UID)
}

// Wait returns the listener on port that can be reached by a loopback address
// and belongs to one of the processes that tree returns, and that process. It
// returns when there is one, when the port turns out to be a stranger's
// (*ForeignError), when the kernel cannot be asked, or when ctx ends. A process
// of the tree that does not let itself be looked at is taken at its word.
//
// Tree is called only when somebody listens on the port, by any goroutine that
// waits, which it holds up with all others; at most once after Wait returned.
func (w *Watch) Wait(ctx context.Context, port uint16, tree func() ([]int, error)) (Listener, int, error) {
	me := &waiter{port: port, tree: tree, result: make(chan result, 1)}
	w.mu.Lock()
	w.waiters[me] = struct{}{}
	w.mu.Unlock()
	defer func() {
		w.mu.Lock()
		delete(w.waiters, me)
		w.mu.Unlock()
	}()
	for {
		select {
		case r := <-me.result:
			return r.listener, r.pid, r.err
		default: // not "or my turn": a result is not to wait for the next tick
		}
		select {
		case r := <-me.result:
			return r.listener, r.pid, r.err
		case <-ctx.Done():
			return Listener{}, 0, ctx.Err()
		case last := <-w.turn:
			w.turn <- w.ask(ctx, last)
		}
	}
}

// ask waits until the next query is due and makes it, unless ctx ends first.
// It returns the time of the newest query.
func (w *Watch) ask(ctx context.Context, last time.Time) time.Time {
	if pause := time.Until(last.Add(Tick)); pause > 0 {
		due := time.NewTimer(pause)
		defer due.Stop()
		select {
		case <-due.C:
		case <-ctx.Done():
			return last
		}
	}
	w.mu.Lock()
	byPort := make(map[uint16][]*waiter, len(w.waiters))
	for o := range w.waiters {
		byPort[o.port] = append(byPort[o.port], o)
	}
	w.mu.Unlock()

	now := time.Now()
	found, err := w.query(func(port uint16) bool { return byPort[port] != nil })
	for port, list := range byPort {
		for _, o := range list {
			if err != nil {
				o.deliver(result{err: err})
			} else if r, ok := w.judge(o, port, found); ok {
				o.deliver(r)
			}
		}
	}
	return now
}

// deliver gives the waiter its result, if it has none yet.
func (o *waiter) deliver(r result) {
	select {
	case o.result <- r:
	default:
	}
}

// judge looks for o's listener. It prefers IPv4.
func (w *Watch) judge(o *waiter, port uint16, found []Listener) (result, bool) {
	var best, stranger result
	var pids []int
	for _, l := range found {
		reach, ok := l.Loopback()
		if l.Addr.Port() != port || !ok {
			continue
		}
		if pids == nil {
			var err error
			if pids, err = o.tree(); err != nil {
				return result{err: err}, true
			}
		}
		pid, err := w.owner(l, pids)
		switch {
		case err == nil, errors.Is(err, fs.ErrPermission):
			if best.pid == 0 || reach.Addr().Is4() {
				best = result{listener: l, pid: pid}
			}
		default:
			stranger = result{listener: l, err: &ForeignError{l}}
		}
	}
	switch {
	case best.pid != 0:
		return best, true
	case stranger.err == nil:
		o.foreign = 0
	default:
		o.foreign++
	}
	return stranger, o.foreign >= foreignTicks
}
