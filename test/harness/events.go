package harness

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// Event is one line of the host's log.
type Event map[string]any

// ID is the number that the module's event log gives it, 0 for none.
func (e Event) ID() int {
	n, _ := e["event"].(float64)
	return int(n)
}

// Text is the line as it was logged.
func (e Event) Text() string {
	text, _ := json.Marshal(e)
	return string(text)
}

// Events are the log lines up to now. Away from a terminal a host logs JSON
// lines; what is not JSON is the output of an application that was passed on.
func (h *Host) Events() []Event {
	var all []Event
	for _, line := range h.stderr.complete() {
		var e Event
		if json.Unmarshal([]byte(line), &e) == nil {
			all = append(all, e)
		}
	}
	return all
}

// Event returns the events with this number up to now.
func (h *Host) Event(id int) []Event {
	return slices.DeleteFunc(h.Events(), func(e Event) bool { return e.ID() != id })
}

// AwaitEvent waits for an event with this number and all the texts in it.
func (h *Host) AwaitEvent(id int, texts ...string) Event {
	h.t.Helper()
	var found Event
	Eventually(h.t, func() bool {
		for _, e := range h.Event(id) {
			text := e.Text()
			if !slices.ContainsFunc(texts, func(want string) bool { return !strings.Contains(text, want) }) {
				found = e
				return true
			}
		}
		return false
	}, "event %d with %q in the log", id, texts)
	return found
}

// LogFiles returns the stdout log files with this prefix, oldest first.
func LogFiles(t testing.TB, prefix string) []string {
	t.Helper()
	files, err := filepath.Glob(prefix + "_*.log")
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(files)
	return files
}

// ReadFile returns the content of a file as text.
func ReadFile(t testing.TB, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}
