package serve

import (
	"errors"
	"io"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/sockio"
)

// writer sends the response of an HTTP/1.1 exchange. Head and body gather in
// buf, so that a small response is one system call.
type writer struct {
	s        *session
	buf      []byte
	framing  bodyFraming
	left     int64 // of a body with a length
	keep     bool  // the connection goes on after this response
	closing  bool  // the response was told to be the last
	upgraded bool
	broken   bool // the response cannot be completed
	sent     bool // some of it has left for the socket
	fate     int  // where in buf the head says what becomes of the connection

	// mu keeps the "100 Continue" that the reader of the body may send on
	// another goroutine apart from what is sent here.
	mu    sync.Mutex
	final bool // the head was accepted: it is too late to ask

	dateSecond int64
	date       [29]byte // http date of dateSecond
}

type bodyFraming uint8

const (
	noBody     bodyFraming = iota // HEAD, 204, 304: what is written is dropped
	withLength                    // Content-Length
	inChunks                      // Transfer-Encoding: chunked
	untilClose                    // HTTP/1.0 without a length
)

func (w *writer) reset() {
	w.buf = w.buf[:0]
	w.framing, w.left = noBody, 0
	w.keep, w.closing, w.upgraded, w.broken, w.sent, w.final = false, false, false, false, false, false
}

// Errors of a handler that breaks its contract. Never written.
var (
	errHeadTwice  = errors.New("the head of a response was written twice")
	errBadStatus  = errors.New("the status of a response is not one of a final response")
	errTooMuch    = errors.New("more body bytes than the response announced")
	errTooLittle  = errors.New("fewer body bytes than the response announced")
	errNotWhole   = errors.New("the response could not be completed")
	errNotInterim = errors.New("the status of an interim response is not one of 100 to 199, 101 left out")
	errNot101     = errors.New("the status of an upgrade is not 101")
	errNotStarted = errors.New("a body was written before its head")
)

// WriteHead implements exchange.Writer.
func (w *writer) WriteHead(x *exchange.Exchange) error {
	r := &x.Response
	switch {
	case r.Started:
		return errHeadTwice
	case r.Status < 200 || r.Status > 999:
		return errBadStatus
	}
	w.close(r)
	w.frame(x)
	w.head(x)
	switch w.framing {
	case withLength:
		w.buf = http1.AppendLength(w.buf, r.Length)
	case inChunks:
		w.buf = append(w.buf, "Transfer-Encoding: chunked\r\n"...)
	case noBody:
		if r.Length > 0 && r.Status != 204 || x.Request.Method == "HEAD" && r.Length == 0 && http1.BodyAllowed(r.Status) {
			w.buf = http1.AppendLength(w.buf, r.Length)
		}
	}
	w.fate = len(w.buf)
	w.buf = append(append(w.buf, w.fateField()...), '\r', '\n')
	return nil
}

// fateField says what becomes of the connection, if that needs saying (RFC 9112
// section 9.3).
func (w *writer) fateField() string {
	switch {
	case !w.keep:
		return "Connection: close\r\n"
	case w.s.x.Request.Proto < exchange.HTTP11:
		return "Connection: keep-alive\r\n"
	}
	return ""
}

// giveUp ends the connection with this response, and has a head say so that has
// not left yet (RFC 9112 section 9.6).
func (w *writer) giveUp() {
	said := len(w.fateField())
	w.keep = false
	w.buf = slices.Replace(w.buf, w.fate, w.fate+said, []byte(w.fateField())...)
}

// close decides whether the connection ends with this response. A body that
// the client was not asked for may come or not: only the end of the connection
// tells (RFC 9110 section 10.1.1).
func (w *writer) close(r *exchange.Response) {
	s := w.s
	r.Started = true
	unasked := false
	if s.framing.Expect {
		w.mu.Lock()
		w.final = true
		unasked = s.body.expect
		w.mu.Unlock()
	}
	w.keep = !w.closing && !r.Close && !s.framing.Close && !s.conn.server.draining.Load() && !unasked
}

// frame decides how the body will end (RFC 9112 section 6).
func (w *writer) frame(x *exchange.Exchange) {
	r := &x.Response
	switch {
	case x.Request.Method == "HEAD" || !http1.BodyAllowed(r.Status):
		w.framing = noBody
	case r.Length >= 0:
		w.framing, w.left = withLength, r.Length
	case x.Request.Proto >= exchange.HTTP11:
		w.framing = inChunks
	default:
		w.framing, w.keep = untilClose, false
	}
}

