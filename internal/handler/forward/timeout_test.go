package forward_test

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perchserver/perch/internal/handler/forward"
)

// requestTimeout bounds each wait for the application, not the exchange (spec
// 3.1, 3.7). Time is fake here: connections are pipes in memory.

const limit = 3 * time.Second

// late checks that an exchange has failed because a wait was longer than the
// limit, counted from begin.
func (r *rig) late(begin time.Time, phase forward.Phase) {
	r.t.Helper()
	took := time.Since(begin)
	e, f := r.failure()
	switch {
	case took < limit || took > limit+3*tick:
		r.t.Errorf("failed after %v, want %v", took, limit)
	case e.Status != 502 || e.SubStatus != 3 || e.Resend || f == nil || f.Phase != phase || f.Side != forward.Application:
		r.t.Errorf("error %v (resend %v), want 502.3 while it would %v", e, e.Resend, phase)
	case f.Report().Title != "The application took too long":
		r.t.Errorf("report %+v", f.Report())
	}
}

func TestTimeoutBeforeTheAnswer(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		request string
		play    func(*peer)
		phase   forward.Phase
	}{
		"no answer": {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
			func(p *peer) { p.head(); p.ends() }, forward.ReadHead},
		"half a head": {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
			func(p *peer) { p.head(); p.send("HTTP/1.1 200 OK\r\nX-A"); p.ends() }, forward.ReadHead},
		"head not taken": {"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
			func(p *peer) { time.Sleep(time.Minute) }, forward.SendHead},
		"body not taken": {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 90000),
			func(p *peer) { p.head(); time.Sleep(time.Minute) }, forward.SendBody},
		"chunks not taken": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nfffff\r\n" + strings.Repeat("x", 90000),
			func(p *peer) { p.head(); time.Sleep(time.Minute) }, forward.SendBody},
		"no answer to a body": {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(strings.Repeat("x", 50000)),
			func(p *peer) { p.head(); p.chunked(); p.ends() }, forward.ReadHead},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, c.play, inMemory, timeout(limit))
				client := r.client()
				begin := time.Now()
				go client.send(c.request)
				if head := client.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") {
					t.Errorf("client got %q, want 502", head)
				}
				r.late(begin, c.phase)
			})
		})
	}
}

func TestTimeoutToConnect(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ set, want time.Duration }{
		"request timeout": {limit, limit},
		"own limit":       {time.Minute, 10 * time.Second},
		"no timeout":      {0, 10 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, nil, inMemory, timeout(c.set), dial(func(ctx context.Context) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}))
				client := r.client()
				begin := time.Now()
				client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if head := client.head(); !strings.HasPrefix(head, "HTTP/1.1 502 ") {
					t.Errorf("client got %q, want 502", head)
				}
				if took := time.Since(begin); took != c.want {
					t.Errorf("took %v, want %v", took, c.want)
				}
				e, f := r.failure()
				if e.Resend || f.Phase != forward.Connect || f.Report().Title != "The application took too long" {
					t.Errorf("error %v (resend %v), report %+v", e, e.Resend, f.Report())
				}
			})
		})
	}
}

// An application that moves, however slowly, is never cut: each of its pauses
// is shorter than the limit, all of them together are much longer.
func TestSlowButMoving(t *testing.T) {
	t.Parallel()
	const pause, steps = limit - 500*time.Millisecond, 10
	slowly := func(p *peer, piece string) {
		for range steps {
			time.Sleep(pause)
			p.send(piece)
		}
	}
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	long := strings.Repeat("x", 10000)
	for name, c := range map[string]struct {
		play func(*peer)
		want string // body
	}{
		"head": {func(p *peer) { // a limit for each operation: so little of it is no head in a minute
			p.send("HTTP/1.1 200 OK\r\n")
			time.Sleep(pause)
			p.send("Content-Length: 0\r\n\r\n")
		}, ""},
		"interim": {func(p *peer) {
			slowly(p, "HTTP/1.1 102 Processing\r\n\r\n")
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
		}, ""},
		"length": {func(p *peer) {
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
			slowly(p, "x")
		}, "xxxxxxxxxx"},
		"long": {func(p *peer) {
			p.send("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
			slowly(p, long)
		}, strings.Repeat(long, 10)},
		"chunked": {func(p *peer) {
			p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
			slowly(p, "1\r\nx\r\n")
			p.send("0\r\n\r\n")
		}, "xxxxxxxxxx"},
		"long chunk": {func(p *peer) {
			p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n186a0\r\n")
			slowly(p, long)
			p.send("\r\n0\r\n\r\n")
		}, strings.Repeat(long, 10)},
		"until close": {func(p *peer) {
			p.send("HTTP/1.1 200 OK\r\n\r\n")
			slowly(p, "x")
		}, "xxxxxxxxxx"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(p *peer) { p.head(); c.play(p) }, inMemory, timeout(limit))
				client := r.client()
				client.send(get)
				head, body := client.message()
				for strings.HasPrefix(head, "HTTP/1.1 102 ") {
					head, body = client.message()
				}
				if !strings.HasPrefix(head, "HTTP/1.1 200 ") || body != c.want {
					t.Errorf("client got %q and %d bytes, want %d; errors %v", head, len(body), len(c.want), r.errs())
				}
			})
		})
	}
}

