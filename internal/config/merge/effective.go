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
	m := newMerger(layers, env)
	settings := &Settings{table: schema.Builtin(), server: fold(at) == "", sections: m.sections}
	for _, l := range layers {
		if l.File != nil {
			settings.table = l.File.table
			break
		}
	}
	for _, c := range contributions(layers, at) {
		for _, d := range c.scope.sections {
			if settings.server || d.schema.Where != schema.ServerOnly {
				m.section(c, d)
			}
		}
		settings.notDone = append(settings.notDone, c.scope.notDone...)
	}
	for path, e := range m.sections {
		if settings.table.Section(path).Where == schema.ServerOnly {
			m.sections[path] = withDefaults(e, nil)
		}
		m.required(e, path)
		if c := e.schema.Collection; c != nil && c.Closed && len(e.entries) == 0 && (e.cleared || e.removed) {
			settings.notDone.Add(e.src.At(e.at, config.Problem{Code: config.NotDoneRestricts, Subject: path,
				Message: path + " has no entry left, which is known, but not done yet: access is not restricted by it"}))
		}
	}
	m.problems.Sort()
	if m.problems.HasErrors() {
		return nil, m.problems
	}
	return settings, m.problems
}

// contribution is a scope that holds at the path in question.
type contribution struct {
	rank   int    // of its layer
	level  int    // how many segments the path has that it applies to
	target string // that path, folded
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
		at := fold(layer.At)
		for _, s := range layer.File.scopes {
			target := s.target(at)
			if !within(path, target) || (!s.inherit && crosses(layers, path, target)) {
				continue
			}
			found = append(found, contribution{rank, segments(target), target, s})
		}
	}
	slices.SortStableFunc(found, func(a, b contribution) int { return a.level - b.level })
	return found
}

// target returns the folded path that a scope applies to in a file at a folded
// path.
func (s *scope) target(at string) string {
	switch {
	case at == "":
		return s.folded
	case s.folded == "":
		return at
	}
	return at + "/" + s.folded
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
	sections map[string]*element    // by path, as merged so far
	locks    map[string]sectionLock // by path
	rank     int                    // of the layer that is being merged
	problems config.Problems

	ranks        map[*File]int // of a file that is there twice, the upper one's
	server       *File         // applicationHost.config, or nil
	serverRank   int
	applications map[string]bool // folded paths where one begins
}

func newMerger(layers []Layer, env func(string) (string, bool)) *merger {
	m := &merger{env: env, sections: map[string]*element{}, locks: map[string]sectionLock{}, ranks: map[*File]int{}, applications: map[string]bool{}}
	for rank, l := range layers {
		if _, twice := m.ranks[l.File]; !twice {
			m.ranks[l.File] = rank
		}
		if l.File != nil && l.File.server {
			m.server, m.serverRank = l.File, rank
		}
		if l.Application {
			m.applications[fold(l.At)] = true
		}
	}
	return m
}

// section lets a definition change the section merged so far.
func (m *merger) section(c contribution, d definition) {
	if m.rank = c.rank; m.placed(c, d) && m.admit(c, d) {
		m.sections[d.schema.Path] = m.merge(m.sections[d.schema.Path], d.element)
	}
}

func (m *merger) report(e *element, p config.Problem) { e.src.Report(&m.problems, e.at, p) }

// merge returns what base, which may be nil, becomes by over. It changes
// neither.
func (m *merger) merge(base, over *element) *element {
	switch {
	case base == nil && over.settled:
		return over
	case base == nil:
		base = &element{}
	}
	m.obey(base, over)
	out := &element{
		schema: over.schema, src: over.src, at: over.at,
		attrs: slices.Clone(base.attrs), locks: append(slices.Clip(base.locks), over.locks...),
	}
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
	has := func(v verb) bool {
		return slices.ContainsFunc(over.entries, func(d directive) bool { return d.verb == v })
	}
	out.cleared, out.removed = base.cleared || has(clear), base.removed || has(remove)
	return out
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
