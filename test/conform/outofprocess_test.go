package conform

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// Section 8.6: out of process.

// freePort is a port that nobody listens on and no client is given.
func freePort(t *testing.T) string {
	t.Helper()
	for port := 1100; port < 9000; port++ {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			ln.Close()
			return fmt.Sprint(port)
		}
	}
	t.Fatal("no free port below 9000")
	return ""
}

func TestMultipleAppTests_Startup(t *testing.T) {
	t.Parallel()
	const n = 10
	hosts := make([]*harness.Host, n)
	for i := range hosts {
		hosts[i] = start(t, harness.WebConfig{})
	}
	var mu sync.Mutex
	ports := map[string]bool{}
	var all sync.WaitGroup
	for _, h := range hosts {
		all.Go(func() {
			r, err := h.Try("GET", "/env", nil, nil)
			if err != nil || r.StatusCode != 200 {
				t.Errorf("%v, %v", r, err)
				return
			}
			_, after, _ := strings.Cut(r.Text(), `"ASPNETCORE_PORT":"`)
			port, _, _ := strings.Cut(after, `"`)
			mu.Lock()
			defer mu.Unlock()
			ports[port] = true
		})
	}
	all.Wait()
	if len(ports) != n {
		t.Errorf("%d applications have %d ports", n, len(ports))
	}
}

func TestSetsConnectionCloseHeader(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]bool{"true": true, "false": false} {
		h := start(t, harness.WebConfig{Settings: map[string]string{"forwardResponseConnectionHeader": value}})
		r := raw(h, "GET /headers?Connection=close HTTP/1.1\r\nHost: a\r\n\r\n")
		if got := strings.EqualFold(r.Header.Get("Connection"), "close") || r.Close; got != want || r.Text() != "headers" {
			t.Errorf("forwardResponseConnectionHeader=%s: Connection %q, close %v", value, r.Header.Get("Connection"), r.Close)
		}
	}
}

func TestDoBasicTest(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	pid := h.Worker()
	for range 10 {
		if again := h.Worker(); again != pid {
			t.Errorf("process %d became %d", pid, again)
		}
	}
	h.AwaitEvent(1001, fmt.Sprint(pid))
}

func TestDoPostMethodTest(t *testing.T) {
	t.Parallel()
	r := dotnetApp(t).Do("POST", "/echo", []string{"Content-Type: text/plain"}, strings.NewReader("test=abc"))
	if r.StatusCode != 200 || r.Text() != "test=abc" {
		t.Errorf("answered %s", harness.Describe(r.StatusCode, r.Bytes))
	}
}

func TestAfterBackendProcessBeingKilled(t *testing.T) {
	t.Parallel()
	h := dotnetApp(t)
	pid := h.Worker()
	syscall.Kill(pid, syscall.SIGKILL)
	h.AwaitEvent(1030)
	now := h.Worker()
	if now == pid {
		t.Errorf("the killed process %d answered", pid)
	}
	h.AwaitEvent(1001, fmt.Sprint(now))
}

func TestAfterW3WPProcessBeingKilled(t *testing.T) {
	t.Parallel()
	app := harness.DotNet()
	dir := app.Folder(t)
	run := harness.Run{Dir: dir, Env: app.Env(t)}
	h := harness.Start(t, run)
	pid := h.Worker()
	h.Kill9()
	harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the application dies with its host")
	if now := harness.Start(t, run).Worker(); now == pid {
		t.Errorf("process %d again", now)
	}
}

func TestAfterWebConfigUpdated(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{})
	pid := h.Worker()
	for i := range 3 {
		want := fmt.Sprint("edition ", i)
		harness.WebConfig{Env: map[string]string{"EDITION": want}}.Write(t, dir)
		harness.Eventually(t, func() bool { return h.Env()["EDITION"] == want }, "a process with the new environment")
		now := h.Worker()
		if now == pid {
			t.Errorf("the same process %d with another environment", now)
		}
		pid = now
	}
}

func TestAppOfflineTestWithRenaming(t *testing.T) {
	t.Parallel()
	h, dir := folder(t, harness.WebConfig{})
	pid := h.Worker()
	path := offline(t, dir, "<h1>renamed in</h1>")
	is503(t, h, "<h1>renamed in</h1>")
	if err := syscall.Rename(path, filepath.Join(dir, "app_offline.htm.bak")); err != nil {
		t.Fatal(err)
	}
	harness.Eventually(t, func() bool { return h.Get("/").StatusCode == 200 }, "200 after renaming away")
	if now := h.Worker(); now == pid {
		t.Errorf("process %d again", now)
	}
}

func TestDisableStartUpErrorPageTest(t *testing.T) {
	t.Parallel()
	attrs := func(disabled string) harness.WebConfig {
		return harness.WebConfig{Attrs: map[string]string{"processPath": "nope", "disableStartUpErrorPage": disabled}}
	}
	if r := start(t, attrs("true")).Get("/"); r.StatusCode != 502 || len(r.Bytes) != 0 {
		t.Errorf("without the page answered %s, want an empty 502", harness.Describe(r.StatusCode, r.Bytes))
	}
	if r := start(t, attrs("false")).Get("/"); r.StatusCode != 502 || !strings.Contains(r.Text(), "502.5") {
		t.Errorf("with the page answered %s", harness.Describe(r.StatusCode, r.Bytes))
	}
}

