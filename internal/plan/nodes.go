package plan

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/config/store"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/handler/static"
	"github.com/perchserver/perch/internal/module/access"
	"github.com/perchserver/perch/internal/module/headers"
	"github.com/perchserver/perch/internal/module/hsts"
	"github.com/perchserver/perch/internal/module/reqfilter"
	"github.com/perchserver/perch/internal/site"
)

// Open implements site.Source. The folder is watched before it is looked at:
// what comes to it later makes a new plan.
func (r *reader) Open(path string, above *site.Node) (*site.Node, []string, error) {
	dir := r.physical(path)
	own := look(dir)
	names, err := r.subfolders(path)
	if err != nil {
		return nil, nil, unsettled(err) // and asked again, so nothing is kept of it
	}
	r.open(path)
	r.depend(own)
	if names != nil {
		r.visit(dir)
	}
	r.twins(dir, names)
	node := above
	if path != "/" {
		up := path[:strings.LastIndexByte(path, '/')]
		if node, err = r.child(path, r.layersOf(up), above); err != nil {
			return nil, nil, unsettled(err)
		}
	}
	for _, name := range append(r.mounted(path), located(r.layersOf(path), r.at(path))...) {
		if !slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			names = append(names, name)
		}
	}
	return node, names, nil
}

// unsettled is the answer below a folder whose settings nobody can read, as
// long as that is so.
func unsettled(err error) error {
	return &exchange.Error{Status: 500, SubStatus: 19, Op: "read configuration",
		Public: "The configuration of this part of the site cannot be read", Err: err}
}

// twins tells folders that one URL path stands for.
func (r *reader) twins(dir string, names []string) {
	seen := make(map[string]string, len(names))
	for _, name := range names {
		key := strings.ToLower(name)
		if first, twice := seen[key]; twice {
			r.note(config.Problems{{Code: config.TwinFolders, Severity: config.Warning, Pos: config.Pos{File: filepath.Join(dir, first)},
				Message: "the name differs from that of " + filepath.Join(dir, name) + " in letter case alone: the settings of one of them hold for both"}})
		}
		seen[key] = name
	}
}

// child returns the node of a path below that of parent: one of its own, if
// it has settings of its own.
func (r *reader) child(at string, layers []merge.Layer, parent *site.Node) (*site.Node, error) {
	m := r.mount(at)
	mounted := strings.EqualFold(m.path, at)
	if a := r.apps[strings.ToLower(at)]; a != nil {
		return a.node, nil
	}
	if mounted && m.unservable != nil {
		return r.broken(at, config.Problems{m.why(m.unservable)}), nil
	}
	file, err := r.configFile(at)
	if err != nil {
		return nil, err
	}
	if problems := r.inherited(at, file); problems != nil {
		return r.broken(at, problems), nil
	}
	if mounted {
		r.visit(m.folder)
	}
	if file == "" {
		return r.unconfigured(at, layers, m, parent), nil
	}
	r.visit(filepath.Dir(file))
	return r.configured(file, at, layers, m, parent), nil
}

// unconfigured returns the node of a path without a web.config: that of its
// parent, unless it is a virtual directory or a <location> speaks of it.
func (r *reader) unconfigured(at string, layers []merge.Layer, m *mount, parent *site.Node) *site.Node {
	node := parent
	if strings.EqualFold(m.path, at) || spokenOf(layers, r.at(at)) {
		settings, problems := r.settings(layers, at)
		r.note(problems)
		if settings == nil {
			return r.broken(at, problems)
		}
		node = r.node(settings, at, m)
	}
	if r.mayConfigure(at) {
		r.good.keep(r.part(at), nil)
	}
	return node
}

// configured returns the node of a path with a web.config. If that cannot be
// used, for itself or behind the files above it, the last one that could be
// stays, or that there was none.
func (r *reader) configured(file, at string, layers []merge.Layer, m *mount, parent *site.Node) *site.Node {
	loaded, problems := r.load(file)
	use := func(f *merge.File) (*merge.Settings, config.Problems) {
		held := append(slices.Clip(layers), merge.Layer{File: f, At: r.at(at)})
		settings, problems := r.settings(held, at)
		if settings != nil {
			r.good.keep(r.part(at), f)
			r.layers[strings.ToLower(at)] = held
		}
		return settings, problems
	}
	var settings *merge.Settings
	if loaded != nil {
		settings, problems = use(loaded)
		r.note(problems)
	}
	last, known := r.good.last(r.part(at))
	switch {
	case settings == nil && known && last == nil:
		return r.unconfigured(at, layers, m, parent)
	case settings == nil && known:
		settings, _ = use(last) // told when it was read
	}
	if settings == nil {
		r.faulty[strings.ToLower(at)] = problems
		return r.broken(at, problems)
	}
	return r.node(settings, at, m)
}

