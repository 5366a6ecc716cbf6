package ports

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// kernel is a pretend table of listeners.
type kernel struct {
	mu      sync.Mutex
	list    []Listener
	err     error
	queries int
	closed  int // this process does not let itself be looked at
}

func (k *kernel) query(want func(uint16) bool) ([]Listener, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.queries++
	var list []Listener
	for _, l := range k.list {
		if want(l.Addr.Port()) {
			list = append(list, l)
		}
	}
	return list, k.err
}

func (k *kernel) owner(l Listener, pids []int) (int, error) {
	for _, pid := range pids {
		if pid == k.closed {
			return pid, fs.ErrPermission
		}
	}
	return Owner(l, pids)
}

func (k *kernel) open(addr string, pid int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.list = append(k.list, Listener{Addr: netip.MustParseAddrPort(addr), PID: pid})
}

func (k *kernel) count() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.queries
}

func tree(pids ...int) func() ([]int, error) {
	return func() ([]int, error) { return pids, nil }
}

// answer is what Wait returned, and when.
type answer struct {
	l   Listener
	pid int
	err error
	at  time.Duration
}

// start calls Wait in a goroutine.
func start(ctx context.Context, w *Watch, port uint16, tree func() ([]int, error)) <-chan answer {
	c := make(chan answer, 1)
	begin := time.Now()
	go func() {
		l, pid, err := w.Wait(ctx, port, tree)
		c <- answer{l, pid, err, time.Since(begin)}
	}()
	return c
}

func TestWatchAsksOncePerTickForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kernel{}
		w := newWatch(k.query, k.owner)
		const n = 50
		var all []<-chan answer
		for i := range n {
			all = append(all, start(t.Context(), w, uint16(1000+i), tree(i+1)))
		}
		time.Sleep(time.Second)
		synctest.Wait()
		// The first at 0, then every 10 ms. Those who came while the first was
		// asked wait for the second.
		if got := k.count(); got < 100 || got > 102 {
			t.Errorf("%d queries in one second, want about 100", got)
		}
		for i := range n {
			k.open(fmt.Sprintf("127.0.0.1:%d", 1000+i), i+1)
		}
		for i, c := range all {
			a := <-c
			if a.err != nil || a.pid != i+1 || a.at > time.Second+Tick {
				t.Errorf("waiter %d: %+v", i, a)
			}
		}
		before := k.count()
		time.Sleep(time.Minute)
		if after := k.count(); after != before {
			t.Errorf("%d queries while nobody waits", after-before)
		}
	})
}

// Whoever has the turn may leave at any moment; the others go on.
func TestWatchPassesTheTurnOn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kernel{}
		w := newWatch(k.query, k.owner)
		stayed := start(t.Context(), w, 1, tree(1))
		var left []<-chan answer
		for i := range 20 {
			ctx, cancel := context.WithTimeout(t.Context(), time.Duration(3+7*i)*time.Millisecond)
			defer cancel()
			left = append(left, start(ctx, w, 2, tree(2)))
		}
		for i, c := range left {
			a := <-c
			if want := time.Duration(3+7*i) * time.Millisecond; !errors.Is(a.err, context.DeadlineExceeded) || a.at != want {
				t.Errorf("waiter %d: %+v, want its deadline at %v", i, a, want)
			}
		}
		k.open("127.0.0.1:1", 1)
		now := time.Now()
		if a := <-stayed; a.err != nil || time.Since(now) > Tick {
			t.Errorf("the one that stayed: %+v", a)
		}
		if len(w.waiters) != 0 {
			t.Errorf("%d waiters are left", len(w.waiters))
		}
	})
}

func TestWatchJudges(t *testing.T) {
	t.Parallel()
	const foreign = (foreignTicks - 1) * Tick
	for _, c := range []struct {
		name string
		open func(*kernel)
		tree func() ([]int, error)
		want string // address; "" for an error
		pid  int
		is   func(error) bool
		at   time.Duration
	}{
		{name: "own", open: func(k *kernel) { k.open("127.0.0.1:80", 7) }, tree: tree(6, 7), want: "127.0.0.1:80", pid: 7},
		{name: "v6", open: func(k *kernel) { k.open("[::1]:80", 7) }, tree: tree(7), want: "[::1]:80", pid: 7},
		{name: "prefers-v4", open: func(k *kernel) { k.open("[::1]:80", 7); k.open("127.0.0.1:80", 7) }, tree: tree(7), want: "127.0.0.1:80", pid: 7},
		{name: "prefers-v4-in-any-order", open: func(k *kernel) { k.open("0.0.0.0:80", 7); k.open("[::1]:80", 7) }, tree: tree(7), want: "0.0.0.0:80", pid: 7},
		{name: "own-beside-a-stranger", open: func(k *kernel) { k.open("127.0.0.1:80", 9); k.open("[::1]:80", 7) }, tree: tree(7), want: "[::1]:80", pid: 7},
		{name: "closed-to-us", open: func(k *kernel) { k.closed = 7; k.open("127.0.0.1:80", 9) }, tree: tree(7), want: "127.0.0.1:80", pid: 7},
		{
			name: "stranger", open: func(k *kernel) { k.open("127.0.0.1:80", 9) }, tree: tree(7), at: foreign,
			is: func(err error) bool { var e *ForeignError; return errors.As(err, &e) && e.Listener.PID == 9 },
		},
		{
			name: "other-address", open: func(k *kernel) { k.open("10.0.0.5:80", 7) }, tree: tree(7), at: time.Second,
			is: func(err error) bool { return errors.Is(err, context.DeadlineExceeded) },
		},
		{
			name: "other-port", open: func(k *kernel) { k.open("127.0.0.1:81", 7) }, tree: tree(7), at: time.Second,
			is: func(err error) bool { return errors.Is(err, context.DeadlineExceeded) },
		},
		{
			name: "no-tree", open: func(k *kernel) { k.open("127.0.0.1:80", 7) },
			tree: func() ([]int, error) { return nil, fs.ErrClosed },
			is:   func(err error) bool { return errors.Is(err, fs.ErrClosed) },
		},
		{
			name: "no-table", open: func(k *kernel) { k.err = errors.ErrUnsupported }, tree: tree(7),
			is: func(err error) bool { return errors.Is(err, errors.ErrUnsupported) },
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				k := &kernel{}
				c.open(k)
				w := newWatch(k.query, k.owner)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				a := <-start(ctx, w, 80, c.tree)
				if a.at != c.at {
					t.Errorf("answered after %v, want %v", a.at, c.at)
				}
				switch {
				case c.want == "":
					if a.err == nil || !c.is(a.err) || a.err.Error() == "" {
						t.Errorf("got %+v", a)
					}
				case a.err != nil || a.l.Addr.String() != c.want || a.pid != c.pid:
					t.Errorf("got %+v, want %s of %d", a, c.want, c.pid)
				}
			})
		})
	}
}

// A stranger must be there for all of a row of queries.
func TestWatchForgivesAShortStranger(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k := &kernel{}
		k.open("127.0.0.1:80", 9)
		w := newWatch(k.query, k.owner)
		c := start(t.Context(), w, 80, tree(7))
		time.Sleep(20 * Tick)
		k.mu.Lock()
		k.list = nil
		k.mu.Unlock()
		time.Sleep(2 * Tick)
		k.open("127.0.0.1:80", 9)
		time.Sleep(20 * Tick)
		k.open("127.0.0.1:80", 7)
		if a := <-c; a.err != nil || a.pid != 7 {
			t.Errorf("got %+v", a)
		}
	})
}
