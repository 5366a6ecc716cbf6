package merge

import (
	"slices"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/schema"
)

// Settings are the settings that hold at one URL path. They do not change and
// may be used by several goroutines.
type Settings struct {
	table    schema.Table
	server   bool // for the server as a whole
	sections map[string]*element
	notDone  config.Problems
}

// Section returns a section by its path: "system.webServer/aspNetCore". It
// panics if the schema has no such section, or does not describe it, and when
// a section of the server is asked for elsewhere: that is a mistake in the
// program and not in a file.
func (s *Settings) Section(path string) Element {
	section := s.table.Section(path)
	if section == nil || section.Status == schema.Ignored || !section.Described() {
		panic("merge: no section " + path + " in the schema")
	}
	if section.Where == schema.ServerOnly && !s.server {
		panic("merge: " + path + " is asked for at another path than the server's")
	}
	return elementOf(&section.Element, s.sections[path])
}

// Sections returns the paths of the sections that may be asked for and that
// some file has, in the order of the schema.
func (s *Settings) Sections() []string {
	var paths []string
	for i := range s.table {
		if e := s.sections[s.table[i].Path]; e != nil && s.table[i].Described() {
			paths = append(paths, s.table[i].Path)
		}
	}
	return paths
}

// NotDone returns a warning for everything that is set at this path and that
// Perch knows and does not do yet, once for every name in every file and
// <location> that sets it. Problem.Subject is the name, for a caller that
// reports it once.
func (s *Settings) NotDone() config.Problems { return s.notDone }

// Element is a section, an element in it, or an entry of a collection, with
// the values that hold. Its methods panic on a name that the schema does not
// have: that is a mistake in the program.
type Element struct {
	// Present tells that some file has the element. One that is not present
	// has its defaults.
	Present bool

	e *element
}

// elementOf returns e, or what stands for it if e is nil.
func elementOf(s *schema.Element, e *element) Element {
	if e == nil {
		return Element{false, &element{schema: s}}
	}
	return Element{true, e}
}

// Schema returns the description of e, for a caller that tells everything that
// is set. What it says is Secret must not be shown.
func (e Element) Schema() *schema.Element { return e.e.schema }

// Pos returns where the element begins in the last file that has it, and the
// zero Pos if it is not present.
func (e Element) Pos() config.Pos {
	if !e.Present {
		return config.Pos{}
	}
	return e.e.src.Pos(e.e.at)
}

// Attribute is an attribute's value and where it came from.
type Attribute struct {
	schema.Value

	// Set tells that a file sets it, be it to the default. Pos is the place
	// of that, and zero for a default.
	Set bool
	Pos config.Pos
}

// Attribute returns an attribute as set, or its default.
func (e Element) Attribute(name string) Attribute {
	s := e.e.schema.Attribute(name)
	if s == nil {
		panic("merge: no attribute " + name + " in the schema")
	}
	if a := e.e.attr(name); a != nil {
		return Attribute{a.value, true, a.src.Pos(a.at)}
	}
	return Attribute{Value: s.DefaultValue()}
}

// Problem completes p with its severity and with the place and the source line
// of an attribute, or of the element where no file sets that, or none is
// named.
func (e Element) Problem(attribute string, p config.Problem) config.Problem {
	if !e.Present {
		p.Severity = p.Code.Explain().Severity
		return p
	}
	src, at := e.e.src, e.e.at
	if a := e.e.attr(attribute); a != nil {
		src, at = a.src, a.at
	}
	return src.At(at, p)
}

// typed returns the value of an attribute that has one of the types.
func (e Element) typed(name string, types ...schema.Type) schema.Value {
	s := e.e.schema.Attribute(name)
	switch {
	case s == nil:
		panic("merge: no attribute " + name + " in the schema")
	case !slices.Contains(types, s.Type):
		panic("merge: the attribute " + name + " has another type in the schema")
	}
	if a := e.e.attr(name); a != nil {
		return a.value
	}
	return s.DefaultValue()
}

// Text returns the value of a string with its variables resolved, or the
// proper spelling of an enum or of flags.
func (e Element) Text(name string) string {
	return e.typed(name, schema.String, schema.Enum, schema.Flags).Text
}

// Bool returns the value of a bool.
func (e Element) Bool(name string) bool { return e.typed(name, schema.Bool).Bool() }

// Int returns the value of an int, a uint, an int64, an enum or flags.
func (e Element) Int(name string) int64 {
	return e.typed(name, schema.Int, schema.Uint, schema.Int64, schema.Enum, schema.Flags).Number
}

// Duration returns the value of a timeSpan.
func (e Element) Duration(name string) time.Duration {
	return e.typed(name, schema.TimeSpan).Duration()
}

// Child returns an element inside e.
func (e Element) Child(name string) Element {
	s := e.e.schema.Element(name)
	if s == nil {
		panic("merge: no element " + name + " in the schema")
	}
	return elementOf(s, e.e.child(name))
}

// Setting returns the value of a setting of Perch's own among e's entries (see
// schema.Collection.Own), or its default. Of two the first counts.
func (e Element) Setting(name string) schema.Value {
	own := e.e.schema.Collection.Setting(name)
	for _, entry := range e.Entries() {
		if strings.EqualFold(entry.Text("name"), name) {
			value, _ := own.Parse(entry.Text("value"))
			return value
		}
	}
	return own.DefaultValue()
}

// Entries returns the entries of e's collection in the order that holds. What
// an entry does not set it has from the elements with defaults for it, such as
// applicationDefaults, with the place of that; see schema.Collection.Defaults.
func (e Element) Entries() []Element {
	if e.e.schema.Collection == nil {
		panic("merge: no collection in " + e.e.schema.Name + " in the schema")
	}
	entries := make([]Element, len(e.e.entries))
	for i, d := range e.e.entries {
		entries[i] = Element{true, d.entry}
	}
	return entries
}
