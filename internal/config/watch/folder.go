package watch

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"
)

const (
	// poll is how often a folder is looked at without any event.
	poll = time.Second

	// share bounds the cost of that: all looks together may take one part in
	// so many of the time of one processor. Where many folders are watched
	// the time between looks grows.
	share = 100

	// spacing is the least time between two looks, however many events come.
	spacing = 50 * time.Millisecond
)

// Folder is one watched folder.
type Folder struct {
	w      *Watcher
	dir    string
	ctx    context.Context
	cancel context.CancelFunc
	hints  chan struct{} // holds one while there is reason to look

	// The rest belongs to the goroutine of the folder.

	rules  []pending
	post   *post                  // where its events come from; nil: none was asked for
	seen   map[string]fs.FileInfo // by the last look, of the names that a rule chooses
	looked time.Time              // end of the last look
	took   time.Duration          // the last look
	cost   time.Duration          // of a look, as it is in Watcher.round
	failed bool                   // the last look
}

// pending is a rule and what has changed but is not told yet.
type pending struct {
	Rule
	names       map[string]bool
	first, last time.Time // of the changes
}

// Stop ends the watch. It does not wait for a rule that is being told.
func (f *Folder) Stop() { f.cancel() }

// run looks at the folder when there is reason to, and tells what changed.
func (f *Folder) run() {
	defer f.w.folders.Done()
	defer f.leave()
	defer f.spend(0)
	next := f.next()
	timer := time.NewTimer(time.Until(next))
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.hints:
			if soon := f.looked.Add(spacing); soon.Before(next) {
				next = soon
			}
		case <-timer.C:
			f.look()
			f.tell()
			next = f.next()
		}
		timer.Reset(time.Until(next))
	}
}

// next is when to look again without a hint.
func (f *Folder) next() time.Time {
	next := f.looked.Add(interval(time.Duration(f.w.round.Load())))
	if f.failed {
		return next
	}
	for i := range f.rules {
		if r := &f.rules[i]; r.names != nil && r.due().Before(next) {
			next = r.due()
		}
	}
	return next
}

// interval is the time between two looks, when one at every folder takes
// round.
func interval(round time.Duration) time.Duration { return max(poll, share*round) }

// look finds out what changed since the last look, and notes it.
func (f *Folder) look() {
	start := time.Now()
	f.follow()
	seen, err := f.read()
	f.looked = time.Now()
	f.spend(f.looked.Sub(start))
	if err != nil {
		// What is there is not known, so nothing is said of it.
		if !f.failed {
			f.w.log.Warn("a folder cannot be watched for changes until it can be read", "folder", f.dir, "err", err)
		}
		f.failed = true
		return
	}
	f.failed = false
	for name, old := range f.seen {
		if now, ok := seen[name]; !ok {
			f.note(name, old.IsDir())
		} else if !same(old, now) {
			f.note(name, old.IsDir())
			f.note(name, now.IsDir())
		}
	}
	for name, now := range seen {
		if _, ok := f.seen[name]; !ok {
			f.note(name, now.IsDir())
		}
	}
	f.seen = seen
}

// spend notes what a look took. One that took long by chance does not count.
func (f *Folder) spend(took time.Duration) {
	cost := min(took, f.took)
	f.w.round.Add(int64(cost - f.cost))
	f.took, f.cost = took, cost
}

// read returns what is in the folder under names that a rule chooses. A folder
// that does not exist, or is something else, is empty.
func (f *Folder) read() (map[string]fs.FileInfo, error) {
	entries, err := os.ReadDir(f.dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	seen := make(map[string]fs.FileInfo, len(f.seen))
	for _, e := range entries {
		name := e.Name()
		// What is not regular may be a folder, or a link to one.
		if (e.IsDir() || !f.chosen(name, false)) && (e.Type().IsRegular() || !f.chosen(name, true)) {
			continue
		}
		info, err := os.Stat(filepath.Join(f.dir, name))
		switch {
		case err == nil && f.chosen(name, info.IsDir()):
			seen[name] = info
		case err != nil && !errors.Is(err, fs.ErrNotExist) && f.seen[name] != nil:
			seen[name] = f.seen[name] // not known, so as it was
		}
	}
	return seen, nil
}

// same reports whether nothing has changed between two looks at a name.
//
// On Windows the identity of a file is that of what is at its path now, so
// that a file replaced by one of the same size and time goes unnoticed there.
func same(a, b fs.FileInfo) bool {
	if a.IsDir() != b.IsDir() || !os.SameFile(a, b) {
		return false
	}
	return a.IsDir() || a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

// chosen reports whether any rule about files, or about folders, chooses a
// name. It is called by several goroutines.
func (f *Folder) chosen(name string, folder bool) bool {
	for i := range f.rules {
		if f.rules[i].chooses(name, folder) {
			return true
		}
	}
	return false
}

func (r *Rule) chooses(name string, folder bool) bool {
	return r.Folders == folder && (r.Match == nil || r.Match(name))
}

// note remembers for each rule that a name it chooses has changed.
func (f *Folder) note(name string, folder bool) {
	for i := range f.rules {
		r := &f.rules[i]
		if !r.chooses(name, folder) {
			continue
		}
		if r.names == nil {
			r.names = make(map[string]bool)
			r.first = f.looked
		}
		r.names[name] = true
		r.last = f.looked
	}
}

// due is when the noted changes of a rule are told, if nothing else happens.
func (r *pending) due() time.Time {
	due := r.last.Add(r.Quiet)
	if end := r.first.Add(r.Most); r.Most > 0 && end.Before(due) {
		return end
	}
	return due
}

// tell calls the rules whose time has come, if the last look found that out.
func (f *Folder) tell() {
	if f.failed {
		return
	}
	for i := range f.rules {
		r := &f.rules[i]
		if r.names == nil || r.due().After(f.looked) || f.ctx.Err() != nil {
			continue
		}
		names := slices.Sorted(maps.Keys(r.names))
		r.names = nil
		r.Changed(names)
	}
}

// forget drops the noted changes.
func (f *Folder) forget() {
	for i := range f.rules {
		f.rules[i].names = nil
	}
}
