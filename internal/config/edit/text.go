package edit

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/perchserver/perch/internal/config/xmldoc"
)

// writable refuses what no XML can hold.
func writable(name, value string) error {
	for _, r := range value {
		if r < ' ' && r != '\t' && r != '\n' && r != '\r' || r == 0xfffe || r == 0xffff {
			return fmt.Errorf("the value of %s has the character U+%04X, which XML cannot hold", name, r)
		}
	}
	if !utf8.ValidString(value) {
		return fmt.Errorf("the value of %s is not UTF-8", name)
	}
	return nil
}

// escape returns a value as it is written between quotes.
func (f *File) escape(value string, quote byte) string {
	ascii := f.ascii()
	var b strings.Builder
	for _, r := range value {
		switch {
		case r == '&':
			b.WriteString("&amp;")
		case r == '<':
			b.WriteString("&lt;")
		case r == '"' && quote == '"':
			b.WriteString("&quot;")
		case r == '\'' && quote == '\'':
			b.WriteString("&apos;")
		case r < ' ', r >= utf8.RuneSelf && ascii: // a bare line end would become a blank
			fmt.Fprintf(&b, "&#%d;", r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

// ascii reports whether the file says that it is ASCII.
func (f *File) ascii() bool {
	first := f.doc.Nodes[0]
	return first.Kind == xmldoc.InstructionNode && first.Name == "xml" && strings.Contains(strings.ToLower(first.Value), "ascii")
}

// addAttribute puts an attribute behind those of an element, as the last one
// of them is written.
func (f *File) addAttribute(n *xmldoc.Node, a Attr) error {
	at, gap, quote := n.Open.Start+1+len(n.Name), " ", byte('"')
	if len(n.Attrs) > 0 {
		last := n.Attrs[len(n.Attrs)-1]
		at, quote = last.Span.End, f.doc.Text()[last.ValueSpan.End]
		gap = f.doc.Text()[f.blanksBefore(last.Span.Start):last.Span.Start]
	}
	return f.replace(xmldoc.Span{Start: at, End: at}, gap+f.attribute(a, quote))
}

func (f *File) attribute(a Attr, quote byte) string {
	return a.Name + "=" + string(quote) + f.escape(a.Value, quote) + string(quote)
}

// blanksBefore returns where the white space before an offset begins.
func (f *File) blanksBefore(at int) int {
	return len(strings.TrimRight(f.doc.Text()[:at], " \t\r\n"))
}

// insert makes elements, each inside the one before, the first inside parent.
func (f *File) insert(parent *xmldoc.Node, steps []Step) error {
	for _, s := range steps {
		for _, a := range s.Where {
			if err := writable(a.Name, a.Value); err != nil {
				return err
			}
		}
	}
	if parent.Close == (xmldoc.Span{}) { // <parent/>
		at := xmldoc.Span{Start: parent.Open.Start + 1 + len(parent.Name), End: parent.Open.End}
		if len(parent.Attrs) > 0 {
			at.Start = parent.Attrs[len(parent.Attrs)-1].Span.End
		}
		return f.replace(at, ">"+f.fill(parent, steps)+"</"+parent.Name+">")
	}
	before := f.place(parent, steps[0].Name)
	if before == nil {
		at := xmldoc.Span{Start: parent.Open.End, End: parent.Close.Start}
		if !strings.ContainsAny(f.doc.Slice(at), "\r\n") {
			return f.replace(at, f.fill(parent, steps))
		}
		at.End = at.Start
		start := f.lineEnd(at.Start) + f.margin(parent) + f.unit(parent)
		return f.replace(at, start+f.elements(steps, start, f.unit(parent)))
	}
	start := f.gap(parent)
	return f.replace(xmldoc.Span{Start: *before, End: *before}, start+f.elements(steps, start, f.unit(parent)))
}

// fill returns the content of an element that has none so far.
func (f *File) fill(parent *xmldoc.Node, steps []Step) string {
	end, unit := f.lineEnd(parent.Span.Start)+f.margin(parent), f.unit(parent)
	return end + unit + f.elements(steps, end+unit, unit) + end
}

// elements writes elements inside each other. start is what a line begins
// with at the first, the line end before it included.
func (f *File) elements(steps []Step, start, unit string) string {
	var b strings.Builder
	b.WriteString("<" + steps[0].Name)
	for _, a := range steps[0].Where {
		b.WriteString(" " + f.attribute(a, '"'))
	}
	if len(steps) == 1 {
		if !strings.Contains(f.doc.Text(), " />") && strings.Contains(f.doc.Text(), "/>") {
			b.WriteString("/>")
		} else {
			b.WriteString(" />")
		}
		return b.String()
	}
	if start == "" || !strings.ContainsAny(start, "\r\n") {
		unit = "" // all in one line
	}
	b.WriteString(">" + start + unit + f.elements(steps[1:], start+unit, unit) + start + "</" + steps[0].Name + ">")
	return b.String()
}

// place returns where in a parent with content an element of that name
// belongs: behind those of its name, else at the end; but <clear> before
// everything and <remove> before what is added. It is nil where the parent has
// nothing but white space.
func (f *File) place(parent *xmldoc.Node, name string) *int {
	var first, last, taken, same *xmldoc.Node
	for _, c := range parent.Children {
		if c.Blank() {
			continue
		}
		last = c
		if c.Kind != xmldoc.ElementNode {
			continue
		}
		if first == nil {
			first = c
		}
		if c.Name == "clear" || c.Name == "remove" {
			taken = c
		}
		if c.Name == name {
			same = c
		}
	}
	directive := name == "clear" || name == "remove" || name == "configSections" // which IIS wants first
	switch {
	case last == nil:
		return nil
	case name == "remove" && taken != nil:
		return f.behind(parent, taken)
	case same != nil && !directive:
		return f.behind(parent, same)
	case !directive || first == nil:
		return &last.Span.End
	}
	// Behind the start tag; if a comment follows on its line, before the first.
	at := parent.Open.End
	if rest := f.doc.Text()[at:]; strings.Trim(rest[:lineLength(rest)], " \t") != "" {
		at = f.startOf(first)
	}
	return &at
}

// behind returns where the last node ends that begins in the line in which n
// ends: a comment there belongs to n.
func (f *File) behind(parent, n *xmldoc.Node) *int {
	end := &n.Span.End
	for _, c := range parent.Children {
		switch {
		case c.Span.Start < n.Span.End:
		case c.Blank() && strings.ContainsAny(c.Value, "\n"):
			return end
		case !c.Blank():
			end = &c.Span.End
		}
	}
	return end
}

// startOf returns where the line begins that an element begins, with the line
// end before it, or where the element begins if others stand before it.
func (f *File) startOf(n *xmldoc.Node) int {
	text := f.doc.Text()
	at := len(strings.TrimRight(text[:n.Span.Start], " \t"))
	switch {
	case strings.HasSuffix(text[:at], "\r\n"):
		return at - 2
	case strings.HasSuffix(text[:at], "\n"), strings.HasSuffix(text[:at], "\r"):
		return at - 1
	}
	return at
}

// gap returns the white space that stands before the elements in parent: a
// line end with an indentation, or less.
func (f *File) gap(parent *xmldoc.Node) string {
	var like *xmldoc.Node
	for _, c := range parent.Children {
		if c.Kind == xmldoc.ElementNode || !c.Blank() && (like == nil || like.Kind != xmldoc.ElementNode) {
			like = c
		}
	}
	return f.doc.Text()[f.startOf(like):like.Span.Start]
}

// remove takes an element away, with its line if nothing else stands there.
func (f *File) remove(n *xmldoc.Node) error {
	if n == f.doc.Root {
		return fmt.Errorf("%s: <%s> is the file itself", f.doc.Pos(n.Span.Start), n.Name)
	}
	at := xmldoc.Span{Start: f.startOf(n), End: n.Span.End}
	rest := f.doc.Text()[at.End:]
	blanks := len(rest) - len(strings.TrimLeft(rest, " \t"))
	if next := rest[blanks:]; next != "" && next[0] != '\r' && next[0] != '\n' && !strings.HasPrefix(next, "</") {
		// What else is on the line moves to where the element was.
		at = xmldoc.Span{Start: n.Span.Start, End: at.End + blanks}
	}
	return f.replace(at, "")
}

// lineEnd returns the line end that is in use around an offset.
func (f *File) lineEnd(at int) string {
	text := f.doc.Text()
	i := strings.LastIndexAny(text[:at], "\r\n")
	if i < 0 {
		if i = at + lineLength(text[at:]); i == len(text) {
			return "\n"
		}
		if strings.HasPrefix(text[i:], "\r\n") {
			i++
		}
	}
	if text[i] == '\n' && i > 0 && text[i-1] == '\r' {
		return "\r\n"
	}
	return text[i : i+1]
}

// lineLength returns the length of the first line of a text.
func lineLength(text string) int {
	if i := strings.IndexAny(text, "\r\n"); i >= 0 {
		return i
	}
	return len(text)
}

// margin returns the white space that the line of an element begins with.
func (f *File) margin(n *xmldoc.Node) string {
	line := f.doc.Text()[:n.Span.Start]
	line = line[strings.LastIndexAny(line, "\r\n")+1:]
	return line[:len(line)-len(strings.TrimLeft(line, " \t"))]
}

// unit returns by how much elements inside of others are indented: those in
// n, else those of the file that come first.
func (f *File) unit(n *xmldoc.Node) string {
	if unit := f.unitOf(n, false); unit != "" {
		return unit
	}
	if unit := f.unitOf(f.doc.Root, true); unit != "" {
		return unit
	}
	return "  "
}

func (f *File) unitOf(n *xmldoc.Node, deep bool) string {
	outer := f.margin(n)
	for _, c := range n.Children {
		if c.Kind != xmldoc.ElementNode || strings.TrimLeft(f.doc.Text()[f.startOf(c):c.Span.Start], "\r\n") != f.margin(c) {
			continue
		}
		if more, ok := strings.CutPrefix(f.margin(c), outer); ok && more != "" {
			return more
		}
		if deep {
			if unit := f.unitOf(c, true); unit != "" {
				return unit
			}
		}
	}
	return ""
}
