package sockio

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// loop waits in one epoll for the sockets that belong to it and runs what
// happens to them, one thing at a time: it resumes the tasks that wait for them
// and wakes the owners of those that are parked, on tasks too. A Watcher has
// one for each processor.
//
// The goroutine that runs a loop may change: see replace.
type loop struct {
	w      *Watcher
	number int
	ep     int                // epoll
	file   *os.File           // ep, as the runtime knows it
	raw    syscall.RawConn    // of file
	fetch  func(uintptr) bool // a poll that does not wait
	bell   int                // eventfd that ends a wait, for what other goroutines post

	// busy is odd while tasks run on the loop, and changes with every round of
	// them: the sweeper sees by it that one does not come back.
	busy atomic.Uint64
	seen uint64 // the sweeper's last view of busy

	// turn is odd while a task runs on the loop, and another number for each.
	// Who makes an odd one even ends that: the task, when it waits, is detached
	// or ends, or the sweeper, who detaches it.
	turn atomic.Uint64

	// Of the goroutine that runs the loop.
	queue  []errand
	next   int // queue[:next] has been run
	events []unix.EpollEvent
	hit    []*Conn
	many   bool // has more sockets than warmSockets

	mu       sync.Mutex
	places   []*Conn // by the number in the event; nil: free
	turns    []uint32
	free     []uint32
	idle     []*Task
	spare    int // of idle, how many were never wanted since the last trim
	posted   []errand
	sleeping bool // a post has to ring the bell
	running  bool // there is a driver: from the first connection on
	ending   bool
}

// errand is something to run: a suspended task, or the owner of a connection
// that was parked.
type errand struct {
	task *Task
	wake *Conn
}

// expect has fetched what will be used for e.
func (e *errand) expect() {
	switch {
	case e.task != nil:
		e.task.near.fetch()
	case e.wake != nil:
		e.wake.near.fetch()
	}
}

const (
	batch = 256 // events that are fetched at once

	// mostPosted is how many of the errands that others have posted are run in
	// one round. The end of a connection may take 100 microseconds, for what
	// the kernel holds for it.
	mostPosted = 32

	// warmSockets is of how many sockets the memory stays in the cache from one
	// event to the next, so that to fetch it would be for nothing.
	warmSockets = 128

	// courtesy is after how many rounds without a wait a loop lets goroutines
	// run that have nothing to do with connections. Where some have, it does so
	// in every round.
	courtesy = 32

	// graceMillis is for how long a loop waits without telling the scheduler, if
	// no goroutine wants the processor meanwhile. A busy one never waits for
	// longer, and parking it would cost more than the wait.
	graceMillis = 1

	// idleTasks is how many tasks are kept for later.
	idleTasks = 1024

	watched = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
)

var errEnding = errors.New("the watcher is closed")

func newLoop(w *Watcher) (*loop, error) {
	ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	bell, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		unix.Close(ep)
		return nil, err
	}
	unix.SetNonblock(ep, true) // or the runtime does not take it
	l := &loop{w: w, ep: ep, bell: bell, file: os.NewFile(uintptr(ep), "epoll"), events: make([]unix.EpollEvent, batch)}
	if l.raw, err = l.file.SyscallConn(); err == nil {
		err = unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, bell, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET, Fd: -1})
	}
	if err != nil {
		l.release()
		return nil, err
	}
	l.turn.Store(2) // none of a task that has never run
	l.fetch = func(uintptr) bool { return l.poll(0) }
	return l, nil
}

// add makes c one of the loop's.
func (l *loop) add(c *Conn) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ending {
		return errEnding
	}
	var at uint32
	if n := len(l.free); n > 0 {
		at, l.free = l.free[n-1], l.free[:n-1]
	} else {
		at = uint32(len(l.places))
		l.places, l.turns = append(l.places, nil), append(l.turns, 0)
	}
	l.turns[at]++
	e := unix.EpollEvent{Events: watched, Fd: int32(at), Pad: int32(l.turns[at])}
	if err := unix.EpollCtl(l.ep, unix.EPOLL_CTL_ADD, c.fd, &e); err != nil {
		l.free = append(l.free, at)
		return os.NewSyscallError("epoll_ctl", err)
	}
	l.places[at], c.place = c, at
	if !l.running {
		l.running = true
		l.w.wait.Add(1)
		go l.drive()
	}
	return nil
}

