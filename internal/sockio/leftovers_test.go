package sockio

import (
	"testing"
	"time"
)

func TestLeftoversAreDue(t *testing.T) {
	t.Parallel()
	var l leftovers
	for _, step := range []struct {
		at   time.Duration
		park int64 // connections, before the look
		want bool
		why  string
	}{
		{0, crowd - 1, false, "too few"},
		{6 * time.Second, 0, false, "still too few"},
		{7 * time.Second, 1, false, "one has just parked"},
		{12*time.Second - Tick, 0, false, "not quiet for long enough"},
		{12 * time.Second, 0, true, "a crowd, and quiet since"},
		{13 * time.Second, 0, false, "given back already"},
		{14 * time.Second, 2 * crowd, false, "the next crowd has just parked"},
		{20 * time.Second, 0, false, "given back a moment ago"},
		{22*time.Second - Tick, 0, false, "not ten seconds ago"},
		{22 * time.Second, 0, true, "the next crowd, after the pause"},
		{time.Hour, 0, false, "nobody came"},
	} {
		l.behind.Add(step.park)
		if got := l.due(int64(step.at)); got != step.want {
			t.Errorf("after %v: %v, want %v: %s", step.at, got, step.want, step.why)
		}
	}
}
