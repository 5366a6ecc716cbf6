package conform

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// Section 8.3: requests.

// dotnetApp starts the real ASP.NET Core application as it was published.
func dotnetApp(t *testing.T) *harness.Host {
	t.Helper()
	return harness.DotNet().Start(t)
}

// raw sends a request as it is and reads one response.
func raw(h *harness.Host, request string) *harness.Response {
	c := h.Dial()
	c.Send(request)
	method, _, _ := strings.Cut(request, " ")
	return c.Response(method)
}

func path(t *testing.T, h *harness.Host, target string) string {
	t.Helper()
	var s harness.Seen
	harness.Decode(t, raw(h, "GET "+target+" HTTP/1.1\r\nHost: a\r\n\r\n"), &s)
	return s.Path
}

func TestRequestPath_UrlUnescaping(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	for c := byte(0x20); c < 0x7f; c++ {
		want := string([]byte{'/', c})
		switch c {
		case '/':
			want = "/%2F" // the one that stays
		case '.':
			want = "/" // a dot segment
		}
		if got := path(t, h, fmt.Sprintf("/%%%02X", c)); got != want {
			t.Errorf("%%%02X arrived as %q, want %q", c, got, want)
		}
	}
}

func TestRequest_WithDoubleSlashes(t *testing.T) {
	t.Parallel()
	// The module leaves them alone. Perch judges and forwards one path, and
	// what reads a path afterwards differs about empty segments: they go.
	if got := path(t, dotnetApp(t), "//a/b//c"); got != "/a/b/c" {
		t.Errorf("arrived as %q", got)
	}
}

func TestRequest_WithNavigation_Removed(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	for target, want := range map[string]string{"/a/b/../c": "/a/c", "/./a": "/a", "/a/..": "/", "/a/b/.": "/a/b/"} {
		if got := path(t, h, target); got != want {
			t.Errorf("%s arrived as %q, want %q", target, got, want)
		}
	}
}

func TestRequest_WithEscapedNavigation_Removed(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	for _, target := range []string{"/a/c/%2E%2E/b", "/x/%2e%2E/a/%2e/b", "/x/.%2E/a/b"} {
		if got := path(t, h, target); got != "/a/b" {
			t.Errorf("%s arrived as %q, want /a/b", target, got)
		}
	}
}

func TestRequest_ControlCharacters_400(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	for c := byte(0); c < 0x20; c++ {
		if c == '\t' || c == '\n' {
			continue
		}
		if r := raw(h, "GET /"+string([]byte{c})+" HTTP/1.1\r\nHost: a\r\n\r\n"); r.StatusCode != 400 {
			t.Errorf("%#x answered %d, want 400", c, r.StatusCode)
		}
	}
}

func TestRequest_EscapedControlCharacters_400(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	for c := range 0x20 {
		if r := raw(h, fmt.Sprintf("GET /%%%02X HTTP/1.1\r\nHost: a\r\n\r\n", c)); r.StatusCode != 400 {
			t.Errorf("%%%02X answered %d, want 400", c, r.StatusCode)
		}
	}
}

// rawBackend runs the scripted backend.
func rawBackend(t *testing.T) *harness.Host {
	t.Helper()
	return harness.Start(t, harness.Run{Dir: harness.RawBackend(t, harness.WebConfig{})})
}

