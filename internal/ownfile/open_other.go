//go:build !unix

package ownfile

import (
	"os"
	"path/filepath"
)

func open(dir, name string) (*os.File, error) { return os.Open(filepath.Join(dir, name)) }
