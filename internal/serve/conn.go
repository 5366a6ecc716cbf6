package serve

import (
	"bytes"
	"io"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/http2"
	"github.com/perchserver/perch/internal/sockio"
)

// conn is one connection. It lives as long as its socket; all that is large
// hangs on its session, which it has only while it is busy with HTTP/1.1.
type conn struct {
	server *Server
	set    *Settings // in force when it was accepted
	sock   *sockio.Conn
	facts  exchange.Conn
	tie    exchange.Tie // is facts.Site
	greets *Listener    // whose TLS handshake has yet to begin, nil for none

	// h2 drives the connection once it is one of HTTP/2, nil before.
	h2 atomic.Pointer[h2conn]

	// idle is set between exchanges. Whoever takes it away has the
	// connection: run, to serve what came, or endIfIdle, to close it.
	idle atomic.Bool

	mu      sync.Mutex
	session *session // nil while nothing has come; changed under mu, by run alone
}

// session is what a busy connection needs. Sessions are pooled.
type session struct {
	conn *conn
	x    exchange.Exchange
	body body
	out  writer

	in      []byte // buffer of received bytes
	r, w    int    // in[r:w] is not consumed yet
	scan    http1.Scanner
	framing http1.Framing
	scratch []byte // decoded paths
	base    int    // where body bytes go: behind the head, which stays in place
	small   []byte // in, when it is not a larger one for a larger head
	waiting func(bool)
	preface bool // what came is not a request but the beginning of HTTP/2
}

// bufferSize holds nearly every head with what follows it.
const bufferSize = 16 << 10

func newSession() *session {
	s := &session{small: make([]byte, bufferSize), scratch: make([]byte, 0, 512)}
	s.in = s.small
	s.out.buf = make([]byte, 0, bufferSize)
	s.x.Request.Header.Fields = make([]exchange.Field, 0, 32)
	s.x.Response.Header.Fields = make([]exchange.Field, 0, 32)
	s.waiting = func(on bool) { s.conn.sock.Stay(on) }
	s.body.s, s.out.s = s, s
	return s
}

// Hold gives the connection a session and returns its buffer.
func (c *conn) Hold() []byte {
	if s := c.session; s != nil {
		return s.in
	}
	s := c.server.sessions.Get().(*session)
	s.conn = c
	s.x.Attach(&c.facts)
	s.x.Waiting = s.waiting
	if s.x.Task = nil; c.sock.Task() != nil {
		s.x.Task = c.sock.Task()
		c.sock.Task().Near(sockio.Front, sockio.MemoryOf(c), sockio.MemoryOf(s), sockio.MemoryIn(s.out.buf, 256),
			sockio.MemoryIn(s.x.Request.Header.Fields, 8), sockio.MemoryIn(s.x.Response.Header.Fields, 8))
	}
	c.mu.Lock()
	c.session = s
	c.mu.Unlock()
	return s.in
}

// Drop takes the session away, with what was received.
func (c *conn) Drop() {
	s := c.session
	if s == nil {
		return
	}
	c.mu.Lock()
	c.session = nil
	c.mu.Unlock()
	s.conn = nil
	s.empty()
	c.server.sessions.Put(s)
}

// Wake continues a parked connection. It is called by the watcher.
func (c *conn) Wake() {
	if h := c.h2.Load(); h != nil {
		h.wake()
		return
	}
	if c.greets != nil {
		c.runSecure()
		return
	}
	c.run(true)
}

// Gone tells the exchange in hand that its client has gone. It is called by
// the watcher.
func (c *conn) Gone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.session != nil {
		c.session.x.ClientGone()
	}
}

// endIfIdle closes the connection if no exchange is in hand, and none is
// waiting to be read. One of HTTP/2 is told to end with its last stream.
func (c *conn) endIfIdle() {
	if h := c.h2.Load(); h != nil {
		h.leave()
		return
	}
	if c.sock.Silent() && c.idle.CompareAndSwap(true, false) {
		c.sock.Abort()
	}
}

// busy reports whether an exchange is in hand.
func (c *conn) busy() bool {
	if h := c.h2.Load(); h != nil {
		return h.busy()
	}
	return !c.idle.Load()
}

// cut ends the connection whatever it does. An exchange that waits for its
// backend is told as if its client had gone.
func (c *conn) cut() {
	c.sock.Abort()
	c.Gone()
}

func (c *conn) close() {
	c.sock.Close()
	c.server.forget(c)
}

// run serves the connection until it closes or parks. woken says that it
// comes from the watcher.
func (c *conn) run(woken bool) {
	if c.sock.Aborted() || woken && c.sock.Expired() {
		c.close() // its idle time has passed, or all ends
		return
	}
	defer c.survive()
	for {
		switch c.await(woken) {
		case departed:
			return
		case arrived:
			if c.session.serve() {
				woken = false
				continue
			}
			if s := c.session; s.preface {
				received := bytes.Clone(s.in[s.r:s.w])
				c.Drop()
				c.serveHTTP2(received, http2.Preface[len(http2.PrefaceHead):])
				return
			}
		}
		c.Drop()
		c.close()
		return
	}
}

