// Package edit changes configuration files as their authors would: only what
// has to change changes. Comments, the order of attributes, quotes, encoding,
// line ends and indentation stay, and what is new looks like its neighbours.
//
// It changes bytes in memory. Whether the result is a good configuration is
// for internal/plan to say, and internal/config/store writes it; commands of
// internal/cli put the three together.
package edit

import (
	"errors"
	"fmt"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/xmldoc"
)

// File is a configuration file that is being changed.
type File struct {
	path    string
	section string // of which the root element is; empty: it is <configuration>
	data    []byte
	doc     *xmldoc.Document
}

// Empty is the content of a file that is new.
const Empty = "<?xml version=\"1.0\" encoding=\"utf-8\"?>\n<configuration>\n</configuration>\n"

// Parse reads a file. One that is not well-formed cannot be changed; the error
// is a config.Problems then.
func Parse(path string, data []byte) (*File, error) {
	f := &File{path: path}
	if err := f.parse(data); err != nil {
		return nil, err
	}
	return f, nil
}

// ParseIncluded reads a file that a configSource names for a section, which is
// its root element.
func ParseIncluded(path, section string, data []byte) (*File, error) {
	f, err := Parse(path, data)
	if f != nil {
		f.section = section
	}
	return f, err
}

func (f *File) parse(data []byte) error {
	doc, problems := xmldoc.Parse(f.path, data)
	if problems.HasErrors() {
		return problems
	}
	f.data, f.doc = data, doc
	return nil
}

// replace puts a text in place of a span.
func (f *File) replace(at xmldoc.Span, text string) error { return f.parse(f.doc.Replace(at, text)) }

// Bytes returns the file as it is now.
func (f *File) Bytes() []byte { return f.data }

// Set sets an attribute for a location, which is the path of a <location>, or
// "" for the file as a whole. Elements on the way that are not there are made.
// An attribute that has the value already stays as it is written.
func (f *File) Set(location string, p Path, value string) error {
	if err := writable(p.Attribute, value); err != nil {
		return err
	}
	n, missing, err := f.walk(location, p)
	switch {
	case err != nil:
		return err
	case len(missing) > 0:
		last := &missing[len(missing)-1]
		last.Where = with(last.Where, Attr{p.Attribute, value})
		return f.insert(n, missing)
	}
	if a := n.Attr(p.Attribute); a == nil {
		return f.addAttribute(n, Attr{p.Attribute, value})
	} else if a.Value != value {
		return f.replace(a.ValueSpan, f.escape(value, f.doc.Text()[a.ValueSpan.End]))
	}
	return nil
}

// with returns attributes with one more, or with another value of it.
func with(attrs []Attr, a Attr) []Attr {
	all := append(attrs[:len(attrs):len(attrs)], a)
	for i := range attrs {
		if attrs[i].Name == a.Name {
			all = append(attrs[:i:i], a)
			return append(all, attrs[i+1:]...)
		}
	}
	return all
}

// Ensure makes an element, and those on the way to it, unless there is one.
func (f *File) Ensure(location string, p Path) error {
	n, missing, err := f.walk(location, p)
	if errors.As(err, new(*AmbiguousError)) {
		return nil // there are several
	}
	if err != nil || len(missing) == 0 {
		return err
	}
	return f.insert(n, missing)
}

// Has reports whether an element that a path names is there.
func (f *File) Has(p Path) bool {
	n, missing, err := f.walk("", p)
	return err == nil && n != nil && len(missing) == 0
}

// Unset takes an attribute or an element away, and the elements around it that
// have nothing in them without it and say nothing by being there. found tells
// that there was one.
func (f *File) Unset(location string, p Path) (found bool, err error) {
	n, missing, err := f.walk(location, p)
	if err != nil || len(missing) > 0 {
		return false, err
	}
	if p.Attribute == "" {
		return true, f.remove(f.around(n))
	}
	a := n.Attr(p.Attribute)
	if a == nil {
		return false, nil
	}
	if within := f.chain(n); len(within) > 1 && bare(n, a.Name) && hollow(n, nil) && f.silent(within) {
		return true, f.remove(f.around(n))
	}
	return true, f.replace(xmldoc.Span{Start: f.blanksBefore(a.Span.Start), End: a.Span.End}, "")
}

// AmbiguousError is a path that fits several elements.
type AmbiguousError struct {
	Path          string
	First, Second config.Pos
	Keys          []string // attributes that would tell them apart
}

func (e *AmbiguousError) Error() string {
	text := fmt.Sprintf("%s fits several elements, at %s and at %s", e.Path, e.First, e.Second)
	if len(e.Keys) > 0 {
		text += fmt.Sprintf("; say which, by %s", strings.Join(e.Keys, ", "))
	}
	return text
}

// UnnamedError is a path of an entry of a collection that does not say which.
type UnnamedError struct {
	Path string
	Keys []string
}

func (e *UnnamedError) Error() string {
	return fmt.Sprintf("%s is one entry of several; say which, as in %s[@%s='...']", e.Path, e.Path[strings.LastIndexByte(e.Path, '/')+1:], e.Keys[0])
}

// IncludedError is a path into a section that is in another file.
type IncludedError struct {
	Section string
	Name    string // of the file, as configSource has it
	Pos     config.Pos
}

func (e *IncludedError) Error() string {
	return fmt.Sprintf("%s: %s is in the file %s", e.Pos, e.Section, e.Name)
}
