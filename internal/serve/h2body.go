package serve

import (
	"errors"
	"io"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/sockio"
)

// h2body is the request body of a stream. What has come waits in buf; the
// windows of the connection bound it.
type h2body struct {
	st      *h2stream
	buf     []byte
	r       int   // buf[r:] is not read yet
	length  int64 // declared, -1 for none
	sent    bool  // all of it was read
	expects bool  // the client has said that it waits to be asked
	expect  bool  // it still does; under the lock
	awaited bool  // nobody has seen the request yet: a small body is waited for
	tunnel  bool  // these are the bytes of an upgraded stream
	count   int64 // bytes read
	most    int64 // negative: no limit
	err     error
	trailer exchange.Header
	wait    h2wait
	held    []byte // what Buffered has returned
	again   int    // bytes of buf that the client has back already

	interrupted bool
	unhurried   bool // the client may pause
}

// awaitTime is how long a request with a small body is held back until its
// body is there too: so that what lies about its length is refused before
// anybody has seen it, and what does not goes on in one piece. A client that
// means to send it later is let through then, if there is a last byte to hold
// back.
const awaitTime = time.Second

var (
	errBodyReset = errors.New("the client broke the request off")
	errBodyGone  = errors.New("the connection has ended")
)

func (b *h2body) reset() {
	r := &b.st.x.Request
	b.trailer.Reset()
	*b = h2body{st: b.st, buf: b.buf[:0], length: r.Length, sent: r.Length == 0, most: -1, trailer: b.trailer}
	b.expects = !b.sent && exchange.EqualFold(r.Header.Get(exchange.Expect), "100-continue")
	b.expect = b.expects
}

// end gives back what was not read. The lock is held.
func (b *h2body) end() {
	b.st.c.h2.Taken(&b.st.Stream, len(b.buf)-b.r-b.again)
	b.again = 0
	b.r = 0
	if b.buf = b.buf[:0]; cap(b.buf) > bulkSize {
		b.buf = nil
	}
}

// add takes bytes that came, and the end of the body. The lock is held.
func (b *h2body) add(p []byte, trailer []exchange.Field) {
	if b.r > 0 && len(b.buf)+len(p) > cap(b.buf) {
		b.buf = b.buf[:copy(b.buf, b.buf[b.r:])]
		b.r = 0
	}
	b.buf = append(b.buf, p...)
	for _, f := range trailer {
		f.Name = append([]byte(nil), f.NameBytes()...)
		f.Value = append([]byte(nil), f.Value...)
		b.trailer.Fields = append(b.trailer.Fields, f)
	}
	b.expect = b.expect && len(p) == 0 && !b.st.Ended()
	b.st.wake.Broadcast()
}

// await waits for a small body of known length, or for the end of an empty
// one. An error is why the request is not handed on.
func (b *h2body) await() error {
	c := b.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	declared := b.st.x.Request.Header.Has(exchange.ContentLength)
	if declared && b.length <= bufferSize && !b.expect && !b.st.Ended() && b.st.broken == nil {
		most := awaitTime
		if b.length == 0 {
			most = c.conn.set.BodyGrace
		}
		b.awaited = true
		b.wait.begin(c, most)
		for b.awaited && !b.st.Ended() && b.st.broken == nil && c.out.Dead == nil {
			b.st.wake.Wait()
		}
		b.wait.end(c)
		if b.wait = (h2wait{}); b.length == 0 && !b.awaited {
			return badBody(sockio.ErrLimit)
		}
		b.awaited = false
	}
	return b.st.broken
}

// there is what may be read now. The last byte of a body with a length stays
// back until the client has ended it: if it goes on instead, nobody has seen
// a request that was whole. The lock is held.
func (b *h2body) there() []byte {
	p := b.buf[b.r:]
	if b.length > 0 && !b.st.Ended() && b.count+int64(len(p)) >= b.length {
		p = p[:max(int(b.length-b.count)-1, 0)]
	}
	return p
}

// took counts bytes that were read. The lock is held.
func (b *h2body) took(n int) {
	b.r += n
	b.count += int64(n)
	b.wait.moved(b.st.c, n)
	again := min(n, b.again)
	b.again -= again
	b.st.c.h2.Taken(&b.st.Stream, n-again)
	if b.r == len(b.buf) {
		b.r, b.buf = 0, b.buf[:0]
		b.sent = b.st.Ended()
	}
}

