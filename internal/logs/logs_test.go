package logs

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/slogtest"
	"time"
	"unicode/utf8"
)

// at is the time of the events in these tests.
var at = time.Date(2026, 3, 9, 7, 5, 4, 21_900_000, time.Local)

// lineOf returns what one event is logged as.
func lineOf(t *testing.T, o Options, level slog.Level, message string, args ...any) string {
	t.Helper()
	var b bytes.Buffer
	r := slog.NewRecord(at, level, message, 0)
	r.Add(args...)
	if err := New(&b, o).Handler().Handle(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

type valuer struct{}

func (valuer) LogValue() slog.Value {
	return slog.GroupValue(slog.String("step", "spawn"), slog.Int("port", 5000))
}

type panics struct{}

func (panics) String() string { panic("no text") }

func TestText(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		level slog.Level
		msg   string
		args  []any
		want  string
	}{
		{"Plain", slog.LevelInfo, "ready", nil, "ready"},
		{"Levels", slog.LevelWarn, "a folder cannot be watched", nil, "WARN a folder cannot be watched"},
		{"Between", slog.LevelError + 2, "x", nil, "ERROR+2 x"},
		{"Kinds", slog.LevelInfo, "x", []any{"n", 7, "ok", true, "took", 1500 * time.Millisecond, "f", 0.5, "none", nil},
			"x n=7 ok=true took=1.5s f=0.5 none=<nil>"},
		{"Time", slog.LevelInfo, "x", []any{"at", time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)}, "x at=2026-01-02T03:04:05Z"},
		{"Error", slog.LevelError, "no", []any{"err", errors.New("open x: no such file")}, `ERROR no err="open x: no such file"`},
		{"Word", slog.LevelInfo, "x", []any{"path", `C:\apps\shop`, "target", "/a?b=c"}, `x path=C:\apps\shop target=/a?b=c`},
		{"Quoted", slog.LevelInfo, "x", []any{"empty", "", "q", `say "hi"`, "nl", "a\nb", "tab", "a\tb"},
			`x empty="" q="say \"hi\"" nl="a\nb" tab="a\tb"`},
		{"Letters", slog.LevelInfo, "größer", []any{"name", "日本"}, "größer name=日本"},
		{"Hostile", slog.LevelInfo, "a\r\n07:05:04.021 forged\x1b[2J", []any{"v", "\x1b]0;title\a", "turn", "a\u202eb", "bad", "\xff"},
			`a\r\n07:05:04.021 forged\x1b[2J v="\x1b]0;title\a" turn="a\u202eb" bad="\xff"`},
		{"Invalid", slog.LevelInfo, "bad \xc3 \u009b", nil, `bad \xc3 \u009b`},
		{"Keys", slog.LevelInfo, "x", []any{"exit code", 1, "a=b", 2, "", 3, "a\nb", 4}, `x "exit code"=1 "a=b"=2 ""=3 "a\nb"=4`},
		{"List", slog.LevelInfo, "x", []any{"advice", []string{"do this", "or that"}}, `x advice="do this; or that"`},
		{"Groups", slog.LevelInfo, "x", []any{slog.Group("report", "title", "t", slog.Group("in", "n", 1), slog.Group("none"), slog.Group("", "flat", 2))},
			"x report.title=t report.in.n=1 report.flat=2"},
		{"NoAttribute", slog.LevelInfo, "x", []any{slog.Attr{}, "n", 1}, "x n=1"},
		{"Valuer", slog.LevelInfo, "x", []any{"start", valuer{}}, "x start.step=spawn start.port=5000"},
		{"Panic", slog.LevelInfo, "x", []any{"v", panics{}}, `x v="%!v(PANIC=String method: no text)"`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if got, want := lineOf(t, Options{}, c.level, c.msg, c.args...), "07:05:04.021 "+c.want+"\n"; got != want {
				t.Errorf("got  %q\nwant %q", got, want)
			}
		})
	}
}

func TestTextLevels(t *testing.T) {
	t.Parallel()
	for _, json := range []bool{false, true} {
		var b bytes.Buffer
		var least slog.LevelVar
		least.Set(slog.LevelWarn)
		log := New(&b, Options{JSON: json, Level: &least})
		log.Info("one")
		log.Warn("two")
		least.Set(slog.LevelDebug)
		log.Debug("three")
		New(&b, Options{JSON: json}).Debug("four")
		text := b.String()
		if strings.Contains(text, "one") || !strings.Contains(text, "two") || !strings.Contains(text, "three") || strings.Contains(text, "four") {
			t.Errorf("JSON %v: logged %s", json, text)
		}
	}
}

