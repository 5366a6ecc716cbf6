package watch

import (
	"bytes"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pretend is a source whose events the test sends.
type pretend struct {
	events chan fsnotify.Event
	errors chan error

	mu    sync.Mutex
	fail  error    // of the next calls to add
	calls []string // "add PATH", "remove PATH"
	adds  map[string]bool
}

func newPretend() *pretend {
	return &pretend{events: make(chan fsnotify.Event), errors: make(chan error), adds: map[string]bool{}}
}

func (p *pretend) source() *source {
	return &source{Events: p.events, Errors: p.errors, Add: p.add, Remove: p.remove,
		Close: sync.OnceValue(func() error { close(p.events); return nil })}
}

func (p *pretend) add(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		return p.fail
	}
	p.calls = append(p.calls, "add "+dir)
	p.adds[dir] = true
	return nil
}

func (p *pretend) remove(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.adds[dir] {
		return fsnotify.ErrNonExistentWatch
	}
	p.calls = append(p.calls, "remove "+dir)
	delete(p.adds, dir)
	return nil
}

// failing sets what calls to add return from now on.
func (p *pretend) failing(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = err
}

func (p *pretend) taken() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	calls := p.calls
	p.calls = nil
	return calls
}

// bench is a watcher in a synctest bubble, with a folder on disk.
type bench struct {
	*testing.T
	*Watcher
	source *pretend // nil: polling alone
	dir    string
	log    syncBuffer
	began  time.Time

	mu   sync.Mutex
	told []string
}

// inBubble runs a test with fake time. Files are real; write gives them
// modification times of the fake clock.
// src makes the source, nil: there is none.
func inBubble(t *testing.T, src func() *pretend, test func(b *bench)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) { test(newBench(t, dir, src)) })
}

func newBench(t *testing.T, dir string, src func() *pretend) *bench {
	b := &bench{T: t, dir: filepath.Join(dir, "app"), began: time.Now()}
	b.mkdir("")
	var s *source
	if src != nil {
		b.source = src()
		s = b.source.source()
	}
	b.Watcher = start(slog.New(slog.NewTextHandler(&b.log, nil)), s)
	t.Cleanup(b.Close)
	return b
}

// rule returns r, telling the bench under a name.
func (b *bench) rule(name string, r Rule) Rule {
	r.Changed = func(names []string) {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.told = append(b.told, fmt.Sprintf("%dms %s: %s", time.Since(b.began).Milliseconds(), name, strings.Join(names, " ")))
	}
	return r
}

// expect compares what was told since it was last asked, in order.
func (b *bench) expect(want ...string) {
	b.Helper()
	synctest.Wait()
	b.mu.Lock()
	defer b.mu.Unlock()
	if !slices.Equal(b.told, want) {
		b.Errorf("after %v told %q, want %q", time.Since(b.began), b.told, want)
	}
	b.told = nil
}

// at waits until a time of the test, in milliseconds.
func (b *bench) at(ms int) {
	b.Helper()
	d := time.Duration(ms)*time.Millisecond - time.Since(b.began)
	if d < 0 {
		b.Fatalf("%d ms are over", ms)
	}
	time.Sleep(d)
	synctest.Wait()
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }

// write writes a file, with an event where there is a source.
func (b *bench) write(name, content string) {
	b.Helper()
	b.put(name, content)
	b.event(name, fsnotify.Write)
}

// put writes a file without an event.
func (b *bench) put(name, content string) {
	b.Helper()
	if err := os.WriteFile(b.path(name), []byte(content), 0o644); err != nil {
		b.Fatal(err)
	}
	b.touch(name)
}

func (b *bench) touch(name string) {
	b.Helper()
	if err := os.Chtimes(b.path(name), time.Now(), time.Now()); err != nil {
		b.Fatal(err)
	}
}

func (b *bench) mkdir(name string) { b.check(os.Mkdir(b.path(name), 0o755)) }

func (b *bench) remove(name string) { b.check(os.RemoveAll(b.path(name))) }

func (b *bench) rename(from, to string) { b.check(os.Rename(b.path(from), b.path(to))) }

func (b *bench) check(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

func (b *bench) event(name string, op fsnotify.Op) {
	if b.source != nil {
		b.source.events <- fsnotify.Event{Name: b.path(name), Op: op}
	}
}

func named(names ...string) func(string) bool {
	return func(name string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) })
	}
}

// syncBuffer is a log that may be read while it is written.
type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}
