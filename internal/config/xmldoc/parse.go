package xmldoc

import (
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/perchserver/perch/internal/config"
)

// Parse reads a file. It finds as many problems as make sense at once and
// never gives up on the tree: Document is nil only if data is no text or too
// large. A document with errors is for finding further problems in it, and
// for nothing else.
func Parse(file string, data []byte) (*Document, config.Problems) {
	var problems config.Problems
	if len(data) > MaxBytes {
		problems.Add(config.Problem{
			Code: config.TooLarge, Pos: config.Pos{File: file},
			Message: fmt.Sprintf("the file has %d bytes", len(data)), Expected: fmt.Sprintf("at most %d bytes", MaxBytes),
		})
		return nil, problems
	}
	enc, rest, ok := detect(data)
	if !ok {
		problems.Add(config.Problem{
			Code: config.NotText, Pos: config.Pos{File: file},
			Message: "the file is UTF-32", Expected: "UTF-8 or UTF-16", Hint: "save the file as UTF-8",
		})
		return nil, problems
	}
	text, bad := enc.decode(rest)
	src := newSource(file, text)
	if bad >= 0 {
		src.Report(&problems, bad, config.Problem{
			Code: config.NotText, Message: "these bytes are not " + enc.String(),
			Hint: "the file was perhaps saved in a Windows code page; save it as UTF-8",
		})
		return nil, problems
	}
	p := &parser{Source: src, doc: &Document{Source: src, Encoding: enc, Whole: true}}
	p.characters()
	p.document()
	p.problems.Sort()
	return p.doc, p.problems
}

// parser walks over the text once. Its position is at the first byte that is
// not yet part of a node.
type parser struct {
	*Source
	doc      *Document
	at       int
	open     []*Node // the elements that have not ended yet, outermost first
	parts    int
	stopped  bool // by a problem behind which nothing can be read
	problems config.Problems
}

// report adds a problem at an offset.
func (p *parser) report(at int, code config.Code, message, hint string) {
	p.Report(&p.problems, at, config.Problem{Code: code, Message: message, Hint: hint})
}

// torn reports a problem after which the tree is not the author's.
func (p *parser) torn(at int, code config.Code, message, hint string) {
	p.doc.Whole = false
	p.report(at, code, message, hint)
}

// rest returns the text that is left.
func (p *parser) rest() string { return p.text[p.at:] }

// stop ends the reading at this place.
func (p *parser) stop() {
	p.at = len(p.text)
	p.stopped = true
}

// characters reports characters that XML allows nowhere.
func (p *parser) characters() {
	for i, r := range p.text {
		if !isChar(r) {
			if p.problems.Full() {
				return
			}
			p.report(i, config.BadXML, fmt.Sprintf("the character U+%04X is not allowed in XML", r), "remove it")
		}
	}
}

// document reads everything.
func (p *parser) document() {
	for p.at < len(p.text) {
		switch rest := p.rest(); {
		case rest[0] != '<':
			p.characterData()
		case strings.HasPrefix(rest, "<!--"):
			p.comment()
		case strings.HasPrefix(rest, "<![CDATA["):
			p.cdata()
		case strings.HasPrefix(rest, "<!"):
			p.declaration()
		case strings.HasPrefix(rest, "<?"):
			p.instruction()
		case strings.HasPrefix(rest, "</"):
			p.endTag()
		default:
			p.startTag()
		}
	}
	if len(p.open) > 0 && !p.stopped {
		last := p.open[len(p.open)-1]
		p.torn(len(p.text), config.CrossedTags, "the file ends inside <"+last.Name+">",
			"<"+last.Name+"> begins in line "+fmt.Sprint(p.Pos(last.Span.Start).Line))
	}
	for len(p.open) > 0 {
		p.close(len(p.text))
	}
	if p.doc.Root == nil && !p.problems.HasErrors() {
		p.report(0, config.BadXML, "the file has no element", "a configuration file begins with <configuration>")
	}
}

// add puts a node that ends at end where it belongs, and moves behind it.
func (p *parser) add(n *Node, end int) {
	n.Span.End = end
	p.at = end
	p.count()
	if len(p.open) > 0 {
		parent := p.open[len(p.open)-1]
		parent.Children = append(parent.Children, n)
		return
	}
	p.doc.Nodes = append(p.doc.Nodes, n)
}

// count counts one part more and stops at the limit.
func (p *parser) count() {
	if p.parts++; p.parts > MaxParts && !p.stopped {
		p.torn(p.at, config.TooLarge, fmt.Sprintf("the file has more than %d elements, attributes and texts", MaxParts), "")
		p.stop()
	}
}