// survive keeps a mistake of the driver to the connection it happened on.
func (c *conn) survive() {
	p := recover()
	if p == nil {
		return
	}
	c.set.Log.Error("panic in the driver", "connection", c.facts.ID(), "panic", p, "stack", string(debug.Stack()))
	c.mu.Lock()
	c.session = nil
	c.mu.Unlock()
	c.close()
}

// arrival is what came of waiting for a request.
type arrival uint8

const (
	arrived  arrival = iota
	finished         // the connection is to be closed
	departed         // it has parked, or is closed: it belongs to another
)

// empty drops what the buffer holds.
func (s *session) empty() {
	s.in, s.r, s.w, s.base, s.preface = s.small, 0, 0, 0, false
	s.scan.Reset()
}

// await reads the first bytes of a request; while there are none, there is no
// session. A connection that stays silent is parked.
func (c *conn) await(woken bool) arrival {
	set := c.set
	c.idle.Store(true)
	if c.server.draining.Load() && c.sock.Alive() {
		return finished
	}
	if c.sock.Task() != nil && c.sock.CanPark() {
		return c.arrive(woken)
	}
	idle := c.idleTime()
	parks := !woken && idle > set.ParkAfter && c.sock.CanPark()
	switch {
	case woken: // the limit is that of Park
	case parks:
		c.sock.LimitRead(set.ParkAfter)
	default:
		c.sock.LimitRead(idle)
	}
	n, err := c.sock.ReadHeld(c)
	if parks && err == sockio.ErrLimit {
		if !c.sock.Park(idle - set.ParkAfter) {
			c.close()
		}
		return departed
	}
	if err != nil || !c.idle.CompareAndSwap(true, false) {
		return finished
	}
	c.sock.LimitRead(0)
	c.session.w = n
	return arrived
}

// arrive is await on a task: where nothing comes, the connection parks.
func (c *conn) arrive(woken bool) arrival {
	idle := c.idleTime()
	n, err := c.sock.ReadNow(keeping{c})
	switch {
	case err == nil && !woken: // it has sent more than a buffer holds
		c.sock.Task().Pass()
	case err == sockio.ErrDry && idle > c.set.ParkAfter:
		if n, err = c.stay(); err == sockio.ErrLimit {
			idle, err = idle-c.set.ParkAfter, sockio.ErrDry
		}
	}
	if err == sockio.ErrDry {
		c.Drop()
		if c.sock.Park(idle) {
			return departed
		}
		return finished
	}
	if err != nil || !c.idle.CompareAndSwap(true, false) {
		return finished
	}
	c.sock.LimitRead(0)
	c.session.w = n
	return arrived
}

// keeping is a conn that keeps its session while it waits.
type keeping struct{ *conn }

func (keeping) Drop() {}

// mostWarm is how many connections of a loop may wait for their next request
// with a session and a task. Those beyond do without meanwhile: that saves
// memory and costs a small request 5 % more.
const mostWarm = 128

// warm counts them for one loop, in a line of the cache for itself.
type warm struct {
	atomic.Int32
	_ [60]byte
}

// stay reads the first bytes of the next request, behind one that was served,
// or fails with ErrDry where that is for others to do, and with ErrLimit when
// it is time to park.
func (c *conn) stay() (int, error) {
	t := c.sock.Task()
	if c.session == nil || !t.Attached() {
		return 0, sockio.ErrDry
	}
	n := &c.server.warm[t.Loop()]
	defer n.Add(-1)
	if n.Add(1) > mostWarm {
		return 0, sockio.ErrDry
	}
	c.sock.LimitRead(c.set.ParkAfter)
	return c.sock.Read(c.session.in)
}

// idleTime is how long the connection may be idle: as the site says that it
// was used for last, else as all may.
func (c *conn) idleTime() time.Duration {
	if d := c.tie.Idle(); d > 0 {
		return d
	}
	return c.set.IdleTime
}

// serve answers the requests in the buffer, reading on where one is not
// whole, until nothing is left. It reports whether the connection goes on.
func (s *session) serve() bool {
	for {
		if s.skipEmptyLines(); s.r == s.w {
			s.empty()
			return true
		}
		if !s.request() || !s.exchange() {
			return false
		}
	}
}

// request reads the head of a request and sets the exchange up. It reports
// false when the connection is to be closed.
func (s *session) request() bool {
	err := http1.CheckStart(s.in[s.r])
	n := 0
	if err == nil {
		s.x.Begin = s.conn.server.watch.Now()
		n, err = s.scan.Scan(s.in[s.r:s.w], &s.conn.set.Head)
	}
	if n == 0 && err == nil {
		n, err = s.readHead()
	}
	if err != nil {
		s.refuseHead(err)
		return false
	}
	if s.conn.facts.Requests == 0 && string(s.in[s.r:s.r+n]) == http2.PrefaceHead {
		s.r += n
		s.preface = true
		return false
	}
	return n > 0 && s.parse(n)
}

