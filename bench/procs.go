package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of the times in /proc: USER_HZ is 100 on every
// architecture that Go runs on.
const tick = time.Second / 100

// process is one line of /proc/PID/stat.
type process struct {
	pid, parent int
	cpu         time.Duration // user and system
	reaped      time.Duration // the same, of children it has waited for
}

// parseStat reads /proc/PID/stat. The command in parentheses may hold
// anything, so fields are counted behind its end.
func parseStat(data []byte) (process, error) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 0 || end < open {
		return process{}, fmt.Errorf("process stat %q: no command", data)
	}
	f := strings.Fields(string(data[end+1:]))
	if len(f) < 15 {
		return process{}, fmt.Errorf("process stat %q: too few fields", data)
	}
	var n [6]int
	for i, field := range []string{string(bytes.TrimSpace(data[:open])), f[1], f[11], f[12], f[13], f[14]} {
		v, err := strconv.Atoi(field)
		if err != nil {
			return process{}, fmt.Errorf("process stat %q: %w", data, err)
		}
		n[i] = v
	}
	return process{
		pid: n[0], parent: n[1],
		cpu:    time.Duration(n[2]+n[3]) * tick,
		reaped: time.Duration(n[4]+n[5]) * tick,
	}, nil
}

// tree returns the process root and all below it, but those that run the
// program without, and what is below them. "" leaves nothing out.
func tree(root int, without string) ([]process, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	all, children := map[int]process{}, map[int][]int{}
	for _, name := range stats {
		data, err := os.ReadFile(name)
		if err != nil {
			continue // it has ended since
		}
		p, err := parseStat(data)
		if err != nil {
			return nil, err
		}
		all[p.pid] = p
		children[p.parent] = append(children[p.parent], p.pid)
	}
	if _, ok := all[root]; !ok {
		return nil, fmt.Errorf("process %d has ended", root)
	}
	var found []process
	for todo := []int{root}; len(todo) > 0; {
		pid := todo[0]
		todo = todo[1:]
		if without != "" {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && exe == without {
				continue
			}
		}
		found = append(found, all[pid])
		todo = append(todo, children[pid]...)
	}
	return found, nil
}

// cpuOf sums the CPU time of living processes.
func cpuOf(ps []process) (sum time.Duration) {
	for _, p := range ps {
		sum += p.cpu
	}
	return sum
}

// memoryOf sums the memory of processes, each shared page divided by the
// number of processes that share it (PSS), in bytes.
func memoryOf(ps []process) (int64, error) {
	var sum int64
	for _, p := range ps {
		data, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", p.pid))
		if err != nil {
			return 0, fmt.Errorf("memory of process %d: %w", p.pid, err)
		}
		kb, err := parsePSS(data)
		if err != nil {
			return 0, fmt.Errorf("memory of process %d: %w", p.pid, err)
		}
		sum += kb * 1024
	}
	return sum, nil
}

func parsePSS(rollup []byte) (kb int64, err error) {
	for line := range strings.Lines(string(rollup)) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "Pss:" {
			return strconv.ParseInt(f[1], 10, 64)
		}
	}
	return 0, fmt.Errorf("no Pss in smaps_rollup")
}

// machineTime returns how long the processors have been busy, and been there,
// since the machine started. Time that its host took away is busy.
func machineTime() (busy, all time.Duration, err error) {
	data, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0, 0, err
	}
	return parseMachine(data)
}

// parseMachine reads the first line of /proc/stat: user, nice, system, idle,
// iowait, irq, softirq, steal; guest time is in user already.
func parseMachine(data []byte) (busy, all time.Duration, err error) {
	line, _, _ := strings.Cut(string(data), "\n")
	f := strings.Fields(line)
	if len(f) < 9 || f[0] != "cpu" {
		return 0, 0, fmt.Errorf("machine stat %q: not the line of all processors", line)
	}
	for i, field := range f[1:9] {
		n, err := strconv.Atoi(field)
		if err != nil {
			return 0, 0, fmt.Errorf("machine stat %q: %w", line, err)
		}
		d := time.Duration(n) * tick
		if all += d; i != 3 && i != 4 {
			busy += d
		}
	}
	return busy, all, nil
}
