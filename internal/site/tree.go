package site

import (
	"bytes"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/perchserver/perch/internal/exchange"
)

// Source tells what is below a path. It is asked once for every folder that
// requests lead into, so that a lookup needs no file system.
type Source interface {
	// Below returns what has to be known below the folder at path, which
	// begins and, the root aside, does not end with '/': every sub-folder
	// that exists, and every path segment with settings of its own. parent
	// is the node at path.
	Below(path string, parent *Node) ([]Child, error)
}

// Node is a place with settings of its own. Paths without any share the node
// above them.
type Node struct {
	Chain exchange.Handler // modules, and a Choice at their end
}

// Child is one segment below a folder.
type Child struct {
	Name string

	// Node rules the child and what is below it. It is that of the folder
	// where the child has no settings of its own.
	Node *Node
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
	path string
	node *Node
	kids atomic.Pointer[map[string]*folder] // by name in lower case; nil: not read yet
}

// Bounds of a tree: links can make folders endless.
const (
	maxDepth   = 64
	maxFolders = 100_000
	maxSegment = 255
)

// NewTree returns the tree of a site with the given node at its root.
func NewTree(root *Node, source Source) *Tree {
	return &Tree{source: source, root: &folder{path: "/", node: root}, folders: 1}
}

// Resolve returns the node for a target. Where the path has two readings,
// both must lead to the same one: nobody knows which one the application
// takes.
func (t *Tree) Resolve(target *exchange.Target) (*Node, error) {
	f, err := t.find(target.Path)
	if err != nil || !target.HiddenSlash {
		return f.node, err
	}
	other, err := t.find(target.Separated)
	if err != nil {
		return nil, err
	}
	if other.node != f.node {
		return nil, errTwoReadings
	}
	return f.node, nil
}

// find walks down as far as there is something to know.
func (t *Tree) find(path []byte) (*folder, error) {
	f := t.root
	for depth := 0; depth < maxDepth && len(path) > 1; depth++ {
		kids := f.kids.Load()
		if kids == nil {
			var err error
			if kids, err = t.read(f); err != nil {
				return f, err
			}
		}
		if len(*kids) == 0 {
			break
		}
		segment := path[1:]
		if i := bytes.IndexByte(segment, '/'); i >= 0 {
			segment, path = segment[:i], segment[i:]
		} else {
			path = nil
		}
		var small [maxSegment]byte
		if len(segment) > len(small) {
			break
		}
		next := (*kids)[string(lower(small[:], segment))]
		if next == nil {
			break
		}
		f = next
	}
	return f, nil
}

// lower writes s to dst in lower case: paths of IIS have no case (ASCII is
// what configuration is written in).
func lower(dst, s []byte) []byte {
	for i, c := range s {
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		dst[i] = c
	}
	return dst[:len(s)]
}

// read asks the source for what is below f.
func (t *Tree) read(f *folder) (*map[string]*folder, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if kids := f.kids.Load(); kids != nil {
		return kids, nil
	}
	children, err := t.source.Below(f.path, f.node)
	if err != nil {
		return nil, err
	}
	if t.folders += len(children); t.folders > maxFolders {
		t.folders -= len(children)
		return nil, &exchange.Error{Status: 500, SubStatus: 19, Op: "find configuration",
			Err: errors.New("more than 100,000 folders have been visited: do links lead in a circle?")}
	}
	kids := make(map[string]*folder, len(children))
	for _, c := range children {
		if len(c.Name) > maxSegment {
			continue
		}
		name := []byte(c.Name)
		path := f.path + "/" + c.Name
		if f.path == "/" {
			path = "/" + c.Name
		}
		kids[string(lower(name, name))] = &folder{path: path, node: c.Node}
	}
	f.kids.Store(&kids)
	return &kids, nil
}