func TestRapidFailsPerMinuteTest(t *testing.T) {
	t.Parallel()
	for _, limit := range []int{0, 1, 5} {
		t.Run(fmt.Sprint(limit), func(t *testing.T) {
			t.Parallel()
			h := start(t, harness.WebConfig{Attrs: map[string]string{"rapidFailsPerMinute": fmt.Sprint(limit)}})
			for i := range limit + 4 {
				r := h.Get("/")
				if r.StatusCode == 502 {
					if i < limit || i >= limit+3 {
						t.Errorf("blocked after %d crashes, limit %d", i, limit)
					}
					h.AwaitEvent(1003, fmt.Sprint(limit))
					return
				}
				var s harness.Seen
				harness.Decode(t, r, &s)
				syscall.Kill(s.Pid, syscall.SIGKILL)
				harness.Eventually(t, func() bool { return len(h.Event(1030)) > i }, "crash %d is noticed", i+1)
			}
			t.Errorf("never blocked, limit %d", limit)
		})
	}
}

func TestProcessesPerApplicationTest(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 10} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			h := start(t, harness.WebConfig{Attrs: map[string]string{"processesPerApplication": fmt.Sprint(n)}})
			pids := map[int]bool{}
			for range 2 * n {
				pids[h.Worker()] = true
			}
			if len(pids) != n {
				t.Errorf("%d requests were answered by %d processes, want %d", 2*n, len(pids), n)
			}
		})
	}
}

func TestStartupTimeLimitTest(t *testing.T) {
	t.Parallel()
	for limit, want := range map[string]int{"60": 200, "1": 502} {
		t.Run(limit, func(t *testing.T) {
			t.Parallel()
			h := start(t, harness.WebConfig{
				Attrs: map[string]string{"startupTimeLimit": limit}, Env: map[string]string{"APP_START_DELAY_MS": "3000"},
			})
			if r := h.Get("/"); r.StatusCode != want {
				t.Errorf("limit %s s, start 3 s: answered %d, want %d", limit, r.StatusCode, want)
			}
		})
	}
}

func TestRequestTimeoutTest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		limit, target string
		want          int
	}{{"00:01:00", "/slow?ms=2500", 200}, {"00:00:01", "/hang?id=0", 502}} {
		t.Run(strings.ReplaceAll(c.limit, ":", ""), func(t *testing.T) {
			t.Parallel()
			h := start(t, harness.WebConfig{Attrs: map[string]string{"requestTimeout": c.limit}})
			if r := h.Get(c.target); r.StatusCode != c.want {
				t.Errorf("limit %s: %s answered %d, want %d", c.limit, c.target, r.StatusCode, c.want)
			}
		})
	}
}

func TestShutdownTimeLimitTest(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, limit, stop, delay string
		least, most              time.Duration
		event                    int
		text                     string
	}{
		{"ZeroKillsAtOnce", "0", "", "60000", 0, 20 * time.Second, 0, ""},
		{"LimitCutsShort", "1", "", "60000", 900 * time.Millisecond, 20 * time.Second, 1005, ""},
		{"EnoughTime", "25", "", "1500", 1400 * time.Millisecond, 20 * time.Second, 1006, "202"},
		{"WithoutMiddleware", "60", "plain", "0", 0, 20 * time.Second, 1006, "200"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			env := map[string]string{"APP_STOP_DELAY_MS": c.delay}
			if c.stop != "" {
				env["APP_STOP"] = c.stop
			}
			for _, trigger := range []string{"Stop", "AppOffline"} {
				h, dir := folder(t, harness.WebConfig{Attrs: map[string]string{"shutdownTimeLimit": c.limit}, Env: env})
				pid := h.Worker()
				began := time.Now()
				if trigger == "Stop" {
					h.Stop()
				} else {
					offline(t, dir, "offline")
				}
				harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "the application ends")
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("%s took %v, want %v to %v", trigger, took, c.least, c.most)
				}
				if c.event != 0 {
					h.AwaitEvent(c.event, c.text)
				}
			}
		})
	}
}

func TestProcessPathAndArgumentsTest(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ path, arguments string }{
		"Dotnet":       {"dotnet", `.\app.dll`},
		"DotnetExe":    {"dotnet.exe", `./app.dll`},
		"Variable":     {`%DOTNET_ROOT%/dotnet`, `app.dll`},
		"VariableExe":  {`%DOTNET_ROOT%\dotnet.exe`, `".\app.dll"`},
		"AppHost":      {`.\app`, ""},
		"AppHostExe":   {`.\app.exe`, ""},
		"AppHostSlash": {`./app`, ""},
		"Exec":         {"dotnet", `exec "app.dll"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := harness.DotNet().Start(t, harness.WebConfig{Attrs: map[string]string{"processPath": c.path, "arguments": c.arguments}}.Use(t))
			h.Worker()
		})
	}
	for arguments, want := range map[string]string{
		`one "two three" four`: "one|two three|four", `a\b \"c\"`: `a\b|"c"`, `"x\\"`: `x\`, `--path=c:\temp\ y`: `--path=c:\temp\|y`,
	} {
		var p struct{ Args []string }
		start(t, harness.WebConfig{Attrs: map[string]string{"arguments": arguments}}).JSON("/process", &p)
		if got := strings.Join(p.Args, "|"); got != want {
			t.Errorf("arguments %s arrived as %q, want %q", arguments, got, want)
		}
	}
}

func TestFilterOutMSRequestHeadersTest(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	for _, name := range []string{
		"MS-ASPNETCORE", "MS-ASPNETCORE-CLIENTCERT", "ms-AspNetCore-winauthtoken", "Ms-Aspnetcore-Foo", "MS-ASPNETCOREfoo",
		"MS-ASPNETCORE-" + strings.Repeat("LONG", 100),
	} {
		if got := h.Seen("GET", "/", name+": x").Field(name); len(got) != 0 {
			t.Errorf("%s reached the application as %q", name, got)
		}
	}
	if got := h.Seen("GET", "/", "MS-ASPNET-OTHER: x").Field("MS-ASPNET-OTHER"); len(got) != 1 {
		t.Errorf("a field with another beginning was dropped")
	}
}
