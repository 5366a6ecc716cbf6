package forward_test

import (
	"errors"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
	"github.com/perchserver/perch/internal/handler/forward"
)

// A client that goes takes its connection to the application with it, at once
// and not at the next byte (stronger than spec 3.7).
func TestClientGone(t *testing.T) {
	t.Parallel()
	if runtime.GOOS != "linux" {
		t.Skip("only the watcher of Linux notices a client that goes while nothing is sent")
	}
	for name, c := range map[string]struct{ request, answer string }{
		"waiting for the head":            {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", ""},
		"waiting with half a head":        {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200"},
		"between events":                  {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n"},
		"in a body with a length":         {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi"},
		"in a long body":                  {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nhi"},
		"in a body until close":           {"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\nhi"},
		"waiting, the body sent":          {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nxx", ""},
		"uploading":                       {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nxx", ""},
		"uploading, response begun":       {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 20\r\n\r\nxx", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhi"},
		"not asked for the body, waiting": {"POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 20\r\n\r\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			asked, gone := make(chan struct{}), make(chan time.Time)
			r := newRig(t, func(p *peer) {
				p.head()
				p.send(c.answer)
				close(asked)
				for p.more() { // what there is of a body
					p.bytes(1)
				}
				gone <- time.Now()
			})
			client := r.client()
			client.send(c.request)
			<-asked
			if strings.HasSuffix(c.answer, "hi") || strings.HasSuffix(c.answer, "hi\r\n") {
				client.head()
			}
			left := time.Now()
			client.close()
			// A tick or two until the watcher looks, and more under load. Nothing
			// else ends it.
			if took := (<-gone).Sub(left); took > 30*time.Second {
				t.Errorf("the application knew after %v", took)
			}
			if e, f := r.failure(); e.Status != 400 || e.Resend || f != nil && f.Side != forward.Client {
				t.Errorf("error %v (resend %v), want the client's", e, e.Resend)
			}
		})
	}
}

// Whoever is gone before anything was sent is told from a failed application.
func TestClientGoneBefore(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(p *peer) { p.more() })
	x, _ := exchangetest.New("GET", "/")
	x.ClientGone()
	e := exchange.AsError(r.channel.Serve(x))
	if e.Status != 400 || e.Resend {
		t.Errorf("error %v (resend %v), want the client's", e, e.Resend)
	}
}

// A client that goes while a connection of HTTP/2 is made does not wait for it,
// and those who stay get it. It is given up when the last of them has gone.
func TestClientGoneConnectingHTTP2(t *testing.T) {
	t.Parallel()
	settle, begun, ended := make(chan bool), make(chan bool), make(chan bool)
	r := newRig(t, func(p *peer) {
		if p.n == 1 {
			<-settle
			plays(func(a *h2app) {
				a.wants("HEADERS 1")
				a.ok(1)
				a.drain()
			})(p)
			return
		}
		p.want(http2.ClientPreface)
		close(begun)
		p.all() // no settings are sent
		close(ended)
	}, overHTTP2)
	exchanges := func(n int) (all []*exchange.Exchange, done []chan error) {
		for range n {
			x, _ := exchangetest.New("GET", "/")
			waits, err := make(chan struct{}, 8), make(chan error, 1)
			x.Waiting = func(on bool) {
				if on {
					waits <- struct{}{}
				}
			}
			go func() { err <- r.channel.Serve(x) }()
			select {
			case <-waits:
			case err := <-err:
				t.Fatalf("it did not wait: %v", err)
			}
			all, done = append(all, x), append(done, err)
		}
		return all, done
	}
	left := func(err error) {
		t.Helper()
		var f *forward.Failure
		if e := exchange.AsError(err); !errors.As(err, &f) || f.Phase != forward.Connect || f.Side != forward.Client || e.Resend {
			t.Errorf("error %v (resend %v), want the client's while connecting", e, e.Resend)
		}
	}
	all, done := exchanges(3)
	all[0].ClientGone() // it has begun to connect
	left(<-done[0])
	all[2].ClientGone()
	left(<-done[2])
	close(settle)
	if err := <-done[1]; err != nil {
		t.Errorf("who stayed: %v", err)
	}
	r.hangUp(func(int) bool { return true })
	r.until("the connection is known to have ended", func() bool { return r.watch.Count() == 0 })

	all, done = exchanges(2)
	<-begun
	for i := range all {
		all[i].ClientGone()
		left(<-done[i])
	}
	<-ended
}
