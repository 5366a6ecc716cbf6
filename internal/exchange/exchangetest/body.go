package exchangetest

import (
	"io"

	"github.com/perchserver/perch/internal/exchange"
)

// Body is a request body in memory. Its fields may be changed before use.
type Body struct {
	// Err, if set, is what reading ends with instead of io.EOF: a body cut
	// short.
	Err error

	// Trailers are the fields that Trailer returns at the end.
	Trailers []exchange.Field

	// Streaming makes Buffered say that the rest has not come yet.
	Streaming bool

	data    []byte
	held    []byte // what Buffered has returned
	length  int64
	sent    bool
	limited bool
	limit   int64 // bytes that may still be read, if limited
}

// NewBody returns a body of declared length.
func NewBody(data string) *Body {
	return &Body{data: []byte(data), length: int64(len(data)), sent: data == ""}
}

// NewChunked returns a body whose length is not known beforehand.
func NewChunked(data string) *Body {
	return &Body{data: []byte(data), length: -1}
}

// Read reads what is left, then says io.EOF or Err.
func (b *Body) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		if b.Err != nil {
			return 0, b.Err
		}
		b.sent = true
		return 0, io.EOF
	}
	allowed := b.allowed()
	if len(allowed) == 0 {
		return 0, errTooLarge()
	}
	n := copy(p, allowed)
	b.take(n)
	return n, nil
}

// WriteTo writes what is left.
func (b *Body) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b.allowed())
	b.take(n)
	switch {
	case err != nil:
	case len(b.data) > 0:
		err = errTooLarge()
	default:
		err = b.Err
	}
	b.sent = err == nil
	return int64(n), err
}

// allowed is the part of the data below the limit.
func (b *Body) allowed() []byte {
	if b.limited && int64(len(b.data)) > b.limit {
		return b.data[:b.limit]
	}
	return b.data
}

func (b *Body) take(n int) {
	b.data = b.data[n:]
	b.limit -= int64(n)
}

func errTooLarge() error {
	return exchange.Errorf(413, 1, "read request body", "the body is larger than the limit")
}

// Trailer returns Trailers once the body was read.
func (b *Body) Trailer() []exchange.Field {
	if !b.sent {
		return nil
	}
	return b.Trailers
}

// Sent reports whether all of the body was read.
func (b *Body) Sent() bool { return b.sent }

// Buffered returns the rest and counts it as read, unless the body is
// Streaming, ends in Err or is larger than its limit.
func (b *Body) Buffered() ([]byte, bool) {
	if b.Streaming || b.Err != nil || len(b.allowed()) < len(b.data) {
		return nil, false
	}
	b.held, b.data, b.sent = b.data, nil, true
	return b.held, true
}

// Unread gives back what Buffered has returned.
func (b *Body) Unread() {
	if len(b.held) > 0 {
		b.held, b.data, b.sent = nil, b.held, false
	}
}

// Limit makes reading beyond n more bytes fail with 413.
func (b *Body) Limit(n int64) {
	b.limited, b.limit = n >= 0, n
}

// Unhurried does nothing: reading never waits.
func (b *Body) Unhurried() {}

// Interrupt does nothing: reading never waits.
func (b *Body) Interrupt() {}
