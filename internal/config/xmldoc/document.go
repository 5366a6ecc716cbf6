// Package xmldoc reads the XML of configuration files: a tree in which every
// token knows its place in the file, and every problem of a malformed file
// with line and column. encoding/xml tells neither, accepts documents that
// IIS refuses, and reads no UTF-16.
//
// It is the first step of reading configuration: bytes in, tree out. Sections
// and their meaning are the matter of the packages schema and merge; whoever
// edits configuration files may import this one too.
package xmldoc

import (
	"sort"
	"strings"
	"unicode/utf8"

	"github.com/perchserver/perch/internal/config"
)

// Limits of one file. A file beyond them is refused before its tree has grown
// to many times its size.
const (
	MaxBytes = 10 << 20
	MaxDepth = 100     // elements inside each other
	MaxParts = 500_000 // elements, attributes, texts, comments and instructions
)

// Document is a file as a tree. It does not change once it has been read and
// may be used by several goroutines.
type Document struct {
	*Source
	Encoding Encoding

	// Nodes are the root element and what stands before and after it:
	// comments, instructions, white space.
	Nodes []*Node

	// Root is nil if the file has no element.
	Root *Node

	// Whole is false if tags are missing or crossed, so that the tree may
	// not be what the author meant.
	Whole bool
}

// Bytes returns the file as it was read, put together from the tree. It may
// be called for a document without errors only: there the tokens of the tree
// cover the whole text.
func (d *Document) Bytes() []byte {
	var b strings.Builder
	b.Grow(len(d.text))
	for _, n := range d.Nodes {
		d.write(&b, n)
	}
	return d.Encoding.encode(b.String())
}

// Replace returns the file with another text in place of a span. Every other
// byte of it stays as it was, if the document has no errors.
func (d *Document) Replace(at Span, text string) []byte {
	return d.Encoding.encode(d.text[:at.Start] + text + d.text[at.End:])
}

func (d *Document) write(b *strings.Builder, n *Node) {
	if n.Kind != ElementNode {
		b.WriteString(d.Slice(n.Span))
		return
	}
	b.WriteString(d.Slice(n.Open))
	for _, c := range n.Children {
		d.write(b, c)
	}
	b.WriteString(d.Slice(n.Close))
}

// Kind is what a Node is.
type Kind uint8

// The kinds of nodes.
const (
	ElementNode     Kind = iota + 1
	TextNode             // text between tags, white space included
	CDATANode            // <![CDATA[...]]>
	CommentNode          // <!-- ... -->
	InstructionNode      // <?target ...?>, the XML declaration included
)

// Span is a part of the text: the half-open range of its byte offsets in the
// decoded text, without the byte order mark.
type Span struct{ Start, End int }

// Node is one part of the tree.
type Node struct {
	Kind Kind
	Span Span // the whole node, an element's content and end tag included
	Open Span // an element's start tag

	// Close is an element's end tag, empty if it has none: <a/>.
	Close Span

	Name     string // of the element, or the target of the instruction
	Attrs    []Attr // in order
	Children []*Node

	// Value is the content of a text, CDATA section, comment or instruction,
	// with references resolved and line ends as "\n".
	Value string
}

// Attr returns the attribute of that name, or nil.
func (n *Node) Attr(name string) *Attr {
	for i := range n.Attrs {
		if n.Attrs[i].Name == name {
			return &n.Attrs[i]
		}
	}
	return nil
}

// Blank reports whether n is nothing but white space.
func (n *Node) Blank() bool {
	return n.Kind == TextNode && strings.Trim(n.Value, " \t\r\n") == ""
}

// Attr is an attribute of an element.
type Attr struct {
	Name      string
	Value     string // references resolved, white space normalised (XML 1.0 section 3.3.3)
	Span      Span   // from the name to the closing quote
	ValueSpan Span   // inside the quotes
}

