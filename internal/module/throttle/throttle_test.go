package throttle

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

const (
	rate = 50_000
	size = 5 * rate
)

// answer is a handler that sends size bytes in a way of its own.
func answer(send func(exchange.Writer) error) exchange.Handler {
	return exchange.HandlerFunc(func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, size
		if err := x.Response.Writer.WriteHead(x); err != nil {
			return err
		}
		return send(x.Response.Writer)
	})
}

func limited() *Bandwidth {
	b := new(Bandwidth)
	b.Limit(rate)
	return b
}

// near reports whether a time is about so many seconds, beyond which a tenth of
// one may pass in the end.
func near(d time.Duration, seconds float64) bool {
	return d.Seconds() >= seconds && d.Seconds() < seconds+0.2
}

var body = bytes.Repeat([]byte("0123456789"), size/10)

// What is sent at a rate takes its time, less the first second, however it is
// sent.
func TestWays(t *testing.T) {
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, append([]byte("before"), body...), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	readFrom := func(r func() io.Reader) func(exchange.Writer) error {
		return func(w exchange.Writer) error {
			n, err := w.ReadFrom(r())
			if err == nil && n != size {
				err = errors.New("not all was sent")
			}
			return err
		}
	}
	for name, send := range map[string]func(exchange.Writer) error{
		"write":   func(w exchange.Writer) error { _, err := w.Write(body); return err },
		"limited": readFrom(func() io.Reader { return io.LimitReader(bytes.NewReader(append(body, "behind"...)), size) }),
		"file":    readFrom(func() io.Reader { return io.NewSectionReader(f, int64(len("before")), size) }),
		"section": readFrom(func() io.Reader { return io.NewSectionReader(bytes.NewReader(body), 0, size) }),
		"reader":  readFrom(func() io.Reader { return iotest.HalfReader(bytes.NewReader(body)) }),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				x, w := exchangetest.New("GET", "/")
				begin := time.Now()
				if err := Module(limited())(answer(send)).Serve(x); err != nil {
					t.Fatal(err)
				}
				if took := time.Since(begin); !near(took, size/rate-1) {
					t.Errorf("%d bytes took %v", size, took)
				}
				if err := w.Problem(); err != nil || !bytes.Equal(w.Body, body) || (w.FileBytes == size) != (name == "file") {
					t.Errorf("%d bytes were sent, %d of them from a file: %v", len(w.Body), w.FileBytes, err)
				}
				if x.Response.Writer != exchange.Writer(w) {
					t.Error("the writer stays in front")
				}
			})
		})
	}
}

// Responses take turns, and nobody is held up by who has gone.
func TestShares(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, begin := limited(), time.Now()
		h := Module(b)(answer(func(w exchange.Writer) error { _, err := w.Write(body); return err }))
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				x, _ := exchangetest.New("GET", "/")
				if err := h.Serve(x); err != nil {
					t.Error(err)
				}
				if took := time.Since(begin); took < (3*size/rate-4)*time.Second {
					t.Errorf("one of three was done after %v", took)
				}
			})
		}
		x, _ := exchangetest.New("GET", "/")
		all.Go(func() {
			if err := h.Serve(x); err != error(errGone) {
				t.Errorf("the client has gone: %v", err)
			}
		})
		time.Sleep(time.Second)
		x.ClientGone()
		all.Wait()
		// A quarter of two seconds went to the one that has gone.
		if took := time.Since(begin); took < (3*size/rate-1)*time.Second || took > (3*size/rate+1)*time.Second {
			t.Errorf("three took %v", took)
		}
	})
}

// A response that a rewrite has led through two chains counts once, and one
// that is not held any more goes at once.
func TestOnceAndNotAnyMore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := limited()
		h := Module(b)(Module(b)(answer(func(w exchange.Writer) error { _, err := w.Write(body); return err })))
		for _, seconds := range []float64{size/rate - 1, 0} {
			x, _ := exchangetest.New("GET", "/")
			begin := time.Now()
			if err := h.Serve(x); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(begin); !near(took, seconds) {
				t.Errorf("took %v, want %v s", took, seconds)
			}
			b.Limit(0)
		}
	})
}
