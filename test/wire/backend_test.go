package wire

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// answers are what a backend may send, and what the client must get of it.
var answers = []struct {
	name  string
	steps []string
	want  string // status and body, "cut" if the body must not look whole
}{
	{"Plain", []string{`send "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"`}, "200 hello"},
	{"Chunked", []string{`send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"`}, "200 hello"},
	{"UntilClose", []string{`send "HTTP/1.1 200 OK\r\n\r\nhello"`, "close"}, "200 hello"},
	{"HTTP10", []string{`send "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello"`, "close"}, "200 hello"},
	{"EmptyReason", []string{`send "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n"`}, "999 "},
	{"NoContent", []string{`send "HTTP/1.1 204 No Content\r\n\r\n"`}, "204 "},
	{"NotModified", []string{`send "HTTP/1.1 304 Not Modified\r\nContent-Length: 50\r\n\r\n"`}, "304 "},
	{"Interim", []string{`send "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"`}, "200 ok"},
	{"SlowPieces", []string{`send "HTT"`, "pause 20", `send "P/1.1 200 OK\r\nContent-Le"`, "pause 20", `send "ngth: 2\r\n\r\no"`, "pause 20", `send "k"`}, "200 ok"},
	{"EqualLengths", []string{`send "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok"`}, "200 ok|502 "},

	{"Garbage", []string{`send "certainly not HTTP\r\n\r\n"`, "close"}, "502 "},
	{"NoVersion", []string{`send "200 OK\r\n\r\n"`, "close"}, "502 "},
	{"BadStatus", []string{`send "HTTP/1.1 2x0 OK\r\n\r\n"`, "close"}, "502 "},
	{"ShortStatus", []string{`send "HTTP/1.1 20 OK\r\n\r\n"`, "close"}, "502 "},
	{"Nothing", []string{"close"}, "502 "},
	{"HalfHead", []string{`send "HTTP/1.1 200 OK\r\nContent-Le"`, "close"}, "502 "},
	{"Reset", []string{"reset"}, "502 "},
	{"BadField", []string{`send "HTTP/1.1 200 OK\r\nbad field: 1\r\nContent-Length: 0\r\n\r\n"`}, "502 "},
	{"NulInField", []string{`send "HTTP/1.1 200 OK\r\nX-A: 1\x002\r\nContent-Length: 0\r\n\r\n"`}, "502 "},
	{"LengthAndChunked", []string{`send "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"`}, "502 "},
	{"TwoLengths", []string{`send "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"`}, "502 "},
	{"BadLength", []string{`send "HTTP/1.1 200 OK\r\nContent-Length: five\r\n\r\nhello"`}, "502 "},
	{"HugeHead", []string{`send "HTTP/1.1 200 OK\r\n"`, `repeat 30000 "X-A: 0123456789\r\n"`, `send "\r\n"`, "close"}, "502 "},
	{"UnaskedUpgrade", []string{`send "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n"`, "close"}, "502 "},

	{"ShortBody", []string{`send "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"`, "close"}, "cut"},
	{"ShortChunk", []string{`send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n50\r\nhello"`, "close"}, "cut"},
	{"NoLastChunk", []string{`send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"`, "close"}, "cut"},
	{"BadChunk", []string{`send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n"`, "close"}, "cut"},
	{"ResetInBody", []string{`send "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello"`, "pause 20", "reset"}, "cut"},
}

func TestAnswersOfABackend(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	for _, c := range answers {
		t.Run(c.name, func(t *testing.T) {
			conn := h.With(t).Dial()
			conn.Send(strings.Replace(get("/", harness.Script(c.steps...)), "GET", "POST", 1))
			r := conn.Response("POST")
			if c.want == "cut" {
				if r.Err == nil && r.StatusCode < 500 {
					t.Errorf("a response that was cut looks whole: %s", status(r))
				}
				return
			}
			got := status(r)
			ok := false
			for want := range strings.SplitSeq(c.want, "|") {
				// The body of a 502 is the error page.
				ok = ok || got == want || want == "502 " && strings.HasPrefix(got, want)
			}
			if !ok || r.Err != nil {
				t.Errorf("got %.200q, %v; want %q", got, r.Err, c.want)
			}
			if r.StatusCode == 502 && !strings.Contains(got, "502.3") {
				t.Errorf("page %.300q does not say 502.3", got)
			}
		})
	}
	if r := h.Get("/"); r.StatusCode != 200 {
		t.Errorf("at last answered %d", r.StatusCode)
	}
}

// A backend that sends more than it announced cannot put a response into the
// next exchange.
func TestSurplusIsNotTheNextResponse(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	conn := h.Dial()
	for range 5 {
		conn.Send(get("/", harness.Script(`send "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison"`)))
		if r := conn.Response("GET"); r.Text() != "ok" {
			t.Fatalf("got %s", status(r))
		}
		conn.Send("GET /plain HTTP/1.1\r\nHost: a\r\n\r\n")
		if r := conn.Response("GET"); !strings.HasPrefix(r.Text(), "GET /plain") {
			t.Fatalf("got %s", status(r))
		}
	}
}

