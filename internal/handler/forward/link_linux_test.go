package forward_test

import (
	"context"
	"net"
	"os"
	"testing"

	"golang.org/x/sys/unix"
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
				conns <- own
				return nc, err
			}))
			address <- r.app.Addr().String()
			client := r.client()
			client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			client.wantDateless(ok)
			(<-first).send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
			idle := <-conns
			defer idle.Close()
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
