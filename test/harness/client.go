package harness

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
)

// Response is a response that was read to its end.
type Response struct {
	*http.Response
	Bytes []byte
	Err   error // of reading the body
}

// Text is the body.
func (r *Response) Text() string { return string(r.Bytes) }

// Get asks for a target of the first URL. The test fails if no head of a
// response comes.
func (h *Host) Get(target string) *Response {
	h.t.Helper()
	return h.Do("GET", target, nil, nil)
}

// Do sends a request with field lines "Name: value" and a body.
func (h *Host) Do(method, target string, fields []string, body io.Reader) *Response {
	h.t.Helper()
	r, err := h.Try(method, target, fields, body)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, target, err)
	}
	return r
}

// Try is Do for a request that may fail, and for goroutines of a test.
func (h *Host) Try(method, target string, fields []string, body io.Reader) (*Response, error) {
	return h.TryContext(context.Background(), method, target, fields, body)
}

// TryContext is Try with a context that can abort the request.
func (h *Host) TryContext(ctx context.Context, method, target string, fields []string, body io.Reader) (*Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, h.URL+target, body)
	if err != nil {
		return nil, err
	}
	for _, f := range fields {
		name, value, _ := strings.Cut(f, ":")
		if strings.EqualFold(name, "Host") {
			req.Host = strings.TrimSpace(value)
			continue
		}
		if strings.EqualFold(name, "Content-Length") { // of a body that does not say so itself
			if req.ContentLength, err = strconv.ParseInt(strings.TrimSpace(value), 10, 64); err != nil {
				return nil, err
			}
			continue
		}
		req.Header[name] = append(req.Header[name], strings.TrimSpace(value))
	}
	res, err := h.Client().Do(req)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	all, err := io.ReadAll(res.Body)
	return &Response{res, all, err}, nil
}

// Open sends a request and returns the response with its body unread. The
// caller closes the body.
func (h *Host) Open(ctx context.Context, method, target string, body io.Reader) *http.Response {
	h.t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, h.URL+target, body)
	if err != nil {
		h.t.Fatal(err)
	}
	res, err := h.Client().Do(req)
	if err != nil {
		h.t.Fatalf("%s %s: %v", method, target, err)
	}
	return res
}

// Seen is what an application says it saw of a request.
type Seen struct {
	App, Scheme, Host, PathBase, Path, RawTarget, Query, Remote, Protocol, Method string
	Upgradable                                                                    bool
	Pid                                                                           int
	Headers                                                                       [][2]string
}

// Field returns the values of a field that the application saw.
func (s *Seen) Field(name string) []string {
	var all []string
	for _, f := range s.Headers {
		if strings.EqualFold(f[0], name) {
			all = append(all, f[1])
		}
	}
	return all
}

// Seen asks a target that tells what the application saw.
func (h *Host) Seen(method, target string, fields ...string) *Seen {
	h.t.Helper()
	r := h.Do(method, target, fields, nil)
	s := &Seen{}
	Decode(h.t, r, s)
	return s
}

// JSON asks a target and decodes its answer into v.
func (h *Host) JSON(target string, v any) {
	h.t.Helper()
	Decode(h.t, h.Get(target), v)
}

// Decode takes the JSON of a response that must be a 200.
func Decode(t testing.TB, r *Response, v any) {
	t.Helper()
	if r.StatusCode != 200 {
		t.Fatalf("answered %s", Describe(r.StatusCode, r.Bytes))
	}
	if err := json.Unmarshal(r.Bytes, v); err != nil {
		t.Fatalf("%v in %s", err, r.Bytes)
	}
}

// Env returns the environment of the application.
func (h *Host) Env() map[string]string {
	h.t.Helper()
	env := map[string]string{}
	h.JSON("/env", &env)
	return env
}

// Worker returns the process number of the application, which starts if it
// does not run.
func (h *Host) Worker() int {
	h.t.Helper()
	return h.Seen("GET", "/").Pid
}

// WebSocket opens a WebSocket on a target, which is closed with the test.
func (h *Host) WebSocket(target string, o *websocket.DialOptions) *websocket.Conn {
	h.t.Helper()
	c, res, err := h.TryWebSocket(target, o)
	if err != nil {
		status := 0
		if res != nil {
			status = res.StatusCode
		}
		h.t.Fatalf("WebSocket %s: %v (status %d)", target, err, status)
	}
	return c
}