// remove takes c out, before its descriptor is closed.
func (l *loop) remove(c *Conn) {
	l.mu.Lock()
	l.places[c.place] = nil
	l.free = append(l.free, c.place)
	l.mu.Unlock()
}

// replace gives the loop to a new goroutine, because the present one stays with
// a task that was detached.
func (l *loop) replace() {
	l.w.goroutines.Add(1)
	l.busy.Add(1)
	go l.drive()
}

// drive runs the loop until it ends, or until a task was detached: then another
// goroutine has the loop, and this one belongs to the task and ends with it.
func (l *loop) drive() {
	for round := 1; ; round++ {
		l.collect()
		l.busy.Add(1)
		for due := len(l.queue); l.next < due; { // what they add is for the next round
			e := l.queue[l.next]
			l.queue[l.next] = errand{}
			if l.next++; l.many && l.next < due {
				l.queue[l.next].expect()
			}
			if !l.perform(e) {
				return
			}
		}
		l.busy.Add(1)
		l.queue, l.next = slices.Delete(l.queue, 0, l.next), 0
		shared := l.w.goroutines.Load() > 0
		if shared || round%courtesy == 0 {
			runtime.Gosched()
		}
		if l.poll(0) || len(l.queue) > 0 || !l.sleep() {
			continue
		}
		if l.isEnding() {
			l.w.wait.Done()
			return
		}
		if shared || !l.poll(graceMillis) {
			l.park()
		}
		l.awake()
	}
}

// park waits as goroutines do: the runtime's poller watches the epoll of the
// loop, and the processor is free for others meanwhile.
func (l *loop) park() { l.raw.Read(l.fetch) }

// sleep says that posts have to ring, unless something was posted already. At
// the end nobody may ring any more: the bell is given back.
func (l *loop) sleep() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.posted) > 0 {
		return false
	}
	l.sleeping = !l.ending
	return true
}

// awake says that posts need not ring.
func (l *loop) awake() {
	l.mu.Lock()
	l.sleeping = false
	l.mu.Unlock()
}

func (l *loop) isEnding() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ending
}

// post lets the loop run e, from any goroutine.
func (l *loop) post(e errand) {
	l.mu.Lock()
	l.posted = append(l.posted, e)
	ring := l.sleeping
	l.sleeping = false
	l.mu.Unlock()
	if ring {
		l.ring()
	}
}

func (l *loop) ring() {
	one := [8]byte{1}
	unix.Write(l.bell, one[:])
}

// collect takes what was posted, so much of it that what sockets have to say
// does not wait for long: thousands of limits may pass in one tick.
func (l *loop) collect() {
	l.mu.Lock()
	n := min(len(l.posted), mostPosted)
	l.queue = append(l.queue, l.posted[:n]...)
	l.posted = slices.Delete(l.posted, 0, n)
	l.mu.Unlock()
}

// perform runs one errand until its task waits or ends. It reports false if the
// loop has another driver since then.
func (l *loop) perform(e errand) bool {
	t := e.task
	if t == nil {
		if t = l.task(); t == nil {
			t = newTask(l)
		}
		e.wake.task = t
		t.owner = e.wake.owner
	}
	t.beginTurn()
	t.resume()
	if !t.ended { // it waits for a socket
		return true
	}
	attached := t.endTurn()
	if !attached {
		l.w.goroutines.Add(-1)
	}
	l.rest(t)
	return attached
}

// task returns one that has nothing to run, nil if there is none.
func (l *loop) task() *Task {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := len(l.idle)
	if n == 0 {
		return nil
	}
	t := l.idle[n-1]
	l.idle[n-1] = nil
	l.idle = l.idle[:n-1]
	l.spare = min(l.spare, n-1)
	return t
}

