package main

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"time"
)

// tunnelled makes of an extended CONNECT (RFC 8441) the upgrade of HTTP/1.1
// that it stands for. net/http takes one with GODEBUG=http2xconnect=1.
func tunnelled(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Header.Get(":protocol") != "websocket" {
			next.ServeHTTP(w, r)
			return
		}
		r = r.Clone(r.Context())
		r.Method = http.MethodGet
		r.Header.Del(":protocol")
		r.Header.Set("Connection", "Upgrade")
		r.Header.Set("Upgrade", "websocket")
		r.Header.Set("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
		next.ServeHTTP(&tunnel{w, r.Body}, r)
	})
}

// tunnel is the stream as what http.Hijacker gives.
type tunnel struct {
	http.ResponseWriter
	body io.ReadCloser
}

func (t *tunnel) WriteHeader(status int) {
	if status == http.StatusSwitchingProtocols {
		status = http.StatusOK
		for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Accept"} {
			t.Header().Del(name)
		}
	}
	t.ResponseWriter.WriteHeader(status)
}

func (t *tunnel) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	c := &tunnelConn{t}
	return c, bufio.NewReadWriter(bufio.NewReader(c), bufio.NewWriter(c)), c.flush()
}

// tunnelConn is a connection without addresses and deadlines.
type tunnelConn struct{ t *tunnel }

func (c *tunnelConn) flush() error { return http.NewResponseController(c.t.ResponseWriter).Flush() }

func (c *tunnelConn) Read(p []byte) (int, error) { return c.t.body.Read(p) }

func (c *tunnelConn) Write(p []byte) (int, error) {
	n, err := c.t.ResponseWriter.Write(p)
	if err == nil {
		err = c.flush()
	}
	return n, err
}

func (c *tunnelConn) Close() error                     { return c.t.body.Close() }
func (c *tunnelConn) LocalAddr() net.Addr              { return &net.TCPAddr{} }
func (c *tunnelConn) RemoteAddr() net.Addr             { return &net.TCPAddr{} }
func (c *tunnelConn) SetDeadline(time.Time) error      { return nil }
func (c *tunnelConn) SetReadDeadline(time.Time) error  { return nil }
func (c *tunnelConn) SetWriteDeadline(time.Time) error { return nil }
