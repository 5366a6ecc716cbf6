// Package exchange is the vocabulary of the road: one request, its response
// and the facts of the connection they travel on, in the types that every
// stage shares. A protocol driver (internal/serve) fills an Exchange, the
// modules and one handler work on it.
//
// Every stage may import this package; it imports none of them.
package exchange

import (
	"crypto/tls"
	"io"
	"net/netip"
	"sync"
	"time"
)

// Handler answers an exchange. A nil error means that the response was
// written, at least its head; the driver completes the message. An error
// means that no response was written, or that one was begun and cannot be
// completed: Exchange.Response.Started tells the two apart. Errors are best
// of type *Error; anything else is answered as a 500.
//
// Serve runs on the goroutine of the exchange and must not keep the Exchange,
// or any slice found in it, after it returns.
type Handler interface {
	Serve(x *Exchange) error
}

// HandlerFunc lets a function be a Handler.
type HandlerFunc func(x *Exchange) error

// Serve calls f.
func (f HandlerFunc) Serve(x *Exchange) error { return f(x) }

// Module wraps a handler with one concern of its own. Modules are applied
// when the plan is built, never per request.
type Module func(next Handler) Handler

// Exchange is one request and its response. The driver owns it and uses it
// again for the next request, so nothing in it outlives Handler.Serve.
//
// An exchange belongs to one goroutine, with one exception: the request body
// may be read on a second one, which must have ended when Serve returns.
type Exchange struct {
	Conn     *Conn
	Request  Request
	Response Response

	// Begin is when the first byte of the request was seen, read from a
	// coarse clock.
	Begin time.Time

	// Rewrites counts how often the target was replaced, which is bounded.
	Rewrites int

	// Waiting is set by the driver, nil if it cannot tell when a client goes:
	// it is called with true before the handler waits for something slow, and
	// with false after.
	Waiting func(bool)

	// Task is what the exchange runs on, nil for a goroutine of its own.
	Task Task

	// Scratch is memory that the handler of one exchange leaves to that of the
	// next with the same Exchange. Who uses it takes it out meanwhile.
	Scratch any

	gone gone
}

// Task is shared by many exchanges of which one runs at a time. A socket is
// waited for without harm to the others.
type Task interface {
	// Detach gives the exchange a goroutine of its own. It costs a
	// microsecond, and nothing when it was done before.
	Detach()
}

// Detach is called before the exchange waits for anything but a socket that the
// handler forward uses: a file, a lock that is held for long, an event.
func (x *Exchange) Detach() {
	if x.Task != nil {
		x.Task.Detach()
	}
}

// Aborter is work that can be broken off from another goroutine, such as the
// wait for a slow backend.
type Aborter interface{ Abort() }

// gone joins the client's going and the work that is then in vain.
type gone struct {
	mu   sync.Mutex
	is   bool
	work Aborter
	told chan struct{} // closed when it is; made by the first who waits
}

// WhenGone names the work to abort when the client goes away, nil for none.
// If it has gone already, the work is aborted at once. After WhenGone returns
// the work named before is not aborted any more.
func (x *Exchange) WhenGone(work Aborter) {
	x.gone.mu.Lock()
	x.gone.work = work
	if x.gone.is && work != nil {
		work.Abort()
	}
	x.gone.mu.Unlock()
	if x.Waiting != nil {
		x.Waiting(work != nil)
	}
}

// ClientGone is called by the driver, on any goroutine, when the client has
// closed its side of the connection.
func (x *Exchange) ClientGone() {
	x.gone.mu.Lock()
	if !x.gone.is && x.gone.told != nil {
		close(x.gone.told)
	}
	x.gone.is = true
	if x.gone.work != nil {
		x.gone.work.Abort()
	}
	x.gone.mu.Unlock()
}

// Gone reports whether the client is known to have gone.
func (x *Exchange) Gone() bool {
	x.gone.mu.Lock()
	defer x.gone.mu.Unlock()
	return x.gone.is
}

// Pause waits for d, or until the client is known to have gone, which it
// reports.
func (x *Exchange) Pause(d time.Duration) (gone bool) {
	x.Detach()
	x.gone.mu.Lock()
	watched := x.gone.work != nil
	if x.gone.told == nil {
		x.gone.told = make(chan struct{})
		if x.gone.is {
			close(x.gone.told)
		}
	}
	told := x.gone.told
	x.gone.mu.Unlock()
	if !watched && x.Waiting != nil {
		x.Waiting(true)
		defer x.Waiting(false)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-told:
	case <-timer.C:
	}
	return x.Gone()
}