func TestTextColor(t *testing.T) {
	t.Parallel()
	got := lineOf(t, Options{Color: true}, slog.LevelError, "no\x1b[31m", "key", "v\x1b[0m")
	want := "\x1b[2m07:05:04.021\x1b[0m \x1b[1;31mERROR\x1b[0m no\\x1b[31m \x1b[2mkey=\x1b[0m\"v\\x1b[0m\"\n"
	if got != want {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// The handler obeys the contract of slog.Handler.
func TestTextContract(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	slogtest.Run(t, func(*testing.T) slog.Handler {
		b.Reset()
		return New(&b, Options{}).Handler()
	}, func(t *testing.T) map[string]any { return parse(t, b.String()) })
}

var clock = regexp.MustCompile(`(?m)^\d\d:\d\d:\d\d\.\d\d\d `)

// parse reads a line of text whose message is one word.
func parse(t *testing.T, line string) map[string]any {
	t.Helper()
	all := map[string]any{slog.LevelKey: "INFO"}
	line, ok := strings.CutSuffix(line, "\n")
	if !ok || strings.Contains(line, "\n") {
		t.Fatalf("not one line: %q", line)
	}
	if stamp := clock.FindString(line); stamp != "" {
		all[slog.TimeKey] = stamp
		line = line[len(stamp):]
	}
	words := strings.Fields(line)
	all[slog.MessageKey] = words[0]
	for _, w := range words[1:] {
		key, value, _ := strings.Cut(w, "=")
		at := all
		names := strings.Split(key, ".")
		for _, group := range names[:len(names)-1] {
			if at[group] == nil {
				at[group] = map[string]any{}
			}
			at = at[group].(map[string]any)
		}
		at[names[len(names)-1]] = value
	}
	return all
}

// Loggers made from others share the writer, and none changes what another
// was given.
func TestTextWith(t *testing.T) {
	t.Parallel()
	for n := range 40 {
		var b bytes.Buffer
		name := strings.Repeat("x", n+1)
		log := New(&b, Options{}).With("name", name)
		one, two := log.With("n", 1), log.WithGroup("g").With("n", 2)
		one.Info("a", "x", 1)
		two.Info("b", "x", 2)
		log.Info("c")
		want := fmt.Sprintf("a name=%[1]s n=1 x=1\nb name=%[1]s g.n=2 g.x=2\nc name=%[1]s\n", name)
		if got := clock.ReplaceAllString(b.String(), ""); got != want {
			t.Errorf("got  %q\nwant %q", got, want)
		}
	}
}

// lines counts calls of Write, each of which has to be one line, and alone.
type lines struct {
	busy  atomic.Bool
	count int
	bad   []string
}

func (l *lines) Write(p []byte) (int, error) {
	if !l.busy.CompareAndSwap(false, true) {
		panic("two writes at a time")
	}
	defer l.busy.Store(false)
	runtime.Gosched()
	l.count++
	if bytes.IndexByte(p, '\n') != len(p)-1 {
		l.bad = append(l.bad, string(p))
	}
	return len(p), nil
}

func TestWritesAreWholeLines(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {JSON: true}, {Color: true}} {
		var l lines
		log := New(&l, o)
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				mine := log.With("i", i)
				for range 50 {
					mine.Info("a\nb", "c", "d\ne")
					Line(log, "shop", 1, "stdout", []byte("a\nb"))
				}
			})
		}
		wg.Wait()
		if len(l.bad) > 0 || l.count != 800 {
			t.Errorf("%+v: %d writes, bad ones: %q", o, l.count, l.bad)
		}
	}
}

