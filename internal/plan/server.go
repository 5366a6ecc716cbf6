package plan

import (
	"bytes"
	_ "embed"
	"errors"
	"fmt"
	"hash/maphash"
	"math"
	"net/netip"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/certs"
	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/edit"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/module/hsts"
	"github.com/perchserver/perch/internal/worker"
)

// What IIS's own applicationHost.config says where nobody says otherwise, as
// far as Perch acts on it.
//
//go:embed handlers.config
var defaultHandlers []byte

//go:embed documents.config
var defaultDocuments []byte

//go:embed hidden.config
var defaultHidden []byte

// builtIn is the file that these are said to be.
const builtIn = "built-in defaults"

const requestFiltering = "system.webServer/security/requestFiltering"

// server is an applicationHost.config as it was read.
type server struct {
	path     string
	sources  []source // the file, and those that it includes
	file     *merge.File
	settings *merge.Settings
	problems config.Problems // warnings

	defs   []*definition   // see defined
	faults config.Problems // of theirs

	// bequest is a sum of what sites inherit from the file: all that is not
	// about the server as a whole. Sites and pools come and go without
	// changing it.
	bequest uint64

	// ends is the line at which system.applicationHost ends; 0: bequest is of
	// the whole file.
	ends int
}

// readServer reads applicationHost.config. The error is a config.Problems: a
// file with errors is not used.
func readServer(in Input, seed maphash.Seed) (*server, error) {
	path := in.Server
	s := &server{path: path}
	folder := filepath.Dir(path)
	own, data, err := in.read(folder, filepath.Base(path), seed)
	s.sources = []source{own}
	if err != nil {
		unreadable := config.Problem{Code: config.Unreadable, Pos: config.Pos{File: path}, Message: "the file cannot be read: " + cause(err)}
		if errors.Is(err, os.ErrNotExist) {
			unreadable.Hint = "--config FILE names another one; `perch site add` makes one"
		}
		return nil, config.Problems{unreadable}
	}
	var bequest maphash.Hash
	bequest.SetSeed(seed)
	var inherited []byte
	inherited, s.ends = withoutServer(data)
	bequest.Write(inherited)
	open := func(name string) ([]byte, error) {
		included, data, err := in.read(folder, name, seed)
		s.sources = append(s.sources, included)
		bequest.Write(data)
		return data, err
	}
	if s.file, s.problems = (merge.Source{Path: path, Data: data, Server: true, Open: open, Every: in.Every}).Load(); s.file == nil {
		return nil, s.problems
	}
	s.bequest = bequest.Sum64()
	settings, problems := merge.Effective([]merge.Layer{{File: s.file}}, "", (&host{environ: lookup(in.Environ)}).resolve)
	if settings == nil {
		return nil, append(s.problems, problems...)
	}
	s.settings = settings
	s.problems = append(s.problems, problems...)
	return s, s.redirection(&in, folder, seed)
}

// redirection tells what a redirection.config beside the file says: with it
// IIS reads another file in place of this one, which would be served by
// settings that nobody keeps any more.
func (s *server) redirection(in *Input, folder string, seed maphash.Seed) error {
	const name = "redirection.config"
	own, data, err := in.read(folder, name, seed)
	s.sources = append(s.sources, own)
	path := filepath.Join(folder, name)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return nil
	case err != nil:
		return config.Problems{{Code: config.Unreadable, Pos: config.Pos{File: path}, Message: "the file cannot be read: " + cause(err)}}
	}
	_, problems := merge.Source{Path: path, Data: data, Server: true}.Load()
	s.problems = append(s.problems, problems...)
	return problems.Err()
}

// changed reports whether the file, or one that it includes, is not as it was.
func (s *server) changed(seed maphash.Seed) bool {
	return slices.ContainsFunc(s.sources, func(f source) bool { return f.changed(seed) })
}

