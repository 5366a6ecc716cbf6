package spawn

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// rescueLimit bounds the search for what a killed guardian left behind.
const rescueLimit = 5 * time.Second

// bury clears up after the guardian's socket closed: it waits for its process,
// kills what that left, and tells everyone who waits.
func (g *guardian) bury() {
	late := time.AfterFunc(endLimit, func() { _ = g.cmd.Process.Kill() })
	err := g.cmd.Wait()
	late.Stop()
	g.link.conn.Close()

	g.mu.Lock()
	closing := g.closing
	trees := maps.Clone(g.trees)
	g.mu.Unlock()
	if err != nil {
		g.left = g.rescue(trees)
	}
	g.mu.Lock()
	for _, t := range g.trees {
		select {
		case <-t.proc.done:
		default:
			t.proc.end(Exit{Code: -1, Signal: syscall.SIGKILL})
		}
	}
	g.mu.Unlock()
	close(g.ended)
	if !closing {
		g.log.Error("guardian process lost, its workers were killed", "pid", g.cmd.Process.Pid, "state", g.cmd.ProcessState.String(), "left", g.left)
		close(g.lost)
	}
}

// rescue kills what came to us when the guardian died without doing its work.
// Workers died with it by their parent-death signal; their descendants have us
// as their subreaper now. Ours are the workers, and those in the guardian's
// session, if it had one of its own, in its control group, or with a worker's
// mark; other children of this process are not touched. A descendant that ended
// without being reaped just before cannot be told from those and stays a zombie
// until we end.
func (g *guardian) rescue(trees map[uint64]*held) error {
	var group *cgroup
	if g.cgroup != "" {
		group = &cgroup{dir: g.cgroup}
		_ = group.kill()
	}
	ours := make(map[int]uint64) // start by pid; the signs of a process end with it, before it is reaped
	is := func(p proc) bool {
		if start, ok := ours[p.pid]; ok && start == p.start {
			return true
		}
		if p.session == g.cmd.Process.Pid || group != nil && p.inCgroup(filepath.Base(group.dir)) {
			return true
		}
		for _, t := range trees {
			if p.pid == t.proc.pid || p.marked(t.mark) {
				return true
			}
		}
		return false
	}
	pause := firstPass
	for deadline := time.Now().Add(rescueLimit); ; pause = min(2*pause, lastPass) {
		s, err := takeSnapshot()
		if err != nil {
			return err
		}
		left := 0
		for _, child := range s.children[os.Getpid()] {
			family := s.descendants(child)
			if !slices.ContainsFunc(family, is) { // an ending one has lost its signs, see adopt
				continue
			}
			for _, d := range family {
				ours[d.pid] = d.start // it may come to us next
				_ = d.kill()
				left++
			}
			_, _ = unix.Wait4(child, nil, unix.WNOHANG, nil)
		}
		if left == 0 && (group == nil || group.remove() == nil) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%d processes of a lost guardian could not be killed", left)
		}
		time.Sleep(pause)
	}
}
