package forward_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perchserver/perch/internal/handler/forward"
)

// The shutdown request of the module: spec 2.10.
func TestShutdown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, path string
		want       string // request line
		answer     string
		err        string // part of it, "" for none
	}{
		{"accepted", "/", "POST /iisintegration HTTP/1.1", "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", ""},
		{"accepted, closing", "/", "POST /iisintegration HTTP/1.1", "HTTP/1.1 202 Accepted\r\n\r\n<close>", ""},
		{"below a path", "/shop", "POST /shop/iisintegration HTTP/1.1", "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", ""},
		{"below a path with a slash", "/shop/", "POST /shop/iisintegration HTTP/1.1", "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", ""},
		{"below a path to be encoded", "/my shop/é", "POST /my%20shop/%C3%A9/iisintegration HTTP/1.1", "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", ""},
		{"behind interim responses", "/", "POST /iisintegration HTTP/1.1", "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nX: 1\r\n\r\nHTTP/1.1 202 Accepted\r\n\r\n", ""},
		{"refused", "/", "POST /iisintegration HTTP/1.1", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "answered 404, not 202"},
		{"no IIS Integration", "/", "POST /iisintegration HTTP/1.1", ok, "answered 200, not 202"},
		{"garbage", "/", "POST /iisintegration HTTP/1.1", "garbage\r\n\r\n", "status line"},
		{"interim for ever", "/", "POST /iisintegration HTTP/1.1", strings.Repeat("HTTP/1.1 102 \r\n\r\n", 100), "interim"},
		{"closed", "/", "POST /iisintegration HTTP/1.1", "<close>", "EOF"},
		{"reset", "/", "POST /iisintegration HTTP/1.1", "<reset>", "reset"},
		{"too large", "/", "POST /iisintegration HTTP/1.1", "HTTP/1.1 202 Accepted\r\n" + strings.Repeat("X-A: 0123456789\r\n", 20000), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			play, got := answers(c.answer)
			r := newRig(t, play, virtualPath(c.path))
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			err := r.channel.Shutdown(ctx)
			switch {
			case c.name == "too large":
				if err == nil {
					t.Error("no error")
				}
			case (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err):
				t.Errorf("error %v, want %q", err, c.err)
			}
			if err != nil && !strings.HasPrefix(err.Error(), "shutdown request to "+r.app.Addr().String()+": ") {
				t.Errorf("error %v does not say to whom", err)
			}
			host := r.app.Addr().String()
			want := "1 " + c.want + "\r\nHost: " + host + "\r\nMS-ASPNETCORE-EVENT: shutdown\r\nMS-ASPNETCORE-TOKEN: secret\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
			if head := <-got; head != want {
				t.Errorf("sent %q, want %q", head, want)
			}
		})
	}
}

func TestShutdownOfWhatDoesNotListen(t *testing.T) {
	t.Parallel()
	r := newRig(t, nil)
	channel := r.forward.Channel(forward.Settings{Address: r.nobody()})
	defer channel.Close()
	if err := channel.Shutdown(t.Context()); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("error %v, want that the connection was refused", err)
	}
}

// The request is given up when its time has passed, at whatever point.
func TestShutdownEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, play := range map[string]func(*peer){
		"request not taken": func(p *peer) { time.Sleep(time.Minute) },
		"no answer":         func(p *peer) { p.head(); p.ends() },
		"half a head":       func(p *peer) { p.head(); p.send("HTTP/1.1 202"); p.ends() },
	} {
		for _, how := range []string{"deadline", "cancelled"} {
			t.Run(name+", "+how, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					r := newRig(t, play, inMemory)
					ctx, cancel := context.WithCancel(t.Context())
					want := context.Canceled
					if how == "deadline" {
						cancel()
						ctx, cancel = context.WithTimeout(t.Context(), 5*time.Second)
						want = context.DeadlineExceeded
					}
					defer cancel()
					defer time.AfterFunc(7*time.Second, cancel).Stop()
					begin := time.Now()
					if err := r.channel.Shutdown(ctx); !errors.Is(err, want) {
						t.Errorf("error %v, want %v", err, want)
					}
					if took := time.Since(begin); took != 5*time.Second && took != 7*time.Second {
						t.Errorf("took %v", took)
					}
				})
			})
		}
	}
}
