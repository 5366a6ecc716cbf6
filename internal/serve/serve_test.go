package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
	"github.com/perchserver/perch/internal/sockio"
)

// journal is a log that fails the test when the driver reports an error that
// the test does not wait for.
type journal struct {
	tb     testing.TB
	mu     sync.Mutex
	expect string // part of the one message at Error that is right
	seen   int
}

func (j *journal) Enabled(context.Context, slog.Level) bool { return true }
func (j *journal) WithAttrs([]slog.Attr) slog.Handler       { return j }
func (j *journal) WithGroup(string) slog.Handler            { return j }
func (j *journal) Handle(_ context.Context, r slog.Record) error {
	if r.Level < slog.LevelError {
		return nil
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.expect != "" && strings.Contains(r.Message, j.expect) {
		j.seen++
		return nil
	}
	text := r.Message
	r.Attrs(func(a slog.Attr) bool { text += " " + a.String(); return true })
	j.tb.Errorf("logged: %s", text)
	return nil
}

// wait names the message that is right, and says how often it came so far.
func (j *journal) wait(message string) int {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.expect = message
	return j.seen
}

// host is a server under test.
type host struct {
	*Server
	tb      testing.TB
	journal *journal
	watch   *sockio.Watcher
	dial    func() net.Conn
}

// begin starts a server on a listener. At the end of the test it is shut
// down, and nothing may be left of it.
func begin(tb testing.TB, l net.Listener, set Settings, h exchange.Handler) *host {
	tb.Helper()
	return beginTLS(tb, l, nil, set, h)
}

// beginTLS is begin for a listener with TLS, if config is not nil.
func beginTLS(tb testing.TB, l net.Listener, config *tls.Config, set Settings, h exchange.Handler) *host {
	tb.Helper()
	w, err := sockio.NewWatcher()
	if err != nil {
		tb.Fatal(err)
	}
	w.JudgeMemory(func() bool { return false }) // whatever else goes on on the machine
	j := &journal{tb: tb}
	set.Log = slog.New(j)
	v := &host{Server: New(set, w, h), tb: tb, journal: j, watch: w}
	v.Serve(Listener{Listener: l, URL: "http://test", TLS: config})
	tb.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := v.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
			tb.Errorf("shutdown: %v", err)
		}
		if n, m := v.Connections(), w.Count(); n != 0 || m != 0 {
			tb.Errorf("%d connections are left in the server, %d in the watcher", n, m)
		}
		w.Close()
	})
	return v
}

// onSockets starts a server on a loopback port.
func onSockets(tb testing.TB, set Settings, h exchange.Handler) *host {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	v := begin(tb, l, set, h)
	v.dial = func() net.Conn {
		nc, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			tb.Fatal(err)
		}
		nc.SetDeadline(time.Now().Add(hangs))
		tb.Cleanup(func() { nc.Close() })
		return nc
	}
	return v
}

// hangs is how long a client talks to a server at most: by then, on the busiest
// machine, it is not busy but stuck.
const hangs = 3 * time.Minute

// inMemory starts a server whose connections are pipes, for fake time.
func inMemory(tb testing.TB, set Settings, h exchange.Handler) *host {
	tb.Helper()
	l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	v := begin(tb, l, set, h)
	v.dial = func() net.Conn {
		client, server := net.Pipe()
		l.conns <- server
		tb.Cleanup(func() { client.Close() })
		return client
	}
	return v
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { close(l.done); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

var dateLine = regexp.MustCompile(`Date: [^\r]*\r\n`)

// talk sends all of in on one connection, ends the sending side, and returns
// all that comes back, Date fields left out.
func (v *host) talk(in string) string {
	v.tb.Helper()
	nc := v.dial()
	defer nc.Close()
	go func() {
		io.WriteString(nc, in)
		nc.(interface{ CloseWrite() error }).CloseWrite()
	}()
	out, err := io.ReadAll(nc)
	if err != nil {
		v.tb.Errorf("%.60q: after %q: %v", in, out, err)
	}
	return dateLine.ReplaceAllString(string(out), "")
}

// answered reads one response of a connection.
func answered(tb testing.TB, r *bufio.Reader, method string) (*http.Response, string) {
	tb.Helper()
	resp, err := http.ReadResponse(r, &http.Request{Method: method})
	if err != nil {
		tb.Fatalf("read response: %v", err)
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		tb.Fatalf("read body after %q: %v", body, err)
	}
	return resp, string(body)
}

func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(time.Minute); !is(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("%s did not happen", what)
		}
	}
}

// answer writes a response with a length.
func answer(x *exchange.Exchange, status int, body string) error {
	x.Response.Status, x.Response.Length = status, int64(len(body))
	if err := x.Response.Writer.WriteHead(x); err != nil {
		return err
	}
	_, err := io.WriteString(x.Response.Writer, body)
	return err
}

