package start

import (
	"fmt"
	"html"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// failure is one way in which an application does not start.
type failure struct {
	name    string
	config  harness.WebConfig
	prepare func(t *testing.T, dir string) // changes the folder before the start
	dotnet  bool                           // the real ASP.NET Core application instead of the Go one
	page    []string                       // texts that the page for a local client must hold
}

var failures = []failure{
	{
		name:   "MissingFile",
		config: harness.WebConfig{Attrs: map[string]string{"processPath": `.\nowhere.exe`}},
		page:   []string{"nowhere"},
	},
	{
		name:    "NotExecutable",
		config:  harness.WebConfig{Attrs: map[string]string{"processPath": `.\plain`}},
		prepare: func(t *testing.T, dir string) { harness.WriteFile(t, filepath.Join(dir, "plain"), "#!/bin/sh\n") },
		page:    []string{"plain", "chmod +x"},
	},
	{
		name:    "NotAProgram",
		config:  harness.WebConfig{Attrs: map[string]string{"processPath": `.\app.zip`}},
		prepare: func(t *testing.T, dir string) { executable(t, filepath.Join(dir, "app.zip"), "PK\x03\x04") },
		page:    []string{"app.zip"},
	},
	{
		name:    "IsAFolder",
		config:  harness.WebConfig{Attrs: map[string]string{"processPath": `.\folder`}},
		prepare: func(t *testing.T, dir string) { os.Mkdir(filepath.Join(dir, "folder"), 0o755) },
		page:    []string{"folder"},
	},
	{
		name:   "ExitsWithCode",
		config: harness.WebConfig{Env: map[string]string{"APP_START": "exit:37"}},
		page:   []string{"37", "fixture: giving up as told"},
	},
	{
		name:   "NeverListens",
		config: harness.WebConfig{Env: map[string]string{"APP_START": "never"}, Attrs: map[string]string{"startupTimeLimit": "4"}},
		page:   []string{"listen", "fixture: main entered"}, // which it has to come to in time
	},
	{
		name:    "MissingLibrary",
		dotnet:  true,
		config:  harness.WebConfig{Attrs: map[string]string{"processPath": "dotnet", "arguments": `.\gone.dll`}},
		prepare: func(*testing.T, string) {},
		page:    []string{"gone.dll"},
	},
	{
		name:   "MissingFramework",
		dotnet: true,
		config: harness.WebConfig{Attrs: map[string]string{"processPath": "dotnet", "arguments": `.\app.dll`}},
		prepare: func(t *testing.T, dir string) {
			path := filepath.Join(dir, "app.runtimeconfig.json")
			text := strings.Replace(harness.ReadFile(t, path), `"version": "3.1.0"`, `"version": "9.9.0"`, 1)
			if !strings.Contains(text, "9.9.0") {
				t.Fatalf("runtimeconfig has no version to change: %s", text)
			}
			harness.WriteFile(t, path, text)
		},
		page: []string{"Microsoft.AspNetCore.App", "9.9.0", "3.1."},
	},
}

func executable(t *testing.T, path, content string) {
	t.Helper()
	harness.WriteFile(t, path, content)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func (f failure) start(t *testing.T) *harness.Host {
	t.Helper()
	app := harness.Go()
	if f.dotnet {
		app = harness.DotNet()
	}
	return app.Start(t, func(r *harness.Run) {
		f.config.Write(t, r.Dir)
		if f.prepare != nil {
			f.prepare(t, r.Dir)
		}
	})
}

func TestFailedStart(t *testing.T) {
	t.Parallel()
	for _, f := range failures {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			h := f.start(t)
			r := h.Get("/")
			if r.StatusCode != 502 || !strings.Contains(r.Text(), "<h1>HTTP Error 502.5 - ") || !strings.HasSuffix(r.Text(), "</html>\r\n") ||
				!strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
				t.Errorf("answered %v %s", r.Header, harness.Describe(r.StatusCode, r.Bytes))
			}
			for _, want := range f.page {
				if !strings.Contains(html.UnescapeString(r.Text()), want) {
					t.Errorf("the page for a local client has no %q:\n%s", want, r.Text())
				}
			}
			e := h.AwaitEvent(1020)
			for _, want := range f.page {
				if !strings.Contains(h.Stderr(), want) {
					t.Errorf("the log has no %q; event 1020 is %s", want, e.Text())
				}
			}
			if r := h.Get("/"); r.StatusCode != 502 {
				t.Errorf("the second request answered %d", r.StatusCode)
			}
		})
	}
}

