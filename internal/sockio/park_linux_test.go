package sockio

import (
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

func TestParkIsWoken(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	tests := []struct {
		name string
		idle time.Duration
		wake func(c *Conn, peer *net.TCPConn)
		want error // of the next read; nil for a byte
	}{
		{"by a byte", time.Minute, func(_ *Conn, peer *net.TCPConn) { peer.Write([]byte("x")) }, nil},
		{"by a byte without a limit", 0, func(_ *Conn, peer *net.TCPConn) { peer.Write([]byte("x")) }, nil},
		{"by the idle time", 2 * Tick, func(*Conn, *net.TCPConn) {}, ErrLimit},
		{"by an abort", time.Minute, func(c *Conn, _ *net.TCPConn) { c.Abort() }, ErrAborted},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			o := newOwner()
			c, peer := adopted(t, w, o)
			for range 2 { // a connection that was woken can park again
				begin := time.Now()
				if !c.Park(tt.idle) {
					t.Fatal("did not park")
				}
				tt.wake(c, peer)
				<-o.wake
				c.UseTask(nil) // not the one that woke us
				var b [1]byte
				if _, err := c.Read(b[:]); err != tt.want {
					t.Errorf("read: %v, want %v", err, tt.want)
				}
				if tt.want == ErrLimit && time.Since(begin) < tt.idle {
					t.Errorf("woken after %v of %v", time.Since(begin), tt.idle)
				}
				if c.Unpark() {
					t.Error("woken, and still parked")
				}
				if tt.want == ErrAborted {
					break
				}
			}
			if n := o.gone.Load(); n != 0 {
				t.Errorf("told %d times that the peer has gone", n)
			}
		})
	}
	t.Run("by the end", func(t *testing.T) {
		t.Parallel()
		o := newOwner()
		c, peer := adopted(t, w, o)
		if !c.Park(time.Minute) {
			t.Fatal("did not park")
		}
		peer.Close()
		<-o.wake
	})
	t.Run("not at all", func(t *testing.T) {
		t.Parallel()
		o := newOwner()
		c, peer := adopted(t, w, o)
		if !c.Park(time.Minute) || !c.Unpark() || c.Unpark() {
			t.Error("a parked connection is taken back once")
		}
		peer.Write([]byte("x"))
		w.mu.Lock()
		c.look(time.Now().Add(time.Hour).UnixNano(), false)
		w.mu.Unlock()
		time.Sleep(3 * Tick)
		if n := o.woken.Load(); n != 0 {
			t.Errorf("taken back, and woken %d times", n)
		}
	})
}

func TestParkRefuses(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	a, _ := net.Pipe()
	p := w.Adopt(a, newOwner())
	defer p.Close()
	c, _ := adopted(t, w, nil)
	if p.CanPark() || p.Park(time.Minute) || c.CanPark() || c.Park(time.Minute) {
		t.Error("neither a pipe nor what has no owner can park")
	}
	c, _ = adopted(t, w, newOwner())
	c.Abort()
	if c.Park(time.Minute) {
		t.Error("aborted, and parked: nobody would wake it")
	}
	c, _ = adopted(t, w, newOwner())
	c.Close()
	if c.Park(time.Minute) {
		t.Error("closed, and parked")
	}
}

// A parked connection has one end, whatever happens to it at once: it is
// woken, or taken back, or was refused; never two of these, never none.
// A limit that passes while a connection is about to park is not lost: it is told
// to the caller, or wakes the owner.
func TestParkWhileLimitPasses(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	o := newOwner()
	c, _ := adopted(t, w, o)
	done := make(chan struct{})
	var wait sync.WaitGroup
	defer wait.Wait()
	defer close(done)
	wait.Go(func() { // the sweeper of a machine on which time flies
		for {
			select {
			case <-done:
				return
			default:
				w.mu.Lock()
				c.look(time.Now().Add(time.Hour).UnixNano(), false)
				w.mu.Unlock()
			}
		}
	})
	// With a single processor, a round beside one who never waits takes long.
	for n, end := 0, time.Now().Add(3*time.Second); n < 2000 && time.Now().Before(end); n++ {
		if c.Park(time.Minute) {
			select {
			case <-o.wake:
			case <-time.After(10 * time.Second):
				t.Fatal("parked for ever")
			}
			c.UseTask(nil)
		}
	}
}

