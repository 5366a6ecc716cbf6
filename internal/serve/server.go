// Package serve turns connections into exchanges: it accepts, reads requests
// with internal/http1, hands each to the handler on the task of its
// connection, and completes the response. Idle connections wait in the
// sockio.Watcher without goroutine or buffers. It keeps the time limits of a
// connection and drains it at the end.
//
// internal/daemon builds a Server; nothing else imports this package.
package serve

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/sockio"
)

// Settings are the limits of connections. Zero values stand for the defaults
// named at each field.
type Settings struct {
	Head http1.Limits // 8 KiB line, 32 KiB fields, 100 fields

	HeaderTime time.Duration // first byte to end of head, and a TLS handshake; 15 s
	IdleTime   time.Duration // between requests; 120 s
	DrainTime  time.Duration // to read away what a client still sends after its answer; 5 s

	// ParkAfter is how long an idle connection keeps its goroutine, where it
	// has one, or its task and session, where it is one of those that may
	// (mostWarm): a client that asks again within it is served without a
	// wake-up, or without a session to be fetched. 500 ms.
	ParkAfter time.Duration

	// BodyGrace and MinRate bound slow bodies in both directions: after the
	// grace, a client must send, and take, so many bytes a second. 5 s, 240.
	BodyGrace time.Duration
	MinRate   int64

	// Of one HTTP/2 connection: requests at once, bytes of bodies on their way
	// or in memory, and the patience with frames that ask for work and bring
	// nothing, in points, see http2.Limits. 100, 768 KiB, 1 MiB, 1000, 50.
	Streams                  int
	StreamWindow, ConnWindow int // 65535 to 1<<31-1
	Flood, FloodSecond       int

	Log *slog.Logger // required
}

// bulkSize is the buffer for bodies that are copied.
const bulkSize = 64 << 10

func (s *Settings) fill() {
	def(&s.Head.Line, 8<<10)
	def(&s.Head.Fields, 32<<10)
	def(&s.Head.Count, 100)
	def(&s.HeaderTime, 15*time.Second)
	def(&s.IdleTime, 120*time.Second)
	def(&s.DrainTime, 5*time.Second)
	def(&s.ParkAfter, 500*time.Millisecond)
	def(&s.BodyGrace, 5*time.Second)
	def(&s.MinRate, 240)
	def(&s.Streams, 100)
	def(&s.StreamWindow, 768<<10)
	def(&s.ConnWindow, 1<<20)
	def(&s.Flood, 1000)
	def(&s.FloodSecond, 50)
}

func def[T comparable](v *T, d T) {
	var zero T
	if *v == zero {
		*v = d
	}
}

// Server serves connections until it is shut down.
type Server struct {
	set     atomic.Pointer[Settings]
	watch   *sockio.Watcher
	handler atomic.Pointer[exchange.Handler]

	warm     []warm // by loop
	sessions sync.Pool
	streams  sync.Pool // of *h2stream
	frames   sync.Pool // of *[bufferSize]byte, for what HTTP/2 connections receive
	bulk     sync.Pool // of *[bulkSize]byte, for copied bodies
	serial   atomic.Uint64
	draining atomic.Bool
	ending   chan struct{} // closed when draining begins

	mu        sync.Mutex
	conns     map[*conn]struct{}
	listeners map[net.Listener]*atomic.Pointer[Listener]
	accepting sync.WaitGroup
	open      sync.WaitGroup // connections
}

// New returns a server that answers with h.
func New(set Settings, w *sockio.Watcher, h exchange.Handler) *Server {
	s := &Server{
		watch:     w,
		warm:      make([]warm, w.Loops()),
		ending:    make(chan struct{}),
		conns:     make(map[*conn]struct{}),
		listeners: make(map[net.Listener]*atomic.Pointer[Listener]),
	}
	s.sessions.New = func() any { return newSession() }
	s.streams.New = func() any { return newH2Stream() }
	s.frames.New = func() any { return new([bufferSize]byte) }
	s.bulk.New = func() any { return new([bulkSize]byte) }
	s.Apply(set)
	s.SetHandler(h)
	return s
}

// Apply replaces the settings. Connections that are open keep theirs.
func (s *Server) Apply(set Settings) {
	set.fill()
	s.set.Store(&set)
}

// SetHandler replaces the handler. Exchanges that have begun keep theirs.
func (s *Server) SetHandler(h exchange.Handler) { s.handler.Store(&h) }

// Listener is a place to accept connections.
type Listener struct {
	net.Listener
	URL string // as printed at start

	// TLS makes connections secure, nil leaves them clear. What is accepted
	// and shown is decided by its GetConfigForClient, handshake by handshake.
	TLS *tls.Config

	// Verify judges the certificate of a client after the handshake: it fills
	// in VerifiedChains, and returns what the connection's Authorities are.
	// Nil: clients are not asked for one.
	Verify func(local net.Addr, s *tls.ConnectionState) (authorities string)
}