// head appends the status line and the fields of the response. The fields
// that are the driver's own are left out.
func (w *writer) head(x *exchange.Exchange) {
	r := &x.Response
	reason := r.Reason
	if !http1.ValidValue(reason) {
		reason = nil
	}
	b := http1.AppendStatusLine(w.buf, r.Status, reason)
	b = append(b, "Date: "...)
	b = append(b, w.now()...)
	b = append(b, '\r', '\n')
	w.buf = appendFields(b, &r.Header)
}

// appendFields appends the fields that are not the driver's own. One that
// would break the framing is left out.
func appendFields(b []byte, h *exchange.Header) []byte {
	for i := range h.Fields {
		f := &h.Fields[i]
		switch f.ID {
		case exchange.Connection, exchange.ContentLength, exchange.TransferEncoding, exchange.Date, exchange.KeepAlive:
			continue
		}
		name := f.NameBytes()
		if f.ID == exchange.Other && !http1.ValidField(name, f.Value) || !http1.ValidValue(f.Value) {
			continue
		}
		b = http1.AppendField(b, name, f.Value)
	}
	return b
}

// now returns the time for the Date field.
func (w *writer) now() []byte {
	t := w.s.conn.server.watch.Now()
	if sec := t.Unix(); sec != w.dateSecond {
		w.dateSecond = sec
		t.UTC().AppendFormat(w.date[:0], "Mon, 02 Jan 2006 15:04:05 GMT")
	}
	return w.date[:]
}

// Write implements exchange.Writer.
func (w *writer) Write(p []byte) (int, error) {
	if !w.s.x.Response.Started {
		return 0, errNotStarted
	}
	if len(p) == 0 {
		return 0, nil
	}
	w.s.x.Response.Written += int64(len(p))
	switch w.framing {
	case noBody:
		return len(p), nil
	case withLength:
		if int64(len(p)) > w.left {
			w.broken = true
			return 0, errTooMuch
		}
		w.left -= int64(len(p))
		return len(p), w.add(p)
	case inChunks:
		w.buf = http1.AppendChunkSize(w.buf, int64(len(p)))
		if err := w.add(p); err != nil {
			return 0, err
		}
		w.buf = append(w.buf, '\r', '\n')
		return len(p), nil
	default:
		return len(p), w.add(p)
	}
}

// add gathers p, or sends it when there is much of it.
func (w *writer) add(p []byte) error {
	const spare = 64 // for the framing of the next chunk
	if len(w.buf)+len(p) <= cap(w.buf)-spare {
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
func (w *writer) Flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	err := w.send(w.buf)
	w.buf = w.buf[:0]
	return err
}

func (w *writer) send(p []byte) error {
	w.sent = true
	_, err := w.s.conn.sock.Write(p)
	if err != nil {
		return w.lost(err)
	}
	return nil
}

// lost notes that the client cannot be reached any more.
func (w *writer) lost(err error) error {
	w.broken = true
	w.s.x.ClientGone()
	return &exchange.Error{Status: 400, Op: "send response", Err: err}
}

// ReadFrom implements exchange.Writer.
func (w *writer) ReadFrom(r io.Reader) (total int64, err error) {
	switch r := r.(type) {
	case *io.LimitedReader:
		if src, ok := r.R.(*sockio.Conn); ok && r.N >= spliceFrom && w.framing != noBody {
			total, err = w.splice(src, r.N)
			r.N -= total
			return total, err
		}
	case *io.SectionReader:
		whole, off, n := r.Outer()
		if f, ok := whole.(*os.File); ok && n >= sendFileFrom && w.framing == withLength {
			return w.sendFile(f, off, n)
		}
	}
	return w.s.conn.server.copyTo(w, r)
}

// copyTo copies r to a response of any protocol. What a read gave is sent
// before the next, which may wait.
func (s *Server) copyTo(w exchange.Writer, r io.Reader) (total int64, err error) {
	buf := s.bulk.Get().(*[bulkSize]byte)
	defer s.bulk.Put(buf)
	for {
		n, err := r.Read(buf[:])
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return total, werr
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, w.Flush()
		}
		if err != nil {
			return total, err
		}
		if err := w.Flush(); err != nil {
			return total, err
		}
	}
}