// Source is the text of a file with the means to name a place in it. It holds
// no tree, so what outlives the reading of a file keeps this.
type Source struct {
	File  string // as it is told in problems
	Every bool   // Report takes every error, and not config.MaxErrors of a list
	text  string // decoded, without the byte order mark
	lines []int  // offset of the first byte of every line
	runes []int  // how many characters stand before every stride of bytes
}

// stride is how many bytes are looked at, at most, to count the characters of
// a line up to a place: a file of one line may have very many places.
const stride = 4 << 10

// newSource indexes the lines of a text. Lines end with "\n", "\r\n" or "\r"
// (XML 1.0 section 2.11).
func newSource(file, text string) *Source {
	s := &Source{File: file, text: text, lines: []int{0}}
	runes := 0
	for i := 0; i < len(text); i++ {
		if i%stride == 0 {
			s.runes = append(s.runes, runes)
		}
		if utf8.RuneStart(text[i]) {
			runes++
		}
		if text[i] == '\n' || (text[i] == '\r' && (i+1 == len(text) || text[i+1] != '\n')) {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// Text returns the decoded text of the file.
func (s *Source) Text() string { return s.text }

// Slice returns the text of a span.
func (s *Source) Slice(at Span) string { return s.text[at.Start:at.End] }

// Pos returns line and column of a byte offset of the text. An offset outside
// it is moved to its nearer end.
func (s *Source) Pos(offset int) config.Pos {
	offset = min(max(offset, 0), len(s.text))
	line := s.line(offset)
	return config.Pos{
		File:   s.File,
		Line:   line + 1,
		Column: 1 + s.before(offset) - s.before(s.lines[line]),
	}
}

// before counts the characters before an offset.
func (s *Source) before(offset int) int {
	i := offset / stride
	if i >= len(s.runes) { // behind the last byte, where a stride would begin
		i = len(s.runes) - 1
	}
	if i < 0 {
		return 0 // of an empty text
	}
	n := s.runes[i]
	for _, c := range []byte(s.text[i*stride : offset]) {
		if utf8.RuneStart(c) {
			n++
		}
	}
	return n
}

// line returns the number of the line that holds offset, from 0.
func (s *Source) line(offset int) int {
	return sort.Search(len(s.lines), func(i int) bool { return s.lines[i] > offset }) - 1
}

// Full reports whether ps takes no further errors from Report.
func (s *Source) Full(ps config.Problems) bool { return !s.Every && ps.Full() }

// Report completes p with its severity and the place of a byte offset, and
// adds it to ps. Once ps is full of errors it does nothing.
func (s *Source) Report(ps *config.Problems, offset int, p config.Problem) {
	p.Severity = p.Code.Explain().Severity
	if p.Severity == config.Error && s.Full(*ps) {
		return
	}
	*ps = append(*ps, s.At(offset, p))
}

// At returns p with the place of a byte offset and the source line there.
func (s *Source) At(offset int, p config.Problem) config.Problem {
	p.Severity = p.Code.Explain().Severity
	p.Pos = s.Pos(offset)
	p.Source, p.Caret = s.excerpt(min(max(offset, 0), len(s.text)))
	return p
}

// excerpt returns what is worth showing of the line at offset, and the column
// of offset in it. Of a very long line it looks at the neighbourhood alone.
func (s *Source) excerpt(offset int) (source string, caret int) {
	const near = 1 << 10
	line := s.line(offset)
	start, end := s.lines[line], len(s.text)
	if line+1 < len(s.lines) {
		end = s.lines[line+1]
	}
	for start = max(start, offset-near); start < offset && !utf8.RuneStart(s.text[start]); start++ {
	}
	for end = min(end, offset+near); end > offset && end < len(s.text) && !utf8.RuneStart(s.text[end]); end-- {
	}
	text := strings.TrimRight(s.text[start:end], "\r\n")
	return config.Excerpt(text, 1+utf8.RuneCountInString(s.text[start:offset]))
}
