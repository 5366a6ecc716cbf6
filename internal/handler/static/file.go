package static

import (
	"io/fs"
	"os"
	"sync/atomic"
	"time"
)

// file is a regular file that may be served, and what responses say of it. It
// does not change once others than its maker can see it, and is closed when
// the last reference is released.
type file struct {
	open    *os.File // nil: all of it is in content
	content []byte

	size         int64
	modified     time.Time
	lastModified []byte // value of the field
	etag         []byte // nil: none is sent
	mime         []byte

	refs atomic.Int32

	// What a Cache has to know of it.
	by   *Handler
	path string // of the target
	born int64  // ticks of the cache when it was looked up
}

// newFile returns an open file, to which the caller has a reference.
func (h *Handler) newFile(open *os.File, info fs.FileInfo, mime []byte) *file {
	f := &file{open: open, size: info.Size(), modified: info.ModTime(), mime: mime, by: h}
	f.lastModified = appendDate(nil, f.modified)
	if !h.omitETag {
		f.etag = appendETag(nil, f.modified)
	}
	f.refs.Store(1)
	return f
}

// acquire takes a reference. It is too late for one if the last is gone.
func (f *file) acquire() bool {
	if f.open == nil {
		return true // there is nothing to close
	}
	for {
		n := f.refs.Load()
		if n == 0 {
			return false
		}
		if f.refs.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// release gives a reference back.
func (f *file) release() {
	if f.open != nil && f.refs.Add(-1) == 0 {
		f.open.Close()
	}
}

// readWhole takes the content of f into memory and closes it. It does nothing
// and reports false if it cannot be sure to have one state of the file: the
// caller knows that the last write was some time ago, so that a write
// meanwhile shows in the time of the file.
func (f *file) readWhole() bool {
	content := make([]byte, f.size)
	if n, _ := f.open.ReadAt(content, 0); n < len(content) {
		return false
	}
	info, err := f.open.Stat()
	if err != nil || info.Size() != f.size || !info.ModTime().Equal(f.modified) {
		return false
	}
	f.content = content
	f.open.Close()
	f.open = nil
	return true
}
