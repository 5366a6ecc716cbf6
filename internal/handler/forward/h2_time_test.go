package forward_test

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/http2"

	"github.com/perchserver/perch/internal/handler/forward"
)

// Time is fake here: connections are pipes in memory.

func TestHTTP2Timeouts(t *testing.T) {
	t.Parallel()
	large := "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000\r\n\r\n" + strings.Repeat("x", 200_000)
	for name, c := range map[string]struct {
		request string
		play    func(*peer)
		phase   forward.Phase
	}{
		"no settings": {getA, func(p *peer) { p.want(http2.ClientPreface); p.all() }, forward.Connect},
		"no answer":   {getA, plays(func(a *h2app) { a.drain() }), forward.ReadHead},
		"half an answer": {getA, plays(func(a *h2app) {
			a.wants("HEADERS")
			a.head(1, false, ":status: 200")
			a.drain()
		}), forward.ReadBody},
		"body not taken": {large, plays(func(a *h2app) { a.drain() }), forward.SendBody},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, c.play, inMemory, timeout(limit), overHTTP2)
				client := r.client()
				begin := time.Now()
				go client.send(c.request)
				client.head()
				r.until("an exchange fails", func() bool { return len(r.errs()) > 0 })
				took := time.Since(begin)
				e, f := r.failure()
				if took < limit || took > limit+8*tick {
					t.Errorf("failed after %v, want %v", took, limit)
				}
				if e.Status != 502 || f == nil || f.Phase != c.phase || f.Report().Title != "The application took too long" || e.Resend {
					t.Errorf("%v, want a timeout while it would %v", e, c.phase)
				}
			})
		})
	}
}

// drain reads to the end.
func (a *h2app) drain() {
	for a.next() != "end" {
	}
}

// A body that the client holds back is sent when the application asks, or does
// not seem to know how.
func TestHTTP2Continue(t *testing.T) {
	t.Parallel()
	for name, asks := range map[string]bool{"asked": true, "not asked": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, plays(func(a *h2app) {
					a.wants("HEADERS 1 :method=POST :scheme=http :path=/ :authority=a expect=100-continue")
					if asks {
						a.head(1, false, ":status: 100")
					}
					a.wants("DATA 1 hello end")
					a.ok(1)
					a.drain()
				}), inMemory, overHTTP2)
				client := r.client()
				client.send("POST / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nContent-Length: 5\r\n\r\n")
				client.want("HTTP/1.1 100 Continue\r\n\r\n")
				client.send("hello")
				client.want("HTTP/1.1 200 OK\r\n")
			})
		})
	}
}

// A connection that nobody uses is closed after a while, and one of a channel
// that is closed when its exchanges have ended.
func TestHTTP2Retires(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var said atomic.Value
		r := newRig(t, plays(func(a *h2app) {
			a.wants("HEADERS 1")
			a.ok(1)
			said.Store(a.next())
			a.drain()
		}), inMemory, overHTTP2)
		client := r.client()
		client.send(getA)
		client.want("HTTP/1.1 200 OK\r\n")
		begin := time.Now()
		r.until("the connection is closed", func() bool { return said.Load() != nil })
		if took := time.Since(begin); said.Load() != "GOAWAY 0 NO_ERROR" || took < 99*time.Second || took > 102*time.Second {
			t.Errorf("after %v it said %v", took, said.Load())
		}
	})
	synctest.Test(t, func(t *testing.T) {
		closed := make(chan bool)
		r := newRig(t, plays(func(a *h2app) {
			a.wants("HEADERS 1")
			<-closed
			a.ok(1)
			a.wants("GOAWAY 0 NO_ERROR", "end")
		}), inMemory, overHTTP2)
		client := r.client()
		client.send(getA)
		synctest.Wait()
		r.channel.Close()
		close(closed)
		client.want("HTTP/1.1 200 OK\r\n")
	})
}

func TestHTTP2Shutdown(t *testing.T) {
	t.Parallel()
	for status, want := range map[string]string{"202": "", "404": "answered 404, not 202"} {
		r := newRig(t, plays(func(a *h2app) {
			address := a.nc.LocalAddr()
			a.wants(fmt.Sprintf("HEADERS 1 :method=POST :scheme=http :path=/app/iisintegration :authority=%v ms-aspnetcore-event=shutdown ms-aspnetcore-token=secret content-length=0 end", address))
			a.head(1, false, ":status: 102")
			a.head(1, true, ":status: "+status)
			a.wants("GOAWAY", "end")
		}), overHTTP2, virtualPath("/app"))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := r.channel.Shutdown(ctx); (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", status, err)
		}
	}
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, plays(func(a *h2app) { a.wants("HEADERS 1"); a.drain() }), inMemory, overHTTP2)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := r.channel.Shutdown(ctx); err == nil || ctx.Err() == nil {
			t.Errorf("an application that does not answer: %v", err)
		}
	})
}
