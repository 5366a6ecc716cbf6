package serve

import (
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/sockio"
)

// body is the request body of an HTTP/1.1 exchange: what came with the head
// first, then the socket.
type body struct {
	s       *session
	left    int64 // of a body with a length; of a chunked one: unknown
	chunked bool
	sent    bool // all of it was read
	expect  bool // the client waits to be asked
	count   int64
	held    int   // bytes that Buffered has returned
	most    int64 // negative: no limit
	decoder http1.Chunked
	trailer exchange.Header
	err     error

	patience  sockio.Credit // with the client, over all reads
	unhurried bool          // it may pause

	interrupted atomic.Bool
}

// spliceFrom is the length from which a body is moved inside the kernel; for
// less, the extra system calls cost more than the copy.
const spliceFrom = 32 << 10

func (b *body) reset() {
	s := b.s
	r := &s.x.Request
	b.trailer.Reset()
	b.decoder.Reset()
	b.left, b.chunked, b.sent = r.Length, r.Length < 0, r.Length == 0
	b.expect = s.framing.Expect && !b.sent
	b.held = 0
	b.count, b.most, b.patience, b.unhurried, b.err = 0, -1, sockio.Credit{}, false, nil
	b.interrupted.Store(false)
}

// Limit implements exchange.Body.
func (b *body) Limit(n int64) { b.most = n }

// Sent implements exchange.Body.
func (b *body) Sent() bool { return b.sent }

// Trailer implements exchange.Body.
func (b *body) Trailer() []exchange.Field { return b.trailer.Fields }

// Buffered implements exchange.Body.
func (b *body) Buffered() ([]byte, bool) {
	s := b.s
	if b.sent {
		return nil, true
	}
	if b.chunked || b.err != nil || int64(s.w-s.r) < b.left || b.tooLong() {
		return nil, false
	}
	p := s.in[s.r : s.r+int(b.left)]
	s.r += len(p)
	b.unexpect()
	b.took(len(p))
	b.held = len(p)
	return p, true
}

// Unread implements exchange.Body.
func (b *body) Unread() {
	if b.held > 0 {
		b.s.r -= b.held
		b.took(-b.held)
		b.held, b.sent = 0, false
	}
}

// Unhurried implements exchange.Body.
func (b *body) Unhurried() { b.unhurried = true }

// Interrupt implements exchange.Body. The socket can be read again once the
// driver has forgiven it.
func (b *body) Interrupt() {
	b.interrupted.Store(true)
	b.s.conn.sock.BreakRead()
}

// Read implements exchange.Body.
func (b *body) Read(p []byte) (int, error) {
	switch {
	case b.err != nil:
		return 0, b.err
	case b.sent:
		return 0, io.EOF
	case len(p) == 0:
		return 0, nil
	case b.tooLong():
		return 0, b.fail(errTooLarge)
	}
	if b.chunked {
		return b.readChunked(p)
	}
	p = p[:min(int64(len(p)), b.left)]
	n := b.received(p)
	if n == 0 {
		var err error
		if n, err = b.readSocket(p); err != nil {
			return 0, b.fail(err)
		}
	}
	b.took(n)
	return n, nil
}

// received copies bytes that are in the buffer already.
func (b *body) received(p []byte) int {
	n := copy(p, b.s.in[b.s.r:b.s.w])
	if n > 0 {
		b.unexpect()
	}
	b.s.r += n
	return n
}

// unexpect notes that the client did not wait to be asked.
func (b *body) unexpect() {
	if b.expect {
		b.s.out.mu.Lock()
		b.expect = false
		b.s.out.mu.Unlock()
	}
}

// took counts bytes of a body with a length.
func (b *body) took(n int) {
	b.count += int64(n)
	b.left -= int64(n)
	if b.left == 0 {
		b.sent = true
	}
}

// tooLong reports whether the declared length is beyond the limit.
func (b *body) tooLong() bool { return b.most >= 0 && !b.chunked && b.count+b.left > b.most }

