package logs

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/slogtest"
	"time"
)

// events are logged at every level that there is a token for.
func events(log *slog.Logger) {
	log.Debug("trace line")
	log.Info("info line", "event", 1001)
	log.Warn("warning line")
	log.Error("error line", "err", "a\nb")
}

// debugBench is a debug log beside a host's log.
type debugBench struct {
	root          string
	host, console bytes.Buffer
	log           *slog.Logger
	err           error
}

// openDebug opens the debug log that the sources ask for, in a new folder or
// in the one given.
func openDebug(t *testing.T, root string, sources ...DebugSource) *debugBench {
	t.Helper()
	if root == "" {
		root = t.TempDir()
	}
	b := &debugBench{root: root}
	d, err := OpenDebug(DebugOptions{Root: b.root, Sources: sources, Console: &b.console, Program: "/opt/perch", Version: "1.2.3"})
	b.err = err
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	b.log = d.Logger(New(&b.host, Options{}))
	return b
}

// file returns the text of a file in the folder, empty if there is none.
func (b *debugBench) file(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(b.root, name))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

const defaultFile = "aspnetcore-debug.log"

var (
	debugLine   = regexp.MustCompile(`^\[(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z), PID: (\d+)\] \[perch\] \S`)
	debugHeader = fmt.Sprintf("[perch] Initializing logs for '/opt/perch'. Process Id: %d. File Version: 1.2.3. Description: ", os.Getpid())
)

// assertLog wants the header, and what events logs from info on.
func assertLog(t *testing.T, text string) {
	t.Helper()
	for _, want := range []string{debugHeader, "[perch] info line event=1001\n", "[perch] WARN warning line\n", `[perch] ERROR error line err="a\nb"` + "\n"} {
		if strings.Count(text, want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, text)
		}
	}
	if strings.Contains(text, "trace line") {
		t.Errorf("the level of a place without a level is not info:\n%s", text)
	}
}

// The names of these tests are those of the checklist in spec 8.2.

func TestStartupMessagesAreLoggedIntoDebugLogFile(t *testing.T) {
	t.Parallel()
	for name, at := range map[string]string{
		`.\debug.txt`:           "debug.txt",
		`logs\deep\x.txt`:       "logs/deep/x.txt",
		"logs/y.txt":            "logs/y.txt",
		"../logs/z.txt":         "../logs/z.txt",
		"ümlaut\\日本.txt":        "ümlaut/日本.txt",
		"/ABSOLUTE/logs/ab.txt": "logs/ab.txt",
	} {
		t.Run(at, func(t *testing.T) {
			t.Parallel()
			root := filepath.Join(t.TempDir(), "app")
			if err := os.Mkdir(root, 0o755); err != nil {
				t.Fatal(err)
			}
			if rest, ok := strings.CutPrefix(name, "/ABSOLUTE/"); ok {
				name = filepath.Join(root, rest)
			}
			b := openDebug(t, root, DebugSource{}, DebugSource{Level: "file", File: name})
			events(b.log)
			if b.err != nil {
				t.Error(b.err)
			}
			assertLog(t, b.file(t, at))
			if n := strings.Count(b.host.String(), " line"); n != 3 {
				t.Errorf("the host's log has %d events:\n%s", n, b.host.String())
			}
		})
	}
}

func TestStartupMessagesAreLoggedIntoDefaultDebugLogFile(t *testing.T) {
	t.Parallel()
	b := openDebug(t, "", DebugSource{}, DebugSource{Level: "file"})
	events(b.log)
	assertLog(t, b.file(t, defaultFile))
}

func TestStartupMessagesAreLoggedIntoDebugLogFileWhenEnabledWithEnvVar(t *testing.T) {
	t.Parallel()
	env := map[string]string{"ASPNETCORE_MODULE_DEBUG": "file"}
	b := openDebug(t, "", DebugEnvironment(func(name string) string { return env[name] }), DebugSource{File: ""})
	events(b.log)
	assertLog(t, b.file(t, defaultFile))
}

func TestStartupMessagesLogFileSwitchedWhenLogFilePresentInWebConfig(t *testing.T) {
	t.Parallel()
	env := map[string]string{"ASPNETCORE_MODULE_DEBUG_FILE": "first.txt"}
	b := openDebug(t, "", DebugEnvironment(func(name string) string { return env[name] }), DebugSource{Level: "file", File: "second.txt"})
	events(b.log)
	first := b.file(t, "first.txt")
	if want := "[perch] Switching debug log files to '" + filepath.Join(b.root, "second.txt") + "'\n"; !strings.HasSuffix(first, want) || strings.Count(first, "\n") != 1 {
		t.Errorf("the first file holds %q, want its only line to end with %q", first, want)
	}
	assertLog(t, b.file(t, "second.txt"))
}