// What is told to a client that is not local, or that another proxy speaks
// for, is the status and a number to ask by.
func TestDetailsStayAtHome(t *testing.T) {
	t.Parallel()
	h := failures[4].start(t)
	for _, field := range []string{"X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https", "Forwarded: for=203.0.113.7", "Via: 1.1 x", "X-Forwarded-Host: a"} {
		r := h.Do("GET", "/", []string{field}, nil)
		if r.StatusCode != 502 || !strings.Contains(r.Text(), "502.5") || strings.Contains(r.Text(), "giving up") || strings.Contains(r.Text(), "37") && strings.Contains(r.Text(), "exit") {
			t.Errorf("with %s answered %s", field, harness.Describe(r.StatusCode, r.Bytes))
		}
	}
	// In Development everybody is told.
	f := failures[4]
	f.config.Env = map[string]string{"APP_START": "exit:37", "ASPNETCORE_ENVIRONMENT": "development"}
	if r := f.start(t).Do("GET", "/", []string{"X-Forwarded-For: 203.0.113.7"}, nil); !strings.Contains(r.Text(), "giving up as told") {
		t.Errorf("in Development answered %s", harness.Describe(r.StatusCode, r.Bytes))
	}
}

func TestWrongAddress(t *testing.T) {
	t.Parallel()
	// An address that nobody else has: taken by the kernel, then given free.
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	h := harness.Go().Start(t, harness.WebConfig{
		Attrs: map[string]string{"startupTimeLimit": "4"}, // by then it has to listen there
		Env:   map[string]string{"APP_START": "address:" + addr},
	}.Use(t))
	r := h.Get("/")
	if r.StatusCode != 502 || !strings.Contains(r.Text(), addr) {
		t.Errorf("the page does not name the address %s that the application listens on: %s", addr, harness.Describe(r.StatusCode, r.Bytes))
	}
}

func TestListenersThatCount(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]string{
		"Loopback4": "host:127.0.0.1", "Any4": "host:0.0.0.0", "DualStack": "host:::", "Loopback6": "host:::1", "Child": "child",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := harness.Go().Start(t, harness.WebConfig{Env: map[string]string{"APP_START": env}}.Use(t))
			if s := h.Seen("GET", "/"); s.Scheme != "http" {
				t.Errorf("the application saw %+v", s)
			}
		})
	}
}

// An application that fails at first and is mended serves the next request.
func TestFailureIsNotForEver(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	harness.WebConfig{Env: map[string]string{"APP_START": "exit:1"}}.Write(t, dir)
	h := harness.Start(t, harness.Run{Dir: dir})
	if r := h.Get("/"); r.StatusCode != 502 {
		t.Fatalf("answered %d", r.StatusCode)
	}
	harness.WebConfig{}.Write(t, dir)
	harness.Eventually(t, func() bool { return h.Get("/").StatusCode == 200 }, "the mended application serves")
}

// All requests that waited for a start that failed get its failure.
func TestWaitersShareAFailure(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t, harness.WebConfig{
		Attrs: map[string]string{"startupTimeLimit": "3"}, Env: map[string]string{"APP_START": "never"},
	}.Use(t)) // by then all have to wait
	const n = 20
	got := make(chan string, n)
	for range n {
		go func() {
			r, err := h.Try("GET", "/", nil, nil)
			if err != nil {
				got <- err.Error()
				return
			}
			got <- fmt.Sprint(r.StatusCode)
		}()
	}
	for range n {
		if s := <-got; s != "502" {
			t.Errorf("answered %s, want 502", s)
		}
	}
	h.Stop() // its log is whole
	if starts := len(h.Event(1020)); starts != 1 {
		t.Errorf("%d failed starts for %d requests at once, want 1", starts, n)
	}
}

func TestOutputIsShown(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t)
	h.Get("/stdout?text=spoken-out-loud")
	h.Get("/stderr?text=complained-quietly")
	h.AwaitStderr("fixture: main entered", "spoken-out-loud", "complained-quietly")
	if out := h.Stdout(); strings.Count(out, "\n") != 1 {
		t.Errorf("stdout holds more than the listening URL: %q", out)
	}
}

// A start is tried twice, with another port, before it is given up.
func TestTwoAttempts(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t, harness.WebConfig{Env: map[string]string{"APP_START": "exit:1"}}.Use(t))
	h.Get("/")
	h.AwaitEvent(1020)
	if n := len(h.Event(1000)); n != 2 {
		t.Errorf("%d failed attempts in the log, want 2", n)
	}
}
