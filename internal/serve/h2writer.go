package serve

import (
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/http2"
)

// h2writer sends the response of a stream. The head and a small body wait here
// until they are flushed, and what streams flush gathers in the connection.
type h2writer struct {
	st       *h2stream
	buf      []byte
	head     http2.Head // with its fields in our memory
	text     []byte     // what they point to
	sent     bool       // the head has left for the connection
	final    bool       // the head was accepted: it is too late to ask for the body; under the lock
	bodiless bool       // what is written is dropped
	left     int64      // of a body with a length, -1 for none
	upgraded bool       // the stream has become a tunnel
	broken   bool       // the response cannot be completed
	key      []byte     // Sec-WebSocket-Key of an extended CONNECT, nil otherwise
	wait     h2wait
}

func (w *h2writer) reset() {
	*w = h2writer{st: w.st, buf: w.buf[:0], text: w.text[:0], head: http2.Head{Fields: w.head.Fields[:0]}, left: -1}
}

// WriteHead implements exchange.Writer.
func (w *h2writer) WriteHead(x *exchange.Exchange) error {
	r := &x.Response
	switch {
	case r.Started:
		return errHeadTwice
	case r.Status < 200 || r.Status > 999:
		return errBadStatus
	}
	w.bodiless = x.Request.Method == "HEAD" || !http1.BodyAllowed(r.Status)
	w.left = r.Length
	length := r.Length
	switch {
	case w.key != nil && r.Status < 300:
		// The application has answered the GET and not changed the protocol:
		// as it stands, the client would take that for an open tunnel.
		r.Status, r.Length, length, w.bodiless = 502, 0, 0, true
		r.Header.Reset()
	case w.bodiless && (r.Status == 204 || r.Length == 0 && !(x.Request.Method == "HEAD" && http1.BodyAllowed(r.Status))):
		length = -1
	}
	w.keep(r, length)
	return nil
}

// keep takes the head over as it is now, to be sent with what comes next.
func (w *h2writer) keep(r *exchange.Response, length int64) {
	r.Started = true
	if w.st.body.expects { // its reader may be about to ask
		w.st.c.mu.Lock()
		w.final = true
		w.st.c.mu.Unlock()
	}
	w.head.Status, w.head.Length = r.Status, length
	for _, f := range r.Header.Fields {
		if f.ID == exchange.Other {
			f.Name, w.text = kept(f.NameBytes(), w.text)
		}
		f.Value, w.text = kept(f.Value, w.text)
		w.head.Fields = append(w.head.Fields, f)
	}
}

// kept copies b behind text.
func kept(b, text []byte) (copied, all []byte) {
	start := len(text)
	text = append(text, b...)
	return text[start:len(text):len(text)], text
}

// sendHead sends the head, if it was not. The lock is held.
func (w *h2writer) sendHead(end bool) {
	if w.sent {
		return
	}
	w.sent = true
	w.head.Date, w.head.End = w.st.c.now(), end
	w.st.c.h2.WriteHead(&w.st.Stream, &w.head)
}

// Write implements exchange.Writer.
func (w *h2writer) Write(p []byte) (int, error) {
	switch {
	case !w.st.x.Response.Started:
		return 0, errNotStarted
	case len(p) == 0:
		return 0, nil
	}
	w.st.x.Response.Written += int64(len(p))
	if w.bodiless {
		return len(p), nil
	}
	if w.left >= 0 {
		if int64(len(p)) > w.left {
			w.broken = true
			return 0, errTooMuch
		}
		w.left -= int64(len(p))
	}
	return len(p), w.add(p)
}

