package forward_test

import (
	"hash/crc32"
	"io"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/handler/forward"
)

// 100-continue (RFC 9110 section 10.1.1): the question goes to the application
// and its answer to the client.

const expect = "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"

func TestContinueAsked(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(p *peer) {
		for p.more() {
			if head := p.head(); !strings.Contains(head, "\r\nExpect: 100-continue\r\n") {
				p.fail("got %q, without the question", head)
			}
			p.send("HTTP/1.1 100 Continue\r\n\r\n")
			p.want("hello")
			p.send(ok)
		}
	})
	client := r.client()
	r.reuses(func() {
		client.send(expect)
		client.want("HTTP/1.1 100 Continue\r\n\r\n")
		client.send("hello")
		client.wantDateless(ok)
	})
}

func TestContinueRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.head()
			p.send("HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\n\r\nno")
			p.ends() // no body, and no other request: the application would take it for the body
		}, inMemory)
		client := r.client()
		client.send(expect)
		if all, err := client.all(); all != "HTTP/1.1 417 Expectation Failed\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno" || err != nil {
			t.Errorf("client got %q, %v", all, err)
		}
	})
}

func TestContinueNeverAsked(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		opts []option
		wait time.Duration
	}{
		"long timeout":    {[]option{timeout(time.Minute)}, time.Second},
		"without timeout": {nil, time.Second},
		"short timeout":   {[]option{timeout(500 * time.Millisecond)}, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, func(p *peer) {
					p.head()
					p.want("hello")
					p.send(ok)
				}, append(c.opts, inMemory)...)
				client := r.client()
				begin := time.Now()
				client.send(expect)
				client.want("HTTP/1.1 100 Continue\r\n\r\n")
				if took := time.Since(begin); took < c.wait || took > c.wait+3*tick {
					t.Errorf("asked after %v, want %v", took, c.wait)
				}
				client.send("hello")
				client.wantDateless(ok)
			})
		})
	}
}

// tick is that of the coarse clock.
const tick = 100 * time.Millisecond

func TestContinueNotAwaited(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(p *peer) {
		p.head()
		p.send("HTTP/1.1 100 Continue\r\n\r\n")
		p.want("hello")
		p.send(ok)
	})
	client := r.client()
	client.send(expect + "hello")
	if next, _ := client.r.Peek(12); string(next) == "HTTP/1.1 100" { // allowed, and not needed
		client.head()
	}
	client.wantDateless(ok)
}

func TestOtherExpectationsHoldNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, func(p *peer) {
			p.head()
			p.want("hello")
			p.send(ok)
		}, inMemory)
		client := r.client()
		begin := time.Now()
		client.send(strings.Replace(expect, "100-continue", "a-miracle", 1) + "hello")
		client.wantDateless(ok)
		if took := time.Since(begin); took > 0 {
			t.Errorf("took %v, as if the body had been held", took)
		}
	})
}

func TestExpectationWithoutABody(t *testing.T) {
	t.Parallel()
	play, _ := answers("HTTP/1.1 100 Continue\r\n\r\n"+ok, ok)
	r := newRig(t, play)
	client := r.client()
	for range 2 {
		client.send("GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n")
		client.wantDateless(ok)
	}
}

// Bodies stream: each piece is with the application before the next is sent.
func TestUploadsStream(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ field, want string }{
		"length":  {"Content-Length: 9", "onetwothr"},
		"chunked": {"Transfer-Encoding: chunked", "onetwothr|X-Sum: 9\r\n\r\n"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pieces := make(chan string)
			r := newRig(t, func(p *peer) {
				for p.more() {
					p.head()
					if name == "chunked" {
						for range 3 {
							p.want("3\r\n")
							pieces <- p.bytes(3)
							p.want("\r\n")
						}
						p.want("0\r\nX-Sum: 9\r\n\r\n")
					} else {
						for range 3 {
							pieces <- p.bytes(3)
						}
					}
					p.send(ok)
				}
			})
			client := r.client()
			r.reuses(func() {
				client.send("POST / HTTP/1.1\r\nHost: a\r\n" + c.field + "\r\n\r\n")
				for _, piece := range []string{"one", "two", "thr"} {
					if name == "chunked" {
						client.send("3\r\n" + piece + "\r\n")
					} else {
						client.send(piece)
					}
					if got := <-pieces; got != piece {
						t.Errorf("got %q, want %q", got, piece)
					}
				}
				if name == "chunked" {
					client.send("0\r\nX-Sum: 9\r\n\r\n")
				}
				client.wantDateless(ok)
			})
		})
	}
}

