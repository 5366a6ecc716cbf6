package serve

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/perchserver/perch/internal/exchange"
)

// duplex answers each piece of a body before the next has come, as gRPC does.
var duplex = exchange.HandlerFunc(func(x *exchange.Exchange) error {
	x.Response.Status, x.Response.Length = 200, -1
	w := x.Response.Writer
	if err := w.WriteHead(x); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	buf := make([]byte, 100)
	for {
		n, err := x.Request.Body.Read(buf)
		if n > 0 {
			fmt.Fprintf(w, "<%s>", buf[:n])
			if err := w.Flush(); err != nil {
				return err
			}
		}
		if err == io.EOF {
			x.Response.Trailer = append(x.Response.Trailer, exchange.Field{Name: []byte("grpc-status"), Value: []byte("0")})
			return nil
		}
		if err != nil {
			return err
		}
	}
})

func TestH2BothDirectionsAtOnce(t *testing.T) {
	t.Parallel()
	c := onSockets(t, Settings{}, duplex).dial2()
	id := c.open(false, head("POST", "/", "te: trailers")...)
	c.until("the head", func() bool { return c.heads[id] != "" })
	want := ""
	for i := range 20 {
		piece := fmt.Sprintf("piece %d", i)
		want += "<" + piece + ">"
		c.fr.WriteData(id, false, []byte(piece))
		c.until(piece, func() bool { return c.data[id] == want })
	}
	c.fr.WriteData(id, true, nil)
	if got := c.answer(id); got != ":status: 200\ngrpc-status: 0\n\n"+want {
		t.Errorf("got %q", got)
	}
}

// An answer that does not wait for the body ends the upload, without an
// error, and what is still on its way does no harm (RFC 9113 section 8.1).
func TestH2EarlyAnswer(t *testing.T) {
	t.Parallel()
	c := onSockets(t, Settings{}, pages).dial2()
	for range 3 {
		id := c.open(false, head("POST", "/ignore")...)
		if got := c.answer(id); got != h2ok("ignored") {
			t.Errorf("got %q", got)
		}
		c.until("NO_ERROR", func() bool { return c.ended[id] == "end NO_ERROR" })
		for range 100 { // more than the windows, if it were not given back
			c.fr.WriteData(id, false, make([]byte, 16<<10))
		}
		c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.encode("x: late"), EndStream: true, EndHeaders: true})
	}
	if got := c.answer(c.get("/next")); got != h2ok("GET /next") {
		t.Errorf("then %q", got)
	}
}

// A body that comes without a length and turns out to be empty is a body
// still, however soon its end is known: without one, and without a length, an
// application may refuse a POST (411).
func TestH2EmptyBody(t *testing.T) {
	t.Parallel()
	c := onSockets(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		return answer(x, 200, fmt.Sprintf("%d %s", x.Request.Length, x.Request.Header.Get(exchange.ContentLength)))
	})).dial2()
	for range 100 {
		id := c.open(false, head("POST", "/")...)
		c.fr.WriteData(id, true, nil)
		if got := c.answer(id); got != h2ok("-1 ") && got != h2ok("0 0") {
			t.Fatalf("length and field: %q", got)
		}
	}
	if got := c.answer(c.open(true, head("POST", "/")...)); got != h2ok("0 ") {
		t.Errorf("without a body: %q", got)
	}
}

// A body with a length that is not kept is never seen whole, and a small one
// not at all.
func TestH2LengthsThatLie(t *testing.T) {
	t.Parallel()
	var seen, whole atomic.Int32
	v := onSockets(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		if string(x.Request.Target.Path) == "/lie" {
			seen.Add(1)
		}
		n, err := io.Copy(io.Discard, x.Request.Body)
		if string(x.Request.Target.Path) == "/lie" && (err == nil || n >= x.Request.Length) {
			whole.Add(1)
		}
		if err != nil {
			return err
		}
		return answer(x, 200, fmt.Sprint(n))
	}))
	for _, declared := range []int{0, 1, 10, 16 << 10, 20_000, 100_000} {
		for _, sent := range []int{declared - 1, declared + 1} {
			if sent < 0 {
				continue
			}
			for _, apart := range []bool{false, true} {
				seen.Store(0)
				c := v.dial2()
				id := c.open(false, head("POST", "/lie", fmt.Sprintf("content-length: %d", declared))...)
				for left := sent; left > 0; left -= 10_000 {
					if apart {
						time.Sleep(5 * time.Millisecond)
					}
					c.fr.WriteData(id, false, make([]byte, min(left, 10_000)))
				}
				c.fr.WriteData(id, true, nil)
				if got := c.answer(id); !strings.Contains(got, "[PROTOCOL_ERROR]") {
					t.Errorf("%d for %d: %q", sent, declared, got)
				}
				if got := c.answer(c.get("/next")); got != h2ok("0") {
					t.Errorf("%d for %d: then %q", sent, declared, got)
				}
				if declared <= bufferSize && seen.Load() > 0 {
					t.Errorf("%d for %d: a handler saw it", sent, declared)
				}
			}
		}
	}
	if n := whole.Load(); n > 0 {
		t.Errorf("%d were seen whole", n)
	}
}

