package exchangetest

import (
	"bytes"
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

	data   []byte
	length int64
	sent   bool
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
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

// WriteTo writes what is left.
func (b *Body) WriteTo(w io.Writer) (int64, error) {
	n, err := w.Write(b.data)
	b.data = b.data[n:]
	if err == nil {
		err = b.Err
	}
	b.sent = err == nil
	return int64(n), err
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

// Buffered returns the rest, unless the body is Streaming or ends in Err.
func (b *Body) Buffered() ([]byte, bool) {
	if b.Streaming || b.Err != nil {
		return nil, false
	}
	return bytes.Clone(b.data), true
}
