package forward_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/handler/forward"
	"github.com/perchserver/perch/internal/serve"
	"github.com/perchserver/perch/internal/sockio"
)

// rig is a server that forwards to a scripted application: both ends are
// played by a test, byte by byte.
type rig struct {
	t       testing.TB
	memory  bool // pipes instead of sockets: time may be fake
	watch   *sockio.Watcher
	forward *forward.Forwarder
	set     forward.Settings
	channel *forward.Channel
	server  *serve.Server

	app    net.Listener
	front  net.Listener
	conns  atomic.Int32 // connections that the application has accepted
	peers  sync.WaitGroup
	stop   sync.Once
	mu     sync.Mutex
	open   map[net.Conn]int // peers to be closed at the end, by their number
	failed []error          // what Serve returned

	before func(*exchange.Exchange) // runs before an exchange is forwarded
	after  func(error)              // and after
}

// option changes a rig before it starts.
type option func(*rig, *forward.Settings)

func inMemory(r *rig, _ *forward.Settings)       { r.memory = true }
func passConnection(_ *rig, s *forward.Settings) { s.PassConnection = true }
func noWebSockets(_ *rig, s *forward.Settings)   { s.NoWebSockets = true }
func timeout(d time.Duration) option {
	return func(_ *rig, s *forward.Settings) { s.RequestTimeout = d }
}
func linger(begin func() func()) option {
	return func(_ *rig, s *forward.Settings) { s.Linger = begin }
}
func before(f func(*exchange.Exchange)) option {
	return func(r *rig, _ *forward.Settings) { r.before = f }
}
func virtualPath(p string) option { return func(_ *rig, s *forward.Settings) { s.VirtualPath = p } }
func token(s string) option       { return func(_ *rig, set *forward.Settings) { set.Token = s } }
func dial(f func(context.Context) (net.Conn, error)) option {
	return func(_ *rig, s *forward.Settings) { s.Dial = f }
}

// newRig starts a rig. play is what the application does with each connection,
// on a goroutine of its own; the connection is closed when it returns.
func newRig(t testing.TB, play func(*peer), opts ...option) *rig {
	t.Helper()
	r := &rig{t: t, open: make(map[net.Conn]int)}
	set := forward.Settings{Token: "secret", VirtualPath: "/"}
	for _, o := range opts {
		o(r, &set)
	}
	var err error
	if r.watch, err = sockio.NewWatcher(); err != nil {
		t.Fatal(err)
	}
	r.watch.JudgeMemory(func() bool { return false }) // whatever else goes on on the machine
	r.app, r.front = r.listen(), r.listen()
	set.Address = netip.MustParseAddrPort("127.0.0.1:5000")
	if m, ok := r.app.(*pipes); ok {
		if set.Dial == nil {
			set.Dial = m.dial
		}
	} else {
		set.Address = r.app.Addr().(*net.TCPAddr).AddrPort()
	}
	r.forward = forward.New(r.watch)
	r.set = set
	r.channel = r.forward.Channel(set)
	r.server = serve.New(serve.Settings{Log: slog.New(slog.DiscardHandler)}, r.watch, exchange.HandlerFunc(r.serve))
	r.server.Serve(serve.Listener{Listener: r.front, URL: "http://localhost:8080"})
	r.peers.Go(func() { r.accept(play) })
	t.Cleanup(r.close)
	return r
}

// nobody returns an address at which nobody listens, nor will: it is the near one
// of a connection.
func (r *rig) nobody() netip.AddrPort {
	return r.client().nc.LocalAddr().(*net.TCPAddr).AddrPort()
}

func (r *rig) listen() net.Listener {
	if r.memory {
		return newPipes()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		r.t.Fatal(err)
	}
	return l
}

// serve is the handler: it notes what went wrong.
func (r *rig) serve(x *exchange.Exchange) error {
	if r.before != nil {
		r.before(x)
	}
	err := r.channel.Serve(x)
	if r.after != nil {
		r.after(err)
		return err
	}
	if err != nil {
		r.mu.Lock()
		r.failed = append(r.failed, err)
		r.mu.Unlock()
	}
	return err
}

// errs returns what went wrong so far.
func (r *rig) errs() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.failed...)
}

// failure waits for an exchange to fail and returns its error and the cause.
func (r *rig) failure() (*exchange.Error, *forward.Failure) {
	r.t.Helper()
	r.until("an exchange fails", func() bool { return len(r.errs()) > 0 })
	e := exchange.AsError(r.errs()[0])
	var f *forward.Failure
	errors.As(e, &f)
	return e, f
}

// hang is after what time a test says where it hangs. It bounds nothing that
// comes: a busy machine needs many seconds for large bodies.
const hang = 2 * time.Minute

