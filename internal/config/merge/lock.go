package merge

import (
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/config/xmldoc"
)

// A file may lock what it sets against the files below it: a whole section by
// <location overrideMode> or by the section's declaration, and parts of it by
// lockAttributes, lockElements, lockItem and their kin (IIS front 1.4). The
// file that locks may itself set the same for a deeper path.

// names is a list of names, or of all others.
type names struct {
	list   []string
	except bool // all but those of the list
}

func (n names) has(name string) bool {
	return (slices.Contains(n.list, name) || slices.Contains(n.list, "*")) != n.except
}

// parseNames reads the value of a lock attribute: names with commas between
// them, or "*".
func parseNames(text string, except bool) names {
	n := names{except: except}
	for name := range strings.SplitSeq(text, ",") {
		if name = strings.TrimSpace(name); name != "" {
			n.list = append(n.list, name)
		}
	}
	return n
}

// partLock is what one element of one file locks of itself.
type partLock struct {
	attributes []names
	elements   []names
	item       bool
	file       *File // that locks
	src        *xmldoc.Source
	at         int
}

// locks takes the attributes that lock something off a list, and returns what
// they lock, or nil.
func locks(attrs []attribute) ([]attribute, *partLock) {
	var lock *partLock
	rest := attrs[:0]
	for _, a := range attrs {
		l := partLock{src: a.src, at: a.at}
		if lock != nil {
			l = *lock
		}
		switch a.schema.Name {
		case "lockAttributes", "lockAllAttributesExcept":
			l.attributes = append(l.attributes, parseNames(a.value.Text, a.schema.Name == "lockAllAttributesExcept"))
		case "lockElements", "lockAllElementsExcept":
			l.elements = append(l.elements, parseNames(a.value.Text, a.schema.Name == "lockAllElementsExcept"))
		case "lockItem":
			if !a.value.Bool() {
				continue
			}
			l.item = true
		default:
			rest = append(rest, a)
			continue
		}
		lock = &l
	}
	return rest, lock
}

func (l *partLock) locksAttribute(name string) bool {
	return slices.ContainsFunc(l.attributes, func(n names) bool { return n.has(name) })
}

func (l *partLock) locksElement(name string) bool {
	return slices.ContainsFunc(l.elements, func(n names) bool { return n.has(name) })
}

// obey reports what over sets although a file above has locked it in base.
func (m *merger) obey(base, over *element) {
	for _, l := range base.locks {
		if !m.above(l) {
			continue
		}
		for _, a := range over.attrs {
			if l.locksAttribute(a.schema.Name) {
				m.locked(a.src, a.at, a.schema.Name+" is locked", l)
			}
		}
		for _, c := range over.children {
			if l.locksElement(c.schema.Name) {
				m.locked(c.src, c.at, "<"+c.schema.Name+"> is locked", l)
			}
		}
		for _, d := range over.entries {
			if name := d.verb.name(over.schema.Collection); l.locksElement(name) {
				m.locked(d.entry.src, d.entry.at, "<"+name+"> is locked here", l)
			}
		}
	}
}

// above reports whether a lock is that of a layer above the current one.
func (m *merger) above(l *partLock) bool { return m.ranks[l.file] < m.rank }

// itemLock returns the lock on an entry that holds against the current layer,
// or nil.
func (m *merger) itemLock(entry *element) *partLock {
	for _, l := range entry.locks {
		if l.item && m.above(l) {
			return l
		}
	}
	return nil
}

func (m *merger) locked(src *xmldoc.Source, at int, message string, by *partLock) {
	src.Report(&m.problems, at, config.Problem{
		Code: config.LockedPart, Message: message, Hint: "it is locked in " + by.src.Pos(by.at).String(),
	})
}

// sectionLock says whether a section is locked, and who locked it last.
type sectionLock struct {
	locked bool
	rank   int        // of the layer that locked it: those behind it may not set it
	place  config.Pos // of what locked it; none for what is locked by default

	byDefault bool // as IIS delegates it, or as it is declared: no <location> says so
}

// admit reports whether a layer may set a section, and changes the section's
// lock as the layer asks for.
func (m *merger) admit(c contribution, d definition) bool {
	path := d.schema.Path
	l, known := m.locks[path]
	if !known {
		l = m.lockedByDefault(d.schema)
	}
	if l.locked && c.rank > l.rank {
		p := config.Problem{Code: config.LockedSection, Message: path + " is locked", Hint: "it is locked in " + l.place.String()}
		if l.place == (config.Pos{}) {
			p.Hint = "sections of its kind are locked as long as applicationHost.config does not open them"
		}
		if l.byDefault {
			p.Hint += "; `perch unlock " + path + " --config " + quoted(m.server.path) + "` opens it"
		}
		m.report(d.element, p)
		return false
	}
	switch c.override {
	case overrideAllow:
		l = sectionLock{}
	case overrideDeny: // by the same file again, or by one further up, which holds more
		l = sectionLock{locked: true, rank: c.rank, place: d.element.src.Pos(d.element.at)}
	}
	m.locks[path] = l
	return true
}

// quoted writes the path of a file as one does in a shell.
func quoted(path string) string {
	if strings.ContainsAny(path, " ()&'") {
		return `"` + path + `"`
	}
	return path
}

// lockedByDefault returns the lock of a section that no file has spoken of:
// with an applicationHost.config what its declaration says, or IIS's default
// delegation; without one the owner of the folder is the administrator, and
// nothing is locked.
func (m *merger) lockedByDefault(s *schema.Section) sectionLock {
	if m.server == nil {
		return sectionLock{}
	}
	l := sectionLock{locked: s.Deny, rank: m.serverRank, byDefault: true}
	if d, ok := m.server.declared[s.Path]; ok && !s.Open {
		l.locked, l.place = d.deny, d.src.Pos(d.at)
	}
	return l
}

// placed reports whether a section may be set where a layer sets it, and says
// so if not.
func (m *merger) placed(c contribution, d definition) bool {
	var declared declaration
	if m.server != nil {
		declared = m.server.declared[d.schema.Path]
	}
	p := config.Problem{Code: config.WrongFile}
	switch where := max(d.schema.Where, declared.where); {
	case declared.noLocation && c.location:
		p.Message = "<" + d.schema.Name() + "> may not stand in a <location>"
		p.Expected = d.schema.Path + " outside of any <location>"
		p.Hint = "it is declared so in " + declared.src.Pos(declared.at).String()
	case where == schema.ServerOnly && m.server != nil && c.rank != m.serverRank:
		p.Message = "<" + d.schema.Name() + "> may not stand in this file"
		p.Expected = d.schema.Path + " in applicationHost.config"
	case where == schema.ToApplication && c.level > 0 && !m.applications[c.target]:
		p.Message = "<" + d.schema.Name() + "> may not be set for a folder that is no application"
		p.Expected = d.schema.Path + " at the root of an application"
	default:
		return true
	}
	m.report(d.element, p)
	return false
}