// trim gives back the tasks, and so the stacks, that were not wanted since it
// was called last. It returns how many.
func (l *loop) trim() int {
	l.mu.Lock()
	surplus := slices.Clone(l.idle[:l.spare])
	l.idle = slices.Delete(l.idle, 0, l.spare)
	l.spare = len(l.idle)
	l.mu.Unlock()
	for _, t := range surplus {
		t.discard()
	}
	return len(surplus)
}

// rest keeps a task that has nothing to run.
func (l *loop) rest(t *Task) {
	t.ended = false
	l.mu.Lock()
	keep := !l.ending && len(l.idle) < idleTasks
	if keep {
		l.idle = append(l.idle, t)
	}
	l.mu.Unlock()
	if !keep {
		t.discard()
	}
}

// poll fetches what has happened, waiting for so many milliseconds, and notes
// it. It reports whether there was anything. The scheduler is not told of the
// wait: the loop keeps its processor.
func (l *loop) poll(timeout int) bool {
	r, _, e := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.ep), uintptr(unsafe.Pointer(&l.events[0])), batch, uintptr(timeout), 0, 0)
	if e != 0 || r == 0 {
		return false
	}
	n := int(r)
	// First all of them, so that whoever runs knows what has happened to any.
	l.hit = l.hit[:0]
	l.mu.Lock()
	l.many = len(l.places)-len(l.free) > warmSockets
	for i := range l.events[:n] {
		e := &l.events[i]
		var c *Conn
		if e.Fd >= 0 && l.turns[e.Fd] == uint32(e.Pad) {
			if c = l.places[e.Fd]; l.many {
				MemoryOf(c).fetch()
			}
		}
		l.hit = append(l.hit, c)
	}
	l.mu.Unlock()
	for i, c := range l.hit {
		switch {
		case c != nil:
			l.note(c, l.events[i].Events)
		case l.events[i].Fd < 0:
			var b [8]byte
			unix.Read(l.bell, b[:])
		}
	}
	return true
}

// note keeps what an event says of c and queues who waits for it.
func (l *loop) note(c *Conn, events uint32) {
	const gone = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	if events&gone != 0 {
		c.ended.Store(true)
	}
	if events&(unix.EPOLLIN|gone) != 0 {
		l.enqueue(c.rouse(&c.rd, true))
	}
	if events&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		l.enqueue(c.rouse(&c.wr, true))
	}
}

// enqueue queues an errand for this loop, or posts it to the one whose it is.
func (l *loop) enqueue(e errand, ok bool) {
	switch {
	case !ok:
	case e.task != nil && e.task.loop != l:
		e.task.loop.post(e)
	default:
		if l.many && e.task != nil {
			MemoryOf(e.task).fetch()
		}
		l.queue = append(l.queue, e)
	}
}

// rouse makes a side ready, and tells what its loop has to run for that.
func (c *Conn) rouse(s *side, parked bool) (errand, bool) {
	switch s.rouse(parked) {
	case sideTask:
		return errand{task: c.task}, true
	case sideParked:
		return errand{wake: c}, true
	case sideBlock:
		s.wake <- struct{}{}
	}
	return errand{}, false
}

// signal is rouse for all other goroutines.
func (c *Conn) signal(s *side, parked bool) {
	e, ok := c.rouse(s, parked)
	switch {
	case !ok:
	case e.task != nil:
		e.task.loop.post(e)
	default:
		c.loop.post(e)
	}
}

// unblock gives the loop a new driver if it has been in one round since the
// sweeper's last look: its task waits for something, and has not said so.
func (l *loop) unblock() {
	busy := l.busy.Load()
	stuck := busy&1 == 1 && busy == l.seen
	l.seen = busy
	if turn := l.turn.Load(); stuck && turn&1 == 1 && l.turn.CompareAndSwap(turn, turn+1) {
		l.replace()
	}
}

// close ends the loop. Its connections stay open; nobody waits for them any
// more.
func (l *loop) close() {
	l.mu.Lock()
	l.ending = true
	l.sleeping = false
	l.mu.Unlock()
	l.ring()
}

// release gives the descriptors back, once nobody drives the loop.
func (l *loop) release() {
	for _, t := range l.idle {
		t.discard()
	}
	l.file.Close()
	unix.Close(l.bell)
}
