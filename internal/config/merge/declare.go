package merge

import (
	"strings"

	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/config/xmldoc"
)

// declaration is a <section> of <configSections>. Those of applicationHost.config
// say where a section may be set, for all files below it.
type declaration struct {
	where      schema.Where
	deny       bool // files below may not set it
	noLocation bool // it may not stand in a <location>
	src        *xmldoc.Source
	at         int
}

// sectionElement describes <section> as far as it says something to Perch; the
// rest is the business of .NET.
var sectionElement = schema.Element{Name: "section", Attributes: []schema.Attribute{
	{Name: "name", Required: true, NonEmpty: true},
	{Name: "overrideModeDefault", Type: schema.Enum, Default: "Allow", Names: []schema.Name{
		{Name: "Inherit", Number: 0}, {Name: "Allow", Number: 1}, {Name: "Deny", Number: 2},
	}},
	{Name: "allowLocation", Type: schema.Bool, Default: "true"},
	{Name: "allowDefinition", Type: schema.Enum, Default: "Everywhere", Names: []schema.Name{
		{Name: "Everywhere", Number: int64(schema.Everywhere)},
		{Name: "MachineToApplication", Number: int64(schema.ToApplication)},
		{Name: "AppHostOnly", Number: int64(schema.ServerOnly)},
		{Name: "MachineOnly", Number: int64(schema.ServerOnly)},
		{Name: "MachineToWebRoot", Number: int64(schema.ServerOnly)},
		{Name: "MachineToRootWeb", Number: int64(schema.ServerOnly)},
	}},
}}

// declarations collects the sections that <configSections> declares. What
// Perch does not know belongs to the application, or to a module of IIS.
func (l *loader) declarations(n *xmldoc.Node, group string) {
	for _, c := range n.Children {
		name := c.Attr("name")
		switch {
		case name == nil:
		case c.Name == "section":
			l.declaration(c, join(group, name.Value))
		case c.Name == "sectionGroup":
			l.declarations(c, join(group, name.Value))
		}
	}
}

func (l *loader) declaration(n *xmldoc.Node, path string) {
	d := declaration{src: l.src, at: n.Span.Start}
	if l.file.server {
		e := element{schema: &sectionElement}
		for i := range n.Attrs {
			if a := sectionElement.Attribute(n.Attrs[i].Name); a != nil {
				value, problem := a.Parse(n.Attrs[i].Value)
				if problem != nil {
					l.report(n.Attrs[i].ValueSpan.Start, *problem)
					continue
				}
				e.attrs = append(e.attrs, attribute{schema: a, value: value})
			}
		}
		d.deny = e.value("overrideModeDefault").Text == "Deny"
		d.noLocation = !e.value("allowLocation").Bool()
		d.where = schema.Where(e.value("allowDefinition").Number)
	}
	l.file.declared[path] = d
	for end := strings.LastIndexByte(path, '/'); end > 0; end = strings.LastIndexByte(path[:end], '/') {
		l.file.groups[path[:end]] = true
	}
}

// declared reports whether this file or its parent declares a section.
func (l *loader) declared(path string) bool {
	_, here := l.file.declared[path]
	if here || l.parent == nil {
		return here
	}
	_, above := l.parent.declared[path]
	return above
}

// declaredGroup reports whether a declared section stands below path.
func (l *loader) declaredGroup(path string) bool {
	return l.file.groups[path] || (l.parent != nil && l.parent.groups[path])
}
