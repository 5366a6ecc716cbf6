package spawn

import (
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
)

func TestParseStat(t *testing.T) {
	t.Parallel()
	const tail = " 1 2 3 0 -1 4194560 0 0 0 0 0 0 0 0 20 0 1 0 987654 "
	for _, c := range []struct {
		name, text string
		want       proc
		bad        bool
	}{
		{name: "plain", text: "7 (app) S" + tail + "4096 1", want: proc{pid: 7, parent: 1, group: 2, session: 3, start: 987654}},
		{name: "name-that-lies", text: "7 (a) Z 9 9 9 (b) R" + tail + "4096 1", want: proc{pid: 7, parent: 1, group: 2, session: 3, start: 987654}},
		{name: "zombie", text: "7 (app) Z" + tail + "0 0", want: proc{pid: 7, parent: 1, group: 2, session: 3, start: 987654, ending: true}},
		{name: "no-memory", text: "7 (app) R" + tail + "0 0", want: proc{pid: 7, parent: 1, group: 2, session: 3, start: 987654, ending: true}},
		{name: "cut-short", text: "7 (app) S 1 2 3", bad: true},
		{name: "not-a-number", text: strings.Replace("7 (app) S"+tail+"4096 1", " 2 ", " x ", 1), bad: true},
		{name: "empty", bad: true},
	} {
		got, err := parseStat(7, []byte(c.text))
		if (err != nil) != c.bad || !c.bad && got != c.want {
			t.Errorf("%s: got %+v, %v; want %+v", c.name, got, err, c.want)
		}
	}
}

func FuzzParseStat(f *testing.F) {
	text, err := os.ReadFile("/proc/self/stat")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add([]byte("7 () S 1 2 3"))
	f.Fuzz(func(t *testing.T, text []byte) {
		if p, err := parseStat(1, text); err == nil && p.pid != 1 {
			t.Errorf("%q gave process %d", text, p.pid)
		}
	})
}

// A kill meant for one process does not hit a later one with its number.
func TestKillIsNotForStrangers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		diff uint64
		want syscall.Signal
	}{{"the-one", 0, syscall.SIGKILL}, {"a-later-one", 1, syscall.SIGTERM}} {
		cmd := exec.Command("/bin/sleep", "1000")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		p, err := readProc(cmd.Process.Pid)
		if err != nil {
			t.Fatal(err)
		}
		p.start -= c.diff
		if err := p.kill(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		_ = cmd.Process.Signal(syscall.SIGTERM) // ends who was spared
		_ = cmd.Wait()
		if status, ok := cmd.ProcessState.Sys().(syscall.WaitStatus); !ok || status.Signal() != c.want {
			t.Errorf("%s: ended by %v, want %v", c.name, cmd.ProcessState, c.want)
		}
		if err := p.kill(); err != nil {
			t.Errorf("%s: kill of a process that is gone: %v", c.name, err)
		}
	}
}

func TestDescendants(t *testing.T) {
	t.Parallel()
	s := &snapshot{byPid: map[int]proc{}, children: map[int][]int{}}
	for _, p := range []proc{
		{pid: 1, start: 1}, {pid: 2, parent: 1, start: 5}, {pid: 3, parent: 2, start: 6},
		{pid: 4, parent: 3, start: 6}, {pid: 5, parent: 4, start: 2}, // older than its parent: the number was used again
		{pid: 6, parent: 6, start: 7}, {pid: 7, parent: 1, start: 8},
	} {
		s.byPid[p.pid] = p
		s.children[p.parent] = append(s.children[p.parent], p.pid)
	}
	for pid, want := range map[int][]int{2: {2, 3, 4}, 7: {7}, 6: {6}, 9: nil} {
		var got []int
		for _, p := range s.descendants(pid) {
			got = append(got, p.pid)
		}
		if len(got) != len(want) || len(want) > 2 && (got[1] != 3 || got[2] != 4) {
			t.Errorf("descendants of %d: %v, want %v", pid, got, want)
		}
	}
}

func TestFindCgroup2(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text, root, point string
		bad                     bool
	}{
		{"unified", "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n", "/", "/sys/fs/cgroup", false},
		{"hybrid", "40 31 0:37 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw\n41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n", "/", "/sys/fs/cgroup/unified", false},
		{"bound-with-space", `9 8 0:1 /a /my\040groups rw - cgroup2 none rw` + "\n", "/a", "/my groups", false},
		{"old", "31 23 0:28 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw\n", "", "", true},
		{"a-lie-in-the-path", "31 23 0:28 / /tmp/cgroup2 rw - tmpfs cgroup2 rw\n", "", "", true},
		{"empty", "", "", "", true},
	} {
		root, point, err := findCgroup2([]byte(c.text))
		if root != c.root || point != c.point || (err != nil) != c.bad {
			t.Errorf("%s: got %q, %q, %v", c.name, root, point, err)
		}
	}
}

func TestPack(t *testing.T) {
	t.Parallel()
	for _, list := range [][]string{nil, {""}, {"", "a", ""}, {"\xff", "é"}} {
		got := unpack(pack(list))
		if len(got) != len(list) || strings.Join(got, "|") != strings.Join(list, "|") {
			t.Errorf("got %q, want %q", got, list)
		}
	}
}
