package logs

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Select Graphic Rendition (ECMA-48, 8.3.117).
const (
	sgrReset  = "\x1b[0m"
	sgrFaint  = "\x1b[2m"
	sgrRed    = "\x1b[1;31m"
	sgrYellow = "\x1b[33m"
	sgrCyan   = "\x1b[36m"
)

// textHandler writes events as lines of text.
type textHandler struct {
	out   *lineWriter
	level slog.Leveler
	text
}

func (h *textHandler) Enabled(_ context.Context, level slog.Level) bool {
	return level >= h.level.Level()
}

func (h *textHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &textHandler{out: h.out, level: h.level, text: h.with(attrs)}
}

func (h *textHandler) WithGroup(name string) slog.Handler {
	return &textHandler{out: h.out, level: h.level, text: h.within(name)}
}

func (h *textHandler) Handle(_ context.Context, r slog.Record) error {
	b := make([]byte, 0, 256)
	if !r.Time.IsZero() {
		b = h.paint(b, sgrFaint, r.Time.Format("15:04:05.000"))
		b = append(b, ' ')
	}
	if line, ok := outputOf(r); ok {
		b = h.appendOutput(b, line)
	} else {
		b = h.appendEvent(b, r)
	}
	return h.out.write(append(b, '\n'))
}

// text is how events become text, with what a logger was given beforehand.
// It is never changed.
type text struct {
	color  bool
	prefix string // of keys: the names of the open groups, each with a dot
	attrs  []byte // formatted, with a space before each
}

func (t text) with(attrs []slog.Attr) text {
	t.attrs = slices.Clip(t.attrs)
	for _, a := range attrs {
		t.attrs = t.appendAttr(t.attrs, t.prefix, a)
	}
	return t
}

func (t text) within(group string) text {
	if group != "" {
		t.prefix += group + "."
	}
	return t
}

// appendEvent appends level, message and attributes.
func (t text) appendEvent(b []byte, r slog.Record) []byte {
	if r.Level != slog.LevelInfo {
		b = t.paint(b, colorOf(r.Level), r.Level.String())
		b = append(b, ' ')
	}
	b = appendPrintable(b, r.Message)
	b = append(b, t.attrs...)
	r.Attrs(func(a slog.Attr) bool {
		b = t.appendAttr(b, t.prefix, a)
		return true
	})
	return b
}

// appendAttr appends an attribute, or the members of a group, by the rules of
// slog.Handler: empty ones are left out.
func (t text) appendAttr(b []byte, prefix string, a slog.Attr) []byte {
	a.Value = a.Value.Resolve()
	if a.Equal(slog.Attr{}) {
		return b
	}
	if a.Value.Kind() == slog.KindGroup {
		if a.Key != "" {
			prefix += a.Key + "."
		}
		for _, member := range a.Value.Group() {
			b = t.appendAttr(b, prefix, member)
		}
		return b
	}
	b = append(b, ' ')
	b = t.paint(b, sgrFaint, string(appendKey(nil, prefix+a.Key))+"=")
	return appendValue(b, valueText(a.Value))
}

func valueText(v slog.Value) string {
	switch v.Kind() {
	case slog.KindTime:
		return v.Time().Format(time.RFC3339Nano)
	case slog.KindAny:
		if list, ok := v.Any().([]string); ok {
			return strings.Join(list, "; ")
		}
		// A method that panics is caught by fmt.
		return fmt.Sprintf("%+v", v.Any())
	}
	return v.String()
}

func colorOf(level slog.Level) string {
	switch {
	case level >= slog.LevelError:
		return sgrRed
	case level >= slog.LevelWarn:
		return sgrYellow
	}
	return sgrFaint
}

func (t text) paint(b []byte, color, s string) []byte {
	if !t.color {
		return append(b, s...)
	}
	b = append(b, color...)
	b = append(b, s...)
	return append(b, sgrReset...)
}

// applicationLine is a line that an application printed.
type applicationLine struct {
	application, stream, line string
	pid                       int64
}

// outputOf returns the line of an application that an event is about, if any.
func outputOf(r slog.Record) (applicationLine, bool) {
	var l applicationLine
	found := false
	r.Attrs(func(a slog.Attr) bool {
		switch a.Key {
		case "application":
			l.application = a.Value.String()
		case "stream":
			l.stream = a.Value.String()
		case "pid":
			if a.Value.Kind() == slog.KindInt64 {
				l.pid = a.Value.Int64()
			}
		case "line":
			if o, ok := a.Value.Any().(output); ok {
				l.line, found = string(o), true
			}
		}
		return true
	})
	return l, found
}

func (t text) appendOutput(b []byte, l applicationLine) []byte {
	color := sgrCyan
	if l.stream == "stderr" {
		color = sgrYellow
	}
	who := string(appendPrintable(nil, l.application)) + "[" + strconv.FormatInt(l.pid, 10) + "] |"
	b = t.paint(b, color, who)
	b = append(b, ' ')
	return appendForeign(b, l.line, t.color)
}
