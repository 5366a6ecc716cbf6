package daemon

import (
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/perchserver/perch/internal/config/watch"
	"github.com/perchserver/perch/internal/plan"
)

// files follows the files that the running plan depends on: the application's
// folder, and the sub-folders that requests have led into.
type files struct {
	d       *Daemon
	watcher *watch.Watcher
	root    *watch.Folder

	mu      sync.Mutex
	folders map[string]*watch.Folder // sub-folders
	stopped bool
}

func newFiles(d *Daemon) *files {
	return &files{d: d, watcher: watch.New(d.opts.Log), folders: make(map[string]*watch.Folder)}
}

// start watches the application's folder.
func (f *files) start() {
	f.root = f.watcher.Add(f.d.opts.Folder,
		watch.Rule{Match: isName("app_offline.htm"), Changed: f.offlineChanged},
		watch.Rule{Match: isName("web.config"), Quiet: 100 * time.Millisecond, Most: 2 * time.Second, Changed: f.configChanged},
		watch.Rule{Match: f.isProgram, Quiet: 500 * time.Millisecond, Most: 30 * time.Second, Changed: f.programChanged},
		watch.Rule{Folders: true, Quiet: 100 * time.Millisecond, Most: 2 * time.Second, Changed: f.foldersChanged},
	)
}

// visited watches a sub-folder that the plan has come to depend on: a
// web.config in it changes what rules its paths. It is called by requests.
func (f *files) visited(folder string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	folder = filepath.Clean(folder)
	if f.stopped || f.folders[folder] != nil || folder == filepath.Clean(f.d.opts.Folder) {
		return
	}
	f.folders[folder] = f.watcher.Add(folder,
		watch.Rule{Match: isName("web.config"), Quiet: 100 * time.Millisecond, Most: 2 * time.Second, Changed: f.subConfigChanged},
		watch.Rule{Folders: true, Quiet: 100 * time.Millisecond, Most: 2 * time.Second, Changed: f.foldersChanged},
	)
}

// forget ends the watches of sub-folders: a new plan names those that its
// requests lead into.
func (f *files) forget() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, folder := range f.folders {
		folder.Stop()
	}
	clear(f.folders)
}

func (f *files) stop() {
	f.mu.Lock()
	f.stopped = true
	f.mu.Unlock()
	f.watcher.Close()
}

func isName(want string) func(string) bool {
	return func(name string) bool { return strings.EqualFold(name, want) }
}

// isProgram reports whether a file of the folder is part of a .NET
// application, or the program that web.config names: a change of one is a new
// version of the application.
func (f *files) isProgram(name string) bool {
	lower := strings.ToLower(name)
	for _, end := range []string{".dll", ".exe", ".deps.json", ".runtimeconfig.json"} {
		if strings.HasSuffix(lower, end) {
			return true
		}
	}
	if lower == "package.json" || lower == "procfile" {
		return true // what a folder without web.config is recognised by
	}
	p := f.d.running()
	if p == nil || p.Application == nil {
		return false
	}
	program := filepath.Base(strings.ReplaceAll(p.Application.Settings.ProcessPath, `\`, "/"))
	return strings.EqualFold(strings.TrimSuffix(strings.ToLower(program), ".exe"), lower)
}

func (f *files) offlineChanged([]string) {
	if p := f.d.running(); p != nil && p.Application != nil {
		p.Application.Pool.CheckOffline()
	}
}

func (f *files) configChanged([]string) {
	f.d.reload(change{why: "web.config has changed", touched: true})
}

func (f *files) subConfigChanged([]string) {
	f.d.reload(change{why: "a web.config in a sub-folder has changed", asked: true})
}

// foldersChanged makes the plan look at its folders anew: one that has come
// may get a web.config. Most come for other reasons, so nothing is said.
func (f *files) foldersChanged([]string) {
	f.d.reload(change{why: "folders have come or gone"})
}

func (f *files) programChanged(names []string) { f.d.replace("changed: " + listed(names)) }

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

// replace replaces the application's workers though its settings stay.
func (d *Daemon) replace(why string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.running(); p != nil && p.Application != nil {
		p.Application.Pool.Replace(p.Application.Settings, why)
	}
}
