package serve

import (
	"errors"
	"runtime/debug"
	"sync"
	"time"

	"github.com/perchserver/perch/internal/http2"
	"github.com/perchserver/perch/internal/http2/outlet"
	"github.com/perchserver/perch/internal/sockio"
)

// h2conn drives one HTTP/2 connection. One goroutine reads frames; every
// request is served on a goroutine of its own, which the connection keeps for
// the next; whoever has something to send finds nobody sending and sends for
// all, or leaves it to the one who does. When nothing is in hand for a while,
// the connection parks, and has no goroutine and no buffers.
type h2conn struct {
	conn *conn

	// Of the reading goroutine.
	in      *[bufferSize]byte // nil when parked
	r, w    int               // in[r:w] is not consumed yet
	preface string            // what of it has yet to come
	inFrame bool              // a part of the frame in hand was read

	mu      sync.Mutex
	h2      *http2.Conn
	serving []*h2stream // requests in hand
	ready   []*h2stream // those among them that no goroutine has yet
	workers int         // goroutines beside the reading one
	idle    int         // those among them that wait for work
	work    chan *h2stream
	over    sync.Cond // of workers becoming 0
	out     outlet.Outlet

	leaving    leaving       // how far the drain has come
	since      time.Duration // when the present idleness, or unfinished frame, began; zero: neither
	unfinished bool          // since is that of a frame
	stalls     int           // waits for the client, which are looked after
	date       string
	dateSecond int64
}

// leaving is how far a connection has come on its way to the end (RFC 9113
// section 6.8): told to go, the client told, the last streams known.
type leaving uint8

const (
	staying leaving = iota
	asked
	announced
	lastCall
)

const (
	keepWorkers = 32 // goroutines that wait for the next request

	// stallTick is how often waits for the client are looked at.
	stallTick = 500 * time.Millisecond

	// farewell is how long a client is given to see that it should open no
	// more streams, if it does not answer before.
	farewell = time.Second
)

// Why reading ends, besides failures. Never written.
var (
	errParks    = errors.New("the connection parks")
	errIdle     = &http2.Error{Code: http2.NoError, Text: "nothing was asked for a while"}
	errPanic    = errors.New("the driver panicked")
	errLeft     = errors.New("the connection has served its last stream")
	errHeadSlow = &http2.Error{Code: http2.EnhanceYourCalm, Text: "a frame or header block did not arrive in time"}
	errPreface  = &http2.Error{Code: http2.ProtocolError, Text: "the connection preface is not that of HTTP/2"}
)

// serveHTTP2 serves the connection with HTTP/2 until it ends or parks.
// received is what has come of it already, from where the client's preface is
// expected to begin with; the connection's facts say whether it is encrypted.
// It is the entry for a connection whose handshake has agreed on "h2", with
// the whole http2.Preface, and for one that begins with its first line.
func (c *conn) serveHTTP2(received []byte, preface string) {
	h := &h2conn{conn: c, preface: preface, work: make(chan *h2stream, keepWorkers)}
	h.over.L = &h.mu
	scheme := "http"
	if c.facts.TLS != nil {
		scheme = "https"
	}
	h.h2 = http2.NewConn(http2.Limits{Head: c.set.Head, Scheme: scheme,
		Streams: c.set.Streams, StreamWindow: int32(c.set.StreamWindow), ConnWindow: int32(c.set.ConnWindow),
		Calm: c.set.Flood, CalmSecond: c.set.FloodSecond}, c.server.watch.Now().UnixNano())
	h.out.Open(&h.mu, h.h2, c.sock, h.lost)
	h.unfinished, h.since = true, c.server.watch.Clock()
	h.in = c.server.frames.Get().(*[bufferSize]byte)
	h.w = copy(h.in[:], received)
	c.h2.Store(h)
	if c.server.draining.Load() {
		h.leaving = asked
	}
	h.h2.Wake(h)
	h.run()
}

// run reads frames until the connection ends or parks.
func (c *h2conn) run() {
	defer c.survive()
	c.conn.sock.Leave() // streams write, and wait for each other
	err := c.checkPreface()
	for err == nil {
		c.inFrame = false
		if err = c.h2.Next(); err == nil {
			err = c.take()
		}
		if err == errParks {
			switch c.park() {
			case departed:
				return
			case arrived:
				err = nil
			}
		}
	}
	c.end(err)
}

// survive keeps a mistake of the driver to the connection it happened on.
func (c *h2conn) survive() {
	p := recover()
	if p == nil {
		return
	}
	c.conn.set.Log.Error("panic in the driver", "connection", c.conn.facts.ID(), "panic", p, "stack", string(debug.Stack()))
	c.end(errPanic)
}

// checkPreface reads what is left of the preface.
func (c *h2conn) checkPreface() error {
	for c.preface != "" {
		n, err := c.Read(make([]byte, len(c.preface)))
		if err != nil {
			return err
		}
		if string(c.in[c.r-n:c.r]) != c.preface[:n] {
			return errPreface
		}
		c.preface = c.preface[n:]
	}
	return nil
}

