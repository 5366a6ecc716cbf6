package admin

import (
	"net"

	"golang.org/x/sys/unix"
)

// peer returns the user at the other end of a connection.
func peer(c *net.UnixConn) (uid uint32, known bool, err error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, false, err
	}
	var cred *unix.Ucred
	var failed error
	err = raw.Control(func(fd uintptr) {
		cred, failed = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	})
	if err == nil {
		err = failed
	}
	if err != nil {
		return 0, false, err
	}
	return cred.Uid, true, nil
}
