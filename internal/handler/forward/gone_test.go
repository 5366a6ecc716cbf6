package forward_test

import (
	"runtime"
	"strings"
	"testing"
	"time"

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
			// A tick or two until the watcher looks, and more under load.
			if took := (<-gone).Sub(left); took > 2*time.Second {
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
