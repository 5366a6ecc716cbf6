package soak

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/coder/websocket"

	"github.com/perchserver/perch/test/harness"
)

// patience is for anything that a client waits for. A machine that runs a
// program with the race detector on two busy processors is slow.
const patience = 30 * time.Second

// client is one client. It keeps a connection from visit to visit where the
// kind of visit lets it.
type client struct {
	host   *harness.Host
	rand   *rand.Rand
	conn   *net.TCPConn
	in     *bufio.Reader
	serial int
	http2  *http.Client // nil until it is wanted
}

var kinds = []kind{
	{"keep-alive", keepAlive},
	{"pipelining", pipelining},
	{"upload by length", func(c *client) error { return c.upload("length", "") }},
	{"upload in chunks", func(c *client) error { return c.upload("chunks", "") }},
	{"upload when asked", func(c *client) error { return c.upload("length", "Expect: 100-continue\r\n") }},
	{"echo", echo},
	{"early answer", earlyAnswer},
	{"download", func(c *client) error { return c.download(c.rand.IntN(4<<20), 0) }},
	{"slow reader", func(c *client) error { return c.download(c.rand.IntN(200_000), time.Millisecond) }},
	{"HTTP/1.0", oldVersion},
	{"refused", refused},
	{"WebSocket", webSocket},
	{"HTTP/2", multiplexing},
	{"gone early", goneEarly},
	{"gone during upload", goneDuringUpload},
	{"gone during answer", goneDuringAnswer},
	{"gone from WebSocket", goneFromWebSocket},
	{"gone from HTTP/2", goneFromMultiplexing},
}

// connect returns the client's connection, a new one if it has none.
func (c *client) connect() error {
	if c.conn == nil {
		nc, err := net.DialTimeout("tcp", c.host.Addr(), patience)
		if err != nil {
			return err
		}
		c.conn, c.in = nc.(*net.TCPConn), bufio.NewReader(nc)
	}
	return c.conn.SetDeadline(time.Now().Add(patience))
}

