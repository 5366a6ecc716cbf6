package serve

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/sockio"
)

// A client that waits to be asked is asked when the handler reads, once, and
// never when it does not.
func TestContinue(t *testing.T) { overBoth(t, testContinue) }

func testContinue(t *testing.T, on starter) {
	reading := make(chan struct{})
	v := on(t, Settings{}, application{
		"/": func(x *exchange.Exchange) error {
			<-reading
			body, err := io.ReadAll(x.Request.Body)
			if err != nil {
				return err
			}
			return answer(x, 200, string(body))
		},
		"/no": func(x *exchange.Exchange) error { return exchange.Errorf(403, 0, "test", "not for you") },
	})
	for _, framing := range []string{"Content-Length: 10\r\n", "Transfer-Encoding: chunked\r\n"} {
		nc := v.dial()
		r := bufio.NewReader(nc)
		io.WriteString(nc, "POST /"+host11+"Expect: 100-continue\r\n"+framing+"\r\n")
		nc.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if b, err := r.Peek(1); err == nil {
			t.Errorf("%s: %q before the handler reads", framing, b)
		}
		nc.SetReadDeadline(time.Now().Add(10 * time.Second))
		reading <- struct{}{}
		asked, err := r.ReadString('\n')
		if empty, _ := r.ReadString('\n'); asked != "HTTP/1.1 100 Continue\r\n" || empty != "\r\n" {
			t.Fatalf("%s: %q, %q, %v", framing, asked, empty, err)
		}
		for _, piece := range []string{"hello", "world"} {
			if framing[0] == 'T' {
				piece = "5\r\n" + piece + "\r\n"
			}
			io.WriteString(nc, piece)
			time.Sleep(time.Millisecond)
		}
		if framing[0] == 'T' {
			io.WriteString(nc, "0\r\n\r\n")
		}
		if resp, body := answered(t, r, "POST"); body != "helloworld" || resp.Close {
			t.Errorf("%s: %q, close %v", framing, body, resp.Close)
		}
		io.WriteString(nc, get("/next"))
		if _, body := answered(t, r, "GET"); body != "GET /next" {
			t.Errorf("%s: then %q", framing, body)
		}
	}
	nc := v.dial()
	io.WriteString(nc, "POST /no"+host11+"Expect: 100-continue\r\nContent-Length: 10\r\n\r\n")
	r := bufio.NewReader(nc)
	if resp, _ := answered(t, r, "POST"); resp.StatusCode != 403 || !resp.Close {
		t.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
	}
}

// Whoever is refused in the middle of an upload can read the refusal, and is
// not reset before.
func TestRefusalDuringUpload(t *testing.T) { overBoth(t, testRefusalDuringUpload) }

func testRefusalDuringUpload(t *testing.T, on starter) {
	v := on(t, Settings{DrainTime: hangs}, application{
		"/limit": func(x *exchange.Exchange) error {
			x.Request.Body.Limit(1 << 20)
			_, err := io.Copy(io.Discard, x.Request.Body)
			return err
		},
		"/refuse": func(x *exchange.Exchange) error {
			return &exchange.Error{Status: 413, Close: true}
		},
	})
	const size = 12 << 20 // more than the sockets hold
	chunk := fmt.Sprintf("%x\r\n%s\r\n", 1<<16, strings.Repeat("x", 1<<16))
	uploads := map[string]string{
		"/limit":     "POST /limit" + host11 + fmt.Sprintf("Content-Length: %d\r\n\r\n", size),
		"/refuse":    "POST /refuse" + host11 + fmt.Sprintf("Content-Length: %d\r\n\r\n", size),
		"chunks":     "POST /limit" + host11 + "Transfer-Encoding: chunked\r\n\r\n",
		"bad chunks": "POST /limit" + host11 + "Transfer-Encoding: chunked\r\n\r\nx",
		"bad head":   "POST /limit HTTP/1.1\r\nHost: a b\r\nContent-Length: 30000000\r\n\r\n",
	}
	want := map[string]int{"bad chunks": 400, "bad head": 400}
	for name, head := range uploads {
		t.Run(name, func(t *testing.T) {
			for range 2 {
				nc := v.dial()
				sent := make(chan error)
				go func() {
					_, err := io.WriteString(nc, head)
					for n := 0; n < size && err == nil; n += 1 << 16 {
						_, err = io.WriteString(nc, chunk)
					}
					sent <- err
				}()
				if err := <-sent; err != nil { // it looks for an answer only when it has sent all
					t.Errorf("sending: %v", err)
				}
				resp, _ := answered(t, bufio.NewReader(nc), "POST")
				if status := max(want[name], 400); resp.StatusCode != status && (want[name] != 0 || resp.StatusCode != 413) || !resp.Close {
					t.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
				}
			}
		})
	}
}

