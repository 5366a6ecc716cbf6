package worker

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/perchserver/perch/internal/worker/spawn"
)

func TestReplaceStartsBeforeItStops(t *testing.T) {
	inBubble(t, always(behaviour{listenAfter: 2 * time.Second}), nil, func(b *bench) {
		old := b.acquire() // an exchange that goes on during the replacement
		oldProcess := b.machine.last()
		b.pool.Replace(b.changed(nil), "web.config changed")
		time.Sleep(time.Second)
		if pid := b.use(); pid != old.Pid() {
			t.Errorf("worker %d serves while the new one starts, want the old one", pid)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if pid := b.use(); pid == old.Pid() {
			t.Error("the old worker serves although the new one is ready")
		}
		time.Sleep(30 * time.Second)
		if !oldProcess.running() || !oldProcess.shutdown.IsZero() {
			t.Fatal("the old worker was stopped with an exchange in flight")
		}
		old.Release()
		<-old.Gone()
		synctest.Wait()
		if oldProcess.shutdown.IsZero() || !oldProcess.asked.IsZero() {
			t.Error("the old worker was not stopped by the shutdown request alone")
		}
		if b.machine.spawned() != 2 || b.events.count(EventConfigChanged) != 1 {
			t.Errorf("%d processes", b.machine.spawned())
		}
	})
}

func TestADrainIsBounded(t *testing.T) {
	inBubble(t, nil, func(s *Settings) { s.DrainTimeLimit = 20 * time.Second }, func(b *bench) {
		old := b.acquire()
		began := time.Now()
		b.pool.Replace(b.changed(nil), "deploy")
		<-old.Gone()
		if took := time.Since(began); took != 20*time.Second {
			t.Errorf("the old worker went after %v", took)
		}
		old.Release()
	})
}

func TestLongLivedExchangesDoNotHoldUpADrain(t *testing.T) {
	inBubble(t, always(behaviour{stopTakes: 4 * time.Second}), nil, func(b *bench) {
		old := b.acquire()
		end := old.channel.(*fakeChannel).Linger()
		began := time.Now()
		b.pool.Replace(b.changed(nil), "deploy")
		synctest.Wait()
		if p := b.machine.process(1001); p.shutdown.IsZero() || !p.running() {
			t.Error("the old worker was not asked at once, and then given its time")
		}
		<-old.Gone()
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("the old worker went after %v", took)
		}
		end()
		old.Release()
	})
}

func TestAFailedReplacementLeavesTheOldOneServing(t *testing.T) {
	inBubble(t, func(n int) behaviour { return behaviour{neverListens: n == 2 || n == 3} },
		func(s *Settings) { s.RapidFailsPerMinute = 0 }, func(b *bench) {
			pid := b.use()
			b.pool.Replace(b.changed(nil), "deploy")
			time.Sleep(time.Minute)
			if now := b.use(); now != pid {
				t.Errorf("worker %d serves, want %d", now, pid)
			}
			f := b.pool.Status().Failure
			var start *StartError
			if f == nil || !f.Replacement || !errors.As(f.Err, &start) {
				t.Fatalf("failure kept: %+v", f)
			}
			if b.events.count(EventRecycleFailed) != 1 {
				t.Error("want one event 1022")
			}
			b.pool.Replace(b.changed(nil), "mended")
			synctest.Wait()
			if now := b.use(); now == pid || b.pool.Status().Failure != nil {
				t.Error("the mended application was not taken into service")
			}
		})
}

func TestACrashDuringAReplacement(t *testing.T) {
	inBubble(t, func(n int) behaviour { return behaviour{listenAfter: time.Duration(n) * time.Second} }, nil, func(b *bench) {
		b.use()
		b.pool.Replace(b.changed(nil), "deploy")
		time.Sleep(time.Second)
		b.machine.process(1001).end(spawn.Exit{Code: 1})
		synctest.Wait()
		began := time.Now()
		if b.use(); b.machine.spawned() != 2 || time.Since(began) != time.Second {
			t.Errorf("%d processes after %v: the request did not wait for the replacement", b.machine.spawned(), time.Since(began))
		}
	})
}

