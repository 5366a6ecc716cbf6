package ports

import (
	"errors"
	"net/netip"
	"slices"
)

// Listener is a TCP socket that accepts connections.
type Listener struct {
	Addr netip.AddrPort // without zone; a mapped IPv4 address is given as IPv4

	// V6Only: a socket on the IPv6 wildcard address that takes no IPv4
	// connections, or of which that is not known.
	V6Only bool

	UID   uint32 // owner; 0 also where the system does not tell
	Inode uint64 // of the socket, on Linux
	PID   int    // owner, where the system tells it here; else 0, see Owner
}

// Loopback returns the address at which the listener is reached from this
// machine without leaving it: 127.0.0.1, ::1 or the loopback address it is
// bound to. It returns false for a listener on another address.
func (l Listener) Loopback() (netip.AddrPort, bool) {
	addr, port := l.Addr.Addr(), l.Addr.Port()
	switch {
	case addr.IsLoopback():
		return l.Addr, true
	case addr == netip.IPv6Unspecified() && l.V6Only:
		return netip.AddrPortFrom(netip.IPv6Loopback(), port), true
	case addr.IsUnspecified():
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port), true
	}
	return netip.AddrPort{}, false
}

// Listeners returns the listening TCP sockets of this network namespace whose
// port is wanted; nil wants all. Where the system does not tell, the error is
// errors.ErrUnsupported, and names what is missing.
func Listeners(want func(port uint16) bool) ([]Listener, error) {
	if want == nil {
		want = func(uint16) bool { return true }
	}
	return listeners(want)
}

// ErrNotOwner reports that none of the processes owns the listener.
var ErrNotOwner = errors.New("the listening socket belongs to another process")

// Owner returns the first of the processes that holds the listener open. When
// none does, the error is ErrNotOwner, or fs.ErrPermission if one of them did
// not let itself be looked at: that one is returned with the error.
func Owner(l Listener, pids []int) (int, error) {
	if l.PID != 0 {
		if slices.Contains(pids, l.PID) {
			return l.PID, nil
		}
		return 0, ErrNotOwner
	}
	return owner(l, pids)
}

// Held returns all listeners of the processes: what a worker listens on
// instead of the port that it was told.
func Held(pids []int) ([]Listener, error) {
	all, err := Listeners(nil)
	if err != nil {
		return nil, err
	}
	var list []Listener
	for _, l := range all {
		if _, err := Owner(l, pids); err == nil {
			list = append(list, l)
		}
	}
	return list, nil
}
