package forward_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
	"github.com/perchserver/perch/internal/handler/forward"
)

func overHTTP2(_ *rig, s *forward.Settings) { s.HTTP2 = true }

// h2app is an application that speaks HTTP/2, played frame by frame.
type h2app struct {
	*peer
	fr    *http2.Framer
	enc   *hpack.Encoder
	block bytes.Buffer
	got   <-chan bool // closed when the client has what was sent
}

// plays is what an application of HTTP/2 does with each connection. Its
// settings have been sent then.
func plays(f func(a *h2app), settings ...http2.Setting) func(*peer) {
	return func(p *peer) {
		p.want(http2.ClientPreface)
		out := make(queue, 1<<14)
		defer close(out)
		go out.send(p)
		a := &h2app{peer: p, fr: http2.NewFramer(out, p.r)}
		a.fr.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
		a.fr.AllowIllegalWrites = true
		a.enc = hpack.NewEncoder(&a.block)
		a.fr.WriteSettings(settings...)
		f(a)
	}
}

// queue sends what is written without letting the writer wait: a pipe takes
// nothing before it is read.
type queue chan []byte

func (q queue) Write(p []byte) (int, error) {
	q <- bytes.Clone(p)
	return len(p), nil
}

func (q queue) send(p *peer) {
	for b := range q {
		p.nc.Write(b)
	}
}

// next reads the next frame that is about a stream, or GOAWAY, "end" at the end
// of the connection.
func (a *h2app) next() string {
	for {
		f, err := a.fr.ReadFrame()
		if err != nil {
			return "end"
		}
		line := ""
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			line = f.ErrCode.String()
		case *http2.MetaHeadersFrame:
			for _, h := range f.Fields {
				line += fmt.Sprintf("%s=%s ", h.Name, h.Value)
			}
			line = strings.TrimSuffix(line, " ")
		case *http2.DataFrame:
			line = string(f.Data())
		case *http2.GoAwayFrame:
			line = f.ErrCode.String()
		case *http2.SettingsFrame:
			if !f.IsAck() {
				a.fr.WriteSettingsAck()
			}
			continue
		default:
			continue
		}
		line = fmt.Sprintf("%v %d %s", f.Header().Type, f.Header().StreamID, line)
		if e, ok := f.(interface{ StreamEnded() bool }); ok && e.StreamEnded() {
			line += " end"
		}
		return line
	}
}

// wants reads frames that begin as the given ones do.
func (a *h2app) wants(frames ...string) {
	a.t.Helper()
	for _, want := range frames {
		if got := a.next(); !strings.HasPrefix(got, want) {
			a.fail("got %.300q, want %q", got, want)
		}
	}
}

// head sends a response head, or trailers, of "name: value" lines.
func (a *h2app) head(id uint32, end bool, fields ...string) {
	a.block.Reset()
	for _, f := range fields {
		i := strings.Index(f[1:], ":") + 1
		a.enc.WriteField(hpack.HeaderField{Name: f[:i], Value: strings.TrimPrefix(f[i+1:], " ")})
	}
	a.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.block.Bytes(), EndStream: end, EndHeaders: true})
}

// ok answers a stream.
func (a *h2app) ok(id uint32) {
	a.head(id, false, ":status: 200", "content-length: 2")
	a.fr.WriteData(id, true, []byte("ok"))
}

const getA = "GET /a?b HTTP/1.1\r\nHost: a\r\n\r\n"
const postA = "POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello"