// Read implements exchange.Body.
func (b *h2body) Read(p []byte) (int, error) {
	c := b.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(p) == 0 {
		return 0, nil
	}
	for {
		have := b.there()
		switch {
		case b.err != nil:
			return 0, b.err
		case b.interrupted:
			return 0, b.fail(errInterrupted)
		case b.sent && !b.tunnel:
			return 0, io.EOF
		case b.beyond(len(have)):
			return 0, b.fail(errTooLarge)
		case len(have) > 0:
			n := copy(p, have)
			b.took(n)
			c.flush()
			return n, nil
		case b.st.broken != nil || c.out.Dead != nil:
			return 0, b.fail(b.lost())
		case b.st.Ended():
			b.sent = true
			return 0, io.EOF
		}
		if !b.expect {
			b.pause()
		} else if err := b.ask(); err != nil {
			return 0, b.fail(err)
		}
	}
}

// pause waits for the client. The lock is held, but not meanwhile.
func (b *h2body) pause() {
	if b.tunnel || b.unhurried {
		b.st.wake.Wait()
		return
	}
	b.wait.begin(b.st.c, 0)
	b.st.wake.Wait()
	b.wait.end(b.st.c)
}

// lost is the error for a body that will not come whole.
func (b *h2body) lost() error {
	if b.st.broken == errReset {
		return badBody(errBodyReset)
	}
	return badBody(errBodyGone)
}

// beyond reports whether the body is larger than allowed. Of n bytes that are
// there, those up to the limit may be read first if no length was declared.
func (b *h2body) beyond(n int) bool {
	switch {
	case b.most < 0 || b.tunnel:
		return false
	case b.length >= 0:
		return b.length > b.most
	}
	return b.count+int64(n) > b.most
}

func (b *h2body) fail(err error) error {
	b.err = err
	return err
}

// ask tells a client that waits to be asked for the body to send it. The lock
// is held, but not while that is sent: the body may come meanwhile.
func (b *h2body) ask() error {
	if b.st.out.final {
		return badBody(errNotAsked)
	}
	b.expect = false
	b.st.out.inform(100, nil)
	b.st.c.flush()
	return nil
}

// WriteTo implements exchange.Body.
func (b *h2body) WriteTo(w io.Writer) (total int64, err error) {
	bulk := &b.st.c.conn.server.bulk
	buf := bulk.Get().(*[bulkSize]byte)
	defer bulk.Put(buf)
	for {
		n, err := b.Read(buf[:])
		if err == io.EOF {
			return total, nil
		}
		if err != nil {
			return total, err
		}
		if _, err := w.Write(buf[:n]); err != nil {
			return total, err
		}
		total += int64(n)
	}
}

// Trailer implements exchange.Body.
func (b *h2body) Trailer() []exchange.Field { return b.trailer.Fields }

// Sent implements exchange.Body.
func (b *h2body) Sent() bool { return b.sent }

// Buffered implements exchange.Body.
func (b *h2body) Buffered() ([]byte, bool) {
	c := b.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if b.sent {
		return nil, true
	}
	if !b.st.Ended() || b.st.broken != nil || b.err != nil || b.length < 0 || b.beyond(len(b.buf)-b.r) {
		return nil, false
	}
	p := b.buf[b.r:]
	b.held = p
	b.took(len(p))
	b.sent = true
	c.flush()
	return p, true
}

// Unread implements exchange.Body.
func (b *h2body) Unread() {
	c := b.st.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(b.held) > 0 { // the stream has ended: nothing has come since
		b.buf, b.r, b.again = b.held, 0, len(b.held)
		b.count -= int64(len(b.held))
		b.held, b.sent = nil, false
	}
}

// Unhurried implements exchange.Body.
func (b *h2body) Unhurried() { b.unhurried = true }

// Interrupt implements exchange.Body.
func (b *h2body) Interrupt() {
	b.st.c.mu.Lock()
	defer b.st.c.mu.Unlock()
	b.interrupted = true
	b.st.wake.Broadcast()
}

// Limit implements exchange.Body.
func (b *h2body) Limit(n int64) { b.most = n }
