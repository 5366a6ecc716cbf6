package logs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"
)

// DefaultDebugFile is where the debug log goes if the file token does not say.
const DefaultDebugFile = `.\aspnetcore-debug.log`

// DebugSource is one place that asks for a debug log: the host's environment,
// or handlerSettings in web.config.
type DebugSource struct {
	Level string // debugLevel: a list of tokens with commas
	File  string // debugFile: relative to the folder of the application
}

// DebugEnvironment returns what the host's environment asks for.
func DebugEnvironment(getenv func(string) string) DebugSource {
	return DebugSource{Level: getenv("ASPNETCORE_MODULE_DEBUG"), File: getenv("ASPNETCORE_MODULE_DEBUG_FILE")}
}

// DebugOptions say what a debug log is about.
type DebugOptions struct {
	Root    string        // the folder of the application
	Sources []DebugSource // the environment first, then web.config
	Console io.Writer     // for the console token; nil: it has no effect

	// Program and Version are told at the beginning.
	Program, Version string
}

// Debug is the debug log that the ASP.NET Core Module keeps of one application
// (spec 5.4). It repeats what the host logs about the application, more of it
// if asked to, in a file of its own:
//
//	[2006-01-02T15:04:05.000Z, PID: 1234] [perch] text
//
// The file is appended to, each line at once, and has no limit. Lines end as
// the host's do, with LF on every system.
type Debug struct {
	flags   debugFlags
	console *lineWriter // nil: none
	file    *os.File    // nil: none
	out     *lineWriter // to file
	greeted bool        // the file has its header
	options DebugOptions
}

// debugFlags are what tokens ask for, added up.
type debugFlags struct {
	leveled bool       // a level was named or implied
	level   slog.Level // the least severe of them
	console bool
	file    bool
}

// debugTokens are what a token may begin with, in any case (spec 5.4).
var debugTokens = []struct {
	name  string
	level slog.Level
	what  func(*debugFlags)
}{
	{name: "error", level: slog.LevelError},
	{name: "warning", level: slog.LevelWarn},
	{name: "info", level: slog.LevelInfo},
	{name: "trace", level: slog.LevelDebug},
	{name: "console", what: func(f *debugFlags) { f.console = true }},
	{name: "file", what: func(f *debugFlags) { f.file = true }},
}

// OpenDebug returns the debug log that the sources ask for together, which may
// be none. What is wrong with them is the error, every problem at once; the
// rest of them holds all the same, and the Debug is never nil.
func OpenDebug(o DebugOptions) (*Debug, error) {
	d := &Debug{options: o}
	var problems []error
	for _, s := range o.Sources {
		problems = append(problems, d.flags.add(s.Level))
		name := s.File
		if name == "" && d.flags.file && d.file == nil {
			name = DefaultDebugFile
		}
		if name != "" {
			problems = append(problems, d.open(name))
		}
		d.greet()
	}
	if d.flags.console && o.Console != nil {
		d.console = &lineWriter{w: o.Console}
	}
	return d, errors.Join(problems...)
}

// add adds the tokens of a debugLevel. Unknown ones mean nothing, among them
// those with a space before them.
func (f *debugFlags) add(level string) error {
	var err error
	location := false
	for token := range strings.SplitSeq(level, ",") {
		if begins(token, "eventlog") {
			err = errors.New("debugLevel: there is no eventlog here, file and console are the places for a debug log")
		}
		for _, t := range debugTokens {
			switch {
			case !begins(token, t.name):
			case t.what != nil:
				t.what(f)
				location = true
			case !f.leveled || t.level < f.level:
				f.leveled, f.level = true, t.level
			}
		}
	}
	if location && !f.leveled {
		f.leveled, f.level = true, slog.LevelInfo
	}
	return err
}

func begins(token, name string) bool {
	return len(token) >= len(name) && strings.EqualFold(token[:len(name)], name)
}

// open makes a file the one that the log goes to. After an error the log stays
// where it was.
func (d *Debug) open(name string) error {
	file, err := openAppend(d.options.Root, name)
	if err != nil {
		return fmt.Errorf("open the debug log: %w", err)
	}
	if d.file != nil {
		d.note(fmt.Sprintf("Switching debug log files to '%s'", file.Name()))
		d.file.Close()
	}
	d.file, d.out, d.greeted = file, &lineWriter{w: file}, false
	return nil
}

// greet writes the header of the file, once something is to be written there.
func (d *Debug) greet() {
	if d.file == nil || d.greeted || !d.flags.enabled(slog.LevelInfo) {
		return
	}
	d.greeted = true
	d.note(fmt.Sprintf("Initializing logs for '%s'. Process Id: %d. File Version: %s. Description: Perch, in the place of the ASP.NET Core Module.",
		d.options.Program, os.Getpid(), d.options.Version))
}

func (f debugFlags) enabled(level slog.Level) bool { return f.leveled && level >= f.level }

// note writes a line of the log about itself.
func (d *Debug) note(s string) {
	if d.file != nil && d.flags.enabled(slog.LevelInfo) {
		_ = d.out.write(append(appendPrintable(d.appendHead(nil, time.Now()), s), '\n'))
	}
}

func (d *Debug) appendHead(b []byte, at time.Time) []byte {
	b = append(b, '[')
	b = at.UTC().AppendFormat(b, "2006-01-02T15:04:05.000Z")
	return fmt.Appendf(b, ", PID: %d] [perch] ", os.Getpid())
}

// Logger returns a logger that logs to host, and to the debug log what that
// asks for. Without a debug log it is host itself.
func (d *Debug) Logger(host *slog.Logger) *slog.Logger {
	if !d.flags.leveled || d.file == nil && d.console == nil {
		return host
	}
	return slog.New(&debugHandler{host: host.Handler(), debug: d})
}

// Close closes the file. What is logged afterwards does not reach it.
func (d *Debug) Close() error {
	if d.file == nil {
		return nil
	}
	return d.file.Close()
}

// debugHandler passes events to the host's log and to a debug log.
type debugHandler struct {
	host  slog.Handler
	debug *Debug
	text
}

func (h *debugHandler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.debug.flags.enabled(level) || h.host.Enabled(ctx, level)
}

func (h *debugHandler) WithAttrs(attrs []slog.Attr) slog.Handler {
	return &debugHandler{host: h.host.WithAttrs(attrs), debug: h.debug, text: h.with(attrs)}
}

func (h *debugHandler) WithGroup(name string) slog.Handler {
	return &debugHandler{host: h.host.WithGroup(name), debug: h.debug, text: h.within(name)}
}

// Handle leaves the output of the application to the host's log. The console
// gets only what the host's log leaves out, which is there anyway.
func (h *debugHandler) Handle(ctx context.Context, r slog.Record) error {
	var errs []error
	hosted := h.host.Enabled(ctx, r.Level)
	if hosted {
		errs = append(errs, h.host.Handle(ctx, r.Clone()))
	}
	if _, foreign := outputOf(r); foreign || !h.debug.flags.enabled(r.Level) {
		return errors.Join(errs...)
	}
	line := append(h.appendEvent(h.debug.appendHead(make([]byte, 0, 256), r.Time), r), '\n')
	if h.debug.file != nil {
		errs = append(errs, h.debug.out.write(line))
	}
	if h.debug.console != nil && !hosted {
		errs = append(errs, h.debug.console.write(line))
	}
	return errors.Join(errs...)
}