// inherited returns the problems of a file above a path that cannot be used.
// What it would restrict may not be served by the settings of a file below,
// which is the one given; empty: none. That is read for what it has to tell.
func (r *reader) inherited(at, file string) config.Problems {
	for p := strings.ToLower(at); len(p) > 1; {
		if p = p[:strings.LastIndexByte(p, '/')]; p == "" {
			p = "/"
		}
		if problems := r.faulty[p]; problems != nil {
			if file != "" {
				r.load(file)
			}
			return problems
		}
	}
	return nil
}

// settings are what layers say of a part of the site, nil if that cannot be
// used, and the problems of that.
func (r *reader) settings(layers []merge.Layer, at string) (*merge.Settings, config.Problems) {
	settings, problems := merge.Effective(layers, r.at(at), r.resolve)
	if settings == nil {
		return nil, problems
	}
	if misplaced := r.misplacedLimits(settings); misplaced != nil {
		return nil, append(problems, misplaced...)
	}
	return settings, append(problems, settings.NotDone()...)
}

// configFile returns the web.config that is read at a URL path, empty if there
// is none.
func (r *reader) configFile(at string) (string, error) {
	if !r.mayConfigure(at) {
		return "", nil
	}
	folder := r.physical(at)
	own := look(folder)
	file, err := r.in.webConfig(folder)
	if err == nil {
		r.depend(own) // where one may come
	}
	return file, err
}

// mounted returns the next segments below a path of virtual directories.
func (r *reader) mounted(path string) []string {
	var names []string
	for i := range r.mounts {
		if name, ok := nextSegment(r.mounts[i].path, path); ok {
			names = append(names, name)
		}
	}
	return names
}

// nextSegment returns the segment of a path that follows on a folder above it.
func nextSegment(path, folder string) (string, bool) {
	prefix := strings.TrimSuffix(folder, "/") + "/"
	if len(path) <= len(prefix) || !strings.EqualFold(path[:len(prefix)], prefix) {
		return "", false
	}
	name, _, _ := strings.Cut(path[len(prefix):], "/")
	return name, true
}

// tell logs problems that were found while serving: the plan's own list is
// complete when Build returns.
func (h *host) tell(problems config.Problems) {
	problems.Sort()
	for _, p := range problems {
		p.Log(h.parts.Log)
	}
}

// layersOf returns the layers that hold in a folder: those of the nearest
// folder above it that has a web.config.
func (r *reader) layersOf(path string) []merge.Layer {
	for p := strings.ToLower(path); ; p = p[:strings.LastIndexByte(p, '/')] {
		if p == "" {
			return r.layers["/"]
		}
		if l, ok := r.layers[p]; ok {
			return l
		}
	}
}

// subfolders returns the names of the folders below a URL path, nil if it
// stands for no folder. Links to folders count, as long as what is behind them
// is served.
func (r *reader) subfolders(at string) ([]string, error) {
	if r.leadsOut(at) {
		return nil, nil
	}
	m, dir := r.mount(at), r.physical(at)
	entries, err := list(dir)
	if entries == nil {
		return nil, err
	}
	names := []string{}
	for _, e := range entries {
		if e.IsDir() {
			names = append(names, e.Name())
		} else if e.Type()&os.ModeSymlink != 0 {
			link := filepath.Join(dir, e.Name())
			if info, err := os.Stat(link); err != nil || !info.IsDir() {
				continue
			}
			if !r.leadsOut(join(at, e.Name())) {
				names = append(names, e.Name())
			} else if file, _ := r.in.webConfig(link); file != "" && !m.noOverride && !m.noSubConfig {
				r.note(config.Problems{{Code: config.LinkOut, Severity: config.Warning, Pos: config.Pos{File: link},
					Message: "the link leads out of " + m.folder + ": the web.config behind it is not read"}})
			}
		}
	}
	return names, nil
}

// located returns the next segments below a configuration path of all
// <location> paths.
func located(layers []merge.Layer, at string) []string {
	var names []string
	eachLocation(layers, func(path string) {
		if name, ok := nextSegment(path, at); ok {
			names = append(names, name)
		}
	})
	return names
}

// spokenOf reports whether a <location> is exactly at a configuration path.
func spokenOf(layers []merge.Layer, at string) (spoken bool) {
	eachLocation(layers, func(path string) { spoken = spoken || strings.EqualFold(path, at) })
	return spoken
}

