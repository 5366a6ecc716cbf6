package life

import (
	"fmt"
	"io"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

func TestFirstRequestStartsTheApplication(t *testing.T) {
	overApps(t, func(t *testing.T, app harness.App) {
		h := app.Start(t)
		if n := len(h.Tree()); n > 1 { // the guardian may be there
			t.Errorf("%d processes before the first request", n)
		}
		pid := h.Worker()
		if again := h.Worker(); again != pid {
			t.Errorf("the second request was answered by %d, the first by %d", again, pid)
		}
		if code := h.Stop(); code != 0 {
			t.Errorf("exit code %d after TERM, want 0", code)
		}
	})
}

func TestHundredFirstRequestsOneStart(t *testing.T) {
	overApps(t, func(t *testing.T, app harness.App) {
		h := app.Start(t, func(r *harness.Run) { r.Env = append(r.Env, "APP_START_DELAY_MS=300") })
		const n = 100
		answers := make(chan string, n)
		for range n {
			go func() {
				r, err := h.Try("GET", "/process", nil, nil)
				if err != nil {
					answers <- err.Error()
					return
				}
				answers <- fmt.Sprintf("%d %s", r.StatusCode, r.Bytes)
			}()
		}
		first := <-answers
		if !strings.HasPrefix(first, "200 ") {
			t.Fatalf("answered %s", first)
		}
		for range n - 1 {
			if a := <-answers; a != first {
				t.Errorf("answered %s, another %s", a, first)
			}
		}
		if starts := strings.Count(h.Stderr(), "fixture: main entered"); starts > 1 {
			t.Errorf("%d starts for one hundred requests", starts)
		}
	})
}

func TestCrash(t *testing.T) {
	overApps(t, func(t *testing.T, app harness.App) {
		h := app.Start(t)
		pid := h.Worker()
		if r := h.Do("POST", "/crash", nil, strings.NewReader("once")); r.StatusCode != 502 {
			t.Errorf("the request that crashed the application was answered %d, want 502", r.StatusCode)
		}
		if after := h.Worker(); after == pid {
			t.Errorf("the same process %d after a crash", pid)
		}
	})
}

// Under load, a process that is killed loses what it had in hand and nothing
// else.
func TestKilledApplicationUnderLoad(t *testing.T) {
	overApps(t, func(t *testing.T, app harness.App) {
		h := app.Start(t)
		const clients = 8
		pid := h.Worker()

		var mu sync.Mutex
		answered := 0
		var failed []time.Time // when each request that failed was begun
		stop := make(chan struct{})
		var all sync.WaitGroup
		for range clients {
			all.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					began := time.Now()
					// A POST is never sent twice: a lost one shows.
					r, err := h.Try("POST", "/slow?ms=2", nil, strings.NewReader("x"))
					mu.Lock()
					if err != nil || r.StatusCode != 200 {
						failed = append(failed, began)
					} else {
						answered++
					}
					mu.Unlock()
				}
			})
		}
		count := func() int { mu.Lock(); defer mu.Unlock(); return answered }
		harness.Eventually(t, func() bool { return count() > 50 }, "requests are answered")
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, func() bool { return harness.Gone(pid) }, "the process ends")
		gone, before := time.Now(), count()
		harness.Eventually(t, func() bool { return count() > before+100 }, "requests are answered after the kill")
		close(stop)
		all.Wait()
		// While the kernel takes a process apart, which may take a while, its
		// sockets still accept: what they take then is in flight in it, too.
		if len(failed) > 2*clients {
			t.Errorf("%d requests failed with %d clients", len(failed), clients)
		}
		for _, began := range failed {
			if began.After(gone) {
				t.Errorf("a request failed that began %v after the process was gone", began.Sub(gone))
			}
		}
		if after := h.Worker(); after == pid {
			t.Error("the killed process answered")
		}
	})
}

// A GET that the application died of before its first byte is sent once more.
func TestIdempotentRequestSurvivesADeath(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t)
	done := make(chan *harness.Response, 1)
	go func() {
		r, err := h.Try("GET", "/slow?ms=1000", nil, nil)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	pid := int(h.AwaitEvent(1001)["pid"].(float64))
	harness.Eventually(t, func() bool { return harness.Connections(pid) > 0 }, "the request is in the application")
	syscall.Kill(pid, syscall.SIGKILL)
	if r := <-done; r == nil || r.StatusCode != 200 {
		t.Errorf("answered %+v, want 200 from the next process", r)
	}
}

