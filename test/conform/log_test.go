package conform

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// Section 8.2: logs.

// logging runs the Go application with its output in files with this prefix.
func logging(t *testing.T, file string, more harness.WebConfig) (h *harness.Host, prefix string) {
	t.Helper()
	dir := harness.Go().Folder(t)
	attrs := map[string]string{"stdoutLogEnabled": "true", "stdoutLogFile": file}
	for k, v := range more.Attrs {
		attrs[k] = v
	}
	more.Attrs = attrs
	more.Write(t, dir)
	return harness.Start(t, harness.Run{Dir: dir}), filepath.Join(dir, filepath.FromSlash(strings.ReplaceAll(file, `\`, "/")))
}

// oneLog waits for the single log file and for a text in it.
func oneLog(t *testing.T, prefix, text string) string {
	t.Helper()
	var content string
	harness.Eventually(t, func() bool {
		files := harness.LogFiles(t, prefix)
		if len(files) != 1 {
			return false
		}
		content = harness.ReadFile(t, files[0])
		return strings.Contains(content, text)
	}, "one file %s_*.log that contains %q", prefix, text)
	return content
}

func TestCheckStdoutLoggingToFile(t *testing.T) {
	t.Parallel()
	h, prefix := logging(t, `.\logs\stdout`, harness.WebConfig{})
	h.Get("/stdout?text=TEST%20MESSAGE")
	if content := oneLog(t, prefix, "TEST MESSAGE\n"); strings.Contains(content, "\r") {
		t.Errorf("line ends were changed: %q", content)
	}
}

func TestCheckStdoutErrLoggingToFile(t *testing.T) {
	t.Parallel()
	h, prefix := logging(t, `logs/stdout`, harness.WebConfig{})
	h.Get("/stderr?text=TEST%20ERROR")
	oneLog(t, prefix, "TEST ERROR\n")
}

func TestInvalidFilePathForLogs_ServerStillRuns(t *testing.T) {
	t.Parallel()
	// The folder of the log is a file of the application.
	h, _ := logging(t, `.\app\logs\stdout`, harness.WebConfig{})
	h.Worker()
	h.AwaitEvent(1004)
}

func TestOnlyOneFileCreatedWithProcessStartTime(t *testing.T) {
	t.Parallel()
	before := time.Now().UTC().Add(-time.Second)
	h, prefix := logging(t, `.\stdout`, harness.WebConfig{})
	h.Worker()
	oneLog(t, prefix, "fixture: main entered")
	name := filepath.Base(harness.LogFiles(t, prefix)[0])
	m := regexp.MustCompile(`^stdout_(\d{14})_(\d+)\.log$`).FindStringSubmatch(name)
	if m == nil {
		t.Fatalf("the file is called %s", name)
	}
	if at, err := time.Parse("20060102150405", m[1]); err != nil || at.Before(before.Truncate(time.Second)) || at.After(time.Now().UTC()) {
		t.Errorf("time %s in the name, %v; it should be of now, UTC", m[1], err)
	}
	if m[2] != fmt.Sprint(h.Pid) {
		t.Errorf("process %s in the name, want the host, %d", m[2], h.Pid)
	}
}

func TestCheckUTF8File(t *testing.T) {
	t.Parallel()
	h, prefix := logging(t, `.\彡⾔\彡⾔`, harness.WebConfig{})
	h.Get("/stdout?text=%E5%BD%A1%E2%BE%94")
	oneLog(t, prefix, "彡⾔\n")
}

func TestStdoutLogEnabledTest(t *testing.T) {
	t.Parallel()
	h, prefix := logging(t, `.\new\folder\stdout`, harness.WebConfig{})
	h.Worker()
	oneLog(t, prefix, "fixture: main entered")

	// Off: no file.
	dir := harness.Go().Folder(t)
	harness.WebConfig{Attrs: map[string]string{"stdoutLogEnabled": "false", "stdoutLogFile": `.\off\stdout`}}.Write(t, dir)
	h = harness.Start(t, harness.Run{Dir: dir})
	h.Worker()
	if _, err := os.Stat(filepath.Join(dir, "off")); err == nil {
		t.Error("a log folder was made with the log switched off")
	}
}

func TestCaptureLogsForOutOfProcessWhenProcessFailsToStart(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Env: map[string]string{"APP_START": "exit:1", "APP_OUTPUT": "12"}})
	h.Get("/")
	h.AwaitEvent(1020, "xxxxxxxxxxxx", "fixture: giving up as told")
}

func TestCaptureLogsForOutOfProcessWhenProcessFailsToStart30KbMax(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Env: map[string]string{"APP_START": "exit:1", "APP_OUTPUT": "100000"}})
	h.Get("/")
	h.AwaitEvent(1020)
	for _, e := range h.Event(1020) {
		n := strings.Count(e.Text(), "x")
		// Few of the characters kept are the last lines, not the flood.
		if n > 30_000+200 || n < 29_000 {
			t.Errorf("event 1020 holds %d characters of the flood, want about 30000", n)
		}
	}
}

func TestDisableRedirectionNoLogs(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	harness.WebConfig{
		Attrs:    map[string]string{"stdoutLogEnabled": "true", "stdoutLogFile": `.\logs\stdout`},
		Env:      map[string]string{"APP_START": "exit:1", "APP_OUTPUT": "12"},
		Settings: map[string]string{"enableOutOfProcessConsoleRedirection": "false"},
	}.Write(t, dir)
	h := harness.Start(t, harness.Run{Dir: dir})
	h.Get("/")
	h.AwaitEvent(1020)
	if strings.Contains(h.Stderr(), "xxxxxxxxxxxx") {
		t.Error("output was captured with redirection off")
	}
	if files := harness.LogFiles(t, filepath.Join(dir, "logs", "stdout")); len(files) > 0 {
		t.Errorf("redirection is off, and there is %v", files)
	}
}

func TestCheckStdoutLoggingToPipeWithFirstWrite(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Env: map[string]string{"APP_OUTPUT": "77", "APP_START_DELAY_MS": "200"}})
	h.Worker()
	h.AwaitStderr(strings.Repeat("x", 77))
}

func TestCheckStdoutWithLargeWrites(t *testing.T) {
	t.Parallel()
	for _, enabled := range []string{"false", "true"} {
		t.Run(enabled, func(t *testing.T) {
			t.Parallel()
			h, prefix := logging(t, `.\stdout`, harness.WebConfig{
				Attrs: map[string]string{"stdoutLogEnabled": enabled}, Env: map[string]string{"APP_OUTPUT": "3000000"},
			})
			h.Worker()
			if enabled == "true" {
				content := oneLog(t, prefix, "fixture: main entered")
				if got := strings.Index(content, "\n"); got != 3_000_000 {
					t.Errorf("%d characters of 3000000 are in the file", got)
				}
			}
		})
	}
}

func TestFrameworkNotFoundExceptionLogged_Pipe(t *testing.T) { frameworkNotFound(t, false) }

func TestFrameworkNotFoundExceptionLogged_File(t *testing.T) { frameworkNotFound(t, true) }

func frameworkNotFound(t *testing.T, file bool) {
	t.Parallel()
	app := harness.DotNet()
	dir := app.Folder(t)
	path := filepath.Join(dir, "app.runtimeconfig.json")
	harness.WriteFile(t, path, strings.ReplaceAll(harness.ReadFile(t, path), `"3.1.0"`, `"2.9.9"`))
	harness.WebConfig{Attrs: map[string]string{
		"processPath": "dotnet", "arguments": `.\app.dll`, "stdoutLogEnabled": fmt.Sprint(file), "stdoutLogFile": `.\stdout`,
	}}.Write(t, dir)
	h := harness.Start(t, harness.Run{Dir: dir, Env: app.Env(t)})
	h.Get("/")
	const told = "The framework 'Microsoft.AspNetCore.App', version '2.9.9' was not found."
	h.AwaitEvent(1020, "2.9.9")
	h.AwaitStderr(told)
	if file {
		oneLog(t, filepath.Join(dir, "stdout"), told)
	}
}
