package serve

import (
	"errors"

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
	s.body.reset()
	s.out.reset()
	s.refuse(err)
}

// refuse answers with the bare status that belongs to err and ends the
// connection: what follows on it cannot be trusted.
func (s *session) refuse(err error) {
	status, public := 500, ""
	var fault http1.Fault
	var failed *exchange.Error
	switch {
	case errors.As(err, &fault):
		status, public = fault.Status(), fault.Error()
	case errors.As(err, &failed):
		status, public = failed.Status, failed.Public
	}
	x := &s.x
	x.Response.Status, x.Response.Reason = status, nil
	x.Response.Header.Reset()
	body := http1.Phrase(status)
	if public != "" {
		body += ": " + public
	}
	body += ".\n"
	x.Response.Header.AddString(exchange.ContentType, "text/plain; charset=utf-8")
	if status == 405 {
		x.Response.Header.AddString(exchange.Allow, "GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH")
	}
	x.Response.Length = int64(len(body))
	s.framing.Close = false // the client has not said that nothing follows
	s.out.closing = true
	s.conn.server.set.Log.Debug("request refused", "request", x.ID(), "status", status, "error", err)
	if s.out.WriteHead(x) != nil {
		return
	}
	s.out.Write([]byte(body))
	if s.out.finish() {
		s.linger()
	}
}
