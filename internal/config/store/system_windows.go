package store

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// openAtOnce is for pipes, which have no place in a folder on this system.
const openAtOnce = 0

// names returns how many names a file has, as far as that matters: who may
// make a second one may write the file as well.
func names(fs.FileInfo) uint64 { return 1 }

// tryLock takes a lock on a file unless another process has it. The byte that
// is locked lies far behind the end: others may read who has the lock.
func tryLock(f *os.File) (bool, error) {
	const flags = windows.LOCKFILE_EXCLUSIVE_LOCK | windows.LOCKFILE_FAIL_IMMEDIATELY
	err := windows.LockFileEx(windows.Handle(f.Fd()), flags, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	if errors.Is(err, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return err == nil, err
}

// sameOwner leaves it to the folder, whose access list new files inherit.
func sameOwner(*os.File, fs.FileInfo) error { return nil }

// syncFolder is nothing on this system, which has no such call: NTFS writes
// names in a journal.
func syncFolder(*os.Root) error { return nil }