// leave closes the connection; reset cuts it.
func (c *client) leave() {
	if c.http2 != nil {
		c.http2.CloseIdleConnections()
	}
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

func (c *client) reset() {
	if c.conn != nil {
		c.conn.SetLinger(0)
	}
	c.leave()
}

// send writes on the client's connection.
func (c *client) send(format string, a ...any) error {
	if err := c.connect(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(c.conn, format, a...)
	return err
}

// answer reads one response, whose status must be 200, to its end.
func (c *client) answer(method string) ([]byte, error) {
	resp, err := http.ReadResponse(c.in, &http.Request{Method: method})
	if err != nil {
		return nil, err
	}
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return nil, fmt.Errorf("after %d bytes of the body: %w", len(body), err)
	case resp.StatusCode != 200:
		return nil, wrong("%s", harness.Describe(resp.StatusCode, body))
	case resp.Close:
		c.leave()
	}
	return body, nil
}

// name is one that no other request has.
func (c *client) name() string {
	c.serial++
	return fmt.Sprintf("/r-%x-%d", c.rand.Uint64(), c.serial)
}

// isOwn checks that an answer is the one to the request for a path.
func isOwn(body []byte, path string) error {
	var seen harness.Seen
	if err := json.Unmarshal(body, &seen); err != nil {
		return wrong("%v in %.200q", err, body)
	}
	if seen.Path != path {
		return wrong("the answer to %s is that to %s", path, seen.Path)
	}
	return nil
}

func keepAlive(c *client) error {
	path := c.name()
	if err := c.send("GET %s HTTP/1.1\r\nHost: a\r\n\r\n", path); err != nil {
		return err
	}
	body, err := c.answer("GET")
	if err != nil {
		return err
	}
	return isOwn(body, path)
}

// pipelining asks several times before it reads. Each answer may be the last
// of its connection; what was asked behind it was not answered.
func pipelining(c *client) error {
	var paths []string
	var all strings.Builder
	for range 2 + c.rand.IntN(6) {
		paths = append(paths, c.name())
		fmt.Fprintf(&all, "POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", paths[len(paths)-1])
	}
	if err := c.send("%s", all.String()); err != nil {
		return err
	}
	for _, path := range paths {
		body, err := c.answer("POST")
		if err != nil {
			return err
		}
		if err := isOwn(body, path); err != nil {
			return err
		}
		if c.conn == nil {
			return nil
		}
	}
	return nil
}

// body is random, so that no piece of it is like another.
func (c *client) body(most int) []byte {
	b := make([]byte, 1+c.rand.IntN(most))
	for i := range b {
		b[i] = byte(c.rand.Uint32())
	}
	return b
}

// post sends a body and what it is framed with; wait is called behind the
// head.
func (c *client) post(target, how, fields string, body []byte, wait func() error) error {
	framing := fmt.Sprintf("Content-Length: %d", len(body))
	if how == "chunks" {
		framing = "Transfer-Encoding: chunked"
	}
	if err := c.send("POST %s HTTP/1.1\r\nHost: a\r\n%s%s\r\n\r\n", target, fields, framing); err != nil {
		return err
	}
	if err := wait(); err != nil {
		return err
	}
	if how != "chunks" {
		_, err := c.conn.Write(body)
		return err
	}
	for len(body) > 0 {
		n := min(len(body), 1+c.rand.IntN(20_000))
		if err := c.send("%x\r\n%s\r\n", n, body[:n]); err != nil {
			return err
		}
		body = body[n:]
	}
	return c.send("0\r\n\r\n")
}

func noWait() error { return nil }

func (c *client) upload(how, fields string) error {
	body := c.body(300_000)
	wait := noWait
	if fields != "" {
		wait = func() error {
			for range 2 { // the line, and the empty one
				if line, err := c.in.ReadString('\n'); err != nil || line != "HTTP/1.1 100 Continue\r\n" && line != "\r\n" {
					return wrong("%q, %v in place of 100", line, err)
				}
			}
			return nil
		}
	}
	if err := c.post("/upload", how, fields, body, wait); err != nil {
		return err
	}
	told, err := c.answer("POST")
	if err != nil {
		return err
	}
	sum := sha256.Sum256(body)
	if !strings.Contains(string(told), hex.EncodeToString(sum[:])) {
		return wrong("%d bytes became %s", len(body), told)
	}
	return nil
}

// echo reads the answer while it sends.
func echo(c *client) error {
	body := c.body(100_000)
	if err := c.connect(); err != nil {
		return err
	}
	sent := make(chan error, 1)
	go func() { sent <- c.post("/echo", "chunks", "", body, noWait) }()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		c.leave()
		<-sent
		return err
	}
	back, err := io.ReadAll(resp.Body)
	if sendErr := <-sent; sendErr != nil || err != nil {
		return fmt.Errorf("send: %v, read: %v", sendErr, err)
	}
	if resp.StatusCode != 200 || !bytes.Equal(back, body) {
		return wrong("%d, %d bytes came back of %d", resp.StatusCode, len(back), len(body))
	}
	if resp.Close {
		c.leave()
	}
	return nil
}

// earlyAnswer sends a body that nobody reads, and must be able to read the
// answer all the same. (The application answers by hand and closes: net/http
// itself loses its place on a connection whose body it was made to leave.)
func earlyAnswer(c *client) error {
	if err := c.connect(); err != nil {
		return err
	}
	body := c.body(1 << 20)
	sent := make(chan struct{})
	go func() {
		c.post("/status?code=200&reason=Early&body=early", "length", "", body, noWait) // may fail: the answer came before
		close(sent)
	}()
	resp, err := http.ReadResponse(c.in, nil)
	var text []byte
	if err == nil {
		text, err = io.ReadAll(resp.Body)
	}
	if err != nil || string(text) != "early" {
		err = wrong("%q, %v", text, err)
	}
	<-sent
	c.leave()
	return err
}

