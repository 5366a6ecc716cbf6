package output

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// What an application can plant in place of its log file is not written to.
func TestFilePlanted(t *testing.T) {
	t.Parallel()
	for name, plant := range map[string]func(victim, path string) error{
		"link":      os.Symlink,
		"hard-link": os.Link,
		"pipe":      func(_, path string) error { return syscall.Mkfifo(path, 0o666) },
		"dangling":  func(victim, path string) error { return os.Symlink(victim+"-new", path) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := t.TempDir()
			victim := filepath.Join(root, "victim")
			if err := os.WriteFile(victim, []byte("whole"), 0o600); err != nil {
				t.Fatal(err)
			}
			f := File{Name: "stdout", Root: root, Start: start}
			path, err := f.Path()
			if err == nil {
				err = plant(victim, path)
			}
			if err != nil {
				t.Fatal(err)
			}
			if file, err := f.open(); err == nil {
				file.Close()
				t.Error("it was opened")
			}
			if got, err := os.ReadFile(victim); err != nil || string(got) != "whole" {
				t.Errorf("the victim holds %q, %v", got, err)
			}
			if _, err := os.Stat(victim + "-new"); err == nil {
				t.Error("a file was made through the link")
			}
		})
	}
}

// With an owner, a folder that is a link leads nowhere that the owner may not
// write to, and what is made is the owner's.
func TestFileOwner(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can act for another user")
	}
	base, err := os.MkdirTemp("/tmp", "output-owner-") // the test's own folder is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(base) })
	secret, root := filepath.Join(base, "secret"), filepath.Join(base, "app")
	for _, err := range []error{
		os.Chmod(base, 0o755), os.Mkdir(secret, 0o700), os.Mkdir(root, 0o755), os.Chown(root, 65534, 65533),
		os.Symlink(secret, filepath.Join(root, "logs")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	f := File{Name: "logs/stdout", Root: root, Start: start, Owner: &Owner{UID: 65534, GID: 65533, Groups: []uint32{65532}}}
	if file, err := f.open(); err == nil {
		file.Close()
		t.Error("the link was followed with the host's rights")
	}
	if entries, err := os.ReadDir(secret); err != nil || len(entries) != 0 {
		t.Errorf("made in the secret folder: %v, %v", entries, err)
	}
	f.Name = "own/stdout"
	file, err := f.open()
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, path := range []string{file.Name(), filepath.Dir(file.Name())} {
		var st syscall.Stat_t
		if err := syscall.Stat(path, &st); err != nil || st.Uid != 65534 || st.Gid != 65533 {
			t.Errorf("%s belongs to %d:%d, %v", path, st.Uid, st.Gid, err)
		}
	}
	// The host's other threads keep their rights.
	for range 100 {
		if err := os.WriteFile(filepath.Join(secret, "root"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
