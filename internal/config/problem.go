// Package config holds the words that all packages of the configuration
// share: a place in a file, a problem found there, and how a list of problems
// is told to people and to programs.
//
// The configuration stands beside the road of a request, not on it: the
// packages below this one read and merge what the administrator wrote, and
// internal/plan alone turns the result into settings of the stages. Commands
// may import this package to print problems; stages may not.
package config

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strconv"
	"strings"
)

// Pos is a place in a file. Line and Column count from 1, Column in
// characters, not bytes. A Pos without a Line means the file as a whole; the
// zero Pos means no file at all, as for the origin of a default value.
type Pos struct {
	File   string `json:"file,omitempty"`
	Line   int    `json:"line,omitempty"`
	Column int    `json:"column,omitempty"`
}

// String returns "file:line:column", which editors and terminals make a link
// of.
func (p Pos) String() string {
	if p.Line == 0 {
		return p.File
	}
	return p.File + ":" + strconv.Itoa(p.Line) + ":" + strconv.Itoa(p.Column)
}

// Severity tells a problem that makes its file unusable from one that does
// not.
type Severity uint8

// The severities, the worse one first.
const (
	Error Severity = iota
	Warning
)

// String returns "error" or "warning".
func (s Severity) String() string {
	if s == Warning {
		return "warning"
	}
	return "error"
}

// MarshalText makes a Severity its name in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Problem is one thing that is wrong with the configuration, told so that the
// one who reads it can mend it.
type Problem struct {
	Code     Code     `json:"code"`
	Severity Severity `json:"severity"`
	Pos

	// Subject names what the problem is about, as a section path with an
	// attribute behind it: "system.webServer/webSocket/@pingInterval". It is
	// empty where there is no such name.
	Subject string `json:"subject,omitempty"`

	Message  string `json:"message"`            // what is wrong, without a full stop
	Expected string `json:"expected,omitempty"` // what would be right
	Hint     string `json:"hint,omitempty"`     // the way out

	// Source is the line at Pos, or the part of a long one around Caret, the
	// column in Source that Pos means. See Excerpt.
	Source string `json:"source,omitempty"`
	Caret  int    `json:"-"`
}

// String returns place, severity, code and message in one line.
func (p Problem) String() string {
	s := p.Pos.String()
	if s != "" {
		s += ": "
	}
	return s + p.Severity.String() + " " + string(p.Code) + ": " + p.Message
}

// Log writes the problem as a line of log, with what was expected and the way
// out, as far as there are any.
func (p Problem) Log(log *slog.Logger) {
	level := slog.LevelError
	if p.Severity == Warning {
		level = slog.LevelWarn
	}
	var attrs []slog.Attr
	if p.Expected != "" {
		attrs = append(attrs, slog.String("expected", p.Expected))
	}
	if p.Hint != "" {
		attrs = append(attrs, slog.String("hint", p.Hint))
	}
	log.LogAttrs(context.Background(), level, p.String(), attrs...)
}

// Detail returns all that is known of the problem in several lines: the
// summary, the source line with a caret under the place, what was expected,
// and the hint. It ends with a line end.
func (p Problem) Detail() string {
	var b strings.Builder
	b.WriteString(p.String())
	b.WriteByte('\n')
	if p.Source != "" {
		gutter := strconv.Itoa(p.Line)
		fmt.Fprintf(&b, "  %s | %s\n", gutter, p.Source)
		fmt.Fprintf(&b, "  %*s | %s^\n", len(gutter), "", caretIndent(p.Source, p.Caret))
	}
	if p.Expected != "" {
		b.WriteString("  expected: " + p.Expected + "\n")
	}
	if p.Hint != "" {
		b.WriteString("  hint: " + p.Hint + "\n")
	}
	return b.String()
}

// caretIndent returns the blanks that stand before a caret under column caret
// of source. Tabs stay tabs, so that both lines are moved alike.
func caretIndent(source string, caret int) string {
	var b strings.Builder
	for _, r := range source {
		if caret--; caret < 1 {
			break
		}
		if r != '\t' {
			r = ' '
		}
		b.WriteRune(r)
	}
	for ; caret > 1; caret-- { // a place behind the end of the line
		b.WriteByte(' ')
	}
	return b.String()
}

// excerptWidth is how many characters of a source line a Problem shows.
const excerptWidth = 110

// Excerpt cuts the part of a line that is worth showing for a problem at
// column, and returns it with the column that the place has in it. A cut is
// marked with an ellipsis. Control characters, which a terminal would obey,
// are replaced.
func Excerpt(line string, column int) (source string, caret int) {
	runes := []rune(line)
	from, to := 0, len(runes)
	if to > excerptWidth {
		from = min(max(0, column-1-excerptWidth/2), to-excerptWidth)
		to = from + excerptWidth
	}
	var b strings.Builder
	caret = column - from
	if from > 0 {
		b.WriteRune('…')
		caret++
	}
	for _, r := range runes[from:to] {
		if (r < ' ' && r != '\t') || (r >= 0x7f && r < 0xa0) {
			r = '\ufffd'
		}
		b.WriteRune(r)
	}
	if to < len(runes) {
		b.WriteRune('…')
	}
	return b.String(), caret
}

// MaxErrors is how many errors one list of Problems takes. Who has mended
// these looks again.
const MaxErrors = 100

// Problems is a list of problems. The zero value is an empty list. As an
// error it is told by its first error and the number of others; see Err.
type Problems []Problem

// Full reports whether the list takes no further errors, so that a reader can
// spare the work of describing them.
func (ps Problems) Full() bool {
	n := 0
	for i := range ps {
		if ps[i].Severity == Error {
			n++
		}
	}
	return n >= MaxErrors
}

// Add appends p. An error too many is dropped; a warning never is.
func (ps *Problems) Add(p Problem) {
	if p.Severity == Error && ps.Full() {
		return
	}
	*ps = append(*ps, p)
}

// Sort orders the list by file, line and column. Problems of one place keep
// their order.
func (ps Problems) Sort() {
	slices.SortStableFunc(ps, func(a, b Problem) int {
		return cmp.Or(
			strings.Compare(a.File, b.File),
			cmp.Compare(a.Line, b.Line),
			cmp.Compare(a.Column, b.Column),
		)
	})
}

// HasErrors reports whether at least one problem is an error.
func (ps Problems) HasErrors() bool {
	return slices.ContainsFunc(ps, func(p Problem) bool { return p.Severity == Error })
}

// Err returns the list as an error, and nil if it holds warnings at most.
func (ps Problems) Err() error {
	if !ps.HasErrors() {
		return nil
	}
	return ps
}

// Error returns the first error in one line and how many others there are.
func (ps Problems) Error() string {
	first, more := "no configuration errors", -1
	for i := range ps {
		if ps[i].Severity == Error {
			if more++; more == 0 {
				first = ps[i].String()
			}
		}
	}
	switch {
	case more == 1:
		return first + " (and 1 more error)"
	case more > 1:
		return first + " (and " + strconv.Itoa(more) + " more errors)"
	}
	return first
}

// WriteTo writes every problem in full, with an empty line between two.
func (ps Problems) WriteTo(w io.Writer) (int64, error) {
	var total int64
	for i := range ps {
		text := ps[i].Detail()
		if i > 0 {
			text = "\n" + text
		}
		n, err := io.WriteString(w, text)
		total += int64(n)
		if err != nil {
			return total, err
		}
	}
	return total, nil
}
