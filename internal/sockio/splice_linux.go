package sockio

import (
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// pipeSize is how much a pipe holds on its way from one socket to another,
// and idlePipes how many are kept for the next transfer.
const (
	pipeSize  = 256 << 10
	idlePipes = 64
)

// pipe carries bytes between two sockets without passing them through user
// space. Its closures are made once.
type pipe struct {
	r, w int

	want int // bytes to move in this step
	n    int
	err  error

	fill  func(fd uintptr) bool // socket to pipe
	drain func(fd uintptr) bool // pipe to socket
}

// pipes is the free list of a watcher.
type pipes struct {
	mu   sync.Mutex
	free []*pipe
	shut bool
}

func (ps *pipes) get() (*pipe, error) {
	ps.mu.Lock()
	if n := len(ps.free); n > 0 {
		p := ps.free[n-1]
		ps.free = ps.free[:n-1]
		ps.mu.Unlock()
		return p, nil
	}
	ps.mu.Unlock()
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC|unix.O_NONBLOCK); err != nil {
		return nil, err
	}
	unix.FcntlInt(uintptr(fds[0]), unix.F_SETPIPE_SZ, pipeSize) // a smaller pipe works too
	p := &pipe{r: fds[0], w: fds[1]}
	p.fill = func(fd uintptr) bool { return p.move(int(fd), p.w) }
	p.drain = func(fd uintptr) bool { return p.move(p.r, int(fd)) }
	return p, nil
}

// put takes an empty pipe back.
func (ps *pipes) put(p *pipe) {
	ps.mu.Lock()
	keep := !ps.shut && len(ps.free) < idlePipes
	if keep {
		ps.free = append(ps.free, p)
	}
	ps.mu.Unlock()
	if !keep {
		p.close()
	}
}

func (ps *pipes) close() {
	ps.mu.Lock()
	ps.shut = true
	free := ps.free
	ps.free = nil
	ps.mu.Unlock()
	for _, p := range free {
		p.close()
	}
}

func (p *pipe) close() {
	unix.Close(p.r)
	unix.Close(p.w)
}

func (p *pipe) move(from, to int) bool {
	for {
		n, err := unix.Splice(from, nil, to, nil, p.want, unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch err {
		case nil:
			p.n, p.err = int(n), nil
			return true
		case syscall.EAGAIN:
			return false
		case syscall.EINTR:
		default:
			p.n, p.err = 0, err
			return true
		}
	}
}

// Splice moves n bytes from src to c inside the kernel and returns how many
// reached c. Limits that are set on either side count anew with every step.
// It reports io.ErrUnexpectedEOF if src ends early, and ErrNoSplice, with
// nothing moved, if one of the two is not a socket of the kernel.
func (c *Conn) Splice(src *Conn, n int64) (moved int64, err error) {
	if c.raw == nil || src.raw == nil {
		return 0, ErrNoSplice
	}
	p, err := c.w.pipes.get()
	if err != nil {
		return 0, ErrNoSplice
	}
	for moved < n && err == nil {
		var step int64
		step, err = c.spliceStep(p, src, n-moved)
		moved += step
	}
	if err != nil {
		p.close() // it may still hold bytes
		return moved, err
	}
	c.w.pipes.put(p)
	return moved, nil
}

// spliceStep fills the pipe once and drains it.
func (c *Conn) spliceStep(p *pipe, src *Conn, left int64) (moved int64, err error) {
	p.want, p.err = int(min(left, pipeSize)), nil
	if err := src.raw.Read(p.fill); err != nil {
		return 0, &SideError{Reading: true, Err: src.cause(err, &src.readLimit)}
	}
	if p.err != nil {
		return 0, &SideError{Reading: true, Err: p.err}
	}
	if p.n == 0 {
		return 0, &SideError{Reading: true, Err: io.ErrUnexpectedEOF}
	}
	src.Extend()
	c.armWrite()
	defer c.disarmWrite()
	for in := p.n; in > 0; {
		p.want = in
		if err := c.raw.Write(p.drain); err != nil {
			return moved, &SideError{Err: c.cause(err, &c.writeLimit)}
		}
		if p.err != nil {
			return moved, &SideError{Err: p.err}
		}
		in -= p.n
		moved += int64(p.n)
		c.Extend()
	}
	return moved, nil
}