func (b *body) fail(err error) error {
	b.err = err
	return err
}

// readChunked decodes up to len(p) bytes.
func (b *body) readChunked(p []byte) (int, error) {
	s := b.s
	for {
		// Data that is still in the socket needs no decoding: it goes
		// straight to where it is wanted.
		if k := b.decoder.Left(); k > 0 && s.r == s.w {
			n, err := b.readSocket(p[:min(uint64(len(p)), k)])
			if err != nil {
				return 0, b.fail(err)
			}
			b.decoder.Next(p[:n], nil, nil)
			return b.counted(n)
		}
		in := s.in[s.r:s.w]
		if k := int(min(b.decoder.Left(), uint64(len(p)))); k > 0 && k < len(in) {
			in = in[:k]
		}
		if len(in) > 0 {
			b.unexpect()
		}
		data, n, err := b.decoder.Next(in, &b.trailer, &s.conn.set.Head)
		if err != nil {
			return 0, b.fail(badBody(err))
		}
		s.r += n
		if b.decoder.Done() {
			b.sent = true
			return 0, io.EOF
		}
		if len(data) > 0 {
			return b.counted(copy(p, data))
		}
		if n == 0 {
			if err := b.fill(); err != nil {
				return 0, b.fail(err)
			}
		}
	}
}

func (b *body) counted(n int) (int, error) {
	b.count += int64(n)
	if b.most >= 0 && b.count > b.most {
		return 0, b.fail(errTooLarge)
	}
	return n, nil
}

// fill reads more framing into the buffer behind the head, which stays where
// it is. Nothing else in the buffer is in use: data is copied out, and trailer
// fields are parsed once all of them are there.
func (b *body) fill() error {
	const room = 2 << 10 // reading into less is not worth a system call
	s := b.s
	if s.r == s.w || len(s.in)-s.w < room {
		s.w = s.base + copy(s.in[s.base:], s.in[s.r:s.w])
		s.r = s.base
	}
	if len(s.in)-s.w < room {
		larger := make([]byte, s.w-s.r+s.conn.set.Head.Fields+bufferSize)
		s.w = copy(larger, s.in[s.r:s.w])
		s.in, s.r, s.base = larger, 0, 0
	}
	n, err := b.readSocket(s.in[s.w:])
	s.w += n
	return err
}

// readSocket reads from the client, asking for the body first if it waits for
// that, and not for longer than the minimum rate allows.
func (b *body) readSocket(p []byte) (int, error) {
	if err := b.ask(); err != nil {
		return 0, err
	}
	s := b.s
	if !b.unhurried && b.patience.Spent(s.conn.set.BodyGrace) {
		return 0, b.cause(sockio.ErrLimit)
	}
	begin := s.conn.server.watch.Clock()
	s.conn.sock.LimitRead(b.credit())
	if b.interrupted.Load() { // it may have come before the limit was set
		return 0, errInterrupted
	}
	n, err := s.conn.sock.Read(p)
	if err != nil {
		return 0, b.cause(err)
	}
	s.conn.sock.LimitRead(0)
	b.patience.Move(n, s.conn.server.watch.Clock()-begin, s.conn.set.BodyGrace, s.conn.set.MinRate)
	return n, nil
}

// credit is how long the next wait for the client may take, 0 for any time.
func (b *body) credit() time.Duration {
	if b.unhurried {
		return 0
	}
	return b.patience.Left(b.s.conn.set.BodyGrace)
}

// cause tells an interruption from a failure of the client.
func (b *body) cause(err error) error {
	if b.interrupted.Load() {
		return errInterrupted
	}
	return badBody(err)
}

// ask tells a client that waits to be asked for the body to send it, once.
// After the response has begun it is too late for that.
func (b *body) ask() error {
	if !b.expect {
		return nil
	}
	w := &b.s.out
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.final {
		return badBody(errNotAsked)
	}
	b.expect = false
	if _, err := b.s.conn.sock.Write(continueResponse); err != nil {
		return badBody(err)
	}
	return nil
}

