package forward_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
	"github.com/perchserver/perch/internal/handler/forward"
)

// TestMain looks for goroutines that outlive all tests.
func TestMain(m *testing.M) {
	code := m.Run()
	for begin := time.Now(); code == 0; time.Sleep(10 * time.Millisecond) {
		stacks := make([]byte, 1<<20)
		stacks = stacks[:runtime.Stack(stacks, true)]
		if !bytes.Contains(stacks, []byte("/handler/forward.(")) {
			break
		}
		if time.Since(begin) > hang/4 {
			fmt.Fprintf(os.Stderr, "goroutines are left:\n%s", stacks)
			code = 1
		}
	}
	os.Exit(code)
}

// plan is what becomes of one exchange. The client draws it and tells the
// application, so that both know what should arrive.
type plan struct {
	tag     string
	method  string
	framing string // of the response: length, chunked or close
	size    int    // of the response body
	end     string // whole, cut or reset: after half of the body; none: before the head
	upload  int    // size of the request body, -1 for none
	chunked bool   // that of the request
	early   bool   // the application answers before it reads the body
	leave   bool   // the client leaves in the middle
	close   bool   // the application announces the end of its connection
	interim bool
}

func draw(rnd *rand.Rand, tag string) plan {
	pick := func(of ...string) string { return of[rnd.IntN(len(of))] }
	p := plan{
		tag: tag, method: pick("GET", "GET", "POST", "HEAD", "PUT"), framing: pick("length", "chunked", "close"),
		size: []int{0, 1, 100, 5000, 20000, 70000}[rnd.IntN(6)], end: pick("whole", "whole", "whole", "whole", "cut", "reset", "none"),
		upload: -1, chunked: rnd.IntN(2) == 0, early: rnd.IntN(4) == 0, leave: rnd.IntN(10) == 0,
		close: rnd.IntN(5) == 0, interim: rnd.IntN(5) == 0,
	}
	if p.method == "POST" || p.method == "PUT" {
		p.upload = []int{0, 10, 3000, 40000}[rnd.IntN(4)]
	}
	return p
}

// marked is n bytes that say to which exchange they belong, up to each byte.
func marked(tag string, n int) string {
	return strings.Repeat(tag+";", n/(len(tag)+1)+1)[:n]
}

func (p *plan) request() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s /%s HTTP/1.1\r\nHost: a\r\nTag: %s\r\nPlan: %s %d %s %v %v %v\r\n", p.method, p.tag, p.tag, p.framing, p.size, p.end, p.early, p.close, p.interim)
	switch body := marked(p.tag, max(p.upload, 0)); {
	case p.upload < 0:
		b.WriteString("\r\n")
	case p.chunked:
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n" + chunked(body))
	default:
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", p.upload, body)
	}
	return b.String()
}

// obey is an application that does what each request says.
func obey(peer *peer) {
	for {
		req, err := http.ReadRequest(peer.r)
		if err != nil {
			return
		}
		p := plan{tag: req.Header.Get("Tag"), method: req.Method}
		fmt.Sscan(req.Header.Get("Plan"), &p.framing, &p.size, &p.end, &p.early, &p.close, &p.interim)
		if !p.early && !p.takes(peer, req) {
			return
		}
		if p.end == "none" {
			return
		}
		last := !p.answer(peer)
		if p.early && !p.takes(peer, req) || last {
			return
		}
	}
}

// takes reads the body of a request and checks that it is that of this one.
func (p *plan) takes(peer *peer, req *http.Request) bool {
	body, err := io.ReadAll(req.Body)
	if string(body) != marked(p.tag, len(body)) {
		peer.t.Errorf("exchange %s got a body of another: %.100q", p.tag, body)
	}
	return err == nil
}

// answer sends the response and reports whether the connection goes on.
func (p *plan) answer(peer *peer) bool {
	var b strings.Builder
	if p.interim {
		fmt.Fprintf(&b, "HTTP/1.1 103 Early Hints\r\nTag: %s\r\n\r\n", p.tag)
	}
	fmt.Fprintf(&b, "HTTP/1.1 200 OK\r\nTag: %s\r\n", p.tag)
	whole := p.end == "whole"
	if p.close || !whole {
		b.WriteString("Connection: close\r\n") // none is closed without a word
	}
	body := marked(p.tag, p.size)
	switch p.framing {
	case "length":
		fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n", p.size)
	case "chunked":
		b.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		body = chunked(body)
	default:
		b.WriteString("\r\n")
	}
	if !whole {
		body = body[:len(body)/2]
	}
	if p.method != "HEAD" {
		b.WriteString(body)
	}
	peer.send(b.String())
	if p.end == "reset" {
		peer.reset()
	}
	return whole && !p.close && (p.framing != "close" || p.method == "HEAD")
}

