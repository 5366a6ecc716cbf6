package forward_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
	"github.com/perchserver/perch/internal/handler/forward"
)

// stub is a connection to an application whose first write does what it says.
type stub struct {
	net.Conn
	takes int // bytes
	err   error
}

func (s *stub) Write(p []byte) (int, error) { return min(s.takes, len(p)), s.err }

// The rule of the design: everything may be sent again when no byte of it was
// written; GET, HEAD and OPTIONS without a body also when no byte of a response
// was read. A timeout is no reason to ask again.
func TestResend(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	dialled := func(takes int) func(context.Context) (net.Conn, error) {
		return func(context.Context) (net.Conn, error) {
			ours, _ := net.Pipe()
			return &stub{ours, takes, broken}, nil
		}
	}
	play := func(answer string) func(context.Context) (net.Conn, error) {
		return func(context.Context) (net.Conn, error) {
			ours, theirs := net.Pipe()
			go func() {
				p := &peer{nc: theirs}
				buf := make([]byte, 64<<10)
				theirs.Read(buf)
				if answer != "" {
					p.send(answer)
				}
				theirs.Close()
			}()
			return ours, nil
		}
	}
	phases := []struct {
		name  string
		dial  func(context.Context) (net.Conn, error)
		plain bool // without a body, idempotent or not: sent again
		get   bool // idempotent without a body: sent again
		body  bool // with a body that was not at hand: sent again
		phase forward.Phase
	}{
		{"no connection", func(context.Context) (net.Conn, error) { return nil, syscall.ECONNREFUSED }, true, true, true, forward.Connect},
		{"connecting takes too long", func(context.Context) (net.Conn, error) { return nil, context.DeadlineExceeded }, false, false, false, forward.Connect},
		{"nothing written", dialled(0), true, true, true, forward.SendHead},
		{"a byte written", dialled(1), false, true, false, forward.SendHead},
		{"nothing answered", play(""), false, true, false, forward.ReadHead},
		{"a byte answered", play("H"), false, false, false, forward.ReadHead},
		{"an interim response", play("HTTP/1.1 103 Early Hints\r\n\r\n"), false, false, false, forward.ReadHead},
		{"garbage", play("garbage\r\n\r\n"), false, false, false, forward.ReadHead},
		{"half a body", play("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc"), false, false, false, forward.ReadBody},
	}
	requests := []struct {
		method, body string // body: "", "at hand" or "streaming"
	}{
		{"GET", ""}, {"HEAD", ""}, {"OPTIONS", ""},
		{"POST", ""}, {"PUT", ""}, {"DELETE", ""}, {"PATCH", ""}, {"TRACE", ""}, {"get", ""},
		{"GET", "at hand"}, {"POST", "at hand"}, {"GET", "streaming"}, {"POST", "streaming"},
	}
	for _, p := range phases {
		t.Run(p.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, nil, inMemory, dial(p.dial))
			for _, q := range requests {
				x, _ := exchangetest.New(q.method, "/")
				var want bool
				switch {
				case q.body == "" && (q.method == "GET" || q.method == "HEAD" || q.method == "OPTIONS"):
					want = p.get
				case q.body == "":
					want = p.plain
				default:
					body := exchangetest.NewBody("hello")
					body.Streaming = q.body == "streaming"
					exchangetest.SetBody(x, body)
					want = p.body
				}
				if q.method == "HEAD" && p.phase == forward.ReadBody {
					continue // has no body to break off in
				}
				e := exchange.AsError(r.channel.Serve(x))
				var f *forward.Failure
				if !errors.As(e, &f) {
					t.Fatalf("%s: error %v", q.method, e)
				}
				if e.Resend != want {
					t.Errorf("%s with body %q: resend %v, want %v (%v)", q.method, q.body, e.Resend, want, e)
				}
				if e.Unsent != (want && !f.Sent) {
					t.Errorf("%s with body %q: unsent %v (%+v)", q.method, q.body, e.Unsent, f)
				}
				if e.Status != 502 || e.SubStatus != 3 || f.Side != forward.Application {
					t.Errorf("%s with body %q: error %v", q.method, q.body, e)
				}
				if phase := f.Phase; phase != p.phase && (phase != forward.SendBody || q.body != "streaming") {
					t.Errorf("%s with body %q failed while it would %v, want %v", q.method, q.body, phase, p.phase)
				}
				if e.Resend && q.body != "" && x.Request.Body.Sent() {
					t.Errorf("%s with body %q may be sent again, but the body was taken", q.method, q.body)
				}
			}
		})
	}
}

// What may be sent again is sent again as it was, on a fresh connection.
func TestSentAgain(t *testing.T) {
	t.Parallel()
	play, got := answers("<close>", ok)
	r := newRig(t, play)
	x, rec := exchangetest.New("GET", "/a", "X-A: 1")
	if e := exchange.AsError(r.channel.Serve(x)); !e.Resend {
		t.Fatalf("error %v may not be sent again", e)
	}
	if x.Response.Started || x.Response.Status != 0 || len(x.Response.Header.Fields) > 0 {
		t.Errorf("the response has begun: %+v", x.Response)
	}
	if err := r.channel.Serve(x); err != nil || string(rec.Body) != "ok" {
		t.Errorf("second time %v, %q", err, rec.Body)
	}
	if a, b := <-got, <-got; a[1:] != b[1:] || a[0] == b[0] {
		t.Errorf("sent %q, then %q", a, b)
	}
}