func TestReplacementsAreCoalesced(t *testing.T) {
	inBubble(t, always(behaviour{listenAfter: time.Second}), nil, func(b *bench) {
		first := b.use()
		for range 5 {
			b.pool.Replace(b.changed(func(s *Settings) { s.Environment = append(s.Environment, Variable{"N", "x"}) }), "touched")
			time.Sleep(100 * time.Millisecond)
			if pid := b.use(); pid != first {
				t.Fatalf("worker %d serves, want %d", pid, first)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		b.use()
		running := 0
		for _, p := range b.machine.all {
			if p.running() {
				running++
			}
		}
		if running != 1 || b.machine.last().pid != b.use() {
			t.Errorf("%d processes run", running)
		}
	})
}

func TestReplaceDuringAStartCarriesItsWaitersOver(t *testing.T) {
	inBubble(t, func(n int) behaviour { return behaviour{neverListens: n == 1} }, nil, func(b *bench) {
		began := time.Now()
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { b.use() })
		}
		time.Sleep(time.Second)
		b.pool.Replace(b.changed(nil), "mended")
		wg.Wait()
		if took := time.Since(began); took != time.Second || b.machine.spawned() != 2 {
			t.Errorf("answered after %v by process %d", took, b.machine.spawned())
		}
	})
}

func TestReplaceWithoutAWorkerChangesSettingsOnly(t *testing.T) {
	inBubble(t, nil, nil, func(b *bench) {
		b.pool.Replace(b.changed(func(s *Settings) { s.Environment = []Variable{{"COLOUR", "green"}} }), "changed")
		synctest.Wait()
		if b.machine.spawned() != 0 {
			t.Fatal("a replacement without a worker started one")
		}
		b.use()
		if v, _ := lookupEnv(b.machine.last().launch.Env, "COLOUR"); v != "green" {
			t.Errorf("COLOUR=%q", v)
		}
	})
}

func TestReplaceWithAFixedPortStopsFirst(t *testing.T) {
	inBubble(t, always(behaviour{stopTakes: 3 * time.Second, listenAfter: time.Second}),
		func(s *Settings) { s.Environment = []Variable{{varPort, "5000"}, {"PORT", "5000"}} }, func(b *bench) {
			old := b.acquire()
			began := time.Now()
			b.pool.Replace(b.changed(nil), "deploy")
			var wg sync.WaitGroup
			wg.Go(func() {
				if pid := b.use(); pid == old.Pid() {
					t.Error("the old worker was handed out")
				}
			})
			time.Sleep(time.Second)
			old.Release()
			wg.Wait()
			if took := time.Since(began); took != 5*time.Second { // 1 drain, 3 stop, 1 start
				t.Errorf("the new worker served after %v", took)
			}
		})
}

func TestTheNumberOfProcessesChanges(t *testing.T) {
	inBubble(t, always(behaviour{listenAfter: time.Second}), func(s *Settings) { s.Processes = 3 }, func(b *bench) {
		for range 3 {
			b.use()
		}
		b.pool.Replace(b.changed(func(s *Settings) { s.Processes = 1 }), "fewer")
		time.Sleep(2 * time.Second)
		synctest.Wait()
		if st := b.pool.Status(); len(st.Workers) != 1 {
			t.Errorf("%d workers are left, want 1", len(st.Workers))
		}
		b.pool.Replace(b.changed(func(s *Settings) { s.Processes = 2 }), "more")
		time.Sleep(2 * time.Second)
		pids := map[int]bool{}
		for range 4 {
			pids[b.use()] = true
		}
		if len(pids) != 2 {
			t.Errorf("%d processes serve, want 2", len(pids))
		}
	})
}

func TestFewerProcessesDuringAStart(t *testing.T) {
	inBubble(t, always(behaviour{listenAfter: time.Second}), func(s *Settings) { s.Processes = 3 }, func(b *bench) {
		var wg sync.WaitGroup
		for range 6 {
			wg.Go(func() { b.use() })
		}
		synctest.Wait()
		b.pool.Replace(b.changed(func(s *Settings) { s.Processes = 1 }), "fewer")
		wg.Wait()
		if b.machine.spawned() != 4 {
			t.Errorf("%d processes, want three that were given up and one", b.machine.spawned())
		}
	})
}