// A response may begin, and go on, while the request is still coming.
func TestBothDirectionsAtOnce(t *testing.T) { overBoth(t, testBothDirectionsAtOnce) }

func testBothDirectionsAtOnce(t *testing.T, on starter) {
	v := on(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, -1
		if err := x.Response.Writer.WriteHead(x); err != nil {
			return err
		}
		x.Response.Writer.Flush()
		b := make([]byte, 100)
		for {
			n, err := x.Request.Body.Read(b)
			x.Response.Writer.Write(bytes.ToUpper(b[:n]))
			x.Response.Writer.Flush()
			if err == io.EOF {
				return nil
			}
			if err != nil {
				return err
			}
		}
	}))
	nc := v.dial()
	r := bufio.NewReader(nc)
	io.WriteString(nc, "POST /"+host11+"Transfer-Encoding: chunked\r\n\r\n")
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if line == "\r\n" {
			break
		}
	}
	for _, word := range []string{"one", "two", "three"} {
		fmt.Fprintf(nc, "%x\r\n%s\r\n", len(word), word)
		want := fmt.Sprintf("%x\r\n%s\r\n", len(word), strings.ToUpper(word))
		got := make([]byte, len(want))
		if _, err := io.ReadFull(r, got); string(got) != want {
			t.Fatalf("%q, want %q, %v", got, want, err)
		}
	}
	io.WriteString(nc, "0\r\n\r\n")
	if got := make([]byte, 5); true {
		if _, err := io.ReadFull(r, got); string(got) != "0\r\n\r\n" {
			t.Errorf("%q, %v", got, err)
		}
	}
}

// backend is the far side of a connection that a handler moves bytes with.
type backend struct {
	sock *sockio.Conn
	peer *net.TCPConn
}

func newBackend(tb testing.TB, w *sockio.Watcher) *backend {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	defer l.Close()
	nc, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		tb.Fatal(err)
	}
	peer, err := l.Accept()
	if err != nil {
		tb.Fatal(err)
	}
	nc.(*net.TCPConn).SetWriteBuffer(64 << 10) // so that it has to wait for its peer
	peer.(*net.TCPConn).SetReadBuffer(64 << 10)
	return &backend{w.Adopt(nc, nil), peer.(*net.TCPConn)}
}

func (b *backend) close() { b.sock.Close(); b.peer.Close() }

