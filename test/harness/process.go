package harness

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// process names one process for good: a number is used again, a number with a
// start time is not.
type process struct {
	pid   int
	start string // in clock ticks since boot
}

// stat returns the parent and the start time of a process, false if there is
// none or if it has ended and only waits to be collected.
func stat(pid int) (parent int, start string, ok bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, "", false
	}
	// The name, in parentheses, may hold anything.
	rest := strings.Fields(string(data[bytes.LastIndexByte(data, ')')+1:]))
	if len(rest) < 20 || rest[0] == "Z" || rest[0] == "X" {
		return 0, "", false
	}
	parent, _ = strconv.Atoi(rest[1])
	return parent, rest[19], true
}

// Alive reports whether the process runs.
func Alive(pid int) bool {
	_, _, ok := stat(pid)
	return ok
}

// Parent returns the parent of a process.
func Parent(pid int) int {
	parent, _, _ := stat(pid)
	return parent
}

// Gone reports whether nothing is left of the process. One that is not Alive
// may still have threads that end, and sockets that accept.
func Gone(pid int) bool {
	_, err := os.Stat(fmt.Sprintf("/proc/%d", pid))
	return err != nil
}

func pids() []int {
	var all []int
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		if pid, err := strconv.Atoi(e.Name()); err == nil {
			all = append(all, pid)
		}
	}
	return all
}

// Tree returns the processes that descend from the host now, itself left out.
// What was seen once must be gone at the end of the test.
func (h *Host) Tree() []int {
	parents := map[int]int{}
	starts := map[int]string{}
	for _, pid := range pids() {
		if parent, start, ok := stat(pid); ok {
			parents[pid], starts[pid] = parent, start
		}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	var tree []int
	for pid := range parents {
		for up, hops := parents[pid], 0; up > 1 && hops < 64; up, hops = parents[up], hops+1 {
			if up == h.Pid {
				tree = append(tree, pid)
				h.seen[process{pid, starts[pid]}] = true
				break
			}
		}
	}
	slices.Sort(tree)
	return tree
}

// Left returns the processes that outlived the host: those that were seen in
// its tree and those that carry its mark in their environment.
func (h *Host) Left() []int {
	h.mu.Lock()
	defer h.mu.Unlock()
	var left []int
	for p := range h.seen {
		if _, start, ok := stat(p.pid); ok && start == p.start {
			left = append(left, p.pid)
		}
	}
	mark := []byte(markName + "=" + h.mark)
	for _, pid := range pids() {
		env, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err == nil && pid != h.Pid && bytes.Contains(env, mark) && Alive(pid) && !slices.Contains(left, pid) {
			left = append(left, pid)
		}
	}
	return left
}

// checkNothingLeft fails the test for every process that outlived the host,
// and ends it.
func (h *Host) checkNothingLeft() {
	h.t.Helper()
	poll(Limit/3, func() bool { return len(h.Left()) == 0 && len(h.groups()) == 0 })
	for _, dir := range h.groups() {
		h.t.Errorf("control group %s outlived its host", dir)
	}
	for _, pid := range h.Left() {
		h.t.Errorf("process %d outlived its host: %s", pid, CommandLine(pid))
		syscall.Kill(pid, syscall.SIGKILL)
	}
}

// groups returns the control groups that processes of the host have made, by
// their numbers in the names. Numbers are used again, so an older one of the
// same name is another's.
func (h *Host) groups() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []string
	for p := range h.seen {
		for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
			found, _ := filepath.Glob(fmt.Sprintf("%s/perch-%d-*", mount, p.pid))
			for _, dir := range found {
				if info, err := os.Stat(dir); err == nil && info.ModTime().After(h.began) {
					all = append(all, dir)
				}
			}
		}
	}
	return all
}

// CommandLine returns the arguments of a process, joined by spaces.
func CommandLine(pid int) string {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return strings.TrimSpace(strings.ReplaceAll(string(data), "\x00", " "))
}

// Descriptors counts the open files of a process.
func Descriptors(pid int) int {
	all, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	return len(all)
}

// Memory returns how much memory a process holds, in bytes; 0 if it has ended.
func Memory(pid int) int64 {
	data, _ := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	var size, resident int64
	fmt.Sscan(string(data), &size, &resident)
	return resident * int64(os.Getpagesize())
}

// Connections counts the TCP connections of a process that are open on this
// side, from the kernel's table.
func Connections(pid int) int {
	inodes := map[string]bool{}
	links, _ := filepath.Glob(fmt.Sprintf("/proc/%d/fd/*", pid))
	for _, l := range links {
		if to, err := os.Readlink(l); err == nil && strings.HasPrefix(to, "socket:[") {
			inodes[strings.Trim(to, "socket:[]")] = true
		}
	}
	n := 0
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, _ := os.ReadFile(table)
		for line := range strings.Lines(string(data)) {
			const state, inode, established = 3, 9, "01"
			f := strings.Fields(line)
			if len(f) > inode && f[state] == established && inodes[f[inode]] {
				n++
			}
		}
	}
	return n
}

// Established counts the open TCP connections of the host itself.
func (h *Host) Established() int { return Connections(h.Pid) }