// withoutServer cuts the element system.applicationHost out of a file, and
// returns the line at which it ends. Where its tags cannot be told for certain
// without reading the file, nothing is cut, and the line is 0: more counts as a
// change then.
func withoutServer(data []byte) (rest []byte, ends int) {
	first, last := []byte("<system.applicationHost"), []byte("</system.applicationHost>")
	if bytes.Count(data, first) != 1 || bytes.Count(data, last) != 1 {
		return data, 0
	}
	before, rest, _ := bytes.Cut(data, first)
	inside, after, found := bytes.Cut(rest, last)
	if !found || bytes.Count(before, []byte("<!--")) != bytes.Count(before, []byte("-->")) {
		return data, 0
	}
	return append(slices.Clip(before), after...), 1 + bytes.Count(before, []byte("\n")) + bytes.Count(inside, []byte("\n"))
}

// baseLayers are what lies beneath every web.config: the server's file, and
// the defaults of the sections that it does not have.
func baseLayers(s *server) ([]merge.Layer, error) {
	var base []merge.Layer
	for _, d := range []struct {
		replaced string // by a section of the server's file; empty: that adds to it
		text     []byte
	}{{"system.webServer/handlers", defaultHandlers}, {"system.webServer/defaultDocument", defaultDocuments}, {"", defaultHidden}} {
		if d.replaced != "" && s != nil && s.settings.Section(d.replaced).Present {
			continue
		}
		file, problems := merge.Load(builtIn, d.text)
		if problems.HasErrors() {
			return nil, fmt.Errorf("built-in configuration: %w", problems.Err())
		}
		base = append(base, merge.Layer{File: file})
	}
	if s != nil {
		base = append(base, merge.Layer{File: s.file})
	}
	return base, nil
}

// definer turns the sites of an applicationHost.config into definitions.
type definer struct {
	*server
	pools map[string]poolDefinition // by name in lower case
	taken map[claim]config.Pos      // bindings that a site has
	open  map[door][]listen.Binding // the same
	shown map[claim]certs.Source    // of addresses, whoever is asked for there

	certificates bool // the command line names some for all bindings
	problems     config.Problems
}

// claim is what two sites cannot both have.
type claim struct {
	port uint16
	addr string
	host string
}

// door is a port and what is spoken there.
type door struct {
	port uint16
	tls  bool
}

// defined returns what define does, which it asks once. The definitions are the
// caller's own.
func (s *server) defined(certificates bool) ([]*definition, config.Problems) {
	if s.defs == nil {
		s.defs, s.faults = s.define(certificates)
	}
	defs := make([]*definition, len(s.defs))
	for i, d := range s.defs {
		own := *d
		own.written, defs[i] = d, &own
	}
	return defs, s.faults
}

// define returns the sites that are served, in the order of the file, and what
// is wrong with them: a site or a part of one that cannot be served is left
// out, and the others go on.
func (s *server) define(certificates bool) ([]*definition, config.Problems) {
	d := &definer{server: s, taken: make(map[claim]config.Pos), open: make(map[door][]listen.Binding),
		shown: make(map[claim]certs.Source), certificates: certificates}
	d.readPools()
	var defs []*definition
	for _, e := range s.settings.Section("system.applicationHost/sites").Entries() {
		def := &definition{name: e.Text("name"), id: fmt.Sprint(e.Int("id")), segments: int(e.Child("limits").Int("maxUrlSegments"))}
		d.applications(def, e)
		if len(def.apps) == 0 || !e.Bool("serverAutoStart") {
			continue // told, or stopped
		}
		limits := e.Child("limits")
		if most := limits.Int("maxConnections"); most < math.MaxUint32 {
			def.connections = max(most, 1)
		}
		if limits.Attribute("connectionTimeout").Set {
			def.idle = limits.Duration("connectionTimeout")
		}
		if rate := limits.Int("maxBandwidth"); rate < math.MaxUint32 {
			def.bandwidth = rate
		}
		d.bindings(def, e)
		if h := e.Child("hsts"); h.Bool("enabled") {
			def.hsts = &hsts.Settings{MaxAge: h.Int("max-age"), IncludeSubDomains: h.Bool("includeSubDomains"),
				Preload: h.Bool("preload"), Redirect: h.Bool("redirectHttpToHttps")}
		}
		defs = append(defs, def)
	}
	d.orphans()
	return defs, d.problems
}