// Each piece of a streamed response is with the client before the next one
// comes: nothing is collected.
func TestResponsesStream(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ head, piece string }{
		"length":      {"Content-Length: 6\r\n", "xx"},
		"long":        {"Content-Length: 600000\r\n", "xx"},
		"chunked":     {"Transfer-Encoding: chunked\r\n", "2\r\nxx\r\n"},
		"until close": {"", "xx"},
		"events":      {"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n", "2\r\nxx\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			next := make(chan struct{})
			r := newRig(t, func(p *peer) {
				p.head()
				p.send("HTTP/1.1 200 OK\r\n" + c.head + "\r\n")
				for range next {
					p.send(c.piece)
				}
			})
			client := r.client()
			client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			client.head() // before any of the body
			for range 3 {
				next <- struct{}{}
				if name == "length" || name == "long" {
					client.want("xx")
				} else {
					client.want("2\r\nxx\r\n")
				}
			}
			close(next)
		})
	}
}

func TestTimeoutInTheBody(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"length":      "Content-Length: 10\r\n\r\nx",
		"long":        "Content-Length: 100000\r\n\r\nx",
		"chunked":     "Transfer-Encoding: chunked\r\n\r\n5\r\nx",
		"long chunk":  "Transfer-Encoding: chunked\r\n\r\n186a0\r\nx",
		"until close": "\r\nx",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(p *peer) {
					p.head()
					p.send("HTTP/1.1 200 OK\r\n" + answer)
					p.ends()
				}, inMemory, timeout(limit))
				client := r.client()
				begin := time.Now()
				client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				if all, _ := client.all(); strings.HasSuffix(all, "0\r\n\r\n") {
					t.Errorf("client got %q, which looks whole", all)
				}
				r.late(begin, forward.ReadBody)
			})
		})
	}
}

// While a client sends its body, the application may wait for it: only when it
// has it all does the limit begin.
func TestSlowUploadIsNoTimeout(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ head, piece, end string }{
		"length":  {"Content-Length: 3000", strings.Repeat("x", 300), ""},
		"long":    {"Content-Length: 40000", strings.Repeat("x", 4000), ""},
		"chunked": {"Transfer-Encoding: chunked", "12c\r\n" + strings.Repeat("x", 300) + "\r\n", "0\r\n\r\n"},
	} {
		for _, early := range []bool{false, true} {
			if early {
				name += ", head of the response first"
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, func(p *peer) {
						head := p.head()
						if early {
							p.send(ok[:len(ok)-2])
						}
						if m := lengthField.FindStringSubmatch(head); m != nil {
							p.skip(map[string]int64{"3000": 3000, "40000": 40000}[m[1]])
						} else {
							p.chunked()
						}
						time.Sleep(limit - time.Second)
						if early {
							p.send("ok")
						} else {
							p.send(ok)
						}
					}, inMemory, timeout(limit))
					client := r.client()
					go func() {
						client.send("POST / HTTP/1.1\r\nHost: a\r\n" + c.head + "\r\n\r\n")
						for range 10 {
							time.Sleep(time.Second)
							client.send(c.piece)
						}
						client.send(c.end)
					}()
					if _, body := client.message(); body != "ok" {
						t.Errorf("client got %q; errors %v", body, r.errs())
					}
				})
			})
		}
	}
}

func TestNoTimeoutWaitsForEver(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.head()
			time.Sleep(20 * time.Minute)
			p.send(ok)
		}, inMemory)
		client := r.client()
		client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		client.wantDateless(ok)
	})
}

// A client that does not take its response is its own failure.
func TestClientDoesNotRead(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		r := newRig(t, func(p *peer) {
			p.head()
			p.send("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(noise(1<<20)))
			close(gone)
		}, inMemory, timeout(limit))
		client := r.client()
		client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		client.head()
		<-gone
		if e, f := r.failure(); e.Status != 400 || f.Side != forward.Client || f.Phase != forward.SendResponse {
			t.Errorf("error %v, want the client's", e)
		}
	})
}
