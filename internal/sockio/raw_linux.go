package sockio

import (
	"io"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// rawIO says that sockets are read and written with plain system calls. The
// calls never block (the descriptors are non-blocking), so they need not tell
// the scheduler: measured, this saves a sixth of the CPU of a small proxied
// request. Waiting stays with the runtime's own poller.
const rawIO = true

// readOp is one read at a time; its closure is made once, so that reading
// allocates nothing.
type readOp struct {
	p   []byte
	n   int
	err error
	try func(fd uintptr) bool

	h       Holder
	tryHeld func(fd uintptr) bool
}

func (o *readOp) init() {
	o.tryHeld = func(fd uintptr) bool {
		o.p = o.h.Hold()
		if o.try(fd) {
			return true
		}
		o.p = nil
		o.h.Drop()
		return false
	}
	o.try = func(fd uintptr) bool {
		for {
			n, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd,
				uintptr(unsafe.Pointer(&o.p[0])), uintptr(len(o.p)), 0, 0, 0)
			switch e {
			case 0:
				o.n, o.err = int(n), nil
				if n == 0 {
					o.err = io.EOF
				}
				return true
			case syscall.EAGAIN:
				return false
			case syscall.EINTR:
			default:
				o.n, o.err = 0, e
				return true
			}
		}
	}
}

func (o *readOp) read(raw syscall.RawConn, p []byte) (int, error) {
	o.p = p
	err := raw.Read(o.try)
	o.p = nil
	if err != nil {
		return 0, err
	}
	return o.n, o.err
}

// readHeld is read into the buffer of h, which is held if there is no error.
func (o *readOp) readHeld(raw syscall.RawConn, h Holder) (int, error) {
	o.h = h
	err := raw.Read(o.tryHeld)
	o.h, o.p = nil, nil
	if err != nil {
		return 0, err
	}
	if o.err != nil {
		h.Drop()
	}
	return o.n, o.err
}

// writeOp is one write at a time.
type writeOp struct {
	p      []byte
	err    error
	waited bool
	try    func(fd uintptr) bool
}

func (o *writeOp) init(c *Conn) {
	o.try = func(fd uintptr) bool {
		for len(o.p) > 0 {
			n, _, e := syscall.RawSyscall6(syscall.SYS_SENDTO, fd,
				uintptr(unsafe.Pointer(&o.p[0])), uintptr(len(o.p)), syscall.MSG_NOSIGNAL, 0, 0)
			switch e {
			case 0:
				o.p = o.p[n:]
			case syscall.EAGAIN:
				o.waited = true
				c.armWrite(patience)
				return false
			case syscall.EINTR:
			default:
				o.err = e
				return true
			}
		}
		return true
	}
}

func (o *writeOp) write(raw syscall.RawConn, p []byte) (n int, waited bool, err error) {
	o.p, o.err, o.waited = p, nil, false
	err = raw.Write(o.try)
	n = len(p) - len(o.p)
	o.p = nil
	if err == nil {
		err = o.err
	}
	return n, o.waited, err
}

// heldByKernel returns how many bytes the kernel still holds for the peer.
func (c *Conn) heldByKernel() (held int64, ok bool) {
	if c.raw == nil {
		return 0, false
	}
	c.raw.Control(func(fd uintptr) {
		n, err := unix.IoctlGetInt(int(fd), unix.TIOCOUTQ)
		held, ok = int64(n), err == nil
	})
	return held, ok
}

// peekOp is a look at a connection nobody reads. Two at once get the answer of
// either.
type peekOp struct {
	b      byte // what is looked at; never read
	silent atomic.Bool
	look   func(fd uintptr)
}

func (o *peekOp) init() {
	o.look = func(fd uintptr) {
		_, _, e := syscall.RawSyscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&o.b)), 1,
			syscall.MSG_PEEK|syscall.MSG_DONTWAIT, 0, 0)
		o.silent.Store(e == syscall.EAGAIN)
	}
}

// Alive reports whether an idle connection is still open and silent: it takes
// one system call and allocates nothing. Bytes that nobody asked for count as
// dead.
func (c *Conn) Alive() bool {
	if c.raw == nil {
		return !c.aborted.Load()
	}
	return c.raw.Control(c.peek.look) == nil && c.peek.silent.Load()
}
