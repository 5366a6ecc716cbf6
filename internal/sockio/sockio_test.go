package sockio

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// owner counts what it is told.
type owner struct {
	woken, gone atomic.Int32
	wake        chan struct{}
}

func newOwner() *owner { return &owner{wake: make(chan struct{}, 100)} }

func (o *owner) Wake() {
	o.woken.Add(1)
	o.wake <- struct{}{}
}

func (o *owner) Gone() { o.gone.Add(1) }

// newWatcher returns a watcher for which the kernel never lacks memory.
func newWatcher(tb testing.TB) *Watcher {
	tb.Helper()
	w, err := NewWatcher()
	if err != nil {
		tb.Fatal(err)
	}
	w.JudgeMemory(func() bool { return false })
	tb.Cleanup(w.Close)
	return w
}

// sockets returns the two ends of a loopback connection with small buffers,
// so that a write soon has to wait.
func sockets(tb testing.TB) (a, b *net.TCPConn) {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	small := func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) { setReceiveBuffer(fd, 4<<10) })
	}
	nc, err := (&net.Dialer{Control: small}).Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	other, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	a, b = other.(*net.TCPConn), nc.(*net.TCPConn)
	a.SetWriteBuffer(8 << 10)
	tb.Cleanup(func() { a.Close(); b.Close() })
	return a, b
}

// adopted returns a Conn on a loopback socket and its peer.
func adopted(tb testing.TB, w *Watcher, o Owner) (*Conn, *net.TCPConn) {
	tb.Helper()
	a, b := sockets(tb)
	c := w.Adopt(a, o)
	tb.Cleanup(func() { c.Close() })
	return c, b
}

// eventually waits for something that another goroutine or the kernel does.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(10 * time.Second); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("%s did not happen", what)
		}
	}
}

func TestReadAndWrite(t *testing.T) {
	t.Parallel()
	c, peer := adopted(t, newWatcher(t), nil)
	go peer.Write([]byte("hello"))
	var b [10]byte
	if n, err := c.Read(b[:]); string(b[:n]) != "hello" || err != nil {
		t.Errorf("%q, %v", b[:n], err)
	}
	if n, err := c.Read(nil); n != 0 || err != nil {
		t.Errorf("into nothing: %d, %v", n, err)
	}
	large := bytes.Repeat([]byte("0123456789"), 100_000)
	go func() {
		c.Write(large)
		c.CloseWrite()
	}()
	if got, err := io.ReadAll(peer); !bytes.Equal(got, large) || err != nil {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	peer.Close()
	if n, err := c.Read(b[:]); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	eventually(t, "failing", func() bool { _, err := c.Write(large); return err != nil })
}

func TestAlive(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	c, peer := adopted(t, w, nil)
	if !c.Alive() {
		t.Error("an open and silent connection")
	}
	peer.Write([]byte("x"))
	if kernelSockets {
		eventually(t, "noticing what nobody asked for", func() bool { return !c.Alive() })
		c, peer = adopted(t, w, nil)
		peer.Close()
		eventually(t, "noticing the end", func() bool { return !c.Alive() })
	}
	a, _ := net.Pipe()
	p := w.Adopt(a, nil)
	defer p.Close()
	if !p.Alive() {
		t.Error("a pipe")
	}
	if p.Abort(); p.Alive() {
		t.Error("an aborted pipe")
	}
}

// within fails unless a limit of d, set at begin, fired in time: never early,
// and at most two ticks late.
func within(t *testing.T, what string, begin time.Time, d time.Duration) {
	t.Helper()
	if took := time.Since(begin); took < d || took > d+2*Tick {
		t.Errorf("%s: fired after %v, want %v and at most two ticks more", what, took, d)
	}
}

func TestReadLimit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t)
		a, peer := net.Pipe()
		c := w.Adopt(a, nil)
		defer c.Close()
		var b [10]byte
		for _, d := range []time.Duration{Tick, time.Second, 1234 * time.Millisecond, time.Minute} {
			time.Sleep(37 * time.Millisecond) // the clock stands between two ticks
			begin := time.Now()
			c.LimitRead(d)
			if _, err := c.Read(b[:]); err != ErrLimit {
				t.Fatalf("%v: %v", d, err)
			}
			within(t, "read", begin, d)
			if _, err := c.Read(b[:]); err != ErrLimit || !c.Expired() {
				t.Errorf("a limit stays until it is set anew: %v", err)
			}
		}
		// It spans reads, and setting it anew makes the connection usable.
		c.LimitRead(time.Second)
		begin := time.Now()
		go func() {
			for range 2 {
				time.Sleep(400 * time.Millisecond)
				peer.Write([]byte("x"))
			}
		}()
		for range 2 {
			if n, err := c.Read(b[:]); n != 1 || err != nil {
				t.Errorf("%d, %v", n, err)
			}
		}
		if _, err := c.Read(b[:]); err != ErrLimit {
			t.Error(err)
		}
		within(t, "three reads", begin, time.Second)
		c.LimitRead(time.Second)
		begin = time.Now()
		time.Sleep(800 * time.Millisecond)
		c.Extend()
		if _, err := c.Read(b[:]); err != ErrLimit {
			t.Error(err)
		}
		within(t, "extended read", begin, 1800*time.Millisecond)
		if c.Extend(); !c.Expired() {
			t.Error("a limit that has fired was extended")
		}
		c.LimitRead(0)
		go func() {
			time.Sleep(time.Hour)
			peer.Write([]byte("late"))
		}()
		if n, err := c.Read(b[:]); string(b[:n]) != "late" || err != nil {
			t.Errorf("without a limit: %q, %v", b[:n], err)
		}
	})
}

