package spawn

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// keepOnly closes every descriptor that the host inherited from its own
// starter and passed on without knowing: sockets of a service manager, files
// of a shell. The guardian must not hold them open and workers must not get
// them. What has the close-on-exec flag is the Go runtime's own.
func keepOnly(control *os.File) *os.File {
	keep := int(control.Fd())
	dir, err := os.Open("/proc/self/fd")
	if err != nil {
		unix.CloseOnExec(keep)
		return control
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		fd, err := strconv.Atoi(name)
		if err != nil || fd <= 2 || fd == keep {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
	unix.CloseOnExec(keep)
	return control
}
