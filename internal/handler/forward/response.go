package forward

import (
	"io"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/sockio"
)

// headLimits bound a response head (spec 3.1: 64 KiB). Never written.
var headLimits = http1.Limits{Line: 8 << 10, Fields: 64 << 10, Count: 1000}

const (
	maxHead    = 80 << 10 // buffer for the largest head
	maxInterim = 64       // interim responses before the final one

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
	t.limit()
	for {
		n, err := t.scan.Scan(t.buf[t.r:t.w], &t.c.f.limits)
		switch {
		case err == http1.LineTooLong:
			return 0, t.fail(ReadHead, Application, http1.BadStatusLine)
		case err != nil:
			return 0, t.fail(ReadHead, Application, err)
		case n > 0:
			return n, nil
		case t.w == len(t.buf) && !t.grow():
			return 0, t.fail(ReadHead, Application, http1.FieldsTooLarge)
		}
		n, err = sock.Read(t.buf[t.w:])
		switch {
		case err == nil:
			t.received = true
			t.w += n
		case err == sockio.ErrLimit && t.upload.state == heldUpload:
			t.upload.start() // it was not asked, and does not seem to know how
		default:
			return 0, t.fail(ReadHead, Application, eof(err))
		}
	}
}

// limit starts the time that the application has for its next bytes.
func (t *flight) limit() {
	sock, d := t.link.sock, t.c.set.RequestTimeout
	switch {
	case t.upload.state == noUpload:
		sock.LimitRead(d)
	case t.upload.state == running:
		sock.Extend() // there is no limit before the upload has ended, and set one
	case d == 0 || d > continueTime:
		sock.LimitRead(continueTime)
	default:
		sock.LimitRead(d)
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
	r := &t.x.Response
	r.Status, r.Reason = t.head.Status, t.head.Reason
	passFields(&t.head, &r.Header)
	if t.c.set.PassConnection && t.head.Close {
		r.Close = true
	}
	bodiless := t.x.Request.Method == "HEAD" || !http1.BodyAllowed(t.head.Status)
	r.Length = t.head.Length // -1 for chunks, and for a body that ends with the connection
	if err := r.Writer.WriteHead(t.x); err != nil {
		return t.fail(SendResponse, Client, err)
	}
	switch {
	case bodiless:
		if !t.contradicts() {
			t.keepLink()
		}
		return nil
	case t.head.Chunked:
		return t.relayChunked()
	case t.head.Length >= 0:
		return t.relayLength()
	default:
		return t.relayUntilClose()
	}
}

// contradicts reports whether a response that has no body announces one. The
// head ends it all the same (RFC 9112 section 6.3), but the application may
// think otherwise, and send a body when the connection is in use again.
func (t *flight) contradicts() bool {
	return t.head.Chunked && t.x.Request.Method != "HEAD" || t.head.Status == 204 && t.head.Length > 0
}

// passFields moves the fields that go on to the client (spec 3.5).
func passFields(head *http1.ResponseHead, to *exchange.Header) {
	fields, n := head.Header.Fields, 0
	for i := range fields {
		f := &fields[i]
		switch f.ID {
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.Upgrade,
			exchange.TransferEncoding, exchange.ContentLength, exchange.Date, exchange.TE,
			exchange.MSToken, exchange.MSEvent, exchange.MSClientCert, exchange.MSWinAuthToken:
			continue
		}
		if len(f.Value) == 0 {
			continue // IIS sends no empty fields
		}
		if head.Named && http1.NamedByConnection(&head.Header, f) {
			continue
		}
		if n < i {
			fields[n], *f = *f, fields[n] // Connection has to stay among them until the end
		}
		n++
	}
	clear(fields[n:])
	to.Reset()
	to.Fields, head.Header.Fields = fields[:n], to.Fields
}

// keepLink gives the connection back if nothing is left on it (step 6). It is
// done before the last bytes go to the client: the next request may follow at
// once.
func (t *flight) keepLink() {
	if t.r < t.w || !t.head.Reusable() || !t.upload.ended() || t.upload.err != nil || !t.x.Request.Body.Sent() {
		return
	}
	t.x.WhenGone(nil)
	l := t.link
	t.link = nil
	t.c.put(l, t.head.KeepAliveTimeout)
}

// eof tells an end that comes too early from an orderly one.
func eof(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