// eachLocation calls f with the configuration path of every <location>.
func eachLocation(layers []merge.Layer, f func(path string)) {
	for _, l := range layers {
		if l.File == nil {
			continue
		}
		for _, location := range l.File.Locations() {
			f(strings.Trim(strings.Trim(l.At, "/")+"/"+strings.Trim(location, "/"), "/"))
		}
	}
}

// node joins modules and handlers for the settings that hold at one place of
// a virtual directory.
func (r *reader) node(s *merge.Settings, at string, m *mount) *site.Node {
	a := r.apps[strings.ToLower(m.app)]
	choice := &site.Choice{Folder: m.folder, Prefix: strings.TrimSuffix(m.path, "/")}
	answered := false // everything, by the entries so far: what others lack concerns no request
	for _, e := range s.Section("system.webServer/handlers").Entries() {
		h, problems := r.handler(s, e, at, a, m)
		if !answered {
			r.note(problems)
		}
		entry := site.Entry{Path: e.Text("path"), Handler: h}
		if verbs := e.Text("verb"); verbs != "*" {
			for _, v := range strings.Split(verbs, ",") {
				entry.Verbs = append(entry.Verbs, strings.TrimSpace(v))
			}
		}
		if !isStatic(e.Text("modules")) { // the static handler judges for itself
			entry.Resource = resource(e.Text("resourceType"))
		}
		choice.Entries = append(choice.Entries, entry)
		answered = answered || entry.Path == "*" && entry.Verbs == nil && entry.Resource == site.Unspecified
	}
	pages := r.pages
	if a.detailed {
		pages = r.detailedPages
	}
	var chain []stage // the outermost first
	if r.throttle != nil {
		chain = append(chain, stage{"throttle", r.throttle})
	}
	if r.def.hsts != nil {
		chain = append(chain, stage{"hsts", hsts.Module(*r.def.hsts)})
	}
	if m := headers.Module(headerRules(s)); m != nil {
		chain = append(chain, stage{"headers", m})
	}
	chain = append(chain, stage{"errorpage", pages})
	if m := access.Module(r.access(s)); m != nil {
		chain = append(chain, stage{"access", m})
	}
	chain = append(chain, stage{"reqfilter", reqfilter.Module(r.filter(s))})
	n := &site.Node{Chain: choice}
	if a.refused != "" {
		n.Chain = refusal{&exchange.Error{Status: 503, Op: "choose handler", Err: errors.New(a.refused), Advice: a.refusedWay}}
	}
	for _, s := range slices.Backward(chain) {
		n.Chain = s.module(n.Chain)
	}
	if r.places != nil {
		r.places[n] = &place{at: at, settings: s, mount: m, app: a, modules: names(chain), choice: choice}
	}
	return n
}

// filter is what requests are refused for by themselves.
func (r *reader) filter(s *merge.Settings) reqfilter.Settings {
	limits := s.Section(requestFiltering).Child("requestLimits")
	hidden, _ := hiddenSegments(s)
	return reqfilter.Settings{MaxBody: limits.Int("maxAllowedContentLength"), MaxSegments: r.def.segments, Hidden: reqfilter.Hide(hidden...)}
}

// hiddenSegments are the names that no segment of a path may have: whoever
// handles it, or where that is a file. The names of ASP.NET's folders, which
// IIS has if that is installed, are an application's to use, unless a file says
// otherwise. Perch's own file of sites, and what it keeps of old files, nobody is to see.
func hiddenSegments(s *merge.Settings) (always, ofFiles []string) {
	always = []string{store.Folder, "perch.config"}
	for _, e := range s.Section(requestFiltering).Child("hiddenSegments").Entries() {
		if name := e.Text("segment"); e.Pos().File == builtIn && name != "web.config" {
			ofFiles = append(ofFiles, name)
		} else {
			always = append(always, name)
		}
	}
	return always, ofFiles
}

// headerRules are what the section httpProtocol asks for.
func headerRules(s *merge.Settings) (set headers.Settings) {
	protocol := s.Section("system.webServer/httpProtocol")
	for _, f := range protocol.Child("customHeaders").Entries() {
		set.Custom = append(set.Custom, headers.Field{Name: f.Text("name"), Value: f.Text("value")})
	}
	set.NoKeepAlive = !protocol.Bool("allowKeepAlive")
	return set
}

// stage is a module of a chain.
type stage struct {
	name   string // of its folder
	module exchange.Module
}