func TestReadLimitOnSocket(t *testing.T) {
	t.Parallel()
	c, peer := adopted(t, newWatcher(t), nil)
	var b [10]byte
	for range 2 {
		c.LimitRead(Tick)
		if _, err := c.Read(b[:]); err != ErrLimit {
			t.Fatal(err)
		}
	}
	if c.Unlimit() {
		t.Error("the limit fired, and the connection counts as whole")
	}
	peer.Write([]byte("x"))
	c.LimitRead(time.Minute)
	if n, err := c.Read(b[:]); n != 1 || err != nil {
		t.Errorf("after the limit was set anew: %d, %v", n, err)
	}
	if !c.Unlimit() {
		t.Error("nothing fired, and the connection counts as broken")
	}
}

func TestBreakRead(t *testing.T) {
	t.Parallel()
	c, peer := adopted(t, newWatcher(t), nil)
	done := make(chan error)
	read := func() {
		var b [1]byte
		_, err := c.Read(b[:])
		done <- err
	}
	go read()
	c.BreakRead()
	if err := <-done; err != ErrLimit {
		t.Error(err)
	}
	go read()
	if err := <-done; err != ErrLimit {
		t.Errorf("a later read: %v", err)
	}
	c.LimitRead(0)
	go read()
	peer.Write([]byte("x"))
	if err := <-done; err != nil {
		t.Errorf("once forgiven: %v", err)
	}
}

func TestAbort(t *testing.T) {
	t.Parallel()
	c, _ := adopted(t, newWatcher(t), nil)
	done := make(chan error, 2)
	go func() {
		var b [1]byte
		_, err := c.Read(b[:])
		done <- err
	}()
	go func() {
		_, err := c.Write(make([]byte, 10<<20))
		done <- err
	}()
	c.Abort()
	for range 2 {
		if err := <-done; err != ErrAborted {
			t.Error(err)
		}
	}
	c.LimitRead(time.Minute) // does not bring it back
	if _, err := c.Read(make([]byte, 1)); err != ErrAborted || c.Unlimit() || !c.Aborted() {
		t.Errorf("later: %v", err)
	}
	if _, err := c.Write([]byte("x")); err != ErrAborted {
		t.Errorf("later: %v", err)
	}
}

