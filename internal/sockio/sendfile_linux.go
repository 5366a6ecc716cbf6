package sockio

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// sendStep is how much is moved inside the kernel before others have their
// turn: they wait meanwhile if the file has to come from a disk.
const sendStep = 1 << 20

// sendFile sends head, and n bytes of f from off out of the page cache. It
// reports errNoSendFile, with the head sent and nothing else, for what is not
// such a file.
//
// MSG_MORE keeps the head back for the segment that the first bytes of the file
// leave in, so that the peer wakes up once.
func (c *Conn) sendFile(head []byte, f *os.File, off, n int64) (sent int64, err error) {
	if _, err := c.writeSocket(head, unix.MSG_MORE); err != nil {
		return 0, err
	}
	defer runtime.KeepAlive(f)
	defer c.writeLimit.disarm()
	for src := int(f.Fd()); sent < n; {
		if err := c.wait(&c.wr, &c.writeLimit); err != nil {
			return sent, err
		}
		step, err := unix.Sendfile(c.fd, src, &off, int(min(n-sent, sendStep)))
		if err == syscall.EAGAIN {
			c.armWrite(patience)
			continue
		}
		c.wr.again()
		switch {
		case err == syscall.EINTR:
		case err == nil && step == 0:
			return sent, nil // the file ends here
		case err == nil:
			sent += int64(step)
			c.task.pass()
		case sent == 0 && (err == syscall.EINVAL || err == syscall.ENOSYS || err == syscall.EOPNOTSUPP):
			return 0, errNoSendFile
		default:
			return sent, err
		}
	}
	return sent, nil
}
