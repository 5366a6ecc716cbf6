package sockio

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendStep is how much one system call sends at most: other goroutines wait
// meanwhile if the file has to come from a disk.
const sendStep = 1 << 20

// sendFile sends up to n bytes of f from the page cache. It reports
// errNoSendFile, with nothing sent, for what is not such a file.
func (c *Conn) sendFile(f *os.File, n int64) (sent int64, err error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return 0, errNoSendFile
	}
	var src int
	raw.Control(func(fd uintptr) { src = int(fd) })
	defer runtime.KeepAlive(f)
	defer c.writeLimit.disarm()
	var step int
	var stepErr error
	try := func(fd uintptr) bool {
		for {
			step, stepErr = unix.Sendfile(int(fd), src, nil, int(min(n-sent, sendStep)))
			switch stepErr {
			case syscall.EINTR:
			case syscall.EAGAIN:
				c.armWrite(patience)
				return false
			default:
				return true
			}
		}
	}
	for sent < n {
		err := c.raw.Write(try)
		if err == nil {
			err = stepErr
		}
		switch {
		case err == nil && step == 0:
			return sent, nil // the file ends here
		case err == nil:
			sent += int64(step)
		case sent == 0 && (err == syscall.EINVAL || err == syscall.ENOSYS || err == syscall.EOPNOTSUPP):
			return 0, errNoSendFile
		default:
			return sent, c.cause(err, &c.writeLimit)
		}
	}
	return sent, nil
}
