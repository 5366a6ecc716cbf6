// Package forward carries exchanges to a running application over HTTP/1.1 or
// HTTP/2, and its answers back: the out-of-process half of the ASP.NET Core
// Module. Bodies stream both ways, connections to the application are kept and
// used again, and an upgrade becomes two streams of bytes.
//
// What an application gets and what its clients get is one rule for both
// versions: requestFields and passFields, Failure, mayResend. A flight is an
// exchange over HTTP/1.1, a call (files that begin with h2) one over HTTP/2.
//
// A Channel is one application process. internal/plan makes them for the
// pool of internal/worker, which knows them only as something that serves.
package forward

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/sockio"
)

// Forwarder owns what the channels of a process share: memory for exchanges
// in flight, and the goroutine that looks after idle connections.
type Forwarder struct {
	watch  *sockio.Watcher
	calls  sync.Pool // of *call
	chunks sync.Pool // of *[bufferSize]byte: parts of uploads over HTTP/2
	limits http1.Limits

	mu       sync.Mutex
	channels map[*Channel]struct{}
	done     chan struct{}
	wait     sync.WaitGroup
}

// New returns a Forwarder. Close ends it, after its channels.
func New(w *sockio.Watcher) *Forwarder {
	f := &Forwarder{watch: w, limits: headLimits, channels: make(map[*Channel]struct{}), done: make(chan struct{})}
	f.calls.New = func() any { return newCall() }
	f.chunks.New = func() any { return new([bufferSize]byte) }
	f.wait.Go(f.prune)
	return f
}

// Close stops the look after idle connections and waits for what reads them.
func (f *Forwarder) Close() {
	close(f.done)
	f.wait.Wait()
}

// Settings say how to reach one process and what it may expect.
type Settings struct {
	Address netip.AddrPort // a loopback address
	Token   string         // pairing token; empty sends none

	// HTTP2 tells that the application speaks HTTP/2 without TLS, and nothing
	// else, on every connection from the first byte on.
	HTTP2 bool

	// Dial connects to the application. Nil connects to Address by TCP.
	Dial func(ctx context.Context) (net.Conn, error)

	// VirtualPath is where the application is mounted, "/" for a whole site.
	// The shutdown request goes below it.
	VirtualPath string

	// RequestTimeout bounds each wait for the application: to connect, to
	// take bytes, to send some. It does not run while the application waits
	// for the body of a request. 0 waits for ever.
	RequestTimeout time.Duration

	// PassConnection passes a "Connection: close" of the application on to
	// the client (spec 1.4, forwardResponseConnectionHeader).
	PassConnection bool

	// Refused is called when the application did not accept a connection,
	// before the exchange fails. It may be nil.
	Refused func()

	// Linger is called when an exchange has become a long-lived one, and its
	// result when that is over. It may be nil.
	Linger func() (end func())

	// NoWebSockets treats a request for the websocket protocol as a plain
	// one (spec 3.6).
	NoWebSockets bool
}

// Channel carries exchanges to one application process. It is safe for any
// number of goroutines.
type Channel struct {
	f    *Forwarder
	set  Settings
	idle []links // by the loop of the task that uses them: nothing else touches both
	shut atomic.Bool
	h2   h2links
}

// Channel returns a channel. It connects when it is first used.
func (f *Forwarder) Channel(set Settings) *Channel {
	c := &Channel{f: f, set: set, idle: make([]links, f.watch.Loops())}
	f.mu.Lock()
	f.channels[c] = struct{}{}
	f.mu.Unlock()
	return c
}

// Close closes idle connections now, and busy ones when their exchanges end.
func (c *Channel) Close() error {
	c.f.mu.Lock()
	delete(c.f.channels, c)
	c.f.mu.Unlock()
	c.shut.Store(true)
	c.drop()
	c.h2.close()
	return nil
}

// drop closes all idle connections.
func (c *Channel) drop() {
	for i := range c.idle {
		c.idle[i].drop()
	}
}

