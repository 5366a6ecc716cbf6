package plan

import (
	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/site"
)

// Check reads the whole configuration of a folder, sub-folders included, and
// returns every problem. It starts nothing. The error is for a folder that
// cannot be served at all.
func Check(in Input, parts Parts) (config.Problems, error) {
	b, p, err := build(in, parts, nil)
	if err != nil {
		return nil, err
	}
	f := b.folders()
	f.report = func(found config.Problems) {
		for _, problem := range found {
			p.Problems.Add(problem)
		}
	}
	f.visit("/", b.top)
	p.Problems.Sort()
	return p.Problems, nil
}

// mostVisited bounds a check of folders that links have made endless.
const mostVisited = 10_000

// visit reads everything below a path.
func (f *folders) visit(path string, node *site.Node) {
	if f.visited++; f.visited > mostVisited {
		return
	}
	children, err := f.Below(path, node)
	if err != nil {
		return
	}
	for _, c := range children {
		below := path + "/" + c.Name
		if path == "/" {
			below = "/" + c.Name
		}
		if len(below) < 1024 {
			f.visit(below, c.Node)
		}
	}
}