func TestStopAsksAllAtTheSameTime(t *testing.T) {
	inBubble(t, always(behaviour{stopTakes: 4 * time.Second}), func(s *Settings) { s.Processes = 5 }, func(b *bench) {
		for range 5 {
			b.use()
		}
		began := time.Now()
		b.pool.Stop(b.t.Context())
		if took := time.Since(began); took != 4*time.Second {
			t.Errorf("five processes took %v to stop, want 4s", took)
		}
		if b.events.count(EventShutDown) != 5 || b.events.count(EventShutdownSent) != 5 || b.events.count(EventShutdownFailed) != 0 {
			t.Error("want five graceful stops")
		}
		b.refused(503, 0)
	})
}

func TestStop(t *testing.T) {
	tests := []struct {
		name      string
		behaviour behaviour
		limit     time.Duration
		protocol  Protocol
		takes     time.Duration
		asked     bool // by the signal
		requested bool
		event     int
	}{
		{"gracefully", behaviour{stopTakes: 2 * time.Second}, 10 * time.Second, AspNetCore, 2 * time.Second, false, true, EventShutDown},
		{"request refused", behaviour{refuseShutdown: true, stopTakes: time.Second}, 10 * time.Second, AspNetCore, time.Second, true, true, EventShutDown},
		{"request unanswered", behaviour{muteShutdown: true, stopTakes: time.Second}, 10 * time.Second, AspNetCore, 6 * time.Second, true, true, EventShutDown},
		{"deaf", behaviour{deaf: true}, 5 * time.Second, AspNetCore, 5 * time.Second, false, true, EventShutdownFailed},
		{"deaf to all", behaviour{deaf: true, muteShutdown: true}, 8 * time.Second, AspNetCore, 8 * time.Second, true, true, EventShutdownFailed},
		{"no request in the protocol", behaviour{stopTakes: time.Second}, 10 * time.Second, HTTPPlatform, time.Second, true, false, EventShutDown},
		{"no time", behaviour{}, 0, AspNetCore, 0, false, false, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, always(tt.behaviour), func(s *Settings) { s.ShutdownTimeLimit, s.Protocol = tt.limit, tt.protocol }, func(b *bench) {
				b.use()
				began := time.Now()
				b.pool.Stop(b.t.Context())
				if took := time.Since(began); took != tt.takes {
					t.Errorf("stop took %v, want %v", took, tt.takes)
				}
				p := b.machine.last()
				if asked := !p.asked.IsZero(); asked != tt.asked {
					t.Errorf("signalled: %v, want %v", asked, tt.asked)
				}
				if requested := !p.shutdown.IsZero(); requested != tt.requested {
					t.Errorf("shutdown request: %v, want %v", requested, tt.requested)
				}
				for _, event := range []int{EventShutDown, EventShutdownFailed} {
					if got := b.events.count(event) == 1; got != (event == tt.event) {
						t.Errorf("event %d: %v", event, got)
					}
				}
				if b.events.count(EventExited) != 0 {
					t.Error("a planned stop was logged as a crash")
				}
			})
		})
	}
}

func TestStopInAHurry(t *testing.T) {
	inBubble(t, always(behaviour{deaf: true}), func(s *Settings) { s.ShutdownTimeLimit = time.Hour }, func(b *bench) {
		w := b.acquire() // never released before the stop
		ctx, cancel := context.WithTimeout(b.t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		b.pool.Stop(ctx)
		if took := time.Since(began); took != time.Second {
			t.Errorf("stop took %v, want 1s", took)
		}
		w.Release()
	})
}

func TestStopDrainsFirst(t *testing.T) {
	inBubble(t, nil, nil, func(b *bench) {
		w := b.acquire()
		time.AfterFunc(3*time.Second, w.Release)
		began := time.Now()
		b.pool.Stop(b.t.Context())
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("stop took %v, want the 3s of the exchange in flight", took)
		}
	})
}
