package ports

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// hold is a bound, never used socket whose name is the lock of a port. Names
// without a file ("abstract", unix(7)) belong to the network namespace, like
// ports, and end with the process that holds them.
type hold struct{ fd int } // 0 is none; standard input is never a lock

func (h hold) release() {
	if h.fd > 0 {
		unix.Close(h.fd)
	}
}

// reserve takes the lock of a port and tries whether it can be bound.
func reserve(port uint16) (hold, bool) {
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return hold{}, false
	}
	h := hold{fd}
	name := "@perch/port/" + strconv.Itoa(int(port))
	if unix.Bind(fd, &unix.SockaddrUnix{Name: name}) != nil || !bindable(port) {
		h.release()
		return hold{}, false
	}
	return h, true
}

// bindable reports whether the wildcard addresses of both families can be
// bound, which also fails for any local address in use, be it by a connection.
func bindable(port uint16) bool {
	v6 := &unix.SockaddrInet6{Port: int(port)}
	return tryBind(unix.AF_INET, &unix.SockaddrInet4{Port: int(port)}) && tryBind(unix.AF_INET6, v6)
}

// tryBind binds and closes at once. A family that the machine does not have is
// no obstacle.
func tryBind(family int, addr unix.Sockaddr) bool {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if errors.Is(err, unix.EAFNOSUPPORT) {
		return true
	}
	if err != nil {
		return false
	}
	defer unix.Close(fd)
	if family == unix.AF_INET6 {
		if unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1) != nil {
			return false
		}
	}
	err = unix.Bind(fd, addr)
	return err == nil || errors.Is(err, unix.EADDRNOTAVAIL) // IPv6 is switched off
}

// ephemeral returns the ports that the kernel gives to outgoing connections
// (ip(7)).
func ephemeral() interval {
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	var i interval
	if err == nil {
		_, err = fmt.Sscan(string(text), &i.first, &i.last)
	}
	if err != nil {
		return interval{32768, 60999} // the kernel's default
	}
	return i
}
