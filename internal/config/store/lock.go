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
	name := filepath.Join(Folder, "lock")
	f, err := w.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	if folder, err := w.root.Stat("."); err == nil {
		sameOwner(f, folder) // so that root leaves no lock that keeps the owner out
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
