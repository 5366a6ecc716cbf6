package spawn

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/windows"
)

// killPause is the time between two looks at a job that was terminated.
const killPause = 5 * time.Millisecond

// killedCode is the exit code of processes that a job was terminated with:
// the system's own for an ended job (ERROR_PROCESS_ABORTED).
const killedCode = uint32(windows.ERROR_PROCESS_ABORTED)

// guardian here is no process: each worker lives in a job object that kills
// its members when its last handle, which only the host holds, is closed.
type guardian struct {
	mu   sync.Mutex
	jobs map[*Process]*job // not released yet
	shut bool
	lost chan struct{} // never closed
}

// job is one worker's job object.
type job struct {
	mu     sync.Mutex
	handle windows.Handle // 0 when released
}

// tree is the system's part of a Process.
type tree struct {
	g   *guardian
	job *job
}

func limits() []string {
	return []string{
		"on Windows a worker cannot run as another user yet",
		"on Windows the request to end reaches only workers that share the host's console",
	}
}

func serve(*os.File) int {
	fmt.Fprintln(os.Stderr, "guardian: not needed on Windows")
	return 1
}

func (g *guardian) start(Options) error {
	g.jobs = make(map[*Process]*job)
	g.lost = make(chan struct{})
	return nil
}

func (g *guardian) describe() string { return "job objects" }

func (g *guardian) spawn(ctx context.Context, s *Spec) (*Process, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if s.User != nil {
		return nil, &Error{Reason: BadUser, Path: s.Path, User: s.User, Err: errors.ErrUnsupported}
	}
	null, err := os.OpenFile(os.DevNull, os.O_RDWR, 0)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &os.ProcAttr{
		Dir: s.Dir, Env: s.Env, Files: []*os.File{null, null, null},
		Sys: &syscall.SysProcAttr{
			HideWindow:    true,
			CreationFlags: windows.CREATE_SUSPENDED | windows.CREATE_NEW_PROCESS_GROUP,
		},
	}
	for i, f := range []*os.File{s.Stdout, s.Stderr} {
		if f != nil {
			attr.Files[i+1] = f
		}
	}
	if attr.Env == nil {
		attr.Env = []string{} // nil would be our own
	}
	j, err := newJob()
	if err != nil {
		return nil, fmt.Errorf("make a job object: %w", err)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		j.close()
		return nil, fmt.Errorf("spawn %s: %w", s.Path, ErrLost)
	}
	first, err := os.StartProcess(s.Path, s.Args, attr)
	if err != nil {
		j.close()
		return nil, explain(s, err)
	}
	if err := j.take(first); err != nil {
		_ = first.Kill()
		_, _ = first.Wait()
		j.close()
		return nil, &Error{Path: s.Path, Err: err}
	}
	p := &Process{pid: first.Pid, done: make(chan struct{}), sys: tree{g, j}}
	g.jobs[p] = j
	go p.wait(first)
	return p, nil
}

// wait notes the end of the first process.
func (p *Process) wait(first *os.Process) {
	state, err := first.Wait()
	switch {
	case err != nil:
		p.end(Exit{Code: -1})
	case uint32(state.ExitCode()) == killedCode:
		p.end(Exit{Code: -1, Signal: syscall.SIGKILL})
	default:
		p.end(Exit{Code: state.ExitCode()})
	}
}

func newJob() (*job, error) {
	handle, err := windows.CreateJobObject(nil, nil)
	if err != nil {
		return nil, err
	}
	var info windows.JOBOBJECT_EXTENDED_LIMIT_INFORMATION
	info.BasicLimitInformation.LimitFlags = windows.JOB_OBJECT_LIMIT_KILL_ON_JOB_CLOSE
	if _, err := windows.SetInformationJobObject(handle, windows.JobObjectExtendedLimitInformation,
		uintptr(unsafe.Pointer(&info)), uint32(unsafe.Sizeof(info))); err != nil {
		windows.CloseHandle(handle)
		return nil, err
	}
	return &job{handle: handle}, nil
}

// take puts a suspended process into the job and lets it run.
func (j *job) take(first *os.Process) error {
	var assign error
	if err := first.WithHandle(func(h uintptr) {
		assign = windows.AssignProcessToJobObject(j.handle, windows.Handle(h))
	}); err != nil {
		return err
	}
	if assign != nil {
		return fmt.Errorf("assign to a job object: %w", assign)
	}
	if err := resume(uint32(first.Pid)); err != nil {
		return fmt.Errorf("resume: %w", err)
	}
	return nil
}

