package sockio

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// sendStep is how much one system call sends at most: other goroutines wait
// meanwhile if the file has to come from a disk.
const sendStep = 1 << 20

// fileOp is one file at a time, with what is said before it. A connection
// that sends files has one, made once, so that sending allocates nothing.
type fileOp struct {
	head []byte
	src  int   // descriptor of the file
	off  int64 // where sendfile reads on; the position of the file is left alone
	left int64
	step int // bytes of the file that the last call sent
	err  error

	try func(fd uintptr) bool
}

func newFileOp(c *Conn) *fileOp {
	o := new(fileOp)
	o.try = func(fd uintptr) bool {
		for {
			switch o.err = o.next(fd); o.err {
			case syscall.EINTR:
			case syscall.EAGAIN:
				c.armWrite(patience)
				return false
			default:
				return true
			}
		}
	}
	return o
}

// next sends what is left of the head and then a step of the file. MSG_MORE
// keeps the head back for the segment that the first bytes of the file leave
// in, so that the peer wakes up once.
func (o *fileOp) next(fd uintptr) (err error) {
	for len(o.head) > 0 {
		n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, fd,
			uintptr(unsafe.Pointer(&o.head[0])), uintptr(len(o.head)), syscall.MSG_NOSIGNAL|syscall.MSG_MORE, 0, 0)
		if e != 0 {
			return e
		}
		o.head = o.head[n:]
	}
	o.step, err = unix.Sendfile(int(fd), o.src, &o.off, int(min(o.left, sendStep)))
	return err
}

// sendFile sends head, and n bytes of f from off out of the page cache. It
// reports errNoSendFile, with the head sent and nothing else, for what is not
// such a file.
func (c *Conn) sendFile(head []byte, f *os.File, off, n int64) (sent int64, err error) {
	if c.file == nil {
		c.file = newFileOp(c)
	}
	o := c.file
	o.head, o.src, o.off, o.left = head, int(f.Fd()), off, n
	defer func() {
		o.head = nil
		c.writeLimit.disarm()
		runtime.KeepAlive(f)
	}()
	for o.left > 0 {
		err := c.raw.Write(o.try)
		if err == nil {
			err = o.err
		}
		switch {
		case err == nil && o.step == 0:
			return n - o.left, nil // the file ends here
		case err == nil:
			o.left -= int64(o.step)
		case o.left == n && len(o.head) == 0 && (err == syscall.EINVAL || err == syscall.ENOSYS || err == syscall.EOPNOTSUPP):
			return 0, errNoSendFile
		default:
			return n - o.left, c.cause(err, &c.writeLimit)
		}
	}
	return n, nil
}