func (c *client) download(size int, pause time.Duration) error {
	chunked := ""
	if c.rand.IntN(2) == 0 {
		chunked = "&chunked"
	}
	if err := c.send("GET /download?bytes=%d%s HTTP/1.1\r\nHost: a\r\n\r\n", size, chunked); err != nil {
		return err
	}
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return err
	}
	if resp.StatusCode != 200 {
		return wrong("status %d", resp.StatusCode)
	}
	buf, total := make([]byte, 4<<10), 0
	for {
		n, err := resp.Body.Read(buf)
		for _, b := range buf[:n] {
			if b != byte(total%251) {
				return wrong("byte %d of %d is %#x", total, size, b)
			}
			total++
		}
		if err == io.EOF {
			break
		}
		if err != nil {
			return fmt.Errorf("after %d bytes of %d: %w", total, size, err)
		}
		if pause > 0 {
			time.Sleep(pause) // it is what this client is
		}
	}
	if total != size {
		return wrong("%d bytes of %d", total, size)
	}
	if resp.Close {
		c.leave()
	}
	return nil
}

func oldVersion(c *client) error {
	path, keep := c.name(), ""
	if c.rand.IntN(2) == 0 {
		keep = "Connection: keep-alive\r\n"
	}
	if err := c.send("GET %s HTTP/1.0\r\n%s\r\n", path, keep); err != nil {
		return err
	}
	body, err := c.answer("GET")
	if err != nil {
		return err
	}
	if keep == "" {
		c.leave()
	}
	return isOwn(body, path)
}

// refused sends what has to be refused, and reads why.
func refused(c *client) error {
	cases := []struct {
		request string
		want    int
	}{
		{"GET /a HTTP/1.1\r\nHost : a\r\n\r\n", 400},
		{"GET /" + strings.Repeat("a", 9000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414},
		{"GET /a HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("a", 40_000) + "\r\n\r\n", 431},
		{"POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n" + strings.Repeat("a", 100_000), 413},
		{"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nz\r\n", 400},
		{"POST /upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", 501},
		{"GET / HTTP/4.0\r\nHost: a\r\n\r\n", 505},
	}
	k := cases[c.rand.IntN(len(cases))]
	if err := c.send("%s", k.request); err != nil {
		return err
	}
	defer c.leave()
	resp, err := http.ReadResponse(c.in, nil)
	if err != nil {
		return fmt.Errorf("%.40q: %w", k.request, err)
	}
	if resp.StatusCode != k.want || !resp.Close {
		return wrong("%.40q: %d, close %v", k.request, resp.StatusCode, resp.Close)
	}
	return nil
}

// dial opens a WebSocket.
func (c *client) dial(ctx context.Context) (*websocket.Conn, error) {
	ws, _, err := websocket.Dial(ctx, "ws"+strings.TrimPrefix(c.host.URL, "http")+"/ws", nil)
	if err == nil {
		ws.SetReadLimit(1 << 20)
	}
	return ws, err
}

// webSocket has messages echoed. The application says good-bye when it is
// replaced, which is as it should be.
func webSocket(c *client) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, err := c.dial(ctx)
	if err != nil {
		return err
	}
	defer ws.CloseNow()
	for range 1 + c.rand.IntN(10) {
		message := c.body(50_000)
		if err = ws.Write(ctx, websocket.MessageBinary, message); err != nil {
			break
		}
		var back []byte
		if _, back, err = ws.Read(ctx); err != nil {
			break
		}
		if !bytes.Equal(back, message) {
			return wrong("%d bytes came back of %d", len(back), len(message))
		}
	}
	if err == nil {
		ws.Close(websocket.StatusNormalClosure, "") // the good-byes may cross
		return ctx.Err()
	}
	if websocket.CloseStatus(err) == websocket.StatusGoingAway {
		return nil
	}
	return err
}

// vanish goes away in one of two ways, and comes back after a while: there is
// to be time for the others.
func (c *client) vanish() error {
	defer time.Sleep(5 * time.Millisecond)
	if c.rand.IntN(2) == 0 {
		c.reset()
	} else {
		c.leave()
	}
	return nil
}

func goneEarly(c *client) error {
	request := "POST /slow?ms=50 HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n0123456789"
	if c.rand.IntN(2) == 0 {
		request = "GET /hang?id=" + c.name()[1:] + " HTTP/1.1\r\nHost: a\r\n\r\n"
	}
	if c.connect() == nil {
		c.send("%s", request[:c.rand.IntN(len(request)+1)])
	}
	return c.vanish()
}

func goneDuringUpload(c *client) error {
	body := c.body(300_000)
	target := []string{"/upload", "/echo"}[c.rand.IntN(2)]
	switch c.rand.IntN(2) {
	case 0:
		c.send("POST %s HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n%s", target, 2*len(body), body)
	case 1:
		c.send("POST %s HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n%x\r\n%s", target, 2*len(body), body)
	}
	return c.vanish()
}

func goneDuringAnswer(c *client) error {
	target := []string{"/download?bytes=5000000", "/download?bytes=5000000&chunked", "/stream?n=1000&ms=1"}[c.rand.IntN(3)]
	if c.send("GET %s HTTP/1.1\r\nHost: a\r\n\r\n", target) == nil {
		io.CopyN(io.Discard, c.in, c.rand.Int64N(1000))
	}
	return c.vanish()
}

func goneFromWebSocket(c *client) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	ws, err := c.dial(ctx)
	if err != nil {
		return err
	}
	if c.rand.IntN(2) == 0 {
		ws.Write(ctx, websocket.MessageBinary, c.body(50_000))
	}
	ws.CloseNow()
	return nil
}

