// Package watch tells when files in folders change: a configuration, the
// libraries of an application, app_offline.htm. It stands beside the road of
// a request: internal/daemon says what to watch and what follows from a
// change, and nothing else imports it.
//
// What is true is what a look at the folder finds: names, sizes, modification
// times. The events of the operating system only say when to look, so it does
// not matter which of them are lost, doubled or late. Where none come (network
// file systems, some mounts of containers, a limit reached) the folder is
// looked at every second all the same.
package watch

import (
	"context"
	"log/slog"
	"path/filepath"
	"sync"
	"sync/atomic"
	"time"

	"github.com/fsnotify/fsnotify"
)

// Rule says which changes in a folder are told, and when. A file has changed
// when it came, went, was replaced, or has another size or modification time;
// its owner and its permissions do not matter. A symbolic link stands for what
// it leads to.
type Rule struct {
	// Match chooses among the names in the folder; nil chooses all. It is
	// called by several goroutines. Where it changes its mind about a name,
	// what is there under it counts as having come, or gone.
	Match func(name string) bool

	// Folders makes this a rule about sub-folders that come, go or are
	// replaced, whatever happens in them. Otherwise it is about files alone.
	Folders bool

	// Quiet is how long nothing that the rule chooses may have changed
	// before a change is told. At its end one more look has to find all as
	// it was, or the wait begins anew: what is still being written is not
	// told.
	Quiet time.Duration

	// Most bounds the wait for quiet, from the first change on. 0: no bound.
	Most time.Duration

	// Changed is told the names that changed since it was last called,
	// sorted. One goroutine serves all rules of a folder, in their order;
	// what takes long should be handed on. Changed may call Watcher.Add and
	// Folder.Stop, but not Watcher.Close.
	Changed func(names []string)
}

// Watcher watches any number of folders. Its methods may be called by several
// goroutines.
type Watcher struct {
	log    *slog.Logger
	source *source // nil: no events
	ctx    context.Context
	cancel context.CancelFunc

	folders sync.WaitGroup // their goroutines
	events  sync.WaitGroup // the goroutine that receives events

	missing sync.Once    // says that events are missing
	round   atomic.Int64 // nanoseconds that one look at every folder takes

	// arming serialises what the source is told to watch. The source may wait
	// for its events to be received meanwhile, so mu, which is needed for
	// that, is never held while the source is called.
	arming sync.Mutex

	mu     sync.Mutex
	closed bool
	posts  map[string]*post // by path
}

// New returns a watcher of no folder. Close ends it.
func New(log *slog.Logger) *Watcher {
	fs, err := fsnotify.NewWatcher()
	if err != nil {
		w := start(log, nil)
		w.warn("", err)
		return w
	}
	return start(log, &source{Events: fs.Events, Errors: fs.Errors, Add: fs.Add, Remove: fs.Remove, Close: fs.Close})
}

func start(log *slog.Logger, s *source) *Watcher {
	w := &Watcher{log: log, source: s, posts: make(map[string]*post)}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	if s != nil {
		w.events.Go(w.receive)
	}
	return w
}

// Add watches a folder: what changes after Add returns is told. The folder
// need not exist, and may go and come again, deleted, renamed, or because a
// symbolic link leads elsewhere: then the files in which old and new differ
// have changed. A folder may be added again with other rules. After Close,
// Add watches nothing.
func (w *Watcher) Add(dir string, rules ...Rule) *Folder {
	f := &Folder{w: w, dir: filepath.Clean(dir), hints: make(chan struct{}, 1)}
	f.ctx, f.cancel = context.WithCancel(w.ctx)
	for _, r := range rules {
		f.rules = append(f.rules, pending{Rule: r})
	}
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		f.cancel()
		return f
	}
	w.folders.Add(1)
	w.mu.Unlock()
	f.look()
	f.forget()
	go f.run()
	return f
}

// Close ends the watch of all folders and waits for what is being told.
func (w *Watcher) Close() {
	w.mu.Lock()
	w.closed = true
	w.mu.Unlock()
	w.cancel()
	w.folders.Wait()
	if w.source != nil {
		if err := w.source.Close(); err != nil {
			w.log.Debug("the source of file events did not close", "err", err)
		}
		w.events.Wait()
	}
}