// orphans tells every <location> of the file whose site is not in it.
func (d *definer) orphans() {
	var names []string
	for _, e := range d.settings.Section("system.applicationHost/sites").Entries() {
		names = append(names, e.Text("name"))
	}
	for _, path := range d.file.Locations() {
		name, _, _ := strings.Cut(path, "/")
		if slices.ContainsFunc(names, func(n string) bool { return strings.EqualFold(n, name) }) {
			continue
		}
		p := config.Problem{Code: config.NoSite, Message: "the <location> " + path + " is for a site " + name + ", which is not in the file"}
		if near := config.Nearest(name, names); near != "" {
			p.Hint = "did you mean " + near + "?"
		}
		d.tell(d.file.AtLocation(path, p))
	}
}

// tell notes a problem. There is no limit: a reload compares what is new.
func (d *definer) tell(p config.Problem) { d.problems = append(d.problems, p) }

func (d *definer) readPools() {
	d.pools = make(map[string]poolDefinition)
	for _, e := range d.settings.Section("system.applicationHost/applicationPools").Entries() {
		p := poolDefinition{name: e.Text("name"), noOverride: !e.Bool("enableConfigurationOverride")}
		if !e.Bool("autoStart") {
			p.refused = "the application pool " + p.name + " is stopped: its autoStart is false"
			p.refusedWay = []string{"`perch set \"" + poolPath(p.name) + "/@autoStart=true\" --config " + word(d.path) + "` starts it"}
		}
		for _, v := range e.Child("environmentVariables").Entries() {
			p.environment = append(p.environment, worker.Variable{Name: v.Text("name"), Value: v.Text("value")})
		}
		d.pools[strings.ToLower(p.name)] = p
	}
}

// bindings reads where a site listens. Protocols that are not HTTP are for
// other programs.
func (d *definer) bindings(def *definition, site merge.Element) {
	ours := false
	for _, e := range site.Child("bindings").Entries() {
		info := e.Attribute("bindingInformation")
		protocol := strings.ToLower(e.Text("protocol"))
		if protocol != "http" && protocol != "https" {
			d.tell(e.Problem("protocol", config.Problem{Code: config.OtherProtocol, Severity: config.Warning,
				Message: "the binding " + e.Text("protocol") + " " + info.Text + " of site " + def.name + " is left out: Perch serves http and https"}))
			continue
		}
		ours = true
		b, err := listen.ParseInformation(protocol, info.Text)
		if err != nil {
			d.tell(e.Problem("bindingInformation", config.Problem{Code: config.BadBinding, Message: err.Error(),
				Expected: "ADDRESS:PORT:HOST, such as *:80: or *:80:shop.example"}))
			continue
		}
		var shown certificate
		if b.TLS {
			if shown = d.certificate(e); !d.certified(def, b, shown, e) {
				continue
			}
			d.addressed(b, shown, e)
		}
		if d.claim(def, b, e) {
			def.bindings = append(def.bindings, b)
			def.shown = append(def.shown, shown)
			def.places = append(def.places, info.Pos)
		}
	}
	if !ours {
		d.tell(site.Problem("name", config.Problem{Code: config.NoBinding, Severity: config.Warning,
			Message: "the site " + def.name + " has no binding of http or https: no request can reach it",
			Hint: "`perch set \"" + sitePath(def.name) + "/bindings/binding[@protocol='http' and @bindingInformation='*:8080:']\" --config " +
				word(d.path) + "` adds one"}))
	}
}

// sitePath is how commands name a site.
func sitePath(name string) string {
	return "system.applicationHost/sites/site[@name='" + name + "']"
}

