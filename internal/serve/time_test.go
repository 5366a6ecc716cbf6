package serve

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/sockio"
)

// The limits of a connection, in fake time. The issue names them: header time
// 15 s, idle 120 s, minimum body rate 240 B/s after 5 s in both directions;
// spec app-side 1.9 and 1.13 say how they end.

// timed runs f in fake time with a server of default settings.
func timed(t *testing.T, h exchange.Handler, f func(v *host)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) { f(inMemory(t, Settings{}, h)) })
}

// fired fails unless something happened d after begin, by the coarse clock.
func fired(t testing.TB, what string, begin time.Time, d time.Duration) {
	t.Helper()
	if took := time.Since(begin); took < d || took > d+3*sockio.Tick {
		t.Errorf("%s after %v, want %v", what, took, d)
	}
}

// rest reads what else comes on a connection until it ends.
func rest(nc net.Conn) string {
	b, _ := io.ReadAll(nc)
	return dateLine.ReplaceAllString(string(b), "")
}

func TestIdleConnectionIsClosedSilently(t *testing.T) {
	timed(t, pages, func(v *host) {
		nc, begin := v.dial(), time.Now()
		if got := rest(nc); got != "" {
			t.Errorf("without a request: %q", got)
		}
		fired(t, "closed", begin, 120*time.Second)

		nc = v.dial()
		r := bufio.NewReader(nc)
		for range 3 { // the time begins anew with every request
			time.Sleep(119 * time.Second)
			io.WriteString(nc, get("/a"))
			answered(t, r, "GET")
		}
		begin = time.Now()
		if _, err := r.ReadByte(); err != io.EOF {
			t.Errorf("idle: %v", err)
		}
		fired(t, "closed", begin, 120*time.Second)
	})
}

func TestSlowHead(t *testing.T) {
	timed(t, pages, func(v *host) {
		nc := v.dial()
		time.Sleep(time.Minute)
		begin := time.Now()
		go func() { // a byte now and then does not help
			for _, c := range "GET /" + strings.Repeat("a", 100) {
				if _, err := nc.Write([]byte{byte(c)}); err != nil {
					return
				}
				time.Sleep(time.Second)
			}
		}()
		resp, _ := answered(t, bufio.NewReader(nc), "GET")
		fired(t, "refused", begin, 15*time.Second)
		if resp.StatusCode != 408 || !resp.Close {
			t.Errorf("status %d, close %v", resp.StatusCode, resp.Close)
		}
		nc.Close()
		time.Sleep(2 * time.Second)
	})
}

// Empty lines behind a body are no request: what follows is idle time.
func TestEmptyLinesAreIdle(t *testing.T) {
	timed(t, pages, func(v *host) {
		nc := v.dial()
		begin := time.Now()
		io.WriteString(nc, "\r\n")
		if got := rest(nc); got != "" {
			t.Errorf("%q", got)
		}
		fired(t, "closed", begin, 120*time.Second)
	})
}

