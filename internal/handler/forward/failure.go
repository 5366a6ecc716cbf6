package forward

import (
	"errors"
	"fmt"
	"io"
	"net"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/http2"
	"github.com/perchserver/perch/internal/sockio"
)

// Phase is where on its way an exchange failed.
type Phase uint8

// The phases, in order.
const (
	Connect Phase = iota
	SendHead
	SendBody
	ReadHead
	ReadBody
	SendResponse
	Relay
)

// String names the phase in the words of the log.
func (p Phase) String() string {
	return [...]string{"connect", "send request head", "send request body", "read response head",
		"read response body", "send response", "relay upgraded connection"}[p]
}

// Side is who failed.
type Side uint8

// The sides.
const (
	Application Side = iota
	Client
)

// String names the side.
func (s Side) String() string { return [...]string{"application", "client"}[s] }

// Failure is why an exchange could not be carried. The log, the error page
// and the decision to send again read this one value.
type Failure struct {
	Phase    Phase
	Side     Side
	Sent     bool // a byte of the request was written
	Received bool // a byte of the response was read
	Address  string
	Answer   string // the first bytes of an answer that is not the HTTP that was asked for
	Err      error
}

// Error returns phase, side and cause.
func (f *Failure) Error() string {
	return fmt.Sprintf("%s (%s, %s): %v", f.Phase, f.Side, f.Address, f.Err)
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// The kinds of failure of an application: what a report and a tool for IIS
// tell apart.
type kind uint8

const (
	broke        kind = iota // the connection ended before there was an answer
	late                     // a wait was longer than the limit
	noConnection             // none could be made
	garbled                  // what came is not one HTTP/1.1 response
	short                    // a response that began well and was not completed
	alien                    // what came is not HTTP/2
)

func (f *Failure) kind() kind {
	switch {
	case timedOut(f.Err):
		return late
	case errors.As(f.Err, new(*foreign)):
		return alien
	case errors.As(f.Err, new(http1.Fault)), errors.As(f.Err, new(*http2.Error)), errors.As(f.Err, new(malformed)),
		f.Err == errInterim, f.Err == errNotAsked, f.Err == errNoStreams:
		return garbled
	case f.Phase == Connect:
		return noConnection
	case f.Phase == ReadBody:
		return short
	}
	return broke
}

// kinds is what a Report says of each kind. The codes are those that tools
// for IIS look for (spec 9.2). Never written.
var kinds = [...]struct{ title, code, advice string }{
	broke: {"The application broke the connection", "0x80072EFE",
		"look in the application's log for a crash at this time"},
	late: {"The application took too long", "0x80072EE2",
		"look in the application's log for what it was doing; raise requestTimeout in web.config if the work takes that long"},
	noConnection: {"The application does not accept connections", "0x80072EFD",
		"look in the application's log for why it stopped listening"},
	garbled: {"The application did not answer as a web server", "0x80072F78",
		"what listens on this port does not speak HTTP correctly: look at what it sends"},
	short: {"The application did not complete its response", "0x80072F78",
		"look in the application's log for a crash at this time, and at the length that it announces"},
	alien: {"The application does not speak HTTP/2 without TLS", "0x80072F78",
		"let it listen with HTTP/2 alone, as ASP.NET Core does with the environment variable Kestrel__EndpointDefaults__Protocols=Http2, " +
			"or take perch.applicationProtocol out of web.config"},
}

// Report implements exchange.Reporter.
func (f *Failure) Report() exchange.Report {
	k := kinds[f.kind()]
	r := exchange.Report{
		Title: k.title,
		Step:  f.Phase.String(),
		Facts: []exchange.Fact{
			{Name: "Side", Value: f.Side.String()},
			{Name: "Address", Value: f.Address},
			{Name: "Cause", Value: f.Err.Error()},
		},
		Advice: []string{k.advice},
	}
	if f.Answer != "" {
		r.Facts = append(r.Facts, exchange.Fact{Name: "Answer", Value: f.Answer})
	}
	r.Facts = append(r.Facts, exchange.Fact{Name: "Code", Value: k.code})
	return r
}

// Reasons that are not errors of a socket. Never written.
var (
	errInterim  = errors.New("too many interim responses")
	errNotAsked = errors.New("the application switched protocols without being asked")
	errPanic    = errors.New("a writer panicked")
)

// timedOut reports whether err is a time limit that has passed.
func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, sockio.ErrLimit) || errors.As(err, &n) && n.Timeout()
}

// fail makes the error of an exchange. What looks like a failure of the
// application may be the client's doing, or that of the upload beside: then
// it is told as that.
func (t *flight) fail(phase Phase, side Side, err error) error {
	if side == Application {
		switch {
		case t.x.Gone():
			side = Client
		case t.upload.brokenOff():
			if t.upload.client {
				return t.upload.err
			}
			phase, err = SendBody, t.upload.err
		case phase == ReadHead && !t.received && (!t.upload.ended() || t.upload.err != nil):
			phase = SendBody // it died while its body was being sent
		}
	}
	f := &Failure{Phase: phase, Side: side, Sent: t.sent, Received: t.received, Address: t.c.set.Address.String(), Err: err}
	if side == Client {
		return f.clients()
	}
	if f.kind() == garbled && phase == ReadHead {
		f.Answer = quoted(t.buf[t.r:t.w])
	}
	e := f.applications(t.mayResend(err))
	if e.Resend {
		t.c.drop() // what stands beside a dead connection is most likely dead too
	}
	return e
}

// quoted is the beginning of an answer, to be read by people.
func quoted(answer []byte) string { return fmt.Sprintf("%.64q", answer) }

// clients is the error of a failure of the client.
func (f *Failure) clients() *exchange.Error {
	return &exchange.Error{Status: 400, Op: "forward", Err: f}
}

// applications is the error of a failure of the application.
func (f *Failure) applications(resend bool) *exchange.Error {
	return &exchange.Error{Status: 502, SubStatus: 3, Op: "forward", Err: f, Resend: resend, Unsent: resend && !f.Sent}
}

// mayResend is the rule of the design: everything may be sent again when no
// byte of it was written; GET, HEAD and OPTIONS without a body also when no
// byte of a response was read. A timeout is no reason to ask again.
func (t *flight) mayResend(err error) bool {
	r := &t.x.Request
	switch {
	case t.received || timedOut(err):
		return false
	case t.sent:
		return r.Idempotent()
	}
	return !r.HasBody() || !r.Body.Sent() // a body that was taken cannot be taken twice
}

var _ io.Writer = (*chunks)(nil)
var _ exchange.Aborter = (*sockio.Conn)(nil)
