package sockio

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// work is an owner that does something on its task, once.
type work struct {
	c    *Conn
	do   func(*Conn)
	done chan struct{}
}

func (o *work) Wake() {
	o.do(o.c)
	close(o.done)
}

func (o *work) Gone() {}

// onTask has do called on a task of the connection that it returns the peer of.
func onTask(t *testing.T, w *Watcher, do func(*Conn)) (peer *net.TCPConn, done chan struct{}) {
	t.Helper()
	a, b := sockets(t)
	o := &work{do: do, done: make(chan struct{})}
	o.c = w.Adopt(a, o)
	if !o.c.Park(time.Minute) {
		t.Fatal("did not park")
	}
	t.Cleanup(func() {
		b.Close()
		<-o.done
		o.c.Close()
	})
	b.Write([]byte("0"))
	return b, o.done
}

// still returns a watcher with so many loops and without a sweeper: no task is
// detached because the machine did not let it run for a tick.
func still(t *testing.T, loops int) *Watcher {
	t.Helper()
	w, err := prepare(loops)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	return w
}

// arrived waits until the system has brought to c what its peer has written: that
// may take longer than a loop takes for its turns.
func arrived(t *testing.T, c *Conn) {
	t.Helper()
	eventually(t, "the arrival of bytes", func() bool { return !c.Alive() })
}

// Two tasks of one loop wait for their sockets at the same time.
func TestTasksTakeTurns(t *testing.T) {
	t.Parallel()
	w := still(t, 1)
	var at [2]atomic.Int32
	echo := func(i int) func(*Conn) {
		return func(c *Conn) {
			var b [1]byte
			for c.task.Attached() {
				if _, err := c.Read(b[:]); err != nil {
					return
				}
				at[i].Add(1)
				c.Write(b[:])
			}
			t.Error("detached, and nobody asked for that")
		}
	}
	p, first := onTask(t, w, echo(0))
	q, second := onTask(t, w, echo(1))
	var b [1]byte
	for n := int32(1); n < 50; n++ {
		for i, peer := range []*net.TCPConn{p, q} {
			if _, err := peer.Read(b[:]); err != nil {
				t.Fatal(err)
			}
			if got := at[i].Load(); got != n {
				t.Fatalf("task %d has read %d bytes, want %d", i, got, n)
			}
			peer.Write(b[:])
		}
	}
	p.Close()
	q.Close()
	<-first
	<-second
}

// A task that was detached may wait for what another one of its loop does.
func TestDetach(t *testing.T) {
	t.Parallel()
	for name, detach := range map[string]func(*Conn){
		"when asked":   func(c *Conn) { c.Task().Detach() },
		"twice":        func(c *Conn) { c.Task().Detach(); c.Task().Detach() },
		"by the watch": func(*Conn) {}, // after a tick or two, because the loop stands still
	} {
		t.Run(name, func(t *testing.T) {
			w := still(t, 1)
			if name == "by the watch" {
				w.wait.Go(w.sweep)
			}
			other := make(chan struct{})
			var b [1]byte
			peer, done := onTask(t, w, func(c *Conn) {
				if detach(c); name == "by the watch" {
					<-other
				}
				if c.task.Attached() {
					t.Error("waits on its loop")
					return
				}
				<-other
				for range 2 { // it can wait for its socket all the same
					if _, err := c.Read(b[:]); err != nil {
						t.Error(err)
					}
				}
			})
			onTask(t, w, func(*Conn) { close(other) })
			<-other
			peer.Write([]byte("1"))
			<-done
		})
	}
}

// A task is run again by its own loop, wherever the socket belongs to that it
// waits for.
func TestTaskWaitsForASocketOfAnotherLoop(t *testing.T) {
	t.Parallel()
	w := still(t, 2)
	links := map[*loop]*Conn{}
	for len(links) < 2 {
		c, _ := adopted(t, w, nil)
		links[c.loop] = c
	}
	_, done := onTask(t, w, func(c *Conn) {
		delete(links, c.loop)
		var link *Conn
		for _, link = range links {
		}
		link.UseTask(c.Task())
		go func() {
			eventually(t, "waiting", func() bool { return link.rd.state.Load() == sideTask })
			link.BreakRead()
		}()
		var b [1]byte
		if _, err := link.Read(b[:]); err != ErrLimit {
			t.Errorf("read: %v, want the limit", err)
		}
		if !c.task.Attached() {
			t.Error("detached, and nobody asked for that")
		}
	})
	<-done
}

// Many connections, closed and aborted in all states, with tasks that detach
// now and then: every owner comes to its end.
func TestTasksEnd(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	var all sync.WaitGroup
	for i := range 200 {
		all.Go(func() {
			peer, done := onTask(t, w, func(c *Conn) {
				if i%5 == 0 {
					c.Task().Detach()
				}
				var b [4]byte
				for {
					if _, err := c.Read(b[:]); err != nil {
						return
					}
					if i%7 == 0 {
						c.task.Pass()
					}
					if _, err := c.Write(b[:]); err != nil {
						return
					}
				}
			})
			var b [8]byte
			for range i % 4 {
				peer.Read(b[:])
				peer.Write([]byte("x"))
			}
			if i%3 == 0 {
				peer.SetLinger(0)
			}
			peer.Close()
			<-done
		})
	}
	all.Wait()
	for _, l := range w.loops {
		eventually(t, "giving the tasks back", func() bool {
			l.trim()
			l.mu.Lock()
			defer l.mu.Unlock()
			return len(l.idle) == 0
		})
	}
}