// close ends the innermost open element at the offset end.
func (p *parser) close(end int) {
	n := p.open[len(p.open)-1]
	n.Span.End = end
	p.open = p.open[:len(p.open)-1]
}

// delimited reads a node of fixed delimiters, such as a comment.
func (p *parser) delimited(kind Kind, start, end, what string) (n *Node, ok bool) {
	from := p.at
	body := p.text[from+len(start):]
	length := strings.Index(body, end)
	if length < 0 {
		p.torn(from, config.BadXML, "the "+what+" has no end", "end it with "+end)
		p.stop()
		return nil, false
	}
	n = &Node{Kind: kind, Span: Span{Start: from}, Value: lineEnds(body[:length])}
	p.add(n, from+len(start)+length+len(end))
	return n, true
}

func (p *parser) comment() {
	n, ok := p.delimited(CommentNode, "<!--", "-->", "comment")
	if !ok {
		return
	}
	body := p.text[n.Span.Start+4 : n.Span.End-3]
	if i := strings.Index(body+"-", "--"); i >= 0 { // XML 1.0 [15]: nor may it end with "-"
		p.report(n.Span.Start+4+i, config.BadXML, "two hyphens inside a comment", "write one, or a space between them")
	}
}

func (p *parser) cdata() {
	from := p.at
	if _, ok := p.delimited(CDATANode, "<![CDATA[", "]]>", "CDATA section"); ok && len(p.open) == 0 {
		p.report(from, config.BadXML, "text outside of the root element", "")
	}
}

// instruction reads <?target ...?>. One named xml is the XML declaration and
// stands at the very beginning (XML 1.0 [17], [23]).
func (p *parser) instruction() {
	n, ok := p.delimited(InstructionNode, "<?", "?>", "instruction")
	if !ok {
		return
	}
	body := p.text[n.Span.Start+2 : n.Span.End-2]
	n.Name = name(body)
	content := body[len(n.Name):]
	n.Value = lineEnds(strings.TrimLeft(content, " \t\r\n"))
	switch {
	case n.Name == "" || (content != "" && !isSpace(content[0])):
		p.report(n.Span.Start, config.BadXML, "an instruction without a proper name", "it looks like <?name text?>")
	case !strings.EqualFold(n.Name, "xml"):
	case n.Span.Start > 0:
		p.report(n.Span.Start, config.BadXML, "an XML declaration that does not begin the file", "nothing may stand before <?xml, not even an empty line")
	case n.Name != "xml":
		p.report(n.Span.Start, config.BadXML, "the XML declaration is written <?xml in lower case", "")
	default:
		p.xmlDeclaration(n.Span.Start+2+len(n.Name), content)
	}
}

// xmlDeclaration checks version, encoding and standalone, in this order
// (XML 1.0 [23] to [32]). at is the offset of content.
func (p *parser) xmlDeclaration(at int, content string) {
	const form = `it looks like <?xml version="1.0" encoding="utf-8"?>`
	scan := &parser{Source: p.Source, doc: &Document{}, at: at}
	attrs, end := scan.attributes(at + len(content))
	p.problems = append(p.problems, scan.problems...)
	if end != at+len(content) || len(attrs) == 0 || attrs[0].Name != "version" {
		p.report(at, config.BadXML, "a malformed XML declaration", form)
		return
	}
	order := []string{"version", "encoding", "standalone"}
	for _, a := range attrs {
		for len(order) > 0 && order[0] != a.Name {
			order = order[1:]
		}
		switch {
		case len(order) == 0:
			p.report(a.Span.Start, config.BadXML, "a malformed XML declaration", form)
			return
		case a.Name == "version" && a.Value != "1.0":
			p.report(a.ValueSpan.Start, config.BadXML, "the version of XML is not 1.0", form)
		case a.Name == "standalone" && a.Value != "yes" && a.Value != "no":
			p.report(a.ValueSpan.Start, config.BadXML, "standalone is yes or no", form)
		case a.Name == "encoding" && !p.doc.Encoding.names(a.Value, p.text):
			p.report(a.ValueSpan.Start, config.NotText,
				fmt.Sprintf("the file says that it is %q and is %s", a.Value, p.doc.Encoding),
				fmt.Sprintf("save it as it says, or write encoding=%q", declared(p.doc.Encoding)))
		}
		order = order[1:]
	}
}

// declared returns the name that a declaration has for an encoding.
func declared(e Encoding) string {
	if e.Order == nil {
		return "utf-8"
	}
	return "utf-16"
}

