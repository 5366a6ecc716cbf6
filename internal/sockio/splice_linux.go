package sockio

import (
	"errors"
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

// splice is Splice between two sockets of the kernel. It reports errNoSplice,
// with nothing moved, if they are of a kind that cannot.
func (c *Conn) splice(src *Conn, n int64) (moved int64, err error) {
	p, err := c.w.pipes.get()
	if err != nil {
		return 0, errNoSplice
	}
	m := meter{src: src}
	for moved < n && err == nil {
		if err = m.begin(); err != nil {
			break
		}
		if err = src.fill(p, n-moved); err != nil {
			if moved == 0 && errors.Is(err, syscall.EINVAL) {
				err = errNoSplice
			}
			break
		}
		m.end(p.n)
		var step int64
		step, err = c.drain(p)
		moved += step
	}
	if err != nil {
		p.close() // it may still hold bytes
		return moved, err
	}
	c.w.pipes.put(p)
	return moved, nil
}

// fill moves what is there, up to most bytes, from c into an empty pipe.
func (c *Conn) fill(p *pipe, most int64) error {
	p.want, p.err = int(min(most, pipeSize)), nil
	err := c.raw.Read(p.fill)
	for err != nil && c.revive(err) {
		err = c.raw.Read(p.fill)
	}
	switch {
	case err != nil:
		return readError(c.cause(err, &c.readLimit))
	case p.err != nil:
		return readError(p.err)
	case p.n == 0:
		return readError(io.EOF)
	}
	return nil
}

// drain moves what fill has put into the pipe to c.
func (c *Conn) drain(p *pipe) (moved int64, err error) {
	defer c.writeLimit.disarm()
	for in := p.n; in > 0; in -= p.n {
		c.armWrite(patience)
		p.want = in
		if err := c.raw.Write(p.drain); err != nil {
			return moved, &SideError{Err: c.cause(err, &c.writeLimit)}
		}
		if p.err != nil {
			return moved, &SideError{Err: p.err}
		}
		moved += int64(p.n)
	}
	return moved, nil
}
