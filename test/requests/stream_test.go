package requests

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// streamCases are about bodies that come in pieces, and about clients that
// leave.
var streamCases = []exchangeCase{
	{name: "StreamReachesTheClientAtOnce", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		// The last piece is due after minutes: what is read came before.
		for _, c := range []struct{ target, first string }{
			{"/stream?n=2&ms=300000", "piece 0\n"},
			{"/sse?n=2&ms=300000", "data: 0\n"},
			{"/hang?head=1&id=stream", "begun\n"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
			res := h.Open(ctx, "GET", c.target, nil)
			line, err := bufio.NewReader(res.Body).ReadString('\n')
			if err != nil || line != c.first {
				t.Errorf("%s: read %q, %v", c.target, line, err)
			}
			cancel()
			res.Body.Close()
		}
	}},
	{name: "StreamEnds", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		if r := h.Get("/stream?n=5&ms=5"); r.Text() != "piece 0\npiece 1\npiece 2\npiece 3\npiece 4\n" || r.Err != nil {
			t.Errorf("got %q, %v", r.Text(), r.Err)
		}
		r := h.Get("/sse?n=2&ms=1")
		if r.Text() != "data: 0\n\ndata: 1\n\n" || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/event-stream") {
			t.Errorf("got %q, %v", r.Text(), r.Header)
		}
	}},
	{name: "FullDuplexEcho", framing: true, run: func(t *testing.T, h *harness.Host, app harness.App) {
		// Every line is echoed before the next is sent.
		c := h.Dial()
		c.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n")
		c.Send("7\r\nline 0\n\r\n")
		head, err := readHead(c.In)
		if err != nil || !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.Contains(strings.ToLower(head), "transfer-encoding: chunked") {
			t.Fatalf("head %q, %v", head, err)
		}
		for i := range 20 {
			if i > 0 {
				text := fmt.Sprintf("line %d\n", i)
				c.Send(fmt.Sprintf("%x\r\n%s\r\n", len(text), text))
			}
			if got, want := readChunk(t, c.In), fmt.Sprintf("line %d\n", i); got != want {
				t.Fatalf("chunk %q, want %q", got, want)
			}
		}
		c.Send("0\r\n\r\n")
		if got := readChunk(t, c.In); got != "" {
			t.Errorf("last chunk %q", got)
		}
	}},
	{name: "SlowClient", framing: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		c := h.Dial()
		for _, b := range "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhello" {
			c.Send(string(b))
		}
		if r := c.Response("POST"); r.Text() != "hello" {
			t.Errorf("got %q", r.Text())
		}
	}},
	{name: "ClientAbortIsSeen", run: func(t *testing.T, h *harness.Host, app harness.App) {
		for _, query := range []string{"id=quiet", "id=begun&head=1"} {
			id, _, _ := strings.Cut(query, "&")
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan struct{})
			go func() {
				h.TryContext(ctx, "GET", "/hang?"+query, nil, nil)
				close(ended)
			}()
			state := func() (s struct{ Hanging, Seen bool }) { h.JSON("/abort-seen?"+id, &s); return s }
			harness.Eventually(t, func() bool { return state().Hanging }, "the request hangs in the application")
			cancel()
			<-ended
			harness.Within(t, 5*time.Second, func() bool { return state().Seen }, "%s: the application sees that its client has gone", query)
		}
	}},
	{name: "AbortedUpload", framing: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for range 20 {
			c := h.Dial()
			c.Send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat("x", 50_000))
			c.SetLinger(0)
			c.Close()
		}
		if got := upload(t, h, 100_000, false); got.Bytes != 100_000 {
			t.Errorf("after aborted uploads the application read %d bytes of 100000", got.Bytes)
		}
	}},
	{name: "ApplicationCutsTheConnection", framing: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		if r := h.Do("POST", "/abort", nil, strings.NewReader("once")); r.StatusCode != 502 {
			t.Errorf("cut before the head: answered %d, want 502", r.StatusCode)
		}
		c := h.Dial()
		c.Send("GET /abort?head=1 HTTP/1.1\r\nHost: a\r\n\r\n")
		// The reset may overtake the head of the response.
		if r := c.Response("GET"); (r.StatusCode != 200 || r.Err == nil) && r.StatusCode != 502 {
			t.Errorf("cut in the body: %d, error %v: the client was told that the response is whole", r.StatusCode, r.Err)
		}
		h.Worker()
	}},
	{name: "ManyAtOnce", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		failed := make(chan error, 50)
		for i := range 50 {
			go func() {
				r, err := h.Try("POST", "/echo", nil, strings.NewReader(strings.Repeat("x", i*1000)))
				if err == nil && (len(r.Bytes) != i*1000 || r.Err != nil) {
					err = fmt.Errorf("echo of %d bytes has %d: %v", i*1000, len(r.Bytes), r.Err)
				}
				failed <- err
			}()
		}
		for range 50 {
			if err := <-failed; err != nil {
				t.Error(err)
			}
		}
	}},
}

func readHead(in *bufio.Reader) (string, error) {
	var head strings.Builder
	for {
		line, err := in.ReadString('\n')
		head.WriteString(line)
		if err != nil || line == "\r\n" {
			return head.String(), err
		}
	}
}

func readChunk(t *testing.T, in *bufio.Reader) string {
	t.Helper()
	var size int
	line, err := in.ReadString('\n')
	if err == nil {
		_, err = fmt.Sscanf(strings.TrimSpace(line), "%x", &size)
	}
	if err != nil {
		t.Fatalf("chunk size %q: %v", line, err)
	}
	piece := make([]byte, size+2)
	if _, err := io.ReadFull(in, piece); err != nil {
		t.Fatalf("chunk of %d: %v", size, err)
	}
	return string(piece[:size])
}
