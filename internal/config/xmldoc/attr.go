package xmldoc

import (
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/perchserver/perch/internal/config"
)

// name returns the name that s begins with, or "".
func name(s string) string {
	for i, r := range s {
		if (i == 0 && !isNameStart(r)) || !isNameChar(r) {
			return s[:i]
		}
	}
	return s
}

// attributes reads attributes from the parser's position up to the offset
// limit at most, and returns them with the offset where something else
// begins. White space between two attributes is required (XML 1.0 [40]).
func (p *parser) attributes(limit int) (attrs []Attr, end int) {
	text := p.text[:limit]
	at := p.at
	seen := nameSet{}
	for {
		gap := at
		for at < limit && isSpace(text[at]) {
			at++
		}
		a := Attr{Name: name(text[at:]), Span: Span{Start: at}}
		if a.Name == "" {
			return attrs, at
		}
		if at == gap {
			p.report(at, config.BadXML, "no space before the attribute "+a.Name, "write a space here")
		}
		value, ok := p.attributeValue(text, at+len(a.Name))
		if !ok {
			return attrs, at
		}
		a.ValueSpan = value
		a.Span.End = value.End + 1
		a.Value = p.resolve(text[value.Start:value.End], value.Start, true)
		at = a.Span.End
		if seen.add(attrs, a.Name) {
			p.report(a.Span.Start, config.TwiceOnTag, "the attribute "+a.Name+" is set twice on one element", "keep one of the two")
		}
		if p.count(); p.stopped {
			return attrs, limit
		}
		attrs = append(attrs, a)
	}
}

// nameSet finds attributes that are set twice. It is filled once there are so
// many that looking at each would take too long.
type nameSet map[string]bool

// add reports whether name is among attrs, to which it is about to be added.
func (s nameSet) add(attrs []Attr, name string) bool {
	const few = 16
	if len(attrs) < few {
		return (&Node{Attrs: attrs}).Attr(name) != nil
	}
	if len(s) == 0 {
		for i := range attrs {
			s[attrs[i].Name] = true
		}
	}
	twice := s[name]
	s[name] = true
	return twice
}

// attributeValue returns the span inside the quotes behind an equals sign. It
// reports nothing when there is none, which the caller finds malformed.
func (p *parser) attributeValue(text string, at int) (value Span, ok bool) {
	skip := func() {
		for at < len(text) && isSpace(text[at]) {
			at++
		}
	}
	skip()
	if at == len(text) || text[at] != '=' {
		return value, false
	}
	at++
	skip()
	if at == len(text) || (text[at] != '"' && text[at] != '\'') {
		return value, false
	}
	length := strings.IndexByte(text[at+1:], text[at])
	if length < 0 {
		return value, false
	}
	value = Span{at + 1, at + 1 + length}
	if i := strings.IndexByte(text[value.Start:value.End], '<'); i >= 0 {
		p.torn(value.Start+i, config.BadXML, "< is not allowed in the value of an attribute",
			"write &lt; for it, or look for a missing quote before it")
	}
	return value, true
}

// resolve returns raw text, which begins at an offset, with its references
// resolved and its line ends as "\n". In the value of an attribute white
// space becomes a space (XML 1.0 section 3.3.3). A bad reference is reported
// and stays as it is.
func (p *parser) resolve(raw string, at int, attribute bool) string {
	special := "&\r"
	if attribute {
		special = "&\r\n\t"
	}
	if !strings.ContainsAny(raw, special) {
		return raw
	}
	var b strings.Builder
	b.Grow(len(raw))
	for i := 0; i < len(raw); {
		switch c := raw[i]; {
		case c == '&':
			text, n := reference(raw[i:])
			if n == 0 {
				p.badReference(raw[i:], at+i)
				text, n = "&", 1
			}
			b.WriteString(text)
			i += n
			continue
		case c == '\r' && i+1 < len(raw) && raw[i+1] == '\n':
			// the line feed behind it stands for both
		case attribute && isSpace(c):
			b.WriteByte(' ')
		case c == '\r':
			b.WriteByte('\n')
		default:
			b.WriteByte(c)
		}
		i++
	}
	return b.String()
}

// badReference reports the & that raw begins with, at an offset.
func (p *parser) badReference(raw string, at int) {
	raw = raw[:min(len(raw), 40)] // no entity has a longer name
	message, hint := "& does not begin a reference here", "write &amp; for the character & itself"
	if end := strings.IndexByte(raw, ';'); end > 1 && name(raw[1:end]) == raw[1:end] {
		message = "the entity &" + raw[1:end] + "; is not known"
		hint = "XML knows &lt; &gt; &amp; &apos; and &quot;; " + hint
	}
	p.Report(&p.problems, at, config.Problem{Code: config.BadReference, Message: message, Hint: hint})
}

// reference resolves the reference that s begins with, and returns its text
// and its length in s, which is 0 if it is not one (XML 1.0 [66] to [68]).
func reference(s string) (text string, length int) {
	end := strings.IndexByte(s[:min(len(s), 16)], ';')
	if end < 0 {
		return "", 0
	}
	body := s[1:end]
	switch body {
	case "lt":
		return "<", end + 1
	case "gt":
		return ">", end + 1
	case "amp":
		return "&", end + 1
	case "apos":
		return "'", end + 1
	case "quot":
		return `"`, end + 1
	}
	digits, base := strings.CutPrefix(body, "#x")
	if base {
		return codePoint(digits, 16, end+1)
	}
	digits, base = strings.CutPrefix(body, "#")
	if base {
		return codePoint(digits, 10, end+1)
	}
	return "", 0
}

func codePoint(digits string, base, length int) (string, int) {
	if strings.HasPrefix(digits, "+") || strings.HasPrefix(digits, "-") {
		return "", 0
	}
	n, err := strconv.ParseUint(digits, base, 32)
	if err != nil || n > utf8.MaxRune || !isChar(rune(n)) {
		return "", 0
	}
	return string(rune(n)), length
}

// lineEnds returns s with every line end as "\n" (XML 1.0 section 2.11).
func lineEnds(s string) string {
	if !strings.Contains(s, "\r") {
		return s
	}
	return strings.ReplaceAll(strings.ReplaceAll(s, "\r\n", "\n"), "\r", "\n")
}
