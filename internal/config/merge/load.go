// Package merge reads configuration files by the tables of the package schema
// and merges them into the settings that hold at one URL path: inheritance
// through files and <location>, collections with add, remove and clear, locks,
// variables, and the file, line and column that every value came from.
//
// It is the last step of reading configuration. internal/plan asks it for
// settings; commands that check or explain may. It opens no file itself.
package merge

import (
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/config/xmldoc"
)

// File is one configuration file, read and found free of errors. It does not
// change and may be used by several goroutines and in several places of the
// tree at once.
type File struct {
	path     string
	server   bool // an applicationHost.config
	table    schema.Table
	scopes   []*scope               // in the order of the file
	declared map[string]declaration // by the path of the section
	groups   map[string]bool        // that hold declared sections
	includes []string
}

// Path returns the name that the file was loaded under.
func (f *File) Path() string { return f.path }

// Includes returns the files that a configSource names, relative to the folder
// of the file and with slashes, whether they could be read or not.
func (f *File) Includes() []string { return f.includes }

// Locations returns the paths that the file has a <location> for, relative to
// the folder it is in, without doubles and in the order of the file. The
// folder itself is not among them.
func (f *File) Locations() []string {
	var paths []string
	seen := map[string]bool{"": true}
	for _, s := range f.scopes {
		if !seen[s.folded] {
			seen[s.folded] = true
			paths = append(paths, s.path)
		}
	}
	return paths
}

// AtLocation completes a problem with the place of the first <location> that
// the file has for a path.
func (f *File) AtLocation(path string, p config.Problem) config.Problem {
	for _, s := range f.scopes {
		if s.src != nil && s.folded == fold(path) {
			return s.src.At(s.at, p)
		}
	}
	return p
}

// scope is the sections that stand in one <location>, or outside of any.
type scope struct {
	path     string // relative to the folder of the file, without slashes at its ends; "" is the folder
	folded   string // the same as it is compared
	location bool   // a <location>, and not the file outside of any
	inherit  bool   // also holds in child applications
	src      *xmldoc.Source
	at       int // offset in src of the <location>
	override override
	sections []definition
	notDone  config.Problems // warnings, one for every name
}

// override tells whether files further down may set the sections of a scope.
type override uint8

const (
	overrideInherit override = iota // as the files above have it
	overrideAllow
	overrideDeny
)

// definition is one section in one scope.
type definition struct {
	schema  *schema.Section
	element *element
}

// Source is a configuration file that is to be loaded.
type Source struct {
	// Path is what problems call the file.
	Path string

	// Data is its content, which the File does not hold on to.
	Data []byte

	// Server tells that it is an applicationHost.config: sections of the
	// server as a whole may stand in it, and the path of a <location> begins
	// with the name of a site.
	Server bool

	// Parent is the applicationHost.config above a web.config, or nil. The
	// sections that it declares may stand in the web.config.
	Parent *File

	// Open reads a file that a configSource names, by its name relative to
	// the folder of this file, with slashes and without dot segments. Nil: a
	// configSource is an error.
	Open func(name string) ([]byte, error)

	// Every has every error told, and not the first config.MaxErrors: for who
	// compares them.
	Every bool
}

// Load reads a web.config. See Source.Load.
func Load(path string, data []byte) (*File, config.Problems) {
	return Source{Path: path, Data: data}.Load()
}

// Load reads a file. The problems are errors, and warnings of what Perch knows
// and does not do yet, one for every name. The File is nil if there is an
// error.
func (s Source) Load() (*File, config.Problems) { return s.load(schema.Builtin()) }

// load is Load with the sections of another table.
func (s Source) load(table schema.Table) (*File, config.Problems) {
	doc, problems := xmldoc.Parse(s.Path, s.Data)
	if doc == nil || doc.Root == nil || !doc.Whole {
		return nil, problems // a torn tree would only mislead
	}
	doc.Source.Every = s.Every
	l := &loader{
		reader: reader{
			file: &File{path: s.Path, server: s.Server, table: table, declared: map[string]declaration{}, groups: map[string]bool{}}, src: doc.Source, problems: problems,
		},
		parent:  s.Parent,
		open:    s.Open,
		defined: map[string]int{},
	}
	l.root(doc.Root)
	l.warn()
	l.problems.Sort()
	if l.problems.HasErrors() {
		return nil, l.problems
	}
	return l.file, l.problems
}

