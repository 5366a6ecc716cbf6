package outlet

import (
	"errors"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/http2"
)

// far is what an outlet writes to: a write ends when a result for it is sent.
type far struct {
	began   chan int // bytes of the write
	results chan error
}

func (f *far) Write(p []byte) (int, error) {
	f.began <- len(p)
	return len(p), <-f.results
}

// driver is what keeps an outlet.
type driver struct {
	mu   sync.Mutex
	h2   *http2.Conn
	out  Outlet
	to   far
	lost []error
}

func newDriver() *driver {
	d := &driver{to: far{make(chan int), make(chan error)}}
	d.h2 = http2.NewClient(http2.Limits{Head: http1.Limits{Line: 8 << 10, Fields: 32 << 10, Count: 100}, StreamWindow: 1 << 16, ConnWindow: 1 << 16}, 0)
	d.h2.Out(nil) // what a connection begins with
	d.out.Open(&d.mu, d.h2, &d.to, func(err error) { d.lost = append(d.lost, err) })
	return d
}

// locked runs f as a driver's goroutine.
func (d *driver) locked(f func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f()
}

const ping = 9 + 8 // bytes of a frame

// One sends for all: who finds it at that does not wait, and after one write the
// sender is free, whatever has gathered meanwhile.
func TestOneSendsForAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDriver()
		add := func() { d.h2.Ping(); d.out.Flush(false) }
		first := make(chan struct{})
		go func() { d.locked(add); close(first) }()
		sizes := []int{<-d.to.began}
		d.locked(add)
		d.locked(add)
		d.locked(func() { d.h2.Ping(); d.out.FlushAside() })
		d.to.results <- nil
		sizes = append(sizes, <-d.to.began)
		<-first
		finished := false
		go d.locked(func() { d.out.Finish(); finished = true })
		synctest.Wait()
		if finished || !d.out.Sending() {
			t.Error("it is finished while somebody writes")
		}
		d.to.results <- nil
		synctest.Wait()
		if want := []int{ping, 3 * ping}; !slices.Equal(sizes, want) || !finished || d.out.Sending() {
			t.Errorf("writes of %v bytes, want %v; finished %v", sizes, want, finished)
		}
	})
}

// Who must not wait does not, and who wants everything sent waits for that.
func TestFlushAsideAndAll(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDriver()
		d.locked(func() { d.h2.Ping(); d.out.FlushAside() })
		<-d.to.began
		sent := false
		go d.locked(func() { d.h2.Ping(); d.out.FlushAll(); sent = true })
		synctest.Wait()
		d.to.results <- nil
		<-d.to.began
		if sent {
			t.Error("not everything was sent")
		}
		d.to.results <- nil
		synctest.Wait()
		if !sent || d.h2.Pending() > 0 {
			t.Errorf("all sent: %v, and %d bytes wait", sent, d.h2.Pending())
		}
	})
}

// A write that fails ends it all: everybody who waits is woken, the driver is told
// once, and nothing is written any more.
func TestLost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDriver()
		broken := errors.New("broken")
		d.locked(func() { d.h2.Ping(); d.out.FlushAside() })
		<-d.to.began
		d.locked(func() {
			for !d.out.Full() || d.h2.Pending() <= MaxControl {
				d.h2.Ping()
			}
		})
		woken := 0
		for _, wait := range []func(){d.out.Room.Wait, d.out.Room.Wait, d.out.Drain, d.out.FlushAll} {
			go d.locked(func() { wait(); woken++ })
		}
		synctest.Wait()
		if woken > 0 {
			t.Errorf("%d did not wait", woken)
		}
		d.to.results <- broken
		synctest.Wait()
		d.locked(func() { d.out.Flush(true); d.out.FlushAside(); d.out.FlushAll(); d.out.Finish() })
		if woken != 4 || !slices.Equal(d.lost, []error{broken}) || d.out.Dead != broken {
			t.Errorf("%d were woken, told of %v, dead of %v", woken, d.lost, d.out.Dead)
		}
	})
}
