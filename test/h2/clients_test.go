package h2

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// start runs the Go application on a clear port and one for TLS.
func start(t *testing.T) (clear, secure *harness.Host) {
	t.Helper()
	h := harness.Go().Start(t, func(r *harness.Run) { r.Listen = []string{"http://127.0.0.1:0", "https://127.0.0.1:0"} })
	return h.Over(h.URLs[0]), h.Over(h.URLs[1])
}

// run runs a client to its end and returns what it prints.
func run(t *testing.T, in io.Reader, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		harness.Lack(t, "%s is not there", name)
	}
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	var errs bytes.Buffer
	cmd.Stdin, cmd.Stderr = in, &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s%s", name, err, out, errs.String())
	}
	return string(out)
}

func TestCurl(t *testing.T) {
	t.Parallel()
	clear, secure := start(t)
	for _, way := range []struct {
		name string
		host *harness.Host
		args []string
	}{
		{"prior knowledge", clear, []string{"--http2-prior-knowledge"}},
		{"TLS", secure, []string{"--http2", "--cacert", secure.Roots()}},
	} {
		t.Run(way.name, func(t *testing.T) {
			ask := func(in io.Reader, target string, args ...string) string {
				return run(t, in, "curl", append(append([]string{"-sS", "-w", "\n%{http_version} %{http_code}"}, way.args...), append(args, way.host.URL+target)...)...)
			}
			if got := ask(nil, "/status?code=404&body=own"); got != "own\n2 404" {
				t.Errorf("GET: %q", got)
			}
			body := string(harness.Pattern(3_000_000))
			if got := ask(strings.NewReader(body), "/echo", "--data-binary", "@-"); got != body+"\n2 200" {
				t.Errorf("echo of %d bytes: %d", len(body), len(got))
			}
			if got := ask(nil, "/download?bytes=20000000&chunked"); len(got) != 20_000_000+len("\n2 200") {
				t.Errorf("download of %d bytes", len(got))
			}
		})
	}
}

// Every piece is echoed before the next is sent, and the trailers come behind.
func TestGoClient(t *testing.T) {
	t.Parallel()
	clear, secure := start(t)
	for _, h := range []*harness.Host{clear, secure} {
		in, out := io.Pipe()
		req, err := http.NewRequest("POST", h.URL+"/echo?trailers=1", in)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("TE", "trailers")
		req.Trailer = http.Header{"X-Sent": nil}
		type answer struct {
			res *http.Response
			err error
		}
		answered := make(chan answer, 1)
		go func() {
			res, err := h.HTTP2().Client().Do(req)
			answered <- answer{res, err}
		}()
		var res *http.Response
		for i := range 20 {
			piece := fmt.Sprintf("piece %d", i)
			io.WriteString(out, piece)
			if res == nil {
				a := <-answered
				if a.err != nil {
					t.Fatal(a.err)
				}
				res = a.res
				defer res.Body.Close()
			}
			got := make([]byte, len(piece))
			if _, err := io.ReadFull(res.Body, got); err != nil || string(got) != piece {
				t.Fatalf("got %q, %v, want %q", got, err, piece)
			}
		}
		req.Trailer.Set("X-Sent", "behind")
		out.Close()
		if rest, err := io.ReadAll(res.Body); len(rest) > 0 || err != nil || res.Trailer.Get("X-Check") != "echoed" {
			t.Errorf("then %q, %v, trailers %v", rest, err, res.Trailer)
		}
		if res.ProtoMajor != 2 {
			t.Errorf("spoke %s", res.Proto)
		}
		post, _ := http.NewRequest("POST", h.URL+"/upload", struct{ io.Reader }{strings.NewReader("hello")})
		post.Trailer = http.Header{"X-Sent": {"behind"}}
		res, err = h.HTTP2().Client().Do(post)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if got := strings.ToLower(string(text)); !strings.Contains(got, `"x-sent":"behind"`) || !strings.Contains(got, `"bytes":5`) {
			t.Errorf("the application saw %s", text)
		}
	}
}

// An application that answers early ends the upload, and the connection goes
// on (RFC 9113 section 8.1).
func TestEarlyAnswer(t *testing.T) {
	t.Parallel()
	clear, _ := start(t)
	h := clear.HTTP2()
	for range 5 {
		r := h.Do("POST", "/early?code=403", nil, io.LimitReader(endless{}, 20_000_000))
		if r.StatusCode != 403 || r.Text() != "early" {
			t.Fatalf("answered %s", harness.Describe(r.StatusCode, r.Bytes))
		}
	}
	if r := h.Do("POST", "/upload", nil, io.LimitReader(endless{}, 40_000_000)); r.StatusCode != 413 {
		t.Errorf("beyond the limit: %s", harness.Describe(r.StatusCode, r.Bytes))
	}
}

type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// TestNode lets Node's client do what browsers do: many requests at once on
// one connection, uploads, and a WebSocket by an extended CONNECT (RFC 8441).
func TestNode(t *testing.T) {
	t.Parallel()
	clear, secure := start(t)
	script, err := filepath.Abs("testdata/client.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*harness.Host{clear, secure} {
		var got struct {
			Statuses  map[string]int
			Uploaded  int
			WebSocket []string
			Trailer   string
		}
		out := run(t, nil, "node", script, h.URL, h.Roots())
		if err := json.Unmarshal([]byte(out), &got); err != nil {
			t.Fatalf("%v in %q", err, out)
		}
		if got.Statuses["200"] != 50 || got.Uploaded != 1_000_000 || got.Trailer != "echoed" ||
			strings.Join(got.WebSocket, " ") != "200 hello closed" {
			t.Errorf("%s: %+v", h.URL, got)
		}
	}
}

// A stop that is planned lets every stream end.
func TestStopFailsNoRequest(t *testing.T) {
	t.Parallel()
	clear, _ := start(t)
	h := clear.HTTP2()
	var bodies []*bufio.Reader
	for range 20 {
		res := h.Open(t.Context(), "GET", "/stream?n=2&ms=1000", nil)
		defer res.Body.Close()
		bodies = append(bodies, bufio.NewReader(res.Body))
	}
	for _, b := range bodies {
		if line, err := b.ReadString('\n'); err != nil || line != "piece 0\n" {
			t.Fatalf("read %q, %v", line, err)
		}
	}
	stopped := make(chan struct{})
	go func() {
		h.Stop()
		close(stopped)
	}()
	for _, b := range bodies {
		if rest, err := io.ReadAll(b); err != nil || string(rest) != "piece 1\n" {
			t.Errorf("then %q, %v", rest, err)
		}
	}
	<-stopped
}
