package forward

import (
	"errors"
	"fmt"
	"io"
	"syscall"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
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
	Err      error
}

// Error returns phase, side and cause.
func (f *Failure) Error() string {
	return fmt.Sprintf("%s (%s, %s): %v", f.Phase, f.Side, f.Address, f.Err)
}

// Unwrap returns the cause.
func (f *Failure) Unwrap() error { return f.Err }

// Report implements exchange.Reporter.
func (f *Failure) Report() exchange.Report {
	r := exchange.Report{
		Title: "The application did not answer as a web server",
		Step:  f.Phase.String(),
		Facts: []exchange.Fact{
			{Name: "Side", Value: f.Side.String()},
			{Name: "Address", Value: f.Address},
			{Name: "Cause", Value: f.Err.Error()},
			{Name: "Code", Value: code(f.Err)},
		},
	}
	switch {
	case errors.Is(f.Err, sockio.ErrLimit):
		r.Title = "The application took too long"
		r.Advice = []string{"raise requestTimeout in web.config if the work takes that long", "look in the application's log for what it was doing"}
	case errors.Is(f.Err, syscall.ECONNREFUSED):
		r.Title = "The application does not accept connections"
		r.Advice = []string{"look in the application's log for why it stopped listening"}
	case errors.As(f.Err, new(http1.Fault)):
		r.Advice = []string{"what listens on this port does not speak HTTP/1.1 correctly: look at what it sends"}
	default:
		r.Title = "The application broke the connection"
		r.Advice = []string{"look in the application's log for a crash at this time"}
	}
	return r
}

// code is the number that tools for IIS look for (spec 9.2).
func code(err error) string {
	switch {
	case errors.Is(err, sockio.ErrLimit):
		return "0x80072EE2"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "0x80072EFD"
	case errors.As(err, new(http1.Fault)), errors.Is(err, io.ErrUnexpectedEOF):
		return "0x80072F78"
	}
	return "0x80072EFE"
}

// Reasons that are not errors of a socket. Never written.
var (
	errInterim  = errors.New("too many interim responses")
	errNotAsked = errors.New("the application switched protocols without being asked")
)

// fail makes the error of an exchange. If the client is the reason why the
// application could not be heard, it is the client's.
func (t *flight) fail(phase Phase, side Side, err error) error {
	if side == Application && t.link != nil {
		if cerr := t.upload.failed(); cerr != nil {
			return cerr
		}
		if t.x.Gone() {
			side = Client
		}
	}
	f := &Failure{Phase: phase, Side: side, Sent: t.sent, Received: t.received, Address: t.c.set.Address.String(), Err: err}
	e := &exchange.Error{Status: 502, SubStatus: 3, Op: "forward", Err: f}
	if side == Client {
		e.Status, e.SubStatus = 400, 0
		return e
	}
	e.Resend = t.mayResend(err)
	if e.Resend {
		t.c.idle.drop() // what stands beside a dead connection is most likely dead too
	}
	return e
}

// mayResend is the rule of the design: everything may be sent again when no
// byte of it was written; GET, HEAD and OPTIONS without a body also when no
// byte of a response was read. A timeout is no reason to ask again.
func (t *flight) mayResend(err error) bool {
	if t.received || errors.Is(err, sockio.ErrLimit) || t.x.Response.Started {
		return false
	}
	return !t.sent && t.upload.state == noUpload || t.x.Request.Idempotent()
}

// clientSide reports whether a transfer failed at the client.
func clientSide(err error) bool {
	var e *exchange.Error
	if errors.As(err, &e) {
		return true // the driver speaks of its own side alone
	}
	var s *sockio.SideError
	return errors.As(err, &s) && !s.Reading
}
