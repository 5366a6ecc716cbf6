package sockio

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

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
	passed := int64(0)
	for src := int(f.Fd()); sent < n; {
		if sent-passed >= sendStep {
			passed = sent
			c.task.Pass()
		}
		if err := c.wait(&c.wr, &c.writeLimit); err != nil {
			return sent, err
		}
		step, err := sendfile(c.fd, src, &off, min(n-sent, sendStep))
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
			sent += step
		case sent == 0 && (err == syscall.EINVAL || err == syscall.ENOSYS || err == syscall.EOPNOTSUPP):
			return 0, errNoSendFile
		default:
			return sent, err
		}
	}
	return sent, nil
}

// sendfile does not tell the scheduler, which would take the processor away
// from the loop in the middle of it. What it sends was asked for before, and so
// is most likely in memory.
func sendfile(to, from int, off *int64, n int64) (int64, error) {
	r, _, e := syscall.RawSyscall6(unix.SYS_SENDFILE, uintptr(to), uintptr(from), uintptr(unsafe.Pointer(off)), uintptr(n), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int64(r), nil
}
