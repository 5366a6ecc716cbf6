package merge

import (
	"slices"
	"strconv"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/config/xmldoc"
)

// element is an element as one file has it, or as several make it together.
type element struct {
	schema   *schema.Element
	src      *xmldoc.Source
	at       int // offset in src where it begins
	attrs    []attribute
	children []*element  // each schema once
	entries  []directive // of the collection; merged ones are all additions
	locks    []*partLock // what files lock of it

	// Once merged: a file has cleared the collection, or removed from it.
	cleared, removed bool

	// settled tells that merged with nothing it is what it is: there is
	// nothing to expand, to remove or to complain of. Settings share it.
	settled bool
}

// settle finds out whether an element that has been read is settled.
func (e *element) settle() bool {
	e.settled = !slices.ContainsFunc(e.attrs, func(a attribute) bool { return a.schema.Expanded && strings.Contains(a.value.Text, "%") })
	for _, c := range e.children {
		e.settled = c.settle() && e.settled
	}
	keys := map[string]bool{}
	for _, d := range e.entries {
		e.settled = d.entry.settle() && d.verb == add && e.settled
		if d.verb == add {
			key := keyOf(e.schema.Collection, d.entry)
			e.settled = e.settled && (key == "" || !keys[key])
			keys[key] = true
		}
	}
	if c := e.schema.Collection; c != nil && slices.ContainsFunc(c.Entry.Attributes, func(a schema.Attribute) bool { return a.Unique }) {
		e.settled = false
	}
	return e.settled
}

// attribute is an attribute that is set.
type attribute struct {
	schema *schema.Attribute
	value  schema.Value
	src    *xmldoc.Source
	at     int // offset in src of its name
}

// directive is one line of a collection.
type directive struct {
	verb  verb
	entry *element // of remove, with its keys alone; of clear, with nothing
}

type verb uint8

const (
	add verb = iota
	remove
	clear
)

// name returns the element name of a verb in a collection.
func (v verb) name(c *schema.Collection) string {
	return [...]string{add: c.Add, remove: c.Remove, clear: c.Clear}[v]
}

// attr returns an attribute that is set, or nil.
func (e *element) attr(name string) *attribute {
	for i := range e.attrs {
		if e.attrs[i].schema.Name == name {
			return &e.attrs[i]
		}
	}
	return nil
}

// value returns the value of an attribute that the schema has: as set, or its
// default.
func (e *element) value(name string) schema.Value {
	if a := e.attr(name); a != nil {
		return a.value
	}
	return e.schema.Attribute(name).DefaultValue()
}

// child returns the child of that name, or nil.
func (e *element) child(name string) *element {
	for _, c := range e.children {
		if c.schema.Name == name {
			return c
		}
	}
	return nil
}

// reader checks XML elements against their schema.
type reader struct {
	file     *File
	src      *xmldoc.Source // of the file, or of one that it includes
	problems config.Problems
	scope    *scope // where to note what is not done
	about    string // the section that is being read
	inKnown  int    // how many Known elements are around what is being read
}

// known notes that the element n is known and not done, and reports whether
// it is described, so that it can be read. What is in it is part of what was
// noted; one with nothing in it changes nothing, and neither does one with
// defaults alone where IIS writes them, which is not where somebody asks for
// what Perch does not do.
func (r *reader) known(n *xmldoc.Node, s *schema.Element, path string) bool {
	empty := s.Described() && len(n.Attrs) == 0 && !holdsSomething(n) || r.file.server && byDefault(n, s)
	if !empty && !s.Silent && (r.inKnown == 0 || s.Restricts) {
		r.notDone(r.scope, n.Span.Start, path, s.Restricts)
	}
	return s.Described()
}

// byDefault reports whether an element says nothing but what holds without it.
func byDefault(n *xmldoc.Node, s *schema.Element) bool {
	if !s.Described() {
		return false
	}
	for i := range n.Attrs {
		def := s.Attribute(n.Attrs[i].Name)
		if def == nil {
			return false
		}
		if v, problem := def.Parse(n.Attrs[i].Value); problem != nil || def.Comparable(v) != def.Comparable(def.DefaultValue()) {
			return false
		}
	}
	for _, c := range n.Children {
		if c.Kind == xmldoc.ElementNode {
			if clears := s.Collection != nil && c.Name == s.Collection.Clear; clears && !s.Restricts {
				continue // of what is empty
			}
			if inner := s.Element(c.Name); inner == nil || !inner.Silent && !byDefault(c, inner) {
				return false
			}
		} else if (c.Kind == xmldoc.TextNode || c.Kind == xmldoc.CDATANode) && !c.Blank() {
			return false
		}
	}
	return true
}

