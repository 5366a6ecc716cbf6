package watch

import (
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// limit bounds what a test waits for on the real clock.
const limit = 20 * time.Second

// watched is a folder under the real source of events.
type watched struct {
	*testing.T
	w    *Watcher
	dir  string
	told chan string
	last string // what was told last
}

func watchReal(t *testing.T, rules ...Rule) *watched {
	t.Helper()
	w := &watched{T: t, w: New(slog.New(slog.NewTextHandler(t.Output(), nil))), dir: filepath.Join(t.TempDir(), "app"),
		told: make(chan string, 100)}
	t.Cleanup(w.w.Close)
	if w.w.source == nil {
		t.Fatal("no events on this system")
	}
	w.w.round.Store(int64(time.Hour)) // no polling: what is told is owed to events
	w.check(os.Mkdir(w.dir, 0o755))
	for i := range rules {
		rules[i].Changed = func(names []string) { w.told <- strings.Join(names, " ") }
	}
	w.w.Add(w.dir, rules...)
	return w
}

func (w *watched) path(name string) string { return filepath.Join(w.dir, name) }

func (w *watched) check(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

func (w *watched) write(name, content string) {
	w.Helper()
	w.check(os.WriteFile(w.path(name), []byte(content), 0o644))
}

// expect waits for what is told next. What was told last may be told again
// before: a file is empty before it is written, and where the writer has to
// wait for a processor that is a state of its own.
func (w *watched) expect(want string) {
	w.Helper()
	for end := time.After(limit); ; {
		select {
		case got := <-w.told:
			if got == want {
				w.last = want
				return
			}
			if got != w.last {
				w.Fatalf("told %q, want %q", got, want)
			}
		case <-end:
			w.Fatalf("not told of %q", want)
		}
	}
}

func TestRealEvents(t *testing.T) {
	t.Parallel()
	w := watchReal(t, offline, config, folders)
	w.write("written", "closed")
	began := time.Now()
	w.check(os.Rename(w.path("written"), w.path("app_offline.htm")))
	w.expect("app_offline.htm")
	t.Logf("app_offline.htm was told after %v", time.Since(began))
	w.check(os.Remove(w.path("app_offline.htm")))
	w.expect("app_offline.htm")

	w.write("web.config", "<configuration/>")
	w.expect("web.config")
	later := time.Now().Add(time.Second)
	w.check(os.Chtimes(w.path("web.config"), later, later))
	w.expect("web.config")
	w.write("web.config.new", "<configuration />")
	w.check(os.Rename(w.path("web.config.new"), w.path("web.config")))
	w.expect("web.config")
	w.check(os.Rename(w.path("web.config"), w.path("web.config.off")))
	w.expect("web.config")

	w.check(os.Mkdir(w.path("sub"), 0o755))
	w.expect("sub")
	w.check(os.Rename(w.path("sub"), w.path("bus")))
	w.expect("bus sub")
	w.check(os.Remove(w.path("bus")))
	w.expect("bus")
}

func TestRealCopyIsToldOnce(t *testing.T) {
	t.Parallel()
	slow := library
	slow.Quiet = 3 * time.Second // the copy may have to wait for a processor
	w := watchReal(t, slow)
	var names []string
	for i := range 300 {
		name := "Library." + string(rune('A'+i/26)) + string(rune('a'+i%26)) + ".dll"
		w.write(name, strings.Repeat("code", 1000))
		names = append(names, name)
	}
	w.expect(strings.Join(names, " "))
}

// After each kind of replacement events come from the new folder.
func TestRealReplacement(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("a folder that is watched cannot be replaced, and links need a privilege")
	}
	for name, replace := range map[string]func(w *watched){
		"Renamed": func(w *watched) {
			w.check(os.Rename(w.path("../next"), w.path("../before")))
			w.check(os.Rename(w.dir, w.path("../old")))
			w.check(os.Rename(w.path("../before"), w.dir))
		},
		"Deleted": func(w *watched) {
			w.check(os.RemoveAll(w.dir))
			w.check(os.Rename(w.path("../next"), w.dir))
		},
		"RenamedAndBack": func(w *watched) {
			w.check(os.Rename(w.dir, w.path("../away")))
			w.check(os.Rename(w.path("../away"), w.dir))
			w.write("app.dll", "version two")
		},
		"BecameALink": func(w *watched) {
			w.check(os.Rename(w.dir, w.path("../old")))
			w.check(os.Symlink("next", w.dir))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := watchReal(t, library)
			w.write("app.dll", "v1")
			w.expect("app.dll")
			w.check(os.Mkdir(w.path("../next"), 0o755))
			w.check(os.WriteFile(w.path("../next/app.dll"), []byte("version 2"), 0o644))
			w.w.round.Store(0) // polling finds the new folder
			replace(w)
			w.expect("app.dll")
			w.w.round.Store(int64(time.Hour))
			w.write("app.dll", "version three")
			w.expect("app.dll") // perhaps by the last poll
			w.write("app.dll", "version four")
			w.expect("app.dll")
		})
	}
}

func TestRealStopLeavesNothing(t *testing.T) {
	t.Parallel()
	w := New(slog.New(slog.NewTextHandler(t.Output(), nil)))
	dir := t.TempDir()
	told := make(chan bool, 10)
	f := w.Add(dir, Rule{Changed: func([]string) { told <- true }})
	if err := os.WriteFile(filepath.Join(dir, "file"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	select {
	case <-told: // after a second look
	case <-time.After(limit):
		t.Fatal("nothing was told")
	}
	if len(w.posts) != 1 || w.round.Load() == 0 {
		t.Errorf("watching %v, a round takes %d ns", w.posts, w.round.Load())
	}
	f.Stop()
	w.Close()
	if len(w.posts) != 0 || w.round.Load() != 0 {
		t.Errorf("afterwards: watching %v, a round takes %d ns", w.posts, w.round.Load())
	}
}