// resume lets the threads of a process run. A suspended new one has one.
func resume(pid uint32) error {
	all, err := windows.CreateToolhelp32Snapshot(windows.TH32CS_SNAPTHREAD, 0)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(all)
	entry := windows.ThreadEntry32{Size: uint32(unsafe.Sizeof(windows.ThreadEntry32{}))}
	found := false
	for err = windows.Thread32First(all, &entry); err == nil; err = windows.Thread32Next(all, &entry) {
		if entry.OwnerProcessID != pid {
			continue
		}
		thread, err := windows.OpenThread(windows.THREAD_SUSPEND_RESUME, false, entry.ThreadID)
		if err != nil {
			return err
		}
		_, err = windows.ResumeThread(thread)
		windows.CloseHandle(thread)
		if err != nil {
			return err
		}
		found = true
	}
	if !found {
		return errors.New("the process has no thread")
	}
	return nil
}

func (j *job) close() {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.handle != 0 {
		windows.CloseHandle(j.handle)
		j.handle = 0
	}
}

// terminate kills every member.
func (j *job) terminate() error {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.handle == 0 {
		return nil
	}
	return windows.TerminateJobObject(j.handle, killedCode)
}

// maxMembers is how many processes of one worker are listed.
const maxMembers = 4096

// processIDList is JOBOBJECT_BASIC_PROCESS_ID_LIST.
type processIDList struct {
	assigned, listed uint32
	ids              [maxMembers]uintptr
}

func (j *job) members() ([]int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.handle == 0 {
		return nil, nil
	}
	list := new(processIDList)
	err := windows.QueryInformationJobObject(j.handle, windows.JobObjectBasicProcessIdList,
		uintptr(unsafe.Pointer(list)), uint32(unsafe.Sizeof(*list)), nil)
	if err != nil && !errors.Is(err, windows.ERROR_MORE_DATA) {
		return nil, err
	}
	var pids []int
	for _, id := range list.ids[:list.listed] {
		pids = append(pids, int(id))
	}
	return pids, nil
}

func (t tree) signal(p *Process, sig syscall.Signal) error {
	select {
	case <-p.done:
		return os.ErrProcessDone
	default:
	}
	switch sig {
	case syscall.SIGTERM, syscall.SIGINT:
		return windows.GenerateConsoleCtrlEvent(windows.CTRL_BREAK_EVENT, uint32(p.pid))
	case syscall.SIGKILL:
		return t.job.terminate()
	}
	return fmt.Errorf("signal %v on Windows: %w", sig, errors.ErrUnsupported)
}

func (t tree) kill(ctx context.Context, p *Process) error {
	tick := time.NewTicker(killPause)
	defer tick.Stop()
	err := t.job.terminate()
	for err == nil {
		var left []int
		if left, err = t.job.members(); err != nil {
			break
		}
		if len(left) == 0 {
			select {
			case <-p.done:
				t.g.mu.Lock()
				delete(t.g.jobs, p)
				t.g.mu.Unlock()
				t.job.close()
				return nil
			default:
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	return fmt.Errorf("kill the tree of process %d: %w", p.pid, err)
}

func (t tree) members(*Process) ([]int, error) { return t.job.members() }

func (g *guardian) close(ctx context.Context) error {
	g.mu.Lock()
	g.shut = true
	var all []*Process
	for p, j := range g.jobs {
		all = append(all, p)
		_ = j.terminate()
	}
	g.mu.Unlock()
	var errs []error
	for _, p := range all {
		errs = append(errs, p.KillTree(ctx))
	}
	return errors.Join(errs...)
}

// explain tells what the system's one number was about.
func explain(s *Spec, err error) *Error {
	e := &Error{Path: s.Path, Err: err}
	var errno syscall.Errno
	if errors.As(err, &errno) {
		e.Err = errno
	}
	st, missing := os.Stat(s.Path)
	switch {
	case errno == windows.ERROR_DIRECTORY:
		e.Reason, e.Path = MissingFolder, s.Dir
	case errors.Is(missing, fs.ErrNotExist):
		e.Reason = MissingFile
	case missing == nil && st.IsDir():
		e.Reason = NotAFile
	case errno == windows.ERROR_BAD_EXE_FORMAT, errno == windows.ERROR_EXE_MACHINE_TYPE_MISMATCH:
		e.Reason = WrongFormat
	case errno == windows.ERROR_ACCESS_DENIED, errno == windows.ERROR_ELEVATION_REQUIRED:
		e.Reason = NoPermission
	}
	return e
}