func TestHTTP2Request(t *testing.T) {
	t.Parallel()
	var got atomic.Value
	r := newRig(t, plays(func(a *h2app) {
		got.Store(a.next())
		a.wants("DATA 1 hello end")
		a.head(1, false, ":status: 200", "x-one: 1", "date: then", "server: s", "x-empty:", "ms-aspnetcore-token: t")
		a.fr.WriteData(1, false, []byte("body"))
		a.head(1, true, "x-check: 2")
		a.drain()
	}), overHTTP2)
	c := r.client()
	c.send("POST /p?q HTTP/1.1\r\nHost: a:80\r\nX-Own: 1\r\nConnection: X-Hop, TE\r\nX-Hop: 1\r\nTE: trailers\r\nMS-ASPNETCORE-TOKEN: mine\r\n" +
		"X-Forwarded-For: 1.2.3.4\r\nContent-Length: 5\r\n\r\nhello")
	c.want("HTTP/1.1 200 OK\r\n")
	if head, want := c.head(), "X-One: 1\r\nServer: s\r\nTransfer-Encoding: chunked\r\n\r\n"; !strings.EqualFold(head, want) {
		t.Errorf("head %q, want %q", head, want)
	}
	if body := c.chunked(); body != "body|x-check: 2\r\n\r\n" {
		t.Errorf("body %q", body)
	}
	want := "HEADERS 1 :method=POST :scheme=http :path=/p?q :authority=a:80 x-own=1 x-forwarded-for=1.2.3.4, 127.0.0.1:PORT " +
		"x-forwarded-proto=http ms-aspnetcore-token=secret te=trailers content-length=5"
	want = strings.ReplaceAll(want, "PORT", c.nc.LocalAddr().String()[len("127.0.0.1:"):])
	if got.Load() != want {
		t.Errorf("the application got\n%s, want\n%s", got.Load(), want)
	}
}

// What the client of an application gets for what that does.
func TestHTTP2Answers(t *testing.T) {
	t.Parallel()
	const cut = "the beginning of a response"
	for name, c := range map[string]struct {
		request string
		play    func(a *h2app) // the head of the request has come
		want    string         // what the client gets until its connection ends, or what that begins with
		title   string         // of the failure
	}{
		"head alone": {getA, func(a *h2app) { a.head(1, true, ":status: 302", "location: /b") },
			"HTTP/1.1 302 Found\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n", ""},
		"HEAD": {"HEAD / HTTP/1.1\r\nHost: a\r\n\r\n", func(a *h2app) { a.head(1, true, ":status: 200", "content-length: 7") },
			"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", ""},
		"204":  {getA, func(a *h2app) { a.head(1, true, ":status: 204") }, "HTTP/1.1 204 No Content\r\n\r\n", ""},
		"304":  {getA, func(a *h2app) { a.head(1, true, ":status: 304", "etag: a") }, "HTTP/1.1 304 Not Modified\r\nETag: a\r\n\r\n", ""},
		"hint": {getA, func(a *h2app) { a.head(1, false, ":status: 103", "link: a"); a.ok(1) }, "HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""},
		"whole, then reset": {getA, func(a *h2app) { a.ok(1); a.fr.WriteRSTStream(1, 0) },
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""},
		"whole, not all of the request read": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\n" + strings.Repeat("x", 500_000), func(a *h2app) { a.ok(1) },
			"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", ""},

		"reset": {getA, func(a *h2app) { a.fr.WriteRSTStream(1, http2.ErrCodeInternal) }, "HTTP/1.1 502 ", "The application broke the connection"},
		"reset half way": {getA, func(a *h2app) {
			a.head(1, false, ":status: 200")
			a.fr.WriteData(1, false, []byte("body"))
			<-a.got
			a.fr.WriteRSTStream(1, http2.ErrCodeInternal)
		}, cut, "The application did not complete its response"},
		"gone half way": {getA, func(a *h2app) {
			a.head(1, false, ":status: 200")
			a.fr.WriteData(1, false, []byte("body"))
			<-a.got
			a.close()
		}, cut, "The application did not complete its response"},
		"malformed":    {getA, func(a *h2app) { a.head(1, true, ":status: 200", "connection: close") }, "HTTP/1.1 502 ", "The application did not answer as a web server"},
		"wrong length": {getA, func(a *h2app) { a.head(1, true, ":status: 200", "content-length: 3") }, "HTTP/1.1 502 ", "The application did not answer as a web server"},
		"push":         {getA, func(a *h2app) { a.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2}) }, "HTTP/1.1 502 ", "The application did not answer as a web server"},
		"not a frame":  {getA, func(a *h2app) { a.send("this is not a frame of anything") }, "HTTP/1.1 502 ", "The application did not answer as a web server"},
		"hints without end": {getA, func(a *h2app) {
			for range 65 {
				a.head(1, false, ":status: 103")
			}
		}, strings.Repeat("HTTP/1.1 103 Early Hints\r\n\r\n", 64) + "HTTP/1.1 502 ", "The application did not answer as a web server"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := make(chan bool)
			r := newRig(t, plays(func(a *h2app) {
				a.wants("HEADERS 1")
				a.got = got
				c.play(a)
				a.drain()
			}), overHTTP2)
			client := r.client()
			go client.send(strings.Replace(c.request, "\r\n", "\r\nConnection: close\r\n", 1))
			if c.want == cut {
				client.want("HTTP/1.1 200 OK\r\n")
				client.head()
				client.want("4\r\nbody\r\n")
				close(got)
				client.ends()
			} else {
				got, _ := client.all()
				got = strings.ReplaceAll(got, "Connection: close\r\n", "")
				if !strings.HasPrefix(got, c.want) || c.title == "" && got != c.want {
					t.Errorf("client got %.300q, want %q", got, c.want)
				}
			}
			if c.title == "" {
				if len(r.errs()) > 0 {
					t.Errorf("failed: %v", r.errs())
				}
			} else if _, f := r.failure(); f == nil || f.Report().Title != c.title {
				t.Errorf("failure %v, want %q", f, c.title)
			}
		})
	}
}

