package forward_test

import (
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

// What a handler owes the driver, whichever it is.

func TestResponseOfAnyDriver(t *testing.T) {
	t.Parallel()
	play, _ := answers("HTTP/1.1 200 Fine\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\n"+
		"Transfer-Encoding: chunked\r\nUpgrade: h2c\r\nX-A: 1\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 5\r\nConnection: close\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")
	r := newRig(t, play)
	x, rec := exchangetest.New("GET", "/")
	if err := r.channel.Serve(x); err != nil {
		t.Fatal(err)
	}
	if err := rec.Problem(); err != nil {
		t.Error(err)
	}
	// Framing, hop by hop fields and the date are the driver's business.
	if rec.Head() != "200\nX-A: 1\n" || rec.Reason != "Fine" || rec.Length != -1 || string(rec.Body) != "ok" {
		t.Errorf("head %q, reason %q, length %d, body %q", rec.Head(), rec.Reason, rec.Length, rec.Body)
	}
	trailer := exchange.Header{Fields: x.Response.Trailer}
	if got := string(headerText(&trailer)); got != "X-Sum: 1\n" {
		t.Errorf("trailer %q", got)
	}

	// The trailer is the exchange's own: the next one does not touch it.
	y, _ := exchangetest.New("GET", "/")
	if err := r.channel.Serve(y); err != nil {
		t.Fatal(err)
	}
	if got := string(headerText(&trailer)); got != "X-Sum: 1\n" || len(y.Response.Trailer) > 0 {
		t.Errorf("trailer %q after the next exchange, which has %v", got, y.Response.Trailer)
	}
}

// Nothing of the response points into memory that the next exchange will use,
// and nothing is aborted any more when the client goes.
func TestNothingStaysBehind(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]string{
		"kept":     "HTTP/1.1 200 Fine\r\nX-A: 1\r\nContent-Length: 2\r\n\r\nok",
		"not kept": "HTTP/1.1 200 Fine\r\nX-A: 1\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok",
		"failed":   "HTTP/1.1 200 Fine\r\nX-A: 1\r\nContent-Length: 3\r\n\r\nok<close>",
		"garbage":  "garbage\r\n\r\n<close>",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play, _ := answers(answer)
			r := newRig(t, play)
			x, _ := exchangetest.New("GET", "/")
			waits := false
			x.Waiting = func(on bool) { waits = on }
			err := r.channel.Serve(x)
			if (err == nil) != strings.Contains(name, "kept") {
				t.Errorf("error %v", err)
			}
			if x.Response.Reason != nil || len(x.Response.Header.Fields) > 0 {
				t.Errorf("reason %q and fields %v are left", x.Response.Reason, x.Response.Header.Fields)
			}
			if waits {
				t.Error("still waiting")
			}
		})
	}
}

// leaving is a client that goes when the last bytes are on their way to it.
type leaving struct {
	exchange.Writer
	x *exchange.Exchange
}

func (l leaving) Write(p []byte) (int, error) {
	l.x.ClientGone()
	return l.Writer.Write(p)
}

// A connection that was given back is not the exchange's any more: a client
// that goes then does not break it.
func TestGoneAfterTheLinkWasGivenBack(t *testing.T) {
	t.Parallel()
	play, _ := answers(ok, ok)
	r := newRig(t, play)
	for range 2 {
		x, rec := exchangetest.New("GET", "/")
		x.Response.Writer = leaving{rec, x}
		if err := r.channel.Serve(x); err != nil {
			t.Fatal(err)
		}
	}
	if n := r.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// An upload that failed says nothing about the next exchange.
func TestConnectionsAreKeptAfterAFailedUpload(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(p *peer) {
		for p.more() {
			if strings.HasPrefix(p.head(), "POST") {
				return
			}
			p.send(ok)
		}
	})
	for _, method := range []string{"POST", "GET", "GET"} {
		x, _ := exchangetest.New(method, "/")
		if method == "POST" {
			body := exchangetest.NewChunked("hello")
			body.Err = exchange.Errorf(400, 0, "read request body", "cut")
			exchangetest.SetBody(x, body)
		}
		if err := r.channel.Serve(x); (err == nil) != (method == "GET") {
			t.Errorf("%s: error %v", method, err)
		}
	}
	if n := r.conns.Load(); n != 2 {
		t.Errorf("%d connections, want one for the failed upload and one for the rest", n)
	}
}
