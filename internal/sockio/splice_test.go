package sockio

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// relay is a transfer from one peer to another: source -> src -> dst -> sink.
type relay struct {
	src, dst     *Conn
	source, sink net.Conn
}

// newRelay returns one through the kernel, or through user space.
func newRelay(t *testing.T, w *Watcher, kernel bool) *relay {
	t.Helper()
	r := new(relay)
	if kernel {
		r.src, r.source = adopted(t, w, nil)
		r.dst, r.sink = adopted(t, w, nil)
		return r
	}
	a, source := net.Pipe()
	b, sink := net.Pipe()
	r.src, r.source, r.dst, r.sink = w.Adopt(a, nil), source, w.Adopt(b, nil), sink
	t.Cleanup(func() { r.src.Close(); r.dst.Close(); source.Close(); sink.Close() })
	return r
}

func TestSplice(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	data := make([]byte, 1<<20)
	rand.NewChaCha8([32]byte{}).Read(data)
	for _, kernel := range []bool{true, false} {
		for _, n := range []int{0, 1, 4096, copySize, copySize + 1, 1 << 20} {
			r := newRelay(t, w, kernel)
			go r.source.Write(append(data[:n:n], "next"...)) // what follows stays where it is
			got := make(chan []byte)
			go func() {
				b := make([]byte, n)
				io.ReadFull(r.sink, b)
				got <- b
			}()
			moved, err := r.dst.Splice(r.src, int64(n))
			if moved != int64(n) || err != nil {
				t.Errorf("kernel %v, %d bytes: %d, %v", kernel, n, moved, err)
			}
			if !bytes.Equal(<-got, data[:n]) {
				t.Errorf("kernel %v, %d bytes: not the same", kernel, n)
			}
			b := make([]byte, 4)
			if _, err := io.ReadFull(struct{ io.Reader }{r.src}, b); string(b) != "next" || err != nil {
				t.Errorf("kernel %v, %d bytes: then %q, %v", kernel, n, b, err)
			}
		}
	}
}

func TestSpliceFails(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	const size = 4 << 20 // more than the sockets hold
	tests := []struct {
		name    string
		during  func(r *relay)
		reading bool
		want    error // nil: any
	}{
		{"the source ends early", func(r *relay) {
			go io.Copy(io.Discard, r.sink)
			r.source.Write([]byte("abc"))
			r.source.Close()
		}, true, io.ErrUnexpectedEOF},
		{"the source is silent", func(r *relay) {
			go io.Copy(io.Discard, r.sink)
			r.source.Write([]byte("abc"))
			r.src.LimitRead(Tick)
		}, true, ErrLimit},
		{"the source is broken off", func(r *relay) {
			go io.Copy(io.Discard, r.sink)
			r.source.Write([]byte("abc"))
			r.src.Abort()
		}, true, ErrAborted},
		{"reading is broken off", func(r *relay) {
			go io.Copy(io.Discard, r.sink)
			r.source.Write([]byte("abc"))
			r.src.BreakRead()
		}, true, ErrLimit},
		{"the destination takes nothing", func(r *relay) {
			go r.source.Write(make([]byte, size))
			r.dst.LimitWrite(Tick)
		}, false, ErrLimit},
		{"the destination is broken off", func(r *relay) {
			go r.source.Write(make([]byte, size))
			r.dst.Abort()
		}, false, ErrAborted},
		{"the destination has gone", func(r *relay) {
			r.sink.Close()
			go r.source.Write(make([]byte, size))
		}, false, nil},
	}
	for _, tt := range tests {
		for _, kernel := range []bool{true, false} {
			t.Run(tt.name, func(t *testing.T) {
				t.Parallel()
				r := newRelay(t, w, kernel)
				go tt.during(r)
				if tt.name == "the source is silent" || tt.name == "the destination takes nothing" {
					// A limit is that of the transfer if it was set before it.
					r.src.LimitRead(map[bool]time.Duration{true: Tick, false: 0}[tt.reading])
					r.dst.LimitWrite(map[bool]time.Duration{true: 0, false: Tick}[tt.reading])
				}
				moved, err := r.dst.Splice(r.src, size)
				var side *SideError
				if !errors.As(err, &side) || side.Reading != tt.reading || tt.want != nil && side.Err != tt.want {
					t.Errorf("kernel %v: %d, %v, want reading %v, %v", kernel, moved, err, tt.reading, tt.want)
				}
			})
		}
	}
}

