package http2

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"pgregory.net/rapid"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
)

// newServer is a peer that plays the server of a client's Conn, and what a
// driver would be.
func newServer(tb testing.TB, settings ...http2.Setting) *peer {
	p := preparePeer(tb, NewClient(limits, 1))
	preface := p.c.Out(nil)
	if !strings.HasPrefix(string(preface), Preface) {
		tb.Fatalf("began with %q", preface)
	}
	p.sent.Write(preface[len(Preface):])
	p.fr.WriteSettings(settings...)
	p.run()
	if got := p.answered(); !strings.HasPrefix(got[0], "SETTINGS 0 ack false") {
		tb.Fatalf("sent %q", got)
	}
	p.log = nil
	return p
}

// ask opens a stream and returns what was sent for it.
func (p *peer) ask(h RequestHead) (*Stream, string) {
	if p.c.Openable() == 0 {
		p.tb.Fatalf("no stream can be opened")
	}
	s := new(Stream)
	p.c.Open(s, p, &h)
	p.open[s.ID()] = s
	return s, strings.Join(p.answered(), "\n")
}

// askFor opens a stream for a method without a body.
func (p *peer) askFor(method string) *Stream {
	s, _ := p.ask(RequestHead{Method: method, Authority: []byte("a"), Path: []byte("/"), Length: -1, End: true})
	return s
}

func TestRequestHeads(t *testing.T) {
	t.Parallel()
	p := newServer(t)
	fields := []exchange.Field{
		{ID: exchange.Host, Value: []byte("ignored")}, {ID: exchange.Accept, Value: []byte("*/*")},
		{Name: []byte("X-Own"), Value: []byte("1")}, {ID: exchange.Date, Value: []byte("then")},
		{ID: exchange.Connection, Value: []byte("close")}, {ID: exchange.TE, Value: []byte("gzip")},
		{Name: []byte("bad name"), Value: []byte("1")}, {Name: []byte("x-bad"), Value: []byte("a\r\nb: c")},
	}
	for _, c := range []struct {
		head RequestHead
		want string
	}{
		{RequestHead{Method: "GET", Authority: []byte("a:1"), Path: []byte("/p"), Query: []byte("q"), HasQuery: true, Fields: fields, Length: -1, End: true},
			"HEADERS 1 :method=GET :scheme=http :path=/p?q :authority=a:1 accept=*/* x-own=1 date=then end"},
		{RequestHead{Method: "POST", Path: []byte("/"), HasQuery: true, Length: 5, Trailers: true},
			"HEADERS 3 :method=POST :scheme=http :path=/? te=trailers content-length=5"},
		{RequestHead{Method: "GET", Authority: []byte("a"), Path: []byte("/ws"), Protocol: []byte("websocket"), Length: -1},
			"HEADERS 5 :method=CONNECT :scheme=http :path=/ws :authority=a :protocol=websocket"},
	} {
		if _, got := p.ask(c.head); got != c.want {
			t.Errorf("sent %q, want %q", got, c.want)
		}
	}
}

