package worker

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/worker/spawn"
)

// bench is a pool on a fake machine, inside a synctest bubble.
type bench struct {
	t       *testing.T
	machine *fakeMachine
	events  *events
	pool    *Pool
}

// inBubble runs f with a pool in fake time. After it the pool is stopped and
// nothing may be left.
func inBubble(t *testing.T, script func(int) behaviour, change func(*Settings), f func(b *bench)) {
	t.Helper()
	t.Parallel()
	m, ev := &fakeMachine{script: script}, &events{}
	settings := testSettings(t, m)
	if change != nil {
		change(settings)
	}
	synctest.Test(t, func(t *testing.T) {
		b := &bench{t, m, ev, New(settings, m, slog.New(ev))}
		f(b)
		b.pool.Stop(b.t.Context())
		for _, leak := range m.leaks() {
			t.Error(leak)
		}
	})
}

func (b *bench) acquire() *Worker {
	b.t.Helper()
	w, err := b.pool.Acquire(b.t.Context())
	if err != nil {
		b.t.Fatalf("Acquire: %v", err)
	}
	return w
}

// use acquires and releases, and returns the worker's pid.
func (b *bench) use() int {
	b.t.Helper()
	w := b.acquire()
	defer w.Release()
	return w.Pid()
}

// refused acquires and expects an error with this status.
func (b *bench) refused(status, sub int) *exchange.Error {
	b.t.Helper()
	w, err := b.pool.Acquire(b.t.Context())
	if w != nil {
		b.t.Fatalf("Acquire gave worker %d, want %d.%d", w.Pid(), status, sub)
	}
	var e *exchange.Error
	if !errors.As(err, &e) || e.Status != status || e.SubStatus != sub {
		b.t.Fatalf("Acquire: %v, want %d.%d", err, status, sub)
	}
	return e
}

// changed returns settings that differ from the pool's by change.
func (b *bench) changed(change func(*Settings)) *Settings {
	s := *b.pool.settings
	if change != nil {
		change(&s)
	}
	return &s
}

func always(b behaviour) func(int) behaviour { return func(int) behaviour { return b } }

func TestOneStartServesAllWaiters(t *testing.T) {
	inBubble(t, always(behaviour{listenAfter: 3 * time.Second}), nil, func(b *bench) {
		began := time.Now()
		var wg sync.WaitGroup
		for range 100 {
			wg.Go(func() { b.use() })
		}
		wg.Wait()
		if n := b.machine.spawned(); n != 1 {
			t.Errorf("%d starts, want 1", n)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("waiters were answered after %v, want 3s", took)
		}
		if b.events.count(EventStarted) != 1 {
			t.Error("want one event 1001")
		}
	})
}

func TestWaitersOfAFailedStartGetThatFailure(t *testing.T) {
	inBubble(t, func(n int) behaviour { return behaviour{neverListens: n <= 2} }, nil, func(b *bench) {
		began := time.Now()
		var mu sync.Mutex
		failures := map[error]int{}
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				_, err := b.pool.Acquire(b.t.Context())
				mu.Lock()
				failures[err]++
				mu.Unlock()
			})
		}
		wg.Wait()
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("answered after %v, want two startup time limits", took)
		}
		if len(failures) != 1 || b.machine.spawned() != 2 {
			t.Fatalf("%d failures and %d processes, want one failure of two attempts", len(failures), b.machine.spawned())
		}
		for err := range failures {
			var start *StartError
			if !errors.As(err, &start) || start.Step != StepListen || start.Attempts != 2 {
				t.Errorf("cause is %#v", err)
			}
		}
		if b.events.count(EventAttemptFailed) != 2 || b.events.count(EventStartFailed) != 1 {
			t.Error("want two events 1000 and one 1020")
		}
		b.use() // the next request starts anew
	})
}

