package daemon

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/config/store"
	"github.com/perchserver/perch/internal/config/watch"
	"github.com/perchserver/perch/internal/plan"
)

// files follows the files that the running plan depends on: the folders of its
// applications, and the sub-folders that requests have led into.
type files struct {
	d       *Daemon
	watcher *watch.Watcher
	pooled  atomic.Pointer[map[string][]*plan.Application] // those with workers, by folder

	mu      sync.Mutex
	server  *watch.Folder            // of applicationHost.config; nil: not watched yet, or there is none
	roots   map[string]*watch.Folder // of applications
	folders map[string]*watch.Folder // sub-folders
	stopped bool
}

func newFiles(d *Daemon) *files {
	return &files{d: d, watcher: watch.New(d.opts.Log), roots: make(map[string]*watch.Folder), folders: make(map[string]*watch.Folder)}
}

// follow watches what a plan depends on, and nothing else any more.
func (f *files) follow(p *plan.Plan) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.stopped {
		return
	}
	if f.server == nil && f.d.opts.Server != "" {
		f.server = f.watcher.Add(filepath.Dir(f.d.opts.Server), watch.Rule{
			Match: f.isServer, Quiet: 100 * time.Millisecond, Most: 2 * time.Second, Changed: f.serverChanged})
	}
	roots := make(map[string]bool)
	pooled := make(map[string][]*plan.Application)
	for a := range p.Applications {
		folder := filepath.Clean(a.Folder)
		roots[folder] = true
		if a.Pool != nil {
			pooled[folder] = append(pooled[folder], a)
		}
	}
	f.pooled.Store(&pooled)
	for folder := range roots {
		if f.roots[folder] == nil {
			f.roots[folder] = f.watchRoot(folder)
		}
	}
	// A folder may have become that of an application, or have been one: one
	// watch tells of what is in it, and there is always one.
	visited := make(map[string]bool)
	p.Folders(func(folder string) {
		if folder = filepath.Clean(folder); !roots[folder] {
			visited[folder] = true
		}
	})
	for folder := range visited {
		if f.folders[folder] == nil {
			f.folders[folder] = f.watchFolder(folder)
		}
	}
	retain(f.roots, roots)
	retain(f.folders, visited)
}

// retain ends the watches of folders that are not wanted.
func retain(watched map[string]*watch.Folder, wanted map[string]bool) {
	for folder, w := range watched {
		if !wanted[folder] {
			w.Stop()
			delete(watched, folder)
		}
	}
}

// watchRoot watches the folder of an application.
func (f *files) watchRoot(folder string) *watch.Folder {
	return f.watcher.Add(folder,
		watch.Rule{Match: isName("app_offline.htm"), Changed: func([]string) { f.offlineChanged(folder) }},
		watch.Rule{Match: isName("web.config"), Quiet: 100 * time.Millisecond, Most: 2 * time.Second, Changed: func([]string) { f.configChanged(folder) }},
		watch.Rule{Match: func(name string) bool { return f.isProgram(folder, name) }, Quiet: 500 * time.Millisecond, Most: 30 * time.Second,
			Changed: func(names []string) { f.d.replace(folder, "changed: "+listed(names)) }},
		watch.Rule{Folders: true, Match: isContent, Quiet: 100 * time.Millisecond, Most: 2 * time.Second, Changed: f.foldersChanged},
	)
}

// visited watches a sub-folder that the plan has come to depend on: a
// web.config in it changes what rules its paths. It is called by requests.
func (f *files) visited(folder string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	folder = filepath.Clean(folder)
	if f.stopped || f.folders[folder] != nil || f.roots[folder] != nil {
		return
	}
	f.folders[folder] = f.watchFolder(folder)
}

// watchFolder watches a sub-folder.
func (f *files) watchFolder(folder string) *watch.Folder {
	return f.watcher.Add(folder,
		watch.Rule{Match: isName("web.config"), Quiet: 100 * time.Millisecond, Most: 2 * time.Second, Changed: f.subConfigChanged},
		watch.Rule{Folders: true, Match: isContent, Quiet: 100 * time.Millisecond, Most: 2 * time.Second, Changed: f.foldersChanged},
	)
}

func (f *files) stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.watcher.Close()
}

// isContent reports whether a sub-folder may hold what is served. That of the
// versions before, which commands make that edit, does not.
func isContent(name string) bool { return name != store.Folder }

func isName(want string) func(string) bool {
	return func(name string) bool { return strings.EqualFold(name, want) }
}

// isProgram reports whether a file of an application's folder is part of a
// .NET application, or the program that web.config names: a change of one is a
// new version of the application.
func (f *files) isProgram(folder, name string) bool {
	lower := strings.ToLower(name)
	for _, end := range []string{".dll", ".exe", ".deps.json", ".runtimeconfig.json"} {
		if strings.HasSuffix(lower, end) {
			return true
		}
	}
	if lower == "package.json" || lower == "procfile" {
		return true // what a folder without web.config is recognised by
	}
	for _, a := range (*f.pooled.Load())[folder] {
		program := filepath.Base(strings.ReplaceAll(a.Settings.ProcessPath, `\`, "/"))
		if strings.EqualFold(strings.TrimSuffix(strings.ToLower(program), ".exe"), lower) {
			return true
		}
	}
	return false
}

func (f *files) offlineChanged(folder string) {
	for _, a := range (*f.pooled.Load())[folder] {
		a.Pool.CheckOffline()
	}
}

// isServer reports whether a file in the folder of applicationHost.config is
// that, or one that it takes a section from.
func (f *files) isServer(name string) bool {
	return strings.EqualFold(name, filepath.Base(f.d.opts.Server)) ||
		slices.ContainsFunc(f.d.running().Included(), func(n string) bool { return strings.EqualFold(n, name) })
}

func (f *files) serverChanged(names []string) {
	f.d.reload(change{why: listed(names) + " changed", asked: true, noticed: true})
}

func (f *files) configChanged(folder string) {
	f.d.reload(change{why: "web.config has changed", touched: folder})
}

func (f *files) subConfigChanged([]string) {
	f.d.reload(change{why: "a web.config in a sub-folder has changed", asked: true})
}

// foldersChanged makes the plan look at its folders anew: one that has come
// may get a web.config. Most come for other reasons, so nothing is said.
func (f *files) foldersChanged([]string) {
	f.d.reload(change{why: "folders have come or gone"})
}

// listed names up to three files.
func listed(names []string) string {
	const most = 3
	if len(names) > most {
		return strings.Join(names[:most], ", ") + " and others"
	}
	return strings.Join(names, ", ")
}

// running returns the plan of this moment, nil before the first.
func (d *Daemon) running() *plan.Plan { return d.current.Load() }

// replace replaces the workers of the applications in a folder, though their
// settings stay.
func (d *Daemon) replace(folder, why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, a := range (*d.files.pooled.Load())[folder] {
		a.Pool.Replace(a.Settings, why)
	}
}