// ID names this exchange in error pages and logs: the connection and the
// request's number on it. It allocates.
func (x *Exchange) ID() string {
	return x.Conn.ID() + "-" + uitoa(x.Conn.Requests)
}

// Reset makes x ready for the next request of the same connection.
func (x *Exchange) Reset() {
	x.Request.reset()
	x.Response.reset()
	x.Rewrites = 0
}

// Attach gives x, new or used before, to a connection. Reset makes it ready for
// each request.
func (x *Exchange) Attach(c *Conn) {
	x.Conn = c
	x.gone.mu.Lock()
	x.gone.is, x.gone.work, x.gone.told = false, nil, nil
	x.gone.mu.Unlock()
}

// Conn is what is known of the connection an exchange came on. It does not
// change while the connection lives, except for Requests.
type Conn struct {
	Serial   uint64         // number of the connection since the process started
	Requests uint64         // requests seen so far, this one included
	Local    netip.AddrPort // zero on a unix socket
	Remote   netip.AddrPort // zero on a unix socket
	Listener string         // the listening URL, as printed at start

	// RemoteText is Remote as text with its port, IPv6 in brackets, for
	// X-Forwarded-For. On a unix socket it is the loopback address alone.
	RemoteText string

	// Site is what the site that was asked for last holds the connection to.
	// Nil where nobody keeps count.
	Site *Tie

	// TLS is nil on a clear connection. A certificate of the client that can be
	// trusted has VerifiedChains beside it; another one proves nothing.
	TLS *tls.ConnectionState

	// Authorities names those that a certificate of the client was asked and
	// verified for: a PEM file, or "system" for whom the system trusts. Empty:
	// the client was not asked for one.
	Authorities string
}

// ID names the connection in logs.
func (c *Conn) ID() string { return uitoa(c.Serial) }

// Loopback reports whether both ends of the connection are on this machine.
func (c *Conn) Loopback() bool {
	if !c.Remote.IsValid() {
		return true // unix socket
	}
	return c.Remote.Addr().Unmap().IsLoopback() && c.Local.Addr().Unmap().IsLoopback()
}

// Proto is the version of HTTP that a request came with.
type Proto uint8

// The versions. Their numbers order them.
const (
	HTTP10 Proto = 10
	HTTP11 Proto = 11
	HTTP2  Proto = 20
)

// Request is the half of an exchange that the client sent. Slices point into
// the driver's buffers and are valid until Handler.Serve returns.
type Request struct {
	Method string
	Proto  Proto
	Scheme string // "http" or "https", from the connection, never from the target
	Host   []byte // of the Host field or the absolute target, with its port if one was given

	Target Target
	Header Header

	// Length is the declared number of body bytes, 0 for no body and -1 for
	// a chunked body whose length is not known.
	Length int64

	// Body is never nil. It reads nothing when Length is 0.
	Body Body

	// Upgrade is the protocol that the client asks to change to, taken from
	// the Upgrade field when Connection names it and the request has no body
	// and is HTTP/1.1. Empty otherwise.
	Upgrade []byte
}

func (r *Request) reset() {
	r.Header.Reset()
	fields := r.Header.Fields
	*r = Request{}
	r.Header.Fields = fields
}

// HasBody reports whether the request announced a body.
func (r *Request) HasBody() bool { return r.Length != 0 }

// Idempotent reports whether the request may be sent twice without harm:
// GET, HEAD and OPTIONS without a body (the design's rule, narrower than
// RFC 9110 section 9.2.2).
func (r *Request) Idempotent() bool {
	return r.Length == 0 && (r.Method == "GET" || r.Method == "HEAD" || r.Method == "OPTIONS")
}

// Target is the request target in all the forms that stages need. What is
// judged, forwarded and logged is one path.
type Target struct {
	// Raw is the target as it came, in whatever form.
	Raw []byte

	// Path is the path decoded once and normalised: it begins with '/', has
	// no dot segments, no empty segments and no back-slashes. An encoded
	// slash or back-slash stays encoded in it; see HiddenSlash.
	Path []byte

	// Forward is the path to pass on: the raw one, unless normalisation
	// changed it; then Path, encoded again.
	Forward []byte

	// Query is the raw query without its '?'. HasQuery tells an empty one
	// from none.
	Query    []byte
	HasQuery bool

	// HiddenSlash is set when the raw path holds an encoded slash or
	// back-slash. Whoever judges the path must judge both readings, as data
	// (Path) and as a separator (Separated).
	HiddenSlash bool
	Separated   []byte
}

