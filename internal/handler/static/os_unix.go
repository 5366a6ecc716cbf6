//go:build unix

package static

import (
	"io/fs"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// openFlags let the open of a FIFO return at once.
const openFlags = os.O_RDONLY | syscall.O_NONBLOCK | syscall.O_NOCTTY

// leadsNowhere lists what the system says of names besides ENOENT: a file
// where a folder must be, a circle of links, a name too long or not possible
// in this file system, a socket.
func leadsNowhere(e syscall.Errno) bool {
	switch e {
	case syscall.ENOTDIR, syscall.ELOOP, syscall.ENAMETOOLONG, syscall.EINVAL, syscall.EILSEQ, syscall.ENXIO:
		return true
	}
	return false
}

func isShortName([]byte) bool { return false }

func hasHiddenAttribute(fs.FileInfo) bool { return false }

// staysOpen says that a Cache may hold files open: nobody is hindered by it.
const staysOpen = true

// asOpened reports whether the open file still is what it was when it was
// looked up. It allocates nothing.
func (f *file) asOpened() bool {
	var now unix.Stat_t
	if unix.Fstat(int(f.open.Fd()), &now) != nil {
		return false
	}
	sec, nsec := now.Mtim.Unix()
	return now.Size == f.size && time.Unix(sec, nsec).Equal(f.modified)
}
