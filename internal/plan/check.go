package plan

import (
	"errors"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/site"
)

// Check reads the whole configuration, sub-folders included, and returns every
// problem. It starts nothing. The error is for what cannot be served at all.
func Check(in Input, parts Parts) (config.Problems, error) {
	p, err := Build(in, parts, nil)
	var problems config.Problems
	if errors.As(err, &problems) {
		return problems, nil // the file of the server cannot be used
	}
	if err != nil {
		return nil, err
	}
	for _, s := range p.Sites {
		v := visitor{reader: s.reader}
		s.reader.report = func(found config.Problems) {
			for _, problem := range found {
				p.Problems.Add(problem)
			}
		}
		v.visit("/", s.Applications[0].node)
	}
	p.Problems.Sort()
	return p.Problems, nil
}

// visitor reads all folders of a site.
type visitor struct {
	reader  *reader
	visited int
}

// mostVisited bounds a check of folders that links have made endless.
const mostVisited = 10_000

// visit reads everything below a path.
func (v *visitor) visit(path string, node *site.Node) {
	if v.visited++; v.visited > mostVisited {
		return
	}
	children, err := v.reader.Below(path, node)
	if err != nil {
		return
	}
	for _, c := range children {
		if at := join(path, c.Name); len(at) < 1024 {
			v.visit(at, c.Node)
		}
	}
}
