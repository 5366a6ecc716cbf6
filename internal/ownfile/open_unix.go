//go:build unix

package ownfile

import (
	"os"
	"path/filepath"
	"syscall"
)

// open opens without waiting: a pipe would block until somebody writes.
func open(dir, name string) (*os.File, error) {
	const flags = os.O_RDONLY | syscall.O_NONBLOCK
	if os.Geteuid() != 0 {
		return os.OpenFile(filepath.Join(dir, name), flags, 0)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.OpenFile(name, flags, 0)
}
