package edit

import (
	"fmt"
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/config/xmldoc"
)

// walk goes down a path as far as there are elements. It returns the last one
// there is, and the steps that are missing behind it.
func (f *File) walk(location string, p Path) (n *xmldoc.Node, missing []Step, err error) {
	section, depth := sectionOf(p.Steps)
	rest := slices.Clone(p.Steps[depth:])
	if f.section != "" {
		if section == nil || section.Path != f.section {
			return nil, nil, fmt.Errorf("%s is not in %s", p, f.path)
		}
		n = f.doc.Root
	} else if n, missing = f.find(location, p.Steps[:depth]); len(missing) > 0 {
		return n, append(missing, rest...), named(p.Steps[:depth], rest, section)
	}
	if section == nil {
		section = &schema.Section{}
	}
	if source := n.Attr("configSource"); source != nil && (len(rest) > 0 || p.Attribute != "" && p.Attribute != "configSource") {
		return nil, nil, &IncludedError{section.Path, strings.ReplaceAll(source.Value, `\`, "/"), f.doc.Pos(source.Span.Start)}
	}
	e := &section.Element
	for i, s := range rest {
		up := e
		e = inside(up, s.Name)
		all := matching(n, e, s)
		if len(all) > 1 {
			return nil, nil, &AmbiguousError{Path{Steps: p.Steps[:depth+i+1]}.String(),
				f.doc.Pos(all[0].Span.Start), f.doc.Pos(all[1].Span.Start), keys(up, s.Name)}
		}
		if len(all) == 0 {
			return n, rest[i:], namedBelow(p.Steps[:depth+i], rest[i:], up)
		}
		n = all[0]
	}
	return n, nil, nil
}

// sectionOf returns the section that a path leads into, nil if it is none that
// Perch knows, and how many steps lead to it.
func sectionOf(steps []Step) (*schema.Section, int) {
	path, section, depth := "", (*schema.Section)(nil), 0
	plain := 0
	for i, s := range steps {
		if len(s.Where) > 0 {
			break
		}
		plain = i + 1
		if path = strings.TrimPrefix(path+"/"+s.Name, "/"); schema.Builtin().Section(path) != nil {
			section, depth = schema.Builtin().Section(path), i+1
		}
	}
	if section == nil {
		depth = plain
	}
	return section, depth
}

// find looks for a section where it holds for a location. A file may have it
// outside of any <location>, in one for the same path, and its group several
// times; it goes on where it is, and begins where nothing else is said of the
// path.
func (f *File) find(location string, section []Step) (*xmldoc.Node, []Step) {
	folded := fold(location)
	var home *xmldoc.Node
	if folded == "" {
		home = f.doc.Root
	}
	if len(section) == 0 && home != nil {
		return home, nil
	}
	for _, c := range f.doc.Root.Children {
		if c.Name != "location" || c.Kind != xmldoc.ElementNode || fold(pathOf(c)) != folded {
			continue
		}
		if n, missing := descend(c, section); len(missing) == 0 {
			return n, nil
		}
		if home == nil && len(c.Attrs) == 1 {
			home = c
		}
	}
	if home == nil {
		return f.doc.Root, append([]Step{Elem("location", "path", strings.Trim(location, "/"))}, section...)
	}
	return descend(home, section)
}

// pathOf returns the path of a <location>.
func pathOf(n *xmldoc.Node) string {
	if a := n.Attr("path"); a != nil {
		return a.Value
	}
	return ""
}

// fold returns a path of a <location> in the form in which two are compared.
func fold(path string) string {
	if path = strings.Trim(path, "/"); path == "." {
		return ""
	}
	return strings.ToLower(path)
}

// descend goes down by names alone, to where the fewest are missing.
func descend(n *xmldoc.Node, steps []Step) (*xmldoc.Node, []Step) {
	if len(steps) == 0 {
		return n, nil
	}
	best, missing := n, slices.Clone(steps)
	for _, c := range n.Children {
		if c.Kind != xmldoc.ElementNode || c.Name != steps[0].Name {
			continue
		}
		if at, rest := descend(c, steps[1:]); len(rest) < len(missing) {
			best, missing = at, rest
		}
	}
	return best, missing
}

// inside returns the description of an element in e, nil if there is none.
func inside(e *schema.Element, name string) *schema.Element {
	if e == nil {
		return nil
	}
	if c := e.Collection; c != nil && name != "" && (name == c.Add || name == c.Remove) {
		return &c.Entry
	}
	return e.Element(name)
}

// keys returns the attributes that identify the entries that an element of
// that name adds to e, or removes from it; none where it does neither.
func keys(e *schema.Element, name string) []string {
	if e == nil || e.Collection == nil || (name != e.Collection.Add && name != e.Collection.Remove) {
		return nil
	}
	var names []string
	for _, k := range e.Collection.Keys() {
		names = append(names, k.Name)
	}
	return names
}

// matching returns the elements in n that a step fits.
func matching(n *xmldoc.Node, e *schema.Element, s Step) (all []*xmldoc.Node) {
	for _, c := range n.Children {
		if c.Kind == xmldoc.ElementNode && c.Name == s.Name && !slices.ContainsFunc(s.Where, func(a Attr) bool { return !has(c, e, a) }) {
			all = append(all, c)
		}
	}
	return all
}

// has reports whether an element has an attribute with a value, be it by
// default. Values are compared as the schema has them.
func has(n *xmldoc.Node, e *schema.Element, want Attr) bool {
	var def *schema.Attribute
	if e != nil {
		def = e.Attribute(want.Name)
	}
	a := n.Attr(want.Name)
	if def == nil {
		return a != nil && a.Value == want.Value
	}
	wanted, problem := def.Parse(want.Value)
	if problem != nil {
		return a != nil && a.Value == want.Value
	}
	value := def.DefaultValue()
	if a != nil {
		if value, problem = def.Parse(a.Value); problem != nil {
			return false
		}
	} else if def.Default == "" {
		return false
	}
	return def.Comparable(value) == def.Comparable(wanted)
}

// named refuses steps that would make an entry of a collection without saying
// which.
func named(section, steps []Step, s *schema.Section) error {
	if s == nil {
		return nil
	}
	return namedBelow(section, steps, &s.Element)
}

func namedBelow(above, steps []Step, e *schema.Element) error {
	for i, s := range steps {
		if k := keys(e, s.Name); len(k) > 0 && len(s.Where) == 0 {
			return &UnnamedError{Path{Steps: append(slices.Clone(above), steps[:i+1]...)}.String(), k}
		}
		e = inside(e, s.Name)
	}
	return nil
}
