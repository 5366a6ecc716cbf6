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
		step, err := sendfile(c.fd, src, &off, min(n-sent, sendStep), c.task.Attached())
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

// sendfile tells the scheduler, for the disk may take its time, unless it is
// called on a loop: the processor would be taken away in the middle of it, and
// what is sent there was sent a moment ago, and so is most likely in memory. (A
// file that nobody has asked for lately is opened, and sent, detached.)
func sendfile(to, from int, off *int64, n int64, onLoop bool) (int64, error) {
	call := syscall.Syscall6
	if onLoop {
		call = syscall.RawSyscall6
	}
	r, _, e := call(unix.SYS_SENDFILE, uintptr(to), uintptr(from), uintptr(unsafe.Pointer(off)), uintptr(n), 0, 0)
	if e != 0 {
		return 0, e
	}
	return int64(r), nil
}
