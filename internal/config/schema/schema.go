// Package schema describes the sections of the configuration as data: which
// attributes, elements and collections a section has, of which types, with
// which defaults and ranges, and which of it Perch obeys. A section is a row
// of a table; none is parsed by code of its own.
//
// It knows no XML and no files. The package merge reads files by these
// tables; documentation may be generated from them.
package schema

//go:generate env UPDATE=1 go test -run TestReference .

import (
	"slices"
	"strings"
)

// Status tells what Perch does with a part of the configuration.
type Status uint8

// The statuses. Only a part that is Done or Known is looked into.
const (
	// Done is read, checked and obeyed.
	Done Status = iota

	// Known would change what IIS does, and Perch goes on without it. It is
	// reported once by name. Its contents are checked, and may be asked for,
	// if they are described.
	Known

	// Ignored means nothing to Perch and is passed over in silence, as are
	// the sections of ASP.NET on .NET Framework.
	Ignored

	// Refused is known, not done, and an error, because Perch would run with
	// values that nobody chose.
	Refused
)

// Section is the description of one section.
type Section struct {
	// Path is the section's name behind the names of its groups, such as
	// "system.webServer/aspNetCore".
	Path string

	// Where tells in which files the section may stand (IIS:
	// allowDefinition).
	Where Where

	// Deny tells that files below applicationHost.config may not set the
	// section unless that file allows it (IIS: overrideModeDefault). The
	// declaration of the section in applicationHost.config counts before it.
	Deny bool

	// Open tells that the declaration in applicationHost.config does not lock
	// the section, whatever it says: IIS ships handlers and modules locked,
	// and the installers that web.config files rely on open them.
	Open bool

	// Element is the section's own element. Its Name is not used.
	// Replaces tells that Perch has a section of its own where
	// applicationHost.config has none, be it an empty one.
	Replaces bool

	Element
}

// Where is where a section may stand.
type Where uint8

// The places.
const (
	Everywhere    Where = iota
	ToApplication       // in applicationHost.config, or at the root of an application (IIS: MachineToApplication)
	ServerOnly          // in applicationHost.config, for the server as a whole (IIS: AppHostOnly)
)

// Name returns the last part of the path, the name of the XML element.
func (s *Section) Name() string { return s.Path[strings.LastIndexByte(s.Path, '/')+1:] }

// Element is the description of an element: a section, an element in it, or
// an entry of a collection.
type Element struct {
	Name       string
	Status     Status
	Restricts  bool // meant to keep somebody out, which the report of a Known part says
	Silent     bool // a Known part that is about IIS's own machinery alone: checked, and not reported
	Attributes []Attribute
	Elements   []Element // each may stand there once
	Collection *Collection

	// Whole tells that as a default the element counts as a whole: an entry
	// that has the element takes nothing from it. See Collection.Defaults.
	Whole bool
}

// Described reports whether it is known what may stand in e. A Known or
// Ignored element that is not described may hold anything.
func (e *Element) Described() bool {
	return e.Status == Done || len(e.Attributes) > 0 || len(e.Elements) > 0 || e.Collection != nil
}

// Attribute returns the description of an attribute, or nil.
func (e *Element) Attribute(name string) *Attribute {
	for i := range e.Attributes {
		if e.Attributes[i].Name == name {
			return &e.Attributes[i]
		}
	}
	return nil
}

// Element returns the description of an element in e, or nil.
func (e *Element) Element(name string) *Element {
	for i := range e.Elements {
		if e.Elements[i].Name == name {
			return &e.Elements[i]
		}
	}
	return nil
}

// AttributeNames returns the names of e's attributes, in order.
func (e *Element) AttributeNames() []string {
	names := make([]string, len(e.Attributes))
	for i := range e.Attributes {
		names[i] = e.Attributes[i].Name
	}
	return names
}

