package store

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// look is how often a lock that somebody has is tried again.
const look = 20 * time.Millisecond

// lock takes the lock of the folder; closing the file gives it back, as the
// end of the process does. Who has it is written in it.
func (w *writer) lock(by string, wait time.Duration) (*os.File, error) {
	if err := w.makeFolder(); err != nil {
		return nil, err
	}
	f, err := w.openLock()
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	began := time.Now()
	for {
		free, err := tryLock(f)
		if err != nil {
			f.Close()
			return nil, fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		if free {
			break
		}
		if waited := time.Since(began); waited >= wait {
			holder, _ := io.ReadAll(io.LimitReader(io.NewSectionReader(f, 0, 500), 500))
			f.Close()
			return nil, &BusyError{f.Name(), strings.TrimSpace(string(holder)), waited.Round(time.Millisecond)}
		}
		time.Sleep(look)
	}
	if err := f.Truncate(0); err == nil {
		fmt.Fprintf(f, "%s (process %d)\n", by, os.Getpid())
	}
	return f, nil
}

// openLock opens the lock, and makes it if it is not there. The folder may be
// in other hands: what is there under its name has to be a file of no other
// name, or who has the folder could have another file overwritten.
func (w *writer) openLock() (*os.File, error) {
	name := filepath.Join(Folder, "lock")
	f, err := w.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		if folder, err := w.root.Stat("."); err == nil {
			sameOwner(f, folder) // so that root leaves no lock that keeps the owner out
		}
		return f, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	if f, err = w.root.OpenFile(name, os.O_RDWR|openAtOnce, 0); err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || names(info) > 1) {
		err = fmt.Errorf("%s is not a file of its own", f.Name())
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// makeFolder makes the folder of versions. It belongs to whom the folder
// around it belongs to, and what is in it is for nobody else.
func (w *writer) makeFolder() error {
	err := w.root.Mkdir(Folder, 0o700)
	if errors.Is(err, fs.ErrExist) {
		info, err := w.root.Lstat(Folder)
		if err == nil && !info.IsDir() {
			err = fmt.Errorf("%s is in the way of the versions that are kept: it is no folder", filepath.Join(w.dir, Folder))
		}
		return err
	}
	if err != nil {
		return err
	}
	around, err := w.root.Stat(".")
	if err != nil {
		return err
	}
	f, err := w.root.Open(Folder)
	if err != nil {
		return err
	}
	defer f.Close()
	sameOwner(f, around) // as far as this user may
	return nil
}
