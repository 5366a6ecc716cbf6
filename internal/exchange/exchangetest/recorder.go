package exchangetest

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"

	"github.com/perchserver/perch/internal/exchange"
)

// Recorder keeps what a handler writes. It is an exchange.Writer and refuses,
// with an error that Problem returns too, what a driver could not send: a
// second head, a body before the head, or more body than was announced.
type Recorder struct {
	Status    int
	SubStatus int
	Reason    string
	Header    exchange.Header // copied when the head was written
	Length    int64           // as announced
	Body      []byte
	Interim   []int // statuses of interim responses
	Flushes   int

	// FileBytes counts the body bytes that came by ReadFrom from a section of
	// an *os.File: those that a driver sends from inside the kernel.
	FileBytes int64

	// Fail, if set, is the error of every body write: the client is gone.
	Fail error

	// Peer is the client's end of the connection after an upgrade.
	Peer net.Conn

	x       *exchange.Exchange
	problem error
}

// Problem returns the first breach of the contract, and one for a body that
// is shorter than announced. It is asked after the handler returned.
func (r *Recorder) Problem() error {
	switch {
	case r.problem != nil:
		return r.problem
	case !r.x.Response.Started:
		return errors.New("no head was written")
	case r.Length >= 0 && !r.bodiless() && int64(len(r.Body)) != r.Length:
		return fmt.Errorf("announced %d body bytes, wrote %d", r.Length, len(r.Body))
	}
	return nil
}

// Field returns the value of the first response field with this name, and
// whether there is one.
func (r *Recorder) Field(name string) (string, bool) {
	v := r.Header.GetName(name)
	return string(v), v != nil
}

// Head returns status line and fields as text, one per line, for comparing.
func (r *Recorder) Head() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d\n", r.Status)
	for i := range r.Header.Fields {
		fmt.Fprintf(&b, "%s: %s\n", r.Header.Fields[i].NameBytes(), r.Header.Fields[i].Value)
	}
	return b.String()
}

// WriteHead records the head of x.Response.
func (r *Recorder) WriteHead(x *exchange.Exchange) error {
	if x.Response.Started {
		return r.breach("a second head was written")
	}
	if x.Response.Status < 200 || x.Response.Status > 999 {
		return r.breach(fmt.Sprintf("head with status %d", x.Response.Status))
	}
	r.record(x)
	return nil
}

func (r *Recorder) record(x *exchange.Exchange) {
	res := &x.Response
	res.Started = true
	r.Status, r.SubStatus, r.Reason, r.Length = res.Status, res.SubStatus, string(res.Reason), res.Length
	for i := range res.Header.Fields {
		f := &res.Header.Fields[i]
		r.Header.AddName([]byte(string(f.NameBytes())), []byte(string(f.Value)))
	}
}

// bodiless reports whether the response has a length and no body (RFC 9110
// sections 9.3.2 and 15.4.5).
func (r *Recorder) bodiless() bool {
	return r.x.Request.Method == "HEAD" || r.Status == 304 || r.Status == 204
}

// Write records body bytes.
func (r *Recorder) Write(p []byte) (int, error) {
	switch {
	case !r.x.Response.Started:
		return 0, r.breach("body was written before the head")
	case len(p) > 0 && r.bodiless():
		return 0, r.breach(fmt.Sprintf("body was written for %s with status %d", r.x.Request.Method, r.Status))
	case r.Length >= 0 && int64(len(r.Body)+len(p)) > r.Length:
		return 0, r.breach(fmt.Sprintf("more than the announced %d body bytes were written", r.Length))
	case r.Fail != nil:
		return 0, r.Fail
	}
	r.Body = append(r.Body, p...)
	r.x.Response.Written += int64(len(p))
	return len(p), nil
}

// ReadFrom records all of src.
func (r *Recorder) ReadFrom(src io.Reader) (int64, error) {
	data, err := io.ReadAll(src)
	n, werr := r.Write(data)
	if isFile(src) {
		r.FileBytes += int64(n)
	}
	if werr != nil {
		err = werr
	}
	return int64(n), err
}

func isFile(src io.Reader) bool {
	s, ok := src.(*io.SectionReader)
	if !ok {
		return false
	}
	whole, _, _ := s.Outer()
	_, ok = whole.(*os.File)
	return ok
}

// Flush counts.
func (r *Recorder) Flush() error {
	r.Flushes++
	return nil
}

// Inform records an interim response.
func (r *Recorder) Inform(status int, _ *exchange.Header) error {
	if r.x.Response.Started {
		return r.breach("an interim response came after the head")
	}
	r.Interim = append(r.Interim, status)
	return nil
}

// Upgrade records the head and returns one end of a pipe; Peer is the other.
func (r *Recorder) Upgrade(x *exchange.Exchange) (exchange.Stream, error) {
	if x.Response.Started || x.Response.Status != 101 {
		return nil, r.breach("upgrade without a fresh response of status 101")
	}
	r.record(x)
	ours, peer := net.Pipe()
	r.Peer = peer
	return stream{ours}, nil
}

// stream is a pipe, which has no half-close: CloseWrite closes both halves.
type stream struct{ net.Conn }

func (s stream) CloseWrite() error { return s.Conn.Close() }

func (r *Recorder) breach(what string) error {
	err := errors.New("exchangetest: " + what)
	if r.problem == nil {
		r.problem = err
	}
	return err
}