// What a server may answer, and what is malformed (RFC 9113 section 8).
func TestResponses(t *testing.T) {
	t.Parallel()
	heads := func(end bool, fields ...string) func(p *peer) {
		return func(p *peer) { p.headers(1, end, fields...) }
	}
	data := func(end bool, text string) func(p *peer) {
		return func(p *peer) { p.fr.WriteData(1, end, []byte(text)) }
	}
	for _, c := range []struct {
		name   string
		method string
		frames []func(p *peer)
		want   string
	}{
		{"whole", "GET", []func(*peer){heads(false, ":status: 200", "content-length: 5", "x: 1"), data(true, "hello")},
			`response 200 length 5 Content-Length=5 x=1; body "hello" end`},
		{"interim", "GET", []func(*peer){heads(false, ":status: 103", "link: a"), heads(false, ":status: 100"), heads(true, ":status: 204")},
			`response 103 length -1 link=a; response 100 length -1; response 204 length -1 end`},
		{"trailers", "GET", []func(*peer){heads(false, ":status: 200"), data(false, "x"), heads(true, "grpc-status: 0", "content-length: 7")},
			`response 200 length -1; body "x"; body "" grpc-status=0 end`},
		{"head alone", "GET", []func(*peer){heads(true, ":status: 200", "grpc-status: 12")}, `response 200 length -1 grpc-status=12 end`},
		{"HEAD", "HEAD", []func(*peer){heads(true, ":status: 200", "content-length: 5")}, `response 200 length 5 Content-Length=5 end`},
		{"304", "GET", []func(*peer){heads(true, ":status: 304", "content-length: 5")}, `response 304 length 5 Content-Length=5 end`},

		{"body of HEAD", "HEAD", []func(*peer){heads(false, ":status: 200"), data(true, "x")},
			`response 200 length -1; malformed: Content-Length and DATA differ`},
		{"body of 204", "GET", []func(*peer){heads(false, ":status: 204"), data(true, "x")},
			`response 204 length -1; malformed: Content-Length and DATA differ`},
		{"too short", "GET", []func(*peer){heads(false, ":status: 200", "content-length: 2"), data(true, "x")},
			`response 200 length 2 Content-Length=2; malformed: Content-Length and DATA differ`},
		{"too short before a trailer", "GET", []func(*peer){heads(false, ":status: 200", "content-length: 2"), data(false, "x"), heads(true, "a: b")},
			`response 200 length 2 Content-Length=2; body "x"; malformed: Content-Length and DATA differ`},
		{"too long", "GET", []func(*peer){heads(false, ":status: 200", "content-length: 1"), data(false, "xx")},
			`response 200 length 1 Content-Length=1; malformed: Content-Length and DATA differ`},
		{"empty and not", "GET", []func(*peer){heads(true, ":status: 200", "content-length: 1")}, `malformed: Content-Length and DATA differ`},
		{"two lengths", "GET", []func(*peer){heads(true, ":status: 200", "content-length: 1", "content-length: 1")}, `malformed: a Content-Length that is not one number`},
		{"no status", "GET", []func(*peer){heads(true, "x: 1")}, `malformed: no :status`},
		{"two statuses", "GET", []func(*peer){heads(true, ":status: 200", ":status: 200")}, `malformed: a pseudo-header field that came twice`},
		{"status of letters", "GET", []func(*peer){heads(true, ":status: 2oo")}, `malformed: a :status that is not one of HTTP/2`},
		{"101", "GET", []func(*peer){heads(false, ":status: 101")}, `malformed: a :status that is not one of HTTP/2`},
		{"method", "GET", []func(*peer){heads(true, ":status: 200", ":method: GET")}, `malformed: an unknown pseudo-header field`},
		{"interim that ends", "GET", []func(*peer){heads(true, ":status: 100")}, `malformed: an interim response that ends the stream`},
		{"connection", "GET", []func(*peer){heads(true, ":status: 200", "connection: close")}, `malformed: a field that is about the connection: Connection`},
		{"upper case", "GET", []func(*peer){heads(true, ":status: 200", "X: 1")}, `malformed: a field name in upper case`},
		{"line break", "GET", []func(*peer){heads(true, ":status: 200", "x: a\nb")}, `malformed: a field value with a control character`},
		{"too many fields", "GET", []func(*peer){heads(true, append([]string{":status: 200"}, slices.Repeat([]string{"x: 1"}, limits.Head.Count+1)...)...)}, `malformed: ` + http1.TooManyFields.Error()},
		{"trailer in the middle", "GET", []func(*peer){heads(false, ":status: 200"), heads(false, "x: 1")},
			`response 200 length -1; malformed: HEADERS in the middle of a body`},
		{"status in a trailer", "GET", []func(*peer){heads(false, ":status: 200"), heads(true, ":status: 200")},
			`response 200 length -1; malformed: a pseudo-header field behind the body`},
		{"body before a head", "GET", []func(*peer){data(false, "x")}, `malformed: DATA before the head of a response`},

		{"push", "GET", []func(*peer){func(p *peer) {
			p.fr.WritePushPromise(http2.PushPromiseParam{StreamID: 1, PromiseID: 2, EndHeaders: true})
		}}, `connection error 1`},
		{"a stream of its own", "GET", []func(*peer){func(p *peer) { p.headers(2, true, ":status: 200") }}, `connection error 1`},
		{"data on that", "GET", []func(*peer){func(p *peer) { p.fr.WriteData(2, true, nil) }}, `connection error 1`},
		{"an idle stream", "GET", []func(*peer){func(p *peer) { p.headers(3, true, ":status: 200") }}, `connection error 1`},
		{"push switched on", "GET", []func(*peer){func(p *peer) { p.fr.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 1}) }}, `connection error 1`},
		{"beyond the window", "GET", []func(*peer){heads(false, ":status: 200"), func(p *peer) {
			for range 5 {
				p.fr.WriteData(1, false, make([]byte, frameSize))
			}
		}}, `response 200 length -1; ` + strings.Repeat(fmt.Sprintf("body %q; ", make([]byte, frameSize)), 4) + `malformed: DATA beyond the window of the stream`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			p := newServer(t)
			p.askFor(c.method)
			for _, f := range c.frames {
				f(p)
			}
			p.run()
			if got := strings.Join(p.log, "; "); got != c.want {
				t.Errorf("got  %.300s\nwant %.300s", got, c.want)
			}
		})
	}
}

