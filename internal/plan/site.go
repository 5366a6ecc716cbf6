package plan

import (
	"cmp"
	"errors"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/handler/static"
	"github.com/perchserver/perch/internal/module/throttle"
	"github.com/perchserver/perch/internal/site"
)

// Site is one site of a plan. The next plan takes it over if nothing that it
// was made from has changed.
type Site struct {
	Name         string
	Applications []*Application // those above before those below

	def      *definition
	tree     *site.Tree
	reader   *reader
	problems config.Problems // found while the plan was built
	quota    *exchange.Quota // of connections; all plans with the site share it

	bandwidth *throttle.Bandwidth // of responses; the same

	asksClients bool // for certificates, in the handshake
}

// application returns the application at a path, nil if there is none.
func (s *Site) application(path string) *Application {
	for _, a := range s.Applications {
		if strings.EqualFold(a.Path, path) {
			return a
		}
	}
	return nil
}

// site makes a site, or takes it over from the plan before. The error is for
// a folder of its own that cannot be served at all.
func (b *builder) site(def *definition) (*Site, error) {
	var prev *Site
	if b.prev != nil {
		prev = b.prev.byName[strings.ToLower(def.name)]
	}
	if prev != nil && prev.reader.bequest == b.bequest && prev.def.same(def) && !prev.reader.changed() {
		return prev, nil
	}
	s := &Site{Name: def.name, def: def, quota: new(exchange.Quota), bandwidth: new(throttle.Bandwidth)}
	r := newReader(b.host, def, &s.problems)
	r.known = b.told
	s.reader = r
	if prev != nil {
		r.good, s.quota, s.bandwidth = prev.reader.good, prev.quota, prev.bandwidth
	}
	if def.bandwidth > 0 {
		r.throttle = throttle.Module(s.bandwidth)
	}
	r.checkMounts()
	for _, d := range byDepth(def.apps) {
		var was *Application
		if prev != nil {
			was = prev.application(d.path)
		}
		a, kept, err := r.application(d, was, b.in.Patient)
		if err != nil && b.prev == nil && b.in.Server == "" {
			return nil, err
		}
		if kept {
			b.plan.kept[a] = true
		}
		s.Applications = append(s.Applications, a)
	}
	r.note(s.unused())
	s.tree = site.NewTree(s.Applications[0].node, r)
	if prev != nil {
		s.reopen(prev)
	}
	s.asksClients = r.asksClients()
	s.problems.Sort()
	r.report = r.tellLate
	return s, nil
}

// unused tells the sections of applications that no handler leads to, neither
// where they stand nor in an application below, which inherits them.
func (s *Site) unused() (all config.Problems) {
	used := make(map[config.Pos]bool)
	for _, a := range s.Applications {
		used[a.used] = true
	}
	for _, a := range s.Applications {
		for _, p := range a.unused {
			if !used[p.Pos] {
				all = append(all, p)
			}
		}
	}
	return all
}

// reopen reads the folders that requests led into before, so that who reloads
// is told of their files, and no request is the first to find out.
func (s *Site) reopen(prev *Site) {
	prev.reader.mu.Lock()
	opened := prev.reader.opened
	prev.reader.mu.Unlock()
	for _, path := range opened {
		// Any path below the folder leads into it; one that is gone is not missed.
		s.tree.Resolve(&exchange.Target{Path: []byte(join(path, "-"))})
	}
	s.reader.good.forget()
}

// found are the problems of a site, those of sub-folders included that
// requests have led into.
func (s *Site) found() config.Problems {
	s.reader.mu.Lock()
	defer s.reader.mu.Unlock()
	return slices.Concat(s.problems, s.reader.late)
}

// placed returns the problems of a site. What one that is taken over has found
// in the server's file is moved to where it stands now: nothing has changed in
// that file but system.applicationHost, which may end at another line.
func (b *builder) placed(s *Site) config.Problems {
	found, moved := s.found(), b.ends-s.reader.ends
	for i := range found {
		if p := &found[i]; p.File == b.in.Server && p.Line >= s.reader.ends {
			p.Line += moved
		}
	}
	return found
}

