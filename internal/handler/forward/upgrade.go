package forward

import (
	"io"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/sockio"
)

// switchProtocols answers with 101 and lets the exchange become two streams of
// bytes (spec 3.6).
func (t *flight) switchProtocols() error {
	x := t.x
	if x.Request.Upgrade == nil {
		return t.fail(ReadHead, Application, errNotAsked)
	}
	x.Response.Status, x.Response.Reason = 101, t.head.Reason
	protocol := t.head.Header.Get(exchange.Upgrade)
	passFields(&t.head, &x.Response.Header)
	if protocol != nil {
		x.Response.Header.Add(exchange.Upgrade, protocol)
	}
	x.Detach() // there are going to be two goroutines
	if phase, side, err := becomeTunnel(x, &t.c.set, idleReader{t.link.sock}, t.buf, t.buf[t.r:t.w]); err != nil {
		return t.fail(phase, side, err)
	}
	return nil
}

// far is the application's end of a tunnel.
type far interface {
	// Read waits for no longer than the limit, which starts anew each time.
	io.ReadWriter

	CloseWrite() error
	Abort()
	LimitRead(time.Duration)
	LimitWrite(time.Duration)
}

// becomeTunnel answers with the 101 in x.Response and relays bytes, those first
// that have come from the application already. buf is for its direction. An
// error comes with where and at which side it was.
func becomeTunnel(x *exchange.Exchange, set *Settings, app far, buf, first []byte) (Phase, Side, error) {
	x.WhenGone(nil) // reading notices it from here on
	stream, err := x.Response.Writer.Upgrade(x)
	if err != nil {
		return SendResponse, Client, err
	}
	if set.Linger != nil {
		defer set.Linger()()
	}
	if len(first) > 0 {
		if _, err := stream.Write(first); err != nil {
			return Relay, Client, err
		}
	}
	side, err := tunnel(app, stream, buf)
	return Relay, side, err
}

const (
	tunnelBuffer = 8 << 10 // of the direction to the application; the other has the flight's

	// tunnelWrite is how long an application may take nothing at all.
	tunnelWrite = 2 * time.Minute

	// halfOpen is how long one direction may be idle when the other has
	// ended: a peer that is gone altogether looks the same.
	halfOpen = 30 * time.Second
)

// direction is one half of a tunnel.
type direction struct {
	moved atomic.Int64
	side  Side  // who failed
	err   error // nil: it ended as it should
}

// tunnel relays bytes both ways until both directions have ended, or one has
// failed, which ends the other.
func tunnel(app far, stream exchange.Stream, buf []byte) (Side, error) {
	app.LimitRead(0)
	app.LimitWrite(tunnelWrite)
	breakOff := func() {
		app.Abort()
		stream.Close()
	}
	var up, down direction
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		up.pump(app, stream, make([]byte, tunnelBuffer), Client)
		if up.err != nil || app.CloseWrite() != nil {
			breakOff()
			return
		}
		app.LimitRead(halfOpen)
	}()
	down.pump(stream, app, buf, Application)
	if down.err != nil || stream.CloseWrite() != nil {
		breakOff()
	}
	up.await(ended, breakOff)
	for _, d := range []*direction{&up, &down} {
		if d.err != nil && d.err != sockio.ErrAborted { // that one follows from the other
			return d.side, d.err
		}
	}
	return 0, nil
}

// pump copies until src, which is of the given side, ends.
func (d *direction) pump(dst io.Writer, src io.Reader, buf []byte, from Side) {
	for {
		n, err := src.Read(buf)
		if n > 0 {
			if _, err := dst.Write(buf[:n]); err != nil {
				d.side, d.err = 1-from, err
				return
			}
			d.moved.Add(int64(n))
		}
		if err != nil {
			if err != io.EOF {
				d.side, d.err = from, err
			}
			return
		}
	}
}

// await waits for a direction to end, for as long as bytes move.
func (d *direction) await(ended <-chan struct{}, breakOff func()) {
	t := time.NewTicker(halfOpen)
	defer t.Stop()
	for moved := int64(-1); ; {
		select {
		case <-ended:
			return
		case <-t.C:
		}
		now := d.moved.Load()
		if now == moved {
			breakOff()
			<-ended
			return
		}
		moved = now
	}
}

// idleReader reads from a connection whose limit, if there is one, starts anew
// with every read.
type idleReader struct{ *sockio.Conn }

func (r idleReader) Read(p []byte) (int, error) {
	r.Extend()
	return r.Conn.Read(p)
}
