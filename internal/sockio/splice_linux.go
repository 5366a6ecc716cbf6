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

// firstStep is how much of a body is fetched before its receiver has taken any:
// who takes nothing is not to have the sender send much, nor the kernel keep it.
const firstStep = 64 << 10

// pipe carries bytes between two sockets without passing them through user
// space.
type pipe struct {
	r, w int

	n int // bytes in it
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
	return &pipe{r: fds[0], w: fds[1]}, nil
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

// move splices once. Neither end blocks, so the scheduler need not know: it
// would take the processor away from the loop in the middle of a large step.
func move(from, to, want int) (int, error) {
	for {
		n, _, e := syscall.RawSyscall6(unix.SYS_SPLICE, uintptr(from), 0, uintptr(to), 0,
			uintptr(want), unix.SPLICE_F_MOVE|unix.SPLICE_F_NONBLOCK)
		switch e {
		case 0:
			return int(n), nil
		case syscall.EAGAIN:
			return 0, ErrDry
		case syscall.EINTR:
		default:
			return 0, e
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
	want := int64(firstStep)
	for passed := moved; moved < n && err == nil; {
		if moved-passed >= sendStep {
			passed = moved
			c.task.Pass()
		}
		if err = m.begin(); err != nil {
			break
		}
		if err = src.fill(p, min(n-moved, want)); err != nil {
			if moved == 0 && errors.Is(err, syscall.EINVAL) {
				err = errNoSplice
			}
			break
		}
		m.end(p.n)
		var step int64
		step, err = c.drain(p)
		moved += step
		want = pipeSize
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
	for {
		if err := c.wait(&c.rd, &c.readLimit); err != nil {
			return readError(err)
		}
		n, err := move(c.fd, p.w, int(most))
		if err == ErrDry {
			continue
		}
		c.rd.again()
		switch {
		case err != nil:
			return readError(err)
		case n == 0:
			return readError(io.EOF)
		}
		p.n = n
		return nil
	}
}

// drain moves what fill has put into the pipe to c.
func (c *Conn) drain(p *pipe) (moved int64, err error) {
	defer c.writeLimit.disarm()
	for p.n > 0 {
		if err := c.wait(&c.wr, &c.writeLimit); err != nil {
			return moved, &SideError{Err: err}
		}
		n, err := move(p.r, c.fd, p.n)
		if err == ErrDry {
			c.armWrite(patience)
			continue
		}
		c.wr.again()
		if err != nil {
			return moved, &SideError{Err: err}
		}
		p.n -= n
		moved += int64(n)
	}
	return moved, nil
}