func TestTheSecondAttemptCounts(t *testing.T) {
	inBubble(t, func(n int) behaviour {
		return behaviour{exitAfter: time.Duration(2-min(n, 2)) * time.Second, neverListens: n == 1}
	},
		nil, func(b *bench) {
			b.use()
			if b.machine.spawned() != 2 {
				t.Errorf("%d attempts", b.machine.spawned())
			}
			if p := [2]uint16{b.machine.process(1001).port(), b.machine.process(1002).port()}; p[0] == p[1] {
				t.Errorf("both attempts were given port %d", p[0])
			}
		})
}

func (p *fakeProcess) port() uint16 {
	for _, v := range p.launch.Env {
		if text, ok := strings.CutPrefix(v, "PORT="); ok {
			return netip.MustParseAddrPort("127.0.0.1:" + text).Port()
		}
	}
	return 0
}

func TestAnEarlyExitIsNoticedAtOnce(t *testing.T) {
	exit := spawn.Exit{Code: 3}
	inBubble(t, always(behaviour{neverListens: true, exitAfter: 70 * time.Millisecond, exit: exit, output: "no database\n"}),
		nil, func(b *bench) {
			began := time.Now()
			e := b.refused(502, 5)
			if took := time.Since(began); took != 140*time.Millisecond {
				t.Errorf("answered after %v", took)
			}
			var start *StartError
			if !errors.As(e, &start) || *start.Exit != exit || start.Output != "no database\n" {
				t.Errorf("cause is %#v", e.Err)
			}
		})
}

func TestAWrongAddressIsNamed(t *testing.T) {
	elsewhere := netip.MustParseAddrPort("127.0.0.1:5000")
	inBubble(t, always(behaviour{neverListens: true, listens: []netip.AddrPort{elsewhere}}), nil, func(b *bench) {
		e := b.refused(502, 5)
		if !strings.Contains(e.Error(), "it listens on 127.0.0.1:5000 instead") {
			t.Errorf("error is %v", e)
		}
	})
}

func TestAStrangerOnThePortIsNotWaitedFor(t *testing.T) {
	stranger := errors.New("somebody else listens")
	inBubble(t, always(behaviour{stranger: stranger}), nil, func(b *bench) {
		began := time.Now()
		if e := b.refused(502, 5); !errors.Is(e, stranger) || time.Since(began) != 0 {
			t.Errorf("after %v: %v", time.Since(began), e)
		}
	})
}

func TestDisableStartUpErrorPage(t *testing.T) {
	inBubble(t, always(behaviour{spawnErr: errors.New("no")}), func(s *Settings) { s.DisableStartUpErrorPage = true }, func(b *bench) {
		if e := b.refused(502, 3); !e.Empty {
			t.Error("the answer has a body")
		}
	})
}

func TestAWrongPortIsNotTriedAgain(t *testing.T) {
	for _, port := range []string{"1024", "48001", "x", "5000x", "-1"} {
		t.Run(port, func(t *testing.T) {
			inBubble(t, nil, func(s *Settings) { s.Environment = []Variable{{"aspnetcore_port", port}} }, func(b *bench) {
				e := b.refused(502, 5)
				if b.machine.spawned() != 0 || !strings.Contains(e.Error(), "1025 to 48000") {
					t.Errorf("%d processes, error %v", b.machine.spawned(), e)
				}
			})
		})
	}
}

func TestAFixedPortIsUsed(t *testing.T) {
	inBubble(t, nil, func(s *Settings) {
		s.Environment = []Variable{{varPort, "5123"}}
		s.Processes = 4
	}, func(b *bench) {
		for range 4 { // a fixed port has room for one process
			b.use()
		}
		if p := b.machine.last().port(); p != 5123 || b.machine.spawned() != 1 {
			t.Errorf("port %d, %d processes", p, b.machine.spawned())
		}
	})
}

func TestWaitingEndsWithItsContext(t *testing.T) {
	inBubble(t, always(behaviour{listenAfter: 5 * time.Second}), nil, func(b *bench) {
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
		defer cancel()
		_, err := b.pool.Acquire(ctx)
		if e := exchange.AsError(err); e.Status != 400 || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("Acquire: %v", err)
		}
		b.use()
		if b.machine.spawned() != 1 {
			t.Error("the start did not go on")
		}
	})
}