func names(chain []stage) (all []string) {
	for _, s := range chain {
		all = append(all, s.name)
	}
	return all
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

// handler returns the handler of one entry, and what it lacks.
func (r *reader) handler(s *merge.Settings, e merge.Element, at string, a *Application, m *mount) (exchange.Handler, config.Problems) {
	modules := e.Text("modules")
	if section, ok := isApplication(modules); ok {
		if a.handler != nil && section == a.section {
			return a.handler, nil
		}
		why := "the handler " + e.Text("name") + " needs the application of " + section + ", and " + a.Name + " is the one of " + a.section
		hint := "a folder can be one application: take the handler out, or make the part that it is for an application of its own"
		if file := e.Pos().File; !within(a.Folder, file) {
			hint = `the entry is inherited: put it, and the section, into a <location path="." inheritInChildApplications="false"> of ` + file +
				`, or <remove name="` + e.Text("name") + `" /> into the handlers of ` + filepath.Join(a.Folder, "web.config")
		}
		if a.handler == nil {
			why = "an application handler is set here, but not at the root of the application: only a whole folder can be one"
			hint = r.ownApplication(at, a)
		}
		return refuse(500, 0, why), config.Problems{e.Problem("modules", config.Problem{Code: config.NoApplication, Subject: "system.webServer/handlers/" + modules,
			Message: why + "; requests for the handler " + e.Text("name") + " are answered with 500", Hint: hint})}
	}
	if isStatic(modules) {
		h, err := static.New(r.staticSettings(s, m))
		if err != nil {
			return refuse(500, 19, err.Error()), nil
		}
		return h, nil
	}
	return refuse(500, 21, "the handler "+e.Text("name")+" needs the module "+modules+", which Perch does not have"),
		config.Problems{e.Problem("modules", config.Problem{Code: config.NotDone, Severity: config.Warning,
			Subject: "system.webServer/handlers/" + modules,
			Message: "the handler " + modules + " is not there: requests for it are answered with 500.21",
			Hint:    insteadOf(e, modules)})}
}

// insteadOf says how an application is hosted whose handler needs a module that
// Perch does not have; empty: nobody knows.
func insteadOf(e merge.Element, modules string) string {
	program, arguments := "", ""
	switch module, _, _ := strings.Cut(strings.ToLower(modules), ","); strings.TrimSpace(module) {
	case "iisnode":
		program, arguments = "node", `.\server.js`
		if script := e.Text("path"); !strings.Contains(script, "*") {
			arguments = `.\` + script
		}
	case "fastcgimodule", "cgimodule":
		program, arguments = "php", "-S 127.0.0.1:%HTTP_PLATFORM_PORT%"
	default:
		return ""
	}
	return `let the application listen by itself, on 127.0.0.1 and the port in the variable PORT: <add name="app" path="*" verb="*" modules="httpPlatformHandler" /> in place of this handler, and ` +
		`beside handlers a section such as <httpPlatform processPath="` + program + `" arguments="` + arguments + `" />`
}

// ownApplication says how a path comes to have the application that a handler
// there asks for, which its own has not.
func (r *reader) ownApplication(at string, a *Application) string {
	way := "make it one: `perch app add " + word(r.at(at)) + " --path " + word(r.physical(at)) + " --config " + word(r.in.Server) + "`"
	if r.in.Server == "" {
		way = "serve it as an application of a site: see `perch app add --help`"
	}
	return way + "; or put the handler, and the section that starts the application, at the root of the web.config in " + a.Folder
}

// refusal is a handler for what cannot be handled.
type refusal struct{ *exchange.Error }

// Serve implements exchange.Handler.
func (r refusal) Serve(*exchange.Exchange) error { return r.Error }

func refuse(status, sub int, why string) exchange.Handler {
	return refusal{exchange.Errorf(status, sub, "choose handler", "%s", why)}
}

// staticSettings are those of defaultDocument and staticContent.
func (r *reader) staticSettings(s *merge.Settings, m *mount) static.Settings {
	set := static.Settings{Root: m.folder, Prefix: m.path, Files: r.parts.Files}
	if d := s.Section("system.webServer/defaultDocument"); d.Bool("enabled") {
		filter := r.filter(s)
		for _, f := range d.Child("files").Entries() {
			if name := f.Text("value"); filter.Judge(&exchange.Target{Path: []byte("/" + name)}) == nil {
				set.DefaultDocuments = append(set.DefaultDocuments, name)
			}
		}
	}
	_, set.HiddenSegments = hiddenSegments(s)
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
