// Package store writes configuration files so that nothing is ever lost: one
// writer at a time, by a lock; all or nothing, by a new file that takes the
// place of the old one in one step; and with the versions before kept.
//
// Commands of internal/cli use it. What stands in the files is the business of
// the other packages of the configuration.
package store

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/ownfile"
)

// Folder is where versions are kept, beside the file. Its name begins with a
// dot, so that nobody is served what is in it.
const Folder = ".perch-history"

// Versions is how many are kept of a file.
const Versions = 10

// maxFile is more than a configuration file may have.
const maxFile = 11 << 20

// attempts is how often a change is made anew because somebody who knows of no
// lock has written the file meanwhile.
const attempts = 5

// Change is what is to be done to a file.
type Change struct {
	Path string // of the file, absolute; a symbolic link is followed
	By   string // who does it, for those who wait meanwhile
	Wait time.Duration

	// Make returns the new content. old is nil if there is no file, and nil
	// is the answer that keeps it so. It may be called several times.
	Make func(old []byte) ([]byte, error)
}

// Result tells what came of a change.
type Result struct {
	Written bool   // false: the file is what it should be already
	Version string // path of the version before; empty: there was none
}

// BusyError is a lock that somebody else does not give back.
type BusyError struct {
	Lock   string
	Holder string // who has it, empty if that is not known
	Waited time.Duration
}

func (e *BusyError) Error() string {
	holder := "another process"
	if e.Holder != "" {
		holder = e.Holder
	}
	return fmt.Sprintf("waited %v for the lock %s, which %s has", e.Waited, e.Lock, holder)
}

// ErrChanging is the error of a file that others write all the time.
var ErrChanging = errors.New("others change the file again and again")

// Do changes a file. Whoever reads it meanwhile, or after this process was
// killed at any moment, finds the old content or the new one, whole.
func (c Change) Do() (Result, error) {
	real, err := resolve(c.Path)
	if err != nil {
		return Result{}, fmt.Errorf("change %s: %w", c.Path, err)
	}
	w := &writer{dir: filepath.Dir(real), name: filepath.Base(real)}
	if w.root, err = os.OpenRoot(w.dir); err != nil {
		return Result{}, fmt.Errorf("change %s: %w", c.Path, err)
	}
	defer w.root.Close()
	lock, err := w.lock(c.By, c.Wait)
	if err != nil {
		return Result{}, fmt.Errorf("change %s: %w", c.Path, err)
	}
	defer lock.Close() // which gives the lock back
	for range attempts {
		r, err := w.change(c.Path, c.Make)
		if !errors.Is(err, ErrChanging) {
			return r, err
		}
	}
	return Result{}, fmt.Errorf("change %s: %w", c.Path, ErrChanging)
}

// resolve returns the path of the file that is written, of which a symbolic
// link is only a name.
func resolve(path string) (string, error) {
	real, err := filepath.EvalSymlinks(path)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	// One that has come meanwhile is no link.
	if info, lerr := os.Lstat(path); lerr == nil && info.Mode()&fs.ModeSymlink != 0 {
		return "", fmt.Errorf("it is a link that leads nowhere: %w", err)
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path))
	return filepath.Join(dir, filepath.Base(path)), err
}

// writer changes the file of a name in a folder that it has open.
type writer struct {
	root      *os.Root
	dir, name string
}