// A limit that fires while it is being set anew must neither break the
// connection nor be forgotten. Every round either reads or fires.
func TestReadLimitRaces(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	c, peer := adopted(t, w, nil)
	go func() {
		for {
			if _, err := peer.Write([]byte("x")); err != nil {
				return
			}
			time.Sleep(Tick / 50)
		}
	}()
	stop := make(chan struct{})
	swept := make(chan struct{})
	go func() { // a sweeper of its own that finds every limit passed
		defer close(swept)
		for {
			select {
			case <-stop:
				return
			default:
				if c.readLimit.expire(c.readLimit.at.Load(), time.Now().Add(time.Hour).UnixNano()) {
					c.nc.SetReadDeadline(past())
				}
			}
		}
	}()
	read, fired := 0, 0
	var b [100]byte
	// With a single processor, a round beside one who never waits takes long.
	for n, end := 0, time.Now().Add(3*time.Second); n < 2000 && time.Now().Before(end); n++ {
		c.LimitRead(time.Minute)
		switch _, err := c.Read(b[:]); err {
		case nil:
			read++
		case ErrLimit:
			fired++
		default:
			t.Fatal(err)
		}
	}
	close(stop)
	<-swept
	c.LimitRead(0)
	if _, err := c.Read(b[:]); err != nil {
		t.Errorf("after %d reads and %d limits: %v", read, fired, err)
	}
	if fired == 0 {
		t.Error("no limit fired")
	}
}

func TestWriteLimit(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name  string
		grace time.Duration
		rate  int64
		size  int
		want  time.Duration
	}{
		{"no rate", time.Second, 0, 1000, time.Second},
		{"small write", 5 * time.Second, 240, 100, 5 * time.Second},
		{"rate", 5 * time.Second, 240, 2400, 10 * time.Second},
		// What waits is at most 16 KiB: 68.3 s at 240 bytes a second.
		{"large write", 5 * time.Second, 240, 1 << 20, patience * time.Second / 240},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w := newWatcher(t)
				a, _ := net.Pipe()
				c := w.Adopt(a, nil)
				defer c.Close()
				c.LimitWrite(tt.grace)
				c.MinRate(tt.rate)
				begin := time.Now()
				if _, err := c.Write(make([]byte, tt.size)); err != ErrLimit {
					t.Error(err)
				}
				within(t, "write", begin, tt.want)
				if _, err := c.Write([]byte("x")); err != ErrLimit || c.Unlimit() {
					t.Errorf("it is final: %v", err)
				}
			})
		})
	}
}

// A reader that takes what the minimum rate asks is not cut, however long the
// write takes. On a pipe, one piece of 16 KiB has 68 seconds.
func TestSlowReaderIsNotCut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t)
		a, peer := net.Pipe()
		c := w.Adopt(a, nil)
		defer c.Close()
		c.LimitWrite(5 * time.Second)
		c.MinRate(240)
		const size = 100 << 10
		begin := time.Now()
		go func() {
			b := make([]byte, 250)
			for taken := 0; taken < size; {
				time.Sleep(time.Second)
				n, _ := peer.Read(b)
				taken += n
			}
		}()
		if n, err := c.Write(make([]byte, size)); n != size || err != nil {
			t.Errorf("%d, %v after %v", n, err, time.Since(begin))
		}
		if time.Since(begin) < size/250*time.Second {
			t.Errorf("it took %v only", time.Since(begin))
		}
		time.Sleep(time.Hour) // the limit of a write that is done does not fire
		go io.ReadFull(peer, make([]byte, 1))
		if _, err := c.Write([]byte("x")); err != nil {
			t.Errorf("later: %v", err)
		}
	})
}