// A server that goes away has not looked at what it does not name.
func TestAway(t *testing.T) {
	t.Parallel()
	p := newServer(t, http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 3})
	if got := p.c.Openable(); got != 3 {
		t.Errorf("%d streams can be opened, want 3", got)
	}
	first, second := p.askFor("GET"), p.askFor("GET")
	if got := p.c.Openable(); got != 1 {
		t.Errorf("%d streams can be opened, want 1", got)
	}
	p.fr.WriteGoAway(maxWindow, 0, nil)
	p.run()
	if p.c.Openable() != 0 || !p.c.Leaving() || p.c.Dropped(first) || p.c.Dropped(second) {
		t.Errorf("after the first GOAWAY: %d can be opened, dropped %v %v", p.c.Openable(), p.c.Dropped(first), p.c.Dropped(second))
	}
	p.fr.WriteGoAway(first.ID(), 0, nil)
	p.headers(first.ID(), true, ":status: 200")
	p.run()
	if p.c.Dropped(first) || !p.c.Dropped(second) || !first.Ended() || p.err != nil {
		t.Errorf("after the second: dropped %v %v, %v", p.c.Dropped(first), p.c.Dropped(second), p.err)
	}
	p.c.Release(second)
	if got := p.answered(); len(got) != 1 || got[0] != "RST_STREAM 3 CANCEL" {
		t.Errorf("sent %q", got)
	}
	p.c.GoAway(&Error{Code: NoError})
	if got := p.answered(); len(got) != 1 || p.c.Streams() != 1 {
		t.Errorf("sent %q, %d streams", got, p.c.Streams())
	}
}

// Frames that ask for nothing end the patience with a server too; those that
// answer what was asked do not.
func TestServerFloods(t *testing.T) {
	t.Parallel()
	for name, flood := range map[string]func(p *peer){
		"settings": func(p *peer) { p.fr.WriteSettings() },
		"pings":    func(p *peer) { p.fr.WritePing(false, [8]byte{}) },
		"empty":    func(p *peer) { p.fr.WriteData(1, false, nil) },
		"windows":  func(p *peer) { p.fr.WriteWindowUpdate(0, 1) },
		"strays":   func(p *peer) { p.fr.WriteRSTStream(1, 0) },
	} {
		p := newServer(t)
		p.askFor("GET")
		p.headers(1, false, ":status: 200")
		for range 2 * limits.Calm {
			flood(p)
		}
		p.run()
		if e, ok := p.err.(*Error); !ok || e.Code != EnhanceYourCalm {
			t.Errorf("%s: %v", name, p.err)
		}
	}
	p := newServer(t)
	for i := range uint32(10 * limits.Calm) {
		s := p.askFor("GET")
		p.fr.WriteRSTStream(1+2*i, http2.ErrCodeRefusedStream)
		p.run()
		p.c.Release(s)
		delete(p.open, s.ID())
	}
	if p.err != nil {
		t.Errorf("a server that refuses: %v", p.err)
	}
}