// What the application has not looked at is sent again, whatever it is; what it
// may have, only where that does no harm.
func TestHTTP2Resend(t *testing.T) {
	t.Parallel()
	refuse := func(a *h2app) { a.fr.WriteRSTStream(1, http2.ErrCodeRefusedStream) }
	leave := func(a *h2app) { a.fr.WriteGoAway(0, http2.ErrCodeNo, nil) }
	for name, c := range map[string]struct {
		request string
		first   func(a *h2app)
		next    string // what comes then
	}{
		"refused GET":   {getA, refuse, "HEADERS 3 :method=GET"},
		"refused POST":  {postA, refuse, "HEADERS 3 :method=POST"},
		"GOAWAY, POST":  {postA, leave, "another connection"},
		"GOAWAY, large": {"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 500000\r\n\r\n", leave, "another connection"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			body := func(a *h2app) {
				if strings.HasPrefix(c.request, "POST") && !strings.Contains(c.request, "Expect") {
					a.wants("DATA")
				}
			}
			synctest.Test(t, func(t *testing.T) { // a body that is held back is for a second
				r := newRig(t, plays(func(a *h2app) {
					a.wants("HEADERS 1")
					body(a)
					switch {
					case a.n > 1:
						a.ok(1)
					case c.next == "another connection":
						c.first(a)
					default:
						c.first(a)
						a.wants(c.next)
						body(a)
						a.ok(3)
					}
					a.drain()
				}), inMemory, overHTTP2)
				client := r.client()
				client.send(c.request)
				if head := client.head(); !strings.HasPrefix(head, "HTTP/1.1 200 OK\r\n") {
					t.Errorf("client got %q, failed %v", head, r.errs())
				}
			})
		})
	}
	for name, c := range map[string]struct {
		request string
		resend  bool
	}{"GET": {getA, true}, "POST": {postA, false}} {
		t.Run("gone, "+name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plays(func(a *h2app) { a.wants("HEADERS 1"); a.close() }), overHTTP2)
			client := r.client()
			client.send(c.request)
			client.head()
			if e, _ := r.failure(); e.Resend != c.resend || e.Status != 502 {
				t.Errorf("%v, resend %v, want %v", e, e.Resend, c.resend)
			}
		})
	}
	for name, c := range map[string]struct {
		first func(a *h2app)
		cause string
	}{
		"refused": {refuse, "the application reset the stream (HTTP/2 error code 7)"},
		"GOAWAY":  {leave, "the application went away before it looked at the request"},
	} {
		t.Run("a part of the body is gone, "+name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plays(func(a *h2app) {
				a.wants("HEADERS 1", "DATA 1 begun")
				c.first(a)
				a.drain()
			}), overHTTP2)
			client := r.client()
			client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 500000\r\n\r\nbegun")
			if head := client.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") {
				t.Errorf("client got %q", head)
			}
			if e, f := r.failure(); e.Resend || e.SubStatus != 3 || e.Cut || e.Told || f.Err.Error() != c.cause || r.conns.Load() > 1 {
				t.Errorf("%v, resend %v, on %d connections", e, e.Resend, r.conns.Load())
			}
		})
	}
	t.Run("elsewhere", func(t *testing.T) { // the application has said goodbye and does not listen any more
		t.Parallel()
		var dials atomic.Int32
		r := newRig(t, plays(func(a *h2app) {
			a.wants("HEADERS 1", "DATA 1 hello end")
			a.fr.WriteGoAway(0, http2.ErrCodeNo, nil)
			a.drain()
		}), inMemory, overHTTP2, func(r *rig, s *forward.Settings) {
			s.Dial = func(ctx context.Context) (net.Conn, error) {
				if dials.Add(1) > 1 {
					return nil, syscall.ECONNREFUSED
				}
				return r.app.(*pipes).dial(ctx)
			}
		})
		x, _ := exchangetest.New("POST", "/")
		exchangetest.SetBody(x, exchangetest.NewBody("hello"))
		e := exchange.AsError(r.channel.Serve(x))
		if body, ok := x.Request.Body.Buffered(); !e.Resend || !ok || string(body) != "hello" {
			t.Errorf("%v, resend %v, and the body is %q, %v", e, e.Resend, body, ok)
		}
	})
	t.Run("refused for ever", func(t *testing.T) {
		t.Parallel()
		r := newRig(t, plays(func(a *h2app) {
			for i := range uint32(3) {
				a.wants(fmt.Sprintf("HEADERS %d", 2*i+1))
				a.fr.WriteRSTStream(2*i+1, http2.ErrCodeRefusedStream)
			}
			a.drain()
		}), overHTTP2)
		client := r.client()
		client.send(getA)
		client.head()
		if e, _ := r.failure(); !e.Resend || e.Status != 502 {
			t.Errorf("%v, resend %v", e, e.Resend)
		}
	})
}