// nothingListens is the error of a file by which there is nothing to serve at
// any address.
func (s *server) nothingListens(defs []*definition) config.Problems {
	if slices.ContainsFunc(defs, func(d *definition) bool { return len(d.bindings) > 0 }) {
		return nil
	}
	p := config.Problem{Code: config.NothingListens, Pos: config.Pos{File: s.path},
		Message:  "nothing would listen: no site of the file has a binding that can be used",
		Expected: "an applicationHost.config with a site that has a binding of http or https",
		Hint:     "`perch site add NAME --path DIR --listen http://localhost:8080 --config " + word(s.path) + "` adds one"}
	if strings.EqualFold(filepath.Base(s.path), "web.config") {
		p.Hint = "a web.config is served with its folder: `perch run " + word(filepath.Dir(s.path)) + "`"
	}
	return config.Problems{p}
}

// claim gives a binding to a site unless another has it.
func (d *definer) claim(def *definition, b listen.Binding, e merge.Element) bool {
	if b.Port == 0 {
		return true // every one has a port of its own
	}
	c := claim{port: b.Port, addr: b.Addrs()[0].String(), host: b.Host}
	if first, taken := d.taken[c]; taken {
		d.tell(e.Problem("bindingInformation", config.Problem{Code: config.BindingTaken,
			Message: "the binding " + e.Text("bindingInformation") + " of site " + def.name + " is taken", Hint: "it stands at " + first.String() + " already"}))
		return false
	}
	for _, o := range d.open[door{b.Port, !b.TLS}] {
		if overlap(o.Addr, b.Addr) {
			d.tell(e.Problem("bindingInformation", config.Problem{Code: config.BindingTaken,
				Message: "the binding of site " + def.name + " is taken by " + o.URL, Hint: "http and https need a port each"}))
			return false
		}
	}
	d.taken[c] = e.Attribute("bindingInformation").Pos
	d.open[door{b.Port, b.TLS}] = append(d.open[door{b.Port, b.TLS}], b)
	return true
}

// overlap reports whether two local addresses may need one socket; the
// unspecified ones stand for all.
func overlap(a, b netip.Addr) bool {
	return a == b || !a.IsValid() || !b.IsValid() || a.IsUnspecified() || b.IsUnspecified()
}

// applications reads those of a site. A site without a root has none.
func (d *definer) applications(def *definition, site merge.Element) {
	var apps []appDefinition
	for _, e := range site.Entries() {
		app := appDefinition{path: e.Text("path"), pool: d.pool(def, e)}
		for _, v := range e.Entries() {
			if dir, ok := d.directory(v, def.name, app.path); ok {
				app.dirs = append(app.dirs, dir)
			}
		}
		if !rootFirst(app.dirs, func(dir dirDefinition) string { return dir.path }) {
			d.tell(e.Problem("", config.Problem{Code: config.NoRoot,
				Message: `the application ` + app.path + ` of site ` + def.name + ` has no virtual directory "/" with a physicalPath`}))
			continue
		}
		apps = append(apps, app)
	}
	if !rootFirst(apps, func(a appDefinition) string { return a.path }) {
		d.tell(site.Problem("name", config.Problem{Code: config.NoRoot,
			Message: `the site ` + def.name + ` has no application "/" that can be served`}))
		return
	}
	def.apps = apps
	d.shadowed(def, site)
}

// shadowed tells of virtual directories whose path is that of an application,
// or lies in one, which is not theirs.
func (d *definer) shadowed(def *definition, site merge.Element) {
	for _, e := range site.Entries() {
		for _, v := range e.Entries() {
			own, at := e.Text("path"), path.Join(e.Text("path"), v.Text("path"))
			i := slices.IndexFunc(def.apps, func(a appDefinition) bool { return len(a.path) > len(own) && below(at, a.path) })
			if i < 0 {
				continue
			}
			step := fmt.Sprintf("%s/application[@path='%s']/virtualDirectory[@path='%s']", sitePath(def.name), own, v.Text("path"))
			d.tell(v.Problem("path", config.Problem{Code: config.NeverReached,
				Message: "no request reaches the virtual directory " + at + " of " + def.name + own + ": the application " + def.apps[i].path + " answers there",
				Hint:    "give it another path, or take it out: `perch unset \"" + step + "\" --config " + word(d.path) + "`"}))
		}
	}
}