func TestPassesThroughCompression(t *testing.T) {
	t.Parallel()
	var zipped bytes.Buffer
	w := gzip.NewWriter(&zipped)
	io.WriteString(w, strings.Repeat("compressed by the application ", 100))
	w.Close()
	h := rawBackend(t)
	r := h.Do("GET", "/", []string{"Accept-Encoding: gzip", harness.Script(fmt.Sprintf("send %q",
		fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n%s", zipped.Len(), zipped.String())))}, nil)
	if r.Header.Get("Content-Encoding") != "gzip" {
		t.Errorf("Content-Encoding %q", r.Header.Get("Content-Encoding"))
	}
	harness.SameBytes(t, r.Bytes, zipped.Bytes())
}

func TestReadAndWrite(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	for n := 10_000; n <= 110_000; n += 10_000 {
		for _, reader := range []io.Reader{bytes.NewReader(harness.Pattern(n)), struct{ io.Reader }{bytes.NewReader(harness.Pattern(n))}} {
			harness.SameBytes(t, h.Do("POST", "/echo", nil, reader).Bytes, harness.Pattern(n))
		}
	}
}

// A client that sends its body one byte at a time.
func TestReadAndWriteSlowClient(t *testing.T) {
	t.Parallel()
	c := dotnetApp(t).Dial()
	c.Send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n")
	for range 100 {
		c.Send("x")
	}
	if r := c.Response("POST"); r.Text() != strings.Repeat("x", 100) {
		t.Errorf("got %q", r.Text())
	}
}

func TestConsumePartialBody(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	c := h.Dial()
	// The application answers without reading; the connection goes on.
	for range 3 {
		c.Send("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\n\r\n" + strings.Repeat("x", 1000))
		if r := c.Response("POST"); r.Text() != "early" {
			t.Fatalf("got %s", harness.Describe(r.StatusCode, r.Bytes))
		}
	}
}

func TestAsyncChunkedPostIsAccepted(t *testing.T) {
	t.Parallel()
	c := dotnetApp(t).Dial()
	for i := range 100 {
		c.Send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n7\r\n, world\r\n0\r\n\r\n")
		if r := c.Response("POST"); r.Text() != "hello, world" {
			t.Fatalf("post %d: %s", i, harness.Describe(r.StatusCode, r.Bytes))
		}
	}
}

func TestSendTransferEncodingHeadersWithMultipleValues(t *testing.T) {
	t.Parallel()
	// Perch is stricter than the module: chunked is the only transfer coding,
	// and a length beside it is an attack.
	h := start(t, harness.WebConfig{})
	for _, fields := range []string{"Transfer-Encoding: gzip, chunked\r\n", "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n"} {
		if r := raw(h, "POST /echo HTTP/1.1\r\nHost: a\r\n"+fields+"\r\n0\r\n\r\n"); r.StatusCode != 400 && r.StatusCode != 501 {
			t.Errorf("%q answered %d", fields, r.StatusCode)
		}
	}
}

func TestResponseBodyTest(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	// Never flushed by the application.
	if r := h.Get("/status?body=unflushed"); r.Text() != "unflushed" || r.Err != nil {
		t.Errorf("got %q, %v", r.Text(), r.Err)
	}
	// Flushed, long before the end.
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	defer cancel()
	res := h.Open(ctx, "GET", "/hang?head=1&id=x", nil)
	defer res.Body.Close()
	piece := make([]byte, 6)
	if _, err := io.ReadFull(res.Body, piece); err != nil || string(piece) != "begun\n" {
		t.Errorf("read %q, %v", piece, err)
	}
}

func TestLargeResponseBody(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	for _, n := range []int{65_000, 1_000_000, 10_000_000, 100_000_000} {
		for _, chunked := range []string{"", "&chunked"} {
			res := h.Open(t.Context(), "GET", fmt.Sprintf("/download?bytes=%d%s", n, chunked), nil)
			got, err := io.Copy(&pattern{}, res.Body)
			res.Body.Close()
			if got != int64(n) || err != nil {
				t.Errorf("%d bytes%s: got %d, %v", n, chunked, got, err)
			}
		}
	}
}

// pattern checks a body of /download as it comes.
type pattern struct{ at int }

func (p *pattern) Write(b []byte) (int, error) {
	for _, c := range b {
		if c != byte(p.at%251) {
			return 0, fmt.Errorf("byte %d is %#x", p.at, c)
		}
		p.at++
	}
	return len(b), nil
}

func TestAddResponseHeaders_HeaderValuesAreSetCorrectly(t *testing.T) {
	t.Parallel()
	r := dotnetApp(t).Get("/headers?MultiHeader=1&MultiHeader=2&KnownHeader=a,%20b&Set-Cookie=a%3D1&Set-Cookie=b%3D2")
	if got := r.Header.Values("MultiHeader"); !slices.Equal(got, []string{"1", "2"}) {
		t.Errorf("MultiHeader is %q, want two lines", got)
	}
	if got := r.Header.Values("Set-Cookie"); !slices.Equal(got, []string{"a=1", "b=2"}) {
		t.Errorf("Set-Cookie is %q, want two lines", got)
	}
}

func TestCustomErrorCodeWorks(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	for _, c := range []struct {
		code          int
		reason, query string
		body          string
	}{
		{222, "TestFailure", "&reason=TestFailure", ""},
		{500, "", "&reason=", ""},
		{500, "Internal Server Error", "", ""},
		{204, "No Content", "", ""},
		{404, "Custom", "&reason=Custom", ""},
		{404, "Not Found", "", ""},
		{400, "Bad", "&reason=Bad", "Body"},
		{403, "Custom", "&reason=Custom", "Body"},
		{501, "Custom", "&reason=Custom", "Body"},
		{503, "Custom", "&reason=Custom", "Body"},
		{999, "", "", ""},
		{418, "I'm a teapot", "", "Body"},
	} {
		query := c.query
		if c.body != "" {
			query += "&body=" + c.body
		}
		r := raw(h, fmt.Sprintf("GET /status?code=%d%s HTTP/1.1\r\nHost: a\r\n\r\n", c.code, query))
		if r.StatusCode != c.code || r.Text() != c.body {
			t.Errorf("%+v: %s", c, harness.Describe(r.StatusCode, r.Bytes))
		}
		// An empty reason cannot be told from none by every server.
		if got := strings.TrimSpace(strings.TrimPrefix(r.Status, fmt.Sprint(c.code))); got != c.reason && c.reason != "" {
			t.Errorf("%+v: reason %q", c, got)
		}
	}
}

func TestErrorCodeIsSetForExceptionDuringRequest(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	if r := h.Get("/throw"); r.Status != "500 Internal Server Error" {
		t.Errorf("answered %s", r.Status)
	}
	h.Worker()
}

func TestTransferEncodingNotSetForStatusCodes(t *testing.T) {
	t.Parallel()
	c := dotnetApp(t).Dial()
	for _, code := range []int{204, 304} {
		c.Send(fmt.Sprintf("GET /status?code=%d HTTP/1.1\r\nHost: a\r\n\r\n", code))
		if r := c.Response("GET"); r.StatusCode != code || len(r.TransferEncoding) > 0 || r.Header.Get("Content-Length") != "" && code == 204 {
			t.Errorf("%d: %v, %v", r.StatusCode, r.TransferEncoding, r.Header)
		}
	}
}

func TestServerHeaderIsOverriden(t *testing.T) {
	t.Parallel()
	h := rawBackend(t)
	if got := h.Do("GET", "/", []string{harness.Script(`send "HTTP/1.1 200 OK\r\nServer: MyServer/7.8\r\nContent-Length: 0\r\n\r\n"`)}, nil).Header.Values("Server"); !slices.Equal(got, []string{"MyServer/7.8"}) {
		t.Errorf("Server is %q", got)
	}
	// An application that names no server is not given a name.
	if got := h.Get("/").Header.Values("Server"); len(got) != 0 {
		t.Errorf("Server is %q, want none", got)
	}
}

func TestServerWorksAfterClientDisconnect(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	h.Worker()
	for range 10 {
		c := h.Dial()
		c.Send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("a", 100_000))
		c.Close()
	}
	if r := h.Get("/status?body=alive"); r.Text() != "alive" {
		t.Errorf("answered %s", harness.Describe(r.StatusCode, r.Bytes))
	}
}

func TestClientDisconnectStress(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	pid := h.Worker()
	var all sync.WaitGroup
	for i := range 100 {
		all.Go(func() {
			c, err := net.DialTimeout("tcp", h.Addr(), harness.Limit)
			if err != nil {
				t.Errorf("connection %d: %v", i, err)
				return
			}
			fmt.Fprintf(c, "POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n%s", strings.Repeat("x", i*100))
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
		})
	}
	all.Wait()
	if again := h.Worker(); again != pid {
		t.Errorf("process %d became %d", pid, again)
	}
}

func TestRequestAbortedTokenFires(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	c := h.Dial()
	c.Send("GET /hang?id=7 HTTP/1.1\r\nHost: a\r\n\r\n")
	state := func() (s struct{ Hanging, Seen bool }) { h.JSON("/abort-seen?id=7", &s); return s }
	harness.Eventually(t, func() bool { return state().Hanging }, "the request is in the application")
	c.Close()
	harness.Eventually(t, func() bool { return state().Seen }, "the application's token fires")
}

func TestLatin1Works(t *testing.T) {
	t.Parallel()
	h := rawBackend(t)
	r := raw(h, "GET / HTTP/1.1\r\nHost: a\r\nfoo: \xa3\xe9\r\n\r\n")
	if !strings.Contains(r.Text(), "foo: \xa3\xe9\r\n") {
		t.Errorf("the application got %q", r.Text())
	}
	r = raw(h, "GET / HTTP/1.1\r\nHost: a\r\n"+harness.Script(`send "HTTP/1.1 200 OK\r\nbar: \xa3\xe9\r\nContent-Length: 0\r\n\r\n"`)+"\r\n\r\n")
	if got := r.Header.Get("bar"); got != "\xa3\xe9" {
		t.Errorf("the client got %q", got)
	}
}

func TestLatin1InvalidCharacters_HttpSysRejects(t *testing.T) {
	t.Parallel()
	if r := raw(start(t, harness.WebConfig{}), "GET / HTTP/1.1\r\nHost: a\r\nfoo: a\x00b\r\n\r\n"); r.StatusCode != 400 {
		t.Errorf("NUL in a field answered %d, want 400", r.StatusCode)
	}
}

func TestMaxRequestBodySize(t *testing.T) {
	t.Parallel()
	limit := func(n string) harness.WebConfig {
		return harness.WebConfig{More: `      <security><requestFiltering><requestLimits maxAllowedContentLength="` + n + `" /></requestFiltering></security>` + "\n"}
	}
	length := func(h *harness.Host, n int) int {
		c := h.Dial()
		c.Send(fmt.Sprintf("POST /early HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n", n))
		return c.Response("POST").StatusCode
	}
	h := start(t, harness.WebConfig{})
	if got := length(h, 30_000_000); got != 200 {
		t.Errorf("30000000 bytes answered %d", got)
	}
	if got := length(h, 30_000_001); got != 413 && got != 404 {
		t.Errorf("30000001 bytes answered %d", got)
	}
	if got := length(start(t, limit("4294967295")), 100_000_000); got != 200 {
		t.Errorf("with a larger limit, 100000000 bytes answered %d", got)
	}
	if got := length(start(t, limit("1")), 2); got != 413 && got != 404 {
		t.Errorf("with a limit of 1, 2 bytes answered %d", got)
	}
}

func TestBufferingDisabledWithoutCompressedRequest(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	defer cancel()
	res := h.Open(ctx, "GET", "/sse?n=2&ms=100000", nil)
	defer res.Body.Close()
	event := make([]byte, len("data: 0\n\n"))
	if _, err := io.ReadFull(res.Body, event); err != nil || string(event) != "data: 0\n\n" {
		t.Errorf("read %q, %v", event, err)
	}
}

// Section 8.8: the managed half, spoken to as Perch speaks to it.
func TestIISMiddlewareTests(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	env := h.Env()
	pid := h.Worker()
	direct := func(method, target string, fields ...string) int {
		req, err := http.NewRequest(method, "http://127.0.0.1:"+env["ASPNETCORE_PORT"]+target, nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range fields {
			name, value, _ := strings.Cut(f, ": ")
			req.Header.Add(name, value)
		}
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		return res.StatusCode
	}
	token := "MS-ASPNETCORE-TOKEN: " + env["ASPNETCORE_TOKEN"]
	for _, c := range []struct {
		want           int
		method, target string
		fields         []string
	}{
		{400, "GET", "/", nil},
		{400, "GET", "/", []string{"MS-ASPNETCORE-TOKEN: wrong"}},
		{400, "POST", "/iisintegration", []string{"MS-ASPNETCORE-EVENT: shutdown"}},
		{200, "GET", "/", []string{token}},
		{200, "GET", "/iisintegration", []string{token, "MS-ASPNETCORE-EVENT: shutdown"}},
		{200, "POST", "/path/iisintegration", []string{token, "MS-ASPNETCORE-EVENT: shutdown"}},
		{200, "POST", "/iisintegration", []string{token, "MS-ASPNETCORE-EVENT: event"}},
		{200, "POST", "/iisintegration", []string{token}},
	} {
		if got := direct(c.method, c.target, c.fields...); got != c.want {
			t.Errorf("%s %s %q answered %d, want %d", c.method, c.target, c.fields, got, c.want)
		}
	}
	// No client can ask for the end through the front.
	r := h.Do("POST", "/iisintegration", []string{"MS-ASPNETCORE-EVENT: shutdown", token}, nil)
	if r.StatusCode != 200 || h.Worker() != pid {
		t.Errorf("a client's shutdown request answered %d; process %d, then %d", r.StatusCode, pid, h.Worker())
	}
	if got := direct("POST", "/iisintegration", token, "MS-ASPNETCORE-EVENT: SHUTDOWN"); got != 202 {
		t.Errorf("the shutdown request answered %d, want 202", got)
	}
	harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the application ends")
	h.AwaitEvent(1030)
}
