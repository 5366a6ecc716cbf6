package forward

import (
	"bytes"
	"errors"
	"io"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/sockio"
)

// relayLength streams a response body of known length.
func (t *flight) relayLength() error {
	left := t.head.Length
	n := min(int64(t.w-t.r), left)
	first := t.buf[t.r : t.r+int(n)]
	t.r += int(n)
	if left -= n; left == 0 {
		t.keepLink()
	}
	if err := t.write(first); err != nil || left == 0 {
		return err
	}
	t.r, t.w = 0, 0
	if left >= spliceFrom {
		if err := t.pass(left); err != nil {
			return err
		}
		t.keepLink()
		return nil
	}
	for left > 0 {
		if err := t.flush(); err != nil {
			return err
		}
		n, err := t.read(t.buf[:min(left, int64(len(t.buf)))])
		if err != nil {
			return t.fail(ReadBody, Application, eof(err))
		}
		if left -= int64(n); left == 0 {
			t.keepLink()
		}
		if err := t.write(t.buf[:n]); err != nil {
			return err
		}
	}
	return nil
}

// relayChunked streams a chunked body, decoded and framed anew, piece by
// piece as it arrives.
func (t *flight) relayChunked() error {
	t.decoder.Reset()
	for {
		data, n, err := t.decoder.Next(t.buf[t.r:t.w], &t.trailer, &t.c.f.limits)
		if err != nil {
			return t.fail(ReadBody, Application, err)
		}
		t.r += n
		if t.decoder.Done() {
			t.x.Response.Trailer = cloneTrailer(t.x.Response.Trailer, t.trailer.Fields)
			t.keepLink()
			return nil
		}
		if len(data) > 0 {
			if err := t.write(data); err != nil {
				return err
			}
		}
		if k := t.decoder.Left(); t.r == t.w && k >= spliceFrom {
			if err := t.pass(int64(k)); err != nil {
				return err
			}
			t.decoder.Skip(k)
		} else if n == 0 {
			if err := t.more(); err != nil {
				return err
			}
		}
	}
}

// more sends what was written so far and reads on.
func (t *flight) more() error {
	if err := t.flush(); err != nil {
		return err
	}
	if t.r == t.w {
		t.r, t.w = 0, 0
	} else if t.w == len(t.buf) && !t.grow() {
		return t.fail(ReadBody, Application, http1.FieldsTooLarge)
	}
	n, err := t.read(t.buf[t.w:])
	if err != nil {
		return t.fail(ReadBody, Application, eof(err))
	}
	t.w += n
	return nil
}

// cloneTrailer copies fields out of the buffer: the driver writes them after
// the flight has ended. It leaves out those that have no place there.
func cloneTrailer(dst, fields []exchange.Field) []exchange.Field {
	for _, f := range fields {
		if http1.TrailerAllowed(f.ID) {
			dst = append(dst, exchange.Field{ID: f.ID, Name: bytes.Clone(f.Name), Value: bytes.Clone(f.Value)})
		}
	}
	return dst
}

// relayUntilClose streams a body that ends with the connection. A broken one is
// told from an orderly end where the reader learns of it; an upload beside may
// have learned of it first.
func (t *flight) relayUntilClose() error {
	for {
		if err := t.write(t.buf[t.r:t.w]); err != nil {
			return err
		}
		if err := t.flush(); err != nil {
			return err
		}
		n, err := t.read(t.buf)
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return t.fail(ReadBody, Application, err)
		}
		t.r, t.w = 0, n
	}
}

// read reads from the application, for no longer than the request timeout.
func (t *flight) read(p []byte) (int, error) {
	t.limit()
	return t.link.sock.Read(p)
}

// write sends body bytes on.
func (t *flight) write(p []byte) error {
	if _, err := t.x.Response.Writer.Write(p); err != nil {
		return t.fail(SendResponse, Client, err)
	}
	return nil
}

func (t *flight) flush() error {
	if err := t.x.Response.Writer.Flush(); err != nil {
		return t.fail(SendResponse, Client, err)
	}
	return nil
}

// spliceFrom is the length from which a body is handed to the driver as a
// socket, to be moved inside the kernel.
const spliceFrom = 32 << 10

// pass hands n bytes of the connection to the driver.
func (t *flight) pass(n int64) error {
	t.limited.R, t.limited.N = t.link.sock, n
	for {
		before := t.limited.N
		t.limit()
		_, err := t.x.Response.Writer.ReadFrom(&t.limited)
		switch {
		case err == nil && t.limited.N == 0:
			return nil
		case err == nil:
			return t.fail(ReadBody, Application, io.ErrUnexpectedEOF)
		case err == sockio.ErrLimit && t.limited.N < before:
			// A writer that copies reads many times within one limit, which
			// is one of idleness: bytes came, so there is more time.
		case clientSide(err):
			return t.fail(SendResponse, Client, err)
		default:
			return t.fail(ReadBody, Application, eof(err))
		}
	}
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