// loader finds the sections of a file.
type loader struct {
	reader
	parent   *File
	open     func(string) ([]byte, error)
	included bool           // what is read is the file that a configSource names
	defined  map[string]int // where a section was seen, by scope and section path
}

// warn reports what is not done, once for every name in the file.
func (l *loader) warn() {
	seen := map[string]bool{}
	for _, s := range l.file.scopes {
		for _, p := range s.notDone {
			if !seen[p.Subject] {
				seen[p.Subject] = true
				l.problems.Add(p)
			}
		}
	}
}

func (l *loader) root(n *xmldoc.Node) {
	if n.Name != "configuration" {
		p := config.Problem{Code: config.WrongRoot, Message: "the root element is <" + n.Name + ">", Expected: "<configuration>"}
		if l.file.table.Section(n.Name) != nil || l.file.table.Group(n.Name) {
			p.Hint = "put <" + n.Name + "> into <configuration>"
		}
		l.report(n.Span.Start, p)
		return
	}
	l.attributes(n, &schema.Element{Name: n.Name}, "", false)
	for _, c := range n.Children {
		if c.Name == "configSections" && c.Kind == xmldoc.ElementNode {
			l.declarations(c, "")
		}
	}
	own := &scope{inherit: true}
	l.file.scopes = append(l.file.scopes, own)
	l.group(n, "", own)
}

// group reads the sections in a group, or in the file as a whole for the path
// "", into a scope.
func (l *loader) group(n *xmldoc.Node, path string, s *scope) {
	for _, c := range n.Children {
		ignored := path != "" && l.file.table.Ignores(path)
		if c.Kind != xmldoc.ElementNode {
			if !ignored {
				l.text(c, n)
			}
			continue
		}
		child := join(path, c.Name)
		section := l.file.table.Section(child)
		switch {
		case c.Name == "location":
			l.location(c, path == "" && n.Name == "configuration")
		case child == "configSections" && n.Name == "configuration": // see declarations
		case section != nil && (section.Status != schema.Ignored || !l.file.table.Group(child)):
			l.section(c, section, s)
		case l.file.table.Group(child):
			if section == nil {
				l.attributes(c, &schema.Element{Name: c.Name}, "", false)
			}
			l.group(c, child, s)
		case ignored:
		case l.declared(child):
			if l.file.server || strings.HasPrefix(child, "system.webServer/") {
				l.notDone(s, c.Span.Start, child, false)
			}
		case l.declaredGroup(child):
			l.group(c, child, s)
		default:
			l.unknownSection(c, path)
		}
	}
}

func (l *loader) unknownSection(n *xmldoc.Node, group string) {
	if l.src.Full(l.problems) {
		return
	}
	p := config.Problem{Code: config.UnknownSection, Message: "unknown section <" + n.Name + ">"}
	if group != "" {
		p.Message += " in <" + group[strings.LastIndexByte(group, '/')+1:] + ">"
	}
	members := l.file.table.Members(group)
	if group == "" {
		members = append(members, "location", "configSections")
	}
	near := config.Nearest(n.Name, members)
	switch homes := l.file.table.Homes(n.Name); {
	case len(homes) > 0:
		p.Hint = "<" + n.Name + "> stands in <" + strings.ReplaceAll(homes[0], "/", "><") + ">"
	case near != "":
		p.Hint = "did you mean <" + near + ">?"
	default:
		p.Hint = "a section of another program is declared in <configSections>"
	}
	l.report(n.Span.Start, p)
}

// locationElement describes <location>.
var locationElement = schema.Element{Name: "location", Attributes: []schema.Attribute{
	{Name: "path"},
	{Name: "inheritInChildApplications", Type: schema.Bool, Default: "true"},
	{Name: "allowOverride", Type: schema.Bool, Default: "true"},
	{Name: "overrideMode", Type: schema.Enum, Default: "Inherit", Names: []schema.Name{
		{Name: "Inherit", Number: int64(overrideInherit)},
		{Name: "Allow", Number: int64(overrideAllow)},
		{Name: "Deny", Number: int64(overrideDeny)},
	}},
}}

