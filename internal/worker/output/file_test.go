package output

import (
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// start is 2026-03-04 05:06:07 UTC, told in another zone.
var start = time.Date(2026, 3, 4, 7, 6, 7, 0, time.FixedZone("two hours east", 2*60*60))

func TestFilePath(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("paths of Unix")
	}
	for name, want := range map[string]string{
		`.\logs\stdout`:        "/app/logs/stdout_20260304050607_42.log",
		`./logs/stdout`:        "/app/logs/stdout_20260304050607_42.log",
		`stdout`:               "/app/stdout_20260304050607_42.log",
		`..\logs\out.log`:      "/logs/out.log_20260304050607_42.log",
		`/var/log/app`:         "/var/log/app_20260304050607_42.log",
		`.\logs\`:              "/app/logs/_20260304050607_42.log",
		`/logs/`:               "/logs/_20260304050607_42.log",
		`\\?\/home/LogFiles\`:  "/home/LogFiles/_20260304050607_42.log",
		`\\?\/home/logs\out`:   "/home/logs/out_20260304050607_42.log",
		`C:\logs\stdout`:       "",
		`\\?\C:\logs\stdout`:   "",
		`\\?\logs\stdout`:      "",
		`\\server\logs\stdout`: "",
		`100%\out%`:            "/app/100%/out%_20260304050607_42.log",
		`%home%\logs\stdout`:   "",
		``:                     "",
	} {
		got, err := File{Name: name, Root: "/app", Start: start, PID: 42}.Path()
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%s: got %q, %v; want %q", name, got, err, want)
		}
		if err != nil && !strings.Contains(err.Error(), "stdout log file") {
			t.Errorf("%s: the text %q does not tell", name, err)
		}
	}
}

// The name that Azure's templates have, where its variable is not set.
func TestFileOfAzure(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	f := File{Name: `\\?\%home%\LogFiles\stdout`, Root: root, Start: start}
	file, err := f.open()
	if err == nil {
		file.Close()
		t.Fatal("it was opened")
	}
	for _, want := range []string{f.Name, "%home% has no value", `.\logs\stdout`} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("the text %q does not tell %s", err, want)
		}
	}
	if entries, err := os.ReadDir(root); err != nil || len(entries) != 0 {
		t.Errorf("made in the application's folder: %v, %v", entries, err)
	}
}

func TestFileOpen(t *testing.T) {
	t.Parallel()
	f := File{Name: `.\new\folder\stdout`, Root: t.TempDir(), Start: start, PID: 42}
	// Two processes of one application may start in the same second.
	for _, text := range []string{"first\n", "second\n"} {
		file, err := f.open()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(text); err != nil {
			t.Error(err)
		}
		if err := file.Close(); err != nil {
			t.Error(err)
		}
	}
	got, err := os.ReadFile(filepath.Join(f.Root, "new", "folder", "stdout_20260304050607_42.log"))
	if err != nil || string(got) != "first\nsecond\n" {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestFileBlocked(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	f := File{Name: "file/stdout", Root: root, Start: start}
	if err := os.WriteFile(filepath.Join(root, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if file, err := f.open(); err == nil {
		file.Close()
		t.Error("a file served as a folder")
	} else if !strings.Contains(err.Error(), filepath.Join(root, "file")) {
		t.Errorf("%v does not name the file", err)
	}
	f.Name = "folder"
	path, err := f.Path()
	if err == nil {
		err = os.Mkdir(path, 0o700)
	}
	if err != nil {
		t.Fatal(err)
	}
	if file, err := f.open(); err == nil {
		file.Close()
		t.Error("a folder served as a file")
	}
}