func TestSlowBody(t *testing.T) {
	const large = 1 << 20
	const often = 93 * time.Millisecond // no wait is longer than a tick, nor ends at the very moment of one
	tests := []struct {
		name  string
		path  string
		chunk string // what the body is framed in, "%s" alone for one of known length
		bytes int    // sent each time
		every time.Duration
		want  time.Duration
	}{
		{"silent", "/echo", "%s", 0, 0, 5 * time.Second},
		{"chunks, silent", "/echo", "1\r\n%s\r\n", 0, 0, 5 * time.Second},
		// 100 bytes a second earn 100/240 s each second: the grace is used up
		// after 5/(1-100/240) = 8.6 s, in the pause before.
		{"too slow", "/echo", "%s", 100, time.Second, 8 * time.Second},
		{"chunks, too slow", "/echo", "64\r\n%s\r\n", 100, time.Second, 8 * time.Second},
		{"copied, too slow", "/limited-copy", "%s", 100, time.Second, 8 * time.Second},
		{"bytes, too slow", "/echo", "%s", 1, often, 5 * time.Second},
		{"chunks of a byte, too slow", "/echo", "1\r\n%s\r\n", 1, often, 5 * time.Second * 4 / 3}, // six bytes each
		{"copied bytes, too slow", "/limited-copy", "%s", 1, often, 5 * time.Second},
		{"fast enough", "/echo", "%s", 250, time.Second, 0},
		{"few at a time, fast enough", "/echo", "%s", 25, often, 0},
		{"chunks, fast enough", "/echo", "fa\r\n%s\r\n", 250, time.Second, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			handler := pages
			if tt.path == "/limited-copy" {
				handler = application{tt.path: func(x *exchange.Exchange) error {
					_, err := x.Request.Body.WriteTo(io.Discard)
					return err
				}}
			}
			timed(t, handler, func(v *host) {
				nc := v.dial()
				fields := fmt.Sprintf("Content-Length: %d", large)
				if tt.chunk != "%s" {
					fields = "Transfer-Encoding: chunked"
				}
				io.WriteString(nc, "POST "+tt.path+host11+fields+"\r\n\r\n")
				begin := time.Now()
				go func() {
					for tt.bytes > 0 {
						time.Sleep(tt.every)
						if _, err := fmt.Fprintf(nc, tt.chunk, strings.Repeat("x", tt.bytes)); err != nil {
							return
						}
					}
				}()
				nc.SetReadDeadline(time.Now().Add(time.Minute))
				resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
				switch {
				case tt.want == 0 && err == nil:
					t.Errorf("cut after %v with %d", time.Since(begin), resp.StatusCode)
				case tt.want == 0:
				case err != nil:
					t.Error(err)
				case resp.StatusCode != 408:
					t.Errorf("status %d", resp.StatusCode)
				default:
					if took := time.Since(begin); took < tt.want || took > tt.want+time.Second {
						t.Errorf("cut after %v, want %v", took, tt.want)
					}
				}
				nc.Close()
				time.Sleep(10 * time.Second)
			})
		})
	}
}

// What a client has sent earns it time, but not for ever: after a fast
// megabyte it may be silent for as long as 16 KiB take at the minimum rate, as
// one that is slow to read may.
func TestCreditOfABodyIsBounded(t *testing.T) {
	piece := strings.Repeat("x", 1000)
	for head, piece := range map[string]string{"Content-Length: 2000000": piece, "Transfer-Encoding: chunked": "3e8\r\n" + piece + "\r\n"} {
		t.Run(head, func(t *testing.T) {
			timed(t, pages, func(v *host) {
				nc := v.dial()
				io.WriteString(nc, "POST /echo"+host11+head+"\r\n\r\n")
				for range 1000 {
					io.WriteString(nc, piece)
				}
				begin := time.Now()
				resp, err := http.ReadResponse(bufio.NewReader(nc), nil)
				if err != nil || resp.StatusCode != 408 {
					t.Fatalf("%v, %v", resp, err)
				}
				fired(t, "cut", begin, 16<<10*time.Second/240)
			})
		})
	}
}

// The time for a body runs only while the handler waits for it (spec 1.9).
func TestSlowHandlerIsNotTheClientsFault(t *testing.T) {
	handler := exchange.HandlerFunc(func(x *exchange.Exchange) error {
		var b [1]byte
		for {
			time.Sleep(time.Minute)
			if _, err := x.Request.Body.Read(b[:]); err == io.EOF {
				return answer(x, 200, "read")
			} else if err != nil {
				return err
			}
		}
	})
	timed(t, handler, func(v *host) {
		nc := v.dial()
		go func() { // the end of the body comes late
			io.WriteString(nc, "POST /"+host11+"Content-Length: 5\r\n\r\nhel")
			time.Sleep(3*time.Minute + 3*time.Second)
			io.WriteString(nc, "lo")
		}()
		if resp, body := answered(t, bufio.NewReader(nc), "POST"); resp.StatusCode != 200 || body != "read" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
	})
}

