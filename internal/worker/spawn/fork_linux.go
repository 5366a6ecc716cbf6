package spawn

import (
	"os"
	"runtime"
	"syscall"

	"golang.org/x/sys/unix"
)

// job is one process to fork.
type job struct {
	tree  *branch
	spec  *wireSpec
	files []*os.File // standard input, output and error; owned by the forker
}

// forked is what became of a job.
type forked struct {
	tree     *branch
	pid      int
	start    uint64
	noCgroup error  // the kernel refused to fork into the tree's control group
	failed   *Error // instead of pid
}

// fork does jobs one after another on one thread until jobs is closed. The
// thread stays the same because the kernel sends the parent-death signal when
// the forking thread ends, not when its process does (prctl(2)). It is not the
// guardian's main loop because an exec on a file system that hangs would hold
// up everything else.
func fork(jobs <-chan job, done chan<- forked) {
	runtime.LockOSThread() // for ever: the process ends with this goroutine still locked
	// A child inherits the signals that this thread blocks, and the thread
	// those that the host was started with. It cannot fail.
	_ = unix.PthreadSigmask(unix.SIG_SETMASK, &unix.Sigset_t{}, nil)
	for j := range jobs {
		done <- j.run()
	}
	select {}
}

func (j job) run() forked {
	defer closeAll(j.files)
	s := j.spec
	attr := &syscall.ProcAttr{
		Dir:   string(s.Dir),
		Env:   unpack(s.Env),
		Files: make([]uintptr, len(j.files)),
		Sys: &syscall.SysProcAttr{
			Setpgid:    true,
			Pdeathsig:  syscall.SIGKILL,
			Credential: credential(s.User),
		},
	}
	for i, f := range j.files {
		attr.Files[i] = f.Fd() // sets it to blocking mode, which programs expect
	}
	f := forked{tree: j.tree}
	var err error
	if j.tree.cgroup != nil {
		f.pid, f.noCgroup = forkInto(j.tree.cgroup, s, attr)
	}
	if j.tree.cgroup == nil || f.noCgroup != nil {
		f.pid, err = syscall.ForkExec(string(s.Path), unpack(s.Args), attr)
	}
	if err != nil {
		// The program is at fault, with or without a control group.
		return forked{tree: j.tree, failed: explain(string(s.Path), string(s.Dir), s.User, errnoOf(err))}
	}
	if p, err := readProc(f.pid); err == nil {
		f.start = p.start
	}
	return f
}

func forkInto(c *cgroup, s *wireSpec, attr *syscall.ProcAttr) (int, error) {
	dir, err := os.Open(c.dir)
	if err != nil {
		return 0, err
	}
	defer dir.Close()
	sys := *attr.Sys
	sys.UseCgroupFD, sys.CgroupFD = true, int(dir.Fd())
	into := *attr
	into.Sys = &sys
	return syscall.ForkExec(string(s.Path), unpack(s.Args), &into)
}
