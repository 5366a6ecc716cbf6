package limits

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// little are sizes that a test can reach, small times as well, none of them a
// default.
const little = `maxRequestLineSize="80" maxRequestHeadersTotalSize="300" maxRequestHeaderCount="5" `

const small = little + `headerWaitTimeout="00:00:01" connectionTimeout="00:00:03" drainTimeout="00:00:02"
	minBytesPerSecond="1000000" minBytesGracePeriod="00:00:01"`

// head is the head of a request whose line has so many bytes, and whose
// fields so many bytes in so many lines, CRLFs counted.
func head(method string, line, size, count int, fields ...string) string {
	first := method + " /upload? HTTP/1.1\r\n"
	first = strings.Replace(first, "?", "?"+strings.Repeat("a", max(0, line-len(first))), 1)
	lines := append([]string{"Host: a"}, fields...)
	for len(lines) < count {
		lines = append(lines, fmt.Sprintf("X%d: y", len(lines)))
	}
	all := strings.Join(lines, "\r\n") + "\r\n"
	if lack := size - len(all); lack > 0 {
		all = strings.TrimSuffix(all, "\r\n") + strings.Repeat("z", lack) + "\r\n"
	}
	return first + all + "\r\n"
}

// Every limit lets through what is exactly at it, and refuses one byte, field
// or second more with its own status. Whoever is refused can read it, though
// it sends more than any socket holds before it looks.
func TestStatuses(t *testing.T) {
	t.Parallel()
	h := start(t, little+`drainTimeout="00:00:30"`) // in which a refused client has to be done
	h.Get("/")
	const over = 100_001
	for _, c := range []struct {
		name, request string
		want          int
	}{
		{"line at the limit", head("GET", 80, 0, 2), 200},
		{"line too long", head("GET", 81, 0, 2), 414},
		{"line without an end", "GET /" + strings.Repeat("a", 200), 414},
		{"fields at the limit", head("GET", 0, 300, 2), 200},
		{"fields too large", head("GET", 0, 301, 2), 431},
		{"fields without an end", "GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 1000), 431},
		{"as many fields as allowed", head("GET", 0, 0, 5), 200},
		{"too many fields", head("GET", 0, 0, 6), 431},
		{"body at the limit", head("POST", 0, 0, 0, "Content-Length: 100000") + strings.Repeat("x", 100_000), 200},
		{"body too large", head("POST", 0, 0, 0, fmt.Sprintf("Content-Length: %d", over)), 413},
		{"chunks at the limit", head("POST", 0, 0, 0, "Transfer-Encoding: chunked") + "186a0\r\n" + strings.Repeat("x", 100_000) + "\r\n0\r\n\r\n", 200},
		{"chunks too large", head("POST", 0, 0, 0, "Transfer-Encoding: chunked") + "186a1\r\n" + strings.Repeat("x", over) + "\r\n0\r\n\r\n", 413},
		{"malformed", "GET / HTTP/1.1\r\nHost : a\r\n\r\n", 400},
		{"bad chunk", head("POST", 0, 0, 0, "Transfer-Encoding: chunked") + "x\r\n", 400},
		{"unknown coding", head("POST", 0, 0, 0, "Transfer-Encoding: gzip, chunked"), 501},
		{"unknown version", "GET / HTTP/3.0\r\nHost: a\r\n\r\n", 505},
	} {
		t.Run(c.name, func(t *testing.T) {
			conn := h.With(t).Dial()
			conn.Send(c.request)
			if c.want != 200 { // a reset would fail this, or lose the answer
				for range 128 {
					conn.Send(strings.Repeat("x", 64<<10))
				}
			}
			r := conn.Response("POST")
			if r.StatusCode != c.want || r.Close != (c.want != 200) || r.Err != nil {
				t.Errorf("answered %s, close %v, %v; want %d", harness.Describe(r.StatusCode, r.Bytes), r.Close, r.Err, c.want)
			}
		})
	}
}

// What does not come in time is refused with 408, or, where nothing was
// asked, closed without a word. Never early.
func TestTimes(t *testing.T) {
	t.Parallel()
	h := start(t, small)
	h.Get("/")
	for _, c := range []struct {
		name, request string
		want          int // 0: no answer
		after         time.Duration
	}{
		{"head does not end", "GET / HTTP/1.1\r\nHost: a\r\n", 408, time.Second},
		{"body does not come", head("POST", 0, 0, 0, "Content-Length: 10") + "x", 408, time.Second},
		{"chunk does not come", head("POST", 0, 0, 0, "Transfer-Encoding: chunked") + "5\r\nhel", 408, time.Second},
		{"body behind 100-continue", head("POST", 0, 0, 0, "Content-Length: 10", "Expect: 100-continue"), 408, time.Second},
		{"nothing asked", "", 0, 3 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			conn := h.With(t).Dial()
			conn.Send(c.request)
			all := conn.All()
			took := time.Since(begin)
			all = strings.TrimPrefix(all, "HTTP/1.1 100 Continue\r\n\r\n")
			want := ""
			if c.want != 0 {
				want = fmt.Sprintf("HTTP/1.1 %d ", c.want)
			}
			if !strings.HasPrefix(all, want) || want == "" && all != "" {
				t.Errorf("%.200q after %v, want %q", all, took, want)
			}
			harness.AtLeast(t, c.after, took)
		})
	}
	t.Run("idle between requests", func(t *testing.T) {
		t.Parallel()
		conn, begin := h.With(t).Dial(), time.Now()
		conn.Send(head("GET", 0, 0, 0))
		conn.Response("GET")
		if rest := conn.All(); rest != "" {
			t.Errorf("%q after %v", rest, time.Since(begin))
		}
		harness.AtLeast(t, 3*time.Second, time.Since(begin))
	})
}

