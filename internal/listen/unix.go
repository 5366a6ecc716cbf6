package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// socketMode lets the owner and the group of the process connect.
const socketMode = 0o660

// listenUnix listens on a unix socket. The file that a dead process left in
// its place is replaced; anything else there is an error.
func listenUnix(path string) (*opened, error) {
	if err := clearStale(path); err != nil {
		return nil, err
	}
	lc := net.ListenConfig{Control: restrictSocket}
	l, err := lc.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, explainUnix(path, err)
	}
	l.(*net.UnixListener).SetUnlinkOnClose(false)
	s := &opened{Listener: l, path: path}
	info, err := os.Lstat(path)
	if err == nil {
		s.remove = func() { removeSame(path, info) }
		err = os.Chmod(path, socketMode)
	}
	if err != nil {
		s.Close()
		return nil, explainUnix(path, err)
	}
	return s, nil
}

// clearStale removes the socket at path if nobody answers there.
func clearStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return explainUnix(path, err)
	}
	e := &Error{URL: "unix:" + path, Hint: "stop it, or listen on another path"}
	if info.Mode().Type() != fs.ModeSocket {
		e.Problem, e.Hint, e.Err = "the file is there and is not a socket", "remove it, or listen on another path", fs.ErrExist
		return e
	}
	conn, err := net.DialTimeout("unix", path, time.Second)
	switch {
	case err == nil:
		conn.Close()
		e.Problem, e.Err = "another process listens on it", syscall.EADDRINUSE
		return e
	case isRefused(err):
		return removeStale(path, info)
	}
	e.Problem, e.Err = "it cannot be told whether a process listens on it: "+systemText(err), err
	return e
}

func removeStale(path string, info fs.FileInfo) error {
	if err := removeSame(path, info); err != nil {
		return &Error{
			URL: "unix:" + path, Err: err,
			Problem: "the socket that a dead process left cannot be removed: " + err.Error(),
			Hint:    "remove it as its owner",
		}
	}
	return nil
}

// removeSame removes a file if it is still the one that info describes, and
// not the socket of a process that came after.
func removeSame(path string, info fs.FileInfo) error {
	now, err := os.Lstat(path)
	if err != nil || !os.SameFile(now, info) {
		return nil
	}
	return os.Remove(path)
}

func explainUnix(path string, err error) error {
	e := &Error{URL: "unix:" + path, Err: err}
	switch folder := filepath.Dir(path); {
	case errors.Is(err, fs.ErrNotExist):
		e.Problem, e.Hint = fmt.Sprintf("the folder %s is not there", folder), "create it"
	case errors.Is(err, fs.ErrPermission):
		e.Problem, e.Hint = fmt.Sprintf("this user may not create files in %s", folder), "use another folder, or give it the right"
	case isTaken(err):
		e.Problem, e.Hint = "another process has just begun to listen on it", "stop it, or listen on another path"
	default:
		e.Problem, e.Hint = systemText(err), "listen on another path"
	}
	return e
}
