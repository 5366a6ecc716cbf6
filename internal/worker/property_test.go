package worker

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/worker/spawn"
)

// TestPoolProperties lets requests, crashes, replacements and app_offline.htm
// meet in every order, over applications that start well or badly, and checks
// what must always hold: every request is answered, no worker is asked to
// stop or killed while an exchange is in flight unless it died by itself, and
// nothing is left in the end.
func TestPoolProperties(t *testing.T) {
	t.Parallel()
	settings := testSettings(t, &fakeMachine{})
	rapid.Check(t, func(rt *rapid.T) {
		h := &history{
			processes: rapid.IntRange(1, 3).Draw(rt, "processes"),
			fixed:     rapid.Bool().Draw(rt, "fixed port"),
			ops:       rapid.SliceOfN(rapid.IntRange(0, 99), 1, 60).Draw(rt, "operations"),
			seed:      rapid.Uint64().Draw(rt, "seed"),
		}
		synctest.Test(t, func(*testing.T) { h.play(*settings) })
		if len(h.problems) > 0 {
			rt.Fatal(h.problems)
		}
	})
}

// history is one drawn course of events.
type history struct {
	processes int
	fixed     bool
	ops       []int
	seed      uint64

	mu       sync.Mutex
	problems []string
}

func (h *history) problem(format string, a ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.problems = append(h.problems, fmt.Sprintf(format, a...))
}

func (h *history) play(settings Settings) {
	random := rand.New(rand.NewPCG(h.seed, 1))
	upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
	m := &fakeMachine{script: func(n int) behaviour {
		random := rand.New(rand.NewPCG(h.seed, uint64(1+n)))
		upTo := func(d time.Duration) time.Duration { return time.Duration(random.Int64N(int64(d))) }
		b := behaviour{listenAfter: upTo(3 * time.Second), stopTakes: upTo(4 * time.Second), neverListens: random.IntN(6) == 0,
			refuseShutdown: random.IntN(4) == 0, deaf: random.IntN(6) == 0, child: random.IntN(4) == 0}
		if random.IntN(5) == 0 {
			b.exitAfter = 1 + upTo(5*time.Second)
		}
		return b
	}}
	file := &offlineFile{}
	settings.Connect, settings.AppOffline, settings.Processes = m.connect, file.read, h.processes
	settings.StartupTimeLimit, settings.RapidFailsPerMinute = 2*time.Second, 3
	if h.fixed {
		settings.Environment = []Variable{{varPort, "5000"}}
	}
	pool := New(&settings, m, slog.New(slog.DiscardHandler))

	var requests sync.WaitGroup
	for _, op := range h.ops {
		switch {
		case op < 55:
			hold := upTo(5 * time.Second)
			requests.Go(func() { h.request(pool, m, hold) })
		case op < 65:
			if n := m.spawned(); n > 0 {
				p := m.process(1001 + random.IntN(n))
				switch random.IntN(3) {
				case 0:
					p.end(spawn.Exit{Code: 1})
				case 1:
					p.endChild(0)
				default: // it goes on running and stops listening
					p.endChild(1100)
					p.endChild(0)
					requests.Go(func() { h.refusal(pool, p) })
				}
			}
		case op < 78:
			next := settings
			next.Processes = 1 + random.IntN(3)
			pool.Replace(&next, "drawn")
		case op < 82:
			file.put("closed")
			pool.CheckOffline()
		case op < 90:
			file.remove()
		case op < 92:
			time.Sleep(time.Minute)
		default:
			time.Sleep(upTo(2 * time.Second))
		}
	}
	requests.Wait()
	synctest.Wait()
	pool.Stop(context.Background())
	for _, leak := range m.leaks() {
		h.problem("%s", leak)
	}
	if n := len(pool.workers); n != 0 {
		h.problem("%d workers are left in the pool", n)
	}
}

// request uses a worker for a while, and looks at what happens to it.
func (h *history) request(pool *Pool, m *fakeMachine, hold time.Duration) {
	began := time.Now()
	w, err := pool.Acquire(context.Background())
	if took := time.Since(began); took > 5*time.Minute {
		h.problem("an answer took %v", took)
	}
	if err != nil {
		if e := exchange.AsError(err); e.Status != 502 && e.Status != 503 {
			h.problem("answered %v", err)
		}
		return
	}
	time.Sleep(hold)
	p := w.process.(*fakeProcess)
	m.mu.Lock()
	if p.killedFirst && !p.lostListener {
		h.problem("worker %d was killed with an exchange in flight", p.pid)
	}
	if !p.asked.IsZero() || !p.shutdown.IsZero() {
		h.problem("worker %d was asked to stop with an exchange in flight", p.pid)
	}
	m.mu.Unlock()
	w.Release()
}

// refusal is what a channel does when p refuses a connection.
func (h *history) refusal(pool *Pool, p *fakeProcess) {
	pool.mu.Lock()
	var w *Worker
	for candidate := range pool.workers {
		if candidate.process == Process(p) && candidate.slot != nil {
			w = candidate
		}
	}
	pool.mu.Unlock()
	if w != nil {
		pool.refused(w)
	}
}

// TestEnterAgainstRetire races the two halves of the reference count.
func TestEnterAgainstRetire(t *testing.T) {
	t.Parallel()
	for range 300 {
		w := &Worker{drained: make(chan struct{}), leave: make(chan struct{})}
		var wg sync.WaitGroup
		start := make(chan struct{})
		for range 4 {
			wg.Go(func() {
				<-start
				for w.enter() {
					select {
					case <-w.drained:
						t.Error("drained while an exchange is in flight")
					default:
					}
					w.Release()
				}
			})
		}
		close(start)
		w.retire(0)
		<-w.drained
		wg.Wait()
		if n := w.users.Load(); n != retired {
			t.Fatalf("the count is %d off", n-retired)
		}
	}
}

func BenchmarkAcquire(b *testing.B) {
	m := &fakeMachine{}
	pool := New(testSettings(b, m), m, slog.New(slog.DiscardHandler))
	defer pool.Stop(b.Context())
	if w, err := pool.Acquire(b.Context()); err != nil {
		b.Fatal(err)
	} else {
		w.Release()
	}
	ctx := b.Context()
	b.Run("serial", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			w, _ := pool.Acquire(ctx)
			w.Release()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				w, _ := pool.Acquire(ctx)
				w.Release()
			}
		})
	})
}