// location reads a <location>. proper tells that it stands where it may.
func (l *loader) location(n *xmldoc.Node, proper bool) {
	if !proper {
		l.report(n.Span.Start, config.Problem{
			Code: config.NestedLocation, Message: "<location> may not stand inside another element", Expected: "<location> directly in <configuration>",
		})
		return
	}
	e := element{schema: &locationElement, src: l.src, at: n.Span.Start, attrs: l.attributes(n, &locationElement, "", false)}
	mode := e.value("overrideMode")
	s := &scope{location: true, src: l.src, at: n.Span.Start, inherit: e.value("inheritInChildApplications").Bool(), override: override(mode.Number)}
	if legacy := e.attr("allowOverride"); legacy != nil {
		s.override = overrideAllow
		if !legacy.value.Bool() {
			s.override = overrideDeny
		}
		if e.attr("overrideMode") != nil {
			l.report(legacy.at, config.Problem{
				Code: config.BadLocation, Message: "overrideMode and allowOverride on one <location>", Hint: "keep overrideMode; allowOverride is its old form",
			})
		}
	}
	if a := n.Attr("path"); a != nil {
		s.path = l.locationPath(a)
	}
	s.folded = fold(s.path)
	l.file.scopes = append(l.file.scopes, s)
	l.group(n, "", s)
}

// locationPath returns the path of a <location> without slashes at its ends;
// "." and "" are the folder of the file itself.
func (l *loader) locationPath(a *xmldoc.Attr) string {
	bad := func(message, hint string) string {
		l.report(a.ValueSpan.Start, config.Problem{
			Code: config.BadLocation, Message: message, Expected: `a relative path such as "admin" or "docs/private/file.html"`, Hint: hint,
		})
		return ""
	}
	path := a.Value
	if path == "." || path == "" {
		return ""
	}
	switch {
	case strings.HasPrefix(path, "/"):
		return bad("the path of a <location> begins with a slash", "it is relative to the folder of the file; write "+strings.TrimLeft(path, "/"))
	case strings.ContainsAny(path, `\`):
		return bad("the path of a <location> has a backslash", "write /")
	case strings.ContainsAny(path, `*?"<>|`):
		return bad("the path of a <location> has a wildcard or a character that no path has", "a <location> holds for everything below its path without one")
	}
	path = strings.TrimSuffix(path, "/")
	for part := range strings.SplitSeq(path, "/") {
		if part == "" || part == "." || part == ".." {
			return bad("the path of a <location> has an empty or a dot segment", "")
		}
	}
	return path
}

// section reads one section into a scope.
func (l *loader) section(n *xmldoc.Node, section *schema.Section, s *scope) {
	switch {
	case section.Where != schema.ServerOnly:
	case !l.file.server:
		l.report(n.Span.Start, config.Problem{
			Code: config.WrongFile, Message: "<" + n.Name + "> may not stand in this file", Expected: section.Path + " in applicationHost.config",
		})
		return
	case s.path != "":
		l.report(n.Span.Start, config.Problem{
			Code: config.WrongFile, Message: "<" + n.Name + "> may not be set for a part of the server", Expected: section.Path + " outside of any <location>",
		})
		return
	}
	if section.Status == schema.Ignored {
		return
	}
	key := s.folded + " " + section.Path
	if first, twice := l.defined[key]; twice {
		l.report(n.Span.Start, config.Problem{
			Code: config.SectionTwice, Message: "<" + n.Name + "> is given twice for one path",
			Hint: "it stands in line " + itoa(l.src.Pos(first).Line) + " already; put both together",
		})
		return
	}
	l.defined[key] = n.Span.Start
	l.scope, l.about = s, section.Path
	defer func() { l.about = "" }()
	if e := l.content(n, section); e != nil {
		e.settle()
		s.sections = append(s.sections, definition{section, e})
	}
}

// content reads a section's own element. It is nil if it cannot be read.
func (l *loader) content(n *xmldoc.Node, section *schema.Section) *element {
	if source := n.Attr("configSource"); source != nil {
		return l.include(n, source, section)
	}
	if section.Status == schema.Known && !l.known(n, &section.Element, section.Path) {
		return &element{schema: &section.Element, src: l.src, at: n.Span.Start} // it may be locked all the same
	}
	return l.element(n, &section.Element, section.Path, true)
}

// join puts a name behind the path of its group.
func join(group, name string) string {
	if group == "" {
		return name
	}
	return group + "/" + name
}

// fold returns a URL path or a path of a <location> in the form in which two
// of them are compared: without slashes at its ends and without letter case.
func fold(path string) string { return strings.ToLower(strings.Trim(path, "/")) }