// application answers by path; each is one way to use the contract, or to
// break it.
type application map[string]func(x *exchange.Exchange) error

func (a application) Serve(x *exchange.Exchange) error {
	if f := a[string(x.Request.Target.Path)]; f != nil {
		return f(x)
	}
	return answer(x, 200, fmt.Sprintf("%s %s", x.Request.Method, x.Request.Target.Path))
}

var pages = application{
	"/echo": func(x *exchange.Exchange) error {
		body, err := io.ReadAll(x.Request.Body)
		if err != nil {
			return err
		}
		var trailer string
		for _, f := range x.Request.Body.Trailer() {
			trailer += fmt.Sprintf(";%s=%s", f.NameBytes(), f.Value)
		}
		return answer(x, 200, string(body)+trailer)
	},
	"/ignore": func(x *exchange.Exchange) error { return answer(x, 200, "ignored") },
	"/part": func(x *exchange.Exchange) error {
		var b [3]byte
		n, err := io.ReadFull(x.Request.Body, b[:])
		if err != nil {
			return err
		}
		return answer(x, 200, "began "+string(b[:n]))
	},
	"/limited": func(x *exchange.Exchange) error {
		x.Request.Body.Limit(5)
		body, err := io.ReadAll(x.Request.Body)
		if err != nil {
			return err
		}
		return answer(x, 200, "read "+string(body))
	},
	"/limited-copy": func(x *exchange.Exchange) error {
		x.Request.Body.Limit(5)
		var b strings.Builder
		if _, err := x.Request.Body.WriteTo(&b); err != nil {
			return err
		}
		return answer(x, 200, "copied "+b.String())
	},
	"/buffered": func(x *exchange.Exchange) error {
		p, ok := x.Request.Body.Buffered()
		return answer(x, 200, fmt.Sprintf("%v %s", ok, p))
	},
	"/unread": func(x *exchange.Exchange) error { // and taken again, and read in the end
		b := x.Request.Body
		p, _ := b.Buffered()
		b.Unread()
		b.Unread()
		again, ok := b.Buffered()
		b.Unread()
		if x.Request.Target.HasQuery {
			return answer(x, 200, "left")
		}
		sent := b.Sent()
		read, err := io.ReadAll(b)
		return answer(x, 200, fmt.Sprintf("%s %v %s %v %s %v", p, ok, again, sent, read, err))
	},
	"/204":   func(x *exchange.Exchange) error { x.Response.Status = 204; return x.Response.Writer.WriteHead(x) },
	"/304":   func(x *exchange.Exchange) error { return answer(x, 304, "dropped") },
	"/empty": func(x *exchange.Exchange) error { return answer(x, 200, "") },
	"/stream": func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, -1
		x.Response.Trailer = append(x.Response.Trailer,
			exchange.Field{Name: []byte("X-Sum"), Value: []byte("6")},
			exchange.Field{ID: exchange.ContentLength, Value: []byte("6")})
		w := x.Response.Writer
		if err := w.WriteHead(x); err != nil {
			return err
		}
		io.WriteString(w, "abc")
		w.Write(nil)
		w.Flush()
		_, err := io.WriteString(w, "def")
		return err
	},
	"/copied": func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, -1
		if err := x.Response.Writer.WriteHead(x); err != nil {
			return err
		}
		_, err := x.Response.Writer.ReadFrom(strings.NewReader("copied"))
		return err
	},
	"/fields": func(x *exchange.Exchange) error {
		h := &x.Response.Header
		h.AddString(exchange.ContentType, "text/plain")
		h.AddString(exchange.ContentLength, "99") // the driver's own
		h.AddString(exchange.TransferEncoding, "chunked")
		h.AddString(exchange.Connection, "x")
		h.AddString(exchange.KeepAlive, "timeout=1")
		h.AddString(exchange.Date, "yesterday")
		h.AddString(exchange.Location, "/\r\nSet-Cookie: evil")
		h.AddName([]byte("X\r\nY"), []byte("evil"))
		h.AddName([]byte("X-Good"), []byte("good"))
		x.Response.Reason = []byte("Fi\r\nne")
		return answer(x, 200, "ok")
	},
	"/close": func(x *exchange.Exchange) error { x.Response.Close = true; return answer(x, 200, "closing") },
	"/inform": func(x *exchange.Exchange) error {
		var h exchange.Header
		h.AddName([]byte("Link"), []byte("</a.css>"))
		h.AddString(exchange.ContentLength, "5")
		if err := x.Response.Writer.Inform(103, &h); err != nil {
			return err
		}
		for _, status := range []int{99, 101, 200} {
			if x.Response.Writer.Inform(status, nil) == nil {
				return answer(x, 200, "informed with a wrong status")
			}
		}
		err := answer(x, 200, "done")
		if x.Response.Writer.Inform(102, nil) == nil {
			return errors.New("informed behind the head")
		}
		return err
	},
	"/panic": func(*exchange.Exchange) error { panic("a mistake") },
	"/panic-late": func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, 9
		x.Response.Writer.WriteHead(x)
		io.WriteString(x.Response.Writer, "abc")
		x.Response.Writer.Flush()
		panic("a mistake")
	},
	"/nothing": func(*exchange.Exchange) error { return nil },
	"/404":     func(*exchange.Exchange) error { return exchange.Errorf(404, 0, "find", "not there") },
	"/503": func(*exchange.Exchange) error {
		return &exchange.Error{Status: 503, RetryAfter: 7, Public: "Come back later", Err: errors.New("secret")}
	},
	"/garbage": func(*exchange.Exchange) error {
		return &exchange.Error{Status: 502, SubStatus: 3, Op: "forward", Err: http1.BadStatusLine}
	},
	"/empty-error": func(*exchange.Exchange) error { return &exchange.Error{Status: 500, Empty: true} },
	"/too-little": func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, 9
		x.Response.Writer.WriteHead(x)
		_, err := io.WriteString(x.Response.Writer, "abc")
		return err
	},
	"/too-little-sent": func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, 9
		x.Response.Writer.WriteHead(x)
		io.WriteString(x.Response.Writer, "abc")
		return x.Response.Writer.Flush()
	},
	"/too-much": func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, 2
		x.Response.Writer.WriteHead(x)
		_, err := io.WriteString(x.Response.Writer, "abc")
		return err
	},
	"/too-much-ignored": func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, 2
		x.Response.Writer.WriteHead(x)
		io.WriteString(x.Response.Writer, "abc")
		return nil
	},
	"/late-error": func(x *exchange.Exchange) error {
		answer(x, 200, "abc")
		x.Response.Writer.Flush()
		return errors.New("too late")
	},
	"/unsent-error": func(x *exchange.Exchange) error {
		answer(x, 200, "abc")
		return exchange.Errorf(502, 3, "forward", "in time")
	},
	"/chunks-error": func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, -1
		x.Response.Writer.WriteHead(x)
		io.WriteString(x.Response.Writer, "abc")
		x.Response.Writer.Flush()
		return errors.New("broke")
	},
	"/body-first": func(x *exchange.Exchange) error { _, err := io.WriteString(x.Response.Writer, "x"); return err },
	"/two-heads": func(x *exchange.Exchange) error {
		answer(x, 200, "one")
		x.Response.Writer.Flush()
		return x.Response.Writer.WriteHead(x)
	},
	"/bad-status": func(x *exchange.Exchange) error { return answer(x, 100, "") },
	"/upgrade": func(x *exchange.Exchange) error {
		x.Response.Status = 101
		x.Response.Header.Add(exchange.Upgrade, x.Request.Upgrade)
		stream, err := x.Response.Writer.Upgrade(x)
		if err != nil {
			return err
		}
		b := make([]byte, 100)
		for {
			n, err := stream.Read(b)
			if n > 0 {
				fmt.Fprintf(stream, "<%s>", b[:n])
			}
			if err == io.EOF {
				io.WriteString(stream, "bye")
				return stream.CloseWrite()
			}
			if err != nil {
				return err
			}
		}
	},
	"/upgrade-200": func(x *exchange.Exchange) error {
		x.Response.Status = 200
		_, err := x.Response.Writer.Upgrade(x)
		return err
	},
}

// New settings hold for connections that come; those that are open go on as
// they began.
func TestApply(t *testing.T) {
	t.Parallel()
	v := onSockets(t, Settings{}, pages)
	before := v.dial()
	r := bufio.NewReader(before)
	io.WriteString(before, get("/a"))
	answered(t, r, "GET")
	set := Settings{Log: slog.New(v.journal), HeaderTime: time.Minute}
	set.Head.Line = 20
	v.Apply(set)
	long := get("/" + strings.Repeat("a", 20))
	after := v.dial()
	io.WriteString(after, long)
	if resp, _ := answered(t, bufio.NewReader(after), "GET"); resp.StatusCode != 414 {
		t.Errorf("a connection that came later: %d, want 414", resp.StatusCode)
	}
	io.WriteString(before, long)
	if resp, _ := answered(t, r, "GET"); resp.StatusCode != 200 || resp.Close {
		t.Errorf("a connection that was open: %d, close %v", resp.StatusCode, resp.Close)
	}
}
