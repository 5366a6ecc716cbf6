// Package throttle is the module that holds the responses of a site, all
// together, to so many bytes a second, as maxBandwidth of its limits asks for
// (spec iis-front 1.5).
//
// internal/plan puts it around the chain of every node of the site, error
// pages included. Where there is no limit, it is not in the chain.
package throttle

import (
	"errors"
	"io"
	"os"
	"sync"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// Bandwidth is what the responses of a site share. Plans hand it on, so that a
// reload gives nobody a second share.
type Bandwidth struct {
	mu   sync.Mutex
	rate int64     // bytes a second
	free time.Time // when what was taken will have been sent at that rate
}

// Limit sets the rate, in bytes a second; 0 holds nobody.
func (b *Bandwidth) Limit(rate int64) {
	b.mu.Lock()
	b.rate = rate
	b.mu.Unlock()
}

// burst is how much may be sent at once after a silence, as time at the rate.
const burst = time.Second

// take takes n bytes, now or after those of others who came before, and returns
// how long they have to wait.
func (b *Bandwidth) take(n int, now time.Time) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.rate <= 0 {
		return 0
	}
	if least := now.Add(-burst); b.free.Before(least) {
		b.free = least
	}
	b.free = b.free.Add(time.Duration(float64(n) / float64(b.rate) * float64(time.Second)))
	return b.free.Sub(now)
}

// piece returns how many bytes are sent at a time: a fraction of a second's, so
// that many responses have short waits in turn, or what is worth a call.
func (b *Bandwidth) piece() int64 {
	const shares, least, most = 64, 1 << 10, 256 << 10
	b.mu.Lock()
	defer b.mu.Unlock()
	return min(max(b.rate/shares, least), most)
}

// Module returns the module.
func Module(b *Bandwidth) exchange.Module {
	return func(next exchange.Handler) exchange.Handler {
		return exchange.HandlerFunc(func(x *exchange.Exchange) error {
			if w, ok := x.Response.Writer.(*writer); ok && w.bandwidth == b {
				return next.Serve(x) // after a rewrite
			}
			w := &writer{Writer: x.Response.Writer, bandwidth: b, x: x}
			x.Response.Writer = w
			err := next.Serve(x)
			x.Response.Writer = w.Writer
			return err
		})
	}
}

// writer sends a response piece by piece, each when it is its turn. What
// becomes a connection of its own, as a WebSocket does, is not held.
type writer struct {
	exchange.Writer
	bandwidth *Bandwidth
	x         *exchange.Exchange
}

// errGone is never written.
var errGone = &exchange.Error{Status: 400, Op: "send response", Err: errors.New("the client has gone")}

// await waits for the turn of n bytes of the body.
func (w *writer) await(n int) error {
	wait := w.bandwidth.take(n, time.Now())
	if wait <= 0 {
		return nil
	}
	if err := w.Writer.Flush(); err != nil { // of what came before
		return err
	}
	return w.pause(wait)
}

func (w *writer) pause(wait time.Duration) error {
	if wait > 0 && w.x.Pause(wait) {
		return errGone
	}
	return nil
}

// WriteHead implements exchange.Writer.
func (w *writer) WriteHead(x *exchange.Exchange) error {
	const line = 128 // and the fields of the driver, about
	n := line
	for i := range x.Response.Header.Fields {
		f := &x.Response.Header.Fields[i]
		n += len(f.NameBytes()) + len(f.Value) + len(": \r\n")
	}
	if err := w.pause(w.bandwidth.take(n, time.Now())); err != nil {
		return err
	}
	return w.Writer.WriteHead(x)
}

// Write implements exchange.Writer.
func (w *writer) Write(p []byte) (total int, err error) {
	for len(p) > 0 {
		n := min(len(p), int(w.bandwidth.piece()))
		if err := w.await(n); err != nil {
			return total, err
		}
		n, err = w.Writer.Write(p[:n])
		total += n
		if err != nil {
			return total, err
		}
		p = p[n:]
	}
	return total, nil
}

// ReadFrom implements exchange.Writer. What can be moved inside the kernel still
// is.
func (w *writer) ReadFrom(r io.Reader) (total int64, err error) {
	switch r := r.(type) {
	case *io.LimitedReader:
		for r.N > 0 {
			part := io.LimitedReader{R: r.R, N: min(r.N, w.bandwidth.piece())}
			want := part.N
			if err := w.await(int(want)); err != nil {
				return total, err
			}
			n, err := w.Writer.ReadFrom(&part)
			total += n
			r.N -= n
			if err != nil || n < want {
				return total, err
			}
		}
		return total, nil
	case *io.SectionReader:
		if whole, off, left := r.Outer(); isFile(whole) {
			return w.section(whole, off, left)
		}
	}
	return w.copy(r)
}

func isFile(r io.ReaderAt) bool {
	_, ok := r.(*os.File)
	return ok
}

// section sends a part of a file.
func (w *writer) section(f io.ReaderAt, off, left int64) (total int64, err error) {
	for left > 0 {
		want := min(left, w.bandwidth.piece())
		if err := w.await(int(want)); err != nil {
			return total, err
		}
		n, err := w.Writer.ReadFrom(io.NewSectionReader(f, off, want))
		total, off, left = total+n, off+n, left-n
		if err != nil || n < want {
			return total, err
		}
	}
	return total, nil
}

// copy sends what a read gives before the next, which may wait.
func (w *writer) copy(r io.Reader) (int64, error) {
	buf := make([]byte, min(w.bandwidth.piece(), 32<<10))
	return io.CopyBuffer(flushed{w}, struct{ io.Reader }{r}, buf)
}

// flushed sends every write at once.
type flushed struct{ w *writer }

func (f flushed) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = f.w.Flush()
	}
	return n, err
}