// Read is where the frames come from.
func (c *h2conn) Read(p []byte) (n int, err error) {
	if c.r == c.w {
		if len(p) >= bufferSize/2 { // a large body needs no buffer on its way
			n, err = c.fill(p)
			c.inFrame = c.inFrame || n > 0
			return n, err
		}
		if n, err = c.fill(c.in[:]); err != nil {
			return 0, err
		}
		c.r, c.w = 0, n
	}
	n = copy(p, c.in[c.r:c.w])
	c.r += n
	c.inFrame = true
	return n, nil
}

// fill reads from the socket. What came before it is put to work first: so
// the requests and the answers of one read go together.
func (c *h2conn) fill(p []byte) (int, error) {
	for {
		if err := c.settle(); err != nil {
			return 0, err
		}
		n, err := c.conn.sock.Read(p)
		if err != sockio.ErrLimit {
			return n, err
		}
	}
}

// settle is what there is to do before the socket is read.
func (c *h2conn) settle() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.startStreams()
	c.out.FlushAside()
	c.out.Drain()
	return c.limit()
}

// limit sets the time until the reader has to look again, and tells what is
// due by now. The lock is held.
func (c *h2conn) limit() error {
	if c.out.Dead != nil {
		return c.out.Dead
	}
	now := c.conn.server.watch.Clock()
	set := c.conn.set
	wait := time.Duration(0)
	if err := c.depart(); err != nil {
		return err
	}
	busy := c.h2.Streams() > 0 || len(c.serving) > 0
	unfinished := !c.h2.Settled() || !c.h2.Between() || c.inFrame && !busy
	if c.since == 0 || unfinished != c.unfinished {
		c.since, c.unfinished = now, unfinished
	}
	switch passed := now - c.since; {
	case unfinished && passed >= set.HeaderTime:
		return errHeadSlow
	case unfinished:
		wait = set.HeaderTime - passed
	case busy:
		c.since = 0
	case passed >= c.conn.idleTime():
		return errIdle
	case c.leaving == staying && c.conn.sock.CanPark():
		if passed >= set.ParkAfter && !c.out.Sending() && c.h2.Pending() == 0 && c.conn.sock.Drained() {
			return errParks
		}
		wait = max(set.ParkAfter-passed, sockio.Tick)
	default:
		wait = c.conn.idleTime() - passed
	}
	if c.leaving == announced {
		wait = farewell
	}
	if c.stalls > 0 {
		c.lookAtStalls(now)
		wait = stallTick
	}
	c.conn.sock.LimitRead(wait)
	return nil
}

// depart takes the next step of leaving, if it is time. The lock is held.
func (c *h2conn) depart() error {
	switch {
	case c.leaving == asked:
		c.leaving = announced
		c.since = 0
		c.h2.Leave()
		c.h2.Ping()
		c.out.FlushAside()
	case c.leaving == announced && c.conn.sock.Expired():
		c.callLast()
	}
	if c.leaving == lastCall && c.h2.Streams() == 0 && len(c.serving) == 0 {
		return errLeft
	}
	return nil
}

// callLast is the second GOAWAY. The lock is held.
func (c *h2conn) callLast() {
	if c.leaving == announced {
		c.leaving = lastCall
		c.h2.LastCall()
		c.out.FlushAside()
	}
}

// leave asks the connection to end when its streams have.
func (c *h2conn) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.leaving != staying || c.out.Dead != nil {
		return
	}
	c.leaving = asked
	if c.conn.sock.Unpark() {
		go c.wake()
	} else {
		c.conn.sock.BreakRead()
	}
}

// busy reports whether a stream is being served.
func (c *h2conn) busy() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.serving) > 0
}

// park gives up what an idle connection does not need and leaves it in the
// watcher, unless it has been asked to leave meanwhile: then it goes on, to
// say goodbye.
func (c *h2conn) park() arrival {
	set := c.conn.set
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dismiss()
	for c.workers > 0 {
		c.over.Wait()
	}
	if c.leaving != staying {
		return arrived
	}
	c.h2.Rest()
	c.out.Rest()
	c.conn.server.frames.Put(c.in)
	c.in, c.ready, c.serving = nil, nil, nil
	c.r, c.w = 0, 0
	if !c.conn.sock.Park(c.conn.idleTime() - set.ParkAfter) {
		return finished
	}
	return departed
}

// wake continues a parked connection.
func (c *h2conn) wake() {
	c.mu.Lock() // what parked it has let go of it
	c.in = c.conn.server.frames.Get().(*[bufferSize]byte)
	c.h2.Wake(c)
	c.since = 0
	idled := c.conn.sock.Expired() && c.leaving == staying
	c.mu.Unlock()
	switch {
	case c.conn.sock.Aborted():
		c.end(sockio.ErrAborted)
	case idled:
		c.end(errIdle)
	default:
		c.run()
	}
}