func TestLine(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, line, plain, colored string }{
		{"Plain", "listening on port 5000", "listening on port 5000", "listening on port 5000"},
		{"Empty", "", "", ""},
		{"Carriage", "from Windows\r", "from Windows", "from Windows"},
		{"Tab", "\tat Main()", "\tat Main()", "\tat Main()"},
		{"Color", "\x1b[32minfo\x1b[0m: \x1b[1;38;5;200mx", "info: x", "\x1b[32minfo\x1b[0m: \x1b[1;38;5;200mx\x1b[0m"},
		{"NoParameters", "\x1b[mx", "x", "\x1b[mx\x1b[0m"},
		{"ClearScreen", "a\x1b[2Jb", `a\x1b[2Jb`, `a\x1b[2Jb`},
		{"Title", "\x1b]0;x\a", `\x1b]0;x\a`, `\x1b]0;x\a`},
		{"Private", "\x1b[?25m", `\x1b[?25m`, `\x1b[?25m`},
		{"Unfinished", "a\x1b[31", `a\x1b[31`, `a\x1b[31`},
		{"TooLong", "\x1b[" + strings.Repeat("1", 40) + "m", `\x1b[` + strings.Repeat("1", 40) + "m", `\x1b[` + strings.Repeat("1", 40) + "m"},
		{"Assembled", "\x1b\x1b[m[2J", `\x1b[2J`, "\\x1b\x1b[m[2J\x1b[0m"},
		{"C1", "\u009b2J", `\u009b2J`, `\u009b2J`},
		{"Overwrite", "progress 10%\rprogress 20%", `progress 10%\rprogress 20%`, `progress 10%\rprogress 20%`},
		{"Forged", "a\n07:05:04.021 ready", `a\n07:05:04.021 ready`, `a\n07:05:04.021 ready`},
		{"Invalid", "caf\xe9", `caf\xe9`, `caf\xe9`},
		{"Joiners", "نمی\u200cخواهم 👩\u200d💻", "نمی\u200cخواهم 👩\u200d💻", "نمی\u200cخواهم 👩\u200d💻"},
		{"Direction", "\u202ecod.exe", `\u202ecod.exe`, `\u202ecod.exe`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for color, want := range map[bool]string{false: "shop[1234] | " + c.plain, true: "\x1b[36mshop[1234] |\x1b[0m " + c.colored} {
				var b bytes.Buffer
				Line(New(&b, Options{Color: color}), "shop", 1234, "stdout", []byte(c.line))
				got := b.String()
				if i := strings.Index(got, "shop["); !color && i >= 0 {
					got = got[i:]
				} else if i := strings.Index(got, "\x1b[36m"); color && i >= 0 {
					got = got[i:]
				}
				if got != want+"\n" {
					t.Errorf("color %v: got  %q\nwant %q", color, got, want)
				}
			}
		})
	}
}

// A number would leave open what it counts.
func TestDurationsHaveAUnit(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	New(&b, Options{JSON: true}).With("limit", time.Minute).Info("x", "took", 1500*time.Millisecond, "n", 3, slog.Group("in", "wait", time.Millisecond))
	for _, want := range []string{`"limit":"1m0s"`, `"took":"1.5s"`, `"n":3`, `"in":{"wait":"1ms"}`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("%s has no %s", b.String(), want)
		}
	}
}

