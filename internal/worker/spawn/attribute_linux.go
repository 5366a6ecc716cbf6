package spawn

// look lists all processes that descend from the guardian, by the tree that
// they belong to. As the subreaper of all, the guardian is an ancestor of
// every one of them at any time, whatever sessions and groups they made. A
// process whose parents ended hangs below the guardian directly, an orphan;
// whose it is must be found by other signs. Orphans without any are strays.
func (g *guard) look() (owned map[*branch][]proc, strays []proc, err error) {
	s, err := takeSnapshot()
	if err != nil {
		return nil, nil, err
	}
	roots := make(map[int]*branch, len(g.trees))
	for _, t := range g.trees {
		if t.pid != 0 && !t.exited {
			roots[t.pid] = t
		}
	}
	owned = make(map[*branch][]proc, len(g.trees))
	seen := make(map[int]sighting, len(g.seen))
	for _, child := range s.children[g.self] {
		family := s.descendants(child)
		t := roots[child]
		if t == nil {
			t = g.adopt(s, family)
		}
		if t == nil {
			strays = append(strays, family...)
			continue
		}
		owned[t] = append(owned[t], family...)
		for _, p := range family {
			seen[p.pid] = sighting{p.start, t}
		}
	}
	g.seen = seen
	return owned, strays, nil
}

// adopt finds the tree of an orphan, the first of family, and its descendants.
// All of them belong to one tree, so each may give the sign: an orphan that is
// just ending has lost its memory, its mark with it, before its children
// become orphans in their turn. It returns nil when nothing tells.
func (g *guard) adopt(s *snapshot, family []proc) *branch {
	for _, p := range family {
		if t := g.sign(s, p); t != nil {
			return t
		}
	}
	// At last: only one tree is not younger. But a child that was forked this
	// moment has no sign yet and no tree.
	var old *branch
	for _, t := range g.trees {
		if t.pid == 0 || t.start > family[0].start {
			continue
		}
		if old != nil {
			return nil
		}
		old = t
	}
	if g.forking {
		return nil
	}
	return old
}

// sign returns the tree that p is known to belong to: by having been seen in
// its place before, by its control group, by the process group of the tree's
// first process, or by the mark in its environment.
func (g *guard) sign(s *snapshot, p proc) *branch {
	if was, ok := g.seen[p.pid]; ok && was.start == p.start && g.trees[was.tree.id] == was.tree {
		return was.tree
	}
	for _, t := range g.trees {
		if t.cgroup != nil && p.inCgroup(t.cgroup.name()) ||
			t.pid != 0 && p.group == t.pid && !reused(s, t) ||
			p.marked(t.mark) {
			return t
		}
	}
	return nil
}

// reused reports whether the number of the tree's first process, which was
// reaped, is another process's now.
func reused(s *snapshot, t *branch) bool {
	p, ok := s.byPid[t.pid]
	return ok && p.start != t.start
}
