//go:build unix

package spawn

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// credential returns nil for the host's own user when it could not change
// its groups anyway.
func credential(u *User) *syscall.Credential {
	if u == nil {
		return nil
	}
	if self := os.Geteuid(); self != 0 && int(u.UID) == self && int(u.GID) == os.Getegid() {
		return nil
	}
	return &syscall.Credential{Uid: u.UID, Gid: u.GID, Groups: u.Groups}
}

func errnoOf(err error) syscall.Errno {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return errno
	}
	return syscall.EINVAL
}

// explain finds out, after a failed fork or exec, what the kernel's one number
// was about. It looks at the file system as the host's user, so what is
// closed to the worker's user is judged by the permission bits.
func explain(path, dir string, u *User, errno syscall.Errno) *Error {
	fail := func(r Reason, subject string) *Error {
		return &Error{Reason: r, Path: subject, User: u, Err: errno}
	}
	if st, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) || err == nil && !st.IsDir() {
		return fail(MissingFolder, dir)
	}
	if closed := closedFolder(dir+"/.", u); closed != "" {
		return fail(NoPermission, closed)
	}
	st, err := os.Stat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ENOTDIR):
		return fail(MissingFile, path)
	case errno == unix.ENOENT:
		return fail(MissingInterpreter, path)
	case errno == unix.ENOEXEC:
		return fail(WrongFormat, path)
	case errno == unix.EACCES && err == nil && st.IsDir():
		return fail(NotAFile, path)
	case errno == unix.EACCES && err == nil && st.Mode()&0o111 == 0:
		return fail(NotExecutable, path)
	case errno == unix.EACCES:
		if closed := closedFolder(path, u); closed != "" {
			return fail(NoPermission, closed)
		}
		return fail(NoPermission, path)
	case u != nil && (errno == unix.EPERM || errno == unix.EINVAL):
		return fail(BadUser, path) // setgroups, setgid or setuid
	}
	return fail(Unknown, path)
}

// closedFolder returns the first folder on the way to path that the user may
// not search, by its permission bits, or "".
func closedFolder(path string, u *User) string {
	if u == nil {
		u = &User{UID: uint32(os.Geteuid()), GID: uint32(os.Getegid())}
		if groups, err := os.Getgroups(); err == nil {
			for _, g := range groups {
				u.Groups = append(u.Groups, uint32(g))
			}
		}
	}
	if u.UID == 0 {
		return ""
	}
	for i, c := range path {
		if c != filepath.Separator {
			continue
		}
		folder := path[:max(i, 1)]
		var st unix.Stat_t
		if err := unix.Stat(folder, &st); err != nil {
			continue
		}
		bit := uint32(0o001)
		switch {
		case st.Uid == u.UID:
			bit = 0o100
		case st.Gid == u.GID, slices.Contains(u.Groups, st.Gid):
			bit = 0o010
		}
		if uint32(st.Mode)&bit == 0 {
			return strings.TrimSuffix(folder, "/.")
		}
	}
	return ""
}