func TestParkHasOneEnd(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	for range 300 {
		o := newOwner()
		c, peer := adopted(t, w, o)
		sweep := func() { // at a time when the limit has passed
			w.mu.Lock()
			c.look(time.Now().Add(time.Hour).UnixNano(), false)
			w.mu.Unlock()
		}
		events := []func(){
			func() { peer.Write([]byte("x")) },
			func() { peer.CloseWrite() },
			func() { c.Abort() },
		}
		rand.Shuffle(len(events), func(i, j int) { events[i], events[j] = events[j], events[i] })
		var parked, back bool
		var all sync.WaitGroup
		begin := make(chan struct{})
		for _, f := range events[:rand.IntN(1+len(events))] {
			all.Go(func() { <-begin; f() })
		}
		all.Go(func() { <-begin; sweep() })
		all.Go(func() { <-begin; parked = c.Park(time.Minute) })
		close(begin)
		all.Wait()
		if parked && rand.IntN(2) == 0 {
			back = c.Unpark()
		} else {
			sweep() // the idle time of whatever is still parked passes now
		}
		if parked && !back {
			select {
			case <-o.wake:
			case <-time.After(10 * time.Second):
				t.Fatal("parked, and never woken")
			}
		}
		c.Close()
		if n := o.woken.Load(); n > 1 || n == 1 && (back || !parked) {
			t.Fatalf("woken %d times, parked %v, taken back %v", n, parked, back)
		}
		peer.Close()
	}
}

// A reader whose limit fires may park at once: what made it fire must not wake
// it from there.
func TestParkAfterLimit(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	o := newOwner()
	c, _ := adopted(t, w, o)
	for range 2000 {
		c.LimitRead(time.Hour)
		at := c.readLimit.at.Load()
		var both sync.WaitGroup
		both.Go(func() {
			var b [1]byte
			if _, err := c.Read(b[:]); err != ErrLimit {
				t.Error(err)
			}
			if !c.Park(2 * time.Hour) {
				t.Error("did not park")
			}
		})
		both.Go(func() {
			w.mu.Lock()
			c.look(at, false)
			w.mu.Unlock()
		})
		both.Wait()
		if !c.Unpark() {
			t.Fatal("woken by the limit that it parked after")
		}
	}
}

// Connections that are closed while events for them are on their way do not
// wake another that got their descriptor.
func TestParkAndClose(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 100 {
				o := newOwner()
				a, b := sockets(t)
				c := w.Adopt(a, o)
				if !c.Park(time.Minute) {
					t.Error("did not park")
				}
				var both sync.WaitGroup
				both.Go(func() { b.Write([]byte("x")) })
				if c.Unpark() {
					c.Close()
				} else {
					<-o.wake
					c.Close()
				}
				both.Wait()
				if n := o.woken.Load(); n > 1 {
					t.Errorf("woken %d times", n)
				}
				b.Close()
			}
		})
	}
	all.Wait()
	if n := w.Count(); n != 0 {
		t.Errorf("%d connections are left in the watcher", n)
	}
	for _, l := range w.loops {
		if len(l.free) != len(l.places) {
			t.Errorf("%d are left in a loop", len(l.places)-len(l.free))
		}
	}
}

func TestStayTellsOfGoing(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	o := newOwner()
	c, peer := adopted(t, w, o)
	c.Stay(true)
	peer.Write([]byte("the next request")) // is not going
	time.Sleep(5 * Tick)
	if n := o.gone.Load(); n != 0 {
		t.Fatalf("told %d times, and the peer is there", n)
	}
	peer.Close()
	eventually(t, "being told", func() bool { return o.gone.Load() > 0 })
	c.Stay(false)

	const soon = 3 * Tick
	best := time.Hour // of some: the machine may be busy
	for try := 0; try < 40 && best > soon; try++ {
		o := newOwner()
		c, peer := adopted(t, w, o)
		c.Stay(true)
		begin := time.Now()
		peer.CloseWrite()
		eventually(t, "being told", func() bool { return o.gone.Load() > 0 })
		best = min(best, time.Since(begin))
		c.Stay(false)
	}
	if best > soon {
		t.Errorf("told after %v", best)
	}

	o = newOwner()
	c, peer = adopted(t, w, o)
	c.Stay(true)
	c.Stay(false)
	peer.CloseWrite()
	time.Sleep(5 * Tick)
	if n := o.gone.Load(); n != 0 {
		t.Errorf("told %d times without waiting", n)
	}
}

// A wait that has ended is not told of what happens after it, though the
// socket is registered still; and the connection parks as ever.
func TestStayEnds(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	for _, parks := range []bool{false, true} {
		o := newOwner()
		c, peer := adopted(t, w, o)
		c.Stay(true)
		c.Stay(false)
		if parks && !c.Park(time.Minute) {
			t.Fatal("did not park")
		}
		peer.Close()
		if parks {
			<-o.wake
		} else {
			eventually(t, "the event", c.ended.Load)
			time.Sleep(3 * Tick)
		}
		if n := o.gone.Load(); n != 0 {
			t.Errorf("parks %v: told %d times after the wait", parks, n)
		}
	}
}

