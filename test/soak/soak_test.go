// Package soak is one test: a minute of many kinds of clients at once, honest
// ones, aborting ones and hostile ones, while the application is replaced
// again and again, against a program that was built with the race detector.
// Nothing imports it.
package soak

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

const (
	load    = time.Minute
	replace = 2 * time.Second // how often the workers are
	each    = 2               // clients of every kind

	// reserve is how many descriptors may be kept for later: up to 64 pipes,
	// for bodies that move inside the kernel, and what just comes or goes.
	reserve = 144
)

// TestSoak holds that every request that was not given up by its client, or
// refused for what it is, is answered as it should be, though workers are
// replaced all the time; that there is no race; and that nothing is left
// afterwards: no connection, no goroutine.
func TestSoak(t *testing.T) {
	race := harness.WithRaceDetector(t)
	h := start(t, race)
	idle := harness.Descriptors(h.Pid)

	ctx, cancel := context.WithTimeout(t.Context(), load)
	defer cancel()
	var all sync.WaitGroup
	done := make([]atomic.Int64, len(kinds))
	var clients []*client
	for i, k := range kinds {
		for n := range each {
			c := &client{host: h, rand: rand.New(rand.NewPCG(uint64(i), uint64(n)))}
			clients = append(clients, c)
			all.Go(func() {
				for ctx.Err() == nil && !t.Failed() {
					if err := k.do(c); err != nil {
						t.Errorf("%s: %v", k.name, err)
					}
					done[i].Add(1)
				}
			})
		}
	}
	all.Go(func() { keepReplacing(ctx, t, h) })
	all.Wait()
	for i, k := range kinds {
		t.Logf("%-20s %6d", k.name, done[i].Load())
		if done[i].Load() < 10 {
			t.Errorf("%s: done %d times in %v: nothing moves", k.name, done[i].Load(), load)
		}
	}

	if n := len(h.Event(workerStarted)); n < 10 {
		t.Errorf("workers were started %d times in %v, every %v was meant", n, load, replace)
	}
	left := func() int {
		for _, c := range clients {
			c.leave() // again, for a stream of HTTP/2 may end behind its answer, and the connection is idle then
		}
		return h.Established()
	}
	harness.Eventually(t, func() bool { return left() <= 2*each*len(kinds) }, "the connections of clients are closed")
	touch(t, h) // the connections to the last worker go with it
	harness.Eventually(t, func() bool { return h.Worker() != 0 && harness.Descriptors(h.Pid) <= idle+reserve }, "at most %d descriptors are open", idle+reserve)
	t.Logf("%d descriptors, %d before", harness.Descriptors(h.Pid), idle)
	harness.Eventually(t, func() bool { return len(h.Event(workerStopped)) >= len(h.Event(workerStarted))-1 }, "all workers but the last have ended")
	const own = 4 // of this test, and to the last worker for it
	harness.Eventually(t, func() bool { return left() <= own }, "no connection is left but %d", own)

	still, usual := goroutines(t, h), goroutines(t, start(t, race))
	if len(still) > len(usual)+10 {
		t.Errorf("%d goroutines are left, a host that has served one request has %d:\n%s", len(still), len(usual), strings.Join(still, "\n\n"))
	}
	t.Logf("%d goroutines, and %d of a host that has served one request", len(still), len(usual))
	if text := h.Stderr(); strings.Contains(text, "DATA RACE") || strings.Contains(text, `"msg":"panic`) {
		t.Error("a race or a panic is reported on stderr")
	}
}

// start runs a host with the Go application and lets it serve one request.
func start(t *testing.T, binary string) *harness.Host {
	t.Helper()
	h := harness.Go().Start(t, webConfig.Use(t), func(r *harness.Run) { r.Binary = binary })
	h.Worker()
	return h
}

var webConfig = harness.WebConfig{
	Attrs:  map[string]string{"shutdownTimeLimit": "30"},
	Limits: `drainTimeout="00:00:02"`,
	More:   `      <security><requestFiltering><requestLimits maxAllowedContentLength="20000000" /></requestFiltering></security>` + "\n",
}

// touch has the workers replaced.
func touch(t *testing.T, h *harness.Host) {
	t.Helper()
	before := len(h.Event(workerStarted))
	webConfig.Write(t, h.Dir)
	harness.Eventually(t, func() bool { return len(h.Event(workerStarted)) > before }, "a new worker")
}

// The events of a worker's start and end.
const (
	workerStarted = 1001
	workerStopped = 1033
)

func keepReplacing(ctx context.Context, t *testing.T, h *harness.Host) {
	tick := time.NewTicker(replace)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			webConfig.Write(t, h.Dir)
		}
	}
}

// goroutines ends a host and returns what its goroutines were doing.
func goroutines(t *testing.T, h *harness.Host) []string {
	t.Helper()
	h.Signal(syscall.SIGQUIT)
	h.Wait()
	all := regexp.MustCompile(`(?m)^goroutine \d+ (?s:.*?)(?:\n\n|\z)`).FindAllString(h.Stderr(), -1)
	// Tasks that have nothing to run are kept for a second or two.
	return slices.DeleteFunc(all, func(g string) bool {
		return strings.Contains(g, "sockio.newTask") && !strings.Contains(g, "Wake")
	})
}

// kind is a kind of client. do is one visit; an error is something that
// should not have happened.
type kind struct {
	name string
	do   func(*client) error
}

var errWrong = errors.New("wrong answer")

func wrong(format string, a ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errWrong}, a...)...)
}
