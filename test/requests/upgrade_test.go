package requests

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/perchserver/perch/test/harness"
)

// upgradeCases are about WebSockets.
var upgradeCases = []exchangeCase{
	{name: "WebSocketEcho", webSocket: true, run: func(t *testing.T, h *harness.Host, app harness.App) {
		c := h.WebSocket("/ws", nil)
		for i := range 1000 {
			echo(t, c, websocket.MessageText, fmt.Sprintf("message %d", i))
		}
		echo(t, c, websocket.MessageBinary, string(harness.Pattern(60_000)))
		if err := c.Close(websocket.StatusNormalClosure, "done"); err != nil {
			t.Errorf("close: %v", err)
		}
	}},
	{name: "WebSocketClosedByApplication", webSocket: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
		defer cancel()
		c := h.WebSocket("/ws", nil)
		if err := c.Write(ctx, websocket.MessageText, []byte("close")); err != nil {
			t.Fatal(err)
		}
		_, _, err := c.Read(ctx)
		if websocket.CloseStatus(err) != websocket.StatusNormalClosure || !strings.Contains(err.Error(), "bye") {
			t.Errorf("read: %v, want a close frame with 1000 and the reason bye", err)
		}
	}},
	{name: "WebSocketSubprotocol", webSocket: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		c := h.WebSocket("/ws", &websocket.DialOptions{Subprotocols: []string{"chat.v2", "chat.v1"}})
		if got := c.Subprotocol(); got != "chat.v2" {
			t.Errorf("subprotocol %q, want chat.v2", got)
		}
	}},
	{name: "WebSocketCompression", framing: true, webSocket: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		c := h.Dial()
		c.Send(upgrade("/ws", "Sec-WebSocket-Extensions: permessage-deflate"))
		head, err := readHead(c.In)
		if err != nil || !strings.HasPrefix(head, "HTTP/1.1 101 ") {
			t.Fatalf("head %q, %v", head, err)
		}
		if strings.Contains(strings.ToLower(head), "sec-websocket-extensions") {
			t.Errorf("an extension was agreed on: %q", head)
		}
	}},
	{name: "WebSocketOffersCompression", webSocket: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		ws := h.WebSocket("/ws", &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
		echo(t, ws, websocket.MessageText, strings.Repeat("works all the same ", 100))
	}},
	{name: "WebSocketHandshake", framing: true, webSocket: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		c := h.Dial()
		c.Send(upgrade("/ws"))
		head, err := readHead(c.In)
		if err != nil {
			t.Fatal(err)
		}
		// The accept value of the sample key of RFC 6455 section 1.3.
		for _, want := range []string{"http/1.1 101 ", "connection: upgrade", "upgrade: websocket", "sec-websocket-accept: s3pplmbitxaq9kygzzhzrbk+xoo="} {
			if !strings.Contains(strings.ToLower(head), want) {
				t.Errorf("head %q has no %q", head, want)
			}
		}
	}},
	{name: "WebSocketRefusedByApplication", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		if _, res, err := h.TryWebSocket("/status?code=403&body=no", nil); res == nil || res.StatusCode < 400 {
			t.Errorf("answered %v, %v", res, err)
		}
	}},
	{name: "WebSocketOverHTTP10", framing: true, run: func(t *testing.T, h *harness.Host, _ harness.App) {
		c := h.Dial()
		c.Send(strings.Replace(upgrade("/ws"), "HTTP/1.1", "HTTP/1.0", 1))
		if r := c.Response("GET"); r.StatusCode == 101 {
			t.Error("a request of HTTP/1.0 was upgraded")
		}
	}},
}

func upgrade(target string, fields ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n" +
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

// echo sends a message and reads it back, for which it has harness.Limit.
func echo(t *testing.T, c *websocket.Conn, kind websocket.MessageType, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	defer cancel()
	if err := c.Write(ctx, kind, []byte(text)); err != nil {
		t.Fatalf("write: %v", err)
	}
	got, data, err := c.Read(ctx)
	if err != nil || got != kind || string(data) != text {
		t.Fatalf("read %v %.100q, %v; want %v %.100q", got, data, err, kind, text)
	}
}