func TestLogsContainTimestampAndPID(t *testing.T) {
	t.Parallel()
	b := openDebug(t, "", DebugSource{Level: "file,trace"})
	events(b.log)
	r := slog.NewRecord(at.In(time.FixedZone("elsewhere", 5*3600)), slog.LevelInfo, "x", 0)
	if err := b.log.Handler().Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	text := strings.TrimSuffix(b.file(t, defaultFile), "\n")
	lines := strings.Split(text, "\n")
	if len(lines) != 6 {
		t.Errorf("%d lines, want a header and 5 events:\n%s", len(lines), text)
	}
	if want := at.UTC().Format("[2006-01-02T15:04:05.000Z,"); !strings.HasPrefix(lines[len(lines)-1], want) {
		t.Errorf("line %q, want the time %s", lines[len(lines)-1], want)
	}
	for _, line := range lines {
		m := debugLine.FindStringSubmatch(line)
		if m == nil || len(m[1]) != 24 || m[2] != fmt.Sprint(os.Getpid()) {
			t.Errorf("line %q", line)
		}
	}
}

func TestDebugTokens(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		first, second DebugSource
		file, console int // lines of events
	}{
		{first: DebugSource{}, file: 0},
		{first: DebugSource{Level: "file,error"}, file: 1},
		{first: DebugSource{Level: "file,warning"}, file: 2},
		{first: DebugSource{Level: "info,file"}, file: 3},
		{first: DebugSource{Level: "FILE,Trace"}, file: 4},
		{first: DebugSource{Level: "trace,error,file"}, file: 4},           // levels are cumulative
		{first: DebugSource{Level: "files,tracelevel"}, file: 4},           // only the beginning counts
		{first: DebugSource{Level: "fil,file,tra"}, file: 3},               // a part is no token
		{first: DebugSource{Level: "file, trace"}, file: 3},                // a token with a space is ignored
		{first: DebugSource{Level: " file"}, file: 0},                      // this one too
		{first: DebugSource{Level: "trace"}, file: 0},                      // a level without a place
		{first: DebugSource{File: defaultFile}, file: 0},                   // a file without a level
		{first: DebugSource{File: defaultFile, Level: "warning"}, file: 2}, // no need of the file token
		{first: DebugSource{Level: "trace"}, second: DebugSource{File: defaultFile}, file: 4},
		{first: DebugSource{File: defaultFile}, second: DebugSource{Level: "error"}, file: 1},
		{first: DebugSource{Level: "file,trace"}, second: DebugSource{Level: "error"}, file: 4}, // flags are never cleared
		{first: DebugSource{Level: "file,error"}, second: DebugSource{Level: "console"}, file: 1},
		{first: DebugSource{Level: "console,trace"}, console: 1}, // the rest is in the host's log
		{first: DebugSource{Level: "console"}, console: 0},
		{first: DebugSource{Level: "console,file,trace"}, file: 4, console: 1},
		{first: DebugSource{Level: ",,nothing,"}, file: 0},
	} {
		t.Run(fmt.Sprint(c.first, c.second), func(t *testing.T) {
			t.Parallel()
			b := openDebug(t, "", c.first, c.second)
			events(b.log)
			if b.err != nil {
				t.Error(b.err)
			}
			if text := b.file(t, defaultFile); strings.Count(text, " line") != c.file {
				t.Errorf("want %d events in the file:\n%s", c.file, text)
			}
			if text := b.console.String(); strings.Count(text, " line") != c.console || c.console > 0 && !debugLine.MatchString(text) {
				t.Errorf("want %d events on the console:\n%s", c.console, text)
			}
			if text := b.host.String(); strings.Count(text, " line") != 3 || strings.Contains(text, "trace") {
				t.Errorf("want 3 events in the host's log:\n%s", text)
			}
		})
	}
}