// noise is n bytes that look alike nowhere.
func noise(n int) string {
	b := make([]byte, n)
	src := rand.NewChaCha8([32]byte{1})
	src.Read(b)
	return string(b)
}

// chunked frames s in chunks of uneven size.
func chunked(s string) string {
	var b strings.Builder
	for size := 1; len(s) > 0; size = size*7%100003 + 1 {
		n := min(size, len(s))
		b.WriteString(strconv.FormatInt(int64(n), 16) + "\r\n" + s[:n] + "\r\n")
		s = s[n:]
	}
	return b.String() + "0\r\n\r\n"
}

const large = 30_000_000 // the default limit of spec 3.4

func TestLargeUploads(t *testing.T) {
	t.Parallel()
	data := strings.Repeat(noise(large/30), 30)
	for name, message := range map[string]string{
		"length":  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\n" + data,
		"chunked": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(data),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, func(p *peer) {
				for p.more() {
					_, body := p.message()
					p.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n")
					p.send(sum(body))
				}
			}, timeout(hang))
			client := r.client()
			r.reuses(func() {
				go client.send(message)
				if _, body := client.message(); body != sum(data) {
					t.Errorf("sum %s, want %s", body, sum(data))
				}
			})
		})
	}
}

func sum(s string) string {
	n := strconv.FormatUint(uint64(crc32.ChecksumIEEE([]byte(s))), 10)
	return strings.Repeat("0", 10-len(n)) + n
}

// Both directions at once, both too long for any buffer: nobody waits for the
// other.
func TestEcho(t *testing.T) {
	t.Parallel()
	data := noise(8 << 20)
	for name, framing := range map[string]string{"length": "Content-Length: 8388608", "chunked": "Transfer-Encoding: chunked"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(p *peer) {
				p.head()
				p.send("HTTP/1.1 200 OK\r\nContent-Length: 8388608\r\n\r\n")
				if name == "length" {
					io.CopyN(p.nc, p.r, 8<<20)
				} else {
					p.send(p.chunked())
				}
			}, timeout(hang))
			client := r.client()
			go func() {
				client.send("POST / HTTP/1.1\r\nHost: a\r\n" + framing + "\r\n\r\n")
				if name == "length" {
					client.send(data)
				} else {
					client.send(chunked(data))
				}
			}()
			if _, body := client.message(); body != data {
				t.Error("the echo differs")
			}
		})
	}
}

// An application that answers before it has read the body: the client gets the
// whole response, whatever becomes of the rest of the body.
func TestEarlyResponse(t *testing.T) {
	t.Parallel()
	long := noise(4 << 20)
	for _, c := range []struct {
		name   string
		length int  // of the body
		first  int  // how much of it is sent before the response
		rest   bool // the rest is sent too
		reads  bool // the application reads it
		answer string
		next   bool // another exchange follows on the client's connection
	}{
		{"small, all sent", 100, 100, false, true, ok, true},
		{"small, held back", 100, 10, false, false, ok, false},
		{"small, rest follows, read", 100, 10, true, true, ok, true},
		{"large, rest follows, read", large, 1000, true, true, ok, false},
		{"large, rest follows, not read", large, 1000, true, false, ok, false},
		{"large, held back", large, 100000, false, false, ok, false},
		{"large, long response, read", large, 1000, true, true, "HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n" + long, false},
		{"large, long response, not read", large, 1000, true, false, "HTTP/1.1 200 OK\r\nContent-Length: 4194304\r\n\r\n" + long, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			answered := make(chan struct{})
			r := newRig(t, func(p *peer) {
				p.head()
				p.send(c.answer)
				if !c.reads {
					<-answered
					return
				}
				if _, err := io.CopyN(io.Discard, p.r, int64(c.length)); err == nil && p.more() {
					p.head()
					p.send(ok)
				}
			}, timeout(hang))
			client := r.client()
			body := strings.Repeat("b", c.length)
			client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: " + strconv.Itoa(c.length) + "\r\n\r\n" + body[:c.first])
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				if c.rest {
					client.send(body[c.first:])
				}
			}()
			head, answer := client.message()
			if !strings.HasPrefix(head, "HTTP/1.1 200 ") || !strings.HasSuffix(c.answer, answer) || len(answer) < 2 {
				t.Fatalf("client got %q and %d bytes", head, len(answer))
			}
			close(answered)
			if c.next {
				<-sent
				client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
				client.wantDateless(ok)
			}
			if errs := r.errs(); len(errs) > 0 {
				t.Errorf("error %v", errs)
			}
			client.close()
			<-sent
		})
	}
}

