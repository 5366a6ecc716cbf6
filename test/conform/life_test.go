package conform

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// Section 8.5: app_offline, recycle, shutdown.

// folder starts the Go application and also tells its folder.
func folder(t *testing.T, c harness.WebConfig) (*harness.Host, string) {
	t.Helper()
	dir := harness.Go().Folder(t)
	c.Write(t, dir)
	return harness.Start(t, harness.Run{Dir: dir}), dir
}

func offline(t *testing.T, dir, text string) string {
	t.Helper()
	path := filepath.Join(dir, "app_offline.htm")
	harness.WriteFile(t, path, text)
	return path
}

func is503(t *testing.T, h *harness.Host, text string) {
	t.Helper()
	harness.Eventually(t, func() bool { return h.Get("/").StatusCode == 503 }, "503")
	if r := h.Get("/"); r.StatusCode != 503 || r.Text() != text {
		t.Errorf("answered %s, want 503 and %q", harness.Describe(r.StatusCode, r.Bytes), text)
	}
}

func touch(t *testing.T, path string) {
	t.Helper()
	now := time.Now()
	if err := os.Chtimes(path, now, now); err != nil {
		t.Fatal(err)
	}
}

func TestAppOfflineDroppedWhileSiteIsDown_SiteReturns503(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	offline(t, dir, "The app is offline.")
	is503(t, harness.Start(t, harness.Run{Dir: dir}), "The app is offline.")
}

func TestLockedAppOfflineDroppedWhileSiteIsDown_SiteReturns503(t *testing.T) {
	t.Parallel()
	// The file cannot be read: its presence counts, its content is unknown.
	const nobody = 65534
	dir := harness.Go().Folder(t)
	path := offline(t, dir, "secret")
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	run := harness.Run{Dir: dir}
	if os.Getuid() == 0 {
		run.UID = nobody
	}
	is503(t, harness.Start(t, run), "")
}

func TestAppOfflineDroppedWhileSiteFailedToStartInShim_AppOfflineServed(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{Attrs: map[string]string{"processPath": "nonexistent"}})
	if r := h.Get("/"); r.StatusCode != 502 {
		t.Errorf("answered %d, want 502", r.StatusCode)
	}
	offline(t, dir, "offline")
	is503(t, h, "offline")
}

func TestAppOfflineDroppedWhileSiteRunning_SiteShutsDown(t *testing.T) {
	t.Parallel()
	app := harness.DotNet()
	dir := app.Folder(t)
	h := harness.Start(t, harness.Run{Dir: dir, Env: app.Env(t)})
	pid := h.Worker()
	offline(t, dir, "offline")
	is503(t, h, "offline")
	harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the application ends")
	h.AwaitEvent(1006, "202")
}

func TestAppOfflineDropped_CanRemoveAppOfflineAfterAddingAndSiteWorks(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{})
	for range 3 {
		h.Worker()
		path := offline(t, dir, "offline")
		is503(t, h, "offline")
		os.Remove(path)
		harness.Eventually(t, func() bool { return h.Get("/").StatusCode == 200 }, "200 after the removal")
	}
}

func TestAppOfflineDroppedWhileSiteStarting_SiteShutsDown(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{Env: map[string]string{"APP_START_DELAY_MS": "1500"}})
	first := make(chan int, 1)
	go func() {
		r, err := h.Try("GET", "/", nil, nil)
		if err != nil {
			first <- 0
			return
		}
		first <- r.StatusCode
	}()
	h.AwaitStderr("fixture: main entered")
	offline(t, dir, "offline")
	is503(t, h, "offline")
	if got := <-first; got != 200 && got != 503 {
		t.Errorf("the request that waited for the start got %d, want 200 or 503", got)
	}
}

// stress asks from several clients until done is closed and tells what was
// answered.
func stress(h *harness.Host, done <-chan struct{}) map[string]int {
	var mu sync.Mutex
	seen := map[string]int{}
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				outcome := ""
				if r, err := h.Try("GET", "/status", nil, nil); err != nil {
					outcome = err.Error()
				} else {
					outcome = fmt.Sprint(r.StatusCode)
				}
				mu.Lock()
				seen[outcome]++
				mu.Unlock()
			}
		})
	}
	all.Wait()
	return seen
}

func onlyOK(t *testing.T, seen map[string]int, allowed ...string) {
	t.Helper()
	for outcome, n := range seen {
		if outcome != "200" && !strings.Contains(strings.Join(allowed, " "), outcome) {
			t.Errorf("%d times %s", n, outcome)
		}
	}
	if seen["200"] == 0 {
		t.Errorf("never 200 in %v", seen)
	}
}

