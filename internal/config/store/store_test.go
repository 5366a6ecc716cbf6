package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"
)

// appends returns a change that puts a word behind what there is.
func appends(path, word string) Change {
	return Change{Path: path, By: "a test", Wait: 30 * time.Second, Make: func(old []byte) ([]byte, error) {
		return append(append([]byte(nil), old...), word...), nil
	}}
}

func do(t *testing.T, c Change) Result {
	t.Helper()
	r, err := c.Do()
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestChange(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "web.config")
	if r := do(t, appends(path, "a")); !r.Written || r.Version != "" || content(t, path) != "a" {
		t.Errorf("%+v, %q", r, content(t, path))
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	r := do(t, appends(path, "b"))
	if !r.Written || content(t, path) != "ab" || content(t, r.Version) != "a" {
		t.Errorf("%+v, %q", r, content(t, path))
	}
	if info, err := os.Stat(path); runtime.GOOS != "windows" && (err != nil || info.Mode() != 0o640) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	before, _ := os.Stat(path)
	if r := do(t, appends(path, "")); r.Written || r.Version != "" {
		t.Errorf("the same content: %+v", r)
	}
	if after, _ := os.Stat(path); !os.SameFile(before, after) {
		t.Error("the same content was written")
	}
	refused := errors.New("refused")
	c := appends(path, "")
	c.Make = func([]byte) ([]byte, error) { return []byte("x"), refused }
	if _, err := c.Do(); !errors.Is(err, refused) || content(t, path) != "ab" {
		t.Errorf("%v, %q", err, content(t, path))
	}
}

// The last ten versions are there, and no others.
func TestVersions(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, other := filepath.Join(dir, "web.config"), filepath.Join(dir, "other.config")
	do(t, appends(other, "o"))
	do(t, appends(other, "o"))
	for i := range 15 {
		do(t, appends(path, fmt.Sprint(i%10)))
	}
	names, err := filepath.Glob(filepath.Join(dir, Folder, "web.config.*"))
	if err != nil || len(names) != Versions {
		t.Errorf("%q, %v", names, err)
	}
	if got := content(t, filepath.Join(dir, Folder, "web.config.14")); got != "01234567890123" {
		t.Errorf("the newest is %q", got)
	}
	if got := content(t, filepath.Join(dir, Folder, "web.config.5")); got != "01234" {
		t.Errorf("the oldest is %q", got)
	}
	if got := content(t, filepath.Join(dir, Folder, "other.config.1")); got != "o" {
		t.Errorf("that of another file is %q", got)
	}
	if _, err := os.Lstat(filepath.Join(dir, Folder, "next")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a new file is left: %v", err)
	}
}

// What a process left that was killed is in nobody's way.
func TestAfterADeath(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "web.config")
	do(t, appends(path, "a"))
	next := filepath.Join(filepath.Dir(path), Folder, "next")
	if err := os.WriteFile(next, []byte("half"), 0o400); err != nil {
		t.Fatal(err)
	}
	// It had made the version, and nothing else.
	if err := os.Link(path, filepath.Join(filepath.Dir(path), Folder, "web.config.1")); err != nil {
		t.Fatal(err)
	}
	if r := do(t, appends(path, "b")); content(t, path) != "ab" || filepath.Base(r.Version) != "web.config.1" {
		t.Errorf("%+v, %q", r, content(t, path))
	}
}

func TestLinkIsFollowed(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, link := filepath.Join(dir, "real.config"), filepath.Join(dir, "link.config")
	do(t, appends(path, "a"))
	if err := os.Symlink("real.config", link); err != nil {
		t.Fatal(err)
	}
	do(t, appends(link, "b"))
	if info, err := os.Lstat(link); err != nil || info.Mode()&fs.ModeSymlink == 0 || content(t, path) != "ab" {
		t.Errorf("%v, %v, %q", info.Mode(), err, content(t, path))
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	if _, err := appends(link, "c").Do(); err == nil || !strings.Contains(err.Error(), "leads nowhere") {
		t.Errorf("a link that leads nowhere: %v", err)
	}
}

func TestNobodyLosesAChange(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "web.config")
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			if _, err := appends(path, "x").Do(); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if got := content(t, path); got != strings.Repeat("x", 20) {
		t.Errorf("%q", got)
	}
}

// Who waits too long is told for whom.
func TestBusy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "web.config")
	c := appends(path, "a")
	c.By = "perch site add"
	c.Make = func([]byte) ([]byte, error) {
		second := appends(path, "b")
		second.Wait = 0
		_, err := second.Do()
		return nil, err
	}
	_, err := c.Do()
	var busy *BusyError
	if want := fmt.Sprintf("perch site add (process %d)", os.Getpid()); !errors.As(err, &busy) || busy.Holder != want {
		t.Errorf("%v, want a lock that %s has", err, want)
	}
}

// A file that is written meanwhile by who knows no lock is read again.
func TestWrittenMeanwhile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "web.config")
	do(t, appends(path, "a"))
	c := appends(path, "")
	calls := 0
	c.Make = func(old []byte) ([]byte, error) {
		if calls++; calls == 1 {
			if err := os.WriteFile(path, []byte("editor"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		return append(append([]byte(nil), old...), '!'), nil
	}
	if do(t, c); content(t, path) != "editor!" || calls != 2 {
		t.Errorf("%q after %d calls", content(t, path), calls)
	}
	c.Make = func(old []byte) ([]byte, error) {
		calls++
		return append(old, '!'), os.WriteFile(path, fmt.Append(nil, strings.Repeat("x", calls)), 0o600)
	}
	if _, err := c.Do(); !errors.Is(err, ErrChanging) {
		t.Errorf("written again and again: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	folder := filepath.Join(dir, "folder.config")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{folder, filepath.Join(dir, "gone", "web.config")} {
		if _, err := appends(path, "a").Do(); err == nil {
			t.Errorf("%s: no error", path)
		}
	}
	occupied := t.TempDir()
	if err := os.WriteFile(filepath.Join(occupied, Folder), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := appends(filepath.Join(occupied, "web.config"), "a").Do(); err == nil || !strings.Contains(err.Error(), "no folder") {
		t.Errorf("a file in place of the folder: %v", err)
	}
	linked := t.TempDir()
	target := filepath.Join(linked, "other")
	for _, err := range []error{os.WriteFile(target, []byte("other"), 0o600), os.Mkdir(filepath.Join(linked, Folder), 0o700), os.Link(target, filepath.Join(linked, Folder, "lock"))} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := appends(filepath.Join(linked, "web.config"), "a").Do(); runtime.GOOS != "windows" && (err == nil || content(t, target) != "other") {
		t.Errorf("a lock with another name: %v, and that has %q", err, content(t, target))
	}
	locked := filepath.Join(dir, "locked.config")
	do(t, appends(locked, "a"))
	if err := os.Chmod(locked, 0o400); err != nil {
		t.Fatal(err)
	}
	if _, err := appends(locked, "b").Do(); (err == nil) != (os.Geteuid() == 0) { // root may
		t.Errorf("a file that may not be written: %v", err)
	}
}