func TestProcessTree(t *testing.T) {
	overApps(t, func(t *testing.T, app harness.App) {
		for name, end := range map[string]func(*harness.Host){
			"Stop":  func(h *harness.Host) { h.Stop() },
			"Kill9": (*harness.Host).Kill9,
		} {
			t.Run(name, func(t *testing.T) {
				h := app.Start(t)
				pid := h.Worker()
				grandchild := spawn(t, h)
				end(h)
				harness.Eventually(t, func() bool { return !harness.Alive(pid) && !harness.Alive(grandchild) },
					"the application and its grandchild end with the host")
			})
		}
		t.Run("Crash", func(t *testing.T) {
			h := app.Start(t)
			grandchild := spawn(t, h)
			syscall.Kill(h.Worker(), syscall.SIGKILL)
			harness.Eventually(t, func() bool { return !harness.Alive(grandchild) }, "the grandchild of a crashed application ends")
		})
	})
}

// Without its guardian, a host can contain nothing: it ends the applications
// and gets another one.
func TestGuardianIsKilled(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t)
	pid := h.Worker()
	grandchild := spawn(t, h)
	guardian := 0
	for _, p := range h.Tree() {
		if p != pid && harness.Parent(p) == h.Pid {
			guardian = p
		}
	}
	if guardian == 0 {
		t.Fatalf("no guardian in the tree %v", h.Tree())
	}
	syscall.Kill(guardian, syscall.SIGKILL)
	harness.Eventually(t, func() bool { return !harness.Alive(pid) && !harness.Alive(grandchild) }, "the application and its grandchild end")
	harness.Eventually(t, func() bool { return h.Get("/").StatusCode == 200 }, "another process serves")
	end := spawn(t, h)
	h.Kill9()
	harness.Eventually(t, func() bool { return !harness.Alive(end) }, "the new guardian does its work")
}

// spawn lets the application leave a process that has a session of its own and
// no parent.
func spawn(t *testing.T, h *harness.Host) int {
	t.Helper()
	r := h.Get("/spawn")
	pid, err := strconv.Atoi(strings.TrimSpace(r.Text()))
	if err != nil || !harness.Alive(pid) {
		t.Fatalf("spawn answered %s", harness.Describe(r.StatusCode, r.Bytes))
	}
	return pid
}

func TestStopDrains(t *testing.T) {
	overApps(t, func(t *testing.T, app harness.App) {
		h := app.Start(t)
		h.Worker()
		c := h.Dial()
		c.Send("POST /upload HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
		for _, want := range []string{"HTTP/1.1 100 Continue\r\n", "\r\n"} { // the request is on its way
			if line, err := c.In.ReadString('\n'); line != want {
				t.Fatalf("read %q, %v, want %q", line, err, want)
			}
		}
		h.Tree()
		h.Signal(syscall.SIGTERM)
		h.AwaitRefusal()
		if r := c.Send("hello").Response("POST"); r.StatusCode != 200 || !strings.Contains(r.Text(), `"bytes":5`) {
			t.Errorf("the request in flight got %s, want 200", harness.Describe(r.StatusCode, r.Bytes))
		}
		c.Close() // for which the host waits a while
		if code := h.Wait(); code != 0 {
			t.Errorf("exit code %d, want 0", code)
		}
	})
}

// The shutdownTimeLimit is for the application that was asked to stop, and not
// for the requests before.
func TestStopAsksAfterTheLastRequest(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t, harness.WebConfig{Attrs: map[string]string{"shutdownTimeLimit": "3"}}.Use(t))
	h.Worker()
	res := h.Open(t.Context(), "GET", "/stream?n=2&ms=5000", nil)
	if code := h.Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	got, err := io.ReadAll(res.Body)
	res.Body.Close()
	if string(got) != "piece 0\npiece 1\n" || err != nil {
		t.Errorf("the request in flight got %q, %v", got, err)
	}
	h.AwaitEvent(1006)
}

func TestSecondSignalStopsAtOnce(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t)
	h.Worker()
	go h.Try("GET", "/hang?id=0", nil, nil)
	harness.Eventually(t, func() bool {
		var s struct{ Hanging bool }
		h.JSON("/abort-seen?id=0", &s)
		return s.Hanging
	}, "a request hangs")
	h.Tree()
	h.Signal(syscall.SIGINT)
	h.AwaitRefusal()
	if h.Exited() {
		t.Fatal("the host ended at the first signal with a request in flight")
	}
	if code := h.Insist(syscall.SIGINT); code != 1 {
		t.Errorf("exit code %d after the second signal, want 1", code)
	}
	h.AwaitStderr("perch: requests were cut: there was a second signal to stop (interrupt)")
}

func TestTerminalInterruptReachesOnlyTheHost(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t)
	h.Worker()
	// A terminal sends the signal to the whole foreground group.
	if err := syscall.Kill(-h.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if code := h.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	h.AwaitEvent(1006)
}