// byDepth orders applications so that one comes before those below it.
func byDepth(apps []appDefinition) []*appDefinition {
	var all []*appDefinition
	for i := range apps {
		all = append(all, &apps[i])
	}
	slices.SortStableFunc(all, func(a, b *appDefinition) int {
		return cmp.Compare(len(a.path), len(b.path))
	})
	return all
}

// reader reads what rules the paths of one site: for the plan the roots of
// its applications, and sub-folders when requests first lead into them. It is
// the source of the site's tree, which calls it from one goroutine at a time.
type reader struct {
	*host
	def      *definition
	report   func(config.Problems) // told what is found wrong
	throttle exchange.Module       // nil: none
	told     map[string]bool       // warnings that were given, by subject
	known    map[string]bool       // lines that the plan has told, of all its sites

	apps     map[string]*Application // by their path in lower case
	limitsAt config.Pos              // of the limits of connections that hold

	mounts []mount                    // those of the longest application first, and of them the longest path
	layers map[string][]merge.Layer   // that hold in a folder, by its path in lower case
	faulty map[string]config.Problems // of files that cannot be used, by their folder in lower case
	good   *goodFiles                 // what could last be used in sub-folders
	places map[*site.Node]*place      // what nodes were made from; nil: nobody asks

	mu      sync.Mutex // held for what a reload asks for
	sources []source
	folders map[string]bool // whose content the site depends on
	opened  []string        // URL paths that requests led into
	late    config.Problems // found while serving
}

// mount is a URL path with a physical folder of its own: a virtual directory.
type mount struct {
	dirDefinition        // its path is that in the site
	app           string // path of the application
	noOverride    bool   // no web.config is read
	unservable    error  // why the folder cannot be served; nil: it can
}

func newReader(h *host, def *definition, problems *config.Problems) *reader {
	r := &reader{
		host:    h,
		def:     def,
		told:    make(map[string]bool),
		apps:    make(map[string]*Application),
		layers:  map[string][]merge.Layer{"/": h.base},
		faulty:  make(map[string]config.Problems),
		good:    &goodFiles{files: make(map[part]*merge.File)},
		folders: make(map[string]bool),
	}
	r.limitsAt = h.limitsAt
	if h.in.Explained {
		r.places = make(map[*site.Node]*place)
	}
	r.report = func(found config.Problems) { *problems = append(*problems, found...) }
	for _, a := range def.apps {
		for _, d := range a.dirs {
			d.path = path.Join(a.path, d.path)
			r.mounts = append(r.mounts, mount{dirDefinition: d, app: a.path, noOverride: a.pool.noOverride})
		}
	}
	slices.SortStableFunc(r.mounts, func(a, b mount) int { return cmp.Or(len(b.app)-len(a.app), len(b.path)-len(a.path)) })
	return r
}

// checkMounts tells which virtual directories lead nowhere. Those at the root
// of an application are judged with it.
func (r *reader) checkMounts() {
	for i := range r.mounts {
		m := &r.mounts[i]
		if m.path == m.app {
			continue
		}
		own := look(m.folder)
		m.unservable = servable(m.folder)
		own.unread = m.unservable != nil
		r.depend(own)
		if m.unservable != nil {
			r.note(config.Problems{m.why(m.unservable)})
		}
	}
}

// mount returns the virtual directory that a URL path lies in.
func (r *reader) mount(at string) *mount {
	for i := range r.mounts {
		if m := &r.mounts[i]; below(at, m.path) {
			return m
		}
	}
	panic("plan: a site without a root") // definitions have one
}

// below reports whether a URL path is a folder's or lies in it, without regard
// to letter case.
func below(at, folder string) bool {
	folder = strings.TrimSuffix(folder, "/")
	return len(at) >= len(folder) && strings.EqualFold(at[:len(folder)], folder) && (len(at) == len(folder) || at[len(folder)] == '/')
}

// within reports whether a file lies in a folder or below it.
func within(folder, file string) bool {
	rel, err := filepath.Rel(folder, file)
	return err == nil && filepath.IsLocal(rel)
}

