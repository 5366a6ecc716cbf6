package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/windows"
)

const longestSocketPath = 107

func isTaken(err error) bool   { return errors.Is(err, windows.WSAEADDRINUSE) }
func isDenied(err error) bool  { return errors.Is(err, windows.WSAEACCES) }
func isRefused(err error) bool { return errors.Is(err, windows.WSAECONNREFUSED) }

func isAbsent(err error) bool {
	return errors.Is(err, windows.WSAEADDRNOTAVAIL) || errors.Is(err, windows.WSAEAFNOSUPPORT)
}

const privilegeHint = "it may be reserved (`netsh interface ipv4 show excludedportrange protocol=tcp`); listen on another port"

func restrictSocket(_, _ string, _ syscall.RawConn) error { return nil }

func portOwner(uint16) string { return "" }

func ownerCommand(port uint16) string { return fmt.Sprintf("netstat -ano -p tcp | findstr :%d", port) }

// lend and bindBeside are for systems that let a listener be replaced by one
// for more addresses, or for fewer, while both listen.
func lend(net.Listener, bool) error { return errors.ErrUnsupported }

func bindBeside(netip.Addr, uint16) (net.Listener, func() error, error) {
	return nil, nil, errors.ErrUnsupported
}
