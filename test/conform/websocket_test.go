package conform

import (
	"context"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/perchserver/perch/test/harness"
)

// Section 8.4, and what section 8.6 has of WebSockets.

const handshake = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"

func upgradable(t *testing.T, h *harness.Host, request string) bool {
	t.Helper()
	var s harness.Seen
	harness.Decode(t, raw(h, request), &s)
	return s.Upgradable
}

func TestRequestWithBody_NotUpgradable(t *testing.T) {
	t.Parallel()
	if upgradable(t, dotnetApp(t), "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n"+handshake+"\r\nxx") {
		t.Error("a request with a body can be upgraded")
	}
}

func TestRequestWithoutBody_Upgradable(t *testing.T) {
	t.Parallel()
	if !upgradable(t, dotnetApp(t), "GET / HTTP/1.1\r\nHost: a\r\n"+handshake+"\r\n") {
		t.Error("a request without a body cannot be upgraded")
	}
}

func TestOnStartedCalledForWebSocket(t *testing.T) {
	t.Parallel()
	r := raw(dotnetApp(t), "GET /ws HTTP/1.1\r\nHost: a\r\n"+handshake+"\r\n")
	if r.StatusCode != 101 || !strings.EqualFold(r.Header.Get("Connection"), "Upgrade") {
		t.Errorf("answered %d, Connection %q", r.StatusCode, r.Header.Get("Connection"))
	}
}

func TestWebReadBeforeUpgrade(t *testing.T) {
	t.Parallel()
	// What the client sends behind its handshake belongs to the socket.
	c := dotnetApp(t).Dial()
	c.Send("GET /ws HTTP/1.1\r\nHost: a\r\n" + handshake + "\r\n" + "\x81\x82\x00\x00\x00\x00hi")
	if r := c.Response("GET"); r.StatusCode != 101 {
		t.Fatalf("answered %d", r.StatusCode)
	}
	frame := make([]byte, 4)
	if _, err := io.ReadFull(c.In, frame); err != nil || string(frame) != "\x81\x02hi" {
		t.Errorf("read %q, %v", frame, err)
	}
}

func TestCanSendAndReceieveData(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	c := h.WebSocket("/ws", nil)
	for i := range 1000 {
		echo(t, c, fmt.Sprintf("round %d", i))
	}
}

// echo sends a message and reads it back, for which it has harness.Limit.
func echo(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	defer cancel()
	if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
		t.Fatalf("write: %v", err)
	}
	if _, data, err := c.Read(ctx); err != nil || string(data) != text {
		t.Fatalf("read %q, %v; want %q", data, err, text)
	}
}

func TestAttemptCompressionWorks(t *testing.T) {
	t.Parallel()
	for _, app := range []harness.App{harness.DotNet(), harness.Go()} {
		t.Run(app.Name, func(t *testing.T) {
			t.Parallel()
			h := app.Start(t)
			r := raw(h, "GET /ws HTTP/1.1\r\nHost: a\r\n"+handshake+"Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits\r\n\r\n")
			if got := r.Header.Get("Sec-WebSocket-Extensions"); r.StatusCode != 101 || got != "" {
				t.Errorf("answered %d with extensions %q, want none", r.StatusCode, got)
			}
			echo(t, h.WebSocket("/ws", &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover}), strings.Repeat("z", 5000))
		})
	}
}

func TestHttp1_0_Request_NotUpgradable(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	if upgradable(t, h, "GET / HTTP/1.0\r\nHost: a\r\n"+handshake+"\r\n") {
		t.Error("a request of HTTP/1.0 can be upgraded")
	}
	if r := raw(h, "GET /ws HTTP/1.0\r\nHost: a\r\n"+handshake+"\r\n"); r.StatusCode == 101 {
		t.Error("a request of HTTP/1.0 was upgraded")
	}
}

func TestUpgradeFeatureDetection(t *testing.T) {
	t.Parallel()
	for enabled, want := range map[string]bool{"true": true, "false": false} {
		t.Run(enabled, func(t *testing.T) {
			t.Parallel()
			h := harness.DotNet().Start(t, harness.WebConfig{
				Attrs: map[string]string{"processPath": "dotnet", "arguments": `.\app.dll`},
				More:  `      <webSocket enabled="` + enabled + `" />` + "\n",
			}.Use(t))
			if got := upgradable(t, h, "GET / HTTP/1.1\r\nHost: a\r\n"+handshake+"\r\n"); got != want {
				t.Errorf("upgradable: %v, want %v", got, want)
			}
			if got := h.Env()["ASPNETCORE_IIS_WEBSOCKETS_SUPPORTED"]; got != enabled {
				t.Errorf("ASPNETCORE_IIS_WEBSOCKETS_SUPPORTED is %q, want %s", got, enabled)
			}
		})
	}
}

func TestWebSocketErrorhandlingTest(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{More: `      <webSocket enabled="false" />` + "\n"})
	r := raw(h, "GET /ws HTTP/1.1\r\nHost: a\r\n"+handshake+"\r\n")
	if r.StatusCode == 101 || strings.EqualFold(r.Header.Get("Connection"), "Upgrade") {
		t.Errorf("with WebSockets off answered %d, Connection %q", r.StatusCode, r.Header.Get("Connection"))
	}
	if s := h.Seen("GET", "/", "Connection: Upgrade", "Upgrade: websocket"); len(s.Field("Connection")) > 0 && strings.EqualFold(s.Field("Connection")[0], "upgrade") {
		t.Errorf("the application saw Connection %q", s.Field("Connection"))
	}
}

func TestWebSocketTest(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	pid := h.Worker()
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	defer cancel()
	c := h.WebSocket("/ws", nil)
	echo(t, c, strings.Repeat("hello", 100))
	if err := c.Close(websocket.StatusNormalClosure, "client is done"); err != nil {
		t.Errorf("close by the client: %v", err)
	}
	c = h.WebSocket("/ws", nil)
	if err := c.Write(ctx, websocket.MessageText, []byte("close")); err != nil {
		t.Fatal(err)
	}
	_, _, err := c.Read(ctx)
	if websocket.CloseStatus(err) != websocket.StatusNormalClosure || !strings.Contains(err.Error(), "bye") {
		t.Errorf("close by the application: %v", err)
	}
	if again := h.Worker(); again != pid {
		t.Errorf("process %d became %d", pid, again)
	}
}

func TestWebSocketAppOfflineTest(t *testing.T) {
	t.Parallel()
	socketSeesTheEnd(t, func(dir string) { harness.WriteFile(t, filepath.Join(dir, "app_offline.htm"), "offline") })
}

func TestWebSocketRecycledWithConfigChangeTest(t *testing.T) {
	t.Parallel()
	socketSeesTheEnd(t, func(dir string) { harness.Replace(t, filepath.Join(dir, "web.config")) })
}

// socketSeesTheEnd opens a WebSocket, does something that ends the process,
// and expects the close frame that the application sends when it stops.
func socketSeesTheEnd(t *testing.T, change func(dir string)) {
	t.Helper()
	app := harness.DotNet()
	dir := app.Folder(t)
	h := harness.Start(t, harness.Run{Dir: dir, Env: app.Env(t)})
	pid := h.Worker()
	c := h.WebSocket("/ws", nil)
	change(dir)
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	defer cancel()
	if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("read: %v, want the close frame of the application", err)
	}
	c.CloseNow()
	harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the old process ends")
}
