package output

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// File is a stdout log file as web.config asks for it.
type File struct {
	// Name is the stdoutLogFile attribute with its variables expanded: a path
	// and the beginning of a file name, relative to Root or absolute. Windows
	// habits are understood everywhere.
	Name string

	Root  string    // the application's folder
	Start time.Time // of the start that the file is for
	PID   int       // of the host

	// Owner creates folder and file. Nil is the host's own user.
	Owner *Owner
}

// Owner is the user that an application runs as.
type Owner struct {
	UID, GID uint32
	Groups   []uint32
}

// unexpanded finds a variable that had no value.
func unexpanded(name string) string {
	for {
		_, rest, found := strings.Cut(name, "%")
		if !found {
			return ""
		}
		if i := strings.IndexAny(rest, `%/\:`); i > 0 && rest[i] == '%' {
			return "%" + rest[:i+1]
		}
		name = rest
	}
}

// Path returns the name of the file: <stdoutLogFile>_<yyyyMMddHHmmss>_<pid>.log,
// in UTC (spec: stdout log file). A name that means nothing here is an error
// with its way out, and not taken by its letters, which would make odd folders.
func (f File) Path() (string, error) {
	wrong := func(format string, args ...any) (string, error) {
		return "", fmt.Errorf(`stdout log file "%s": %s; a path below the application's folder is .\logs\stdout`, f.Name, fmt.Sprintf(format, args...))
	}
	if f.Name == "" || strings.IndexByte(f.Name, 0) >= 0 {
		return wrong("not a file name")
	}
	if v := unexpanded(f.Name); v != "" {
		return wrong("the variable %s has no value", v)
	}
	name := f.Name
	if filepath.Separator == '/' {
		bare, literal := strings.CutPrefix(name, `\\?\`)
		name = strings.ReplaceAll(bare, `\`, "/")
		switch {
		case len(name) >= 2 && name[1] == ':':
			return wrong("this system has no drives")
		case strings.HasPrefix(bare, `\\`) || literal && !filepath.IsAbs(name):
			return wrong("a network or device path of Windows")
		}
	}
	name += "_" + f.Start.UTC().Format("20060102150405") + "_" + strconv.Itoa(f.PID) + ".log"
	if !filepath.IsAbs(name) {
		name = filepath.Join(f.Root, name)
	}
	return name, nil
}

// Open creates the file, with the folders that it needs, or appends to it when
// another start made it in the same second. It never follows a link that
// stands in place of the file, and waits for a bounded time only. What happens
// to the file afterwards is told to log.
//
// Where the system allows, folders and file are created with the rights of
// Owner and are its own: names in an application's folder are the
// application's choice, and a link planted there must not lead a host with
// more rights to places that the application may not write to.
func (f File) Open(log *slog.Logger) (*Log, error) {
	file, err := openWithin(openLimit, f.open)
	if err != nil {
		return nil, err
	}
	return newLog(file, log.With("file", file.Name())), nil
}

func (f File) open() (*os.File, error) {
	path, err := f.Path()
	if err != nil {
		return nil, err
	}
	var file *os.File
	open := func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		var err error
		file, err = os.OpenFile(path, os.O_CREATE|os.O_APPEND|os.O_WRONLY|openFlags, 0o644)
		return err
	}
	if f.Owner == nil {
		err = open()
	} else {
		err = runAs(*f.Owner, open)
	}
	if err == nil {
		err = regular(file)
	}
	if err != nil {
		return nil, fmt.Errorf("open the stdout log file: %w", err)
	}
	return file, nil
}

// regular closes what is not a regular file of one name.
func regular(file *os.File) error {
	st, err := file.Stat()
	if err == nil && (!st.Mode().IsRegular() || names(st) > 1) {
		err = &os.PathError{Op: "open", Path: file.Name(), Err: errors.New("not a regular file of one name")}
	}
	if err != nil {
		file.Close()
	}
	return err
}