func TestSlowReader(t *testing.T) {
	const size = 1 << 20
	var done chan error // made in the bubble
	handler := exchange.HandlerFunc(func(x *exchange.Exchange) error {
		w := &work{done: make(chan struct{})}
		x.WhenGone(w)
		defer x.WhenGone(nil)
		err := answer(x, 200, strings.Repeat("x", size))
		select {
		case <-w.done:
		default:
			if err != nil {
				t.Error("the client is cut, and what is done for it goes on")
			}
		}
		done <- err
		return err
	})
	timed(t, handler, func(v *host) {
		done = make(chan error, 2)
		// What waits has max(5 s, bytes/240): the head alone, then 16 KiB.
		for taken, limit := range map[int]time.Duration{0: 5 * time.Second, 200: 16 << 10 * time.Second / 240} {
			nc := v.dial()
			io.WriteString(nc, get("/"))
			io.ReadFull(nc, make([]byte, taken))
			begin := time.Now()
			err := <-done // the client reads nothing more
			fired(t, "cut", begin, limit)
			var failed *exchange.Error
			if !errors.As(err, &failed) || !errors.Is(err, sockio.ErrLimit) {
				t.Errorf("the handler was told %v", err)
			}
			if got := rest(nc); got != "" { // what was not taken is gone
				t.Errorf("%.80q", got)
			}
		}

		// 250 bytes a second are enough: 70 minutes, and the body is whole.
		nc := v.dial()
		io.WriteString(nc, get("/"))
		begin, total := time.Now(), 0
		for b := make([]byte, 250); total < size; {
			n, err := nc.Read(b)
			if err != nil {
				t.Fatalf("after %d bytes: %v", total, err)
			}
			total += n
			time.Sleep(time.Second)
		}
		if err := <-done; err != nil || time.Since(begin) < size/250*time.Second {
			t.Errorf("%v after %v", err, time.Since(begin))
		}
	})
}

// The handler may take any time: neither limit of the client runs.
func TestSlowHandler(t *testing.T) {
	handler := exchange.HandlerFunc(func(x *exchange.Exchange) error {
		time.Sleep(time.Hour)
		x.Response.Status, x.Response.Length = 200, -1
		x.Response.Writer.WriteHead(x)
		for range 3 {
			io.WriteString(x.Response.Writer, "event\n")
			x.Response.Writer.Flush()
			time.Sleep(time.Hour)
		}
		return nil
	})
	timed(t, handler, func(v *host) {
		nc := v.dial()
		io.WriteString(nc, get("/"))
		if _, body := answered(t, bufio.NewReader(nc), "GET"); body != "event\nevent\nevent\n" {
			t.Errorf("%q", body)
		}
	})
}

// What a handler left of a body is read away for 5 s, then the connection
// ends: in any case the response has arrived.
func TestUnreadBodyThatDoesNotCome(t *testing.T) {
	timed(t, pages, func(v *host) {
		nc := v.dial()
		io.WriteString(nc, "POST /ignore"+host11+"Content-Length: 100\r\n\r\nhello")
		r := bufio.NewReader(nc)
		begin := time.Now()
		if resp, body := answered(t, r, "POST"); resp.StatusCode != 200 || body != "ignored" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		if time.Since(begin) > 0 {
			t.Errorf("the response waited %v for the body", time.Since(begin))
		}
		if _, err := r.ReadByte(); err != io.EOF {
			t.Error(err)
		}
		fired(t, "closed", begin, 5*time.Second)
	})
}

