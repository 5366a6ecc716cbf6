package merge

import (
	"path/filepath"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/config/xmldoc"
)

// include reads the contents of a section from the file that its configSource
// names, and returns nil if it cannot. A file that is included includes
// nothing itself, so there are no cycles.
func (l *loader) include(n *xmldoc.Node, source *xmldoc.Attr, section *schema.Section) *element {
	bad := func(message, hint string) *element {
		l.report(source.Span.Start, config.Problem{
			Code: config.BadInclude, Message: message, Expected: `a file in the folder of this one or below it, such as "sites.config"`, Hint: hint,
		})
		return nil
	}
	if l.included {
		return bad("a file that is included includes another one", "write the values into this file, or name the other one where this one is named")
	}
	if len(n.Attrs) > 1 || holdsSomething(n) {
		return bad("<"+n.Name+"> has a configSource and something else", "move all of it to the file that configSource names")
	}
	name := strings.ReplaceAll(source.Value, `\`, "/")
	if !filepath.IsLocal(filepath.FromSlash(name)) || strings.Contains(name, ":") {
		return bad("configSource leads out of the folder of this file", "")
	}
	name = filepath.ToSlash(filepath.Clean(filepath.FromSlash(name)))
	if l.open == nil {
		l.report(source.Span.Start, config.Problem{
			Code: config.NotDoneRefused, Subject: section.Path + "/@configSource", Message: "configSource is not followed here",
			Hint: "write the values into <" + n.Name + "> itself",
		})
		return nil
	}
	l.file.includes = append(l.file.includes, name)
	data, err := l.open(name)
	if err != nil {
		return bad("the file that configSource names cannot be read: "+err.Error(), "")
	}
	path := filepath.Join(filepath.Dir(l.file.path), filepath.FromSlash(name))
	doc, problems := xmldoc.Parse(path, data)
	if !l.src.Full(l.problems) {
		l.problems = append(l.problems, problems...)
	}
	if doc == nil || doc.Root == nil || !doc.Whole {
		return nil
	}
	outer := l.src
	doc.Source.Every = outer.Every
	l.src, l.included = doc.Source, true
	defer func() { l.src, l.included = outer, false }()
	if doc.Root.Name != n.Name {
		l.report(doc.Root.Span.Start, config.Problem{
			Code: config.BadInclude, Message: "the root element of an included file is <" + doc.Root.Name + ">", Expected: "<" + n.Name + ">, the section that includes it",
		})
		return nil
	}
	return l.content(doc.Root, section)
}

// holdsSomething reports whether more than comments and white space stands in
// an element.
func holdsSomething(n *xmldoc.Node) bool {
	for _, c := range n.Children {
		if c.Kind == xmldoc.ElementNode || ((c.Kind == xmldoc.TextNode || c.Kind == xmldoc.CDATANode) && !c.Blank()) {
			return true
		}
	}
	return false
}
