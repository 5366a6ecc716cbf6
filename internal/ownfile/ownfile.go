// Package ownfile reads small files of an application's folder. The folder may
// be in other hands than the host's: whoever owns it must not make the host
// wait on a pipe, read without end, or, where the host is root and the owner
// is not, give away a file that a link leads to.
//
// internal/plan and internal/worker import it; it imports nothing of Perch.
package ownfile

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// Errors of Read besides those of the file system.
var (
	ErrNotRegular = errors.New("not a regular file")
	ErrTooLarge   = errors.New("the file is too large")
)

// Read returns the content of the file name in dir, which must be a regular
// file of at most most bytes. Where the host has the rights of root, links
// that lead out of dir are not followed; dir itself may be a link.
func Read(dir, name string, most int64) ([]byte, error) {
	f, err := open(dir, name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, &os.PathError{Op: "read", Path: f.Name(), Err: ErrNotRegular}
	}
	data, err := io.ReadAll(io.LimitReader(f, most+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > most {
		return nil, &os.PathError{Op: "read", Path: f.Name(), Err: fmt.Errorf("%w: more than %d bytes", ErrTooLarge, most)}
	}
	return data, nil
}