// until polls for a condition, with a limit.
func (r *rig) until(what string, ok func() bool) {
	r.t.Helper()
	patience := hang
	if r.memory {
		patience = time.Hour // time is fake
	}
	for begin := time.Now(); !ok(); time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			r.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// reuses repeats an exchange with a body until a connection to the application
// has carried two. A response that overtakes the news that the body has been sent
// counts as early, and then its connection is not trusted again.
func (r *rig) reuses(exchange func()) {
	r.t.Helper()
	n := int32(0)
	r.until("a connection to the application is used again", func() bool {
		exchange()
		n++
		return r.conns.Load() < n
	})
}

func (r *rig) accept(play func(*peer)) {
	for {
		nc, err := r.app.Accept()
		if err != nil {
			return
		}
		p := r.peer(nc, int(r.conns.Add(1)))
		r.peers.Go(func() {
			defer func() {
				nc.Close()
				r.mu.Lock()
				delete(r.open, nc)
				r.mu.Unlock()
			}()
			play(p)
		})
	}
}

// client connects to the server.
func (r *rig) client() *peer {
	r.t.Helper()
	var nc net.Conn
	var err error
	if m, ok := r.front.(*pipes); ok {
		nc, err = m.dial(context.Background())
	} else {
		nc, err = net.Dial("tcp", r.front.Addr().String())
	}
	if err != nil {
		r.t.Fatal(err)
	}
	return r.peer(nc, 0)
}

func (r *rig) peer(nc net.Conn, n int) *peer {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.open[nc] = n
	if !r.memory {
		nc.SetDeadline(time.Now().Add(hang))
	}
	return &peer{t: r.t, nc: nc, r: bufio.NewReader(nc), n: n}
}

// close ends everything and waits for it: what is left then would be a leak.
// The application may say its last word before.
func (r *rig) close() {
	r.app.Close()
	r.hangUp(func(n int) bool { return n == 0 })
	r.channel.Close()
	ended := make(chan struct{})
	go func() {
		r.peers.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-time.After(hang / 4):
		r.hangUp(func(int) bool { return true })
	}
	r.stop.Do(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang/4)
		defer cancel()
		if err := r.server.Shutdown(ctx); err != nil {
			r.t.Errorf("shutdown: %v", err)
		}
	})
	r.forward.Close()
	<-ended
	if n := r.watch.Count(); n != 0 {
		r.t.Errorf("%d sockets are left", n)
	}
	r.watch.Close()
}

// hangUp closes the connections of the peers with the chosen numbers.
func (r *rig) hangUp(chosen func(int) bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for nc, n := range r.open {
		if chosen(n) {
			nc.Close()
		}
	}
}

// cut ends the server without waiting for its exchanges.
func (r *rig) cut() {
	r.stop.Do(func() {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		r.server.Shutdown(ctx)
	})
}

// peer is one end of a connection, played by a test. What it does not get
// ends its goroutine and fails the test.
type peer struct {
	t  testing.TB
	nc net.Conn
	r  *bufio.Reader
	n  int // number of the connection, from 1; 0 for clients
}

func (p *peer) fail(format string, a ...any) {
	p.t.Helper()
	who := "client"
	if p.n > 0 {
		who = fmt.Sprintf("application (connection %d)", p.n)
	}
	p.t.Errorf("%s: %s", who, fmt.Sprintf(format, a...))
	if p.n == 0 {
		p.t.FailNow() // clients are played by the test itself
	}
	runtime.Goexit()
}

// more reports whether another byte comes before the end.
func (p *peer) more() bool {
	_, err := p.r.Peek(1)
	return err == nil
}

// head reads a message head with its empty line, the Date left out.
func (p *peer) head() string {
	p.t.Helper()
	var b strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		if err != nil {
			p.fail("after %q: %v", b.String()+line, err)
		}
		if !strings.HasPrefix(line, "Date: ") {
			b.WriteString(line)
		}
		if line == "\r\n" {
			return b.String()
		}
	}
}

// bytes reads n bytes.
func (p *peer) bytes(n int) string {
	p.t.Helper()
	b := make([]byte, n)
	if k, err := io.ReadFull(p.r, b); err != nil {
		p.fail("got %d bytes of %d: %v", k, n, err)
	}
	return string(b)
}

// want reads exactly s.
func (p *peer) want(s string) {
	p.t.Helper()
	b := make([]byte, len(s))
	n, err := io.ReadFull(p.r, b)
	if string(b[:n]) != s {
		p.fail("got %.200q, want %.200q (%v)", b[:n], s, err)
	}
}

// skip reads n bytes away.
func (p *peer) skip(n int64) {
	p.t.Helper()
	if k, err := io.CopyN(io.Discard, p.r, n); err != nil {
		p.fail("skipped %d bytes of %d: %v", k, n, err)
	}
}

