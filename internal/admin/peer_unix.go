//go:build unix

package admin

import (
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
)

func refused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }

// private checks that a folder belongs to this user and that nobody else may
// enter it.
func private(folder string, info os.FileInfo) error {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok && int(stat.Uid) != os.Geteuid() {
		return fmt.Errorf("%s belongs to another user (number %d)", folder, stat.Uid)
	}
	if info.Mode().Perm()&0o077 != 0 {
		return fmt.Errorf("%s may be entered by others: its mode has to be 0700", folder)
	}
	return nil
}

// allowed checks who is at the other end, where the system tells.
func allowed(c *net.UnixConn) error {
	uid, known, err := peer(c)
	switch {
	case err != nil:
		return fmt.Errorf("who asks is not known: %w", err)
	case known && uid != 0 && int(uid) != os.Geteuid():
		return fmt.Errorf("user number %d may not ask", uid)
	}
	return nil
}