func TestHeadAnswers(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	conn := h.Dial()
	for _, head := range []string{"Content-Length: 500", "Transfer-Encoding: chunked"} {
		conn.Send(strings.Replace(get("/", harness.Script(fmt.Sprintf("send %q", "HTTP/1.1 200 OK\r\n"+head+"\r\n\r\n"))), "GET", "HEAD", 1))
		if r := conn.Response("HEAD"); r.StatusCode != 200 || len(r.Bytes) != 0 {
			t.Errorf("%s: %s", head, status(r))
		}
	}
	conn.Send("GET /next HTTP/1.1\r\nHost: a\r\n\r\n")
	if r := conn.Response("GET"); !strings.HasPrefix(r.Text(), "GET /next") {
		t.Errorf("behind HEAD: %s", status(r))
	}
}

func TestInterimResponsesArePassedOn(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	conn := h.Dial()
	conn.Send(get("/", harness.Script(
		`send "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"`, "pause 20",
		`send "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"`)))
	if r := conn.Response("GET"); r.StatusCode != 103 || r.Header.Get("Link") == "" {
		t.Errorf("first came %s %v, want 103 with Link", status(r), r.Header)
	}
	if r := conn.Response("GET"); status(r) != "200 ok" {
		t.Errorf("then came %s", status(r))
	}
	// HTTP/1.0 knows no interim responses.
	conn = h.Dial()
	conn.Send(strings.Replace(get("/", harness.Script(`send "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"`)), "HTTP/1.1", "HTTP/1.0", 1))
	if got := conn.All(); strings.Contains(got, "103") {
		t.Errorf("HTTP/1.0 got %q", got)
	}
}

func TestContinueOfABackend(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	conn := h.Dial()
	conn.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n" +
		harness.Script(`send "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno"`, "close") + "\r\n\r\n")
	// The client may or may not be asked for the body; it gets the answer.
	r := conn.Response("POST")
	if r.StatusCode == 100 {
		conn.Send("hello")
		r = conn.Response("POST")
	}
	if r.StatusCode != 403 {
		t.Errorf("got %s", status(r))
	}
}

// The design's rule: a GET, HEAD or OPTIONS without a body and without a
// response byte is sent once more, everything else only when no byte of it was
// written.
func TestResending(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	for _, c := range []struct {
		method, name, extra string
		steps               []string
		want                string // number of times that the backend got it
	}{
		{"GET", "get", "", []string{"close"}, "2"},
		{"HEAD", "head", "", []string{"close"}, "2"},
		{"OPTIONS", "options", "", []string{"reset"}, "2"},
		{"POST", "post", "Content-Length: 0\r\n", []string{"close"}, "1"},
		{"DELETE", "delete", "", []string{"close"}, "1"},
		{"PUT", "put", "Content-Length: 2\r\n", []string{"body 2", "close"}, "1"},
		{"GET", "get-body", "Content-Length: 2\r\n", []string{"body 2", "close"}, "1"},
		{"GET", "get-begun", "", []string{`send "H"`, "close"}, "1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h := h.With(t)
			h.Get("/warm") // so that the connection to the backend is used again
			conn := h.Dial()
			body := ""
			if c.extra == "Content-Length: 2\r\n" {
				body = "xx"
			}
			conn.Send(c.method + " / HTTP/1.1\r\nHost: a\r\nName: " + c.name + "\r\n" + c.extra + harness.Script(c.steps...) + "\r\n\r\n" + body)
			if r := conn.Response(c.method); r.StatusCode != 502 {
				t.Errorf("answered %s, want 502", status(r))
			}
			if got := h.Get("/count?name=" + c.name).Text(); got != c.want {
				t.Errorf("the backend got the request %s times, want %s", got, c.want)
			}
		})
	}
}

func TestConnectionsToTheBackendAreKept(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	conn := h.Dial()
	for range 20 {
		conn.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		conn.Response("GET")
	}
	var all []string
	h.JSON("/recorded", &all)
	used := 0
	for _, c := range all {
		if c != "" {
			used++
		}
	}
	if used > 2 {
		t.Errorf("20 requests in a row used %d connections to the backend", used)
	}
}

// connectionOf returns the number of the connection to the backend on which a
// request with this name came.
func connectionOf(t *testing.T, h *harness.Host, name string) int {
	t.Helper()
	var all []string
	h.JSON("/recorded", &all)
	for i, text := range all {
		if strings.Contains(text, "Name: "+name+"\r\n") {
			return i
		}
	}
	t.Fatalf("no connection with a request named %s", name)
	return 0
}