// An application that speaks something else is told of as that, and is sent
// nothing of a request.
func TestHTTP2Foreign(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(p *peer) {
		p.want("PRI * HTTP/2.0\r\n\r\n")
		p.send("HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
		p.skip(6)
		if rest, _ := p.all(); strings.Contains(rest, "secret") {
			t.Errorf("sent %q", rest)
		}
	}, overHTTP2)
	client := r.client()
	client.send(postA)
	client.head()
	e, f := r.failure()
	report := f.Report()
	if e.Status != 502 || report.Title != "The application does not speak HTTP/2 without TLS" || !strings.Contains(f.Answer, "400 Bad Request") {
		t.Errorf("%v: %+v", e, report)
	}
}

// What a client of HTTP/2 gets for a stream that the application resets before
// it answers: a gRPC call is reset with the codes that mean something there.
func TestHTTP2Reset(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		contentType string
		code        http2.ErrCode
		passed      bool
	}{
		{"application/grpc", http2.ErrCodeCancel, true},
		{"application/grpc+proto", http2.ErrCodeEnhanceYourCalm, true},
		{"application/grpc", http2.ErrCodeConnect, true},
		{"application/grpc", http2.ErrCodeHTTP11Required, true},
		{"application/grpc", http2.ErrCodeInternal, false},
		{"text/plain", http2.ErrCodeCancel, false},
	} {
		t.Run(fmt.Sprint(c.contentType, c.code), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plays(func(a *h2app) { a.wants("HEADERS 1"); a.fr.WriteRSTStream(1, c.code); a.drain() }), overHTTP2)
			client := &http.Transport{Protocols: new(http.Protocols)}
			client.Protocols.SetUnencryptedHTTP2(true)
			defer client.CloseIdleConnections()
			request, err := http.NewRequest("POST", "http://"+r.front.Addr().String(), nil)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", c.contentType)
			response, err := client.RoundTrip(request)
			var reset http2.StreamError
			switch {
			case err == nil:
				response.Body.Close()
				if c.passed || response.StatusCode != 502 {
					t.Errorf("answered %d", response.StatusCode)
				}
			case !c.passed || !errors.As(err, &reset) || reset.Code != c.code:
				t.Errorf("got %v", err)
			}
		})
	}
}

