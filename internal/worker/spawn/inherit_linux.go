package spawn

import (
	"os"
	"runtime"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// clearMask sees to it that workers start with no signal blocked. A blocked
// signal is inherited through fork and exec, and Go gives children the mask
// that its own process began with. So a guardian that began with a mask clears
// it and executes itself again, which happens at most once.
func clearMask() {
	runtime.LockOSThread() // the mask belongs to the thread, and exec keeps the calling one's
	defer runtime.UnlockOSThread()
	var none, old unix.Sigset_t
	if unix.PthreadSigmask(unix.SIG_SETMASK, &none, &old) != nil || old == none {
		return
	}
	// What fails here leaves a guardian that works, with the mask it got.
	_ = syscall.Exec("/proc/self/exe", os.Args, os.Environ())
}

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