// message reads a whole message with a length or chunks: head and body.
func (p *peer) message() (head, body string) {
	p.t.Helper()
	head = p.head()
	if strings.Contains(head, "\r\nTransfer-Encoding: chunked\r\n") {
		return head, p.chunked()
	}
	if m := lengthField.FindStringSubmatch(head); m != nil {
		var n int
		fmt.Sscan(m[1], &n)
		return head, p.bytes(n)
	}
	return head, ""
}

var lengthField = regexp.MustCompile(`\r\nContent-Length: (\d+)\r\n`)

// chunked reads a chunked body. Trailer fields follow the data after a '|'.
func (p *peer) chunked() string {
	p.t.Helper()
	var b strings.Builder
	for {
		line, err := p.r.ReadString('\n')
		var n int
		if _, serr := fmt.Sscanf(line, "%x\r\n", &n); err != nil || serr != nil {
			p.fail("chunk size %q after %d bytes: %v", line, b.Len(), err)
		}
		if n == 0 {
			break
		}
		b.WriteString(p.bytes(n))
		p.want("\r\n")
	}
	if trailer := p.head(); trailer != "\r\n" {
		return b.String() + "|" + trailer
	}
	return b.String()
}

// send writes s. That the other side has gone is not its business.
func (p *peer) send(s string) { io.WriteString(p.nc, s) }

// all reads to the end.
func (p *peer) all() (string, error) {
	var b bytes.Buffer
	_, err := b.ReadFrom(p.r)
	return dateField.ReplaceAllString(b.String(), ""), err
}

var dateField = regexp.MustCompile(`Date: [^\r]*\r\n`)

// ends waits for the end of the connection, in whatever form, and wants no
// byte before it.
func (p *peer) ends() {
	p.t.Helper()
	b, err := io.ReadAll(p.r)
	if len(b) > 0 || isTimeout(err) {
		p.fail("got %.200q and %v, want the end of the connection", b, err)
	}
}

// noDeadline takes a deadline away.
var noDeadline time.Time

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

func (p *peer) close() { p.nc.Close() }

func (p *peer) closeWrite() { p.nc.(interface{ CloseWrite() error }).CloseWrite() }

// reset closes so that the other side sees a broken connection.
func (p *peer) reset() {
	if c, ok := p.nc.(*net.TCPConn); ok {
		c.SetLinger(0)
	}
	p.nc.Close()
}

// answers plays a fixed list: each request, on whatever connection, gets the
// next entry. An entry that ends with "<close>" or "<reset>" does that then.
// The requests are handed out with the number of their connection.
func answers(list ...string) (play func(*peer), got chan string) {
	got = make(chan string, len(list)+8)
	var next atomic.Int32
	return func(p *peer) {
		for p.more() {
			head, body := p.message()
			i := int(next.Add(1)) - 1
			got <- fmt.Sprintf("%d %s%s", p.n, head, body)
			if i >= len(list) {
				p.fail("request %d was not expected", i+1)
			}
			text := list[i]
			rest, toClose := strings.CutSuffix(text, "<close>")
			rest, toReset := strings.CutSuffix(rest, "<reset>")
			p.send(rest)
			if toReset {
				p.reset()
			}
			if toClose || toReset {
				return
			}
		}
	}, got
}

// ok is a plain answer.
const ok = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

// pipes is a listener of connections in memory.
type pipes struct {
	ch   chan net.Conn
	done chan struct{}
	once sync.Once
}

func newPipes() *pipes { return &pipes{ch: make(chan net.Conn), done: make(chan struct{})} }

func (l *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-l.ch:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipes) Close() error {
	l.once.Do(func() { close(l.done) })
	return nil
}

func (l *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory", Net: "memory"} }

func (l *pipes) dial(ctx context.Context) (net.Conn, error) {
	r1, w1 := net.Pipe()
	r2, w2 := net.Pipe()
	select {
	case l.ch <- &pipe{r1, w2}:
		return &pipe{r2, w1}, nil
	case <-l.done:
		return nil, errors.New("nobody listens")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// pipe is a connection in memory whose directions end separately, as those of
// TCP do.
type pipe struct{ r, w net.Conn }

func (p *pipe) Read(b []byte) (int, error)  { return p.r.Read(b) }
func (p *pipe) Write(b []byte) (int, error) { return p.w.Write(b) }
func (p *pipe) CloseWrite() error           { return p.w.Close() }
func (p *pipe) LocalAddr() net.Addr         { return p.r.LocalAddr() }
func (p *pipe) RemoteAddr() net.Addr        { return p.r.RemoteAddr() }

func (p *pipe) Close() error {
	p.w.Close()
	return p.r.Close()
}

func (p *pipe) SetDeadline(t time.Time) error {
	p.w.SetWriteDeadline(t)
	return p.r.SetReadDeadline(t)
}

func (p *pipe) SetReadDeadline(t time.Time) error  { return p.r.SetReadDeadline(t) }
func (p *pipe) SetWriteDeadline(t time.Time) error { return p.w.SetWriteDeadline(t) }