func (r *reader) report(at int, p config.Problem) {
	if p.Subject == "" {
		p.Subject = r.about
	}
	r.src.Report(&r.problems, at, p)
}

// notDone notes in a scope that a setting is known and not done.
func (r *reader) notDone(s *scope, at int, subject string, restricts bool) {
	for i := range s.notDone {
		if s.notDone[i].Subject == subject {
			return
		}
	}
	p := config.Problem{Code: config.NotDone, Subject: subject, Message: subject + " is known, but not done yet"}
	if restricts {
		p.Code = config.NotDoneRestricts
		p.Message += ": access is not restricted by it"
	}
	s.notDone.Add(r.src.At(at, p))
}

// text reports text where only elements may stand. Comments, instructions and
// white space are passed over.
func (r *reader) text(n, parent *xmldoc.Node) {
	if n.Blank() || (n.Kind != xmldoc.TextNode && n.Kind != xmldoc.CDATANode) {
		return
	}
	at := n.Span.Start
	if n.Kind == xmldoc.TextNode {
		text := r.src.Slice(n.Span)
		at += len(text) - len(strings.TrimLeft(text, " \t\r\n"))
	}
	r.report(at, config.Problem{
		Code: config.StrayText, Message: "text inside <" + parent.Name + ">", Expected: "elements only", Hint: "remove it, or make it a comment",
	})
}

// element reads an element and everything in it. path is its name in reports;
// section tells that it is a section's own element.
func (r *reader) element(n *xmldoc.Node, s *schema.Element, path string, section bool) *element {
	if s.Status == schema.Known {
		r.inKnown++
		defer func() { r.inKnown-- }()
	}
	e := &element{schema: s, src: r.src, at: n.Span.Start}
	var lock *partLock
	if e.attrs, lock = locks(r.attributes(n, s, path, section)); lock != nil {
		lock.file = r.file
		e.locks = []*partLock{lock}
	}
	for _, c := range n.Children {
		if c.Kind != xmldoc.ElementNode {
			r.text(c, n)
			continue
		}
		if r.directive(e, c, path) {
			continue
		}
		inner := s.Element(c.Name)
		switch {
		case inner == nil:
			r.unknownElement(c, n.Name, s)
		case inner.Status == schema.Known && !r.known(c, inner, join(path, c.Name)):
		case inner.Status == schema.Ignored:
		case e.child(c.Name) != nil:
			r.report(c.Span.Start, config.Problem{
				Code: config.ElementTwice, Message: "<" + c.Name + "> is given twice in <" + n.Name + ">",
				Hint: "the first begins in line " + itoa(r.src.Pos(e.child(c.Name).at).Line) + "; put both together",
			})
		default:
			e.children = append(e.children, r.element(c, inner, join(path, c.Name), false))
		}
	}
	return e
}

// directive reads n if it is a line of e's collection, and reports whether it
// is.
func (r *reader) directive(e *element, n *xmldoc.Node, path string) bool {
	c := e.schema.Collection
	if c == nil {
		return false
	}
	path = join(path, n.Name)
	switch n.Name {
	case c.Add:
		r.addition(e, n, path)
	case c.Remove:
		keys := &element{schema: &c.Entry, src: r.src, at: n.Span.Start, attrs: r.attributes(n, &c.Entry, path, false)}
		r.required(n, keys, func(a *schema.Attribute) bool {
			return a.Key && (len(c.Keys()) == 1 || (a.Required && a.Default == ""))
		})
		r.nothingInside(n)
		e.entries = append(e.entries, directive{remove, keys})
	case c.Clear:
		r.attributes(n, &schema.Element{Name: n.Name}, path, false)
		r.nothingInside(n)
		e.entries = append(e.entries, directive{clear, &element{schema: &c.Entry, src: r.src, at: n.Span.Start}})
	default:
		return false
	}
	return true
}

// addition reads a new entry of e's collection.
func (r *reader) addition(e *element, n *xmldoc.Node, path string) {
	s := &e.schema.Collection.Entry
	switch {
	case s.Status == schema.Ignored:
		return
	case s.Status == schema.Known && !r.known(n, s, path):
		return
	}
	entry := r.element(n, s, path, false)
	r.required(n, entry, func(a *schema.Attribute) bool { return a.Required })
	r.setting(e.schema.Collection, n)
	e.entries = append(e.entries, directive{add, entry})
}