func TestWatcherEnds(t *testing.T) {
	t.Parallel()
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	o := newOwner()
	c, _ := adopted(t, w, o)
	if !c.Park(time.Minute) {
		t.Fatal("did not park")
	}
	w.Close()
	if n := o.woken.Load(); n != 0 {
		t.Errorf("woken %d times by the end of the watcher", n)
	}
	other, _ := adopted(t, w, o)
	if other.Park(time.Minute) {
		t.Error("parked with nobody to wake it")
	}
}

// Connections that park or go on to a task are counted, and those that only tried
// are not.
func TestParkLeavesLeftovers(t *testing.T) {
	t.Parallel()
	w := still(t, 1)
	c, _ := adopted(t, w, newOwner())
	if !c.Park(time.Minute) || w.left.behind.Load() != 1 {
		t.Errorf("parked %d, want 1", w.left.behind.Load())
	}
	p, _ := adopted(t, w, nil) // without an owner nothing parks
	if p.Park(time.Minute) || w.left.behind.Load() != 1 {
		t.Error("an attempt without an owner is counted")
	}
	s, _ := adopted(t, w, newOwner()) // as after a handshake
	if s.WakeOwner(); w.left.behind.Load() != 2 {
		t.Errorf("%d, want 2: a goroutine has handed its connection on", w.left.behind.Load())
	}
}

// After a crowd has parked, the sweeper gives memory back by itself.
func TestWatcherTidies(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := &Watcher{done: make(chan struct{})}
		var tidied atomic.Int32
		w.tidy = func() { tidied.Add(1) }
		w.left.behind.Store(crowd)
		w.wait.Go(w.sweep)
		time.Sleep(quiet)
		if n := tidied.Load(); n != 0 {
			t.Errorf("given back %d times while the crowd may come again", n)
		}
		time.Sleep(time.Minute)
		w.Close()
		if n := tidied.Load(); n != 1 {
			t.Errorf("given back %d times, want once", n)
		}
	})
}

// A connection parks with part of a record in its layer, holds no buffer
// while it waits, and gives the whole record when the rest of it has come.
func TestLayerParks(t *testing.T) {
	t.Parallel()
	o := newOwner()
	c, client, tap := secured(t, newWatcher(t), o)
	h := &holder{}
	tap.hold = true
	for _, text := range []string{"hello", "h", ""} {
		io.WriteString(client, text)
		if text != "" {
			tap.let(7)
		}
		c.LimitRead(1)
		if n, err := c.ReadHeld(h); n != 0 || err != ErrLimit || h.held {
			t.Fatalf("%d, %v, held %v", n, err, h.held)
		}
		if !c.Park(0) {
			t.Fatal("does not park")
		}
		if text == "" {
			break
		}
		tap.let(-1)
		<-o.wake
		c.UseTask(nil) // not the one that woke us
		lent := h.lent
		n, err := c.ReadHeld(h)
		if string(h.buf[:max(n, 0)]) != text || err != nil || !h.held || h.lent != lent+1 {
			t.Errorf("%q, %v, held %v", h.buf[:n], err, h.held)
		}
	}
	client.Close()
	tap.let(-1)
	tap.TCPConn.CloseWrite()
	<-o.wake
	c.UseTask(nil)
	if _, err := c.ReadHeld(h); err != io.EOF || h.held {
		t.Errorf("at the end: %v", err)
	}
}

// What happens to connections after the end of the watcher does not touch its
// descriptors, which may be those of others by then.
func TestNobodyRingsAfterClose(t *testing.T) {
	w, err := NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	a, _ := sockets(t)
	c := w.Adopt(a, newOwner())
	defer c.Close()
	if !c.Park(time.Minute) {
		t.Fatal("did not park")
	}
	var p [2]int
	if err := unix.Pipe2(p[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		t.Fatal(err)
	}
	defer unix.Close(p[0])
	defer unix.Close(p[1])
	bell := c.loop.bell
	w.Close()
	again, err := unix.FcntlInt(uintptr(p[1]), unix.F_DUPFD_CLOEXEC, bell)
	if err != nil || again != bell {
		t.Fatalf("got descriptor %d (%v), want %d again", again, err, bell)
	}
	defer unix.Close(again)
	c.Abort()
	var b [8]byte
	if n, err := unix.Read(p[0], b[:]); err != unix.EAGAIN {
		t.Errorf("a descriptor that was the bell got %d bytes (%v), want none", n, err)
	}
}
