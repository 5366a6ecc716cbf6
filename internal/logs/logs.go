// Package logs writes what the host has to say: one line of text for each
// event on a terminal, one JSON object otherwise. It also carries the lines
// that applications print, and the debug log of the ASP.NET Core Module.
//
// It stands beside the road of a request: every stage is given a *slog.Logger
// and knows no more. internal/plan, internal/daemon and internal/cli, which
// make and hand out the loggers, may import it.
package logs

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"sync"
)

// Options say how a log is written. The zero value is text without colour,
// from slog.LevelInfo on.
type Options struct {
	JSON  bool         // JSON lines instead of text
	Color bool         // of text; see Color
	Level slog.Leveler // the least that is logged; nil is Info
}

// New returns a logger whose events are single lines on w, each written by
// one call of Write, one at a time. No line holds a raw control character,
// whatever is logged; only with Color, those that colour it.
//
// Text is the time of the day, the level unless that is INFO, the message,
// and key=value for each attribute, with quoted values where they hold spaces
// or what cannot be printed:
//
//	15:04:05.000 WARN start attempt failed event=1000 err="open app.dll: no such file"
func New(w io.Writer, o Options) *slog.Logger {
	if o.Level == nil {
		o.Level = slog.LevelInfo
	}
	if o.JSON {
		return slog.New(slog.NewJSONHandler(w, &slog.HandlerOptions{Level: o.Level, ReplaceAttr: withUnit}))
	}
	return slog.New(&textHandler{out: &lineWriter{w: w}, level: o.Level, text: text{color: o.Color}})
}

// withUnit writes a duration as text does: "1.5s".
func withUnit(_ []string, a slog.Attr) slog.Attr {
	if a.Value.Kind() == slog.KindDuration {
		a.Value = slog.StringValue(a.Value.Duration().String())
	}
	return a
}

// For returns the logger that suits w: text if w is a terminal, coloured if it
// may be, and JSON lines otherwise. getenv is asked for NO_COLOR and TERM.
func For(w io.Writer, getenv func(string) string, level slog.Leveler) *slog.Logger {
	o := Options{JSON: true, Level: level}
	if f, ok := w.(*os.File); ok && Terminal(f) {
		o.JSON, o.Color = false, Color(f, getenv)
	}
	return New(w, o)
}

// Line logs one line that an application printed, without its end. As text it
// is
//
//	15:04:05.000 shop[1234] | line
//
// with the colours that the application gave it, if the log is coloured.
func Line(log *slog.Logger, application string, pid int, stream string, line []byte) {
	log.Info("application output", "application", application, "pid", pid, "stream", stream, "line", output(line))
}

// output is a line of an application. Its type tells the handlers of this
// package from whom it is.
type output string

// MarshalJSON returns the line without its colours. Any other control
// character becomes an escape of JSON.
func (o output) MarshalJSON() ([]byte, error) { return json.Marshal(plain(string(o))) }

// lineWriter lets one line through at a time.
type lineWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lineWriter) write(line []byte) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := l.w.Write(line)
	return err
}
