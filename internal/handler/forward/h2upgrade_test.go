package forward_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/handler/forward"
)

const handshake = "GET /ws HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\n" +
	"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Extensions: permessage-deflate\r\n\r\n"

func connects() http2.Setting { return http2.Setting{ID: http2.SettingEnableConnectProtocol, Val: 1} }

// A WebSocket becomes a stream that an extended CONNECT opens, and looks to the
// client as if the application spoke HTTP/1.1.
func TestHTTP2WebSocket(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		over := make(chan bool)
		r := newRig(t, plays(func(a *h2app) {
			got := a.next()
			if want := "HEADERS 1 :method=CONNECT :scheme=http :path=/ws :authority=a :protocol=websocket sec-websocket-version=13 x-forwarded-for="; !strings.HasPrefix(got, want) {
				t.Errorf("got %q, want %q", got, want)
			}
			if strings.Contains(got, "sec-websocket-key") || strings.Contains(got, "extensions") || strings.HasSuffix(got, "end") {
				t.Errorf("got %q", got)
			}
			a.head(1, false, ":status: 200", "sec-websocket-protocol: chat")
			a.wants("DATA 1 ping")
			a.fr.WriteData(1, false, []byte("pong"))
			time.Sleep(time.Hour) // neither side has to speak
			a.fr.WriteData(1, true, []byte("bye"))
			a.wants("DATA 1 bye", "DATA 1  end")
			a.drain()
		}, connects()), inMemory, overHTTP2, timeout(limit), linger(func() func() { return func() { close(over) } }))
		c := r.client()
		c.send(handshake)
		c.want("HTTP/1.1 101 Switching Protocols\r\n")
		head := c.head()
		// The accept value of the sample key of RFC 6455 section 1.3.
		for _, want := range []string{"Connection: Upgrade\r\n", "Upgrade: websocket\r\n", "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n", "sec-websocket-protocol: chat\r\n"} {
			if !strings.Contains(head, want) {
				t.Errorf("head %q has no %q", head, want)
			}
		}
		c.send("ping")
		c.want("pong")
		c.want("bye")
		c.send("bye")
		c.closeWrite()
		<-over
		if errs := r.errs(); len(errs) > 0 {
			t.Errorf("failed: %v", errs)
		}
	})
}

// Who leaves in the middle is missed at the other end.
func TestHTTP2WebSocketBroken(t *testing.T) {
	t.Parallel()
	left := make(chan bool)
	r := newRig(t, plays(func(a *h2app) {
		a.wants("HEADERS 1")
		a.head(1, false, ":status: 200")
		a.wants("DATA 1 ping", "RST_STREAM 1 CANCEL")
		close(left)
		a.wants("HEADERS 3")
		a.head(3, false, ":status: 200")
		a.wants("DATA 3 ping")
		a.fr.WriteRSTStream(3, http2.ErrCodeCancel)
		a.drain()
	}, connects()), overHTTP2)
	c := r.client()
	c.send(handshake + "ping")
	c.want("HTTP/1.1 101 ")
	c.head()
	c.reset()
	<-left
	c = r.client()
	c.send(handshake + "ping")
	c.want("HTTP/1.1 101 ")
	c.head()
	c.ends()
}

func TestHTTP2WebSocketRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request string
		want    string
		set     []http2.Setting
		option  option
	}{
		"by the protocol":        {handshake, "HTTP/1.1 501 ", nil, overHTTP2},
		"by the application":     {handshake, "HTTP/1.1 403 ", []http2.Setting{connects()}, overHTTP2},
		"by the configuration":   {handshake, "HTTP/1.1 403 ", nil, func(r *rig, s *forward.Settings) { s.HTTP2, s.NoWebSockets = true, true }},
		"without a key":          {strings.ReplaceAll(handshake, "Sec-WebSocket-Key", "X-Key"), "HTTP/1.1 400 ", []http2.Setting{connects()}, overHTTP2},
		"being another protocol": {strings.ReplaceAll(handshake, "WebSocket\r\n", "h2c\r\n"), "HTTP/1.1 403 ", nil, overHTTP2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, plays(func(a *h2app) {
				if a.next() != "end" {
					a.head(1, true, ":status: 403")
					a.drain()
				}
			}, c.set...), c.option)
			client := r.client()
			client.send(c.request)
			if head := client.head(); !strings.HasPrefix(head, c.want) {
				t.Errorf("client got %q, want %q", head, c.want)
			}
			for _, err := range r.errs() {
				if e := exchange.AsError(err); e.Status >= 502 {
					t.Error(e)
				}
			}
		})
	}
}