// rootFirst moves the entry with the path "/" to the front, and reports
// whether there is one.
func rootFirst[T any](all []T, path func(T) string) bool {
	for i := range all {
		if path(all[i]) == "/" {
			all[0], all[i] = all[i], all[0]
			return true
		}
	}
	return false
}

// pool returns the pool that an application names. One that names none has a
// pool of its own.
func (d *definer) pool(def *definition, app merge.Element) poolDefinition {
	name := app.Text("applicationPool")
	if name == "" {
		return poolDefinition{name: def.name}
	}
	p, ok := d.pools[strings.ToLower(name)]
	if !ok {
		p = poolDefinition{name: name, refused: "the application pool " + name + " does not exist", refusedWay: []string{d.nearPool(name)}}
		d.tell(app.Problem("applicationPool", config.Problem{Code: config.UnknownPool,
			Message: "there is no application pool " + name + ": " + def.name + app.Text("path") + " answers 503",
			Hint:    d.nearPool(name)}))
	}
	return p
}

// poolPath is how commands name a pool.
func poolPath(name string) string {
	return "system.applicationHost/applicationPools/add[@name='" + name + "']"
}

func (d *definer) nearPool(name string) string {
	var names []string
	for _, p := range d.pools {
		names = append(names, p.name)
	}
	if near := config.Nearest(name, names); near != "" {
		return "did you mean " + near + "?"
	}
	return "`perch set \"" + poolPath(name) + "\" --config " + word(d.path) + "` adds it"
}

// unset is a variable of the environment in a value that was resolved.
var unset = regexp.MustCompile(`%[A-Za-z_][A-Za-z0-9_()]*%`)

// directory reads a virtual directory; false if it leads nowhere.
func (d *definer) directory(e merge.Element, site, app string) (dirDefinition, bool) {
	dir := dirDefinition{path: e.Text("path"), noSubConfig: !e.Bool("allowSubDirConfig")}
	dir.missing = e.Problem("physicalPath", config.Problem{Code: config.NoPhysicalPath,
		Message: "the virtual directory " + dir.path + " has no physicalPath", Expected: "the path of a folder that can be read"})
	physical := e.Text("physicalPath")
	if physical == "" {
		d.tell(dir.missing)
		return dir, false
	}
	command := d.command(site, "physicalPath=FOLDER", edit.Elem("application", "path", app), edit.Elem("virtualDirectory", "path", dir.path))
	switch name := unset.FindString(physical); {
	case name != "":
		dir.missing.Hint = "the variable " + name + " is not set in Perch's environment: set it, or write the path without it, as with " + command
		if strings.EqualFold(name, "%SystemDrive%") {
			dir.missing.Hint = "the variable " + name + " is not set in Perch's environment: `" + strings.Trim(name, "%") + "=/srv perch run ...` finds the folder below /srv; or write another path: " + command
		}
	case runtime.GOOS == "windows":
	case drive.MatchString(physical):
		dir.missing.Hint = "there are no drives with letters here: copy the folder to this machine, and write where it is: " + command
	case strings.HasPrefix(physical, `\\`):
		dir.missing.Hint = "a share of another machine has no such path here: mount it, and write where it is mounted: " + command
	}
	dir.folder = d.absolute(physical)
	return dir, true
}

// command sets an attribute of something of a site.
func (d *definer) command(site, attribute string, below ...edit.Step) string {
	return "`perch set \"" + sitePath(site) + "/" + edit.Path{Steps: below}.String() + "/@" + attribute + "\" --config " + word(d.path) + "`"
}

// drive begins a path of Windows on a drive.
var drive = regexp.MustCompile(`^[A-Za-z]:`)

// native writes a path of Windows as this system does.
func native(path string) string {
	if runtime.GOOS != "windows" {
		path = strings.ReplaceAll(path, `\`, "/")
	}
	return filepath.Clean(path)
}