// add gathers p, or sends it when there is much of it.
func (w *h2writer) add(p []byte) error {
	if len(w.buf)+len(p) <= cap(w.buf) {
		w.buf = append(w.buf, p...)
		return nil
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if len(p) <= cap(w.buf)/2 {
		w.buf = append(w.buf, p...)
		return nil
	}
	return w.send(p)
}

// Flush implements exchange.Writer.
func (w *h2writer) Flush() error {
	err := w.send(w.buf)
	w.buf = w.buf[:0]
	return err
}

// send hands p, and what has gathered before it, to the socket.
func (w *h2writer) send(p []byte) error {
	c := w.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if err := w.frames(p, false); err != nil {
		return err
	}
	c.flush()
	return nil
}

// frames makes DATA frames of p, waiting for the client's windows. The lock is
// held, but not while it waits.
func (w *h2writer) frames(p []byte, end bool) error {
	c := w.st.c
	if w.st.broken != nil {
		return w.lost(w.st.broken)
	}
	w.sendHead(end && len(p) == 0)
	for len(p) > 0 {
		n, err := w.reserve(len(p))
		if err != nil {
			return err
		}
		w.wait.moved(c, n)
		c.h2.Data(&w.st.Stream, p[:n], end && n == len(p))
		p = p[n:]
	}
	return nil
}

// reserve waits until a stream may send and returns how many of n bytes.
func (w *h2writer) reserve(n int) (int, error) {
	c := w.st.c
	for {
		if w.st.broken != nil {
			return 0, w.lost(w.st.broken)
		}
		may, ofStream := c.h2.Sendable(&w.st.Stream)
		switch {
		case may > 0 && !c.out.Full():
			return min(n, may), nil
		case may > 0 && !c.out.Sending():
			c.flush()
		case may > 0:
			c.out.Room.Wait()
		default:
			if ofStream {
				c.out.Room.Signal() // in case we were given a turn that we cannot use
			}
			c.flush()
			if now, _ := c.h2.Sendable(&w.st.Stream); now > 0 || w.st.broken != nil {
				continue
			}
			grace := time.Duration(0)
			if w.upgraded {
				grace = upgradedWrite
			}
			w.wait.begin(c, grace)
			if ofStream {
				w.st.wake.Wait()
			} else {
				c.out.Room.Wait()
			}
			w.wait.end(c)
		}
	}
}

// lost notes that the client cannot be reached any more.
func (w *h2writer) lost(err error) error {
	w.broken = true
	w.st.x.ClientGone()
	return &exchange.Error{Status: 400, Op: "send response", Err: err}
}

// ReadFrom implements exchange.Writer.
func (w *h2writer) ReadFrom(r io.Reader) (int64, error) {
	return w.st.c.conn.server.copyTo(w, r)
}

// Inform implements exchange.Writer.
func (w *h2writer) Inform(status int, h *exchange.Header) error {
	switch {
	case status < 100 || status > 199 || status == 101:
		return errNotInterim
	case w.st.x.Response.Started:
		return errHeadTwice
	}
	c := w.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if w.st.broken != nil {
		return w.lost(w.st.broken)
	}
	w.inform(status, h)
	c.flush()
	return nil
}

// inform adds an interim response to what is sent. The lock is held.
func (w *h2writer) inform(status int, h *exchange.Header) {
	head := http2.Head{Status: status, Length: -1}
	if h != nil {
		head.Fields = h.Fields
	}
	w.st.c.h2.WriteHead(&w.st.Stream, &head)
}

// problem tells why the response cannot be completed, nil if it can.
func (w *h2writer) problem() error {
	switch {
	case !w.st.x.Response.Started:
		return errNoAnswer
	case w.broken:
		return errNotWhole
	case w.left > 0 && !w.bodiless:
		return errTooLittle
	}
	return nil
}

// finish completes the response. Its last bytes are sent by the connection,
// once the stream is released.
func (w *h2writer) finish() {
	c := w.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	trailer := w.st.x.Response.Trailer
	if w.bodiless {
		trailer = nil
	}
	if w.frames(w.buf, len(trailer) == 0) == nil {
		c.h2.WriteTrailer(&w.st.Stream, trailer) // unless the stream has ended
	}
}

// Upgrade implements exchange.Writer. The 101 of the application becomes the
// 200 of the stream (RFC 8441 section 5), if it is the answer to our key.
func (w *h2writer) Upgrade(x *exchange.Exchange) (exchange.Stream, error) {
	r := &x.Response
	switch {
	case r.Started:
		return nil, errHeadTwice
	case r.Status != 101 || w.key == nil:
		return nil, errNot101
	case string(r.Header.GetName("Sec-WebSocket-Accept")) != websocketAccept(w.key):
		return nil, &exchange.Error{Status: 502, Op: "upgrade", Err: errNoAccept}
	}
	r.Header.DelName("Sec-WebSocket-Accept")
	r.Status = 200
	w.upgraded, w.left = true, -1
	w.keep(r, -1)
	w.st.body.tunnel = true
	if err := w.Flush(); err != nil {
		return nil, err
	}
	return &h2tunnel{w.st}, nil
}

const websocketKeyName = "Sec-WebSocket-Key"

// websocketKey makes the key that HTTP/1.1 asks for and HTTP/2 has none of.
func websocketKey() []byte {
	var b [16]byte
	rand.Read(b[:])
	return base64.StdEncoding.AppendEncode(nil, b[:])
}

// websocketAccept is the answer to a key (RFC 6455 section 4.2.2).
func websocketAccept(key []byte) string {
	sum := sha1.Sum(append(key[:len(key):len(key)], "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"...))
	return base64.StdEncoding.EncodeToString(sum[:])
}

// h2tunnel is a stream after an extended CONNECT.
type h2tunnel struct{ st *h2stream }

func (t *h2tunnel) Read(p []byte) (int, error) { return t.st.body.Read(p) }

func (t *h2tunnel) Write(p []byte) (int, error) {
	if err := t.st.out.send(p); err != nil {
		return 0, err
	}
	return len(p), nil
}

func (t *h2tunnel) CloseWrite() error {
	c := t.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.h2.Data(&t.st.Stream, nil, true)
	c.flush()
	return nil
}

// Close breaks off both directions.
func (t *h2tunnel) Close() error {
	c := t.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	c.h2.Reset(&t.st.Stream, http2.Cancel)
	t.st.gone(errReset)
	c.flush()
	return nil
}