// change is one attempt. Errors of make are returned as they are.
func (w *writer) change(path string, make func([]byte) ([]byte, error)) (Result, error) {
	fail := func(err error) (Result, error) { return Result{}, fmt.Errorf("change %s: %w", path, err) }
	before, err := w.root.Lstat(w.name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fail(err)
	}
	var old []byte
	if before != nil {
		// By the name that was given: whose link leads elsewhere is judged there.
		if old, err = ownfile.Read(filepath.Dir(path), filepath.Base(path), maxFile); err != nil {
			return fail(err)
		}
	}
	data, err := make(old)
	if err != nil {
		return Result{}, err
	}
	if before != nil && bytes.Equal(old, data) || before == nil && data == nil {
		return Result{}, nil
	}
	if err := w.prepare(data, before); err != nil {
		return fail(err)
	}
	r := Result{Written: true}
	if before != nil {
		if r.Version, err = w.keep(before); err != nil {
			return fail(err)
		}
	}
	now, err := w.root.Lstat(w.name)
	if same := before == nil && errors.Is(err, fs.ErrNotExist) ||
		before != nil && err == nil && os.SameFile(before, now) && before.Size() == now.Size() && before.ModTime().Equal(now.ModTime()); !same {
		return fail(ErrChanging)
	}
	if err := w.root.Rename(w.next(), w.name); err != nil {
		return fail(err)
	}
	if err := syncFolder(w.root); err != nil {
		return fail(fmt.Errorf("it is written, but may not outlast a loss of power: %w", err))
	}
	w.prune()
	return r, nil
}

// next is the name of the new file as long as it has not taken the place of
// the old one. There is one: who makes it has the lock.
func (w *writer) next() string { return filepath.Join(Folder, "next") }

// prepare writes the new file, with owner, mode and access list of the one
// before.
func (w *writer) prepare(data []byte, before fs.FileInfo) error {
	var old *os.File
	if before != nil {
		var err error // what may not be written may not be replaced either
		if old, err = w.root.OpenFile(w.name, os.O_WRONLY|openAtOnce, 0); err != nil {
			return err
		}
		defer old.Close()
	}
	if err := w.root.Remove(w.next()); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	mode := fs.FileMode(0o644)
	if before != nil {
		mode = 0o600 // until it has its owner
	}
	f, err := w.root.OpenFile(w.next(), os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	defer f.Close()
	if before != nil {
		if err := sameOwner(f, before); err != nil {
			return fmt.Errorf("the new file cannot have the owner of the one before: %w", err)
		}
		if err := f.Chmod(before.Mode().Perm()); err != nil {
			return err
		}
		if err := sameAttributes(f, old); err != nil {
			return fmt.Errorf("the new file cannot have the access list of the one before: %w", err)
		}
	}
	if _, err := f.Write(data); err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// keep makes the file as it is a version, and returns its path. The old file
// itself becomes that, where the file system lets it have two names.
func (w *writer) keep(before fs.FileInfo) (string, error) {
	numbers := w.versions()
	next := 1
	if len(numbers) > 0 {
		last := numbers[len(numbers)-1]
		if info, err := w.root.Lstat(w.version(last)); err == nil && os.SameFile(info, before) {
			return filepath.Join(w.dir, w.version(last)), nil // of a process that was killed
		}
		next = last + 1
	}
	version := w.version(next)
	if err := w.root.Link(w.name, version); err == nil {
		return filepath.Join(w.dir, version), nil
	}
	data, err := w.root.ReadFile(w.name)
	if err != nil {
		return "", err
	}
	f, err := w.root.OpenFile(version, os.O_WRONLY|os.O_CREATE|os.O_EXCL, before.Mode().Perm()&0o600)
	if err == nil {
		_, err = f.Write(data)
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		return "", fmt.Errorf("keep the version before: %w", err)
	}
	return filepath.Join(w.dir, version), nil
}

func (w *writer) version(number int) string {
	return filepath.Join(Folder, w.name+"."+strconv.Itoa(number))
}

// versions returns the numbers of those that there are, the oldest first.
func (w *writer) versions() (numbers []int) {
	folder, err := w.root.Open(Folder)
	if err != nil {
		return nil
	}
	defer folder.Close()
	names, _ := folder.Readdirnames(-1)
	for _, name := range names {
		if digits, ok := strings.CutPrefix(name, w.name+"."); ok {
			if n, err := strconv.Atoi(digits); err == nil && n > 0 && strconv.Itoa(n) == digits {
				numbers = append(numbers, n)
			}
		}
	}
	slices.Sort(numbers)
	return numbers
}

// prune takes versions away that are too many. One that stays too long does no
// harm, and is tried again with the next change.
func (w *writer) prune() {
	numbers := w.versions()
	for _, n := range numbers[:max(0, len(numbers)-Versions)] {
		w.root.Remove(w.version(n))
	}
}