func TestACrashEmptiesTheSlot(t *testing.T) {
	inBubble(t, nil, nil, func(b *bench) {
		w := b.acquire()
		b.machine.last().end(spawn.Exit{Code: 139})
		<-w.Gone()
		if b.machine.spawned() != 1 {
			t.Error("a crash alone started the application again")
		}
		second := b.acquire() // while the first is still in use
		if second == w || b.machine.spawned() != 2 {
			t.Error("the dead worker was handed out")
		}
		if b.events.count(EventExited) != 1 {
			t.Error("want one event 1030")
		}
		second.Release()
		w.Release()
	})
}

// Output may take its time: a crash is reported without holding anybody up,
// and when the worker is out of service.
func TestACrashIsReportedOutsideTheLock(t *testing.T) {
	var pool *Pool
	read := false
	b := behaviour{output: "last words\n", readOutput: func() {
		read = true
		if !pool.mu.TryLock() {
			t.Error("the pool is locked")
			return
		}
		defer pool.mu.Unlock()
		if (*pool.slots.Load())[0].ready.Load() != nil {
			t.Error("the dead worker is in service")
		}
	}}
	inBubble(t, always(b), nil, func(b *bench) {
		pool = b.pool
		w := b.acquire()
		w.Release()
		b.machine.last().end(spawn.Exit{Code: 139})
		<-w.Gone()
		if got := b.events.find(EventExited)["output"]; got != "last words" || !read {
			t.Errorf("reported: %v", got)
		}
	})
}

func TestAStartThatFailsAfterACrash(t *testing.T) {
	inBubble(t, func(n int) behaviour { return behaviour{neverListens: n > 1} }, nil, func(b *bench) {
		b.use()
		b.machine.last().end(spawn.Exit{Code: 1})
		synctest.Wait()
		b.refused(502, 5)
		if b.pool.Status().Failure.Replacement {
			t.Error("the failure is told as one of a replacement")
		}
	})
}

func TestTheEndOfTheListeningChildIsTheEnd(t *testing.T) {
	inBubble(t, always(behaviour{child: true}), nil, func(b *bench) {
		w := b.acquire()
		w.Release()
		synctest.Wait()
		b.machine.last().endChild(1201) // another child has inherited the socket
		synctest.Wait()
		if pid := b.use(); pid != w.Pid() {
			t.Error("a worker that still listens was given up")
		}
		b.machine.last().endChild(0)
		<-w.Gone()
		if b.use(); b.machine.spawned() != 2 {
			t.Error("a worker without a listener was handed out")
		}
	})
}

func TestAWorkerThatRefusesConnectionsIsReplaced(t *testing.T) {
	inBubble(t, always(behaviour{stopTakes: time.Second}), nil, func(b *bench) {
		w, other := b.acquire(), b.acquire()
		refused := w.channel.(*fakeChannel).Refused
		refused()
		if pid := b.use(); pid != w.Pid() {
			t.Error("a worker that listens was given up")
		}
		p := b.machine.last()
		b.machine.mu.Lock()
		p.listensNow = 0
		b.machine.mu.Unlock()
		refused()
		refused()
		if pid := b.use(); pid == w.Pid() {
			t.Error("a worker that does not listen was handed out")
		}
		w.Release()
		synctest.Wait()
		if !p.running() || !p.shutdown.IsZero() {
			t.Error("the exchange in flight was not waited for")
		}
		other.Release()
		<-w.Gone()
		if n := b.events.count(EventExited); n != 1 {
			t.Errorf("%d events 1030", n)
		}
	})
}

func TestRapidFailsPerMinute(t *testing.T) {
	for _, limit := range []int{0, 1, 5} {
		t.Run(string(rune('0'+limit)), func(t *testing.T) {
			inBubble(t, nil, func(s *Settings) { s.RapidFailsPerMinute = limit }, func(b *bench) {
				crash := func() {
					w := b.acquire()
					w.Release()
					b.machine.last().end(spawn.Exit{Code: 1})
					<-w.Gone()
					synctest.Wait()
				}
				for range limit + 1 { // blocked when more than the limit were counted
					crash()
				}
				time.Sleep(30 * time.Second)
				e := b.refused(502, 5)
				if e.RetryAfter != 31 {
					t.Errorf("Retry-After: %d", e.RetryAfter)
				}
				b.refused(502, 5)
				if b.events.count(EventRapidFail) != 1 {
					t.Error("want one event 1003 per window")
				}
				time.Sleep(30 * time.Second)
				b.use()
			})
		})
	}
}

