package serve

import (
	"errors"
	"strconv"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
)

// Refusals that are not faults of the bytes received. Never written.
var (
	errHeaderTime = &exchange.Error{Status: 408, Op: "read request", Err: errors.New("the request head did not arrive in time")}
	errNoAnswer   = &exchange.Error{Status: 500, Op: "handle request", Err: errors.New("no handler answered")}
)

// refuseHead answers a head that never became a request.
func (s *session) refuseHead(err error) {
	s.conn.facts.Requests++
	s.x.Reset()
	s.x.Request.Method, s.x.Request.Proto = "GET", exchange.HTTP11
	s.framing = http1.Framing{}
	s.body.reset()
	s.out.reset()
	s.refuse(err)
}

// refuse answers a request that is not one, and ends the connection: what
// follows on it cannot be trusted.
func (s *session) refuse(err error) {
	s.framing.Close = false // the client has not said that nothing follows
	s.out.closing = true
	if s.answer(err) {
		s.linger()
	}
}

// fail answers in place of a handler that could not, after nothing was sent.
func (s *session) fail(err error) {
	s.out.reset()
	s.out.closing = s.x.Response.Close || exchange.AsError(err).Close
	s.answer(err)
}

// answer writes the bare response that belongs to err. It reports whether it
// reached the socket.
func (s *session) answer(err error) bool {
	body := s.conn.bare(&s.x, err)
	if s.out.WriteHead(&s.x) != nil {
		s.out.broken = true
		return false
	}
	s.out.Write([]byte(body))
	return s.out.finish()
}

// bare makes the response that belongs to err, whatever was there before, and
// returns its body: the page that people see is the business of a module.
func (c *conn) bare(x *exchange.Exchange, err error) string {
	var fault http1.Fault
	var failed *exchange.Error
	switch {
	case errors.As(err, &failed): // its cause may be a fault of the other side
	case errors.As(err, &fault):
		failed = &exchange.Error{Status: fault.Status(), Public: fault.Error()}
	default:
		failed = exchange.AsError(err)
	}
	r := &x.Response
	h := r.Header
	h.Reset()
	*r = exchange.Response{Status: failed.Status, SubStatus: failed.SubStatus, Header: h, Writer: r.Writer}
	body := text(failed)
	if body != "" {
		r.Header.AddString(exchange.ContentType, "text/plain; charset=utf-8")
	}
	switch {
	case fault == http1.AsteriskTarget:
		r.Header.AddString(exchange.Allow, "OPTIONS")
	case failed.Status == 405:
		r.Header.AddString(exchange.Allow, "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH")
	case failed.RetryAfter > 0:
		r.Header.AddString(exchange.RetryAfter, strconv.Itoa(failed.RetryAfter))
	}
	r.Length = int64(len(body))
	c.set.Log.Debug("request refused", "request", x.ID(), "status", failed.Status, "err", err)
	return body
}

// text is what the body of a bare response says.
func text(e *exchange.Error) string {
	switch {
	case e.Empty:
		return ""
	case e.Public == "":
		return http1.Phrase(e.Status) + ".\n"
	}
	return http1.Phrase(e.Status) + ": " + e.Public + ".\n"
}