func TestAppOfflineAddedAndRemovedStress(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{})
	h.Worker()
	done := make(chan struct{})
	result := make(chan map[string]int, 1)
	go func() { result <- stress(h, done) }()
	for range 10 {
		path := offline(t, dir, "offline")
		harness.Eventually(t, func() bool { return h.Get("/").StatusCode == 503 }, "503")
		os.Remove(path)
		harness.Eventually(t, func() bool { return h.Get("/").StatusCode == 200 }, "200")
	}
	close(done)
	onlyOK(t, <-result, "503")
}

func TestConfigurationChangeForcesChildProcessRestart(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{})
	pid := h.Worker()
	touch(t, filepath.Join(dir, "web.config"))
	harness.Eventually(t, func() bool { return h.Worker() != pid }, "another process")
	h.AwaitEvent(1021)
}

func TestConfigurationChangeCanBeIgnored(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{Settings: map[string]string{"disallowRotationOnConfigChange": "true"}})
	pid := h.Worker()
	touch(t, filepath.Join(dir, "web.config"))
	// That nothing happens can only be seen beside something that does.
	other, dir2 := folder(t, harness.WebConfig{})
	pid2 := other.Worker()
	touch(t, filepath.Join(dir2, "web.config"))
	harness.Eventually(t, func() bool { return other.Worker() != pid2 }, "another process without the setting")
	if now := h.Worker(); now != pid {
		t.Errorf("process %d became %d with disallowRotationOnConfigChange", pid, now)
	}
}

func TestConfigurationTouchedStress(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{})
	h.Worker()
	done := make(chan struct{})
	result := make(chan map[string]int, 1)
	go func() { result <- stress(h, done) }()
	for range 100 {
		touch(t, filepath.Join(dir, "web.config"))
		h.Get("/")
	}
	close(done)
	onlyOK(t, <-result)
}

func TestRequestsWhileRestartingAppFromConfigChangeAreProcessed(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{})
	pid := h.Worker()
	for i := range 2000 {
		if i == 100 {
			touch(t, filepath.Join(dir, "web.config"))
		}
		if r := h.Get("/status"); r.StatusCode != 200 {
			t.Fatalf("request %d answered %s", i, harness.Describe(r.StatusCode, r.Bytes))
		}
	}
	harness.Eventually(t, func() bool { return h.Worker() != pid }, "another process")
	h.AwaitEvent(1006)
}

func TestGracefulShutdownWorksWithMultipleRequestsInFlight(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{})
	const n = 10
	bodies := make(chan string, n)
	for range n {
		res := h.Open(t.Context(), "POST", "/stream?n=2&ms=1000", strings.NewReader("x"))
		go func() {
			defer res.Body.Close()
			text, err := io.ReadAll(res.Body)
			if err != nil {
				bodies <- err.Error()
				return
			}
			bodies <- string(text)
		}()
	}
	offline(t, dir, "offline")
	is503(t, h, "offline")
	for range n {
		if got := <-bodies; got != "piece 0\npiece 1\n" {
			t.Errorf("a request in flight got %q", got)
		}
	}
	h.AwaitEvent(1006)
}

func TestShutdownTimeoutIsApplied(t *testing.T) {
	t.Parallel()
	h, _ := folder(t, harness.WebConfig{
		Attrs: map[string]string{"shutdownTimeLimit": "1"}, Env: map[string]string{"APP_STOP": "deaf"},
	})
	h.Worker()
	began := time.Now()
	h.Stop()
	if took := time.Since(began); took < 900*time.Millisecond || took > 10*time.Second {
		t.Errorf("the stop took %v, want about a second", took)
	}
	h.AwaitEvent(1005)
}

func TestCallStopAsyncOnRequestThread_DoesNotHangIndefinitely(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	pid := h.Worker()
	if r := h.Get("/shutdown"); r.Text() != "stopping" {
		t.Errorf("answered %s", harness.Describe(r.StatusCode, r.Bytes))
	}
	harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the application ends")
}

func TestShutdownMultipleTimesWorks(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	for i := range 2 {
		pid := h.Worker()
		h.Get("/shutdown")
		harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the application ends")
		harness.Eventually(t, func() bool { return len(h.Event(1030)) > i }, "stop %d is noticed", i+1)
		if r := h.Get("/"); r.StatusCode != 200 {
			t.Fatalf("after the application's own stop answered %s", harness.Describe(r.StatusCode, r.Bytes))
		}
	}
}

func TestClosesConnectionOnServerAbort(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	r, err := h.Try("POST", "/abort", nil, strings.NewReader("x"))
	if err == nil && r.StatusCode != 502 {
		t.Errorf("answered %d, want 502 or a reset", r.StatusCode)
	}
	h.Worker()
}
