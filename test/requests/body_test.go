package requests

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// pattern is n bytes of a body as they come; it holds none of them.
func pattern(n int64) io.Reader { return io.LimitReader(&counter{}, n) }

type counter struct{ at int64 }

func (c *counter) Read(p []byte) (int, error) {
	n := copy(p, piece[c.at%251:])
	c.at += int64(n)
	return n, nil
}

var piece = harness.Pattern(251 * 256)

// uploaded is what /upload answers.
type uploaded struct {
	Bytes    int64
	SHA256   string
	Trailers map[string]string
}

// limit is the default of maxAllowedContentLength.
const limit = 30_000_000

// bodyCases are about message bodies that have an end.
var bodyCases = []exchangeCase{
	{name: "UploadToTheLimit", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		hash := sha256.New()
		io.Copy(hash, pattern(limit))
		want := hex.EncodeToString(hash.Sum(nil))
		for _, chunked := range []bool{false, true} {
			if got := upload(t, h, limit, chunked); got.Bytes != limit || got.SHA256 != want {
				t.Errorf("chunked %v: the application read %d bytes with hash %s, want %d and %s", chunked, got.Bytes, got.SHA256, limit, want)
			}
		}
	}},
	{name: "UploadIsRefusedBeyondTheLimit", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for _, fields := range [][]string{{fmt.Sprintf("Content-Length: %d", limit+1)}, nil} {
			if r := h.Do("POST", "/upload", fields, pattern(limit+1)); r.StatusCode != 413 {
				t.Errorf("with %q: answered %d, want 413", fields, r.StatusCode)
			}
		}
	}},
	{name: "UploadBeyondTheLimit", framing: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		// With a length, nothing of the body has to be sent to be refused.
		c := h.Dial()
		c.Send(fmt.Sprintf("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", limit+1))
		if r := c.Response("POST"); r.StatusCode != 413 {
			t.Errorf("a length of %d answered %d, want 413", limit+1, r.StatusCode)
		}
		// Without one, the limit is met on the way.
		c = h.Dial()
		c.SetDeadline(time.Now().Add(4 * harness.Limit)) // it is long
		c.Send("POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
		go func() {
			fmt.Fprintf(c, "%x\r\n", limit+1)
			io.Copy(c, pattern(limit+1))
			io.WriteString(c, "\r\n0\r\n\r\n")
		}()
		if r := c.Response("POST"); r.StatusCode != 413 {
			t.Errorf("a chunked body of %d answered %d, want 413", limit+1, r.StatusCode)
		}
		h.Worker() // still there
	}},
	{name: "Download50MB", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		const n = 50_000_000
		for _, target := range []string{"/download?bytes=50000000", "/download?bytes=50000000&chunked"} {
			r := h.Get(target)
			if r.Err != nil {
				t.Fatalf("%s: %v", target, r.Err)
			}
			harness.SameBytes(t, r.Bytes, harness.Pattern(n))
		}
	}},
	{name: "EchoSizes", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for _, n := range []int{0, 1, 4095, 4096, 8192, 16383, 16384, 16385, 65536, 300_000} {
			body := harness.Pattern(n)
			r := h.Do("POST", "/echo", []string{"Content-Type: application/x-test"}, bytes.NewReader(body))
			if r.Err != nil || r.Header.Get("Content-Type") != "application/x-test" {
				t.Fatalf("echo of %d bytes: %v, %v", n, r.Err, r.Header)
			}
			harness.SameBytes(t, r.Bytes, body)
		}
	}},
	{name: "EmptyBody", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		if got := upload(t, h, 0, false); got.Bytes != 0 {
			t.Errorf("the application read %d bytes", got.Bytes)
		}
	}},
	{name: "EmptyBodies", framing: true, run: func(t *testing.T, h *harness.Host, app harness.App) {
		c := h.Dial()
		for _, framing := range []string{"Content-Length: 0\r\n\r\n", "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "\r\n"} {
			if framing == "\r\n" && app.Name == "aspnetcore31" {
				continue // it asks for a length: 411
			}
			c.Send("POST /upload HTTP/1.1\r\nHost: a\r\n" + framing)
			if r := c.Response("POST"); !strings.Contains(r.Text(), `"bytes":0`) {
				t.Errorf("%q: %s", framing, r.Text())
			}
		}
	}},
	{name: "RequestTrailers", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		req, err := http.NewRequest("POST", h.URL+"/upload", struct{ io.Reader }{strings.NewReader("hello")})
		if err != nil {
			t.Fatal(err)
		}
		req.Trailer = http.Header{"X-Sent": {"behind"}}
		res, err := h.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if !strings.Contains(strings.ToLower(string(text)), `"x-sent":"behind"`) || !strings.Contains(string(text), `"bytes":5`) {
			t.Errorf("the application saw %s, %v", text, err)
		}
	}},
	{name: "ResponseTrailers", run: func(t *testing.T, h *harness.Host, app harness.App) {
		if app.Name == "aspnetcore31" {
			return // it has none over HTTP/1.1
		}
		r := h.Do("POST", "/echo?trailers=1", nil, struct{ io.Reader }{strings.NewReader("hello")})
		if r.Text() != "hello" || r.Trailer.Get("X-Check") != "echoed" {
			t.Errorf("body %q, trailers %v", r.Text(), r.Trailer)
		}
	}},
	{name: "Continue", framing: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		c := h.Dial()
		c.Send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		if line, err := c.In.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" {
			t.Fatalf("first line %q, %v", line, err)
		}
		if line, _ := c.In.ReadString('\n'); line != "\r\n" {
			t.Fatalf("behind 100 came %q", line)
		}
		c.Send("hello")
		if r := c.Response("POST"); !strings.Contains(r.Text(), `"bytes":5`) {
			t.Errorf("the application saw %s", r.Text())
		}
	}},
	{name: "EarlyAnswer", framing: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		c := h.Dial()
		c.Send("POST /early?code=403 HTTP/1.1\r\nHost: a\r\nContent-Length: 20000000\r\n\r\n")
		go io.Copy(c, pattern(20_000_000))
		if r := c.Response("POST"); r.StatusCode != 403 || r.Text() != "early" {
			t.Errorf("answered %s", harness.Describe(r.StatusCode, r.Bytes))
		}
	}},
	{name: "BodyCutShort", framing: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for _, framing := range []string{"Content-Length: 100\r\n\r\nhello", "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"} {
			c := h.Dial()
			c.Send("POST /upload HTTP/1.1\r\nHost: a\r\n" + framing)
			if err := c.CloseWrite(); err != nil {
				t.Fatal(err)
			}
			if got := c.All(); got != "" && !strings.HasPrefix(got, "HTTP/1.1 400") {
				t.Errorf("a body cut short answered %q", got)
			}
		}
		h.Worker()
	}},
	{name: "Pipelined", framing: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		c := h.Dial()
		c.Send("GET /slow?ms=50 HTTP/1.1\r\nHost: a\r\n\r\n" +
			"POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\none" +
			"GET /status?code=404 HTTP/1.1\r\nHost: a\r\n\r\n")
		for _, want := range []string{"200 slow", "200 one", "404 "} {
			r := c.Response("GET")
			if got := fmt.Sprintf("%d %s", r.StatusCode, r.Text()); got != want {
				t.Fatalf("got %q, want %q", got, want)
			}
		}
	}},
}

func upload(t *testing.T, h *harness.Host, n int64, chunked bool) uploaded {
	t.Helper()
	var fields []string
	if !chunked {
		fields = []string{fmt.Sprintf("Content-Length: %d", n)}
	}
	var got uploaded
	harness.Decode(t, h.Do("POST", "/upload", fields, pattern(n)), &got)
	return got
}