func TestLineAsJSON(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	Line(New(&b, Options{JSON: true}), "shop", 1234, "stderr", []byte("\x1b[31mfail\x1b[0m: \x1b[2J \"x\"\r"))
	if raw := b.String(); strings.ContainsRune(raw, '\x1b') {
		t.Errorf("raw control character in %q", raw)
	}
	var got map[string]any
	if err := json.Unmarshal(b.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	delete(got, "time")
	want := map[string]any{"level": "INFO", "msg": "application output", "application": "shop", "pid": 1234.0,
		"stream": "stderr", "line": "fail: \x1b[2J \"x\""}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}

// Only Line makes an event the output of an application.
func TestLineCannotBeForged(t *testing.T) {
	t.Parallel()
	got := lineOf(t, Options{}, slog.LevelInfo, "application output", "application", "shop", "pid", 1, "stream", "stdout", "line", "a b")
	if want := "07:05:04.021 application output application=shop pid=1 stream=stdout line=\"a b\"\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestFor(t *testing.T) {
	t.Parallel()
	none := func(string) string { return "" }
	var b bytes.Buffer
	For(&b, none, nil).Info("x")
	if !json.Valid(b.Bytes()) {
		t.Errorf("not on a terminal: %q", b.String())
	}
	path := filepath.Join(t.TempDir(), "log")
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	For(f, none, slog.LevelWarn).Warn("x")
	if text, err := os.ReadFile(path); err != nil || !json.Valid(text) {
		t.Errorf("in a file: %q, %v", text, err)
	}
}

func TestNoTerminal(t *testing.T) {
	t.Parallel()
	none := func(string) string { return "" }
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	closed, err := os.Open(".")
	if err != nil {
		t.Fatal(err)
	}
	closed.Close()
	for _, f := range []*os.File{w, null, closed} {
		if Terminal(f) || Color(f, none) {
			t.Errorf("%s is taken for a terminal", f.Name())
		}
	}
}

// FuzzLine: whatever an application prints is one line without a raw control
// character, but for colours where these are wanted.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"", "plain", "\x1b[31mred\x1b[0m", "\x1b\x1b[m[2J", "a\nb\rc\td", "\u009b2J\u202e", "\xff\xc3", "\x1b[" + "1111111111111111111111111111111111m"} {
		f.Add([]byte(s))
	}
	sgr := regexp.MustCompile("\x1b\\[[0-9;:]{0,32}m")
	f.Fuzz(func(t *testing.T, line []byte) {
		for _, o := range []Options{{}, {Color: true}, {JSON: true}} {
			var b bytes.Buffer
			Line(New(&b, o), "shop", 1, "stdout", line)
			text, ok := strings.CutSuffix(b.String(), "\n")
			if !ok {
				t.Fatalf("%+v: no end of line: %q", o, text)
			}
			if o.Color {
				text = sgr.ReplaceAllString(text, "")
			}
			for i, r := range text {
				hidden := !strconv.IsPrint(r) && r != '\t' && r != '\u200c' && r != '\u200d'
				invalid := r == utf8.RuneError && !strings.HasPrefix(text[i:], "\ufffd")
				if invalid || r < ' ' && r != '\t' || hidden && !o.JSON {
					t.Fatalf("%+v: %q at %d of %q", o, r, i, text)
				}
			}
			if o.JSON {
				var got struct{ Line string }
				err := json.Unmarshal([]byte(text), &got)
				if err != nil || utf8.Valid(line) && got.Line != plain(string(line)) {
					t.Fatalf("line %q, %v", got.Line, err)
				}
			}
		}
	})
}

// FuzzValue: message, key and value are one line, and the value can be read
// back from it.
func FuzzValue(f *testing.F) {
	f.Add("ready", "url", "http://localhost:8080")
	f.Add("a\nb", "exit code", "say \"hi\"")
	f.Add("\x1b[2J", "a=b", "\xff\u202e")
	f.Add("", "", "")
	f.Fuzz(func(t *testing.T, message, key, value string) {
		r := slog.NewRecord(time.Time{}, slog.LevelInfo, message, 0)
		r.AddAttrs(slog.Int("before", 1), slog.String(key, value))
		var b bytes.Buffer
		if err := New(&b, Options{}).Handler().Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
		line, ok := strings.CutSuffix(b.String(), "\n")
		for i, r := range line {
			if !strconv.IsPrint(r) || r == utf8.RuneError && !strings.HasPrefix(line[i:], "\ufffd") {
				t.Fatalf("%q at %d of %q", r, i, line)
			}
		}
		rest, found := strings.CutPrefix(line, string(appendPrintable(nil, message))+" before=1 ")
		if !ok || !found {
			t.Fatalf("line %q", line)
		}
		gotKey, rest := word(t, rest, "=")
		gotValue, rest := word(t, strings.TrimPrefix(rest, "="), "")
		if gotKey != key || gotValue != value || rest != "" {
			t.Fatalf("read %q, %q, %q of %q", gotKey, gotValue, rest, line)
		}
	})
}

// word takes a word, or what is in quotes, up to end.
func word(t *testing.T, s, end string) (got, rest string) {
	t.Helper()
	if !strings.HasPrefix(s, `"`) {
		if end == "" {
			return s, ""
		}
		got, _, _ = strings.Cut(s, end)
		return got, s[len(got):]
	}
	quoted, err := strconv.QuotedPrefix(s)
	if err == nil {
		got, err = strconv.Unquote(quoted)
	}
	if err != nil {
		t.Fatalf("%q: %v", s, err)
	}
	return got, s[len(quoted):]
}
