//go:build unix

package listen

import (
	"errors"
	"syscall"
)

func isTaken(err error) bool  { return errors.Is(err, syscall.EADDRINUSE) }
func isDenied(err error) bool { return errors.Is(err, syscall.EACCES) || errors.Is(err, syscall.EPERM) }

// isAbsent reports whether the system lacks the address, or its whole family.
func isAbsent(err error) bool {
	return errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT) || errors.Is(err, syscall.EPROTONOSUPPORT)
}

func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// restrictSocket sets the mode of a unix socket before it has a name, so that
// nobody else can connect in between. Where the system ignores it, the mode is
// set right after.
func restrictSocket(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) { _ = syscall.Fchmod(int(fd), socketMode) })
}