// TryWebSocket is WebSocket for one that may be refused.
func (h *Host) TryWebSocket(target string, o *websocket.DialOptions) (*websocket.Conn, *http.Response, error) {
	ctx, cancel := context.WithTimeout(context.Background(), Limit)
	defer cancel()
	if o == nil {
		o = &websocket.DialOptions{}
	}
	if o.HTTPClient == nil {
		o.HTTPClient = &http.Client{Transport: h.client.Transport}
		if h.http2 {
			o.HTTPClient.Transport = tunnel{h.trust}
		}
	}
	c, res, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(h.URL, "http")+target, o)
	if err != nil {
		return nil, res, err
	}
	c.SetReadLimit(4 << 20)
	h.t.Cleanup(func() { c.CloseNow() })
	return c, res, nil
}

// TLS is what clients of the host need for a server of this name.
func (h *Host) TLS(name string) *tls.Config {
	set := h.trust.Clone()
	set.NextProtos, set.ServerName = nil, name
	return set
}

// RawConn is a connection to a host on which bytes are written by hand.
type RawConn struct {
	net.Conn
	In *bufio.Reader
	t  testing.TB

	tcp *net.TCPConn // beneath TLS
}

// Dial opens a raw connection to the first URL, over TLS if it is https.
func (h *Host) Dial() *RawConn {
	h.t.Helper()
	c := Dial(h.t, h.Addr())
	if strings.HasPrefix(h.URL, "https:") {
		c.Conn = tls.Client(c.tcp, h.TLS(strings.Trim(h.URL[len("https://"):strings.LastIndexByte(h.URL, ':')], "[]")))
		c.In.Reset(c.Conn)
	}
	return c
}

// Dial opens a raw connection, which is closed with the test. All that happens
// on it must happen within Limit.
func Dial(t testing.TB, addr string) *RawConn {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, Limit)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(Limit))
	return &RawConn{c, bufio.NewReader(c), t, c.(*net.TCPConn)}
}

// CloseWrite ends the sending direction.
func (c *RawConn) CloseWrite() error {
	if s, ok := c.Conn.(*tls.Conn); ok {
		s.CloseWrite()
	}
	return c.tcp.CloseWrite()
}

// SetLinger says what becomes of bytes that were not sent when it is closed.
func (c *RawConn) SetLinger(seconds int) error { return c.tcp.SetLinger(seconds) }

// DialTo dials one address, whatever is asked for.
func DialTo(addr string) func(ctx context.Context, network, _ string) (net.Conn, error) {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		d := net.Dialer{Timeout: Limit}
		return d.DialContext(ctx, network, addr)
	}
}

// Send writes text as it is.
func (c *RawConn) Send(text string) *RawConn {
	c.t.Helper()
	if _, err := io.WriteString(c, text); err != nil {
		c.t.Fatalf("send: %v", err)
	}
	return c
}

// Response reads one response to a request with this method.
func (c *RawConn) Response(method string) *Response {
	c.t.Helper()
	res, err := http.ReadResponse(c.In, &http.Request{Method: method})
	if err != nil {
		c.t.Fatalf("no response: %v", err)
	}
	all, err := io.ReadAll(res.Body)
	return &Response{res, all, err}
}

// All returns every byte until the other side closes.
func (c *RawConn) All() string {
	c.t.Helper()
	all, err := io.ReadAll(c.In)
	if err != nil && !strings.Contains(err.Error(), "reset") {
		c.t.Fatalf("connection was not closed: %v after %q", err, all)
	}
	return string(all)
}

// Script is the field that tells the raw backend what to do.
func Script(steps ...string) string {
	return "Script: " + base64.StdEncoding.EncodeToString([]byte(strings.Join(steps, "\n")))
}

// Pattern is what /download sends.
func Pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i % 251)
	}
	return p
}

// SameBytes fails the test where two bodies first differ.
func SameBytes(t testing.TB, got, want []byte) {
	t.Helper()
	if bytes.Equal(got, want) {
		return
	}
	for i := range min(len(got), len(want)) {
		if got[i] != want[i] {
			t.Fatalf("body differs at byte %d of %d: %#x, want %#x", i, len(want), got[i], want[i])
		}
	}
	t.Fatalf("body has %d bytes, want %d", len(got), len(want))
}

// AwaitRefusal waits until the host accepts no connection any more.
func (h *Host) AwaitRefusal() {
	h.t.Helper()
	Eventually(h.t, func() bool {
		c, err := net.DialTimeout("tcp", h.Addr(), Limit)
		if err == nil {
			c.Close()
		}
		return errors.Is(err, syscall.ECONNREFUSED)
	}, "%s refuses connections", h.Addr())
}
