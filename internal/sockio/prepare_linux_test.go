package sockio

import (
	"context"
	"net"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// Clients that read slowly cost what is on its way to them, and no more than
// mostUnsent besides.
func TestAcceptedSocketsBoundWhatIsUnsent(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"127.0.0.1:0", "0.0.0.0:0"} {
		_, accepted := preparedPair(t, address)
		n := option(t, accepted, func(fd int) (int, error) {
			return unix.GetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT)
		})
		if n != mostUnsent {
			t.Errorf("%s: %d bytes may be unsent, want %d", address, n, mostUnsent)
		}
	}
}

// Within the machine nothing is paced. What the system does for the network is
// left to it: there may be a network behind every other listener.
func TestOnlyTheLoopbackIsNotPaced(t *testing.T) {
	t.Parallel()
	congestion := func(c net.Conn) string {
		return option(t, c, func(fd int) (string, error) {
			return unix.GetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION)
		})
	}
	ofSystem, err := os.ReadFile("/proc/sys/net/ipv4/tcp_congestion_control")
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"127.0.0.1:0": "reno",
		"[::1]:0":     "reno",
		"0.0.0.0:0":   strings.TrimSpace(string(ofSystem)),
	} {
		dialled, accepted := preparedPair(t, address)
		if got := congestion(accepted); got != want {
			t.Errorf("accepted at %s: %q, want %q", address, got, want)
		}
		if got := congestion(dialled); got != "reno" {
			t.Errorf("dialled %s: %q", address, got)
		}
	}
}

// preparedPair returns both ends of a connection through sockets that were
// prepared.
func preparedPair(t *testing.T, address string) (dialled, accepted net.Conn) {
	t.Helper()
	lc := net.ListenConfig{Control: PrepareListener}
	lc.SetMultipathTCP(false) // as internal/listen does
	l, err := lc.Listen(context.Background(), "tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	d := net.Dialer{Control: PrepareLocal}
	if dialled, err = d.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close() })
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { accepted.Close() })
	return dialled, accepted
}

// option asks the kernel about a socket.
func option[T any](t *testing.T, c net.Conn, ask func(fd int) (T, error)) (v T) {
	t.Helper()
	raw, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { v, err = ask(int(fd)) })
	if err != nil {
		t.Fatal(err)
	}
	return v
}
