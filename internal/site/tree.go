package site

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"
	"unicode/utf8"

	"github.com/perchserver/perch/internal/exchange"
)

// Source tells what rules a path and what is below it. It is asked once for
// every folder, when a request first leads into it, so that a lookup needs no
// file system.
type Source interface {
	// Open returns the node of the folder at path, which begins and, the root
	// aside, does not end with '/': above, the node of the folder that it is
	// in, if it has no settings of its own. Above the root there is its own. And it returns the names of what
	// has to be known below it: every sub-folder that exists, and every path
	// segment with settings of its own.
	Open(path string, above *Node) (*Node, []string, error)
}

// Node is a place with settings of its own. Paths without any share the node
// above them.
type Node struct {
	Chain exchange.Handler // modules, and a Choice at their end
}

// Tree finds the node of a path in one site. It reads folders when requests
// first lead into them. It is safe for concurrent use.
type Tree struct {
	source Source
	root   *folder

	mu      sync.Mutex // one reader of a folder at a time
	folders int
}

// folder is a path that was seen: a folder on disk, or a path that the
// configuration speaks of.
type folder struct {
	path    string
	above   *Node                   // of the folder that it is in; of the root, its own
	content atomic.Pointer[content] // nil: not read yet
}

// content is what a source says of a folder.
type content struct {
	node *Node
	kids map[string]*folder // by name in lower case
}

// Bounds of a tree: links can make folders endless.
const (
	maxDepth   = 64
	maxFolders = 100_000
	maxSegment = 255
)

// NewTree returns the tree of a site with the given node at its root.
func NewTree(root *Node, source Source) *Tree {
	return &Tree{source: source, root: &folder{path: "/", above: root}, folders: 1}
}

// Resolve returns the node for a target. Where the path has two readings,
// both must lead to the same one: nobody knows which one the application
// takes.
func (t *Tree) Resolve(target *exchange.Target) (*Node, error) {
	node, err := t.find(target.Path)
	if err != nil || !target.HiddenSlash {
		return node, err
	}
	other, err := t.find(target.Separated)
	if err != nil {
		return nil, err
	}
	if other != node {
		return nil, errTwoReadings
	}
	return node, nil
}

// find walks down as far as there is something to know.
func (t *Tree) find(path []byte) (*Node, error) {
	f := t.root
	for depth := 0; ; depth++ {
		c := f.content.Load()
		if c == nil {
			var err error
			if c, err = t.read(f); err != nil {
				return f.above, err
			}
		}
		if len(c.kids) == 0 || len(path) <= 1 || depth == maxDepth {
			return c.node, nil
		}
		segment := path[1:]
		if i := bytes.IndexByte(segment, '/'); i >= 0 {
			segment, path = segment[:i], segment[i:]
		} else {
			path = nil
		}
		var small [maxSegment]byte
		if len(segment) > len(small) {
			return c.node, nil
		}
		next := c.kids[string(lower(small[:], segment))]
		if next == nil {
			return c.node, nil
		}
		f = next
	}
}

// lower returns s in lower case, written to dst where it is ASCII: paths of IIS
// have no case. What is not UTF-8 stays as it is.
func lower(dst, s []byte) []byte {
	for i, c := range s {
		if c >= utf8.RuneSelf {
			if !utf8.Valid(s) {
				return s
			}
			return bytes.ToLower(s)
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst[i] = c
	}
	return dst[:len(s)]
}

// read asks the source for a folder.
func (t *Tree) read(f *folder) (*content, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if c := f.content.Load(); c != nil {
		return c, nil
	}
	node, names, err := t.source.Open(f.path, f.above)
	if err != nil {
		return nil, err
	}
	if t.folders += len(names); t.folders > maxFolders {
		t.folders -= len(names)
		return nil, &exchange.Error{Status: 500, SubStatus: 19, Op: "find configuration",
			Err: errors.New("more than 100,000 folders have been visited: do links lead in a circle?")}
	}
	c := &content{node, make(map[string]*folder, len(names))}
	for _, n := range names {
		if len(n) > maxSegment {
			continue
		}
		path := f.path + "/" + n
		if f.path == "/" {
			path = "/" + n
		}
		c.kids[string(lower(make([]byte, len(n)), []byte(n)))] = &folder{path: path, above: node}
	}
	f.content.Store(c)
	return c, nil
}