// The same on sockets, where the kernel's queue tells what was taken: by
// writing, from a file, and from another socket.
func TestSlowReaderOnSockets(t *testing.T) {
	t.Parallel()
	if !kernelSockets {
		t.Skip("this system cannot tell what the kernel holds")
	}
	const size = 640 << 10
	const limit = 15 * Tick // a busy machine may not let the reader run for a while
	w := newWatcher(t)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
	send := map[string]func(*Conn) (int64, error){
		"write": func(c *Conn) (int64, error) {
			n, err := c.Write(make([]byte, size))
			return int64(n), err
		},
		"file": func(c *Conn) (int64, error) {
			f, err := os.Open(file)
			if err != nil {
				return 0, err
			}
			defer f.Close()
			return c.SendFile([]byte("head"), f, 0, size)
		},
		"splice": func(c *Conn) (int64, error) {
			a, b := sockets(t)
			src := w.Adopt(a, nil)
			defer src.Close()
			go b.Write(make([]byte, size))
			return c.Splice(src, size)
		},
	}
	for name, f := range send {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, peer := adopted(t, w, nil)
			c.LimitWrite(limit)
			go func() { // about 200 KiB a second, in sips
				b := make([]byte, 2<<10)
				for {
					if _, err := peer.Read(b); err != nil {
						return
					}
					time.Sleep(Tick / 10)
				}
			}()
			begin := time.Now()
			n, err := f(c)
			if n != size || err != nil {
				t.Errorf("slow: %d, %v", n, err)
			}
			if took := time.Since(begin); took < limit+2*Tick {
				t.Errorf("%v is not slow", took)
			}
		})
		t.Run(name+" stalled", func(t *testing.T) {
			t.Parallel()
			c, _ := adopted(t, w, nil)
			c.LimitWrite(limit)
			begin := time.Now()
			_, err := f(c)
			if !errors.Is(err, ErrLimit) {
				t.Errorf("stalled: %v", err)
			}
			if took := time.Since(begin); took < limit { // how late depends on the machine too
				t.Errorf("cut after %v", took)
			}
		})
	}
}

// Nothing is kept for a peer that did not take its bytes in time.
func TestWriteLimitResets(t *testing.T) {
	t.Parallel()
	c, peer := adopted(t, newWatcher(t), nil)
	c.LimitWrite(Tick)
	if _, err := c.Write(make([]byte, 32<<20)); err != ErrLimit {
		t.Fatal(err)
	}
	c.CloseWrite() // as a driver does that has cut a response
	c.Close()
	if _, err := io.Copy(io.Discard, peer); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the peer reads %v", err)
	}
}

func TestSendFile(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	const text = "0123456789"
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tests := []struct {
		name     string
		head     string
		off, ask int64
		want     string // of the file
	}{
		{"whole", "head", 0, 10, text},
		{"without a head", "", 0, 10, text},
		{"a part", "head", 2, 3, "234"},
		{"shorter than asked", "head", 4, 100, "456789"},
		{"behind the end", "head", 10, 5, ""},
		{"nothing", "head", 5, 0, ""},
		{"head larger than the buffers", strings.Repeat("head", 1<<18), 1, 2, "12"},
	}
	for _, tt := range tests {
		for _, kind := range []string{"socket", "pipe"} {
			var c *Conn
			var peer net.Conn
			if kind == "pipe" {
				var a net.Conn
				a, peer = net.Pipe()
				c = w.Adopt(a, nil)
			} else {
				c, peer = adopted(t, w, nil)
			}
			got := make(chan string)
			go func() {
				b, _ := io.ReadAll(peer)
				got <- string(b)
			}()
			n, err := c.SendFile([]byte(tt.head), f, tt.off, tt.ask)
			if n != int64(len(tt.want)) || err != nil {
				t.Errorf("%s to a %s: %d, %v", tt.name, kind, n, err)
			}
			c.Close()
			if g := <-got; g != tt.head+tt.want {
				t.Errorf("%s to a %s: sent %d bytes, %.50q", tt.name, kind, len(g), g)
			}
		}
	}
	if at, err := f.Seek(0, io.SeekCurrent); at != 0 || err != nil {
		t.Errorf("the position of the file was moved to %d, %v", at, err)
	}
}

// Many connections send parts of one open file at once.
func TestSendFileIsShared(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	content := make([]byte, 3<<20)
	for i := range content {
		content[i] = byte(i * i >> 7)
	}
	name := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(name, content, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var all sync.WaitGroup
	for i := range 8 {
		c, peer := adopted(t, w, nil)
		from := i * 1000
		all.Go(func() {
			defer c.Close()
			for range 3 {
				if n, err := c.SendFile([]byte("-"), f, int64(from), int64(len(content)-2*from)); err != nil {
					t.Errorf("sent %d: %v", n, err)
				}
			}
		})
		all.Go(func() {
			got, err := io.ReadAll(peer)
			want := "-" + string(content[from:len(content)-from])
			if err != nil || string(got) != want+want+want {
				t.Errorf("from %d: %d bytes are not three times the file's (%v)", from, len(got), err)
			}
		})
	}
	all.Wait()
}
