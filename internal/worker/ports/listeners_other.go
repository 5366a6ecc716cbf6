//go:build !linux && !windows

package ports

import (
	"errors"
	"fmt"
	"runtime"
)

func listeners(func(uint16) bool) ([]Listener, error) {
	return nil, fmt.Errorf("list listening sockets with their owners: no documented interface on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}

func owner(Listener, []int) (int, error) {
	return 0, fmt.Errorf("find the owner of a socket on %s: %w", runtime.GOOS, errors.ErrUnsupported)
}