func pattern(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

// sendPart answers with n bytes of a file.
func sendPart(x *exchange.Exchange, file string, off, n int64) error {
	f, err := os.Open(file)
	if err != nil {
		return err
	}
	defer f.Close()
	x.Response.Status, x.Response.Length = 200, n
	if err := x.Response.Writer.WriteHead(x); err != nil {
		return err
	}
	_, err = x.Response.Writer.ReadFrom(io.NewSectionReader(f, off, n))
	return err
}

// Bodies that are moved inside the kernel are whole, and the connection is in
// step behind them.
func TestTransfers(t *testing.T) { overBoth(t, testTransfers) }

func testTransfers(t *testing.T, on starter) {
	const size = 3<<20 + 17
	data := pattern(size)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, data, 0o600); err != nil {
		t.Fatal(err)
	}
	w, err := sockio.NewWatcher()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.Close)
	download := func(length int64) func(x *exchange.Exchange) error {
		return func(x *exchange.Exchange) error {
			b := newBackend(t, w)
			defer b.close()
			go b.peer.Write(data)
			x.Response.Status, x.Response.Length = 200, length
			if err := x.Response.Writer.WriteHead(x); err != nil {
				return err
			}
			l := &io.LimitedReader{R: b.sock, N: size}
			n, err := x.Response.Writer.ReadFrom(l)
			if n != size || l.N != 0 || x.Response.Written != size {
				t.Errorf("moved %d, left %d, counted %d", n, l.N, x.Response.Written)
			}
			return err
		}
	}
	v := on(t, Settings{}, application{
		"/length":  download(size),
		"/chunked": download(-1),
		"/file":    func(x *exchange.Exchange) error { return sendPart(x, file, 0, size) },
		"/part":    func(x *exchange.Exchange) error { return sendPart(x, file, 1<<20, size-1<<20-9) },
		// The file is shorter than what was announced.
		"/shrunk": func(x *exchange.Exchange) error {
			err := sendPart(x, file, 9, size)
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("a file that ends early: %v", err)
			}
			return err
		},
		"/upload": func(x *exchange.Exchange) error {
			b := newBackend(t, w)
			defer b.close()
			got := make(chan []byte)
			go func() {
				all, _ := io.ReadAll(b.peer)
				got <- all
			}()
			n, err := x.Request.Body.WriteTo(b.sock)
			b.sock.CloseWrite()
			if all := <-got; err != nil || n != size || !bytes.Equal(all, data) || !x.Request.Body.Sent() {
				return fmt.Errorf("moved %d, got %d, sent %v, %w", n, len(all), x.Request.Body.Sent(), err)
			}
			return answer(x, 200, "whole")
		},
		// The backend dies with part of the body between the two.
		"/lost": func(x *exchange.Exchange) error {
			b := newBackend(t, w)
			defer b.close()
			go func() {
				io.CopyN(io.Discard, b.peer, 100<<10)
				b.peer.SetLinger(0)
				b.peer.Close()
			}()
			_, err := x.Request.Body.WriteTo(b.sock)
			var refused *exchange.Error
			if err == nil || errors.As(err, &refused) {
				t.Errorf("the backend's failure: %v", err)
			}
			return exchange.Errorf(502, 3, "test", "backend: %w", err)
		},
		"/broken": func(x *exchange.Exchange) error {
			b := newBackend(t, w)
			defer b.close()
			go func() { b.peer.Write(data[:size/2]); b.peer.Close() }()
			x.Response.Status, x.Response.Length = 200, size
			x.Response.Writer.WriteHead(x)
			_, err := x.Response.Writer.ReadFrom(&io.LimitedReader{R: b.sock, N: size})
			if !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("a body that ends early: %v", err)
			}
			return err
		},
	})
	for path, want := range map[string][]byte{"/length": data, "/chunked": data, "/file": data, "/part": data[1<<20 : size-9]} {
		nc := v.dial()
		r := bufio.NewReader(nc)
		io.WriteString(nc, get(path)+get("/next"))
		if _, body := answered(t, r, "GET"); body != string(want) {
			t.Errorf("%s: %d bytes that are not the same", path, len(body))
		}
		if _, body := answered(t, r, "GET"); body != "GET /next" {
			t.Errorf("%s: then %q", path, body)
		}
	}
	for _, waits := range []string{"no", "yes", "no longer"} { // for being asked
		nc := v.dial()
		r := bufio.NewReader(nc)
		head := fmt.Sprintf("POST /upload%sContent-Length: %d\r\n\r\n", host11, size)
		if waits != "no" {
			head = strings.Replace(head, "\r\n\r\n", "\r\nExpect: 100-continue\r\n\r\n", 1)
		}
		if waits == "yes" {
			io.WriteString(nc, head)
			if resp, _ := answered(t, r, "POST"); resp.StatusCode != 100 {
				t.Fatalf("status %d", resp.StatusCode)
			}
			head = ""
		}
		go io.WriteString(nc, head+string(data)+get("/next"))
		if resp, body := answered(t, r, "POST"); body != "whole" {
			t.Errorf("waits %s: %d %q", waits, resp.StatusCode, body)
		}
		if _, body := answered(t, r, "GET"); body != "GET /next" {
			t.Errorf("waits %s: then %q", waits, body)
		}
	}
	for range 10 {
		nc := v.dial()
		r := bufio.NewReader(nc)
		go io.WriteString(nc, fmt.Sprintf("POST /lost%sContent-Length: %d\r\n\r\n", host11, size)+string(data)+
			"GET /next"+host11+"Connection: close\r\n\r\n")
		if resp, _ := answered(t, r, "POST"); resp.StatusCode != 502 {
			t.Errorf("status %d", resp.StatusCode)
		}
		// Whether bytes were lost between the two is chance. If so, the
		// connection is out of step and must end.
		b, err := io.ReadAll(r)
		if s := dateLine.ReplaceAllString(string(b), ""); s != "" && s != last("GET /next") {
			t.Errorf("out of step, and answered %q, %v", s, err)
		}
	}
	if got := v.talk(get("/broken") + get("/next")); len(got) > size/2+200 || strings.Contains(got, "GET /next") {
		t.Errorf("a broken response of %d bytes was followed by another", len(got))
	}
	if got := v.talk(get("/shrunk") + get("/next")); !strings.HasSuffix(got, string(data[size-99:])) {
		t.Errorf("a response cut where the file ended has %d bytes, or is followed by another", len(got))
	}
}