// A client that goes on sending after a refusal is heard for the drain time.
func TestDrain(t *testing.T) {
	t.Parallel()
	h := start(t, small)
	conn, begin := h.Dial(), time.Now()
	conn.Send("GET / HTTP/3.0\r\n\r\n")
	if r := conn.Response("GET"); r.StatusCode != 505 {
		t.Errorf("status %d", r.StatusCode)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range tick.C {
		if _, err := io.WriteString(conn, "x"); err != nil {
			break
		}
	}
	harness.AtLeast(t, 2*time.Second, time.Since(begin))
}

// A client that does not take its response is cut, and with it what the
// application does for it.
func TestSlowReader(t *testing.T) {
	t.Parallel()
	h := start(t, small)
	conn := h.Dial()
	conn.Send(head("GET", 0, 0, 0)) // the connection to the application is used again, and cut too
	conn.Response("GET")
	begin := time.Now()
	conn.Send("GET /download?bytes=1000000000 HTTP/1.1\r\nHost: a\r\n\r\n")
	harness.Eventually(t, func() bool { return h.Established() >= 2 }, "a connection on both sides")
	harness.Eventually(t, func() bool { return h.Established() == 0 }, "no connection on either side")
	harness.AtLeast(t, time.Second, time.Since(begin)) // the grace
	r, err := http.ReadResponse(conn.In, nil)
	if err != nil {
		return // it was reset, with what was on its way
	}
	if n, err := io.Copy(io.Discard, r.Body); err == nil {
		t.Errorf("%d bytes came in good order", n)
	}
}

// New limits hold for connections that come, those that are open are left
// alone.
func TestReload(t *testing.T) {
	t.Parallel()
	h := start(t, `maxRequestHeaderCount="5"`)
	before, six := h.Dial(), head("GET", 0, 0, 6)
	before.Send(head("GET", 0, 0, 5))
	before.Response("GET")
	if r := h.Dial().Send(six).Response("GET"); r.StatusCode != 431 {
		t.Fatalf("at first: %d, want 431", r.StatusCode)
	}
	harness.WebConfig{Limits: `maxRequestHeaderCount="6"`}.Write(t, h.Dir)
	harness.Eventually(t, func() bool { return h.Dial().Send(six).Response("GET").StatusCode == 200 }, "six fields are allowed")
	before.Send(six)
	if r := before.Response("GET"); r.StatusCode != 431 {
		t.Errorf("on the connection from before: %d, want 431", r.StatusCode)
	}

	// A limit that nobody can mean leaves the others in force.
	harness.WebConfig{Limits: `maxRequestHeaderCount="0"`}.Write(t, h.Dir)
	h.AwaitStderr("maxRequestHeaderCount cannot be 0", "a number from 1 to 10000")
	if out, _, code := harness.Command(t, h.Dir, "check"); code != 1 || !strings.Contains(out, "a number from 1 to 10000") {
		t.Errorf("perch check: code %d, %s", code, out)
	}
	if r := h.Dial().Send(six).Response("GET"); r.StatusCode != 200 {
		t.Errorf("after a mistake in the file: %d, want 200", r.StatusCode)
	}
}