// A client that goes on sending after a refusal is given 5 s to read it.
func TestLingerIsBounded(t *testing.T) {
	timed(t, pages, func(v *host) {
		nc := v.dial()
		io.WriteString(nc, "GET / HTTP/1.1\r\n\r\n") // no Host
		r := bufio.NewReader(nc)
		if resp, _ := answered(t, r, "GET"); resp.StatusCode != 400 {
			t.Errorf("status %d", resp.StatusCode)
		}
		begin := time.Now()
		for {
			if _, err := nc.Write([]byte("x")); err != nil {
				break
			}
			time.Sleep(sockio.Tick)
		}
		// A pipe has no half close: it is closed with its sending side.
		if took := time.Since(begin); took > 5*time.Second+3*sockio.Tick {
			t.Errorf("it went on for %v", took)
		}
	})
}

func TestShutdownWaitsAndCuts(t *testing.T) {
	handler := exchange.HandlerFunc(func(x *exchange.Exchange) error {
		d, err := time.ParseDuration(string(x.Request.Target.Query))
		if err != nil {
			return err
		}
		work := &work{done: make(chan struct{})}
		x.WhenGone(work)
		defer x.WhenGone(nil)
		select {
		case <-time.After(d):
			return answer(x, 200, "done")
		case <-work.done:
			return errors.New("aborted")
		}
	})
	timed(t, handler, func(v *host) {
		short, long, idle, fresh := v.dial(), v.dial(), v.dial(), v.dial()
		io.WriteString(idle, get("/?0s"))
		answered(t, bufio.NewReader(idle), "GET")
		io.WriteString(short, get("/?3s"))
		io.WriteString(long, get("/?1h"))
		synctest.Wait()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		ended := make(chan error)
		go func() { ended <- v.Shutdown(ctx) }()
		for _, nc := range []net.Conn{idle, fresh} {
			if got := rest(nc); got != "" || time.Since(begin) > 0 {
				t.Errorf("idle: %q after %v", got, time.Since(begin))
			}
		}
		resp, body := answered(t, bufio.NewReader(short), "GET")
		fired(t, "answered", begin, 3*time.Second)
		if body != "done" || !resp.Close {
			t.Errorf("%q, close %v", body, resp.Close)
		}
		short.Close()
		if got := rest(long); got != "" {
			t.Errorf("cut: %q", got)
		}
		fired(t, "cut", begin, 10*time.Second)
		if err := <-ended; !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
		if n := v.Connections(); n != 0 {
			t.Errorf("%d connections are left", n)
		}
	})
}

// work is what a handler does, broken off when the client goes.
type work struct{ done chan struct{} }

func (w *work) Abort() {
	select {
	case <-w.done:
	default:
		close(w.done)
	}
}

// A handler that is deaf to everything does not hold the shutdown for ever.
func TestShutdownLeavesADeafHandlerBehind(t *testing.T) {
	handler := exchange.HandlerFunc(func(x *exchange.Exchange) error {
		time.Sleep(time.Hour)
		return nil
	})
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		v := inMemory(t, Settings{}, handler)
		nc := v.dial()
		io.WriteString(nc, get("/"))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		begin := time.Now()
		err := v.Shutdown(ctx)
		if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 connections are held") {
			t.Errorf("%v", err)
		}
		fired(t, "returned", begin, 6*time.Second)
		nc.Close()
		time.Sleep(2 * time.Hour)
	})
}

// The Date is that of the clock, and goes on.
func TestDate(t *testing.T) {
	timed(t, pages, func(v *host) {
		nc := v.dial()
		r := bufio.NewReader(nc)
		for range 3 {
			io.WriteString(nc, get("/"))
			resp, _ := answered(t, r, "GET")
			date, err := http.ParseTime(resp.Header.Get("Date"))
			if ago := time.Since(date); err != nil || ago < 0 || ago > time.Second+2*sockio.Tick {
				t.Errorf("%v ago, %v", ago, err)
			}
			time.Sleep(17 * time.Second)
		}
	})
}

