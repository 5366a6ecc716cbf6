package serve

import (
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http2"
	"github.com/perchserver/perch/internal/sockio"
)

// h2stream is one request on an HTTP/2 connection and its response: what a
// session is for HTTP/1.1. Streams are pooled.
type h2stream struct {
	http2.Stream
	c     *h2conn
	facts exchange.Conn // a copy: the connection's own counts on
	x     exchange.Exchange
	body  h2body
	out   h2writer

	scratch []byte    // what the request points to
	refusal error     // why no handler is to see it
	broken  error     // why nothing can come or be sent any more; under the lock
	wake    sync.Cond // of the connection's lock: something has changed for this stream
}

func newH2Stream() *h2stream {
	st := &h2stream{scratch: make([]byte, 0, 1<<10)}
	st.out.buf = make([]byte, 0, bufferSize)
	st.x.Request.Header.Fields = make([]exchange.Field, 0, 32)
	st.x.Response.Header.Fields = make([]exchange.Field, 0, 32)
	st.body.st, st.out.st = st, st
	return st
}

// Why a stream can bring nothing more. Never written.
var (
	errReset    = errors.New("the stream was reset")
	errTooSlow  = errors.New("the client does not open the window")
	errNoAccept = errors.New("the application's Sec-WebSocket-Accept is not the answer to the key")
)

// begin takes the request that has just come. The lock is held.
func (st *h2stream) begin(c *h2conn) {
	st.c, st.broken = c, nil
	st.wake.L = &c.mu
	st.facts = c.conn.facts
	x := &st.x
	x.Attach(&st.facts)
	x.Begin = c.conn.server.watch.Now()
	st.scratch, st.refusal = c.h2.Accept(&st.Stream, st, &x.Request, st.scratch)
	if st.Stream.Reset() {
		st.broken = errReset
	}
	x.Request.Scheme = "http"
	if st.facts.TLS != nil {
		x.Request.Scheme = "https"
	}
	x.Request.Body, x.Response.Writer = &st.body, &st.out
	st.body.reset()
	st.out.reset()
}

// noLength is the value of Content-Length for an empty body. Never written.
var noLength = []byte("0")

// start is called when all that came with the head is known too: a body that
// is whole has a length. One that is empty says so in a field: a POST that had
// neither body nor length might be refused (411). The lock is held.
func (st *h2stream) start() {
	r := &st.x.Request
	if r.Length < 0 && st.Ended() && len(st.body.trailer.Fields) == 0 {
		r.Length = int64(len(st.body.buf))
		st.body.length, st.body.sent = r.Length, r.Length == 0
		if r.Length == 0 {
			r.Header.Add(exchange.ContentLength, noLength)
		}
	}
	if r.Upgrade != nil {
		st.out.key = websocketKey()
		r.Header.DelName(websocketKeyName)
		r.Header.Add(exchange.SecWebSocketKey, st.out.key)
	}
}

// gone tells whoever works for the stream that it can bring nothing more. The
// lock is held.
func (st *h2stream) gone(why error) {
	if st.broken == nil {
		st.broken = why
		st.x.ClientGone()
		st.wake.Broadcast()
		st.c.out.Room.Broadcast() // it may be among those
	}
}

// end forgets the request. The lock is held.
func (st *h2stream) end() {
	st.body.end()
	st.c.h2.Release(&st.Stream)
	st.x.Reset()
	st.c = nil
	st.out.buf = st.out.buf[:0]
}

// serve answers the request. What a mistake of the driver breaks is this
// stream alone.
func (st *h2stream) serve() {
	defer func() {
		if p := recover(); p != nil {
			st.c.conn.set.Log.Error("panic in the driver", "request", st.x.ID(), "panic", p, "stack", string(debug.Stack()))
			st.reset(http2.InternalError)
		}
	}()
	err := st.refusal
	if err == nil {
		err = st.body.await()
	}
	if err != nil {
		st.fail(err)
		return
	}
	err = st.c.conn.handle(&st.x)
	if st.out.upgraded {
		st.reset(http2.Cancel) // unless both sides have ended it
		return
	}
	if err == nil {
		err = st.out.problem()
	}
	if err == nil {
		st.out.finish()
		return
	}
	switch e := exchange.AsError(err); {
	case e.Told && st.x.Response.Started && !st.out.broken:
		st.out.finish()
	case st.out.sent || e.Cut:
		st.c.conn.set.Log.Debug("response cut", "request", st.x.ID(), "err", err)
		code := http2.InternalError
		if e.Code != 0 {
			code = http2.Code(e.Code)
		}
		st.reset(code)
	default:
		st.fail(err)
	}
}

// fail answers in place of a handler that could not, if there is somebody to
// answer.
func (st *h2stream) fail(err error) {
	st.c.mu.Lock()
	broken := st.broken != nil
	st.out.reset()
	st.c.mu.Unlock()
	if broken {
		return
	}
	body := st.c.conn.bare(&st.x, err)
	if st.out.WriteHead(&st.x) != nil {
		st.reset(http2.InternalError)
		return
	}
	st.out.Write([]byte(body))
	st.out.finish()
}

func (st *h2stream) reset(code http2.Code) {
	st.c.mu.Lock()
	defer st.c.mu.Unlock()
	st.c.h2.Reset(&st.Stream, code)
}

// h2wait is a wait for the client, which is looked after: over all waits of
// its kind, a stream has a grace and what its bytes have earned. All of it
// belongs to the lock of the connection.
type h2wait struct {
	since  time.Duration // of the present wait, zero for none
	most   time.Duration // that it may take
	credit sockio.Credit
}

// begin starts a wait. Grace is 0 for that of the settings.
func (w *h2wait) begin(c *h2conn, grace time.Duration) {
	if w.most = grace; grace == 0 {
		w.most = w.credit.Left(c.conn.set.BodyGrace)
	}
	w.since = c.conn.server.watch.Clock()
	if c.stalls++; c.stalls == 1 {
		c.conn.sock.LimitRead(stallTick)
	}
}

// end ends it.
func (w *h2wait) end(c *h2conn) {
	w.credit.Move(0, c.conn.server.watch.Clock()-w.since, c.conn.set.BodyGrace, c.conn.set.MinRate)
	w.since = 0
	c.stalls--
}

// moved notes bytes, which have earned the stream time.
func (w *h2wait) moved(c *h2conn, n int) {
	w.credit.Move(n, 0, c.conn.set.BodyGrace, c.conn.set.MinRate)
}

// over reports whether it has taken too long.
func (w *h2wait) over(now time.Duration) bool { return w.longer(now, w.most) }

// longer reports whether it goes on since d or more.
func (w *h2wait) longer(now, d time.Duration) bool {
	return w.since != 0 && now-w.since >= d
}

// lookAtStalls ends the waits that take too long. The lock is held.
func (c *h2conn) lookAtStalls(now time.Duration) {
	for _, st := range c.serving {
		switch b := &st.body; {
		case !b.wait.over(now):
		case b.awaited:
			b.awaited = false
			st.wake.Broadcast()
		case b.err == nil:
			b.err = badBody(sockio.ErrLimit)
			st.wake.Broadcast()
		}
		if w := &st.out.wait; w.over(now) || w.longer(now, sockio.HardTimes) && !st.out.upgraded && c.conn.server.watch.Scarce() {
			c.h2.Reset(&st.Stream, http2.Cancel)
			st.gone(fmt.Errorf("%w: %w", errTooSlow, sockio.ErrLimit))
		}
	}
	c.out.FlushAside()
}
