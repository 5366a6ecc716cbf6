//go:build unix

package logs

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// What an application can plant in its folder does not lead the host out of
// it, nor make it wait.
func TestPlantedFiles(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(outside, path string) error{
		"Link":         func(outside, path string) error { return os.Symlink(filepath.Join(outside, "victim"), path) },
		"Dangling":     func(outside, path string) error { return os.Symlink(filepath.Join(outside, "new"), path) },
		"RelativeLink": func(_, path string) error { return os.Symlink("../../outside/victim", path) },
		"Pipe":         func(_, path string) error { return syscall.Mkfifo(path, 0o666) },
		"Device":       func(_, path string) error { return os.Symlink("/dev/null", path) },
		"Folder":       func(_, path string) error { return os.Mkdir(path, 0o755) },
		"LinkedAsFolder": func(outside, path string) error {
			os.Remove(filepath.Dir(path))
			return os.Symlink(outside, filepath.Dir(path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			base := t.TempDir()
			root, outside := filepath.Join(base, "app"), filepath.Join(base, "outside")
			victim := filepath.Join(outside, "victim")
			for _, dir := range []string{outside, filepath.Join(root, "logs")} {
				if err := os.MkdirAll(dir, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if err := os.WriteFile(victim, []byte("whole"), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := plant(outside, filepath.Join(root, "logs", "victim")); err != nil {
				t.Fatal(err)
			}
			if f, err := openAppend(root, `.\logs\victim`); err == nil {
				f.Close()
				t.Error("it was opened")
			}
			if text, err := os.ReadFile(victim); err != nil || string(text) != "whole" {
				t.Errorf("the victim holds %q, %v", text, err)
			}
			if _, err := os.Stat(filepath.Join(outside, "new")); err == nil {
				t.Error("a file was created")
			}
		})
	}
}

// A pipe or a device is no place for a log by its absolute name either.
func TestNoRegularFile(t *testing.T) {
	t.Parallel()
	pipe := filepath.Join(t.TempDir(), "pipe")
	if err := syscall.Mkfifo(pipe, 0o666); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{pipe, os.DevNull} {
		if f, err := openAppend(t.TempDir(), path); err == nil {
			f.Close()
			t.Errorf("%s was opened", path)
		}
	}
}

func TestDrives(t *testing.T) {
	t.Parallel()
	for _, name := range []string{`C:\logs\debug.log`, "c:/logs/debug.log"} {
		root := t.TempDir()
		_, err := openAppend(root, name)
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
		if entries, err := os.ReadDir(root); err != nil || len(entries) > 0 {
			t.Errorf("%s: made %v, %v", name, entries, err)
		}
	}
}