// answers is RFC 9113 section 5.1 as a table, for streams that we opened: what
// a frame of the server does, and how we answer.
func answers(state, kind string, end bool) (next, want string) {
	switch state + " " + kind {
	case "asked HEADERS":
		if end {
			return "over", ""
		}
		return "answered", ""
	case "asked DATA":
		return "reset by us", "stream PROTOCOL_ERROR"
	case "answered HEADERS":
		if end {
			return "over", ""
		}
		return "reset by us", "stream PROTOCOL_ERROR"
	case "answered DATA":
		if end {
			return "over", ""
		}
	case "asked RST_STREAM", "answered RST_STREAM":
		return "over", ""
	}
	return state, "" // what comes late is let pass
}

// Any sequence of frames, and of cancellations meanwhile, brings every stream
// to the state of the model, and every frame to its error.
func TestClientStreamStates(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newServer(fatal{T: nil, r: t})
		state := map[uint32]string{}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			if len(state) < 4 && rapid.Bool().Draw(t, "ask") {
				state[p.askFor("GET").ID()] = "asked"
				continue
			}
			id := rapid.SampledFrom([]uint32{1, 3, 5, 7}).Draw(t, "stream")
			if s := p.open[id]; s != nil && rapid.IntRange(0, 4).Draw(t, "cancel") == 0 {
				p.c.Reset(s, Cancel)
				if state[id] != "over" {
					state[id] = "reset by us"
				}
				p.answered()
				continue
			}
			kind := rapid.SampledFrom([]string{"HEADERS", "DATA", "RST_STREAM", "WINDOW_UPDATE"}).Draw(t, "frame")
			end := rapid.Bool().Draw(t, "end")
			var want string
			if state[id] == "" {
				want = "connection PROTOCOL_ERROR"
			} else {
				state[id], want = answers(state[id], kind, end)
			}
			switch kind {
			case "HEADERS":
				fields := []string{"x: 1"}
				if p.open[id] != nil && !p.open[id].answered {
					fields = append([]string{":status: 200"}, fields...)
				}
				p.headers(id, end, fields...)
			case "DATA":
				p.fr.WriteData(id, end, []byte("hello"))
			case "RST_STREAM":
				p.fr.WriteRSTStream(id, http2.ErrCodeCancel)
			case "WINDOW_UPDATE":
				p.fr.WriteWindowUpdate(id, 1)
			}
			p.run()
			got := ""
			for _, f := range p.answered() {
				if code, ok := strings.CutPrefix(f, fmt.Sprintf("RST_STREAM %d ", id)); ok {
					got = "stream " + code
				}
			}
			if e, ok := p.err.(*Error); ok {
				got = "connection " + http2.ErrCode(e.Code).String()
			}
			if got != want {
				t.Fatalf("%s on stream %d, end %v: %q, want %q; states %v", kind, id, end, got, want, state)
			}
			if p.err != nil {
				return
			}
			open := 0
			for id, s := range p.open {
				if state[id] == "asked" || state[id] == "answered" {
					open++
				}
				if (state[id] == "reset by us") != s.Reset() && state[id] != "over" {
					t.Fatalf("stream %d is %s, reset %v", id, state[id], s.Reset())
				}
			}
			if p.c.open != open || p.c.Openable() == 0 {
				t.Fatalf("%d streams count as open, want %d: %v", p.c.open, open, state)
			}
		}
	})
}