// multiplex returns the client for HTTP/2 with prior knowledge.
func (c *client) multiplex() *http.Client {
	if c.http2 == nil {
		only := new(http.Protocols)
		only.SetUnencryptedHTTP2(true)
		c.http2 = &http.Client{Timeout: patience, Transport: &http.Transport{Protocols: only, DisableCompression: true}}
	}
	return c.http2
}

// multiplexing asks and uploads on many streams at once.
func multiplexing(c *client) error {
	answers := make(chan error)
	over := c.multiplex()
	const streams = 8
	for range streams {
		path, body := c.name(), c.body(20_000)
		go func() { answers <- c.stream(over, path, body) }()
	}
	var first error
	for range streams {
		if err := <-answers; err != nil && first == nil {
			first = err
		}
	}
	return first
}

// stream has a body echoed, or asks for a path.
func (c *client) stream(over *http.Client, path string, body []byte) error {
	target, in := c.host.URL+path, io.Reader(nil)
	if len(body)%2 == 0 {
		target, in = c.host.URL+"/echo", bytes.NewReader(body)
	}
	req, err := http.NewRequest("POST", target, in)
	if err != nil {
		return err
	}
	resp, err := over.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	back, err := io.ReadAll(resp.Body)
	switch {
	case err != nil || resp.StatusCode != 200 || resp.ProtoMajor != 2:
		return wrong("%s, %v, %s", resp.Proto, err, harness.Describe(resp.StatusCode, back))
	case in == nil:
		return isOwn(back, path)
	case !bytes.Equal(back, body):
		return wrong("%d bytes came back of %d", len(back), len(body))
	}
	return nil
}

// goneFromMultiplexing gives streams up, or the whole connection.
func goneFromMultiplexing(c *client) error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Duration(c.rand.IntN(10_000))*time.Microsecond)
	defer cancel()
	target := []string{"/download?bytes=5000000", "/hang?id=h2", "/stream?n=1000&ms=1"}[c.rand.IntN(3)]
	req, err := http.NewRequestWithContext(ctx, "GET", c.host.URL+target, nil)
	if err != nil {
		return err
	}
	if resp, err := c.multiplex().Do(req); err == nil {
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	if c.rand.IntN(10) == 0 {
		c.http2.CloseIdleConnections()
	}
	return c.vanish()
}
