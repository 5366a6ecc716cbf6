package plan

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/handler/static"
	"github.com/perchserver/perch/internal/module/reqfilter"
	"github.com/perchserver/perch/internal/site"
)

// folders is the source of the site's tree: it reads sub-folders when requests
// first lead into them, and finds those with a web.config of their own and
// the paths that <location> elements speak of. The tree calls it from one
// goroutine at a time.
type folders struct {
	b      *builder
	layers map[string][]merge.Layer // that hold in a folder, by its path in lower case
	report func(config.Problems)    // told what is found wrong

	good *goodFiles // as they were when they could last be used

	visited int // by a check
}

// goodFiles are the sub-folders' files that could be used, by path. Plans hand
// them on: a file that becomes unusable while the host runs keeps its last
// good settings, and only one that never was usable is answered with 500.19.
type goodFiles struct {
	mu    sync.Mutex
	files map[string]*merge.File
}

// lastGood returns file, or the last one that could be used from its path.
func (f *folders) lastGood(path string, file *merge.File) *merge.File {
	f.good.mu.Lock()
	defer f.good.mu.Unlock()
	if file == nil {
		return f.good.files[path]
	}
	f.good.files[path] = file
	return file
}

func (b *builder) folders() *folders {
	good := &goodFiles{files: make(map[string]*merge.File)}
	if b.prev != nil {
		good = b.prev.good
	}
	b.plan.good = good
	return &folders{b: b, layers: map[string][]merge.Layer{"/": b.layers}, report: b.tell, good: good}
}

// Below implements site.Source.
func (f *folders) Below(path string, parent *site.Node) ([]site.Child, error) {
	layers := f.layersOf(path)
	dir := filepath.Join(f.b.in.Folder, filepath.FromSlash(path))
	names := subfolders(dir)
	if names != nil && f.b.parts.Visited != nil {
		f.b.parts.Visited(dir)
	}
	own := located(layers, path)
	for _, name := range own {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			names = append(names, name)
		}
	}
	children := make([]site.Child, 0, len(names))
	for _, name := range names {
		children = append(children, f.child(path, name, layers, parent))
	}
	return children, nil
}

// child makes the node of one segment below path, if it has settings of its
// own.
func (f *folders) child(path, name string, layers []merge.Layer, parent *site.Node) site.Child {
	at := strings.TrimSuffix(path, "/") + "/" + name
	file := webConfig(filepath.Join(f.b.in.Folder, filepath.FromSlash(at)))
	if file == "" && !spokenOf(layers, at) {
		return site.Child{Name: name, Node: parent}
	}
	b := &builder{in: f.b.in, parts: f.b.parts, environ: f.b.environ, app: f.b.app, plan: &Plan{}, told: f.b.told}
	defer func() { f.report(b.plan.Problems) }()
	if file != "" {
		layer := merge.Layer{File: f.lastGood(file, b.load(file)), At: at}
		if layer.File == nil {
			return site.Child{Name: name, Node: b.broken(b.plan.Problems)}
		}
		layers = append(slices.Clip(layers), layer)
		f.layers[strings.ToLower(at)] = layers
	}
	settings, problems := merge.Effective(layers, at, b.resolve)
	b.note(problems)
	if settings == nil {
		return site.Child{Name: name, Node: b.broken(problems)}
	}
	b.note(settings.NotDone())
	if problems := f.b.misplacedLimits(settings); problems != nil {
		b.note(problems)
		return site.Child{Name: name, Node: b.broken(problems)}
	}
	return site.Child{Name: name, Node: b.node(settings)}
}

// tell logs problems that were found while serving: the plan's own list is
// complete when Build returns.
func (b *builder) tell(problems config.Problems) {
	problems.Sort()
	for _, p := range problems {
		if p.Severity == config.Error {
			b.parts.Log.Error(p.String(), "hint", p.Hint)
		} else {
			b.parts.Log.Warn(p.String())
		}
	}
}

// layersOf returns the layers that hold in a folder: those of the nearest
// folder above it that has a web.config.
func (f *folders) layersOf(path string) []merge.Layer {
	for p := strings.ToLower(path); ; p = p[:strings.LastIndexByte(p, '/')] {
		if p == "" {
			return f.layers["/"]
		}
		if l, ok := f.layers[p]; ok {
			return l
		}
	}
}

// subfolders returns the names of the folders in dir, nil if there is no such
// folder. Links to folders count.
func subfolders(dir string) []string {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil
	}
	names := []string{}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		} else if e.Type()&os.ModeSymlink != 0 {
			if info, err := os.Stat(filepath.Join(dir, e.Name())); err == nil && info.IsDir() {
				names = append(names, e.Name())
			}
		}
	}
	return names
}

