//go:build !linux

package ports

import (
	"errors"
	"net"
	"strconv"
	"syscall"
)

// hold is nothing here: there is no lock that all hosts see and that ends with
// its holder.
type hold struct{}

func (hold) release() {}

// reserve tries whether the port can be bound.
func reserve(port uint16) (hold, bool) {
	for _, addr := range []struct{ network, host string }{
		{"tcp4", "127.0.0.1"}, {"tcp4", ""}, {"tcp6", ""},
	} {
		l, err := net.Listen(addr.network, net.JoinHostPort(addr.host, strconv.Itoa(int(port))))
		if err == nil {
			l.Close()
			continue
		}
		if addr.network == "tcp6" && !errors.Is(err, syscall.EADDRINUSE) {
			continue // no IPv6 here
		}
		return hold{}, false
	}
	return hold{}, true
}

// ephemeral returns the ports that RFC 6335 section 6 sets aside for outgoing
// connections, which macOS and Windows give to them.
func ephemeral() interval { return interval{49152, 65535} }