// splice moves n body bytes from one socket to the other.
func (w *writer) splice(src *sockio.Conn, n int64) (int64, error) {
	if w.framing == withLength && n > w.left {
		w.broken = true
		return 0, errTooMuch
	}
	if w.framing == inChunks {
		w.buf = http1.AppendChunkSize(w.buf, n)
	}
	if err := w.Flush(); err != nil {
		return 0, err
	}
	moved, err := w.s.conn.sock.Splice(src, n)
	w.left -= moved
	w.s.x.Response.Written += moved
	if err != nil {
		w.broken = true // the framing promised more
		var side *sockio.SideError
		if errors.As(err, &side) && !side.Reading {
			return moved, w.lost(side.Err)
		}
		return moved, err
	}
	if w.framing == inChunks {
		w.buf = append(w.buf, '\r', '\n')
	}
	return moved, nil
}

// sendFileFrom is the length from which a part of a file is not read into the
// buffer: less goes out with the head in one system call.
const sendFileFrom = bufferSize / 2

// sendFile sends what waits, the head as a rule, and a part of a file from the
// page cache.
func (w *writer) sendFile(f *os.File, off, n int64) (int64, error) {
	if n > w.left {
		w.broken = true
		return 0, errTooMuch
	}
	w.sent = true
	sent, err := w.s.conn.sock.SendFile(w.buf, f, off, n)
	w.buf = w.buf[:0]
	w.left -= sent
	w.s.x.Response.Written += sent
	switch {
	case err != nil:
		return sent, w.lost(err)
	case sent < n:
		return sent, io.ErrUnexpectedEOF // the file became shorter
	}
	return sent, nil
}

// Inform implements exchange.Writer.
func (w *writer) Inform(status int, h *exchange.Header) error {
	switch {
	case status < 100 || status > 199 || status == 101:
		return errNotInterim
	case w.s.x.Response.Started:
		return errHeadTwice
	case w.s.x.Request.Proto < exchange.HTTP11:
		return nil // RFC 9110 section 15.2: HTTP/1.0 knows none
	}
	b := http1.AppendStatusLine(make([]byte, 0, 512), status, nil)
	if h != nil {
		b = appendFields(b, h)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.s.conn.sock.Write(append(b, '\r', '\n')); err != nil {
		return w.lost(err)
	}
	return nil
}

// problem tells why the response cannot be completed, nil if it can.
func (w *writer) problem() error {
	switch {
	case !w.s.x.Response.Started:
		return errNoAnswer
	case w.broken:
		return errNotWhole
	case w.framing == withLength && w.left != 0:
		return errTooLittle
	}
	return nil
}

// finish completes the message and reports whether it reached the socket.
func (w *writer) finish() bool {
	if body := &w.s.body; w.keep && !w.sent && !body.sent && body.hopeless() {
		w.giveUp()
	}
	if w.framing == inChunks {
		w.buf = http1.AppendLastChunk(w.buf, w.s.x.Response.Trailer)
	}
	return w.Flush() == nil
}

// Upgrade implements exchange.Writer.
func (w *writer) Upgrade(x *exchange.Exchange) (exchange.Stream, error) {
	switch {
	case x.Response.Started:
		return nil, errHeadTwice
	case x.Response.Status != 101:
		return nil, errNot101
	}
	x.Response.Started = true
	w.upgraded = true
	w.head(x)
	w.buf = append(w.buf, "Connection: Upgrade\r\n\r\n"...)
	if err := w.Flush(); err != nil {
		return nil, err
	}
	w.s.conn.sock.LimitRead(0)
	w.s.conn.sock.LimitWrite(upgradedWrite)
	w.s.conn.sock.MinRate(0)
	return &stream{s: w.s}, nil
}

// upgradedWrite is how long the peer of an upgraded connection may take
// nothing at all.
const upgradedWrite = 2 * time.Minute

// stream is a connection after an upgrade.
type stream struct{ s *session }

// Read returns first what came behind the head.
func (t *stream) Read(p []byte) (int, error) {
	if s := t.s; s.r < s.w {
		n := copy(p, s.in[s.r:s.w])
		s.r += n
		return n, nil
	}
	return t.s.conn.sock.Read(p)
}

func (t *stream) Write(p []byte) (int, error) { return t.s.conn.sock.Write(p) }

func (t *stream) CloseWrite() error { return t.s.conn.sock.CloseWrite() }

// Close breaks off both directions. The driver closes the socket.
func (t *stream) Close() error {
	t.s.conn.sock.Abort()
	return nil
}