// WriteTo implements exchange.Body.
func (b *body) WriteTo(w io.Writer) (total int64, err error) {
	if dst, ok := w.(*sockio.Conn); ok && !b.chunked && b.left >= spliceFrom && !b.tooLong() && b.err == nil {
		return b.splice(dst)
	}
	buf := b.s.conn.server.bulk.Get().(*[bulkSize]byte)
	defer b.s.conn.server.bulk.Put(buf)
	for {
		n, err := b.Read(buf[:])
		if n > 0 {
			if _, err := w.Write(buf[:n]); err != nil {
				return total, err
			}
			total += int64(n)
		}
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}

// splice sends what is buffered and moves the rest inside the kernel.
func (b *body) splice(dst *sockio.Conn) (total int64, err error) {
	s := b.s
	if s.r < s.w {
		n := min(int64(s.w-s.r), b.left)
		if _, err := dst.Write(s.in[s.r : s.r+int(n)]); err != nil {
			return 0, err
		}
		s.r += int(n)
		b.unexpect()
		b.took(int(n))
		total = n
	}
	if b.sent {
		return total, nil
	}
	if err := b.ask(); err != nil {
		return total, b.fail(err)
	}
	s.conn.sock.LimitRead(b.credit())
	if b.interrupted.Load() {
		return total, b.fail(errInterrupted)
	}
	n, err := dst.Splice(s.conn.sock, b.left)
	b.took(int(n))
	var side *sockio.SideError
	if errors.As(err, &side) {
		// Where the destination failed, bytes may be lost between the two:
		// the position in what the client sends is not known any more.
		if err = side.Err; side.Reading {
			err = b.cause(err)
			b.err = err
		} else {
			b.err = errLost
		}
	}
	return total + n, err
}

// mostDrained is how much of a body is read away that nobody has read.
const mostDrained = 4 << 20

// hopeless reports whether it is known already that drain will fail. The handler
// has returned.
func (b *body) hopeless() bool {
	if b.interrupted.Swap(false) && b.err == errInterrupted {
		b.err = nil
	}
	return b.expect || b.err != nil || b.left > mostDrained
}

// drain reads away what is left, within a bound. It reports whether the next
// request may follow.
func (b *body) drain() bool {
	if b.hopeless() {
		return false
	}
	b.most = b.count + mostDrained
	b.patience = sockio.Credit{}
	buf := b.s.conn.server.bulk.Get().(*[bulkSize]byte)
	defer b.s.conn.server.bulk.Put(buf)
	for end := b.s.conn.server.watch.Clock() + b.s.conn.set.DrainTime; ; {
		if _, err := b.Read(buf[:]); err != nil {
			return err == io.EOF
		}
		if b.s.conn.server.watch.Clock() > end {
			return false
		}
	}
}

// Failures of a body that are the client's. Never written.
var errTooLarge = exchange.BodyTooLarge("read request body", "the request body is larger than the limit")

var (
	errInterrupted   = errors.New("reading the body was interrupted")
	errLost          = errors.New("the body was given up in the middle")
	errNotAsked      = errors.New("the response began before the client was asked for the body")
	continueResponse = []byte("HTTP/1.1 100 Continue\r\n\r\n")
)

// badBody is the error for a body that could not be read whole.
func badBody(err error) error {
	e := &exchange.Error{Status: 400, Op: "read request body", Close: true, Err: err}
	switch err {
	case sockio.ErrLimit:
		e.Status, e.Public = 408, "The request body arrived too slowly"
	case io.EOF, io.ErrUnexpectedEOF:
		err = http1.CutShort
	}
	if fault, ok := err.(http1.Fault); ok {
		e.Status, e.Public, e.Err = fault.Status(), fault.Error(), fault
	}
	return e
}
