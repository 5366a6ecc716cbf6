package watch

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/fsnotify/fsnotify"
)

// source is what is used of an fsnotify.Watcher, so that a test can play it.
type source struct {
	Events <-chan fsnotify.Event
	Errors <-chan error
	Add    func(dir string) error
	Remove func(dir string) error
	Close  func() error
}

// post is one path that the source was told to watch, for all Folders that
// lead there. The kernel watches what was at the path then: when that is
// moved away or replaced, the source has to be told anew.
//
// All but the path is guarded by Watcher.mu.
type post struct {
	path    string
	self    fs.FileInfo // of what is watched
	lost    bool        // nothing may be watched any more, or not yet
	folders []*Folder
}

// receive takes the events of the source until that is closed. It must never
// wait for anything that waits for the source.
func (w *Watcher) receive() {
	for {
		select {
		case e, ok := <-w.source.Events:
			if !ok {
				return
			}
			w.event(e)
		case err, ok := <-w.source.Errors:
			if !ok {
				return
			}
			// Events were lost: fsnotify.ErrEventOverflow, or worse.
			w.log.Debug("file events were lost, looking everywhere", "err", err)
			w.overflow()
		}
	}
}

// event hints at the folders that an event concerns.
func (w *Watcher) event(e fsnotify.Event) {
	w.mu.Lock()
	defer w.mu.Unlock()
	comesOrGoes := e.Has(fsnotify.Create) || e.Has(fsnotify.Remove) || e.Has(fsnotify.Rename)
	if p := w.posts[e.Name]; p != nil && comesOrGoes {
		p.lost = true
		p.hint()
	}
	if p := w.posts[filepath.Dir(e.Name)]; p != nil {
		name := filepath.Base(e.Name)
		for _, f := range p.folders {
			if f.chosen(name, false) || comesOrGoes && f.chosen(name, true) {
				f.hint()
			}
		}
	}
}

func (w *Watcher) overflow() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.posts {
		p.hint()
	}
}

func (p *post) hint() {
	for _, f := range p.folders {
		f.hint()
	}
}

// hint gives the goroutine of the folder a reason to look, and never waits.
func (f *Folder) hint() {
	select {
	case f.hints <- struct{}{}:
	default:
	}
}

// follow sees to it that events come from what is at the path of the folder
// now.
func (f *Folder) follow() {
	if f.w.source == nil {
		return
	}
	here, err := os.Stat(f.dir)
	if err != nil || !here.IsDir() {
		f.leave()
		return
	}
	if f.post != nil && f.w.holds(f.post, here) {
		return
	}
	// Windows finds out the identity of a file when it is first asked for,
	// which has to be now.
	os.SameFile(here, here)
	path, err := filepath.EvalSymlinks(f.dir)
	if err != nil {
		f.leave()
		f.w.warn(f.dir, err)
		return
	}
	if f.post != nil && f.post.path != path {
		f.leave()
	}
	if err := f.w.join(f, path, here); err != nil {
		f.w.warn(f.dir, err)
	}
}

// holds reports whether events of here come from a post.
func (w *Watcher) holds(p *post, here fs.FileInfo) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !p.lost && os.SameFile(p.self, here)
}

// join makes f a folder of the post for path, which here was found at, and
// tells the source to watch it unless it does. After an error the post is
// lost, and the next look tries again.
func (w *Watcher) join(f *Folder, path string, here fs.FileInfo) error {
	w.arming.Lock()
	defer w.arming.Unlock()
	w.mu.Lock()
	p := w.posts[path]
	if p == nil {
		p = &post{path: path, lost: true}
		w.posts[path] = p
	}
	if f.post == nil {
		p.folders = append(p.folders, f)
		f.post = p
	}
	watched := !p.lost && os.SameFile(p.self, here)
	p.self, p.lost = here, false
	w.mu.Unlock()
	if watched {
		return nil
	}
	// fsnotify would go on believing in what it watched at this path. It is an
	// error to remove what it does not watch, or not any more.
	_ = w.source.Remove(path)
	err := w.source.Add(path)
	w.mu.Lock()
	defer w.mu.Unlock()
	if err != nil {
		p.lost = true
		return err
	}
	for _, other := range p.folders {
		if other != f {
			other.hint()
		}
	}
	return nil
}

// leave takes the folder from its post, if it has one.
func (f *Folder) leave() {
	p, w := f.post, f.w
	if p == nil {
		return
	}
	f.post = nil
	w.arming.Lock()
	defer w.arming.Unlock()
	w.mu.Lock()
	p.folders = slices.DeleteFunc(p.folders, func(other *Folder) bool { return other == f })
	last := len(p.folders) == 0
	if last {
		delete(w.posts, p.path)
	}
	w.mu.Unlock()
	if last {
		_ = w.source.Remove(p.path) // it may have ended by itself
	}
}

// warn says, once for all folders, that events do not come.
func (w *Watcher) warn(dir string, err error) {
	if errors.Is(err, fs.ErrNotExist) {
		return // gone meanwhile
	}
	w.missing.Do(func() {
		args := []any{"err", err}
		if dir != "" {
			args = append(args, "folder", dir)
		}
		if way := wayOut(err); way != "" {
			args = append(args, "hint", way)
		}
		w.log.Warn("the system does not tell of file changes everywhere; folders are looked at every second instead", args...)
	})
}

// wayOut says what can be done about a limit of inotify (inotify(7)).
func wayOut(err error) string {
	switch {
	case errors.Is(err, syscall.ENOSPC):
		return "raise the sysctl fs.inotify.max_user_watches"
	case errors.Is(err, syscall.EMFILE):
		return "raise the sysctl fs.inotify.max_user_instances, or the limit of open files"
	}
	return ""
}