// Serve accepts on l until l is closed or Shutdown; it returns at once. Where
// it accepts on the same net.Listener already, what is accepted from now on is
// served as l says.
func (s *Server) Serve(l Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.draining.Load() {
		l.Close()
		return
	}
	if at := s.listeners[l.Listener]; at != nil {
		at.Store(&l)
		return
	}
	at := new(atomic.Pointer[Listener])
	at.Store(&l)
	s.listeners[l.Listener] = at
	s.accepting.Go(func() {
		s.accept(l.Listener, at)
		s.mu.Lock()
		delete(s.listeners, l.Listener)
		s.mu.Unlock()
	})
}

func (s *Server) accept(l net.Listener, at *atomic.Pointer[Listener]) {
	const longest = time.Second
	pause := time.Duration(0)
	for {
		nc, err := l.Accept()
		switch {
		case err == nil:
			pause = 0
			s.start(nc, at.Load())
		case s.draining.Load() || errors.Is(err, net.ErrClosed):
			return
		default: // out of descriptors, most likely: it passes
			pause = min(max(2*pause, 5*time.Millisecond), longest)
			s.set.Load().Log.Warn("cannot accept a connection", "listener", at.Load().URL, "err", err, "retry", pause)
			select {
			case <-time.After(pause):
			case <-s.ending:
				return
			}
		}
	}
}

// start takes a connection on.
func (s *Server) start(nc net.Conn, l *Listener) {
	c := &conn{server: s, set: s.set.Load()}
	c.facts = exchange.Conn{Serial: s.serial.Add(1), Listener: l.URL, RemoteText: "127.0.0.1", Site: &c.tie}
	if c.facts.Remote = addrPort(nc.RemoteAddr()); c.facts.Remote.IsValid() {
		c.facts.Local = addrPort(nc.LocalAddr())
		c.facts.RemoteText = c.facts.Remote.String()
	}
	c.sock = s.watch.Adopt(nc, c)
	c.sock.Near(sockio.MemoryOf(c))
	c.sock.LimitWrite(c.set.BodyGrace)
	c.sock.MinRate(c.set.MinRate)
	s.mu.Lock()
	s.conns[c] = struct{}{}
	s.mu.Unlock()
	s.open.Add(1)
	c.idle.Store(true) // nothing is lost if all ends now
	if l.TLS != nil {
		c.greets = l
		if !c.sock.Park(c.set.HeaderTime) {
			c.sock.LimitRead(c.set.HeaderTime)
			go c.runSecure()
		}
		return
	}
	if !c.sock.Park(c.set.IdleTime) {
		go c.run(false)
	}
}

// addrPort returns the address of a TCP socket, zero for another. An IPv4
// address that came over a dual-stack socket becomes itself.
func addrPort(a net.Addr) netip.AddrPort {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	ap := t.AddrPort()
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}

// forget is called once for every connection, when it is closed.
func (s *Server) forget(c *conn) {
	c.tie.End()
	s.mu.Lock()
	delete(s.conns, c)
	s.mu.Unlock()
	s.open.Done()
}

// StopAccepting closes the listeners. Connections go on.
func (s *Server) StopAccepting() {
	if s.draining.Swap(true) {
		return
	}
	close(s.ending)
	s.mu.Lock()
	for l := range s.listeners {
		l.Close()
	}
	s.mu.Unlock()
	s.accepting.Wait()
}

// Shutdown stops accepting, lets exchanges in flight end and closes idle
// connections. When ctx ends first, what is left is cut, and the cause of that
// returned if that was an exchange; a handler that does not notice even that is
// left behind after the drain time. It is called once.
func (s *Server) Shutdown(ctx context.Context) error {
	s.StopAccepting()
	s.each((*conn).endIfIdle)
	done := make(chan struct{})
	go func() {
		s.open.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	busy := false
	s.each(func(c *conn) {
		busy = c.busy() || busy
		c.cut()
	})
	late := time.NewTimer(s.set.Load().DrainTime)
	defer late.Stop()
	select {
	case <-done:
		if !busy {
			return nil
		}
		return context.Cause(ctx)
	case <-late.C:
		return fmt.Errorf("%w; %d connections are held by handlers that do not return", context.Cause(ctx), s.Connections())
	}
}

func (s *Server) each(f func(*conn)) {
	s.mu.Lock()
	all := make([]*conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	s.mu.Unlock()
	for _, c := range all {
		f(c)
	}
}

// Connections returns how many connections are open.
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}
