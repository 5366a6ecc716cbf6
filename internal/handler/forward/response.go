package forward

import (
	"bytes"
	"io"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/sockio"
)

// headLimits bound a response head (spec 3.1: 64 KiB). Never written.
var headLimits = http1.Limits{Line: 64 << 10, Fields: 64 << 10, Count: 1000}

const (
	maxHead    = 128 << 10 // buffer for the largest head
	maxInterim = 64        // interim responses before the final one

	// continueTime is how long an application is given to ask for a body
	// that the client holds back. One that does not know the question is
	// sent the body all the same.
	continueTime = time.Second
)

// readHead reads response heads until the final one (step 4). Interim ones
// are passed on.
func (t *flight) readHead() error {
	for range maxInterim {
		n, err := t.nextHead()
		if err != nil {
			return err
		}
		if err := http1.ParseResponse(t.buf[t.r:t.r+n], &t.head); err != nil {
			return t.fail(ReadHead, Application, err)
		}
		t.r += n
		t.scan.Reset()
		if t.head.Status >= 200 || t.head.Status == 101 {
			return nil
		}
		if err := t.interim(); err != nil {
			return err
		}
	}
	return t.fail(ReadHead, Application, errInterim)
}

// nextHead reads until a head is complete and returns its length.
func (t *flight) nextHead() (int, error) {
	sock := t.link.sock
	t.scan.Reset()
	if t.upload.state == heldUpload {
		sock.LimitRead(continueTime)
	} else {
		sock.LimitRead(t.c.set.RequestTimeout)
	}
	for {
		if n, err := t.scan.Scan(t.buf[t.r:t.w], &t.c.f.limits); err != nil {
			return 0, t.fail(ReadHead, Application, err)
		} else if n > 0 {
			return n, nil
		}
		if t.w == len(t.buf) && !t.grow() {
			return 0, t.fail(ReadHead, Application, http1.FieldsTooLarge)
		}
		n, err := sock.Read(t.buf[t.w:])
		if err == sockio.ErrLimit && t.upload.state == heldUpload && sock.ForgiveRead() == nil {
			t.upload.start()
			sock.LimitRead(t.c.set.RequestTimeout)
			continue
		}
		if err != nil {
			return 0, t.fail(ReadHead, Application, eof(err))
		}
		t.received = true
		t.w += n
	}
}

// grow makes room behind what was received.
func (t *flight) grow() bool {
	if t.r > 0 {
		t.w = copy(t.buf, t.buf[t.r:t.w])
		t.r = 0
		return true
	}
	if len(t.buf) >= maxHead {
		return false
	}
	larger := make([]byte, maxHead)
	copy(larger, t.buf[:t.w])
	t.buf = larger
	return true
}

// interim passes a 1xx response on. The client's own driver asks for the body
// when the upload reads it, so 100 only lets it begin.
func (t *flight) interim() error {
	if t.head.Status == 100 {
		if t.upload.state == heldUpload {
			t.upload.start()
		}
		return nil
	}
	http1.StripHopByHop(&t.head.Header, &t.head.Framing)
	if err := t.x.Response.Writer.Inform(t.head.Status, &t.head.Header); err != nil {
		return t.fail(SendResponse, Client, err)
	}
	return nil
}

// relay answers with the final response (step 5).
func (t *flight) relay() error {
	x := t.x
	x.Response.Status, x.Response.Reason = t.head.Status, t.head.Reason
	t.passFields(&x.Response)
	if t.c.set.PassConnection && t.head.Close {
		x.Response.Close = true
	}
	if t.upload.state == heldUpload {
		t.upload.end() // nobody asked for the body
	}
	switch {
	case x.Request.Method == "HEAD" || !http1.BodyAllowed(t.head.Status):
		x.Response.Length = t.head.Length
		return t.relayNothing()
	case t.head.Chunked:
		x.Response.Length = -1
		return t.relayChunked()
	case t.head.Length >= 0:
		x.Response.Length = t.head.Length
		return t.relayLength()
	default:
		x.Response.Length = -1
		return t.relayUntilClose()
	}
}

