package plan

import (
	"hash/maphash"
	"os"
	"path/filepath"
	"time"

	"github.com/perchserver/perch/internal/ownfile"
)

// source is a file or folder that a site was made from, as it was then. What
// is the same on disk needs no second reading.
type source struct {
	path string
	info os.FileInfo // nil: it was not there
	sum  uint64      // of a file's content; 0: unknown

	// unread tells that it was there and could not be read, be it for its mode
	// alone, which leaves no trace in info.
	unread bool

	// young tells that it was written so shortly before it was looked at that
	// a later change may bear the same time.
	young bool
}

// tick is more than the grain of modification times of any file system.
const tick = 2 * time.Second

// look notes how a file or folder is now. Whoever reads it looks first.
func look(path string) source {
	s := source{path: path}
	if info, err := os.Stat(path); err == nil {
		s.info = info
		s.young = time.Since(info.ModTime()) < tick
	}
	return s
}

// changed reports whether the file or folder is, or may be, another one now.
func (s *source) changed(seed maphash.Seed) bool {
	now := look(s.path)
	switch {
	case s.info == nil || now.info == nil:
		return s.info != nil || now.info != nil
	case s.unread:
		return true
	case os.SameFile(s.info, now.info) && s.info.Size() == now.info.Size() && s.info.ModTime().Equal(now.info.ModTime()) && !s.young:
		return false
	case s.sum == 0 || now.info.IsDir() || now.info.Size() != s.info.Size():
		return true
	}
	data, err := ownfile.Read(filepath.Dir(s.path), filepath.Base(s.path), maxFile)
	return err != nil || maphash.Bytes(seed, data) != s.sum
}
