package store

import (
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
)

func TestAttributesAreKept(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "web.config")
	do(t, appends(path, "a"))
	// An access list: user::rw- user:1000:r-- group::r-- mask::r-- other::---
	list := []byte{2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 232, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255,
		16, 0, 4, 0, 255, 255, 255, 255, 32, 0, 0, 0, 255, 255, 255, 255}
	for name, value := range map[string][]byte{"user.note": []byte("kept"), "system.posix_acl_access": list} {
		t.Run(name, func(t *testing.T) {
			if err := unix.Setxattr(path, name, value, 0); err != nil {
				t.Skipf("this file system takes none: %v", err)
			}
			do(t, appends(path, "b"))
			got := make([]byte, 100)
			if n, err := unix.Getxattr(path, name, got); err != nil || string(got[:n]) != string(value) {
				t.Errorf("it is %q, %v", got[:max(n, 0)], err)
			}
		})
	}
}
