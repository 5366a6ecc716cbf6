package static

import (
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// Cache holds files that were asked for a moment ago, so that the next request
// finds them without the file system: small ones whole, large ones open, with
// what responses say of them. It is shared by the Handlers of a host.
//
// What it promises:
//
//   - A path is looked up anew, by the same way as without a cache, when the
//     file was looked up for it a second ago. So a file that is replaced,
//     removed, or led elsewhere by a link is seen to be so within a second,
//     and an idle host holds no file open.
//   - A response is never part of one state of a file and part of another by
//     the cache's doing. The content of a small file was read whole while the
//     file was at rest. A large file is looked at again before each response,
//     through its descriptor, and must be as it was when it was opened.
//   - A file is kept only if its last write was some time ago (settled): one
//     that is being written, as by a deployment that copies, is read anew for
//     every request.
//   - At most maxFiles files are held, each with an open descriptor or with at
//     most smallFile bytes.
//   - Close closes every file, those in use when their last user is done.
//
// What may not be served is not kept: each refusal is found anew.
//
// Its methods may be called from any goroutine, and take no lock. Nil is a
// cache that keeps nothing.
type Cache struct {
	seed   maphash.Seed
	sets   [maxFiles / ways]set
	ticks  atomic.Int64
	closed atomic.Bool

	done chan struct{}
	wait sync.WaitGroup
}

// set is where the files of one hash may be. A file in it holds a reference.
type set [ways]atomic.Pointer[file]

const (
	maxFiles = 512
	ways     = 8

	// smallFile is what fits into the buffer of a connection behind a head,
	// so that both are one system call.
	smallFile = 15 << 10

	// A file is dropped at the second tick after it was looked up, so it
	// lives at least one tick and at most two: a second.
	tick     = time.Second / 2
	lifetime = 2 // ticks

	// settled is how long ago the last write of a file must be for the file
	// to be kept. It is more than any file system rounds its times by.
	settled = 2 * time.Second
)

// NewCache returns a cache that looks after itself until Close.
func NewCache() *Cache {
	c := newCache()
	c.wait.Go(func() {
		t := time.NewTicker(tick)
		defer t.Stop()
		for {
			select {
			case <-c.done:
				return
			case <-t.C:
				c.sweep()
			}
		}
	})
	return c
}

// newCache returns a cache whose time is told by calls of sweep.
func newCache() *Cache { return &Cache{seed: maphash.MakeSeed(), done: make(chan struct{})} }

// Close empties the cache and waits for its goroutine. Handlers may go on
// using it, and find that it keeps nothing.
func (c *Cache) Close() {
	if c.closed.Swap(true) {
		return
	}
	close(c.done)
	c.wait.Wait()
	c.drop(func(*file) bool { return true })
}

// sweep lets a tick pass.
func (c *Cache) sweep() {
	now := c.ticks.Add(1)
	c.drop(func(f *file) bool { return now-f.born >= lifetime })
}

// drop lets go of the files that old picks.
func (c *Cache) drop(old func(*file) bool) {
	for i := range c.sets {
		for j := range c.sets[i] {
			way := &c.sets[i][j]
			if f := way.Load(); f != nil && old(f) && way.CompareAndSwap(f, nil) {
				f.release()
			}
		}
	}
}

func (c *Cache) set(h *Handler, path []byte) *set {
	return &c.sets[(maphash.Bytes(c.seed, path)^h.salt)%uint64(len(c.sets))]
}

// get returns the file that h found for a target a moment ago, or nil. The
// caller has to release it. With a hidden slash, Path is that of another
// target: no file has such a name.
func (c *Cache) get(h *Handler, t *exchange.Target) *file {
	if c == nil || t.HiddenSlash {
		return nil
	}
	path := t.Path
	s := c.set(h, path)
	for i := range s {
		f := s[i].Load()
		if f == nil || f.by != h || f.path != string(path) || !f.acquire() {
			continue
		}
		if f.open == nil || f.asOpened() {
			return f
		}
		if s[i].CompareAndSwap(f, nil) {
			f.release()
		}
		f.release()
	}
	return nil
}

// now returns the time to note before a file is looked up.
func (c *Cache) now() int64 {
	if c == nil {
		return 0
	}
	return c.ticks.Load()
}

// keep offers a file, which was looked up for x at the time born, to the
// cache. The caller has a reference to f before and after, and was alone.
func (c *Cache) keep(f *file, x *exchange.Exchange, born int64) {
	if c == nil || x.Begin.Sub(f.modified) < settled {
		return
	}
	if f.size <= smallFile {
		if !f.readWhole() {
			return
		}
	} else if !staysOpen {
		return
	}
	f.path, f.born = string(x.Request.Target.Path), born
	if c.ticks.Load()-born >= lifetime {
		return // the look-up took so long that it is old already
	}
	c.put(f)
}

// put makes room for f where the oldest file of its set was.
func (c *Cache) put(f *file) {
	s := c.set(f.by, []byte(f.path))
	var way *atomic.Pointer[file]
	var old *file
	for i := range s {
		there := s[i].Load()
		if there == nil || there.by == f.by && there.path == f.path {
			way, old = &s[i], there
			break
		}
		if old == nil || there.born < old.born {
			way, old = &s[i], there
		}
	}
	f.refs.Add(1)
	if !way.CompareAndSwap(old, f) {
		f.refs.Add(-1) // another was put there: f serves its caller alone
		return
	}
	if old != nil {
		old.release()
	}
	if c.closed.Load() && way.CompareAndSwap(f, nil) {
		f.release()
	}
}