// located returns the next segments below path of all <location> paths.
func located(layers []merge.Layer, path string) []string {
	var names []string
	for _, l := range layers {
		if l.File == nil {
			continue
		}
		for _, location := range l.File.Locations() {
			full := strings.TrimSuffix(l.At, "/") + "/" + strings.Trim(location, "/")
			prefix := strings.TrimSuffix(path, "/") + "/"
			if len(full) > len(prefix) && strings.EqualFold(full[:len(prefix)], prefix) {
				name, _, _ := strings.Cut(full[len(prefix):], "/")
				names = append(names, name)
			}
		}
	}
	return names
}

// spokenOf reports whether a <location> is exactly at.
func spokenOf(layers []merge.Layer, at string) bool {
	for _, l := range layers {
		if l.File == nil {
			continue
		}
		for _, location := range l.File.Locations() {
			if strings.EqualFold(strings.TrimSuffix(l.At, "/")+"/"+strings.Trim(location, "/"), at) {
				return true
			}
		}
	}
	return false
}

// node joins modules and handlers for the settings that hold at one place.
func (b *builder) node(s *merge.Settings) *site.Node {
	limits := s.Section("system.webServer/security/requestFiltering").Child("requestLimits")
	choice := &site.Choice{Folder: b.in.Folder}
	for _, e := range s.Section("system.webServer/handlers").Entries() {
		entry := site.Entry{Path: e.Text("path"), Handler: b.handler(s, e)}
		if verbs := e.Text("verb"); verbs != "*" {
			for _, v := range strings.Split(verbs, ",") {
				entry.Verbs = append(entry.Verbs, strings.TrimSpace(v))
			}
		}
		if !isStatic(e.Text("modules")) { // the static handler judges for itself
			entry.Resource = resource(e.Text("resourceType"))
		}
		choice.Entries = append(choice.Entries, entry)
	}
	filter := reqfilter.Module(reqfilter.Settings{MaxBody: limits.Int("maxAllowedContentLength")})
	return &site.Node{Chain: filter(choice)}
}

func resource(name string) site.Resource {
	switch name {
	case "File":
		return site.File
	case "Directory":
		return site.Directory
	case "Either":
		return site.Either
	}
	return site.Unspecified
}

func isStatic(modules string) bool {
	for _, m := range strings.Split(modules, ",") {
		if strings.TrimSpace(m) == "StaticFileModule" {
			return true
		}
	}
	return false
}

// isApplication reports whether a handlers entry gives requests to the
// application: by the ASP.NET Core Module in either version, or by
// HttpPlatformHandler.
func isApplication(modules string) (section string, ok bool) {
	switch strings.TrimSpace(modules) {
	case "AspNetCoreModuleV2", "AspNetCoreModule":
		return "system.webServer/aspNetCore", true
	case "httpPlatformHandler":
		return "system.webServer/httpPlatform", true
	}
	return "", false
}

// handler returns the handler of one entry.
func (b *builder) handler(s *merge.Settings, e merge.Element) exchange.Handler {
	modules := e.Text("modules")
	if _, ok := isApplication(modules); ok {
		if b.app != nil {
			return b.app
		}
		return refuse(500, 0, "an application handler is set here, but not at the root of the site: only a whole folder can be an application")
	}
	if isStatic(modules) {
		h, err := static.New(b.staticSettings(s))
		if err != nil {
			return refuse(500, 19, err.Error())
		}
		return h
	}
	b.note(config.Problems{{Code: config.NotDone, Severity: config.Warning, Pos: e.Pos(),
		Subject: "system.webServer/handlers/" + modules,
		Message: "the handler " + modules + " is not there: requests for it are answered with 500.21"}})
	return refuse(500, 21, "the handler "+e.Text("name")+" needs the module "+modules+", which Perch does not have")
}

// refuse is a handler for what cannot be handled.
func refuse(status, sub int, why string) exchange.Handler {
	e := exchange.Errorf(status, sub, "choose handler", "%s", why)
	return exchange.HandlerFunc(func(*exchange.Exchange) error { return e })
}

// staticSettings are those of defaultDocument and staticContent.
func (b *builder) staticSettings(s *merge.Settings) static.Settings {
	set := static.Settings{Root: b.in.Folder}
	if d := s.Section("system.webServer/defaultDocument"); d.Bool("enabled") {
		for _, f := range d.Child("files").Entries() {
			set.DefaultDocuments = append(set.DefaultDocuments, f.Text("value"))
		}
	}
	content := s.Section("system.webServer/staticContent")
	for _, m := range content.Entries() {
		set.Types = append(set.Types, static.Type{Extension: m.Text("fileExtension"), MIME: m.Text("mimeType")})
	}
	cache := content.Child("clientCache")
	set.Cache = static.ClientCache{
		Mode:    static.CacheMode(cache.Int("cacheControlMode")),
		MaxAge:  cache.Duration("cacheControlMaxAge"),
		Expires: cache.Text("httpExpires"),
		Custom:  cache.Text("cacheControlCustom"),
	}
	set.OmitETag = !cache.Bool("setEtag")
	return set
}
