package merge

import (
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/schema"
)

// entries lets the directives of one file change the entries inherited.
func (m *merger) entries(c *schema.Collection, inherited, directives []directive) []directive {
	if len(directives) == 0 {
		return inherited
	}
	l := list{c: c, inherited: slices.Clone(inherited), byKey: map[string][]*element{}, dropped: map[*element]bool{}}
	for _, d := range inherited {
		l.note(d.entry)
	}
	for _, d := range directives {
		switch d.verb {
		case clear:
			m.clear(&l, d)
		case remove:
			m.remove(&l, d)
		case add:
			m.add(&l, d)
		}
	}
	all := append(l.inherited, l.own...)
	if c.Prepend {
		all = append(l.own, l.inherited...)
	}
	if len(l.dropped) > 0 {
		all = slices.DeleteFunc(all, func(d directive) bool { return l.dropped[d.entry] })
	}
	m.unique(c, all)
	return all
}

// list is a collection while the directives of one file change it.
type list struct {
	c              *schema.Collection
	inherited, own []directive
	byKey          map[string][]*element // the entries there are
	dropped        map[*element]bool     // those that have been taken away
}

func (l *list) note(e *element) {
	key := keyOf(l.c, e)
	l.byKey[key] = append(l.byKey[key], e)
}

// drop takes the entries with a key away.
func (l *list) drop(key string) {
	for _, e := range l.byKey[key] {
		l.dropped[e] = true
	}
	delete(l.byKey, key)
}

func (m *merger) clear(l *list, d directive) {
	for _, e := range l.inherited {
		if lock := m.itemLock(e.entry); lock != nil { // so it is still there
			m.locked(d.entry.src, d.entry.at, "<"+l.c.Clear+"> would take away an entry that is locked", lock)
			return
		}
	}
	l.inherited, l.own, l.byKey = nil, nil, map[string][]*element{}
}

func (m *merger) remove(l *list, d directive) {
	key := keyOf(l.c, m.merge(nil, d.entry))
	for _, e := range l.byKey[key] {
		if lock := m.itemLock(e); lock != nil {
			m.locked(d.entry.src, d.entry.at, "the entry is locked", lock)
			return
		}
	}
	l.drop(key) // to remove what is not there is no error
}

func (m *merger) add(l *list, d directive) {
	d.entry = m.merge(nil, d.entry)
	key := keyOf(l.c, d.entry)
	if there := l.byKey[key]; len(there) > 0 && key != "" && !l.c.AllowDuplicates {
		switch lock := m.itemLock(there[0]); {
		case !l.c.Replace:
			m.duplicate(l.c, d.entry, there[0])
		case lock != nil:
			m.locked(d.entry.src, d.entry.at, "the entry is locked", lock)
			return
		default:
			l.drop(key)
		}
	}
	l.note(d.entry)
	l.own = append(l.own, d)
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
	if e.src.Full(m.problems) {
		return
	}
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
