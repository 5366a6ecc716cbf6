package sockio

import (
	"errors"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// poller is an epoll beside the runtime's, for connections nobody reads: the
// parked ones, and the clients of slow backends. A connection costs an entry
// in the kernel and one in places.
type poller struct {
	fd   int // epoll
	wake int // eventfd that ends run

	mu      sync.Mutex
	places  map[uint64]*Conn // by the number in the event
	last    uint64
	running bool // run was started: it is when there is something to wait for
	ending  bool
	wait    sync.WaitGroup
}

// place is where a connection stands in the poller.
type place struct {
	id     uint64 // 0: not there
	parked bool
	stay   uint32 // value of Conn.stay that watchGone was asked for
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	p := &poller{fd: fd, wake: wake, places: make(map[uint64]*Conn)}
	err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, wake, &unix.EpollEvent{Events: unix.EPOLLIN})
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// close ends run and waits for it. What is parked stays so.
func (p *poller) close() {
	p.mu.Lock()
	p.ending = true
	p.mu.Unlock()
	one := [8]byte{1}
	unix.Write(p.wake, one[:])
	p.wait.Wait()
	unix.Close(p.wake)
	unix.Close(p.fd)
}

// run hands events to their connections until close.
func (p *poller) run() {
	events := make([]unix.EpollEvent, 128)
	for {
		n, err := unix.EpollWait(p.fd, events, -1)
		if err != nil && err != unix.EINTR {
			return // a descriptor that is no epoll: it was closed
		}
		for _, e := range events[:max(n, 0)] {
			id := uint64(uint32(e.Fd)) | uint64(uint32(e.Pad))<<32
			if id == 0 {
				return // the eventfd
			}
			p.event(id)
		}
	}
}

// event tells the owner of a connection what happened. Registrations fire
// once, so nothing can fire twice for one wait.
func (p *poller) event(id uint64) {
	p.mu.Lock()
	c := p.places[id]
	if c == nil {
		p.mu.Unlock()
		return
	}
	parked, stay := c.place.parked, c.place.stay
	c.place.parked, c.place.stay = false, 0
	p.mu.Unlock()
	switch {
	case parked:
		go c.owner.Wake()
	case stay != 0 && c.stay.Load() == stay:
		c.owner.Gone()
	}
}

var errEnding = errors.New("the watcher is closed")

// arm registers c for events, once. The caller holds p.mu.
func (p *poller) arm(c *Conn, events uint32) error {
	if p.ending {
		return errEnding
	}
	if !p.running {
		p.running = true
		p.wait.Go(p.run)
	}
	op := unix.EPOLL_CTL_MOD
	if c.place.id == 0 {
		op = unix.EPOLL_CTL_ADD
		p.last++
		c.place.id = p.last
		p.places[p.last] = c
	}
	id := c.place.id
	e := unix.EpollEvent{Events: events | unix.EPOLLONESHOT, Fd: int32(uint32(id)), Pad: int32(uint32(id >> 32))}
	var err error
	if cerr := c.raw.Control(func(fd uintptr) { err = unix.EpollCtl(p.fd, op, int(fd), &e) }); cerr != nil {
		err = cerr
	}
	if err != nil && op == unix.EPOLL_CTL_ADD {
		delete(p.places, id)
		c.place.id = 0
	}
	return err
}

// park registers c to be woken by input.
func (p *poller) park(c *Conn) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.place.parked, c.place.stay = true, 0
	err := p.arm(c, unix.EPOLLIN|unix.EPOLLRDHUP)
	if err != nil {
		c.place.parked = false
	}
	return err
}

// unpark takes the waiting for input back and reports whether it was still
// there: false if Wake is on its way.
func (p *poller) unpark(c *Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	was := c.place.parked
	c.place.parked = false
	return was
}

// watchGone registers c to be told of its peer's going during the wait stay.
func (p *poller) watchGone(c *Conn, stay uint32) {
	if c.raw == nil {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.place.parked || c.place.stay == stay {
		return
	}
	c.place.stay = stay
	if p.arm(c, unix.EPOLLRDHUP) != nil {
		c.place.stay = 0
	}
}

// forget takes c out before its descriptor is closed.
func (p *poller) forget(c *Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if c.place.id == 0 {
		return
	}
	delete(p.places, c.place.id)
	c.place = place{}
	c.raw.Control(func(fd uintptr) { unix.EpollCtl(p.fd, syscall.EPOLL_CTL_DEL, int(fd), nil) })
}

// Park leaves c in the watcher: the caller returns its buffers and its
// goroutine, and the owner is woken by the first byte, by the peer's closing,
// or when idle has passed, in which case reading fails with ErrLimit. From
// then on the connection belongs to whoever takes it out of the watcher.
//
// It reports false if the connection did not park, because it cannot, was
// aborted, or its time has passed already: it still is the caller's.
func (c *Conn) Park(idle time.Duration) bool {
	c.LimitRead(idle)
	if !c.CanPark() || c.w.poll.park(c) != nil {
		return false
	}
	c.w.left.parked.Add(1)
	// An Abort, or the sweeper, may have come when nothing was parked yet.
	return !c.aborted.Load() && !c.readLimit.expired() || !c.Unpark()
}

// CanPark reports whether Park has a chance.
func (c *Conn) CanPark() bool { return c.w.poll != nil && c.raw != nil && c.owner != nil }

// Unpark takes a parked connection back, to close it. It reports false if
// its owner has been woken already.
func (c *Conn) Unpark() bool {
	return c.w.poll != nil && c.w.poll.unpark(c)
}