// The header is the first line, when there is anything to be written at its
// level.
func TestDebugHeader(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		sources []DebugSource
		count   int
	}{
		{[]DebugSource{{Level: "file"}}, 1},
		{[]DebugSource{{Level: "file,error"}}, 0},
		{[]DebugSource{{File: defaultFile}}, 0},
		{[]DebugSource{{File: defaultFile}, {Level: "info"}}, 1},
		{[]DebugSource{{Level: "file"}, {Level: "file,trace"}}, 1},
		{[]DebugSource{{Level: "file", File: "first.log"}, {File: defaultFile}}, 1},
	} {
		b := openDebug(t, "", c.sources...)
		text := b.file(t, defaultFile)
		if strings.Count(text, debugHeader) != c.count || strings.Count(text, "\n") != c.count {
			t.Errorf("%v: want %d headers:\n%s", c.sources, c.count, text)
		}
	}
}

// A file is appended to, by any number of debug logs.
func TestDebugAppends(t *testing.T) {
	t.Parallel()
	one := openDebug(t, "", DebugSource{Level: "file"})
	one.log.Info("one")
	two := openDebug(t, one.root, DebugSource{Level: "file"})
	two.log.Info("two")
	one.log.Info("three")
	text := one.file(t, defaultFile)
	if n := strings.Count(text, "\n"); n != 5 || strings.Count(text, debugHeader) != 2 || !strings.HasSuffix(text, "three\n") {
		t.Errorf("%d lines:\n%s", n, text)
	}
}

// What cannot be is said, and the rest goes on.
func TestDebugProblems(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		source DebugSource
		want   string
	}{
		{DebugSource{Level: "trace", File: "file/x.log"}, "file"},
		{DebugSource{Level: "trace", File: "."}, "open the debug log"},
		{DebugSource{Level: "eventlog,trace,file"}, "eventlog"},
	} {
		b := openDebug(t, root, c.source)
		if b.err == nil || !strings.Contains(b.err.Error(), c.want) {
			t.Errorf("%v: %v, want an error about %q", c.source, b.err, c.want)
		}
		events(b.log)
		if n := strings.Count(b.host.String(), " line"); n != 3 {
			t.Errorf("%v: %d events in the host's log", c.source, n)
		}
	}
	b := openDebug(t, root, DebugSource{Level: "eventlog,file", File: "first.log"}, DebugSource{File: "file/x.log"})
	events(b.log)
	assertLog(t, b.file(t, "first.log"))
	if strings.Contains(b.file(t, "first.log"), "Switching") {
		t.Error("a file that cannot be opened is switched to")
	}
	if n := strings.Count(b.err.Error(), "\n"); n != 1 {
		t.Errorf("want both problems: %v", b.err)
	}
}

func TestDebugWithoutSources(t *testing.T) {
	t.Parallel()
	host := New(io.Discard, Options{})
	for _, level := range []string{"", "trace", "console"} {
		d, err := OpenDebug(DebugOptions{Root: t.TempDir(), Sources: []DebugSource{{Level: level}}})
		if err != nil || d.Logger(host) != host || d.Close() != nil {
			t.Errorf("%q: the logger is not the host's, %v", level, err)
		}
	}
}

// The output of the application is in the host's log alone.
func TestDebugLeavesOutputOut(t *testing.T) {
	t.Parallel()
	b := openDebug(t, "", DebugSource{Level: "file,trace,console"})
	Line(b.log, "shop", 7, "stdout", []byte("hello"))
	if text := b.file(t, defaultFile) + b.console.String(); strings.Contains(text, "hello") {
		t.Errorf("the debug log holds %q", text)
	}
	if !strings.HasSuffix(b.host.String(), " shop[7] | hello\n") {
		t.Errorf("the host's log holds %q", b.host.String())
	}
}

func TestDebugWith(t *testing.T) {
	t.Parallel()
	b := openDebug(t, "", DebugSource{Level: "file,trace"})
	b.log.With("application", "shop").WithGroup("g").Debug("x", "n", 1)
	if text := b.file(t, defaultFile); !strings.HasSuffix(text, "[perch] DEBUG x application=shop g.n=1\n") {
		t.Errorf("the file holds %q", text)
	}
}

// Beside a debug log the host's handler still gets what it would get alone.
func TestDebugContract(t *testing.T) {
	t.Parallel()
	var host bytes.Buffer
	d, err := OpenDebug(DebugOptions{Root: t.TempDir(), Sources: []DebugSource{{Level: "file,trace"}}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	slogtest.Run(t, func(*testing.T) slog.Handler {
		host.Reset()
		return d.Logger(New(&host, Options{})).Handler()
	}, func(t *testing.T) map[string]any { return parse(t, host.String()) })
}
