package edit

import (
	"slices"

	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/config/xmldoc"
)

// around returns the outermost element that is as good as not there without n:
// n itself, or one that has nothing but n in it.
func (f *File) around(n *xmldoc.Node) *xmldoc.Node {
	chain := f.chain(n)
	for i := len(chain) - 2; i > 0; i-- {
		if !bare(chain[i], "") || !hollow(chain[i], n) || !f.silent(chain[:i+1]) {
			break
		}
		n = chain[i]
	}
	return n
}

// bare reports whether an element has no attribute but one, which may be none,
// and the path that a <location> is for.
func bare(n *xmldoc.Node, but string) bool {
	return !slices.ContainsFunc(n.Attrs, func(a xmldoc.Attr) bool {
		return a.Name != but && !(n.Name == "location" && a.Name == "path")
	})
}

// chain returns the elements that n is in, from the root on, and n.
func (f *File) chain(n *xmldoc.Node) []*xmldoc.Node {
	chain := []*xmldoc.Node{f.doc.Root}
	for up := f.doc.Root; up != n; chain = append(chain, up) {
		i := slices.IndexFunc(up.Children, func(c *xmldoc.Node) bool { return c.Span.End >= n.Span.End })
		up = up.Children[i]
	}
	return chain
}

// hollow reports whether an element has nothing in it but white space and one
// child, which may be nil.
func hollow(n, but *xmldoc.Node) bool {
	return !slices.ContainsFunc(n.Children, func(c *xmldoc.Node) bool { return c != but && !c.Blank() })
}

// silent reports whether the last element of a chain says nothing by being
// there. Others do: the entries of a collection, a section in a <location>
// that locks it, or one that stands for Perch's own, and an element that
// counts as a whole.
func (f *File) silent(chain []*xmldoc.Node) bool {
	var steps []Step
	for _, n := range chain[1:] {
		steps = append(steps, Step{Name: n.Name})
	}
	home := steps[0].Name == "location" && f.section == ""
	if home {
		if steps = steps[1:]; len(steps) == 0 {
			return true
		}
	}
	section, depth := schema.Builtin().Section(f.section), 0
	if f.section == "" {
		section, depth = sectionOf(steps)
	}
	switch {
	case section == nil:
		path := ""
		for _, s := range steps {
			path += "/" + s.Name
		}
		return schema.Builtin().Group(path[1:])
	case depth == len(steps):
		return section.Described() && !section.Replaces && !(home && (chain[1].Attr("overrideMode") != nil || chain[1].Attr("allowOverride") != nil))
	}
	e := &section.Element
	last := len(steps) - 1
	for _, s := range steps[depth:last] {
		e = inside(e, s.Name)
	}
	if e == nil {
		return false
	}
	e = e.Element(steps[last].Name)
	return e != nil && !e.Whole
}
