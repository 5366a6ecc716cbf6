package spawn

import (
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// The guardian's own waits.
const (
	firstPass = time.Millisecond       // until a kill is looked at again
	lastPass  = 100 * time.Millisecond // the pause doubles up to this
	giveUp    = 30 * time.Second       // after the lifeline closed: a process that cannot be killed
)

// branch is one worker's tree in the guardian. It exists from the request to
// spawn it until nothing of it is left and the host asked for that.
type branch struct {
	id      uint64
	pid     int    // of the first process; 0 until it was forked
	start   uint64 // of the first process
	exited  bool   // the first process was reaped: pid may be anyone's
	mark    []byte
	cgroup  *cgroup  // nil without
	killers []uint64 // requests that wait until nothing is left
	killing bool
}

// guard is the guardian's state. It belongs to the main goroutine. Only that
// goroutine reaps, so the number of a child which it has not reaped is not
// used again, and a signal cannot hit a stranger.
type guard struct {
	self  int
	link  *link
	group *cgroup // nil: no control groups

	trees map[uint64]*branch
	seen  map[int]sighting // descendants at the last look
	// endings are the strays that were ending at the last pass, by their start.
	endings map[int]uint64

	queue   []job
	jobs    chan job
	forked  chan forked
	forking bool // a job is with the forker: a child may exist that no tree knows yet

	timer   *time.Timer // the next kill pass
	pause   time.Duration
	closing bool
}

// sighting remembers whose a process was, for when its parent is gone.
type sighting struct {
	start uint64
	tree  *branch
}

func serve(control *os.File) int {
	control = keepOnly(control)
	// A terminal, or a service manager that signals every process of the
	// service, must not end the guardian before its work. Handlers instead of
	// "ignore", because children inherit the latter.
	deaf := make(chan os.Signal, 1)
	signal.Notify(deaf, unix.SIGHUP, unix.SIGINT, unix.SIGQUIT, unix.SIGTERM, unix.SIGPIPE, unix.SIGALRM,
		unix.SIGUSR1, unix.SIGUSR2, unix.SIGTSTP, unix.SIGTTIN, unix.SIGTTOU, unix.SIGCONT, unix.SIGWINCH)
	children := make(chan os.Signal, 1)
	signal.Notify(children, unix.SIGCHLD)

	// Little work, little memory.
	runtime.GOMAXPROCS(1)
	debug.SetGCPercent(10)
	// A name of its own, so that "killall -9" of the host's name leaves the
	// guardian to do the rest.
	_ = os.WriteFile("/proc/self/comm", []byte("guardian"), 0)

	l, err := newLink(control)
	if err == nil {
		err = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "guardian:", err)
		return 1
	}
	g := &guard{
		self: os.Getpid(), link: l,
		trees: make(map[uint64]*branch), seen: make(map[int]sighting),
		jobs: make(chan job), forked: make(chan forked),
		timer: time.NewTimer(0), pause: firstPass,
	}
	go fork(g.jobs, g.forked)
	return g.run(children)
}

// request is a message with its descriptors.
type request struct {
	message
	files []*os.File
}

// run is the guardian's life.
func (g *guard) run(children <-chan os.Signal) int {
	requests := make(chan request)
	go func() {
		defer close(requests)
		for {
			m, files, err := g.link.receive()
			if err != nil {
				return
			}
			requests <- request{m, files}
		}
	}()
	var limit <-chan time.Time
	for {
		var jobs chan<- job
		var next job
		if len(g.queue) > 0 && !g.forking {
			jobs, next = g.jobs, g.queue[0]
		}
		select {
		case r, ok := <-requests:
			if ok {
				g.handle(r)
				break
			}
			requests = nil // the lifeline closed
			limit = time.After(giveUp)
			g.close()
		case jobs <- next:
			g.queue = g.queue[1:]
			g.forking = true
		case f := <-g.forked:
			g.forking = false
			g.spawned(f)
			g.reap()
		case <-children:
			g.reap()
		case <-g.timer.C:
			if g.pass() {
				return 0
			}
		case <-limit:
			fmt.Fprintln(os.Stderr, "guardian: some processes could not be killed")
			return 1
		}
	}
}

func (g *guard) handle(r request) {
	t := g.trees[r.Tree]
	answer := message{Op: r.Op, ID: r.ID, Tree: r.Tree}
	switch r.Op {
	case opBegin:
		answer.Note = "not wanted"
		if !r.NoCgroup {
			group, err := newCgroup()
			if err != nil {
				answer.Note = err.Error()
			} else {
				g.group, answer.Note, answer.Cgroup = group, "", group.dir
			}
		}
	case opSpawn:
		g.spawn(r)
		return
	case opSignal:
		answer.Errno = unix.ESRCH
		if t != nil && t.pid != 0 && !t.exited {
			answer.Errno = 0
			if err := unix.Kill(-t.pid, r.Signal); err != nil {
				answer.Errno = errnoOf(err)
			}
		}
	case opKill:
		if t != nil {
			t.killers = append(t.killers, r.ID)
			g.kill(t)
			return
		}
	case opTree:
		answer.Pids, answer.Errno = g.members(t)
	default:
		answer.Errno = unix.ENOSYS
	}
	closeAll(r.files)
	g.send(answer)
}

// send answers the host. When that is gone the lifeline tells.
func (g *guard) send(m message) { _ = g.link.send(m) }

// refuse answers a spawn that failed.
func (g *guard) refuse(id uint64, e *Error) {
	g.send(message{Op: opSpawn, ID: id, Failed: &failure{Reason: e.Reason, Path: []byte(e.Path), Errno: errnoOf(e.Err)}})
}

