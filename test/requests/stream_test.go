package requests

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
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
	{name: "FullDuplexEcho", run: func(t *testing.T, h *harness.Host, app harness.App) {
		// Every line is echoed before the next is sent.
		in, out := io.Pipe()
		defer out.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		limit := time.AfterFunc(harness.Limit, cancel) // for a line
		defer limit.Stop()
		req, err := http.NewRequestWithContext(ctx, "POST", h.URL+"/echo", in)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "text/plain")
		defer context.AfterFunc(ctx, func() { out.CloseWithError(ctx.Err()) })() // the client waits for the end of its body even then
		go io.WriteString(out, "line 0\n")
		res, err := h.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewReader(res.Body)
		for i := range 20 {
			limit.Reset(harness.Limit)
			want := fmt.Sprintf("line %d\n", i)
			if i > 0 {
				io.WriteString(out, want)
			}
			if got, err := lines.ReadString('\n'); got != want {
				t.Fatalf("line %q, %v, want %q", got, err, want)
			}
		}
		out.Close()
		if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
			t.Errorf("then %q, %v", rest, err)
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
			harness.Eventually(t, func() bool { return state().Seen }, "%s: the application sees that its client has gone", query)
		}
	}},
	{name: "AbortedUpload", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for range 20 {
			in, out := io.Pipe()
			go func() {
				io.WriteString(out, strings.Repeat("x", 50_000))
				out.CloseWithError(errors.New("enough"))
			}()
			if r, err := h.Try("POST", "/upload", []string{"Content-Length: 1000000"}, in); err == nil {
				t.Errorf("an upload that was broken off answered %d", r.StatusCode)
			}
		}
		if got := upload(t, h, 100_000, false); got.Bytes != 100_000 {
			t.Errorf("after aborted uploads the application read %d bytes of 100000", got.Bytes)
		}
	}},
	{name: "ApplicationCutsTheConnection", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		if r := h.Do("POST", "/abort", nil, strings.NewReader("once")); r.StatusCode != 502 {
			t.Errorf("cut before the head: answered %d, want 502", r.StatusCode)
		}
		// The reset may overtake the head of the response.
		if r := h.Get("/abort?head=1"); (r.StatusCode != 200 || r.Err == nil) && r.StatusCode != 502 {
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
