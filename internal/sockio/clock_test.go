package sockio

import (
	"math/rand/v2"
	"testing"
	"time"
)

// No limit fires early, however late the sweeper is on a machine that has no time
// for it, or whatever is done to the time of day.
func TestNoLimitIsEarly(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2_000) {
		r := rand.New(rand.NewPCG(seed, 0))
		w := new(Watcher)
		now := time.Now()
		w.tick(now)
		d := 3*Tick + time.Duration(r.Int64N(int64(Tick)))
		var set time.Time // when the limit was
		var at int64
		for set.IsZero() || int64(w.Clock()) < at {
			late := time.Duration(0)
			if r.IntN(3) == 0 {
				late = time.Duration(r.Int64N(int64(time.Second)))
			}
			next := now.Add(Tick + late)
			if late > Tick/2 {
				next = next.Truncate(Tick) // a ticker that was late is early after that
			}
			next = later(next, now)
			if set.IsZero() && r.IntN(4) == 0 {
				set = now.Add(time.Duration(r.Int64N(int64(next.Sub(now)))))
				at = w.limit(d)
			}
			now = next
			w.tick(now)
		}
		if took := now.Sub(set); took < d {
			t.Fatalf("seed %d: a limit of %v fires after %v", seed, d, took)
		}
	}
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b.Add(Tick)
}

func TestClockFollowsTheTime(t *testing.T) {
	t.Parallel()
	w := new(Watcher)
	now := time.Now()
	w.tick(now)
	begin := w.Clock()
	for range 50 {
		now = now.Add(Tick)
		w.tick(now)
	}
	if passed := w.Clock() - begin; passed != 50*Tick || !w.Now().Equal(now) {
		t.Errorf("the clock went %v in %v, and it is %v at %v", passed, 50*Tick, w.Now(), now)
	}
	for i := range 1_000 { // what a tick is late by, the next is early by
		late := time.Duration(i%7) * (stride - Tick) / 6
		w.tick(now.Add(time.Duration(i+1)*Tick + late))
	}
	now = now.Add(1_000*Tick + (stride-Tick)*5/6)
	if passed := w.Clock() - begin; !w.Now().Equal(now) || passed != 1_050*Tick+(stride-Tick)*5/6 {
		t.Errorf("the clock went %v with late ticks, and it is %v at %v", passed, w.Now(), now)
	}
	begin = w.Clock() - 50*Tick
	w.tick(now.Add(time.Hour)) // the machine was asleep
	if passed := w.Clock() - begin; passed != 50*Tick+stride || !w.Now().Equal(now.Add(time.Hour)) {
		t.Errorf("the clock went %v, and it is %v", passed, w.Now())
	}
}