func TestFailedStartsCountAsRapidFails(t *testing.T) {
	inBubble(t, func(n int) behaviour {
		if n <= 4 {
			return behaviour{spawnErr: errors.New("no such luck")}
		}
		return behaviour{}
	}, func(s *Settings) { s.RapidFailsPerMinute = 1 }, func(b *bench) {
		b.refused(502, 5)
		b.refused(502, 5)
		e := b.refused(502, 5)
		var rapid *RapidFailError
		if !errors.As(e, &rapid) || b.machine.spawned() != 4 {
			t.Fatalf("%d processes, error %v", b.machine.spawned(), e)
		}
		if r := rapid.Report(); r.Step != string(StepSpawn) {
			t.Errorf("the report does not tell the last failure: %+v", r)
		}
		b.pool.Replace(b.changed(nil), "mended") // counts anew
		b.use()
	})
}

func TestRoundRobinOverProcesses(t *testing.T) {
	for _, n := range []int{2, 10} {
		t.Run(string(rune('a'+n)), func(t *testing.T) {
			inBubble(t, nil, func(s *Settings) { s.Processes = n }, func(b *bench) {
				pids := map[int]int{}
				for range 2 * n {
					pids[b.use()]++
				}
				if len(pids) != n {
					t.Fatalf("%d processes served, want %d", len(pids), n)
				}
				for pid, uses := range pids {
					if uses != 2 {
						t.Errorf("process %d served %d requests, want 2", pid, uses)
					}
				}
			})
		})
	}
}

func TestStopDuringAStart(t *testing.T) {
	inBubble(t, always(behaviour{listenAfter: time.Hour}), nil, func(b *bench) {
		var wg sync.WaitGroup
		wg.Go(func() { b.refused(503, 0) })
		synctest.Wait()
		began := time.Now()
		b.pool.Stop(b.t.Context())
		wg.Wait()
		if took := time.Since(began); took != 0 {
			t.Errorf("stop took %v, want none", took)
		}
		b.refused(503, 0)
	})
}

func TestTheStdoutLogIsOpenedOncePerStart(t *testing.T) {
	inBubble(t, always(behaviour{neverListens: true}), func(s *Settings) { s.StdoutLog = `.\logs\stdout` }, func(b *bench) {
		b.refused(502, 5)
		if b.machine.opened != 1 || b.machine.process(1001).launch.Log == nil || b.machine.process(1002).launch.Log == nil {
			t.Errorf("%d logs opened", b.machine.opened)
		}
	})
}

func TestAnUnwritableStdoutLogIsAWarning(t *testing.T) {
	inBubble(t, nil, func(s *Settings) { s.StdoutLog = "x" }, func(b *bench) {
		b.machine.logErr = errors.New("a file is in the way")
		b.use()
		if b.events.count(EventStdoutLog) != 1 {
			t.Error("want one event 1004")
		}
	})
}

func TestStatus(t *testing.T) {
	inBubble(t, always(behaviour{listenAfter: time.Second}), nil, func(b *bench) {
		var wg sync.WaitGroup
		wg.Go(func() {
			w := b.acquire()
			time.Sleep(time.Second)
			w.Release()
		})
		synctest.Wait()
		if st := b.pool.Status(); st.Starting != 1 || len(st.Workers) != 0 || st.Name != "shop" {
			t.Errorf("while starting: %+v", st)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		st := b.pool.Status()
		if len(st.Workers) != 1 || st.Workers[0].Serving != 1 || st.Workers[0].Pid != 1001 || st.Workers[0].Port != 10001 {
			t.Errorf("while serving: %+v", st)
		}
		wg.Wait()
	})
}