// physical returns the folder that a URL path stands for.
func (r *reader) physical(at string) string {
	m := r.mount(at)
	return filepath.Join(m.folder, filepath.FromSlash(at[min(len(at), len(strings.TrimSuffix(m.path, "/"))):]))
}

// leadsOut reports whether a link leads out of the virtual directory on the way
// to the folder of a URL path. What is there neither is served nor configures.
func (r *reader) leadsOut(at string) bool { return static.LeadsOut(r.mount(at).folder, r.physical(at)) }

// mayConfigure reports whether a web.config at a URL path is read (spec
// iis-front 1.1).
func (r *reader) mayConfigure(at string) bool {
	m := r.mount(at)
	return !m.noOverride && (!m.noSubConfig || strings.EqualFold(at, m.path)) && !r.leadsOut(at)
}

// join puts a segment behind a URL path.
func join(at, name string) string { return strings.TrimSuffix(at, "/") + "/" + name }

// at is the configuration path of a URL path.
func (r *reader) at(path string) string { return strings.TrimSuffix(r.def.name+path, "/") }

// depend notes that the site was made from a file or folder.
func (r *reader) depend(s source) {
	r.mu.Lock()
	r.sources = append(r.sources, s)
	r.mu.Unlock()
}

// open notes that a request led into the folder at a URL path.
func (r *reader) open(path string) {
	r.mu.Lock()
	r.opened = append(r.opened, path)
	r.mu.Unlock()
}

// tellLate logs problems that were found while serving, and keeps them for the
// next plan, which has the site too if nothing changes. What the plan has told,
// of a file above the site, is no news.
func (r *reader) tellLate(problems config.Problems) {
	problems = slices.DeleteFunc(problems, func(p config.Problem) bool { return r.known[p.String()] })
	r.tell(problems)
	r.mu.Lock()
	r.late = append(r.late, problems...)
	r.mu.Unlock()
}

// visit notes that the site depends on the content of a folder.
func (r *reader) visit(folder string) {
	r.mu.Lock()
	known := r.folders[folder]
	r.folders[folder] = true
	r.mu.Unlock()
	if !known && r.parts.Visited != nil {
		r.parts.Visited(folder)
	}
}

// changed reports whether something that the site was made from is not as it
// was.
func (r *reader) changed() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.sources {
		if r.sources[i].changed(r.seed) {
			return true
		}
	}
	return false
}

func (r *reader) eachFolder(f func(string)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for folder := range r.folders {
		f(folder)
	}
}

// part is a place in a site where a web.config may be: a URL path, and the
// folder behind it.
type part struct{ at, folder string }

func (r *reader) part(at string) part { return part{strings.ToLower(at), r.physical(at)} }

// goodFiles are the files of sub-folders as they could last be used. Plans
// hand them on: a part whose file becomes unusable while the host runs keeps
// its last good settings, be it that it had no file, and only one that never
// was usable is answered with 500.19.
type goodFiles struct {
	mu    sync.Mutex
	files map[part]*merge.File // nil: there was none
}

// keep notes what could be used; nil: that there is no file.
func (g *goodFiles) keep(p part, file *merge.File) {
	g.mu.Lock()
	g.files[p] = file
	g.mu.Unlock()
}

// last returns what was kept last. known is false if nothing ever was.
func (g *goodFiles) last(p part) (file *merge.File, known bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	file, known = g.files[p]
	return file, known
}

// forget drops that folders had no file which are gone by now: there is no end
// of those that come and go.
func (g *goodFiles) forget() {
	g.mu.Lock()
	defer g.mu.Unlock()
	maps.DeleteFunc(g.files, func(p part, file *merge.File) bool {
		_, err := os.Stat(p.folder)
		return file == nil && errors.Is(err, fs.ErrNotExist)
	})
}

// note tells problems; a warning once for each subject, unless all are asked
// for.
func (r *reader) note(problems config.Problems) {
	var fresh config.Problems
	for _, p := range problems {
		if p.Severity == config.Warning && p.Subject != "" && !r.in.Checked {
			if r.told[p.Subject] {
				continue
			}
			r.told[p.Subject] = true
		}
		fresh = append(fresh, p)
	}
	if len(fresh) > 0 {
		r.report(fresh)
	}
}
