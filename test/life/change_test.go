package life

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/perchserver/perch/test/harness"
)

// load keeps requests coming from several clients until the returned function
// is called; that tells how often each outcome was seen.
func load(t *testing.T, h *harness.Host, target string) (answered func() int, stop func() map[string]int) {
	t.Helper()
	var mu sync.Mutex
	seen := map[string]int{}
	end := make(chan struct{})
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for {
				select {
				case <-end:
					return
				default:
				}
				outcome := ""
				if r, err := h.Try("POST", target, nil, strings.NewReader("x")); err != nil {
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
	answered = func() int {
		mu.Lock()
		defer mu.Unlock()
		n := 0
		for _, c := range seen {
			n += c
		}
		return n
	}
	return answered, func() map[string]int { close(end); all.Wait(); return seen }
}

// A planned replacement loses nothing: the new process is ready before the old
// one drains.
func TestReplacementLosesNoRequest(t *testing.T) {
	t.Parallel()
	rewrite := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) { harness.Replace(t, filepath.Join(dir, name)) }
	}
	touch := func(name string) func(t *testing.T, dir string) {
		return func(t *testing.T, dir string) {
			now := time.Now()
			if err := os.Chtimes(filepath.Join(dir, name), now, now); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, c := range []struct {
		name   string
		app    harness.App
		change func(t *testing.T, dir string)
	}{
		{"TouchedConfig", harness.Go(), touch("web.config")},
		{"RewrittenConfig", harness.Go(), rewrite("web.config")},
		{"Executable", harness.Go(), rewrite("app")},
		{"DotNetConfig", harness.DotNet(), touch("web.config")},
		{"DotNetLibrary", harness.DotNet(), rewrite("app.dll")},
		{"DotNetDependencies", harness.DotNet(), rewrite("app.deps.json")},
		{"NodeConfig", harness.Apps()[1], touch("web.config")},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := c.app.Folder(t)
			h := harness.Start(t, harness.Run{Dir: dir, Env: c.app.Env(t)})
			pid := h.Worker()
			answered, stop := load(t, h, "/slow?ms=1")
			harness.Eventually(t, func() bool { return answered() > 20 }, "requests are answered")
			c.change(t, dir)
			harness.Eventually(t, func() bool { return h.Worker() != pid }, "another process serves")
			harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the old process ends")
			outcomes := stop()
			if len(outcomes) != 1 || outcomes["200"] == 0 {
				t.Errorf("outcomes of the requests: %v, want 200 alone", outcomes)
			}
		})
	}
}

// A copy that takes its time is one change, and what fails to start does not
// replace what works.
func TestBrokenChangeKeepsTheOldProcess(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"Malformed":     "<configuration><system.webServer>",
		"Half":          `<?xml version="1.0"?><configuration><system.webServer><aspNetCore processPath=".\app" `,
		"Empty":         "",
		"UnknownName":   harness.WebConfig{Attrs: map[string]string{"procesPath": "x"}}.XML(),
		"NoSuchProgram": harness.WebConfig{Attrs: map[string]string{"processPath": `.\missing`}}.XML(),
		"NeverListens":  harness.WebConfig{Attrs: map[string]string{"startupTimeLimit": "1"}, Env: map[string]string{"APP_START": "never"}}.XML(),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := harness.Go().Folder(t)
			good := harness.ReadFile(t, filepath.Join(dir, "web.config"))
			h := harness.Start(t, harness.Run{Dir: dir})
			pid := h.Worker()
			before := len(h.Events())
			harness.WriteFile(t, filepath.Join(dir, "web.config"), text)
			harness.Eventually(t, func() bool {
				for _, e := range h.Events()[before:] {
					if l := e["level"]; l == "ERROR" || l == "WARN" {
						return true
					}
				}
				return false
			}, "the log tells of the change that failed")
			if now := h.Worker(); now != pid {
				t.Errorf("process %d serves, want the old one, %d", now, pid)
			}
			harness.WriteFile(t, filepath.Join(dir, "web.config"), good)
			harness.Eventually(t, func() bool { return h.Worker() != pid }, "the mended file takes effect")
		})
	}
}

// A file that is written in pieces is one change, and nothing starts with
// half of it.
func TestSlowCopyIsOneChange(t *testing.T) {
	t.Parallel()
	app := harness.DotNet()
	for kept := false; !kept; { // a copy that stands still for long is another case
		dir := app.Folder(t)
		h := harness.Start(t, harness.Run{Dir: dir, Env: app.Env(t)})
		pid := h.Worker()
		if kept = slowCopy(t, filepath.Join(dir, "app.deps.json")); !kept {
			h.Stop()
			continue
		}
		harness.Eventually(t, func() bool { return h.Worker() != pid }, "another process serves")
		harness.Eventually(t, func() bool { return len(h.Event(1001)) > 1 }, "the log tells of its start")
		if failed := h.Event(1000); len(failed) > 0 {
			t.Errorf("a process was started with half a file: %v", failed)
		}
		if starts := h.Event(1001); len(starts) != 2 {
			t.Errorf("%d starts, want 2", len(starts))
		}
	}
}

// slowCopy writes a file anew, in pieces, and reports whether it kept the pace
// of a copy: less than 500 ms from piece to piece, by which the end of a change
// is known.
func slowCopy(t *testing.T, path string) (kept bool) {
	t.Helper()
	text := harness.ReadFile(t, path)
	last := time.Now()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const pieces = 10
	tick := time.NewTicker(60 * time.Millisecond)
	defer tick.Stop()
	kept = true
	for i := range pieces {
		<-tick.C
		now := time.Now()
		if _, err := f.WriteString(text[i*len(text)/pieces : (i+1)*len(text)/pieces]); err != nil {
			t.Fatal(err)
		}
		kept = kept && time.Since(last) < 500*time.Millisecond
		last = now
	}
	return kept
}

