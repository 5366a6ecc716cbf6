package sockio

import (
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

func takenListener(t *testing.T, network, address string) net.Listener {
	t.Helper()
	lc := net.ListenConfig{Control: PrepareListener}
	l, err := lc.Listen(t.Context(), network, address)
	if err != nil {
		t.Fatal(err)
	}
	if l, err = TakeListener(l); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// What is accepted has the addresses and the settings that package net gives a
// connection, and its descriptor is the one that is adopted.
func TestTakenListener(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ network, address, dial string }{
		{"tcp4", "127.0.0.1:0", "127.0.0.1"},
		{"tcp4", "0.0.0.0:0", "127.0.0.2"},
		{"tcp6", "[::1]:0", "::1"},
		{"tcp", "[::]:0", "127.0.0.1"},
		{"tcp", "[::]:0", "::1"},
	} {
		t.Run(c.network+c.address+c.dial, func(t *testing.T) {
			w := newWatcher(t)
			l := takenListener(t, c.network, c.address)
			to := netip.AddrPortFrom(netip.MustParseAddr(c.dial), l.Addr().(*net.TCPAddr).AddrPort().Port())
			client, err := net.Dial("tcp", to.String())
			if err != nil {
				t.Fatal(err)
			}
			defer client.Close()
			nc, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			own := nc.(*bare).fd
			conn := w.Adopt(nc, nil)
			defer conn.Close()
			if conn.fd != own {
				t.Errorf("descriptor %d was adopted as %d", own, conn.fd)
			}
			plain := func(a net.Addr) string {
				ap := a.(*net.TCPAddr).AddrPort()
				return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()).String()
			}
			if got, want := plain(nc.RemoteAddr()), client.LocalAddr().String(); got != want {
				t.Errorf("remote address %s, want %s", got, want)
			}
			if got, want := plain(nc.LocalAddr()), to.String(); got != want {
				t.Errorf("local address %s, want %s", got, want)
			}
			for _, o := range []struct {
				name                 string
				level, option, value int
			}{
				{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
				{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
				{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 15},
				{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 15},
				{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 9},
			} {
				if v, err := unix.GetsockoptInt(conn.fd, o.level, o.option); v != o.value || err != nil {
					t.Errorf("%s is %d, %v, want %d", o.name, v, err, o.value)
				}
			}
			client.Write([]byte("hello"))
			var b [5]byte
			if n, err := conn.Read(b[:]); err != nil || string(b[:n]) != "hello" {
				t.Errorf("%q, %v", b[:n], err)
			}
		})
	}
}

// Closing a listener ends an Accept that waits, and nobody listens from then on.
func TestTakenListenerCloses(t *testing.T) {
	t.Parallel()
	l := takenListener(t, "tcp", "127.0.0.8:0") // nobody else is given its port
	ended := make(chan error)
	go func() {
		_, err := l.Accept()
		ended <- err
	}()
	l.Close()
	if err := <-ended; !errors.Is(err, net.ErrClosed) {
		t.Errorf("%v", err)
	}
	if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("later: %v", err)
	}
	if c, err := net.Dial("tcp", l.Addr().String()); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the address is still listened on: %v, %v", c, err)
	}
}
