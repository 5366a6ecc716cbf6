package forward_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
	"github.com/perchserver/perch/internal/handler/forward"
)

// Unasked bytes make an idle connection unfit: they would be the answer to the
// next request.
func TestIdleConnectionsMustBeSilent(t *testing.T) {
	t.Parallel()
	for _, method := range []string{"GET", "POST"} {
		t.Run(method, func(t *testing.T) {
			t.Parallel()
			first := make(chan *peer, 1)
			conns := make(chan *os.File, 8)
			address := make(chan string, 1)
			r := newRig(t, func(p *peer) {
				for p.more() {
					p.head()
					p.send(ok)
					if p.n == 1 {
						first <- p
					}
				}
			}, dial(func(ctx context.Context) (net.Conn, error) {
				to := <-address
				address <- to
				nc, err := net.Dial("tcp", to)
				if err != nil {
					return nil, err
				}
				own, err := nc.(*net.TCPConn).File() // the engine takes nc over
				t.Cleanup(func() { own.Close() })
				conns <- own
				return nc, err
			}))
			address <- r.app.Addr().String()
			client := r.client()
			client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			client.wantDateless(ok)
			(<-first).send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
			idle := <-conns
			r.until("the bytes have arrived", func() bool { return readable(t, idle) })
			client.send(method + " / HTTP/1.1\r\nHost: a\r\n\r\n")
			client.wantDateless(ok)
			if n := r.conns.Load(); n != 2 {
				t.Errorf("%d connections to the application, want 2", n)
			}
		})
	}
}

// readable reports whether there is something to read.
func readable(t *testing.T, c *os.File) (is bool) {
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) {
		var b [1]byte
		n, _, err := unix.Recvfrom(int(fd), b[:], unix.MSG_PEEK|unix.MSG_DONTWAIT)
		is = n > 0 && err == nil
	})
	return is
}

// A client that goes while an application accepts nothing ends the wait, and a
// server that shuts down need not wait either. Nobody asks again.
func TestClientGoneConnecting(t *testing.T) {
	t.Parallel()
	r := newRig(t, func(*peer) {})
	channel := r.forward.Channel(forward.Settings{Address: deaf(t)})
	defer channel.Close()
	x, _ := exchangetest.New("GET", "/")
	waits, done := make(chan struct{}), make(chan error)
	x.Waiting = func(on bool) {
		if on {
			close(waits)
		}
	}
	go func() { done <- channel.Serve(x) }()
	select {
	case <-waits:
		x.ClientGone()
	case err := <-done:
		t.Fatalf("it was not to be told of a client that goes: %v", err)
	}
	e := exchange.AsError(<-done)
	var f *forward.Failure
	if !errors.As(e, &f) || f.Phase != forward.Connect || f.Side != forward.Client || e.Resend {
		t.Errorf("error %v (resend %v), want the client's while connecting", e, e.Resend)
	}
}

// deaf listens and never accepts: no connection beyond the first one or two
// comes to be.
func deaf(t *testing.T) netip.AddrPort {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(fd) })
	loopback := [4]byte{127, 0, 0, 1}
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: loopback}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	at := netip.AddrPortFrom(netip.AddrFrom4(loopback), uint16(name.(*unix.SockaddrInet4).Port))
	// Each attempt takes a place, if there is one left, whatever becomes of it here.
	for range 4 {
		if c, err := net.DialTimeout("tcp", at.String(), 50*time.Millisecond); err == nil {
			t.Cleanup(func() { c.Close() })
		}
	}
	return at
}