func TestReplacementTellsWebSockets(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	h := harness.Start(t, harness.Run{Dir: dir})
	pid := h.Worker()
	c := h.WebSocket("/ws", nil)
	harness.Replace(t, filepath.Join(dir, "web.config"))
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	defer cancel()
	_, _, err := c.Read(ctx)
	if websocket.CloseStatus(err) != websocket.StatusGoingAway {
		t.Errorf("read: %v, want the close frame of the application", err)
	}
	harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the old process ends")
}

func TestAppOffline(t *testing.T) {
	overApps(t, func(t *testing.T, app harness.App) {
		dir := app.Folder(t)
		offline := filepath.Join(dir, "app_offline.htm")
		h := harness.Start(t, harness.Run{Dir: dir, Env: app.Env(t)})
		pid := h.Worker()
		for round := range 2 {
			content := fmt.Sprintf("<h1>back soon %d</h1>", round)
			harness.WriteFile(t, offline, content)
			harness.Eventually(t, func() bool { return h.Get("/").StatusCode == 503 }, "503")
			r := h.Do("POST", "/anything?x=1", nil, strings.NewReader("x"))
			if r.StatusCode != 503 || r.Text() != content || r.Header.Get("Content-Type") != "text/html" || r.Header.Get("Retry-After") == "" {
				t.Errorf("offline: %s, %v", harness.Describe(r.StatusCode, r.Bytes), r.Header)
			}
			harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the application ends")
			h.AwaitEvent(1012)
			if err := os.Remove(offline); err != nil {
				t.Fatal(err)
			}
			// One request may still be told the old state, for 200 ms.
			var last int
			harness.Within(t, 2*time.Second, func() bool { last = h.Get("/").StatusCode; return last != 503 }, "the file's removal is noticed")
			if last != 200 {
				t.Fatalf("back again, answered %d", last)
			}
			pid = h.Worker()
		}
	})
}

func TestAppOfflineBeforeTheFirstRequest(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	harness.WriteFile(t, filepath.Join(dir, "App_Offline.HTM"), "closed")
	h := harness.Start(t, harness.Run{Dir: dir})
	if r := h.Get("/"); r.StatusCode != 503 || r.Text() != "closed" {
		t.Errorf("answered %s", harness.Describe(r.StatusCode, r.Bytes))
	}
	if strings.Contains(h.Stderr(), "fixture: main entered") {
		t.Error("the application was started")
	}
}

func TestAppOfflineDrains(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	h := harness.Start(t, harness.Run{Dir: dir})
	pid := h.Worker()
	res := h.Open(t.Context(), "GET", "/stream?n=2&ms=500", nil)
	defer res.Body.Close()
	harness.WriteFile(t, filepath.Join(dir, "app_offline.htm"), "closed")
	harness.Eventually(t, func() bool { return h.Get("/").StatusCode == 503 }, "503")
	body := make([]byte, 64)
	n := 0
	for {
		got, err := res.Body.Read(body[n:])
		n += got
		if err != nil {
			break
		}
	}
	if string(body[:n]) != "piece 0\npiece 1\n" {
		t.Errorf("the response in flight was %q", body[:n])
	}
	harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the application ends")
}

func TestHangupReloads(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	h := harness.Start(t, harness.Run{Dir: dir})
	h.Worker()
	h.Signal(syscall.SIGHUP)
	harness.Eventually(t, func() bool {
		return strings.Contains(strings.ToLower(h.Stderr()), "reload")
	}, "the log tells of the reload")
	if r := h.Get("/"); r.StatusCode != http.StatusOK {
		t.Errorf("after HUP answered %d", r.StatusCode)
	}
}

func TestNodesOfOtherSettings(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	// <location path="admin"> and a web.config in a folder change settings for
	// their paths: here, the limit of the request body.
	limit := func(n int) string {
		return fmt.Sprintf(`<security><requestFiltering><requestLimits maxAllowedContentLength="%d" /></requestFiltering></security>`, n)
	}
	root := strings.Replace(harness.WebConfig{More: limit(1000)}.XML(), "</configuration>",
		`<location path="admin"><system.webServer>`+limit(10)+`</system.webServer></location></configuration>`, 1)
	harness.WriteFile(t, filepath.Join(dir, "web.config"), root)
	if err := os.MkdirAll(filepath.Join(dir, "inner"), 0o755); err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, filepath.Join(dir, "inner", "web.config"),
		"<configuration><system.webServer>"+limit(100)+"</system.webServer></configuration>")
	h := harness.Start(t, harness.Run{Dir: dir})
	for _, c := range []struct {
		path string
		size int
		want int
	}{
		{"/x", 1000, 200}, {"/x", 1001, 413},
		{"/admin", 10, 200}, {"/admin", 11, 413}, {"/ADMIN/deep/er", 11, 413}, {"/admin/../x", 11, 200}, {"/administrator", 11, 200},
		{"/inner/x", 100, 200}, {"/inner/x", 101, 413}, {"/Inner/x", 101, 413}, {"/inner", 101, 413},
	} {
		r, err := h.Try("POST", c.path, nil, strings.NewReader(strings.Repeat("x", c.size)))
		if err != nil || r.StatusCode != c.want {
			t.Errorf("%d bytes to %s: %v, %v; want %d", c.size, c.path, r, err, c.want)
		}
	}
}
