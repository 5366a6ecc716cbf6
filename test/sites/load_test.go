package sites

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/perchserver/perch/test/harness"
)

// pace is how long a client rests between two requests: the load has to be
// steady, and to leave the machine time for what is done beside it.
const pace = 20 * time.Millisecond

// load is clients that expect every request answered, every byte delivered,
// and no connection closed on them.
type load struct {
	t      *testing.T
	addr   string          // of the http binding for stays.test
	secure string          // of the https binding for stays.localhost
	trust  *tls.Config     // of its clients
	ctx    context.Context // ends when the clients shall rest
	all    sync.WaitGroup

	mu     sync.Mutex
	failed []string
	counts map[string]int
	took   []time.Duration // requests since take was called
}

func (l *load) fail(what string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed = append(l.failed, fmt.Sprintf("%s: %v", what, err)); len(l.failed) <= 5 {
		l.t.Errorf("%s: %v", what, err)
	}
}

// run repeats what a client does until the load ends, or it fails.
func (l *load) run(what string, once func() error) {
	l.all.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		for l.ctx.Err() == nil {
			begin := time.Now()
			if err := once(); err != nil {
				l.fail(what, err)
				return
			}
			l.mu.Lock()
			l.counts[what]++
			l.took = append(l.took, time.Since(begin))
			l.mu.Unlock()
			<-tick.C
		}
	})
}

// take returns how long the requests took since the last call.
func (l *load) take() []time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	took := l.took
	l.took = nil
	return took
}

// exchange sends one request on a connection and checks the answer. It fails
// if the connection is to be closed.
func exchange(c net.Conn, in *bufio.Reader, request []byte, check func(body []byte) error) error {
	c.SetDeadline(time.Now().Add(harness.Limit))
	if _, err := c.Write(request); err != nil {
		return err
	}
	r, err := http.ReadResponse(in, nil)
	if err != nil {
		return err
	}
	body, err := io.ReadAll(r.Body)
	switch {
	case err != nil:
		return err
	case r.StatusCode != 200:
		return fmt.Errorf("status %d, %.200s", r.StatusCode, body)
	case r.Close && !bytes.Contains(request, []byte("Connection: close")):
		return fmt.Errorf("the connection is closed behind the answer")
	}
	return check(body)
}

// dial opens a connection for HTTP/1.1, or for what protocol says if it is
// secure.
func (l *load) dial(secure bool, protocol string) (net.Conn, error) {
	if !secure {
		return net.DialTimeout("tcp", l.addr, harness.Limit)
	}
	set := l.trust.Clone()
	set.NextProtos = []string{protocol}
	return tls.DialWithDialer(&net.Dialer{Timeout: harness.Limit}, "tcp", l.secure, set)
}

// keptAlive asks again and again on one connection.
func (l *load) keptAlive(what string, secure bool, request []byte, check func([]byte) error) {
	c, err := l.dial(secure, "http/1.1")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	in := bufio.NewReader(c)
	l.run(what, func() error { return exchange(c, in, request, check) })
}

// fresh asks on a new connection each time.
func (l *load) fresh(what string, secure bool, request []byte, check func([]byte) error) {
	l.run(what, func() error {
		c, err := l.dial(secure, "http/1.1")
		if err != nil {
			return err
		}
		defer c.Close()
		return exchange(c, bufio.NewReader(c), request, check)
	})
}

// socket echoes on one WebSocket.
func (l *load) socket() {
	ctx, cancel := context.WithTimeout(l.t.Context(), harness.Limit)
	defer cancel()
	to := &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, l.addr)
	}}}
	c, _, err := websocket.Dial(ctx, "ws://stays.test/ws", &websocket.DialOptions{HTTPClient: to})
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.CloseNow() })
	n := 0
	l.run("WebSocket", func() error {
		n++
		ctx, cancel := context.WithTimeout(context.Background(), harness.Limit)
		defer cancel()
		text := fmt.Sprintf("message %d", n)
		if err := c.Write(ctx, websocket.MessageText, []byte(text)); err != nil {
			return err
		}
		_, back, err := c.Read(ctx)
		if err == nil && string(back) != text {
			err = fmt.Errorf("%q came back as %q", text, back)
		}
		return err
	})
}

// download reads one long response slowly, a piece at a time, and checks every
// byte of it. It reads the rest at once when the load ends.
func (l *load) download(size int) {
	c, err := l.dial(false, "")
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET /download?bytes=%d HTTP/1.1\r\nHost: stays.test\r\n\r\n", size)
	r, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil || r.ContentLength != int64(size) {
		l.t.Fatalf("download: %v, %v", r, err)
	}
	l.drink("download", size, r.Body, c)
}

// drink is the part of a download behind its head.
func (l *load) drink(what string, size int, body io.Reader, c net.Conn) {
	l.all.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		piece := make([]byte, 16<<10)
		for at := 0; at < size; {
			c.SetDeadline(time.Now().Add(harness.Limit))
			n, err := io.ReadFull(body, piece[:min(len(piece), size-at)])
			if err != nil {
				l.fail(what, fmt.Errorf("after %d of %d bytes: %w", at+n, size, err))
				return
			}
			for i, b := range piece[:n] {
				if b != byte((at+i)%251) {
					l.fail(what, fmt.Errorf("byte %d is another one", at+i))
					return
				}
			}
			at += n
			select {
			case <-tick.C:
			case <-l.ctx.Done():
			}
		}
		l.mu.Lock()
		l.counts[what]++
		l.mu.Unlock()
	})
}