// A client that leaves cancels its stream and no other.
func TestHTTP2ClientLeaves(t *testing.T) {
	t.Parallel()
	for name, head := range map[string]bool{"before the head": false, "after the head": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first, asked, cancelled := make(chan bool), make(chan bool), make(chan bool)
			r := newRig(t, plays(func(a *h2app) {
				a.wants("HEADERS 1")
				close(first)
				a.wants("HEADERS 3")
				if head {
					a.head(1, false, ":status: 200")
					a.fr.WriteData(1, false, []byte("x"))
				}
				close(asked)
				a.wants("RST_STREAM 1 CANCEL")
				close(cancelled)
				a.ok(3)
				a.drain()
			}), overHTTP2)
			leaving, other := r.client(), r.client()
			leaving.send(getA)
			<-first
			other.send(getA)
			<-asked
			if head {
				leaving.want("HTTP/1.1 200 OK\r\n")
			}
			leaving.close()
			<-cancelled
			other.want("HTTP/1.1 200 OK\r\n")
		})
	}
}

// Streams are opened up to what the application allows for, and then on
// another connection.
func TestHTTP2ConcurrentStreams(t *testing.T) {
	t.Parallel()
	var most, now atomic.Int32
	all := make(chan bool)
	r := newRig(t, plays(func(a *h2app) {
		for id := uint32(1); ; {
			got := a.next()
			if got == "end" {
				return
			}
			if !strings.HasPrefix(got, "HEADERS") {
				continue
			}
			if n := now.Add(1); n == 7 {
				close(all)
			}
			most.Store(max(most.Load(), int32(id)))
			if id += 2; id == 5 { // two at once
				<-all
				a.ok(1)
				a.ok(3)
			}
		}
	}, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 2}), overHTTP2)
	for range 7 {
		r.client().send(getA)
	}
	<-all
	if got := r.conns.Load(); got != 4 {
		t.Errorf("%d connections for 7 streams of which 2 may share one, want 4", got)
	}
}

// An application that lets no stream be opened is not asked again and again.
func TestHTTP2NoStreams(t *testing.T) {
	t.Parallel()
	r := newRig(t, plays(func(a *h2app) { a.drain() }, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0}), overHTTP2)
	client := r.client()
	client.send(getA)
	if head := client.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") {
		t.Errorf("client got %q", head)
	}
	if _, f := r.failure(); f == nil || f.Report().Title != "The application did not answer as a web server" || r.conns.Load() != 1 {
		t.Errorf("%v, on %d connections", f, r.conns.Load())
	}
}

// A client that does not read holds up its application, not the memory between,
// and an application that does not read holds up its client.
func TestHTTP2Backpressure(t *testing.T) {
	t.Parallel()
	const total = 32 << 20
	const piece = 16 << 10
	var sent atomic.Int64
	r := newRig(t, plays(func(a *h2app) {
		a.wants("HEADERS 1")
		a.head(1, false, ":status: 200")
		room := make(chan int, 1024) // bytes that Perch lets it send
		go func() {
			window := 128 << 10 // of the stream, by Perch's settings; that of the connection comes back by itself
			for sent.Load() < total {
				for window < piece {
					more, ok := <-room
					if !ok {
						return
					}
					window += more
				}
				window -= piece
				a.fr.WriteData(1, sent.Add(piece) == total, make([]byte, piece))
			}
		}()
		defer close(room)
		for {
			f, err := a.fr.ReadFrame()
			if err != nil {
				return
			}
			if u, ok := f.(*http2.WindowUpdateFrame); ok && u.StreamID == 1 {
				room <- int(u.Increment)
			}
		}
	}), overHTTP2)
	client := r.client()
	client.send(getA)
	client.want("HTTP/1.1 200 OK\r\n")
	client.head()
	stalled := func() bool {
		before := sent.Load()
		time.Sleep(200 * time.Millisecond)
		return before > 0 && sent.Load() == before
	}
	r.until("the application is held up", stalled)
	if got := sent.Load(); got > 16<<20 { // sockets hold some
		t.Errorf("%d bytes were taken for a client that reads nothing", got)
	}
	if body := client.chunked(); len(body) != total {
		t.Errorf("%d bytes came, want %d", len(body), total)
	}
}