// What a handler left of a body may come slowly, at the rate that is asked of
// bodies: the drain ends all the same, and so does the connection.
func TestUnreadBodyThatComesSlowly(t *testing.T) {
	timed(t, pages, func(v *host) {
		nc := v.dial()
		io.WriteString(nc, "POST /ignore"+host11+"Content-Length: 100000\r\n\r\nhello")
		r := bufio.NewReader(nc)
		begin := time.Now()
		answered(t, r, "POST")
		sent := 0
		for ; ; sent++ {
			if _, err := io.WriteString(nc, strings.Repeat("x", 300)); err != nil {
				break
			}
			time.Sleep(time.Second)
		}
		// Of a pipe no half can be closed: it ends with the drain.
		if took := time.Since(begin); sent < 5 || took > 7*time.Second {
			t.Errorf("it took %d pieces in %v, want those of 5 s", sent, took)
		}
	})
}

// After an upgrade a connection may rest for as long as it likes; a client
// that takes nothing of what is sent has two minutes.
func TestUpgradedConnectionRests(t *testing.T) {
	var ended chan error
	handler := exchange.HandlerFunc(func(x *exchange.Exchange) error {
		x.Response.Status = 101
		stream, err := x.Response.Writer.Upgrade(x)
		if err != nil {
			return err
		}
		b := make([]byte, 5)
		if _, err := io.ReadFull(stream, b); err != nil {
			return err
		}
		begin := time.Now()
		_, err = stream.Write(b)
		if took := time.Since(begin); took < 2*time.Minute || took > 2*time.Minute+3*sockio.Tick {
			err = fmt.Errorf("%w after %v", err, took)
		}
		ended <- err
		return nil
	})
	timed(t, handler, func(v *host) {
		ended = make(chan error, 1) // of the bubble
		nc := v.dial()
		io.WriteString(nc, "GET /"+host11+"Connection: upgrade\r\nUpgrade: x\r\n\r\n")
		r := bufio.NewReader(nc)
		if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 101 {
			t.Fatalf("%v, %v", resp, err)
		}
		time.Sleep(time.Hour)
		io.WriteString(nc, "hello")
		if err := <-ended; err != sockio.ErrLimit {
			t.Errorf("writing to a client that reads nothing: %v", err)
		}
	})
}

// A system without descriptors left passes: the server tries again, less and
// less often, and once a second at the least.
func TestAcceptTriesAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &failingListener{pipeListener: &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}}
		l.fails.Store(20)
		begin(t, l, Settings{}, pages)
		begin := time.Now()
		client, server := net.Pipe()
		l.conns <- server
		// 5 ms doubled 8 times, then 12 times a second: 14.275 s.
		if took := time.Since(begin); took < 13*time.Second || took > 15*time.Second {
			t.Errorf("accepted after %v", took)
		}
		io.WriteString(client, get("/"))
		if resp, _ := answered(t, bufio.NewReader(client), "GET"); resp.StatusCode != 200 {
			t.Errorf("status %d", resp.StatusCode)
		}
		client.Close()
	})
}

// failingListener fails to accept some times.
type failingListener struct {
	*pipeListener
	fails atomic.Int32
}

func (l *failingListener) Accept() (net.Conn, error) {
	if l.fails.Load() > 0 {
		l.fails.Add(-1)
		return nil, errors.New("too many open files")
	}
	return l.pipeListener.Accept()
}

// Where connections do not park, one with TLS has its idle time as well, from
// the handshake on and after each request.
func TestIdleTLSConnectionIsClosed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		config, roots := testCertificate(t)
		l := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
		beginTLS(t, l, config, Settings{}, pages)
		for requests := range 3 {
			client, server := net.Pipe()
			l.conns <- server
			nc := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "localhost"})
			if err := nc.Handshake(); err != nil {
				t.Fatal(err)
			}
			r := bufio.NewReader(nc)
			begin := time.Now()
			for range requests {
				time.Sleep(time.Minute)
				io.WriteString(nc, get("/a"))
				answered(t, r, "GET")
				begin = time.Now()
			}
			if _, err := r.ReadByte(); err != io.EOF {
				t.Errorf("idle after %d requests: %v", requests, err)
			}
			fired(t, "closed", begin, 120*time.Second)
			nc.Close()
		}
	})
}
