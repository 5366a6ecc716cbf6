package http1

import (
	"bytes"

	"github.com/perchserver/perch/internal/exchange"
)

// ResponseHead is the head of a response from an application.
type ResponseHead struct {
	Proto  exchange.Proto
	Status int
	Reason []byte // may be empty
	Header exchange.Header
	Framing

	// KeepAliveTimeout is what the Keep-Alive field promises, in seconds, 0
	// if it promises nothing.
	KeepAliveTimeout int
}

// Reusable reports whether the connection may carry another exchange when
// this message has ended.
func (r *ResponseHead) Reusable() bool {
	return !r.Close && (r.Proto >= exchange.HTTP11 || r.KeepAlive)
}

// ParseResponse parses a whole response head, as found by a Scanner. What it
// stores points into head.
func ParseResponse(head []byte, r *ResponseHead) error {
	r.Header.Reset()
	fields := r.Header.Fields
	*r = ResponseHead{}
	r.Header.Fields = fields
	e := bytes.IndexByte(head, '\n')
	if e < 1 || head[e-1] != '\r' {
		return BadLineEnd
	}
	if err := r.statusLine(head[:e-1]); err != nil {
		return err
	}
	if err := parseFields(head[e+1:], &r.Header, &r.Framing); err != nil {
		return err
	}
	switch {
	case r.Chunked && r.Length >= 0:
		return TwoFramings
	case r.Chunked && r.Proto < exchange.HTTP11:
		return CodingInHTTP10
	}
	r.takeKeepAlive()
	return nil
}

// statusLine parses "version SP 3DIGIT [SP reason]". A missing space before
// an empty reason is let pass: some applications leave it out.
func (r *ResponseHead) statusLine(line []byte) (err error) {
	if len(line) < 12 || line[8] != ' ' {
		return BadStatusLine
	}
	if r.Proto, err = parseVersion(line[:8]); err != nil {
		return BadStatusLine
	}
	for _, c := range line[9:12] {
		if !digit(c) {
			return BadStatusLine
		}
		r.Status = r.Status*10 + int(c-'0')
	}
	if r.Status < 100 {
		return BadStatusLine
	}
	if len(line) > 12 {
		if line[12] != ' ' {
			return BadStatusLine
		}
		r.Reason = line[13:]
		if !validValue(r.Reason) {
			return BadStatusLine
		}
	}
	return nil
}

// takeKeepAlive reads "timeout=5" out of the Keep-Alive field.
func (r *ResponseHead) takeKeepAlive() {
	v := r.Header.Get(exchange.KeepAlive)
	for v != nil {
		var t []byte
		t, v = nextToken(v)
		const name = "timeout="
		if len(t) > len(name) && exchange.EqualFold(t[:len(name)], name) {
			if n, ok := ParseLength(t[len(name):]); ok && n < 1<<20 {
				r.KeepAliveTimeout = int(n)
			}
		}
	}
}

// BodyAllowed reports whether a response with this status has a body at all
// (RFC 9110 section 6.4.1); for HEAD none has.
func BodyAllowed(status int) bool {
	return status >= 200 && status != 204 && status != 304
}