// A task that never has to wait, but passes, does not keep its loop from
// looking at the other connections.
func TestPassLetsTheLoopLook(t *testing.T) {
	t.Parallel()
	w := still(t, 1)
	var served atomic.Bool
	a, b := sockets(t)
	other := &work{do: func(*Conn) { served.Store(true) }, done: make(chan struct{})}
	other.c = w.Adopt(a, other)
	t.Cleanup(func() { other.c.Close() })
	if !other.c.Park(time.Minute) {
		t.Fatal("did not park")
	}
	_, done := onTask(t, w, func(c *Conn) {
		b.Write([]byte("1"))
		for n := 0; !served.Load(); n++ {
			if n == 1e6 {
				t.Error("passed a million times, and the other connection had no turn")
				return
			}
			c.task.Pass()
		}
	})
	<-done
	<-other.done
}

// pit is a layer that takes everything and sends nothing.
type pit struct{}

func (pit) Read([]byte) (int, error) { return 0, ErrDry }
func (pit) CloseWrite() error        { return nil }

func (pit) Write(p []byte) (int, error) { return len(p), nil }

// A task that writes on and on to a peer which takes everything lets others of
// its loop run.
func TestWriteLeavesTurns(t *testing.T) {
	t.Parallel()
	w := still(t, 1)
	var served atomic.Bool
	a, b := sockets(t)
	other := &work{do: func(*Conn) { served.Store(true) }, done: make(chan struct{})}
	other.c = w.Adopt(a, other)
	t.Cleanup(func() { other.c.Close() })
	if !other.c.Park(time.Minute) {
		t.Fatal("did not park")
	}
	_, done := onTask(t, w, func(c *Conn) {
		c.Through(pit{})
		b.Write([]byte("1"))
		arrived(t, other.c)
		for n := 0; !served.Load(); {
			k, _ := c.Write(make([]byte, 1000))
			if n += k; n > 10*copyStep {
				t.Errorf("wrote %d bytes, and the other connection had no turn", n)
				return
			}
		}
	})
	<-done
	<-other.done
}

// foreign is a connection that no loop can have, and that looks at the task
// which uses it.
type foreign struct {
	net.Conn
	used func()
}

func (w foreign) Read(p []byte) (int, error)  { w.used(); return w.Conn.Read(p) }
func (w foreign) Write(p []byte) (int, error) { w.used(); return w.Conn.Write(p) }

// A connection that is not the loop's, as when no descriptor was left for it,
// does not stop the loop of a task that uses it.
func TestTaskLeavesItsLoopForOtherConnections(t *testing.T) {
	t.Parallel()
	w := still(t, 1)
	for name, use := range map[string]func(*Conn, []byte) (int, error){"read": (*Conn).Read, "write": (*Conn).Write} {
		near, far := net.Pipe()
		_, done := onTask(t, w, func(c *Conn) {
			link := w.AdoptFor(c.Task(), foreign{near, func() {
				if c.task.Attached() {
					t.Errorf("%s: waits on its loop", name)
				}
				near.Close()
			}}, nil)
			defer link.Close()
			use(link, make([]byte, 1))
		})
		<-done
		far.Close()
	}
}

// counter counts those that were woken.
type counter struct {
	all  *atomic.Int32
	then func(n int32) // what it does as the nth
}

func (o *counter) Wake() { o.then(o.all.Add(1)) }

func (o *counter) Gone() {}

// Who has something to read does not wait until all are served whose limit has
// passed in the same tick.
func TestPostsTakeTurns(t *testing.T) {
	t.Parallel()
	w := still(t, 1)
	var all atomic.Int32
	park := func(then func(int32)) (*Conn, *net.TCPConn) {
		c, peer := adopted(t, w, &counter{&all, then})
		if !c.Park(time.Minute) {
			t.Fatal("did not park")
		}
		return c, peer
	}
	read := make(chan int32, 1)
	reader, peer := park(func(n int32) { read <- n })
	var late []*Conn
	for range 10 * mostPosted {
		c, _ := park(func(n int32) {
			if n == 1 {
				peer.Write([]byte("x"))
				arrived(t, reader)
			}
		})
		late = append(late, c)
	}
	_, held := onTask(t, w, func(*Conn) { // the loop does nothing else meanwhile
		for _, c := range late {
			c.Abort()
		}
	})
	<-held
	if n := <-read; n > 3*mostPosted {
		t.Errorf("it was the %dth of %d", n, len(late)+1)
	}
	eventually(t, "waking all", func() bool { return all.Load() == int32(len(late)+1) })
}