// Many exchanges at once, of every kind and with every end: no byte of one
// reaches another, what should arrive whole does, and nothing is left over.
func TestNothingIsMixedUp(t *testing.T) {
	t.Parallel()
	const clients, each = 200, 8
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := newRig(t, obey, timeout(hang))
	var all sync.WaitGroup
	var whole atomic.Int32
	for i := range clients {
		all.Go(func() {
			rnd := rand.New(rand.NewPCG(seed, uint64(i)))
			var nc net.Conn
			for j := range each {
				if nc == nil {
					var err error
					if nc, err = net.Dial("tcp", r.front.Addr().String()); err != nil {
						t.Error(err)
						return
					}
					nc.SetDeadline(time.Now().Add(hang))
				}
				p := draw(rnd, fmt.Sprintf("%d-%d", i, j))
				if !p.carry(t, nc, rnd, &whole) {
					nc.Close()
					nc = nil
				}
			}
			if nc != nil {
				nc.Close()
			}
		})
	}
	all.Wait()
	if n := whole.Load(); n < clients*each/4 {
		t.Errorf("only %d exchanges of %d were whole", n, clients*each)
	}
}

// carry is the client's side of one exchange. It reports whether the
// connection goes on.
func (p *plan) carry(t *testing.T, nc net.Conn, rnd *rand.Rand, whole *atomic.Int32) bool {
	request := p.request()
	if p.leave {
		io.WriteString(nc, request[:rnd.IntN(len(request))])
		return false
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.WriteString(nc, request)
	}()
	defer func() { <-sent }()
	in := bufio.NewReader(nc)
	var res *http.Response
	for res == nil || res.StatusCode < 200 {
		var err error
		if res, err = http.ReadResponse(in, &http.Request{Method: p.method}); err != nil {
			t.Errorf("exchange %s (%+v): %v", p.tag, p, err)
			nc.Close()
			return false
		}
		if tag := res.Header.Get("Tag"); tag != p.tag && res.StatusCode != 502 {
			t.Errorf("exchange %s got the head of %q, status %d", p.tag, tag, res.StatusCode)
		}
	}
	body, err := io.ReadAll(res.Body)
	bodiless := p.method == "HEAD"
	switch {
	case res.StatusCode == 502:
		if p.end == "whole" {
			t.Errorf("exchange %s (%+v) failed", p.tag, p)
		}
	case string(body) != marked(p.tag, len(body)):
		t.Errorf("exchange %s got the body of another: %.100q", p.tag, body)
	case p.end == "whole" && !bodiless && (err != nil || len(body) != p.size):
		t.Errorf("exchange %s (%+v) got %d bytes and %v", p.tag, p, len(body), err)
	case p.end != "whole" && !bodiless && err == nil && p.size > 0 && p.framing != "close":
		t.Errorf("exchange %s (%+v) looks whole", p.tag, p)
	default:
		whole.Add(1)
	}
	// After an early answer, the server may give the rest of a body up, and with
	// it the connection.
	if err != nil || res.Close || p.early && p.upload > 0 {
		nc.Close()
		return false
	}
	return true
}

// A panic of a writer ends its exchange alone: the connection to the
// application is closed, an upload is broken off.
func TestPanic(t *testing.T) {
	t.Parallel()
	for _, streaming := range []bool{false, true} {
		t.Run(strconv.FormatBool(streaming), func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(p *peer) {
				p.head()
				p.send(ok)
				io.Copy(io.Discard, p.r)
			}, before(func(x *exchange.Exchange) { x.Response.Writer = panics{x.Response.Writer} }))
			client := r.client()
			if streaming {
				client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\nhello")
			} else {
				client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			}
			if head := client.head(); !strings.HasPrefix(head, "HTTP/1.1 500 ") {
				t.Errorf("client got %q, want 500", head)
			}
			client.close()
			r.until("no socket is left", func() bool { return r.watch.Count() == 0 })
		})
	}
}

type panics struct{ exchange.Writer }

func (panics) WriteHead(*exchange.Exchange) error { panic("a mistake in a module") }

// A channel serves many writers that fail.
func TestFailingWriters(t *testing.T) {
	t.Parallel()
	broken := errors.New("the client is gone")
	play, _ := answers("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"+marked("x", 100000),
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"+chunked(marked("x", 1000)), ok, "HTTP/1.1 200 OK\r\n\r\nhello<close>")
	r := newRig(t, play)
	for range 4 {
		x, rec := exchangetest.New("GET", "/")
		rec.Fail = broken
		err := r.channel.Serve(x)
		var f *forward.Failure
		if !errors.Is(err, broken) || !errors.As(err, &f) || f.Side != forward.Client || f.Phase != forward.SendResponse {
			t.Errorf("error %v, want that of the writer, at the client's side", err)
		}
	}
}
