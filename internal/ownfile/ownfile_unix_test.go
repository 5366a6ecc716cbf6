//go:build unix

package ownfile

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	dir, out := t.TempDir(), t.TempDir()
	write := func(path, text string) {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(dir, "plain"), "text")
	write(filepath.Join(dir, "large"), strings.Repeat("x", 101))
	write(filepath.Join(out, "secret"), "secret")
	for name, to := range map[string]string{"inside": "plain", "outside": filepath.Join(out, "secret"), "gone": "nothing"} {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mkfifo(filepath.Join(dir, "pipe"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"plain": "text", "inside": "text"} {
		if data, err := Read(dir, name, 100); err != nil || string(data) != want {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	for name, want := range map[string]error{"large": ErrTooLarge, "pipe": ErrNotRegular, ".": ErrNotRegular, "gone": os.ErrNotExist, "missing": os.ErrNotExist} {
		if _, err := Read(dir, name, 100); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", name, err, want)
		}
	}
	data, err := Read(dir, "outside", 100)
	if root := os.Geteuid() == 0; root != (err != nil) {
		t.Errorf("a link that leads out of the folder: %q, %v, with the rights of root: %v", data, err, root)
	}
}
