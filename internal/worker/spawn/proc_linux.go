package spawn

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// proc is one process as /proc/PID/stat tells it (proc(5)).
type proc struct {
	pid, parent, group, session int
	start                       uint64 // clock ticks after boot; with pid, unique

	// ending: a zombie, or about to be one. It has no memory any more, so its
	// environment, the mark in it, cannot be read.
	ending bool
}

// snapshot is every process of the machine at about one moment. Processes
// that come while it is taken may be missing, so a kill is repeated until a
// snapshot finds nothing.
type snapshot struct {
	byPid    map[int]proc
	children map[int][]int // by parent
}

func takeSnapshot() (*snapshot, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	s := &snapshot{byPid: make(map[int]proc, len(names)), children: make(map[int][]int)}
	for _, name := range names {
		pid, err := strconv.Atoi(name)
		if err != nil {
			continue
		}
		p, err := readProc(pid)
		if err != nil {
			continue // ended meanwhile
		}
		s.byPid[pid] = p
		s.children[p.parent] = append(s.children[p.parent], pid)
	}
	return s, nil
}

// descendants returns pid's process and all below it.
func (s *snapshot) descendants(pid int) []proc {
	top, ok := s.byPid[pid]
	if !ok {
		return nil
	}
	list := []proc{top}
	for i := 0; i < len(list); i++ {
		for _, child := range s.children[list[i].pid] {
			// A number used again while the snapshot was taken could close a
			// circle. A child is never older than its parent.
			if c := s.byPid[child]; c.start >= list[i].start && child != pid {
				list = append(list, c)
			}
		}
	}
	return list
}

func readProc(pid int) (proc, error) {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return proc{}, err
	}
	return parseStat(pid, text)
}

// parseStat reads the fields of /proc/PID/stat. The second one, the command's
// name, is the process's own choice and may hold spaces and brackets, so the
// fields are counted from the last bracket.
func parseStat(pid int, text []byte) (proc, error) {
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 21 || len(fields[0]) != 1 {
		return proc{}, fmt.Errorf("/proc/%d/stat: %d fields", pid, len(fields))
	}
	var bad error
	number := func(i int) int {
		n, err := strconv.Atoi(string(fields[i]))
		bad = errors.Join(bad, err)
		return n
	}
	state := fields[0][0]
	p := proc{
		pid: pid, parent: number(1), group: number(2), session: number(3),
		start:  uint64(number(19)),
		ending: state == 'Z' || state == 'X' || string(fields[20]) == "0",
	}
	return p, bad
}

// kill sends SIGKILL to the very process that the snapshot saw, never to a
// later one with the same number. Nil includes a process that is gone.
func (p proc) kill() error {
	fd, err := unix.PidfdOpen(p.pid, 0)
	switch {
	case errors.Is(err, unix.ESRCH):
		return nil
	case errors.Is(err, unix.ENOSYS), errors.Is(err, unix.EPERM):
		fd = -1 // before Linux 5.3, or a filter on system calls
	case err != nil:
		return err
	default:
		defer unix.Close(fd)
	}
	if now, err := readProc(p.pid); err != nil || now.start != p.start {
		return nil
	}
	if fd < 0 {
		err = unix.Kill(p.pid, unix.SIGKILL)
	} else {
		err = unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0)
	}
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// marked reports whether the environment that the process was started with
// holds mark as a value, or as a part of one.
func (p proc) marked(mark []byte) bool {
	if len(mark) == 0 {
		return false
	}
	environ, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/environ")
	if err != nil {
		return false // ended, or of another user
	}
	return bytes.Contains(environ, mark)
}

// inCgroup reports whether the process is in the control group whose path
// ends with name, or below it.
func (p proc) inCgroup(name string) bool {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(p.pid) + "/cgroup")
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	_, path, ok := bytes.Cut(text, []byte("0::"))
	if !ok {
		return false
	}
	path, _, _ = bytes.Cut(path, []byte{'\n'})
	return bytes.Contains(append(path, '/'), []byte("/"+name+"/"))
}
