package logs

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// openAppend opens a file for appending and creates it, with its folders, if
// it is missing. A name with back-slashes is understood.
//
// A name that stays in the folder of the application is opened without
// following links out of it, and never waits for a reader: the folder may
// belong to an application that is trusted less than the host.
func openAppend(root, name string) (*os.File, error) {
	if filepath.Separator == '/' {
		if len(name) >= 2 && name[1] == ':' {
			return nil, fmt.Errorf("%s: this system has no drives", name)
		}
		name = strings.ReplaceAll(name, `\`, "/")
	}
	name = filepath.Clean(name)
	const flags = os.O_APPEND | os.O_CREATE | os.O_WRONLY | syscall.O_NONBLOCK
	var file *os.File
	var err error
	if filepath.IsLocal(name) {
		file, err = openWithin(root, name, flags)
	} else {
		if !filepath.IsAbs(name) {
			name = filepath.Join(root, name)
		}
		if err = os.MkdirAll(filepath.Dir(name), 0o755); err == nil {
			file, err = os.OpenFile(name, flags, 0o644)
		}
	}
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = &fs.PathError{Op: "open", Path: file.Name(), Err: errors.New("not a regular file")}
	}
	if err != nil {
		file.Close()
		return nil, err
	}
	return file, nil
}

func openWithin(root, name string, flags int) (*os.File, error) {
	folder, err := os.OpenRoot(root)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	if err := folder.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return nil, err
	}
	return folder.OpenFile(name, flags, 0o644)
}
