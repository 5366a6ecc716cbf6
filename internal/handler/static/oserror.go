package static

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"github.com/perchserver/perch/internal/exchange"
)

// openError gives a failed open its status. A name that leads nowhere is 404
// and a file that may not be read 401.3, as IIS says; what is left is the
// server's fault.
func openError(err error) error {
	var call *fs.PathError
	if errors.As(err, &call) { // its name says nothing
		err = fmt.Errorf("%s: %w", call.Path, call.Err)
	}
	switch {
	case isNotExist(err):
		return exchange.Errorf(404, 0, op, "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return exchange.Errorf(401, 3, op, "%w", err)
	case refusedToLeave(err):
		return exchange.Errorf(404, 0, op, "%w", err)
	}
	return exchange.Errorf(500, 0, op, "%w", err)
}

// LeadsOut reports whether a path that is written below a root leads out of it
// by a link. Nothing is served from there.
func LeadsOut(root, path string) bool {
	name, err := filepath.Rel(root, path)
	if err != nil {
		return true
	}
	dir, err := os.OpenRoot(root)
	if err != nil {
		return false // nobody gets in, let alone out
	}
	defer dir.Close()
	_, err = dir.Stat(name)
	return err != nil && refusedToLeave(err)
}

// refusedToLeave reports whether an error of an os.Root is its own, and not
// from the system.
func refusedToLeave(err error) bool {
	var number syscall.Errno
	return !errors.As(err, &number)
}

// isNotExist reports whether err is about a name that leads to no file.
func isNotExist(err error) bool {
	var number syscall.Errno
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, &number) && leadsNowhere(number)
}