// The limit of the source is not used up by a slow destination: whoever is
// waited for is to blame.
func TestSpliceBlamesTheRightSide(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWatcher(t)
		r := newRelay(t, w, false)
		r.src.LimitRead(time.Second)
		r.dst.LimitWrite(time.Hour)
		go func() {
			for range 3 {
				r.source.Write([]byte("abc"))
			}
		}()
		go func() {
			b := make([]byte, 3)
			for range 3 {
				time.Sleep(time.Minute)
				io.ReadFull(r.sink, b)
			}
		}()
		if n, err := r.dst.Splice(r.src, 9); n != 9 || err != nil {
			t.Errorf("%d, %v", n, err)
		}
		time.Sleep(time.Hour)
		if r.src.Expired() {
			t.Error("the limit is off after the transfer")
		}
	})
}

// With a minimum rate, a source that sends now and then is cut once its
// waits have added up; without one, each wait has the whole limit.
func TestSpliceKeepsTheRate(t *testing.T) {
	t.Parallel()
	for _, rate := range []int64{0, 240} {
		synctest.Test(t, func(t *testing.T) {
			w := newWatcher(t)
			r := newRelay(t, w, false)
			r.src.LimitRead(5 * time.Second)
			r.src.MinRate(rate)
			go func() { // a byte every four seconds
				for err := error(nil); err == nil; _, err = r.source.Write([]byte("x")) {
					time.Sleep(4 * time.Second)
				}
			}()
			go io.Copy(io.Discard, r.sink)
			begin := time.Now()
			n, err := r.dst.Splice(r.src, 10)
			took := time.Since(begin)
			r.source.Close()
			time.Sleep(time.Minute) // lets the goroutines end
			if rate == 0 {
				if n != 10 || err != nil {
					t.Errorf("%d, %v", n, err)
				}
				return
			}
			if !errors.Is(err, ErrLimit) || n != 1 {
				t.Errorf("%d, %v", n, err)
			}
			if took < 5*time.Second || took > 5*time.Second+3*Tick { // waits are measured in ticks too
				t.Errorf("cut after %v", took)
			}
		})
	}
}

// Nor does one that sends before any wait is over.
func TestSpliceKeepsTheRateOfSingleBytes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRelay(t, newWatcher(t), false)
		r.src.LimitRead(5 * time.Second)
		r.src.MinRate(240)
		go func() {
			for err := error(nil); err == nil; _, err = r.source.Write([]byte("x")) {
				time.Sleep(93 * time.Millisecond) // never at the very moment of a tick
			}
		}()
		go io.Copy(io.Discard, r.sink)
		begin := time.Now()
		_, err := r.dst.Splice(r.src, 10_000)
		took := time.Since(begin)
		r.source.Close()
		time.Sleep(time.Minute) // lets the goroutines end
		if !errors.Is(err, ErrLimit) || took < 5*time.Second || took > 6*time.Second {
			t.Errorf("cut after %v with %v", took, err)
		}
	})
}

// What a source has sent fast does not buy it more than a bounded silence.
func TestSpliceBoundsCredit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const fast = 1 << 20
		r := newRelay(t, newWatcher(t), false)
		r.src.LimitRead(5 * time.Second)
		r.src.MinRate(240)
		go r.source.Write(make([]byte, fast))
		go io.Copy(io.Discard, r.sink)
		begin := time.Now()
		n, err := r.dst.Splice(r.src, 2*fast)
		took, want := time.Since(begin), patience*time.Second/240
		if !errors.Is(err, ErrLimit) || n != fast || took < want || took > want+3*Tick {
			t.Errorf("%d, %v after %v, want to wait for %v", n, err, took, want)
		}
		r.source.Close()
		time.Sleep(time.Minute) // lets the goroutines end
	})
}

// Pipes are kept for the next transfer when they are empty, and closed when
// they may not be: none is lost. Not parallel: it counts descriptors.
func TestSpliceLeaksNothing(t *testing.T) {
	if !kernelSockets {
		t.Skip("bytes do not move inside the kernel on this system")
	}
	w := newWatcher(t)
	transfer := func(ok bool) {
		r := newRelay(t, w, true)
		go func() {
			r.source.Write(make([]byte, 100<<10))
			if !ok {
				r.source.Close()
			}
		}()
		if ok {
			go io.Copy(io.Discard, r.sink)
		} else {
			r.dst.Abort()
		}
		if _, err := r.dst.Splice(r.src, 100<<10); (err == nil) != ok {
			t.Fatalf("%v, want ok %v", err, ok)
		}
		for _, c := range []io.Closer{r.src, r.dst, r.source, r.sink} {
			c.Close()
		}
	}
	transfer(true)
	before := descriptors(t)
	for i := range 50 {
		transfer(i%2 == 0)
	}
	eventually(t, "closing all", func() bool { return descriptors(t) <= before })
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(all)
}