// declaration refuses <!DOCTYPE ...> and what else begins with "<!", and goes
// on behind it.
func (p *parser) declaration() {
	if strings.HasPrefix(p.rest(), "<!DOCTYPE") {
		p.report(p.at, config.DocumentType, "a document type declaration is not allowed", "remove it")
	} else {
		p.torn(p.at, config.BadXML, "this is neither a comment nor a CDATA section", "write &lt; for the character < itself")
	}
	depth, quote := 0, byte(0)
	for ; p.at < len(p.text); p.at++ {
		switch c := p.text[p.at]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '"' || c == '\'':
			quote = c
		case c == '[' || c == '<':
			depth++
		case c == ']':
			depth--
		case c == '>':
			if depth--; depth <= 0 {
				p.at++
				return
			}
		}
	}
}

// characterData reads text up to the next tag.
func (p *parser) characterData() {
	from := p.at
	end := strings.IndexByte(p.rest(), '<')
	if end < 0 {
		end = len(p.text)
	} else {
		end += from
	}
	raw := p.text[from:end]
	if len(p.open) == 0 {
		if i := strings.IndexFunc(raw, func(r rune) bool { return r >= utf8.RuneSelf || !isSpace(byte(r)) }); i >= 0 {
			p.report(from+i, config.BadXML, "text outside of the root element", "")
			p.at = end
			return
		}
	}
	if i := strings.Index(raw, "]]>"); i >= 0 {
		p.report(from+i, config.BadXML, "]]> ends a CDATA section that was not begun", "write ]]&gt;")
	}
	p.add(&Node{Kind: TextNode, Span: Span{Start: from}, Value: p.resolve(raw, from, false)}, end)
}

func (p *parser) startTag() {
	from := p.at
	n := &Node{Kind: ElementNode, Span: Span{Start: from}, Name: name(p.text[from+1:])}
	if n.Name == "" {
		p.torn(from, config.BadXML, "< is not followed by a name", "write &lt; for the character < itself")
		p.skipTag(from + 1)
		return
	}
	p.at = from + 1 + len(n.Name)
	n.Attrs, p.at = p.attributes(len(p.text))
	if p.stopped {
		return
	}
	empty := strings.HasPrefix(p.rest(), "/>")
	if !empty && !strings.HasPrefix(p.rest(), ">") {
		p.torn(p.at, config.BadXML, "the tag <"+n.Name+" is malformed here", `attributes look like name="value", and the tag ends with >`)
		p.skipTag(p.at)
		return
	}
	end := p.at + 1
	if empty {
		end++
	}
	n.Open = Span{from, end}
	p.place(n, empty)
}

// place puts a complete start tag into the tree.
func (p *parser) place(n *Node, empty bool) {
	if len(p.open) == 0 {
		if p.doc.Root != nil {
			p.report(n.Span.Start, config.BadXML, "a second root element <"+n.Name+">", "a file has one root; move this into it")
		} else {
			p.doc.Root = n
		}
	}
	if len(p.open) == MaxDepth {
		p.torn(n.Span.Start, config.TooLarge, fmt.Sprintf("more than %d elements inside each other", MaxDepth), "")
		p.stop()
		return
	}
	p.add(n, n.Open.End)
	if !empty {
		p.open = append(p.open, n)
	}
}

func (p *parser) endTag() {
	from := p.at
	tag := name(p.text[from+2:])
	end := from + 2 + len(tag)
	for end < len(p.text) && isSpace(p.text[end]) {
		end++
	}
	if tag == "" || end == len(p.text) || p.text[end] != '>' {
		p.torn(from, config.BadXML, "a malformed end tag", "it looks like </name>")
		p.skipTag(from + 2)
		return
	}
	end++
	p.at = end
	match := len(p.open) - 1
	for match >= 0 && p.open[match].Name != tag {
		match--
	}
	if match < 0 {
		hint := "remove it"
		if len(p.open) > 0 {
			hint = "the element that is open here is <" + p.open[len(p.open)-1].Name + ">"
		}
		p.torn(from, config.CrossedTags, "</"+tag+"> ends an element that was not begun", hint)
		return
	}
	for len(p.open) > match+1 {
		inner := p.open[len(p.open)-1]
		p.torn(from, config.CrossedTags, "</"+tag+"> stands before the end of <"+inner.Name+">",
			fmt.Sprintf("<%s> begins in line %d and needs a </%s>", inner.Name, p.Pos(inner.Span.Start).Line, inner.Name))
		p.close(from)
	}
	p.open[match].Close = Span{from, end}
	p.close(end)
}

// skipTag moves behind the tag that goes wrong at an offset: behind the next
// '>', or to the next '<' if that comes first.
func (p *parser) skipTag(from int) {
	i := strings.IndexAny(p.text[from:], "<>")
	if i < 0 {
		p.stop()
		return
	}
	p.at = from + i
	if p.text[p.at] == '>' {
		p.at++
	}
}