// Where the end of the connection is the end of the body, a response that is
// not whole ends with a reset.
func TestCutIsSeen(t *testing.T) { overBoth(t, testCutIsSeen) }

func testCutIsSeen(t *testing.T, on starter) {
	v := on(t, Settings{}, pages)
	nc := v.dial()
	io.WriteString(nc, "GET /chunks-error HTTP/1.0\r\n\r\n")
	if b, err := io.ReadAll(nc); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("%q, %v, want a reset", b, err)
	}
}

// waiting is a handler that waits for work that only the going of its client
// ends.
func waiting(began chan<- struct{}, aborted *atomic.Int32) exchange.Handler {
	return exchange.HandlerFunc(func(x *exchange.Exchange) error {
		w := &work{done: make(chan struct{})}
		x.WhenGone(w)
		defer x.WhenGone(nil)
		began <- struct{}{}
		select {
		case <-w.done:
			aborted.Add(1)
			return errors.New("aborted")
		case <-time.After(20 * time.Second):
			return answer(x, 200, "late")
		}
	})
}

func TestClientGone(t *testing.T) { overBoth(t, testClientGone) }

func testClientGone(t *testing.T, on starter) {
	began := make(chan struct{})
	var aborted atomic.Int32
	v := on(t, Settings{}, waiting(began, &aborted))
	leave := map[string]func(socket){
		"close": func(c socket) { c.Close() },
		"reset": func(c socket) { c.SetLinger(0); c.Close() },
		"half":  func(c socket) { c.CloseWrite() },
	}
	const soon = 3 * sockio.Tick
	for name, f := range leave {
		for _, ahead := range []string{"", "GET /next"} { // what is pipelined does not hide it
			best := time.Hour // of some: the machine may be busy
			for try := 0; try < 40 && best > soon; try++ {
				before := aborted.Load()
				nc := v.dial().(socket)
				io.WriteString(nc, get("/")+ahead)
				<-began
				begin := time.Now()
				f(nc)
				eventually(t, name, func() bool { return aborted.Load() > before })
				best = min(best, time.Since(begin))
			}
			if best > soon {
				t.Errorf("%s: noticed after %v", name, best)
			}
		}
	}
	eventually(t, "closing", func() bool { return v.Connections() == 0 })
}

// A connection that parks gives its session back, is served again whenever a
// request comes, and is closed when it has been idle for its time.
func TestParkedConnections(t *testing.T) { overBoth(t, testParkedConnections) }

func testParkedConnections(t *testing.T, on starter) {
	v := on(t, Settings{ParkAfter: 1, IdleTime: hangs}, pages)
	nc := v.dial()
	r := bufio.NewReader(nc)
	parked := func() bool { return v.Connections() == 1 && v.withSession() == 0 }
	for range 3 {
		io.WriteString(nc, post("/echo", "hello")+get("/next"))
		if _, body := answered(t, r, "POST"); body != "hello" {
			t.Errorf("%q", body)
		}
		answered(t, r, "GET")
		if !nativePark {
			continue
		}
		eventually(t, "parking", parked)
	}
	const idle = 5 * sockio.Tick
	v = on(t, Settings{ParkAfter: 1, IdleTime: idle}, pages)
	nc = v.dial()
	begin := time.Now()
	io.WriteString(nc, get("/a"))
	all, err := io.ReadAll(nc) // not to its deadline
	if took := time.Since(begin); !strings.HasSuffix(string(all), "GET /a") || err != nil || took < idle {
		t.Errorf("%q, %v, closed after %v", all, err, took)
	}
}

