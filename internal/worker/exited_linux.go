package worker

import (
	"context"
	"os"

	"golang.org/x/sys/unix"
)

// exited is closed when a process has ended that need not be a child. It
// waits in the runtime's poller, where a pidfd is readable from the end of
// its process on (pidfd_open(2), Linux 5.3).
func exited(ctx context.Context, pid int) <-chan struct{} {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	done := make(chan struct{})
	switch {
	case err == unix.ESRCH:
		close(done)
		return done
	case err != nil:
		return nil
	}
	file := os.NewFile(uintptr(fd), "pidfd")
	conn, err := file.SyscallConn()
	if err != nil {
		file.Close()
		return nil
	}
	stop := context.AfterFunc(ctx, func() { file.Close() })
	go func() {
		defer file.Close()
		defer stop()
		err := conn.Read(func(fd uintptr) bool {
			n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, 0)
			return n > 0 || err != nil && err != unix.EINTR
		})
		if err == nil {
			close(done)
		}
	}()
	return done
}
