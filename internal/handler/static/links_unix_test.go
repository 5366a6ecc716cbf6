//go:build unix

package static

import (
	"net"
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

func TestSymbolicLinks(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret.txt")
	if err := os.WriteFile(outside, []byte("secret"), 0o644); err != nil {
		t.Fatal(err)
	}
	h := site(t, Settings{}, map[string]string{"dir/a.txt": "inside"})
	for name, target := range map[string]string{
		"inside.txt":   "dir/a.txt",
		"dir/up.txt":   "../dir/a.txt",
		"folder":       "dir",
		"absolute.txt": outside,
		"relative.txt": "../../../../../../../../../../" + outside,
		"parent":       filepath.Dir(outside),
		"loop.txt":     "loop.txt",
		"dangling.txt": "nowhere.txt",
	} {
		if err := os.Symlink(target, filepath.Join(h.root, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, target := range []string{"/inside.txt", "/dir/up.txt", "/folder/a.txt"} {
		if r, err := get(t, h, "GET", target); err != nil || string(r.Body) != "inside" {
			t.Errorf("GET %s: %q, %v", target, r.Body, err)
		}
	}
	for _, target := range []string{"/absolute.txt", "/relative.txt", "/parent/secret.txt", "/parent/", "/parent", "/loop.txt", "/dangling.txt"} {
		if r, err := get(t, h, "GET", target); err == nil || err.Status != 404 {
			t.Errorf("GET %s: %d %q, %v, want 404", target, r.Status, r.Body, err)
		}
	}
}

// A FIFO without a writer would block the open for ever.
func TestOnlyRegularFiles(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{}, nil)
	if err := syscall.Mkfifo(filepath.Join(h.root, "fifo.txt"), 0o644); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(h.root, "socket.txt"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	for _, target := range []string{"/fifo.txt", "/socket.txt"} {
		if r, err := get(t, h, "GET", target); err == nil || err.Status != 404 {
			t.Errorf("GET %s: %d, %v, want 404", target, r.Status, err)
		}
	}
}

func TestUnreadableFile(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		t.Log("root reads every file; the status is checked from the error alone")
		if err := openError(&os.PathError{Op: "openat", Path: "a.txt", Err: syscall.EACCES}); err.Error() != "serve file: 401.3: a.txt: permission denied" {
			t.Error(err)
		}
		return
	}
	h := site(t, Settings{}, map[string]string{"a.txt": "x"})
	if err := os.Chmod(filepath.Join(h.root, "a.txt"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := get(t, h, "GET", "/a.txt"); err == nil || err.Status != 401 || err.SubStatus != 3 {
		t.Errorf("%v, want 401.3", err)
	}
}

// What the cache found is as good as a look-up, and as old as a second: a
// link that leads elsewhere by then, or out of the folder, is judged anew.
func TestCacheFollowsLinksAnew(t *testing.T) {
	t.Parallel()
	outside := filepath.Join(t.TempDir(), "secret.txt")
	write(t, outside, "secret", modified)
	h, pass := cached(t, Settings{}, map[string]string{"1/a.txt": "one", "2/a.txt": "two"})
	live := filepath.Join(h.root, "live")
	for target, want := range map[string]string{"1": "one", "2": "two", filepath.Dir(outside): "404"} {
		os.Remove(live)
		if err := os.Symlink(target, live); err != nil {
			t.Fatal(err)
		}
		pass()
		expect(t, h, "/live/a.txt", want, "linked")
		expect(t, h, "/live/secret.txt", "404", "linked")
	}
}
