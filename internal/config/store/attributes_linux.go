package store

import (
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// sameAttributes gives f the extended attributes of another file: access
// lists, labels, and what users put there. The error is that of an access list
// alone; the others are kept as far as this user may.
func sameAttributes(f, other *os.File) error {
	from, to := int(other.Fd()), int(f.Fd())
	size, err := unix.Flistxattr(from, nil)
	if err != nil || size == 0 {
		return nil // there are none, or the file system has none
	}
	list := make([]byte, size)
	if size, err = unix.Flistxattr(from, list); err != nil {
		return err
	}
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list[:size]), "\x00"), "\x00") {
		value := make([]byte, 64<<10) // the most that Linux takes
		n, err := unix.Fgetxattr(from, name, value)
		if err == nil {
			err = unix.Fsetxattr(to, name, value[:n], 0)
		}
		if err != nil && strings.HasPrefix(name, "system.posix_acl") {
			return err
		}
	}
	return nil
}