// A client that takes a request back is noticed by who works for it.
func TestH2Reset(t *testing.T) {
	t.Parallel()
	opened := false
	began, noticed := make(chan string, 1), make(chan string, 1)
	v := onSockets(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		path := string(x.Request.Target.Path)
		switch path {
		case "/wait":
			w := &work{done: make(chan struct{})}
			x.WhenGone(w)
			began <- path
			<-w.done
			x.WhenGone(nil)
		case "/read":
			began <- path
			if _, err := io.Copy(io.Discard, x.Request.Body); err == nil || exchange.AsError(err).Status != 400 {
				path = fmt.Sprint(err)
			}
		case "/write":
			x.Response.Status, x.Response.Length = 200, -1
			x.Response.Writer.WriteHead(x)
			for n := 0; ; n++ {
				if n == 6 { // beyond this, it waits
					began <- path
				}
				if _, err := x.Response.Writer.Write(make([]byte, 10_000)); err != nil {
					break
				}
			}
		default:
			return answer(x, 200, "")
		}
		noticed <- path
		return exchange.Errorf(502, 0, "work", "in vain")
	}))
	for _, path := range []string{"/wait", "/read", "/write", "/write"} {
		c := v.dial2()
		if path == "/write" && opened { // this time, it waits for the window of the connection
			c = v.dial2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 20})
		}
		opened = path == "/write"
		id := c.open(false, head("POST", path)...)
		<-began
		c.fr.WriteRSTStream(id, http2.ErrCodeCancel)
		select {
		case got := <-noticed:
			if got != path {
				t.Errorf("%s: %s", path, got)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("%s: not noticed", path)
		}
		if got := c.answer(c.get("/")); got != h2ok("") {
			t.Errorf("%s: then %q", path, got)
		}
	}
}

// The cases of an extended CONNECT (RFC 8441): the application sees a GET with
// an upgrade, and its 101 becomes a 200 without what HTTP/1.1 needed.
func TestH2WebSocket(t *testing.T) {
	t.Parallel()
	var request atomic.Value
	accept := func(x *exchange.Exchange) error {
		x.Response.Status = 101
		x.Response.Header.AddString(exchange.Upgrade, "websocket")
		x.Response.Header.AddName([]byte("Sec-WebSocket-Accept"), []byte(websocketAccept(x.Request.Header.Get(exchange.SecWebSocketKey))))
		x.Response.Header.AddName([]byte("Sec-WebSocket-Protocol"), []byte("chat"))
		return nil
	}
	v := onSockets(t, Settings{}, application{
		"/echo": func(x *exchange.Exchange) error {
			request.Store(fmt.Sprintf("%s %s %d %d", x.Request.Method, x.Request.Upgrade, x.Request.Length, len(x.Request.Header.Get(exchange.SecWebSocketKey))))
			accept(x)
			stream, err := x.Response.Writer.Upgrade(x)
			if err != nil {
				return err
			}
			b := make([]byte, 100)
			for {
				n, err := stream.Read(b)
				if n > 0 {
					fmt.Fprintf(stream, "<%s>", b[:n])
				}
				if err == io.EOF {
					io.WriteString(stream, "bye")
					return stream.CloseWrite()
				}
				if err != nil {
					return err
				}
			}
		},
		"/wrong-key": func(x *exchange.Exchange) error {
			accept(x)
			x.Response.Header.DelName("Sec-WebSocket-Accept")
			_, err := x.Response.Writer.Upgrade(x)
			return err
		},
		"/close": func(x *exchange.Exchange) error {
			accept(x)
			stream, err := x.Response.Writer.Upgrade(x)
			if err == nil {
				stream.Close()
			}
			return err
		},
		"/return": func(x *exchange.Exchange) error {
			accept(x)
			_, err := x.Response.Writer.Upgrade(x)
			return err
		},
		"/403": func(x *exchange.Exchange) error { return answer(x, 403, "no") },
	})
	connect := func(path string) []string {
		return []string{":method: CONNECT", ":protocol: websocket", ":scheme: http", ":authority: a", ":path: " + path, "sec-websocket-version: 13"}
	}
	c := v.dial2()
	id := c.open(false, connect("/echo")...)
	c.until("the answer", func() bool { return c.heads[id] != "" })
	if got, want := c.heads[id], ":status: 200\nsec-websocket-protocol: chat\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := request.Load(); got != "GET websocket 0 24" {
		t.Errorf("the application saw %q", got)
	}
	for i, want := range []string{"<a>", "<a><b>"} {
		c.fr.WriteData(id, false, []byte{'a' + byte(i)})
		c.until(want, func() bool { return c.data[id] == want })
	}
	c.fr.WriteData(id, true, nil)
	if got := c.answer(id); !strings.HasSuffix(got, "\n<a><b>bye") {
		t.Errorf("got %q", got)
	}
	for path, want := range map[string]string{
		"/403":       ":status: 403\ncontent-length: 2\n\nno",
		"/plain":     ":status: 502\ncontent-length: 0\n\n", // a 200 that is no tunnel
		"/wrong-key": h2bare(502, "Bad Gateway.\n"),
		"/return":    ":status: 200\nsec-websocket-protocol: chat\n\n[CANCEL]",
		"/close":     ":status: 200\nsec-websocket-protocol: chat\n\n[CANCEL]",
	} {
		id := c.open(false, connect(path)...)
		if got := strings.TrimSuffix(c.answer(id), "[end NO_ERROR]"); got != want {
			t.Errorf("%s: got %q, want %q", path, got, want)
		}
	}
	id = c.open(false, append([]string{":method: CONNECT", ":protocol: other"}, connect("/echo")[2:]...)...)
	if got, want := c.answer(id), h2bare(501, "Not Implemented: This protocol is not served here.\n"); strings.TrimSuffix(got, "[end NO_ERROR]") != want {
		t.Errorf("another protocol: %q", got)
	}
}

