package static

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/perchserver/perch/internal/exchange"
)

// openError gives a failed open its status. A name that leads nowhere is 404
// and a file that may not be read 401.3, as IIS says; what is left is the
// server's fault.
func openError(err error) error {
	var number syscall.Errno
	var call *fs.PathError
	if errors.As(err, &call) { // its name says nothing
		err = fmt.Errorf("%s: %w", call.Path, call.Err)
	}
	switch {
	case isNotExist(err):
		return exchange.Errorf(404, 0, op, "%w", err)
	case errors.Is(err, fs.ErrPermission):
		return exchange.Errorf(401, 3, op, "%w", err)
	case !errors.As(err, &number):
		// Not from the system: os.Root refused to leave the folder.
		return exchange.Errorf(404, 0, op, "%w", err)
	}
	return exchange.Errorf(500, 0, op, "%w", err)
}

// isNotExist reports whether err is about a name that leads to no file.
func isNotExist(err error) bool {
	var number syscall.Errno
	return errors.Is(err, fs.ErrNotExist) || errors.As(err, &number) && leadsNowhere(number)
}
