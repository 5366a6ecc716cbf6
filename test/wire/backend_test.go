package wire

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

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
	h := start(t, harness.WebConfig{Attrs: map[string]string{"requestTimeout": "00:00:03"}})
	h.Get("/ready")
	const limit = 3 * time.Second
	began := time.Now()
	r := h.Do("GET", "/", []string{harness.Script("hold"), "Name: silent"}, nil)
	took := time.Since(began)
	if r.StatusCode != 502 || took > 5*limit {
		t.Errorf("a silent backend: %d after %v, want 502 after %v", r.StatusCode, took, limit)
	}
	if got := h.Get("/count?name=silent").Text(); got != "1" {
		t.Errorf("the request that timed out was sent %s times", got)
	}
	harness.AtLeast(t, limit, took)
	// The limit is one of idleness: a response that goes on lives longer.
	steps := []string{`send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"`}
	for range 5 {
		steps = append(steps, "pause 1000", `send "2\r\nok\r\n"`)
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
		harness.Eventually(t, func() bool { return h.Get("/closed?name="+name).Text() == "true" },
			"%s: the connection to the backend is closed when the client has gone", name)
	}
}

// What has come of a response when its connection is reset depends on who is
// faster; it must never look whole.
func TestResetInABody(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	for _, framing := range []string{`Content-Length: 50\r\n\r\nhello`, `Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n`, `\r\nhello`} {
		conn := h.Dial()
		conn.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n" + harness.Script(`send "HTTP/1.1 200 OK\r\n`+framing+`"`, "pause 20", "reset") + "\r\n\r\n")
		if r := conn.Response("POST"); r.Err == nil && r.StatusCode != 502 {
			t.Errorf("%s: a response that was cut looks whole: %s", framing, status(r))
		}
	}
}

// A backend that answers and does not read must not block the exchange.
func TestAnswerBeforeTheBody(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	conn := h.Dial()
	conn.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 25000000\r\n" +
		harness.Script(`send "HTTP/1.1 413 Too Large\r\nContent-Length: 4000000\r\nConnection: close\r\n\r\n"`, `repeat 4000 "`+strings.Repeat("x", 1000)+`"`, "pause 30000", "close") + "\r\n\r\n")
	go io.Copy(conn, strings.NewReader(strings.Repeat("y", 25_000_000)))
	if r := conn.Response("POST"); r.StatusCode != 413 || len(r.Bytes) != 4_000_000 {
		t.Errorf("answered %d with %d bytes, %v", r.StatusCode, len(r.Bytes), r.Err)
	}
}