func TestRefusedIsTold(t *testing.T) {
	t.Parallel()
	var told atomic.Int32
	r := newRig(t, nil)
	channel := r.forward.Channel(forward.Settings{Address: r.nobody(), Refused: func() { told.Add(1) }})
	defer channel.Close()
	x, _ := exchangetest.New("POST", "/")
	e := exchange.AsError(channel.Serve(x))
	var f *forward.Failure
	if !errors.As(e, &f) || !e.Resend || !e.Unsent || f.Phase != forward.Connect {
		t.Fatalf("error %v (resend %v, unsent %v)", e, e.Resend, e.Unsent)
	}
	if told.Load() != 1 {
		t.Errorf("told %d times, want once", told.Load())
	}
	report := f.Report()
	if report.Title != "The application does not accept connections" || report.Facts[len(report.Facts)-1].Value != "0x80072EFD" {
		t.Errorf("report %+v", report)
	}
}

// Connections are used again: which, for what, and for how long. Time is fake.
func TestIdleConnections(t *testing.T) {
	t.Parallel()
	const get, post = "GET", "POST"
	for _, c := range []struct {
		name   string
		answer string        // with the fields that matter
		idle   time.Duration // after it
		method string        // of the next request
		reused bool
	}{
		{"at once", "", 0, get, true},
		{"POST at once", "", 0, post, true},
		{"POST after 900 ms", "", 900 * time.Millisecond, post, true},
		{"POST after 1.2 s", "", 1200 * time.Millisecond, post, false},
		{"GET after 90 s", "", 90 * time.Second, get, true},
		{"GET after 101 s", "", 101 * time.Second, get, false},
		{"timeout=5, after 3.5 s", "Keep-Alive: timeout=5\r\n", 3500 * time.Millisecond, get, true},
		{"timeout=5, after 4.2 s", "Keep-Alive: timeout=5\r\n", 4200 * time.Millisecond, get, false},
		{"max and timeout", "Keep-Alive: max=7, Timeout=5\r\n", 4200 * time.Millisecond, get, false},
		{"timeout=1", "Keep-Alive: timeout=1\r\n", 0, get, false},
		{"timeout=1000", "Keep-Alive: timeout=1000\r\n", 101 * time.Second, get, false},
		{"nonsense", "Keep-Alive: timeout=five\r\n", 60 * time.Second, get, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				answer := strings.Replace(ok, "Content", c.answer+"Content", 1)
				play, got := answers(answer, ok)
				r := newRig(t, play, inMemory)
				client := r.client()
				client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				client.message()
				time.Sleep(c.idle)
				client.send(c.method + " / HTTP/1.1\r\nHost: a\r\n\r\n")
				client.wantDateless(ok)
				<-got
				if second := <-got; strings.HasPrefix(second, "1 ") != c.reused {
					t.Errorf("second request on connection %s, reused should be %v", second[:1], c.reused)
				}
			})
		})
	}
}

// What the application has closed is closed here within a second or two, also
// when nobody asks.
func TestDeadIdleConnectionsAreClosed(t *testing.T) {
	t.Parallel()
	end := make(chan struct{})
	r := newRig(t, func(p *peer) {
		p.head()
		p.send(ok)
		<-end
	})
	client := r.client()
	client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	client.wantDateless(ok)
	if n := r.watch.Count(); n != 2 {
		t.Fatalf("%d sockets, want the client's and the application's", n)
	}
	close(end)
	r.until("the dead connection is closed", func() bool { return r.watch.Count() == 1 })
}

// A POST that finds only connections that are too old for it leaves them to
// others.
func TestOldConnectionsAreLeftToOthers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		play, got := answers(ok, ok, ok)
		r := newRig(t, play, inMemory)
		client := r.client()
		for _, method := range []string{"GET", "POST", "GET"} {
			client.send(method + " / HTTP/1.1\r\nHost: a\r\n\r\n")
			client.wantDateless(ok)
			if method == "GET" {
				time.Sleep(2 * time.Second)
			}
		}
		var on string
		for range 3 {
			on += (<-got)[:1]
		}
		// The second GET takes the one used last. What matters is the count.
		if on != "122" || r.conns.Load() != 2 || r.watch.Count() != 3 {
			t.Errorf("requests on connections %s, %d sockets; want 122 and 3", on, r.watch.Count())
		}
	})
}

// A failure that may come of a restarted application gives up what stands idle
// beside it.
func TestIdleConnectionsAfterAFailure(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	var dead atomic.Bool
	r := newRig(t, func(p *peer) {
		for p.more() {
			p.head()
			if dead.Load() {
				return
			}
			<-hold
			p.send(ok)
		}
	})
	a, b := r.client(), r.client()
	a.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	b.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	r.until("both are with the application", func() bool { return r.conns.Load() == 2 })
	close(hold)
	a.wantDateless(ok)
	b.wantDateless(ok)
	dead.Store(true)
	a.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	if head := a.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") {
		t.Errorf("got %q", head)
	}
	r.until("no idle connection is left", func() bool { return r.watch.Count() <= 2 })
}

func TestCloseOfAChannel(t *testing.T) {
	t.Parallel()
	hold := make(chan struct{})
	r := newRig(t, func(p *peer) {
		for p.more() {
			if strings.HasPrefix(p.head(), "GET /slow") {
				<-hold
			}
			p.send(ok)
		}
	})
	idle, busy := r.client(), r.client()
	busy.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
	r.until("it is with the application", func() bool { return r.conns.Load() == 1 })
	idle.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	idle.wantDateless(ok)
	r.channel.Close()
	if n := r.watch.Count(); n != 3 {
		t.Errorf("%d sockets, want two clients and the busy one", n)
	}
	close(hold)
	busy.wantDateless(ok)
	r.until("the busy one is closed", func() bool { return r.watch.Count() == 2 })
}

var _ io.Writer = (*stub)(nil)