// An idle connection may be closed by the application at any moment. What may
// not be sent twice does not go on one that was idle for over a second, and
// the time that the application grants is kept, less a second.
func TestIdleConnectionsToTheBackend(t *testing.T) {
	t.Parallel()
	const granted = `send "HTTP/1.1 200 OK\r\nKeep-Alive: timeout=2\r\nContent-Length: 0\r\n\r\n"`
	for _, c := range []struct {
		name, method, script string
		same                 bool
	}{
		{"post", "POST", "echo", false},
		{"get", "GET", "echo", true},
		{"granted", "GET", granted, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := start(t, harness.WebConfig{})
			conn := h.Dial()
			ask := func(name string) {
				conn.Send(c.method + " / HTTP/1.1\r\nHost: a\r\nName: " + name + "\r\n" + harness.Script(c.script) + "\r\nContent-Length: 0\r\n\r\n")
				if r := conn.Response(c.method); r.StatusCode != 200 {
					t.Fatalf("answered %s", status(r))
				}
			}
			ask("first")
			<-time.After(1300 * time.Millisecond) // the idle time that the rule is about
			ask("second")
			if same := connectionOf(t, h, "first") == connectionOf(t, h, "second"); same != c.same {
				t.Errorf("the same connection after 1.3 s: %v, want %v", same, c.same)
			}
		})
	}
}

// Whatever clients and backends do, the host keeps nothing of it.
func TestNothingLeaks(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	h.Get("/")
	before := harness.Descriptors(h.Pid)
	scripts := []string{"reset", "close", `send "garbage"`, `send "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf"`, "hold", "echo"}
	for i := range 120 {
		c := h.Dial()
		c.Send("POST / HTTP/1.1\r\nHost: a\r\n" + harness.Script(scripts[i%len(scripts)]) + "\r\nContent-Length: 10\r\n\r\nhalf")
		if i%2 == 0 {
			c.SetLinger(0)
		}
		c.Close()
	}
	harness.Eventually(t, func() bool { return harness.Descriptors(h.Pid) <= before+8 },
		"the host has %d open files, as before, and a few connections to the backend", before)
	if r := h.Get("/"); r.StatusCode != 200 {
		t.Errorf("answered %s", status(r))
	}
}

func TestRequestTimeout(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Attrs: map[string]string{"requestTimeout": "00:00:01"}})
	h.Get("/ready")
	began := time.Now()
	r := h.Do("GET", "/", []string{harness.Script("hold"), "Name: silent"}, nil)
	if took := time.Since(began); r.StatusCode != 502 || took < 900*time.Millisecond || took > 10*time.Second {
		t.Errorf("a silent backend: %d after %v, want 502 after a second", r.StatusCode, took)
	}
	if got := h.Get("/count?name=silent").Text(); got != "1" {
		t.Errorf("the request that timed out was sent %s times", got)
	}
	// The limit is one of idleness: a response that goes on lives longer.
	steps := []string{`send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"`}
	for range 5 {
		steps = append(steps, "pause 500", `send "2\r\nok\r\n"`)
	}
	r = h.Do("GET", "/", []string{harness.Script(append(steps, `send "0\r\n\r\n"`)...)}, nil)
	if r.Text() != "okokokokok" || r.Err != nil {
		t.Errorf("a slow response: %s, %v", status(r), r.Err)
	}
	// One that stops in the middle is cut.
	r = h.Do("GET", "/", []string{harness.Script(`send "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"`, "hold")}, nil)
	if r.Err == nil {
		t.Errorf("a response that stopped looks whole: %s", status(r))
	}
}

func TestClientAbortReachesTheBackend(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	for name, steps := range map[string][]string{
		"silent": {"hold"},
		"begun":  {`send "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nok"`, "hold"},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			h.TryContext(ctx, "GET", "/", []string{harness.Script(steps...), "Name: " + name}, nil)
		}()
		harness.Eventually(t, func() bool { return h.Get("/count?name="+name).Text() == "1" }, "the backend has the request")
		cancel()
		<-ended
		harness.Within(t, 5*time.Second, func() bool { return h.Get("/closed?name="+name).Text() == "true" },
			"%s: the connection to the backend is closed when the client has gone", name)
	}
}

// A backend that answers and does not read must not block the exchange.
func TestAnswerBeforeTheBody(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	conn := h.Dial()
	conn.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 25000000\r\n" +
		harness.Script(`send "HTTP/1.1 413 Too Large\r\nContent-Length: 4000000\r\nConnection: close\r\n\r\n"`, `repeat 4000 "`+strings.Repeat("x", 1000)+`"`, "pause 200", "close") + "\r\n\r\n")
	go io.Copy(conn, strings.NewReader(strings.Repeat("y", 25_000_000)))
	if r := conn.Response("POST"); r.StatusCode != 413 || len(r.Bytes) != 4_000_000 {
		t.Errorf("answered %d with %d bytes, %v", r.StatusCode, len(r.Bytes), r.Err)
	}
}

func TestUpgradeOfAnyProtocol(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	conn := h.Dial()
	conn.Send("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" +
		harness.Script(`send "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x00first"`,
			`until "ping\xff"`, `send "\x01pong"`, "close") + "\r\n\r\n")
	r := conn.Response("GET")
	if r.StatusCode != 101 {
		t.Fatalf("answered %s", status(r))
	}
	first := make([]byte, 6)
	if _, err := io.ReadFull(conn.In, first); err != nil || string(first) != "\x00first" {
		t.Fatalf("read %q, %v", first, err)
	}
	conn.Send("ping\xff")
	if got := conn.All(); got != "\x01pong" {
		t.Errorf("read %q to the end", got)
	}
}
