package watch

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/fsnotify/fsnotify"
	"pgregory.net/rapid"
)

// step is one change of a folder, after a pause.
type step struct {
	pause  time.Duration
	name   string
	remove bool
	event  bool // the source tells of it
}

// history plays steps and checks what is told of them against a model: the
// modification time of each file, its absence being the zero time.
type history struct {
	*bench
	files    map[string]time.Time
	problems []string
}

// model is one rule, what was told of it, and when it changed since.
type model struct {
	Rule
	told        map[string]time.Time // state of the files at the last telling
	changed     map[string]bool      // since
	first, last time.Time            // of those changes
}

func (h *history) problem(format string, a ...any) {
	h.problems = append(h.problems, fmt.Sprintf("%v: ", time.Since(h.began))+fmt.Sprintf(format, a...))
}

// TestEveryChangeIsTold: whatever is written when, and however few events
// come, each file's last state is told, in time, and no file is told while it
// is being written.
func TestEveryChangeIsTold(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
			return step{
				pause:  time.Duration(rapid.OneOf(rapid.IntRange(1, 120), rapid.IntRange(1, 3000)).Draw(t, "pause")) * time.Millisecond,
				name:   rapid.SampledFrom([]string{"a.dll", "b.dll", "c.dll", "web.config", "readme.txt"}).Draw(t, "name"),
				remove: rapid.IntRange(0, 3).Draw(t, "remove") == 0,
				event:  rapid.Bool().Draw(t, "event"),
			}
		}), 1, 60).Draw(rt, "steps")
		var problems []string
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		synctest.Test(t, func(t *testing.T) {
			h := &history{bench: newBench(t, dir, newPretend), files: map[string]time.Time{}}
			h.play(steps)
			problems = h.problems
		})
		if len(problems) > 0 {
			rt.Fatal(strings.Join(problems, "\n"))
		}
	})
}

func (h *history) play(steps []step) {
	brief := library
	brief.Most = 3 * time.Second
	models := []*model{{Rule: config}, {Rule: brief}}
	var rules []Rule
	for _, m := range models {
		m.told = map[string]time.Time{}
		m.Changed = func(names []string) { h.check(m, names) }
		rules = append(rules, m.Rule)
	}
	f := h.Add(h.dir, rules...)
	for _, s := range steps {
		time.Sleep(s.pause)
		synctest.Wait() // for the looks of this very moment
		h.mu.Lock()
		h.apply(s, models)
		h.mu.Unlock()
		if s.event {
			h.event(s.name, fsnotify.Write)
		}
	}
	time.Sleep(10 * time.Second)
	f.Stop()
	synctest.Wait()
	for _, m := range models {
		for name := range m.changed {
			if !h.files[name].Equal(m.told[name]) {
				h.problem("the last change of %s was not told", name)
			}
		}
	}
}

func (h *history) apply(s step, models []*model) {
	if s.remove {
		if h.files[s.name].IsZero() {
			return
		}
		h.remove(s.name)
		delete(h.files, s.name)
	} else {
		h.put(s.name, "x")
		h.files[s.name] = time.Now()
	}
	for _, m := range models {
		if m.Match(s.name) {
			if len(m.changed) == 0 {
				m.changed = map[string]bool{}
				m.first = time.Now()
			}
			m.changed[s.name] = true
			m.last = time.Now()
		}
	}
}

// check is called when a rule is told.
func (h *history) check(m *model, names []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(names) == 0 || !slices.IsSorted(names) {
		h.problem("told the names %q", names)
	}
	for _, name := range names {
		if !m.changed[name] {
			h.problem("%s was told without a change", name)
		}
	}
	waited := time.Since(m.first)
	for name := range m.changed {
		if at := h.files[name]; !at.IsZero() && time.Since(at) < m.Quiet && waited < m.Most {
			h.problem("%s was told %v after it was written, %v after the first change", name, time.Since(at), waited)
		}
	}
	if late := time.Since(m.last); late > poll+m.Quiet {
		h.problem("told %v after the last change", late)
	}
	m.changed = nil
	maps.Copy(m.told, h.files)
	for name := range m.told {
		if h.files[name].IsZero() {
			delete(m.told, name)
		}
	}
}