// An upload that waits on another goroutine can be broken off.
func TestH2Interrupt(t *testing.T) {
	t.Parallel()
	c := onSockets(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		read := make(chan error)
		go func() {
			_, err := io.Copy(io.Discard, x.Request.Body)
			read <- err
		}()
		x.Request.Body.Interrupt()
		if err := <-read; err != errInterrupted {
			t.Errorf("reading ended with %v", err)
		}
		return answer(x, 200, "")
	})).dial2()
	id := c.open(false, head("POST", "/")...)
	if got := c.answer(id); got != h2ok("") && got != h2ok("")+"[end NO_ERROR]" {
		t.Errorf("got %q", got)
	}
}

// Streams share a connection fairly, whatever the order of windows: everyone
// gets all of its own body.
func TestH2ManyStreams(t *testing.T) {
	t.Parallel()
	v := onSockets(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		var n int
		fmt.Sscanf(string(x.Request.Target.Query), "%d", &n)
		x.Response.Status, x.Response.Length = 200, int64(n)
		if err := x.Response.Writer.WriteHead(x); err != nil {
			return err
		}
		_, err := x.Response.Writer.ReadFrom(io.LimitReader(endless('x'), int64(n)))
		return err
	}))
	c := v.dial2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 10_000})
	sizes := map[uint32]int{}
	for i := range 50 {
		n := rand.IntN(200_000)
		if i%5 == 0 {
			n = rand.IntN(100)
		}
		sizes[c.get(fmt.Sprintf("/?%d", n))] = n
	}
	left := len(sizes)
	given := map[uint32]int{}
	for left > 0 {
		before := len(c.ended)
		if !c.read() {
			t.Fatal("the connection ended")
		}
		left -= len(c.ended) - before
		for id := range sizes {
			if got := len(c.data[id]); got-given[id] >= 5_000 {
				c.fr.WriteWindowUpdate(id, uint32(got-given[id]))
				given[id] = got
			}
		}
	}
	for id, n := range sizes {
		if len(c.data[id]) != n || c.ended[id] != "end" {
			t.Errorf("stream %d: %d of %d bytes, %s", id, len(c.data[id]), n, c.ended[id])
		}
	}
}

type endless byte

func (e endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(e)
	}
	return len(p), nil
}

// What is taken, given back and taken again counts once for the window of the
// connection.
func TestH2WindowsOfUnreadBodies(t *testing.T) {
	t.Parallel()
	const size, count, window = 10_000, 300, 1 << 20
	for _, target := range []string{"/unread", "/unread?left"} {
		c := onSockets(t, Settings{ConnWindow: window}, pages).dial2()
		c.answer(c.get("/"))
		before := c.granted
		for range count {
			c.answer(c.post(target, strings.Repeat("x", size), fmt.Sprintf("content-length: %d", size)))
		}
		if got := c.granted - before; got > count*size || got <= count*size-window/2 {
			t.Errorf("%s: %d bytes were sent, %d granted", target, count*size, got)
		}
	}
}