// passFields copies the fields that go on to the client (spec 3.5).
func (t *flight) passFields(r *exchange.Response) {
	if t.head.Named {
		http1.StripHopByHop(&t.head.Header, &t.head.Framing)
	}
	out := r.Header.Fields[:0]
	for i := range t.head.Header.Fields {
		f := &t.head.Header.Fields[i]
		switch f.ID {
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.Upgrade,
			exchange.TransferEncoding, exchange.ContentLength, exchange.Date, exchange.TE,
			exchange.MSToken, exchange.MSEvent, exchange.MSClientCert, exchange.MSWinAuthToken:
			continue
		}
		if len(f.Value) == 0 {
			continue // IIS sends no empty fields
		}
		out = append(out, *f)
	}
	r.Header.Fields = out
}

// keepLink gives the connection back if nothing is left on it. It is done
// before the last bytes go to the client: the next request may follow at once.
func (t *flight) keepLink() {
	if t.r < t.w || !t.head.Reusable() || t.upload.state != noUpload || !t.x.Request.Body.Sent() {
		return
	}
	t.x.WhenGone(nil)
	l := t.link
	t.link = nil
	t.c.put(l, t.head.KeepAliveTimeout)
}

func (t *flight) writeHead() error {
	if err := t.x.Response.Writer.WriteHead(t.x); err != nil {
		return t.fail(SendResponse, Client, err)
	}
	return nil
}

func (t *flight) relayNothing() error {
	err := t.writeHead()
	t.keepLink()
	return err
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

// relayLength streams a body of known length.
func (t *flight) relayLength() error {
	if err := t.writeHead(); err != nil {
		return err
	}
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
	if left >= spliceFrom {
		if err := t.pass(left); err != nil {
			return err
		}
		left = 0
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
			t.r, t.w = 0, 0
			t.keepLink()
		}
		if err := t.write(t.buf[:n]); err != nil {
			return err
		}
	}
	if t.link != nil {
		t.r, t.w = 0, 0
		t.keepLink()
	}
	return nil
}

// spliceFrom is the length from which a body is handed to the driver as a
// socket, to be moved inside the kernel.
const spliceFrom = 32 << 10

// pass hands n bytes of the connection to the driver.
func (t *flight) pass(n int64) error {
	t.link.sock.LimitRead(t.c.set.RequestTimeout)
	t.limited.R, t.limited.N = t.link.sock, n
	_, err := t.x.Response.Writer.ReadFrom(&t.limited)
	switch {
	case err == nil && t.limited.N == 0:
		return nil
	case err == nil:
		err = io.ErrUnexpectedEOF
	case clientSide(err):
		return t.fail(SendResponse, Client, err)
	}
	return t.fail(ReadBody, Application, eof(err))
}

// read reads from the application, for no longer than the request timeout.
func (t *flight) read(p []byte) (int, error) {
	t.link.sock.LimitRead(t.c.set.RequestTimeout)
	return t.link.sock.Read(p)
}

// relayChunked streams a chunked body, decoded and framed anew, piece by
// piece as it arrives.
func (t *flight) relayChunked() error {
	if err := t.writeHead(); err != nil {
		return err
	}
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
	if t.r == t.w && len(t.trailer.Fields) == 0 {
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
// the flight has ended. Those of a hop are left out.
func cloneTrailer(dst, fields []exchange.Field) []exchange.Field {
	for _, f := range fields {
		if http1.TrailerAllowed(f.ID) {
			dst = append(dst, exchange.Field{ID: f.ID, Name: bytes.Clone(f.Name), Value: bytes.Clone(f.Value)})
		}
	}
	return dst
}

// relayUntilClose streams a body that ends with the connection.
func (t *flight) relayUntilClose() error {
	if err := t.writeHead(); err != nil {
		return err
	}
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

// eof tells an end that comes too early from an orderly one.
func eof(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
