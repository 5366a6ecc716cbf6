package spawn

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
)

// Descendants that cut their ties one after another still belong to the
// worker, are listed, and die with it.
func TestTree(t *testing.T) {
	t.Parallel()
	for name, words := range map[string][]string{
		"child":                {"child=stay", "pid=last", "sleep"},
		"session":              {"session=stay", "pid=last", "sleep"},
		"orphan":               {"child", "pid=last", "sleep"},
		"orphan-session":       {"session", "pid=last", "sleep"},
		"double-fork":          {"session", "child", "pid=last", "sleep"},
		"double-fork-sessions": {"session", "session", "session", "pid=last", "sleep"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, plain bool) {
				g := newGuardian(t, plain)
				other := run(t, g, "pid=other", "sleep") // must not be touched
				other.next()
				a := run(t, g, words...)
				last := number(t, a.next(), "last")
				pids, err := a.Tree()
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(pids, last) || slices.Contains(pids, other.Pid()) {
					t.Errorf("tree %v; want it with %d and without %d", pids, last, other.Pid())
				}
				a.end()
				gone(t, last, a.Pid())
				if pids, err := a.Tree(); err != nil || len(pids) != 0 {
					t.Errorf("tree after the kill: %v, %v", pids, err)
				}
				if pids, err := other.Tree(); err != nil || !slices.Equal(pids, []int{other.Pid()}) {
					t.Errorf("tree of the other worker: %v, %v; want [%d]", pids, err, other.Pid())
				}
				other.end()
			})
		})
	}
}

// Without a mark, a group or a parent, an orphan is still known: exactly by
// its control group, and otherwise when only one tree is old enough to be its
// own, or when it was seen before it cut its ties.
func TestOrphanWithoutSigns(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		g := newGuardian(t, plain)
		a := run(t, g, "session", "session=bare", "pid=last", "sleep")
		last := number(t, a.next(), "last")
		a.wait()
		eventually(t, func() error { // its parents have ended, too
			if p, err := readProc(last); err != nil || p.parent != g.sys.cmd.Process.Pid {
				return fmt.Errorf("%+v, %v", p, err)
			}
			return nil
		})
		pids, err := a.Tree()
		if err != nil || !slices.Equal(pids, []int{last}) {
			t.Errorf("tree %v, %v; want [%d]", pids, err, last)
		}
		younger := run(t, g, "pid=younger", "sleep")
		younger.next()
		// The younger tree cannot claim what was seen as the older one's.
		if pids, err := younger.Tree(); err != nil || !slices.Equal(pids, []int{younger.Pid()}) {
			t.Errorf("tree of the younger worker %v, %v; want [%d]", pids, err, younger.Pid())
		}
		a.end()
		gone(t, last)
		younger.end()
	})
}

// What was seen in its place once is known for ever, however many trees are
// old enough.
func TestOrphanSeenBefore(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		g := newGuardian(t, plain)
		older := run(t, g, "pid=older", "sleep")
		older.next()
		a := run(t, g, "session=bare-stay", "pid=last", "sleep")
		last := number(t, a.next(), "last")
		if pids, err := a.Tree(); err != nil || len(pids) != 2 || !slices.Contains(pids, last) {
			t.Fatalf("tree %v, %v; want %d and %d", pids, err, a.Pid(), last)
		}
		if err := syscall.Kill(a.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		a.wait()
		for range 2 {
			if pids, err := a.Tree(); err != nil || !slices.Equal(pids, []int{last}) {
				t.Errorf("tree %v, %v; want [%d]", pids, err, last)
			}
		}
		a.end()
		gone(t, last)
		older.end()
	})
}

// An orphan that may be anybody's, and leaves its dead children lying about,
// holds up the end of no tree.
func TestStrayWithZombie(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		g := newGuardian(t, plain)
		other := run(t, g, "pid=other", "sleep")
		other.next()
		a := run(t, g, "session", "session=bare", "zombie", "pid=last", "sleep")
		last := number(t, a.next(), "last")
		a.wait()
		eventually(t, func() error {
			if p, err := readProc(last); err != nil || p.parent != g.sys.cmd.Process.Pid {
				return fmt.Errorf("%+v, %v", p, err)
			}
			return nil
		})
		other.end()
		a.end() // the one that is left
		gone(t, last)
	})
}