// An idle connection parks: it has no goroutine and no buffers, and goes on
// with what its HPACK tables know.
func TestH2Parks(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("nothing parks here")
	}
	v := onSockets(t, Settings{ParkAfter: 1}, pages)
	c := v.dial2()
	parked := func() bool {
		v.mu.Lock()
		defer v.mu.Unlock()
		for conn := range v.conns {
			if h := conn.h2.Load(); h != nil {
				h.mu.Lock()
				defer h.mu.Unlock()
				return h.in == nil && h.workers == 0
			}
		}
		return false
	}
	for range 5 {
		// No body comes back, so the client has nothing to say afterwards.
		if got := c.answer(c.open(true, head("GET", "/204", "x-own: in the table")...)); got != ":status: 204\n\n" {
			t.Fatalf("got %q", got)
		}
		eventually(t, "parking", parked)
	}
}

// Clients of all kinds at once, with the library's client: the race detector
// is half of this test.
func TestH2Churn(t *testing.T) {
	t.Parallel()
	v := onSockets(t, Settings{ParkAfter: 1}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		switch string(x.Request.Target.Path) {
		case "/panic":
			panic("a mistake")
		case "/wait":
			w := &work{done: make(chan struct{})}
			x.WhenGone(w)
			defer x.WhenGone(nil)
			select {
			case <-w.done:
			case <-time.After(time.Duration(rand.IntN(50)) * time.Millisecond):
			}
		case "/ignore":
			return answer(x, 200, "")
		}
		x.Response.Status, x.Response.Length = 200, -1
		if err := x.Response.Writer.WriteHead(x); err != nil {
			return err
		}
		x.Response.Writer.Flush()
		_, err := x.Request.Body.WriteTo(x.Response.Writer)
		return err
	}))
	v.journal.wait("panic while handling a request")
	var clients sync.WaitGroup
	end := time.Now().Add(2 * time.Second)
	for range 4 {
		tr := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) { return v.dial(), nil }}
		tr.Protocols.SetUnencryptedHTTP2(true)
		for range 6 {
			clients.Go(func() {
				for time.Now().Before(end) {
					one(t, tr)
				}
			})
		}
		defer tr.CloseIdleConnections()
	}
	clients.Wait()
}

// one is a random request of a client.
func one(t *testing.T, tr *http.Transport) {
	path := []string{"/echo", "/echo", "/echo", "/wait", "/ignore", "/panic"}[rand.IntN(6)]
	body := strings.Repeat(string(rune('a'+rand.IntN(26))), rand.IntN(3)*rand.IntN(100_000))
	req, _ := http.NewRequest("POST", "http://a"+path, strings.NewReader(body))
	if rand.IntN(3) == 0 {
		req.ContentLength = -1
	}
	res, err := tr.RoundTrip(req)
	if err != nil {
		t.Errorf("%s: %v", path, err)
		return
	}
	defer res.Body.Close()
	if rand.IntN(5) == 0 {
		return // the client takes it back
	}
	got, err := io.ReadAll(res.Body)
	if path == "/echo" && (err != nil || string(got) != body) {
		t.Errorf("echo of %d bytes: %d, %v", len(body), len(got), err)
	}
}

// A connection that is asked to leave while it parks says goodbye all the
// same: whatever its state, the client is told.
func TestH2DrainWhileParking(t *testing.T) {
	t.Parallel()
	for range 20 {
		v := onSockets(t, Settings{ParkAfter: 1}, pages)
		c := v.dial2()
		c.answer(c.open(true, head("GET", "/204")...))
		time.Sleep(time.Duration(rand.IntN(250)) * time.Millisecond) // parking is decided on within the ticks of the clock
		v.each((*conn).endIfIdle)
		if got := c.rest(); got != "NO_ERROR" {
			t.Fatalf("ended with %s", got)
		}
		c.nc.Close()
	}
}

// A body may be asked for on one goroutine while the response begins on another.
func TestH2AskBesideAnswer(t *testing.T) {
	t.Parallel()
	handler := exchange.HandlerFunc(func(x *exchange.Exchange) error {
		begun, read := make(chan struct{}), make(chan struct{})
		go func() {
			defer close(read)
			close(begun)
			io.Copy(io.Discard, x.Request.Body)
		}()
		<-begun
		err := answer(x, 200, "early")
		x.Request.Body.Interrupt()
		<-read
		return err
	})
	c := onSockets(t, Settings{}, handler).dial2()
	for range 100 {
		id := c.open(false, head("POST", "/", "expect: 100-continue", "content-length: 5")...)
		got := strings.TrimPrefix(c.answer(id), ":status: 100\n")
		if want := ":status: 200\ncontent-length: 5\n\nearly"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
