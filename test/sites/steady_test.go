package sites

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/perchserver/perch/test/harness"
)

// reloads is how often the configuration changes under the load, and pace how
// long a client rests between two requests: the load has to be steady, and to
// leave the machine time for the reloads.
const (
	reloads = 1000
	pace    = 10 * time.Millisecond
)

// load is clients that expect every request answered, every byte delivered,
// and no connection closed on them.
type load struct {
	t    *testing.T
	addr string
	ctx  context.Context // ends when the clients shall rest
	all  sync.WaitGroup

	mu     sync.Mutex
	failed []string
	counts map[string]int
	took   []time.Duration // requests of the present phase
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

// phase returns how long the requests took since the last call.
func (l *load) phase() latency {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := l.took
	l.took = nil
	slices.Sort(all)
	at := func(share float64) time.Duration { return all[min(len(all)-1, int(share*float64(len(all))))] }
	return latency{len(all), at(0.5), at(0.99), at(0.999), all[len(all)-1]}
}

type latency struct {
	n                       int
	median, p99, p999, most time.Duration
}

func (l latency) String() string {
	return fmt.Sprintf("%d requests, median %v, 99%% %v, 99.9%% %v, longest %v", l.n, l.median, l.p99, l.p999, l.most)
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

func (l *load) dial() (net.Conn, *bufio.Reader, error) {
	c, err := net.DialTimeout("tcp", l.addr, harness.Limit)
	if err != nil {
		return nil, nil, err
	}
	return c, bufio.NewReader(c), nil
}

// keptAlive asks again and again on one connection.
func (l *load) keptAlive(what string, request []byte, check func([]byte) error) {
	c, in, err := l.dial()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	l.run(what, func() error { return exchange(c, in, request, check) })
}

// fresh asks on a new connection each time.
func (l *load) fresh(what string, request []byte, check func([]byte) error) {
	l.run(what, func() error {
		c, in, err := l.dial()
		if err != nil {
			return err
		}
		defer c.Close()
		return exchange(c, in, request, check)
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
	c, in, err := l.dial()
	if err != nil {
		l.t.Fatal(err)
	}
	l.t.Cleanup(func() { c.Close() })
	fmt.Fprintf(c, "GET /download?bytes=%d HTTP/1.1\r\nHost: stays.test\r\n\r\n", size)
	r, err := http.ReadResponse(in, nil)
	if err != nil || r.ContentLength != int64(size) {
		l.t.Fatalf("download: %v, %v", r, err)
	}
	l.all.Go(func() {
		tick := time.NewTicker(pace)
		defer tick.Stop()
		piece := make([]byte, 16<<10)
		for at := 0; at < size; {
			c.SetDeadline(time.Now().Add(harness.Limit))
			n, err := io.ReadFull(r.Body, piece[:min(len(piece), size-at)])
			if err != nil {
				l.fail("download", fmt.Errorf("after %d of %d bytes: %w", at+n, size, err))
				return
			}
			for i, b := range piece[:n] {
				if b != byte((at+i)%251) {
					l.fail("download", fmt.Errorf("byte %d is another one", at+i))
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
		l.counts["download"]++
		l.mu.Unlock()
	})
}

// TestThousandReloads holds that nobody notices when another site comes and
// goes: no request is lost, whether it has a body or not and whether its
// connection is new or kept alive, no connection is closed, and WebSockets and
// downloads go on.
func TestThousandReloads(t *testing.T) {
	n := reloads
	if testing.Short() {
		n = 50
	}
	app := harness.Go()
	var stays, other string
	s := newServer(t)
	h, port := s.startAt(t, "127.0.0.1", func(port string) []string {
		stays = site(1, "stays", []string{"127.0.0.1:" + port + ":stays.test"}, "/="+app.Folder(t), "/files="+page(t, "a file"))
		other = site(2, "other", []string{"127.0.0.1:" + port + ":other.test", "127.0.0.1:0:"}, "/="+app.Folder(t))
		return []string{stays}
	})
	ctx, rest := context.WithCancel(t.Context())
	defer rest()
	l := &load{t: t, addr: "127.0.0.1:" + port, ctx: ctx, counts: map[string]int{}}

	body := harness.Pattern(20_000)
	sum := sha256.Sum256(body)
	small := []byte("GET /slow?ms=0 HTTP/1.1\r\nHost: stays.test\r\n\r\n")
	file := []byte("GET /files/ HTTP/1.1\r\nHost: stays.test\r\n\r\n")
	closing := []byte("GET /slow?ms=0 HTTP/1.1\r\nHost: stays.test\r\nConnection: close\r\n\r\n")
	post := append([]byte(fmt.Sprintf("POST /upload HTTP/1.1\r\nHost: stays.test\r\nContent-Length: %d\r\n\r\n", len(body))), body...)
	is := func(text string) func([]byte) error {
		return func(got []byte) error {
			if string(got) != text {
				return fmt.Errorf("answered %.80q, want %q", got, text)
			}
			return nil
		}
	}
	whole := func(got []byte) error {
		if !bytes.Contains(got, []byte(hex.EncodeToString(sum[:]))) {
			return fmt.Errorf("the body arrived as %s", got)
		}
		return nil
	}
	worker := workerOf(t, l.addr)
	for range 2 {
		l.keptAlive("GET, kept alive", small, is("slow"))
		l.keptAlive("file, kept alive", file, is("a file"))
		l.keptAlive("POST, kept alive", post, whole)
		l.fresh("GET, new connection", closing, is("slow"))
		l.fresh("POST, new connection", post, whole)
		l.socket()
		l.download(64 << 20)
	}

	// As many seconds without reloads as the first of them take.
	calm := time.NewTimer(2 * time.Second)
	<-calm.C
	without := l.phase()
	for i := range n {
		s.sites = []string{stays}
		if i%2 == 0 {
			s.sites = []string{stays, other}
		}
		s.write(t)
		if out, code := s.reload(t); code != 0 {
			t.Fatalf("reload %d: %d %s", i, code, out)
		}
		if i%100 == 0 { // its process starts, and stops with the next reload
			if status, text := get(t, l.addr, "other.test", "/"); status != 200 {
				t.Errorf("reload %d: the other site answers %d %.80q", i, status, text)
			}
		}
	}
	with := l.phase()
	rest()
	l.all.Wait()
	if now := workerOf(t, l.addr); now != worker {
		t.Errorf("worker %d became %d", worker, now)
	}
	if got := strings.Count(h.Stderr(), "worker started"); got > 1+(n+99)/100 {
		t.Errorf("%d workers were started", got)
	}
	if len(l.failed) > 0 {
		t.Errorf("%d clients were failed in %d reloads", len(l.failed), n)
	}
	t.Logf("%d reloads; %v", n, l.counts)
	t.Logf("without: %v", without)
	t.Logf("with:    %v", with)
	// What half of all requests notice is no chance of a busy machine.
	if with.median > without.median+50*time.Millisecond {
		t.Errorf("requests take %v with reloads and %v without", with.median, without.median)
	}
}

// workerOf is the process number of the application that stays.
func workerOf(t *testing.T, addr string) int {
	t.Helper()
	status, body := get(t, addr, "stays.test", "/")
	var seen harness.Seen
	if err := json.Unmarshal([]byte(body), &seen); err != nil || status != 200 {
		t.Fatalf("%d %.200s: %v", status, body, err)
	}
	return seen.Pid
}
