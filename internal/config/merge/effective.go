package merge

import (
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/schema"
)

// Layer is a file at a place in the tree of URL paths.
type Layer struct {
	// File is nil for a folder without one, which matters where a child
	// application begins.
	File *File

	// At is the configuration path of what the file is for. With one site
	// alone it is the URL path of the folder that holds the file: "/",
	// "/shop". With an applicationHost.config, which is at "", it is the name
	// of the site with the URL path behind it: "Default Web Site/shop".
	At string

	// Application tells that an application begins at At. What its parents
	// set with inheritInChildApplications="false" ends there.
	Application bool
}

// Effective merges the layers, the outermost first, into the settings that
// hold at a configuration path (see Layer.At) with its URL path decoded and
// normalised. Layers that do not hold it are passed over, so one list may
// serve for many paths. Paths are compared by segments and without letter
// case. The sections of the server as a whole are there at the path "" alone.
//
// env resolves the %NAME% of values; names that it does not know stay as they
// are. It may be nil. Variables that are for a later time, such as
// %HTTP_PLATFORM_PORT%, must not be known to it.
//
// Settings is nil if there is an error. Every problem names the file that has
// to be mended, which is the lower one where two files do not fit.
func Effective(layers []Layer, at string, env func(name string) (string, bool)) (*Settings, config.Problems) {
	m := &merger{env: env, sections: map[string]*element{}, locks: map[string]lock{}}
	settings := &Settings{table: schema.Builtin(), sections: m.sections}
	for _, l := range layers {
		if l.File != nil {
			settings.table = l.File.table
			break
		}
	}
	settings.server = fold(at) == ""
	for _, c := range contributions(layers, at) {
		for _, d := range c.scope.sections {
			if settings.server || !d.schema.ServerOnly {
				m.section(c, d)
			}
		}
		settings.note(c.scope.notDone)
	}
	for path, e := range m.sections {
		if settings.table.Section(path).ServerOnly {
			m.sections[path] = withDefaults(e, nil)
		}
		m.required(e, path)
	}
	m.problems.Sort()
	if m.problems.HasErrors() {
		return nil, m.problems
	}
	return settings, m.problems
}

// contribution is a scope that holds at the path in question.
type contribution struct {
	rank  int // of its layer
	level int // how many segments the path has that it applies to
	*scope
}

// contributions returns the scopes that hold at a path in the order in which
// they apply: what applies to a longer path comes later, and of one path the
// file further down. So a <location> higher up is overridden by the file in
// the folder that it names, and overrides the files above that folder.
func contributions(layers []Layer, at string) []contribution {
	path := fold(at)
	var found []contribution
	for rank, layer := range layers {
		if layer.File == nil {
			continue
		}
		for _, s := range layer.File.scopes {
			target := fold(fold(layer.At) + "/" + s.path)
			if !within(path, target) || (!s.inherit && crosses(layers, path, target)) {
				continue
			}
			found = append(found, contribution{rank, segments(target), s})
		}
	}
	slices.SortStableFunc(found, func(a, b contribution) int { return a.level - b.level })
	return found
}

// crosses reports whether a child application begins on the way from target
// down to path.
func crosses(layers []Layer, path, target string) bool {
	return slices.ContainsFunc(layers, func(l Layer) bool {
		at := fold(l.At)
		return l.Application && at != target && within(at, target) && within(path, at)
	})
}

// within reports whether a folded path is a folder or lies in it.
func within(path, folder string) bool {
	return folder == "" || path == folder || strings.HasPrefix(path, folder+"/")
}

// segments counts the segments of a folded path.
func segments(path string) int {
	if path == "" {
		return 0
	}
	return 1 + strings.Count(path, "/")
}

// merger puts sections together.
type merger struct {
	env      func(string) (string, bool)
	sections map[string]*element // by path, as merged so far
	locks    map[string]lock
	problems config.Problems
}

// lock says which layer locked a section, and where.
type lock struct {
	rank int
	by   *element
}

// section lets a definition change the section merged so far.
func (m *merger) section(c contribution, d definition) {
	path := d.schema.Path
	if l, locked := m.locks[path]; locked && c.rank > l.rank {
		m.report(d.element, config.Problem{
			Code: config.LockedSection, Message: path + " is locked", Hint: "it is locked in " + l.by.src.Pos(l.by.at).String(),
		})
		return
	}
	if _, locked := m.locks[path]; !locked && c.override == overrideDeny {
		m.locks[path] = lock{c.rank, d.element}
	}
	m.sections[path] = m.merge(m.sections[path], d.element)
}

func (m *merger) report(e *element, p config.Problem) { e.src.Report(&m.problems, e.at, p) }

// merge returns what base, which may be nil, becomes by over. It changes
// neither.
func (m *merger) merge(base, over *element) *element {
	if base == nil {
		base = &element{}
	}
	out := &element{schema: over.schema, src: over.src, at: over.at, attrs: slices.Clone(base.attrs)}
	for _, a := range over.attrs {
		if a.schema.Expanded {
			a.value.Text = m.expand(a.value.Text)
		}
		if old := out.attr(a.schema.Name); old != nil {
			*old = a
		} else {
			out.attrs = append(out.attrs, a)
		}
	}
	for _, c := range base.children {
		if over.child(c.schema.Name) == nil {
			out.children = append(out.children, c)
		}
	}
	for _, c := range over.children {
		out.children = append(out.children, m.merge(base.child(c.schema.Name), c))
	}
	out.entries = m.entries(over.schema.Collection, base.entries, over.entries)
	out.cleared = base.cleared || slices.ContainsFunc(over.entries, func(d directive) bool { return d.verb == clear })
	return out
}

