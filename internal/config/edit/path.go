package edit

import (
	"fmt"
	"strings"
)

// Path names an element of a configuration file, or an attribute of one, by
// the names of the elements on the way, as XPath does:
//
//	system.webServer/httpProtocol/customHeaders/add[@name='X']/@value
type Path struct {
	Steps     []Step
	Attribute string // empty: the element itself
}

// Step is one element on the way.
type Step struct {
	Name  string
	Where []Attr // what its attributes have to be
}

// Attr is an attribute with its value.
type Attr struct{ Name, Value string }

// Elem returns a step. pairs are names of attributes, each with its value.
func Elem(name string, pairs ...string) Step {
	s := Step{Name: name}
	for i := 0; i+1 < len(pairs); i += 2 {
		s.Where = append(s.Where, Attr{pairs[i], pairs[i+1]})
	}
	return s
}

// Below returns the path with further steps.
func (p Path) Below(steps ...Step) Path {
	return Path{Steps: append(p.Steps[:len(p.Steps):len(p.Steps)], steps...)}
}

// At returns the path of an attribute of p.
func (p Path) At(attribute string) Path { return Path{p.Steps, attribute} }

// String returns the path as ParsePath reads it.
func (p Path) String() string {
	var b strings.Builder
	for i, s := range p.Steps {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(s.Name)
		for _, a := range s.Where {
			quote := "'"
			if strings.Contains(a.Value, quote) {
				quote = `"`
			}
			b.WriteString("[@" + a.Name + "=" + quote + a.Value + quote + "]")
		}
	}
	if p.Attribute != "" {
		b.WriteString("/@" + p.Attribute)
	}
	return b.String()
}

// ParsePath reads a path. The attributes that an element has to have stand in
// brackets behind its name, as in XPath, add[@name='X' and @value='1'] or
// add[@name='X'][@value='1'], or as appcmd has them, add[name='X',value='1'].
// Quotes may be left out where the value has no blank, comma or bracket.
func ParsePath(text string) (Path, error) {
	p, rest, err := parsePath(text)
	if err == nil && rest != "" {
		err = unexpected(text, rest, "the path ends before it")
	}
	return p, err
}

// ParseSetting reads the path of an attribute with "=" and its value behind
// it, or a path alone. set tells that there is a value.
func ParseSetting(text string) (p Path, value string, set bool, err error) {
	p, rest, err := parsePath(text)
	if err != nil || rest == "" {
		return p, "", false, err
	}
	value, set = strings.CutPrefix(rest, "=")
	if !set || p.Attribute == "" {
		return p, "", false, unexpected(text, rest, "a value is that of an attribute: write /@NAME=VALUE")
	}
	return p, value, true, nil
}

func parsePath(text string) (p Path, rest string, err error) {
	rest = text
	for {
		if name, ok := strings.CutPrefix(rest, "@"); ok && len(p.Steps) > 0 {
			p.Attribute, rest = cutName(name)
			if p.Attribute == "" {
				return p, rest, unexpected(text, rest, "the name of an attribute stands behind @")
			}
			return p, rest, nil
		}
		var s Step
		if s.Name, rest = cutName(rest); s.Name == "" {
			return p, rest, unexpected(text, rest, "the name of an element stands here")
		}
		for strings.HasPrefix(rest, "[") {
			if s.Where, rest, err = parseWhere(text, rest[1:], s.Where); err != nil {
				return p, rest, err
			}
		}
		p.Steps = append(p.Steps, s)
		if !strings.HasPrefix(rest, "/") {
			return p, rest, nil
		}
		rest = rest[1:]
	}
}

// parseWhere reads what stands behind an opening bracket, up to and with the
// closing one.
func parseWhere(text, rest string, where []Attr) ([]Attr, string, error) {
	for {
		var a Attr
		rest = strings.TrimPrefix(strings.TrimLeft(rest, " "), "@")
		if a.Name, rest = cutName(rest); a.Name == "" {
			return nil, "", unexpected(text, rest, "the name of an attribute stands here")
		}
		value, ok := strings.CutPrefix(strings.TrimLeft(rest, " "), "=")
		if !ok {
			return nil, "", unexpected(text, rest, "= and a value stand behind the name of the attribute")
		}
		value = strings.TrimLeft(value, " ")
		if value != "" && (value[0] == '\'' || value[0] == '"') {
			if a.Value, rest, ok = strings.Cut(value[1:], value[:1]); !ok {
				return nil, "", unexpected(text, value, "the quote is not closed")
			}
		} else {
			end := strings.IndexAny(value, " ,]")
			if end < 0 {
				end = len(value)
			}
			a.Value, rest = value[:end], value[end:]
		}
		where = append(where, a)
		rest = strings.TrimLeft(rest, " ")
		if after, closed := strings.CutPrefix(rest, "]"); closed {
			return where, after, nil
		}
		comma, ok := strings.CutPrefix(rest, ",")
		if !ok {
			if comma, ok = strings.CutPrefix(rest, "and "); !ok {
				return nil, "", unexpected(text, rest, "the bracket is not closed")
			}
		}
		rest = comma
	}
}

// cutName cuts the name that text begins with.
func cutName(text string) (name, rest string) {
	end := strings.IndexFunc(text, func(r rune) bool {
		return r < 0x80 && !strings.ContainsRune("._-:", r) && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
	})
	if end < 0 {
		end = len(text)
	}
	return text[:end], text[end:]
}

// PathError is a text that is no path.
type PathError struct {
	Text   string
	Offset int // of what is wrong
	Why    string
}

func (e *PathError) Error() string {
	if e.Offset >= len(e.Text) {
		return fmt.Sprintf("%q ends too early: %s", e.Text, e.Why)
	}
	return fmt.Sprintf("%q goes wrong at %q: %s", e.Text, e.Text[e.Offset:], e.Why)
}

func unexpected(text, rest, why string) error {
	return &PathError{text, len(text) - len(rest), why}
}
