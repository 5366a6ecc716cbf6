package harness

//lint:file-ignore SA1019 net/http, which is to be used instead, refuses to send :protocol.

import (
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"

	"golang.org/x/net/http2"
)

// tunnel makes the upgrade of a WebSocket client over HTTP/2, by an extended
// CONNECT (RFC 8441), and lets the client believe that it was one of HTTP/1.1.
type tunnel struct{ trust *tls.Config }

// RoundTrip implements http.RoundTripper.
func (w tunnel) RoundTrip(upgrade *http.Request) (*http.Response, error) {
	t := &http2.Transport{TLSClientConfig: w.trust}
	if upgrade.URL.Scheme == "http" {
		t.AllowHTTP = true
		t.DialTLSContext = func(ctx context.Context, network, addr string, _ *tls.Config) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, addr)
		}
	}
	ctx, cancel := context.WithCancel(context.Background()) // of the stream, which outlives the upgrade
	waiting := context.AfterFunc(upgrade.Context(), cancel)
	defer waiting()
	in, out := io.Pipe()
	connect := (&http.Request{
		Method: "CONNECT",
		URL:    &url.URL{Scheme: upgrade.URL.Scheme, Host: upgrade.URL.Host, Path: upgrade.URL.Path, RawQuery: upgrade.URL.RawQuery},
		Host:   upgrade.Host,
		Header: upgrade.Header.Clone(),
		Body:   in,
	}).WithContext(ctx)
	key := upgrade.Header.Get("Sec-WebSocket-Key")
	for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Key"} {
		connect.Header.Del(name)
	}
	connect.Header[":protocol"] = []string{"websocket"}
	res, err := t.RoundTrip(connect)
	if err != nil {
		cancel()
		return nil, err
	}
	for _, name := range []string{"Connection", "Upgrade", "Sec-WebSocket-Accept"} {
		if v, ok := res.Header[name]; ok {
			return nil, fmt.Errorf("%s %q over HTTP/2", name, v)
		}
	}
	if res.StatusCode != 200 {
		out.Close()
		return res, nil
	}
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")) // RFC 6455 section 4.2.2
	res.StatusCode = http.StatusSwitchingProtocols
	res.Header.Set("Connection", "Upgrade")
	res.Header.Set("Upgrade", "websocket")
	res.Header.Set("Sec-WebSocket-Accept", base64.StdEncoding.EncodeToString(sum[:]))
	res.Body = &duplex{ReadCloser: res.Body, WriteCloser: out, end: func() { cancel(); t.CloseIdleConnections() }}
	return res, nil
}

// duplex is both directions of a stream.
type duplex struct {
	io.ReadCloser
	io.WriteCloser
	end  func()
	once sync.Once
}

// Close ends both.
func (d *duplex) Close() error {
	d.once.Do(func() {
		d.WriteCloser.Close()
		d.ReadCloser.Close()
		d.end()
	})
	return nil
}