// A body that the client does not complete is the client's failure: the
// application sees a broken connection, the client its own status.
func TestClientFailsDuringUpload(t *testing.T) {
	t.Parallel()
	const post = "POST / HTTP/1.1\r\nHost: a\r\n"
	limit := before(func(x *exchange.Exchange) { x.Request.Body.Limit(5) })
	for _, c := range []struct {
		name, send string
		end        bool // the client ends its direction
		status     string
		opts       []option
	}{
		{"cut", post + "Content-Length: 10\r\n\r\nhello", true, "400", nil},
		{"long, cut", post + "Content-Length: 1000000\r\n\r\nhello", true, "400", nil},
		{"chunked, cut", post + "Transfer-Encoding: chunked\r\n\r\n9\r\nhello", true, "400", nil},
		{"bad chunk", post + "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\nzz\r\n", false, "400", nil},
		{"too large", post + "Content-Length: 10\r\n\r\nhello", false, "413", []option{limit}},
		{"chunked, too large", post + "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n3\r\nlo!\r\n", false, "413", []option{limit}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(p *peer) {
				io.Copy(io.Discard, p.r) // never answers
			}, append(c.opts, timeout(hang))...)
			client := r.client()
			client.send(c.send)
			if c.end {
				client.closeWrite()
			}
			head, _ := client.message()
			if !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") {
				t.Errorf("client got %q, want %s", head, c.status)
			}
			if e, _ := r.failure(); strconv.Itoa(e.Status) != c.status || e.Resend {
				t.Errorf("error %v, resend %v", e, e.Resend)
			}
		})
	}
}

func TestClientTooSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		gone := make(chan struct{})
		r := newRig(t, func(p *peer) {
			p.head()
			io.Copy(io.Discard, p.r)
			close(gone)
		}, inMemory, timeout(2*time.Second)) // shorter than the driver's patience
		client := r.client()
		client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nhello")
		if head := client.head(); !strings.HasPrefix(head, "HTTP/1.1 408 ") {
			t.Errorf("client got %q, want 408", head)
		}
		<-gone
	})
}

// An application that breaks off while the body is being sent.
func TestApplicationFailsDuringUpload(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer string
		reset        bool
		status       string
	}{
		{"closes", "", false, "502"},
		{"resets", "", true, "502"},
		{"refuses and closes", "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno", false, "413"},
		{"half a head", "HTTP/1.1 413 Content", false, "502"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, func(p *peer) {
				p.head()
				p.bytes(3)
				p.send(c.answer)
				if c.reset {
					p.reset()
				}
			}, timeout(hang))
			client := r.client()
			client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 30000000\r\n\r\nhello") // and goes on only then
			head, _ := client.message()
			if !strings.HasPrefix(head, "HTTP/1.1 "+c.status+" ") {
				t.Fatalf("client got %q, want %s", head, c.status)
			}
			if c.status != "502" {
				return
			}
			want := forward.SendBody
			if c.answer != "" {
				want = forward.ReadHead
			}
			e, f := r.failure()
			if e.Status != 502 || e.SubStatus != 3 || e.Resend || f == nil || f.Phase != want || f.Side != forward.Application {
				t.Errorf("error %v, resend %v; want 502.3 while it would %v", e, e.Resend, want)
			}
		})
	}
}

// When all is decided, nobody waits for a body that the client holds back.
func TestNobodyWaitsForTheRest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answer string
		most   time.Duration // until the exchange is over
	}{
		"application closed": {"", 0},
		"answered":           {ok, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				over := make(chan error, 1)
				r := newRig(t, func(p *peer) {
					p.head()
					p.bytes(3)
					if c.answer != "" {
						p.send(c.answer)
						p.ends()
					}
				}, inMemory)
				r.after = func(err error) { over <- err }
				client := r.client()
				begin := time.Now()
				client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
				client.head()
				if took := time.Since(begin); took > 0 {
					t.Errorf("answered after %v", took)
				}
				<-over
				if took := time.Since(begin); took > c.most {
					t.Errorf("over after %v", took)
				}
			})
		})
	}
}