// withSession counts the connections that have a session.
func (s *Server) withSession() (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for c := range s.conns {
		c.mu.Lock()
		if c.session != nil {
			n++
		}
		c.mu.Unlock()
	}
	return n
}

// Parked and idle connections are closed by a shutdown at once, whatever they
// are about to do; requests that were in time are answered.
func TestShutdownOfIdleConnections(t *testing.T) { overBoth(t, testShutdownOfIdleConnections) }

func testShutdownOfIdleConnections(t *testing.T, on starter) {
	for round := range 10 {
		v := on(t, Settings{ParkAfter: 1, DrainTime: hangs}, pages)
		var clients sync.WaitGroup
		for range 30 {
			nc := v.dial()
			io.WriteString(nc, get("/a"))
			r := bufio.NewReader(nc)
			answered(t, r, "GET")
			clients.Go(func() {
				time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond)
				if rand.IntN(2) == 0 {
					io.WriteString(nc, get("/b"))
				}
				b, _ := io.ReadAll(r)
				nc.Close()
				if s := dateLine.ReplaceAllString(string(b), ""); s != "" && s != ok("GET /b") && s != last("GET /b") {
					t.Errorf("%q", s)
				}
			})
		}
		time.Sleep(time.Duration(round*35) * time.Millisecond)
		ctx, cancel := context.WithTimeout(context.Background(), hangs/2)
		if err := v.Shutdown(ctx); err != nil || ctx.Err() != nil {
			t.Errorf("%v, %v", err, ctx.Err())
		}
		cancel()
		clients.Wait()
	}
}

// An upgraded connection is two streams, each with its own end.
func TestUpgradedConnection(t *testing.T) { overBoth(t, testUpgradedConnection) }

func testUpgradedConnection(t *testing.T, on starter) {
	v := on(t, Settings{}, pages)
	nc := v.dial().(socket)
	r := bufio.NewReader(nc)
	io.WriteString(nc, "GET /upgrade"+host11+"Connection: upgrade\r\nUpgrade: echo\r\n\r\n")
	if resp, _ := answered(t, r, "GET"); resp.StatusCode != 101 || resp.Header.Get("Upgrade") != "echo" || resp.Header.Get("Connection") != "Upgrade" {
		t.Fatalf("%v", resp)
	}
	for _, s := range []string{"one", "two"} {
		io.WriteString(nc, s)
		got := make([]byte, len(s)+2)
		if _, err := io.ReadFull(r, got); string(got) != "<"+s+">" {
			t.Errorf("%q, %v", got, err)
		}
	}
	nc.CloseWrite()
	if got, err := io.ReadAll(r); string(got) != "bye" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
}

// A body that is read on another goroutine can be interrupted there, and the
// connection stays in step: the driver reads the rest away.
func TestInterrupt(t *testing.T) { overBoth(t, testInterrupt) }

func testInterrupt(t *testing.T, on starter) {
	var pause atomic.Int64
	v := on(t, Settings{}, application{"/": func(x *exchange.Exchange) error {
		done := make(chan error)
		go func() {
			_, err := x.Request.Body.WriteTo(io.Discard)
			done <- err
		}()
		time.Sleep(time.Duration(pause.Load())) // before it waits, while it waits, and in between
		x.Request.Body.Interrupt()
		if err := <-done; err != nil && err != errInterrupted {
			t.Errorf("interrupted: %v", err)
		}
		return answer(x, 200, "interrupted")
	}})
	for i := range 60 {
		pause.Store(int64(i%6) * int64(100*time.Microsecond))
		nc := v.dial()
		r := bufio.NewReader(nc)
		request, end := post("/", "0123456789"), ""
		if i%2 == 0 {
			request, end = chunked("/", "5\r\n01234\r\n5\r\n56789\r\n"), "0\r\n\r\n"
		}
		half := len(request) - i%5
		io.WriteString(nc, request[:half])
		if _, body := answered(t, r, "POST"); body != "interrupted" {
			t.Errorf("%q", body)
		}
		io.WriteString(nc, request[half:]+end+get("/next"))
		if _, body := answered(t, r, "GET"); body != "GET /next" {
			t.Errorf("then %q", body)
		}
		nc.Close()
	}
}