// ElementNames returns the names of all elements that may stand in e, those
// of a collection first.
func (e *Element) ElementNames() []string {
	var names []string
	if c := e.Collection; c != nil {
		for _, name := range []string{c.Add, c.Remove, c.Clear} {
			if name != "" {
				names = append(names, name)
			}
		}
	}
	for i := range e.Elements {
		names = append(names, e.Elements[i].Name)
	}
	return names
}

// Collection is the description of a list of entries that is inherited and
// changed by directives.
type Collection struct {
	// Add, Remove and Clear are the element names of the directives. A
	// collection without such a directive has an empty name.
	Add, Remove, Clear string

	// Entry describes what Add adds. The attributes that are Key identify an
	// entry; without any, entries are all different.
	Entry Element

	// AllowDuplicates lets several entries have one key.
	AllowDuplicates bool

	// Replace lets an entry take the place of the one that has its key (IIS:
	// mergeElement="false").
	Replace bool

	// Closed tells that without an entry nobody gets in. As long as that is
	// not obeyed, it is reported where a file takes the last entry away.
	Closed bool

	// Defaults names an element with values for the entries that do not set
	// them, such as "siteDefaults". It stands beside the entries, or in an
	// element around them; of several the nearest that sets a value counts.
	Defaults string

	// Prepend puts the entries of a file in front of the inherited ones
	// (IIS: mergeAppend="false").
	Prepend bool

	// Own describes what the attribute value may be in entries with names of
	// Perch's own, which begin with OwnPrefix: the name is that of the
	// attribute. Another name with that beginning is an error; all other
	// names, and their values, are the business of whoever reads them.
	Own []Attribute
}

// OwnPrefix begins the names of settings that Perch adds to lists of names and
// values, so that none of them can be one of IIS.
const OwnPrefix = "perch."

// Setting returns the description of a setting of our own, or nil. Letter case
// does not matter.
func (c *Collection) Setting(name string) *Attribute {
	for i := range c.Own {
		if strings.EqualFold(c.Own[i].Name, name) {
			return &c.Own[i]
		}
	}
	return nil
}

// Keys returns the attributes that identify an entry.
func (c *Collection) Keys() []*Attribute {
	var keys []*Attribute
	for i := range c.Entry.Attributes {
		if c.Entry.Attributes[i].Key {
			keys = append(keys, &c.Entry.Attributes[i])
		}
	}
	return keys
}

// Table is all sections that are known. It does not change.
type Table []Section

// Section returns the description of a section, or nil.
func (t Table) Section(path string) *Section {
	for i := range t {
		if t[i].Path == path {
			return &t[i]
		}
	}
	return nil
}

// Group reports whether path is a group: an element that holds sections or
// further groups. An Ignored section may be a group as well: then what it
// holds is ignored but for the sections that are in the table.
func (t Table) Group(path string) bool {
	return slices.ContainsFunc(t, func(s Section) bool {
		return len(s.Path) > len(path) && s.Path[len(path)] == '/' && strings.HasPrefix(s.Path, path)
	})
}

// Ignores reports whether path, or a group around it, is an Ignored section.
func (t Table) Ignores(path string) bool {
	for end := len(path); end > 0; end = strings.LastIndexByte(path[:end], '/') {
		if s := t.Section(path[:end]); s != nil {
			return s.Status == Ignored
		}
	}
	return false
}

// Members returns the names of sections and groups that may stand in a group,
// and at the top of a file for the group "".
func (t Table) Members(group string) []string {
	if group != "" {
		group += "/"
	}
	var names []string
	for i := range t {
		rest, ok := strings.CutPrefix(t[i].Path, group)
		if !ok {
			continue
		}
		name, _, _ := strings.Cut(rest, "/")
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Homes returns the groups that have a section of that name, for the hint to
// somebody who put it into another place.
func (t Table) Homes(name string) []string {
	var homes []string
	for i := range t {
		if group, ok := strings.CutSuffix(t[i].Path, "/"+name); ok {
			homes = append(homes, group)
		}
	}
	return homes
}