// prune looks at the idle connections of all channels, once a second.
func (f *Forwarder) prune() {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-f.done:
			return
		case <-t.C:
		}
		f.mu.Lock()
		for c := range f.channels {
			for i := range c.idle {
				c.idle[i].prune(f.watch.Now())
			}
		}
		f.mu.Unlock()
	}
}

// flight is the memory of one exchange on its way to the application and
// back. It stays with the exchange, for the next request.
type flight struct {
	c    *Channel
	x    *exchange.Exchange
	link *link // nil before there is one, and when it was given back

	fields requestFields

	buf  []byte // first the request head, then what the application sends
	r, w int    // buf[r:w] is received and not consumed
	scan http1.Scanner
	head http1.ResponseHead

	decoder http1.Chunked
	trailer exchange.Header
	limited io.LimitedReader

	upload upload

	sent     bool // a byte of the request was written
	received bool // a byte of the response was read
}

// bufferSize holds nearly every head, with a small body behind it.
const bufferSize = 16 << 10

func newFlight() *flight {
	t := &flight{buf: make([]byte, bufferSize)}
	t.head.Header.Fields = make([]exchange.Field, 0, 32)
	t.fields.list.Fields = make([]exchange.Field, 0, 32)
	t.upload.flight = t
	t.upload.done = make(chan struct{}, 1)
	return t
}

// Serve carries one exchange:
//
//  1. take a connection to the application, an idle one if it may be used;
//  2. write the head of the request, with the body if it is at hand;
//  3. send a body that is not, beside what follows;
//  4. read the head of the response, past interim ones;
//  5. answer with it and stream its body, or become two streams of bytes;
//  6. keep the connection if both messages ended where they should.
//
// Its error is an *exchange.Error. Unless the client's body was at fault, the
// cause is a *Failure. Resend says whether the same exchange may be served
// again, by this process or another.
func (c *Channel) Serve(x *exchange.Exchange) error {
	if c.set.HTTP2 {
		return c.serveHTTP2(x)
	}
	t, _ := x.Scratch.(*flight)
	if x.Scratch = nil; t == nil {
		t = newFlight()
	}
	t.c, t.x = c, x
	if task, ok := x.Task.(*sockio.Task); ok {
		task.Near(sockio.Back, sockio.MemoryOf(t), sockio.MemoryIn(t.buf, 256),
			sockio.MemoryIn(t.head.Header.Fields, 8), sockio.MemoryIn(t.fields.list.Fields, 8))
	}
	err := t.carry()
	t.release()
	x.Scratch = t
	return err
}

// release forgets the exchange. What the response still holds of it has been
// sent.
func (t *flight) release() {
	t.x.Response.Reason = nil
	t.x.Response.Header.Reset()
	if len(t.buf) > bufferSize {
		t.buf = make([]byte, bufferSize)
	}
	t.c, t.x, t.link = nil, nil, nil
	t.fields.forget()
	t.limited.R = nil
	t.head.Reason = nil
	t.head.Header.Reset()
	t.trailer.Reset()
	t.sent, t.received = false, false
	t.upload.err = nil
}

func (t *flight) carry() error {
	link, err := t.c.take(t.x)
	if err != nil {
		if t.c.set.Refused != nil && errors.Is(err, syscall.ECONNREFUSED) {
			t.c.set.Refused()
		}
		return t.fail(Connect, Application, err)
	}
	t.link = link
	t.x.WhenGone(link.sock)
	err = errPanic // unless converse returns
	defer func() { t.leave(err) }()
	err = t.converse()
	return err
}

// leave ends what may still be going on and closes the connection if it was
// not kept.
func (t *flight) leave(err error) {
	t.upload.end(err)
	if t.link != nil {
		t.x.WhenGone(nil)
		t.link.sock.Close()
	}
}

// converse is steps 2 to 6. It leaves t.link nil if the connection was kept.
func (t *flight) converse() error {
	if err := t.sendHead(); err != nil {
		return err
	}
	if err := t.readHead(); err != nil {
		return err
	}
	if t.head.Status == 101 {
		return t.switchProtocols()
	}
	return t.relay()
}