// spawn makes a tree and queues its first process.
func (g *guard) spawn(r request) {
	fail := func(err error) {
		closeAll(r.files)
		g.refuse(r.ID, &Error{Path: string(r.Spec.Path), Err: err})
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		fail(err)
		return
	}
	files, passed := []*os.File{null}, r.files
	for _, wanted := range []bool{r.Spec.Stdout, r.Spec.Stderr} {
		f := null
		if wanted && len(passed) > 0 {
			f, passed = passed[0], passed[1:]
		}
		files = append(files, f)
	}
	t := &branch{id: r.ID, mark: r.Spec.Mark}
	if g.group != nil {
		// Without a group of its own the worker is held like elsewhere.
		if c, err := g.group.child(strconv.FormatUint(t.id, 10)); err == nil {
			t.cgroup = c
		}
	}
	g.trees[t.id] = t
	g.queue = append(g.queue, job{tree: t, spec: r.Spec, files: files})
}

// spawned takes over what the forker did.
func (g *guard) spawned(f forked) {
	t := f.tree
	if f.failed != nil {
		g.release(t)
		g.refuse(t.id, f.failed)
		return
	}
	if f.noCgroup != nil {
		_ = t.cgroup.remove()
		t.cgroup = nil
	}
	t.pid, t.start = f.pid, f.start
	g.send(message{Op: opSpawn, ID: t.id, Pid: t.pid})
	if t.killing || g.closing {
		g.hurry()
	}
}

// reap takes the exit status of children that ended. While a fork is under
// way only children that are known are reaped: one that is not might be the
// first process of a tree that nobody was told of yet.
func (g *guard) reap() {
	var status unix.WaitStatus
	for !g.forking {
		pid, err := unix.Wait4(-1, &status, unix.WNOHANG|unix.WALL, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return
		}
		for _, t := range g.trees {
			if t.pid == pid && !t.exited {
				g.exited(t, status)
				break
			}
		}
	}
	for _, t := range g.trees {
		if t.pid == 0 || t.exited {
			continue
		}
		if pid, err := unix.Wait4(t.pid, &status, unix.WNOHANG, nil); err == nil && pid == t.pid {
			g.exited(t, status)
		}
	}
}

func (g *guard) exited(t *branch, status unix.WaitStatus) {
	t.exited = true
	m := message{Op: opExit, Tree: t.id, Code: status.ExitStatus()}
	if status.Signaled() {
		m.Code, m.Signal = -1, syscall.Signal(status.Signal())
	}
	g.send(m)
	if t.killing || g.closing {
		g.hurry()
	}
}

// kill begins to kill t, or goes on.
func (g *guard) kill(t *branch) {
	t.killing = true
	g.hurry()
}

// hurry makes the next pass come at once, or soon when one just was.
func (g *guard) hurry() {
	g.pause = firstPass
	g.timer.Reset(0)
}

// close begins to kill everything.
func (g *guard) close() {
	g.closing = true
	for _, j := range g.queue {
		closeAll(j.files)
		g.release(j.tree)
	}
	g.queue = nil
	g.hurry()
}

// release forgets a tree of which nothing is left.
func (g *guard) release(t *branch) {
	if t.cgroup != nil {
		_ = t.cgroup.remove()
	}
	delete(g.trees, t.id)
	for _, id := range t.killers {
		g.send(message{Op: opKill, ID: id, Tree: t.id})
	}
}

// pass looks at every tree that is to be killed, kills what is left of it and
// releases it when that is nothing. It reports whether the guardian is done.
func (g *guard) pass() (done bool) {
	doomed := g.doomed()
	if !g.closing && len(doomed) == 0 {
		return false
	}
	for _, t := range doomed {
		if t.cgroup != nil {
			_ = t.cgroup.kill()
		}
		if t.pid != 0 && !t.exited {
			_ = unix.Kill(-t.pid, unix.SIGKILL) // the whole group at one moment
		}
	}
	g.reap()
	owned, strays, err := g.look()
	if err != nil {
		// Without /proc there are only groups and children.
		fmt.Fprintln(os.Stderr, "guardian: list processes:", err)
	}
	left := len(strays)
	// A stray that is ending may have children that the snapshot missed; the
	// next has them all, however long nobody waits for it. While a fork is under
	// way, no stray is told by its age. Both pass.
	undecided := len(strays) > 0 && g.forking
	endings := make(map[int]uint64)
	for _, p := range strays {
		if p.ending {
			undecided = undecided || g.endings[p.pid] != p.start
			endings[p.pid] = p.start
		}
	}
	g.endings = endings
	for _, t := range doomed {
		for _, p := range owned[t] {
			_ = p.kill()
		}
		left += len(owned[t])
		if t.pid == 0 || !t.exited || len(owned[t]) > 0 || undecided {
			continue
		}
		if t.cgroup == nil || t.cgroup.remove() == nil {
			g.release(t)
		}
	}
	if g.closing {
		for _, p := range strays {
			_ = p.kill()
		}
		if left == 0 && len(g.trees) == 0 && !g.forking {
			if g.group != nil {
				_ = g.group.remove()
			}
			return true
		}
	}
	g.timer.Reset(g.pause)
	g.pause = min(2*g.pause, lastPass)
	return false
}

// doomed returns the trees to kill.
func (g *guard) doomed() []*branch {
	var list []*branch
	for _, t := range g.trees {
		if t.killing || g.closing {
			list = append(list, t)
		}
	}
	return list
}

// members returns the live processes of t.
func (g *guard) members(t *branch) ([]int, syscall.Errno) {
	if t == nil {
		return nil, 0
	}
	owned, _, err := g.look()
	if err != nil {
		return nil, errnoOf(err)
	}
	var pids []int
	for _, p := range owned[t] {
		if !p.ending {
			pids = append(pids, p.pid)
		}
	}
	slices.Sort(pids)
	return pids, 0
}