// Body is the body of a request. It is read once, front to back.
type Body interface {
	// Read reads body bytes, framing removed, and io.EOF at their end. It
	// asks a client that waits for it to continue (RFC 9110 section 10.1.1).
	// Errors are of type *Error: 400 for a body cut short or badly framed,
	// 408 for one that came too slowly, 413 for one beyond the limit.
	io.Reader

	// WriteTo copies what is left of the body to w, inside the kernel where
	// both ends are sockets and the length is known.
	io.WriterTo

	// Trailer returns the fields that followed a chunked body. They are
	// known once Read has returned io.EOF.
	Trailer() []Field

	// Sent reports whether all of the body was read.
	Sent() bool

	// Buffered returns the whole rest of the body if it is already in
	// memory and needs no decoding, and false otherwise. What it returns
	// counts as read.
	Buffered() ([]byte, bool)

	// Unread takes it back that what Buffered has returned counts as read, so
	// that the exchange can be served again. Nothing was read since.
	Unread()

	// Unhurried lets the client pause for as long as it likes: the body is a
	// stream of messages, and no upload. It is called before reading.
	Unhurried()

	// Interrupt makes a Read or WriteTo that waits on another goroutine
	// return with an error. The driver reads the rest away.
	Interrupt()

	// Limit makes reading beyond n body bytes fail with 413; negative is no
	// limit.
	Limit(n int64)
}

// Response is the half of an exchange that a handler writes: it sets Status,
// Reason, Header and Length, calls WriteHead, then Write or ReadFrom for the
// body. A handler that returns without WriteHead is an error.
type Response struct {
	Status    int
	SubStatus int    // IIS sub-status, for logs and error pages
	Reason    []byte // empty: the standard phrase

	// Header holds the fields without framing and hop-by-hop ones; the
	// driver writes Content-Length, Transfer-Encoding, Connection and Date.
	Header Header

	// Length is the number of body bytes that will be written, or -1 when it
	// is not known. For HEAD, and for 304, it is what the Content-Length
	// field says (-1: no field), and no body is written. The zero value is
	// an empty body.
	Length int64

	// Trailer holds fields to send behind a body of unknown length. It is
	// read when the handler returns; where the protocol has no place for
	// them, they are dropped.
	Trailer []Field

	// Writer is where the response goes. A module may put its own in front.
	Writer Writer

	// Close asks the driver to close the connection after this response,
	// where the protocol has a connection to close.
	Close bool

	// Started is set by the driver when the head has been accepted: from
	// then on, the response can only be completed or cut.
	Started bool

	// Written counts body bytes accepted by the driver.
	Written int64
}

func (r *Response) reset() {
	r.Header.Reset()
	fields, trailer := r.Header.Fields, r.Trailer[:0]
	*r = Response{}
	r.Header.Fields, r.Trailer = fields, trailer
}

// Writer sends a response. It is used by the goroutine of the exchange only.
// Bytes may wait in memory until Flush, or until Handler.Serve returns.
type Writer interface {
	// WriteHead accepts x.Response as it is now. It must be called once.
	WriteHead(x *Exchange) error

	// Write adds body bytes. They are copied or sent before it returns.
	io.Writer

	// ReadFrom adds all of r to the body, inside the kernel where both the
	// protocol and the length allow it and r is an io.LimitedReader around a
	// socket, or an io.SectionReader around an *os.File. Such a file is a
	// regular one, and r is fresh: it may be sent without a call of its
	// methods. What is copied is sent at once.
	io.ReaderFrom

	// Flush sends everything accepted so far.
	Flush() error

	// Inform sends an interim response (1xx other than 101) at once.
	Inform(status int, h *Header) error

	// Upgrade sends the head in x.Response, which has the status 101, and
	// gives the connection away: from then on both directions are plain
	// bytes. The driver closes the stream when Handler.Serve returns.
	Upgrade(x *Exchange) (Stream, error)
}

// Stream is a connection after an upgrade. Reading and writing may happen on
// two goroutines.
type Stream interface {
	io.ReadWriteCloser

	// CloseWrite ends the direction to the client and leaves the other open.
	CloseWrite() error
}

func uitoa(v uint64) string {
	var b [20]byte
	i := len(b)
	for {
		i--
		b[i] = byte('0' + v%10)
		v /= 10
		if v == 0 {
			return string(b[i:])
		}
	}
}