// setting checks an entry that is a setting of Perch's own; see
// schema.Collection.Own.
func (r *reader) setting(c *schema.Collection, n *xmldoc.Node) {
	name, value := n.Attr("name"), n.Attr("value")
	if len(c.Own) == 0 || name == nil || value == nil {
		return
	}
	if own := c.Setting(name.Value); own != nil {
		if _, problem := own.Parse(value.Value); problem != nil {
			r.report(value.ValueSpan.Start, *problem)
		}
		return
	}
	if len(name.Value) < len(schema.OwnPrefix) || !strings.EqualFold(name.Value[:len(schema.OwnPrefix)], schema.OwnPrefix) {
		return
	}
	var names []string
	for i := range c.Own {
		names = append(names, c.Own[i].Name)
	}
	p := config.Problem{Code: config.UnknownAttribute, Message: "unknown setting " + name.Value, Expected: strings.Join(names, ", ")}
	if near := config.Nearest(name.Value, names); near != "" {
		p.Hint = "did you mean " + near + "?"
	}
	r.report(name.ValueSpan.Start, p)
}

// nothingInside reports content of an element that has none.
func (r *reader) nothingInside(n *xmldoc.Node) {
	for _, c := range n.Children {
		if c.Kind == xmldoc.ElementNode {
			r.unknownElement(c, n.Name, &schema.Element{})
		} else {
			r.text(c, n)
		}
	}
}

// required reports the attributes that e lacks and must have.
func (r *reader) required(n *xmldoc.Node, e *element, must func(*schema.Attribute) bool) {
	for i := range e.schema.Attributes {
		a := &e.schema.Attributes[i]
		if must(a) && e.attr(a.Name) == nil && n.Attr(a.Name) == nil {
			r.report(n.Span.Start, config.Problem{
				Code: config.MissingAttribute, Message: "<" + n.Name + "> needs the attribute " + a.Name,
			})
		}
	}
}

func (r *reader) unknownElement(n *xmldoc.Node, parent string, s *schema.Element) {
	if r.src.Full(r.problems) {
		return
	}
	p := config.Problem{Code: config.UnknownElement, Message: "unknown element <" + n.Name + "> in <" + parent + ">"}
	names := s.ElementNames()
	if len(names) == 0 {
		p.Expected = "nothing inside <" + parent + ">"
	} else {
		p.Expected = "<" + strings.Join(names, ">, <") + ">"
	}
	switch c := s.Collection; {
	case c != nil && n.Name == "add":
		p.Hint = "entries are written <" + c.Add + "> here"
	case c != nil && n.Name == "remove":
		p.Hint = "single entries cannot be removed here"
	default:
		if near := config.Nearest(n.Name, names); near != "" {
			p.Hint = "did you mean <" + near + ">?"
		}
	}
	r.report(n.Span.Start, p)
}

// attributes reads the attributes of an element. Wrong ones are reported and
// left out.
func (r *reader) attributes(n *xmldoc.Node, s *schema.Element, path string, section bool) []attribute {
	var attrs []attribute
	for i := range n.Attrs {
		a := &n.Attrs[i]
		if a.Name == "xmlns" || strings.HasPrefix(a.Name, "xmlns:") {
			continue
		}
		def := s.Attribute(a.Name)
		if def == nil && path != "" {
			def = schema.Common(a.Name, section)
		}
		if def == nil {
			r.unknownAttribute(a, n.Name, s)
			continue
		}
		value, problem := def.Parse(a.Value)
		switch {
		case problem != nil:
			r.report(a.ValueSpan.Start, *problem)
			continue
		case def.Status == schema.Refused:
			r.report(a.Span.Start, config.Problem{
				Code: config.NotDoneRefused, Subject: path + "/@" + a.Name, Message: a.Name + " is known, but not done yet",
				Hint: "write the values into <" + n.Name + "> itself",
			})
			continue
		case def.Unobeyed(value) && (r.inKnown == 0 || def.Restricts):
			r.notDone(r.scope, a.Span.Start, path+"/@"+a.Name, def.Restricts)
		}
		attrs = append(attrs, attribute{def, value, r.src, a.Span.Start})
	}
	return attrs
}

func (r *reader) unknownAttribute(a *xmldoc.Attr, parent string, s *schema.Element) {
	if r.src.Full(r.problems) {
		return
	}
	p := config.Problem{Code: config.UnknownAttribute, Message: "unknown attribute " + a.Name + " on <" + parent + ">"}
	names := s.AttributeNames()
	if len(names) == 0 {
		p.Expected = "no attributes on <" + parent + ">"
	} else {
		p.Expected = strings.Join(names, ", ")
	}
	near := config.Nearest(a.Name, names)
	switch {
	case strings.HasPrefix(a.Name, "xdt:"):
		p.Hint = "transformations are applied when an application is published, not when it is served"
	case near != "":
		p.Hint = "did you mean " + near + "?"
	}
	r.report(a.Span.Start, p)
}

func itoa(n int) string { return strconv.Itoa(n) }