// What a server sends within its windows is taken, and the connection's window
// comes back whatever becomes of it: a stream that is not read holds up none.
func TestClientWindows(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		p := newServer(fatal{r: t})
		window := map[uint32]int32{0: limits.ConnWindow}
		held := map[uint32]int32{}
		for _, id := range []uint32{1, 3, 5} {
			p.askFor("GET")
			p.headers(id, false, ":status: 200")
			window[id] = limits.StreamWindow
		}
		p.run()
		for range rapid.IntRange(1, 80).Draw(t, "steps") {
			id := rapid.SampledFrom([]uint32{1, 3, 5}).Draw(t, "stream")
			if rapid.IntRange(0, 2).Draw(t, "send") > 0 {
				n := min(rapid.Int32Range(1, frameSize).Draw(t, "bytes"), window[0], window[id])
				if n == 0 {
					continue
				}
				p.fr.WriteData(id, false, make([]byte, n))
				window[0], window[id], held[id] = window[0]-n, window[id]-n, held[id]+n
				p.run()
			} else {
				p.c.Taken(p.open[id], int(held[id]))
				held[id] = 0
			}
			for _, f := range p.answered() {
				var on, n uint32
				if _, err := fmt.Sscanf(f, "WINDOW_UPDATE %d %d", &on, &n); err == nil {
					window[on] += int32(n)
				}
			}
			if p.err != nil {
				t.Fatal(p.err)
			}
			if window[0] != p.c.receive || window[0]+p.c.returned != limits.ConnWindow || p.c.returned >= limits.ConnWindow/2 {
				t.Fatalf("connection: the server has %d, we %d and %d not returned", window[0], p.c.receive, p.c.returned)
			}
			if s := p.open[id]; window[id] != s.receive || window[id]+held[id]+s.returned != limits.StreamWindow {
				t.Fatalf("stream %d: the server has %d, we %d; %d held, %d not returned", id, window[id], s.receive, held[id], s.returned)
			}
		}
	})
}

// FuzzAnswers feeds anything to a client's end that a driver works with:
// nothing panics, what is sent stays in proportion and is well formed, and what
// is counted is what there is.
func FuzzAnswers(f *testing.F) {
	seed := func(write func(p *peer)) {
		p := newServer(f)
		write(p)
		f.Add(append([]byte(nil), p.in.Bytes()...))
	}
	seed(func(p *peer) {
		p.headers(1, false, ":status: 200", "content-length: 5")
		p.fr.WriteDataPadded(1, false, []byte("he"), []byte{0, 0})
		p.fr.WriteData(1, true, []byte("llo"))
	})
	seed(func(p *peer) {
		p.headers(3, false, ":status: 103", "link: a")
		p.headers(3, false, ":status: 200")
		p.fr.WriteData(3, false, []byte("message"))
		p.headers(3, true, "grpc-status: 0")
		p.fr.WriteRSTStream(3, 0)
	})
	seed(func(p *peer) {
		p.fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1}, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 3})
		p.fr.WriteGoAway(1, http2.ErrCodeNo, []byte("bye"))
		b := p.encode(":status: 200", "set-cookie: a", "set-cookie: b")
		p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: b[:3]})
		p.fr.WriteContinuation(1, true, b[3:])
		p.fr.WriteWindowUpdate(0, 100)
		p.fr.WritePing(false, [8]byte{1})
		p.fr.WriteRSTStream(5, http2.ErrCodeRefusedStream)
	})
	f.Fuzz(func(t *testing.T, in []byte) {
		p := newServer(t)
		p.askFor("GET")
		p.askFor("HEAD")
		p.ask(RequestHead{Method: "POST", Path: []byte("/"), Length: -1})
		p.in.Write(in)
		for p.err == nil {
			if err := p.c.Next(); err != nil {
				if err != io.EOF && err != io.ErrUnexpectedEOF {
					t.Fatalf("Next: %v", err)
				}
				break
			}
			ev, err := p.c.Take(p.now)
			p.err = err
			p.event(ev)
			if ev.Kind == Body {
				p.c.Taken(ev.Stream, len(ev.Data))
			}
			for id, s := range p.open {
				if n, _ := p.c.Sendable(s); !s.Closed() {
					p.c.Data(s, make([]byte, min(n, 100)), s.Ended())
				}
				if s.Ended() || s.Reset() || p.c.Dropped(s) {
					p.c.Release(s)
					delete(p.open, id)
					if p.c.Openable() > 0 {
						p.askFor("GET")
					}
				}
			}
		}
		var e *Error
		if p.err != nil && !errors.As(p.err, &e) {
			t.Fatalf("%v is no *Error", p.err)
		}
		if p.c.open != len(p.c.streams) || p.c.held != len(p.open) {
			t.Fatalf("open %d, in the table %d, held %d of %d", p.c.open, len(p.c.streams), p.c.held, len(p.open))
		}
		if n, most := p.c.Pending(), 400*len(in)+10_000; n > most {
			t.Fatalf("%d bytes to send for %d", n, len(in))
		}
		p.answered()
	})
}
