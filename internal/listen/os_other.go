//go:build !linux && !windows

package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
)

const longestSocketPath = 103 // sun_path of sockaddr_un, with its final zero

const privilegeHint = "run as root, or listen on a port from 1024"

func ownerCommand(port uint16) string { return fmt.Sprintf("lsof -nP -iTCP:%d -sTCP:LISTEN", port) }

func portOwner(uint16) string { return "" }

// lend and bindBeside are for systems that let a listener be replaced by one
// for more addresses, or for fewer, while both listen.
func lend(net.Listener, bool) error { return errors.ErrUnsupported }

func bindBeside(netip.Addr, uint16) (net.Listener, func() error, error) {
	return nil, nil, errors.ErrUnsupported
}