// entries lets the directives of one file change the entries inherited.
func (m *merger) entries(c *schema.Collection, inherited, directives []directive) []directive {
	if len(directives) == 0 {
		return inherited
	}
	inherited = slices.Clone(inherited)
	var own []directive
	byKey := map[string]*element{} // the entries there are
	for _, d := range inherited {
		byKey[keyOf(c, d.entry)] = d.entry
	}
	for _, d := range directives {
		if d.entry != nil {
			d.entry = m.merge(nil, d.entry)
		}
		key := keyOf(c, d.entry)
		switch d.verb {
		case clear:
			inherited, own, byKey = nil, nil, map[string]*element{}
		case remove:
			if byKey[key] != nil {
				same := func(x directive) bool { return keyOf(c, x.entry) == key }
				inherited, own = slices.DeleteFunc(inherited, same), slices.DeleteFunc(own, same)
				delete(byKey, key)
			}
		case add:
			if first := byKey[key]; first != nil && key != "" && !c.AllowDuplicates {
				m.duplicate(c, d.entry, first)
			}
			byKey[key] = d.entry
			own = append(own, d)
		}
	}
	all := append(inherited, own...)
	if c.Prepend {
		all = append(own, inherited...)
	}
	m.unique(c, all)
	return all
}

// unique reports entries that share a value which has to be their own.
func (m *merger) unique(c *schema.Collection, entries []directive) {
	for i := range c.Entry.Attributes {
		s := &c.Entry.Attributes[i]
		if !s.Unique {
			continue
		}
		first := map[string]*attribute{}
		for _, d := range entries {
			a := d.entry.attr(s.Name)
			if a == nil {
				continue
			}
			key := s.Comparable(a.value)
			if f := first[key]; f != nil {
				a.src.Report(&m.problems, a.at, config.Problem{
					Code: config.DuplicateKey, Message: s.Name + " is " + a.value.Text + " here and in another <" + c.Add + ">",
					Expected: "an " + s.Name + " of its own for every <" + c.Add + ">", Hint: "the other is in " + f.src.Pos(f.at).String(),
				})
				continue
			}
			first[key] = a
		}
	}
}

// duplicate reports an entry e whose key the entry first has already.
func (m *merger) duplicate(c *schema.Collection, e, first *element) {
	var keys []string
	for _, k := range c.Keys() {
		keys = append(keys, k.Name+` "`+e.value(k.Name).Text+`"`)
	}
	p := config.Problem{
		Code:    config.DuplicateKey,
		Message: "there is an entry with " + strings.Join(keys, ", ") + " already",
		Hint:    "it comes from " + first.src.Pos(first.at).String(),
	}
	if c.Remove != "" {
		p.Hint += "; put a <" + c.Remove + "> of it before this one"
	}
	m.report(e, p)
}

// keyOf returns the key of an entry as a text, which is empty in a collection
// without keys and for a directive without an entry.
func keyOf(c *schema.Collection, e *element) string {
	if e == nil {
		return ""
	}
	var b strings.Builder
	for i := range c.Entry.Attributes {
		if k := &c.Entry.Attributes[i]; k.Key {
			b.WriteString(k.Comparable(e.value(k.Name)))
			b.WriteByte(0) // which no attribute can have
		}
	}
	return b.String()
}

// required reports the attributes that no file has set, or that expansion has
// made empty. Entries of collections were judged when their file was read.
func (m *merger) required(e *element, section string) {
	for i := range e.schema.Attributes {
		s := &e.schema.Attributes[i]
		a := e.attr(s.Name)
		switch {
		case a == nil && s.Required:
			m.report(e, config.Problem{Code: config.MissingAttribute, Subject: section, Message: "the attribute " + s.Name + " is required here and set nowhere"})
		case a != nil && s.NonEmpty && a.value.Text == "":
			a.src.Report(&m.problems, a.at, config.Problem{
				Code: config.EmptyValue, Subject: section, Message: s.Name + " is empty once its variables are resolved", Expected: "a value",
			})
		}
	}
	for _, c := range e.children {
		m.required(c, section)
	}
}

// expand replaces every %NAME% that env knows. A name that it does not know
// stays as it is, and its second % may begin another name. What comes out is
// not expanded again.
func (m *merger) expand(text string) string {
	if m.env == nil || !strings.Contains(text, "%") {
		return text
	}
	var b strings.Builder
	for {
		before, rest, found := strings.Cut(text, "%")
		b.WriteString(before)
		if !found {
			return b.String()
		}
		name, after, closed := strings.Cut(rest, "%")
		if value, known := m.lookup(name); closed && known {
			b.WriteString(value)
			text = after
			continue
		}
		b.WriteByte('%')
		text = rest
	}
}

func (m *merger) lookup(name string) (string, bool) {
	if name == "" {
		return "", false
	}
	return m.env(name)
}
