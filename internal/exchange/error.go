package exchange

import (
	"errors"
	"fmt"
	"strconv"
)

// Error is a failed exchange: the status and IIS sub-status that it is
// answered with, what the client may read of it, and what the log gets.
type Error struct {
	Status    int
	SubStatus int // IIS sub-status; 0 is none

	// Op is the operation that failed, in the words of the log: "forward",
	// "start application".
	Op string

	// Public is one sentence that any client may read. Empty: the standard
	// phrase of the status.
	Public string

	// Kind stands in the heading of the page in place of what the status goes
	// by. Empty: that.
	Kind string

	// RetryAfter, in seconds, is sent as a Retry-After field when not 0.
	RetryAfter int

	// Empty asks for an answer without a body (spec: a configuration error
	// of the module, a start failure with its page switched off).
	Empty bool

	// Close asks the driver to close the connection after the answer, because
	// the position in its byte stream is not trustworthy any more.
	Close bool

	// Resend says that the same exchange may be served again without harm:
	// nothing of it has reached an application, which Unsent tells, or it may
	// be sent twice.
	Resend, Unsent bool

	// Code is the HTTP/2 error code that a response which was begun is cut
	// with; 0 stands for an internal error. Told says instead that
	// Response.Trailer tells the client, and ends the response. Cut says that
	// a response which was not begun is cut too, in place of an answer with
	// Status: it is for requests of HTTP/2 alone.
	Code uint32
	Told bool
	Cut  bool

	// Logged says that whoever found the failure has logged it in full: each
	// request that meets it is worth a line and no more.
	Logged bool

	// Advice is the ways out, for who may read the details, unless Err is a
	// Reporter, which has its own.
	Advice []string

	// Err is the cause, for the log. If it is a Reporter, the page that a
	// local client sees tells its report.
	Err error
}

// Error returns operation, status and cause in one line.
func (e *Error) Error() string {
	s := strconv.Itoa(e.Status)
	if e.SubStatus != 0 {
		s += "." + strconv.Itoa(e.SubStatus)
	}
	if e.Op != "" {
		s = e.Op + ": " + s
	}
	if e.Public != "" {
		s += " " + e.Public
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// BodyTooLarge is the refusal of a body beyond its limit: of one that says so, or of
// one that turns out to be. Its connection ends with it.
func BodyTooLarge(op, why string) *Error {
	return &Error{
		Status: 413, SubStatus: 1, Op: op, Close: true,
		Public: "The request body is larger than is allowed here", Err: errors.New(why),
		Advice: []string{"raise the limit: `perch set system.webServer/security/requestFiltering/requestLimits/@maxAllowedContentLength=BYTES DIR`, where DIR is the application's folder"},
	}
}

// Errorf returns an Error with a status, an operation and a formatted cause.
func Errorf(status, sub int, op, format string, a ...any) *Error {
	return &Error{Status: status, SubStatus: sub, Op: op, Err: fmt.Errorf(format, a...)}
}

// AsError returns err as an *Error; one that is not becomes a 500.
func AsError(err error) *Error {
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	return &Error{Status: 500, Op: "handle request", Err: err}
}

// Report is a failure told for the one who has to mend it. The error page,
// the log and the command line print this same value.
type Report struct {
	Title  string   // what failed, as a heading: "The application did not start"
	Step   string   // where on the way: "wait for the listening port"
	Facts  []Fact   // what is known, in order
	Advice []string // ways out, the most likely first
	Output string   // the last output of the application, if any
}

// Fact is one named value of a Report.
type Fact struct{ Name, Value string }

// Reporter is an error that can tell itself in full.
type Reporter interface {
	error
	Report() Report
}

// Pager is an error that brings the page it is answered with, whoever asks.
type Pager interface {
	error
	Page() (contentType string, body []byte)
}