// take applies the frame that was read.
func (c *h2conn) take() error {
	now := c.conn.server.watch.Now().UnixNano()
	c.mu.Lock()
	defer c.mu.Unlock()
	ev, err := c.h2.Take(now)
	if err != nil {
		return err
	}
	var st *h2stream
	if ev.Stream != nil {
		st, _ = ev.Stream.Owner().(*h2stream)
	}
	switch {
	case ev.Kind == http2.Request:
		c.accept()
	case ev.Kind == http2.Pong:
		c.callLast()
	case ev.Kind == http2.Settings, ev.Kind == http2.Room && st == nil:
		for _, st := range c.serving { // settings may have changed all windows
			st.wake.Broadcast()
		}
		c.out.Room.Signal()
	case ev.Kind == http2.Broken && ev.Why != "":
		c.conn.set.Log.Debug("stream reset", "connection", c.conn.facts.ID(), "why", ev.Why)
	}
	if st == nil {
		return nil
	}
	switch ev.Kind {
	case http2.Room:
		st.wake.Broadcast()
	case http2.Body:
		st.body.add(ev.Data, ev.Trailer)
	case http2.Broken:
		st.gone(errReset)
	}
	return nil
}

// accept makes an exchange of a request. The lock is held.
func (c *h2conn) accept() {
	c.conn.facts.Requests++
	st := c.conn.server.streams.Get().(*h2stream)
	st.begin(c)
	c.serving = append(c.serving, st)
	c.ready = append(c.ready, st)
}

// startStreams gives the requests that came to goroutines. The lock is held.
func (c *h2conn) startStreams() {
	for i, st := range c.ready {
		c.ready[i] = nil
		switch {
		case st.broken != nil:
			c.release(st) // reset before anybody began
		case c.idle > 0:
			st.start()
			c.idle--
			c.work <- st
		default:
			st.start()
			c.workers++
			go c.serve(st)
		}
	}
	c.ready = c.ready[:0]
}

// serve is a goroutine that serves one request after another.
func (c *h2conn) serve(st *h2stream) {
	for st != nil {
		st.serve()
		c.mu.Lock()
		c.release(st)
		c.flush()
		if c.leaving == lastCall && len(c.serving) == 0 {
			c.conn.sock.BreakRead() // the reader has to end
		}
		if c.out.Dead != nil || c.idle == keepWorkers {
			break
		}
		c.idle++
		c.mu.Unlock()
		if st = <-c.work; st == nil {
			c.mu.Lock()
		}
	}
	c.gone()
	c.mu.Unlock()
}

// gone counts a goroutine off. The lock is held.
func (c *h2conn) gone() {
	if c.workers--; c.workers == 0 {
		c.over.Broadcast()
	}
}

// dismiss ends the goroutines that wait for work. The lock is held.
func (c *h2conn) dismiss() {
	for ; c.idle > 0; c.idle-- {
		c.work <- nil
	}
}

// release forgets a stream that was served. The lock is held.
func (c *h2conn) release(st *h2stream) {
	last := len(c.serving) - 1
	for i, s := range c.serving {
		if s == st {
			c.serving[i] = c.serving[last]
			c.serving[last] = nil
			c.serving = c.serving[:last]
			break
		}
	}
	st.end()
	c.conn.server.streams.Put(st)
	if last == 0 { // the reader waits without a limit
		c.since, c.unfinished = c.conn.server.watch.Clock(), false
		c.conn.sock.LimitRead(c.conn.set.ParkAfter)
	}
}

// flush sends what has gathered for the client. The lock is held, but not while
// bytes are on their way.
func (c *h2conn) flush() { c.out.Flush(len(c.serving) > 0) }

// lost tells all streams that nothing can be sent any more. The lock is held.
func (c *h2conn) lost(err error) {
	for _, st := range c.serving {
		st.gone(err)
	}
	c.conn.sock.Abort()
}

// end says why, if the client can still hear it, breaks off what is in hand,
// waits for it, and closes the connection.
func (c *h2conn) end(err error) {
	c.mu.Lock()
	var why *http2.Error
	told := errors.As(err, &why) && c.out.Dead == nil
	if told {
		c.conn.set.Log.Debug("connection ended", "connection", c.conn.facts.ID(), "err", err)
		c.h2.GoAway(why)
	}
	for _, st := range c.serving {
		st.gone(err)
	}
	for _, st := range c.ready {
		c.release(st)
	}
	c.ready = nil
	if told || err == errLeft {
		c.out.FlushAll()
	}
	if c.out.Dead == nil {
		c.out.Dead = err
	}
	c.out.Room.Broadcast()
	c.dismiss()
	c.mu.Unlock()
	if told || err == errLeft {
		c.conn.linger(c.in[:])
	} else {
		c.conn.sock.Abort()
	}
	c.mu.Lock()
	c.out.Finish()
	for c.workers > 0 {
		c.over.Wait()
	}
	c.mu.Unlock()
	if c.in != nil {
		c.conn.server.frames.Put(c.in)
		c.in = nil
	}
	c.conn.close()
}

// now returns the time for the Date field. The lock is held.
func (c *h2conn) now() string {
	t := c.conn.server.watch.Now()
	if sec := t.Unix(); sec != c.dateSecond {
		c.dateSecond = sec
		c.date = t.UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")
	}
	return c.date
}