// skipEmptyLines drops the empty lines that some clients send behind a body
// (RFC 9112 section 2.2).
func (s *session) skipEmptyLines() {
	for bytes.HasPrefix(s.in[s.r:s.w], []byte("\r\n")) {
		s.r += 2
		s.scan.Reset()
	}
}

// readHead reads on until the head is complete, within the header time.
func (s *session) readHead() (int, error) {
	set := s.conn.set
	s.conn.sock.LimitRead(set.HeaderTime)
	defer s.conn.sock.LimitRead(0)
	for {
		if s.w == len(s.in) {
			s.makeRoom()
		}
		s.conn.sock.Task().Pass() // what came before may have been many requests
		n, err := s.conn.sock.Read(s.in[s.w:])
		if err != nil {
			switch err {
			case sockio.ErrLimit:
				return 0, errHeaderTime
			case io.EOF:
				if s.r < s.w { // not behind empty lines alone
					return 0, http1.CutShort
				}
			}
			return 0, nil // broken: there is nobody to tell
		}
		s.w += n
		if s.scan.Untouched() {
			s.skipEmptyLines()
		}
		if n, err := s.scan.Scan(s.in[s.r:s.w], &set.Head); n != 0 || err != nil {
			return n, err
		}
	}
}

// makeRoom moves the head to the front of the buffer, or to a larger one
// that the limits allow for.
func (s *session) makeRoom() {
	if s.r > 0 {
		s.w = copy(s.in, s.in[s.r:s.w])
		s.r = 0
		return
	}
	l := &s.conn.set.Head
	larger := make([]byte, max(2*len(s.in), l.Line+l.Fields+bufferSize))
	copy(larger, s.in[:s.w])
	s.in = larger
}

// parse takes the head apart and sets the exchange up. It reports false when
// the request was refused.
func (s *session) parse(n int) bool {
	head := s.in[s.r : s.r+n]
	s.r += n
	s.base = s.r
	s.scan.Reset()
	s.conn.facts.Requests++
	x := &s.x
	x.Reset()
	s.out.reset()
	var err error
	s.scratch, err = http1.ParseRequest(head, &x.Request, &s.framing, s.scratch[:0])
	x.Request.Scheme = "http"
	if s.conn.facts.TLS != nil {
		x.Request.Scheme = "https"
	}
	s.body.reset()
	x.Request.Body = &s.body
	x.Response.Writer = &s.out
	if err != nil {
		s.refuse(err)
		return false
	}
	return true
}

// exchange lets the handler answer and completes the response. It reports
// whether the connection can go on.
func (s *session) exchange() bool {
	err := s.conn.handle(&s.x)
	if s.out.upgraded {
		return false
	}
	if err == nil {
		err = s.out.problem()
	}
	switch {
	case err == nil:
		if !s.out.finish() {
			return false
		}
	case s.out.sent:
		s.cut(err)
		return false
	default:
		if s.fail(err); s.out.broken {
			return false
		}
	}
	if !s.out.keep {
		s.linger()
		return false
	}
	return s.rest()
}

// handle runs the handler. A panic in it ends this exchange alone.
func (c *conn) handle(x *exchange.Exchange) (err error) {
	defer func() {
		if p := recover(); p != nil {
			c.set.Log.Error("panic while handling a request",
				"request", x.ID(), "panic", p, "stack", string(debug.Stack()))
			x.WhenGone(nil)
			err = exchange.Errorf(500, 0, "handle request", "panic: %v", p)
		}
	}()
	return (*c.server.handler.Load()).Serve(x)
}

// cut ends a response that cannot be completed in a way that the client sees:
// before the length that was announced, before the last chunk, or, where the
// end of the connection is the end of the body, with a reset.
func (s *session) cut(err error) {
	s.conn.set.Log.Debug("response cut", "request", s.x.ID(), "err", err)
	if s.out.framing == untilClose {
		s.conn.sock.Reset()
		return
	}
	s.linger() // what was sent is to arrive
}

// rest reads away what the handler left of the request body, so that the
// next request begins where it should.
func (s *session) rest() bool {
	if s.body.Sent() || s.body.drain() {
		return true
	}
	s.linger()
	return false
}

// linger closes the sending direction and reads away what the client still
// sends, for a bounded time: closing with unread bytes would reset the
// connection and destroy the response on its way (RFC 9112 section 9.6).
func (s *session) linger() {
	sock := s.conn.sock
	if s.body.Sent() && s.framing.Close && sock.Alive() {
		return // the client has said that nothing follows, and nothing does
	}
	s.conn.linger(s.in)
}

// linger is that of a session, or of what else drives the connection, with a
// buffer to read into.
func (c *conn) linger(buf []byte) {
	if c.sock.Stuck() || c.sock.CloseWrite() != nil {
		return
	}
	c.sock.LimitRead(c.set.DrainTime)
	for {
		if _, err := c.sock.Read(buf); err != nil {
			return
		}
	}
}
