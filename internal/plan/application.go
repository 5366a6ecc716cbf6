package plan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/config/recognize"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/handler/aspnetcore"
	"github.com/perchserver/perch/internal/handler/forward"
	"github.com/perchserver/perch/internal/serve"
	"github.com/perchserver/perch/internal/site"
	"github.com/perchserver/perch/internal/worker"
)

// Application is one application of a site: a folder, and the pool whose
// workers answer for it, unless its files are all there is.
type Application struct {
	Name   string // "shop", "shop/api"
	Path   string // in the site: "/", "/api"
	Folder string // absolute

	// WebConfig is the path of the folder's web.config, empty if there is
	// none.
	WebConfig string

	Settings            *worker.Settings // nil for files alone
	Pool                *worker.Pool     // nil for files alone
	log                 io.Closer        // of the pool; nil: it has none of its own
	IgnoreConfigChanges bool             // disallowRotationOnConfigChange

	noProgram config.Problem // what to tell when it cannot be started, but for its message

	section string          // that it is started by
	used    config.Pos      // where that stands
	unused  config.Problems // of sections that its handlers do not lead to

	node     *site.Node    // of its root
	layers   []merge.Layer // that hold there
	handler  exchange.Handler
	detailed bool   // error pages tell everything to everybody
	broken   bool   // its configuration cannot be used
	orphan   bool   // its web.config is gone, and that was told
	refused  string // why its pool serves nothing; empty: it does

	refusedWay []string // out of that

	connections serve.Settings // where it is all that is served
	limitsAt    config.Pos
}

// Changed reports whether the workers of a have to be replaced, because the
// settings they run with are others than those of b. Functions and the
// host's environment do not count.
func (a *Application) Changed(b *Application) bool {
	if a.Settings == nil || b.Settings == nil {
		return a.Settings != b.Settings
	}
	x, y := *a.Settings, *b.Settings
	for _, s := range []*worker.Settings{&x, &y} {
		s.Line, s.AppOffline, s.Connect = nil, nil, nil
	}
	return !reflect.DeepEqual(x, y)
}

// Stop stops the pool as worker.Pool.Stop does, and closes its log. An
// application of files alone has nothing to stop.
func (a *Application) Stop(ctx context.Context) error {
	if a.Pool == nil {
		return nil
	}
	a.Pool.Stop(ctx)
	if a.log == nil {
		return nil
	}
	return a.log.Close()
}

// application reads what rules the root of an application, and sets up its
// pool: the one of was, which is what runs there already, or a new one. Where
// what is there now cannot be used, was is kept as it is. The error is for a
// folder that cannot be served at all.
func (r *reader) application(def *appDefinition, was *Application, patient bool) (a *Application, kept bool, err error) {
	dir := def.dirs[0]
	a = &Application{Name: strings.TrimSuffix(r.def.name+def.path, "/"), Path: def.path, Folder: dir.folder}
	key := strings.ToLower(def.path)
	above, err := r.above(def.path)
	own := look(a.Folder)
	r.depend(own)
	if err == nil && !def.pool.noOverride {
		a.WebConfig, err = r.in.webConfig(a.Folder)
	}
	if patient && err == nil && was != nil && !was.broken && was.WebConfig != "" && a.WebConfig == "" && was.Folder == a.Folder {
		if !was.orphan {
			was.orphan = true
			r.parts.Log.Warn("web.config is gone; the configuration before stays until it is there again, or until the configuration is reloaded",
				"application", a.Name, "folder", a.Folder)
		}
		r.depend(source{path: was.WebConfig, sum: 1}) // so that the next look is not the last
		r.apps[key], r.layers[key] = was, was.layers
		return was, true, nil
	}
	r.apps[key] = a
	if unservable := servable(a.Folder); unservable != nil {
		err, own.unread = unservable, true
		r.depend(own)
	}
	if err == nil {
		if err = r.inherited(def.path, a.WebConfig).Err(); err == nil {
			err = r.root(a, def, above, was)
		}
	}
	if err == nil {
		r.layers[key] = a.layers
		return a, false, nil
	}
	var problems config.Problems
	if configured := errors.As(err, &problems); configured {
		err = nil // and noted
	} else {
		problems = config.Problems{dir.why(err)}
		r.note(problems)
	}
	if was != nil && !was.broken {
		r.apps[key], r.layers[key] = was, was.layers
		delete(r.faulty, key)
		return was, true, nil
	}
	a.broken, a.node, a.layers = true, r.broken(a.Path, problems), above
	r.layers[key] = above
	return a, false, err
}

// above returns the layers that hold above the root of an application. Those
// of folders on the way that are no application are read.
func (r *reader) above(root string) ([]merge.Layer, error) {
	if root == "/" {
		return r.base, nil
	}
	for i := 1; i < len(root); i++ {
		if root[i] == '/' && r.apps[strings.ToLower(root[:i])] == nil {
			if _, err := r.child(root[:i], r.layersOf(root[:i]), nil); err != nil {
				return nil, err
			}
		}
	}
	return r.layersOf(root), nil
}

// why says that the folder cannot be served.
func (d *dirDefinition) why(err error) config.Problem {
	p := d.missing
	p.Message = err.Error()
	return p
}

// servable checks that there is something to serve. The operation is the
// caller's to name: a folder is checked and explained as well.
func servable(folder string) error {
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("%s: the folder does not exist", folder)
	case err != nil:
		return fmt.Errorf("%s: %w", folder, err)
	case !info.IsDir():
		return fmt.Errorf("%s: this is a file; give the folder that it is in", folder)
	}
	if _, err := os.ReadDir(folder); err != nil {
		return fmt.Errorf("%s: the folder cannot be read: %w", folder, err)
	}
	return nil
}

// root makes the node of an application's root, and its pool. Problems of the
// configuration that is read there have been noted when they are the error.
func (r *reader) root(a *Application, def *appDefinition, above []merge.Layer, was *Application) error {
	layers, err := r.rootLayers(a, above, was == nil)
	if err != nil {
		var problems config.Problems
		if errors.As(err, &problems) {
			r.faulty[strings.ToLower(a.Path)] = problems
		}
		return err
	}
	a.layers = layers
	settings, problems := merge.Effective(layers, r.at(a.Path), r.resolve)
	r.note(problems)
	if settings == nil {
		r.faulty[strings.ToLower(a.Path)] = problems
		return problems
	}
	r.note(settings.NotDone())
	if r.in.Server == "" && a.Path == "/" {
		a.connections, a.limitsAt = connectionLimits(settings, r.parts.Log)
		r.limitsAt = a.limitsAt
	} else if problems := r.misplacedLimits(settings); problems != nil {
		r.note(problems)
		return problems
	}
	if problems := r.worker(a, def, settings, was); problems.HasErrors() {
		r.note(problems)
		return problems
	}
	if a.Settings == nil {
		r.framework(a)
	}
	a.detailed = r.development(a.variable(r.host))
	a.refused, a.refusedWay = def.pool.refused, def.pool.refusedWay
	a.node = r.node(settings, a.Path, r.mount(a.Path))
	return nil
}

// framework tells an application that only IIS can run.
func (r *reader) framework(a *Application) {
	if sign := recognize.Framework(a.Folder); sign != "" {
		r.note(config.Problems{{Code: config.DotNetFramework, Severity: config.Warning, Pos: config.Pos{File: sign},
			Message: "the application " + a.Name + " is one of ASP.NET for the .NET Framework: it cannot run here, and its files alone are served",
			Hint:    "leave it to IIS on Windows, or port it to ASP.NET Core and name the folder that is published"}})
	}
}

// applicationSection returns the section of the application that the handlers
// give requests to, empty if there is none.
func applicationSection(s *merge.Settings) string {
	for _, e := range s.Section("system.webServer/handlers").Entries() {
		if name, ok := isApplication(e.Text("modules")); ok {
			return name
		}
	}
	return ""
}

// unusedSections tells which sections say how to start an application that the
// handlers do not lead to. used is the one that they lead to.
func unusedSections(s *merge.Settings, used string) (all config.Problems) {
	for _, c := range []struct{ section, module string }{
		{"system.webServer/aspNetCore", "AspNetCoreModuleV2"},
		{"system.webServer/httpPlatform", "httpPlatformHandler"},
	} {
		if e := s.Section(c.section); e.Present && c.section != used {
			why := "no handler gives requests to it"
			if used != "" {
				why = "the application of this folder is that of " + used
			}
			all = append(all, e.Problem("", config.Problem{Code: config.NoHandler, Subject: c.section,
				Message:  c.section + " starts nothing: " + why,
				Expected: `an entry in handlers such as <add name="app" path="*" verb="*" modules="` + c.module + `" resourceType="Unspecified" />`}))
		}
	}
	return all
}

// worker finds out whether there is an application, and sets up its pool.
func (r *reader) worker(a *Application, def *appDefinition, s *merge.Settings, was *Application) config.Problems {
	section := applicationSection(s)
	a.unused = unusedSections(s, section)
	if section == "" {
		return nil
	}
	e := s.Section(section)
	a.section, a.used = section, e.Pos()
	if !e.Present {
		return config.Problems{{Code: config.MissingAttribute, Subject: section, Pos: config.Pos{File: a.WebConfig},
			Message:  "the handlers section gives requests to the application, but " + section + " is missing",
			Expected: "an element that says with processPath how the application is started"}}
	}
	set := r.workerSettings(a, def, s, e, section)
	if r.parts.Owner != nil {
		user, err := r.parts.Owner(a.Folder)
		if err != nil {
			return config.Problems{def.dirs[0].why(err)}
		}
		set.User = user
	}
	a.Settings = set
	a.noProgram = e.Problem("processPath", config.Problem{Code: config.NoProgram, Subject: section + "/@processPath"})
	keys := handlerSettings(e, section)
	a.IgnoreConfigChanges = strings.EqualFold(keys["disallowrotationonconfigchange"], "true")
	r.connect(set, s, e, keys)
	if was != nil && was.Pool != nil {
		a.Pool, a.log = was.Pool, was.log
	} else {
		log := r.parts.Log
		if r.parts.AppLog != nil {
			log, a.log = r.parts.AppLog(set, keys)
		}
		a.Pool = worker.New(set, r.parts.Machine, log)
	}
	pool := a.Pool
	a.handler = aspnetcore.Handler(aspnetcore.Settings{Acquire: func(ctx context.Context) (aspnetcore.Worker, error) {
		w, err := pool.Acquire(ctx)
		if err != nil {
			return nil, err
		}
		return w, nil
	}})
	return nil
}

// workerSettings translates a section into the settings of a pool.
func (r *reader) workerSettings(a *Application, def *appDefinition, s *merge.Settings, e merge.Element, section string) *worker.Settings {
	below := strings.TrimSuffix(a.Path, "/")
	set := &worker.Settings{
		Name:        a.Name,
		Root:        a.Folder,
		VirtualPath: a.Path,
		Identity: worker.Identity{
			Version:       "10.0",
			AppPool:       def.pool.name,
			SiteName:      r.def.name,
			SiteID:        r.def.id,
			AppConfigPath: "MACHINE/WEBROOT/APPHOST/" + r.def.name + below,
			ApplicationID: "/LM/W3SVC/" + r.def.id + "/ROOT" + below,
		},
		ProcessPath:         e.Text("processPath"),
		Arguments:           e.Text("arguments"),
		Environment:         slices.Clone(def.pool.environment),
		Host:                r.in.Environ,
		Secrets:             r.in.Secrets,
		StartupTimeLimit:    time.Duration(e.Int("startupTimeLimit")) * time.Second,
		RapidFailsPerMinute: int(e.Int("rapidFailsPerMinute")),
		Processes:           int(e.Int("processesPerApplication")),
		HTTPSPort:           r.def.httpsPort(),
		NoWebSockets:        !s.Section("system.webServer/webSocket").Bool("enabled"),
	}
	for _, v := range e.Child("environmentVariables").Entries() {
		set.Environment = append(set.Environment, worker.Variable{Name: v.Text("name"), Value: v.Text("value")})
	}
	if e.Bool("stdoutLogEnabled") {
		set.StdoutLog = e.Text("stdoutLogFile")
	}
	if section == "system.webServer/httpPlatform" {
		set.Protocol = worker.HTTPPlatform
		set.ShutdownTimeLimit = 10 * time.Second
		set.Attempts = max(1, int(e.Int("startupRetryCount")))
		return set
	}
	set.ShutdownTimeLimit = time.Duration(e.Int("shutdownTimeLimit")) * time.Second
	set.DisableStartUpErrorPage = e.Bool("disableStartUpErrorPage")
	if e.Text("hostingModel") == "inprocess" {
		r.note(config.Problems{{Code: config.NotDone, Severity: config.Warning, Pos: e.Attribute("hostingModel").Pos,
			Subject: section + "/@hostingModel",
			Message: `hostingModel="inprocess" is served out of process for now: the application runs in a process of its own`}})
	}
	return set
}

// connect gives the settings what joins a pool to the other stages.
func (r *reader) connect(set *worker.Settings, s *merge.Settings, e merge.Element, keys map[string]string) {
	set.DiscardOutput = strings.EqualFold(keys["enableoutofprocessconsoleredirection"], "false")
	if out := r.parts.Output; out != nil {
		name := set.Name
		set.Line = func(pid int, stream string, line []byte) { out(name, pid, stream, line) }
	}
	set.AppOffline = worker.AppOfflineFile(set.Root)
	timeout := e.Duration("requestTimeout")
	passConnection := strings.EqualFold(keys["forwardresponseconnectionheader"], "true")
	set.HTTP2 = speaksHTTP2(s, set, e)
	f, http2, noWebSockets, path := r.parts.Forward, set.HTTP2, set.NoWebSockets, set.VirtualPath
	set.Connect = func(end worker.Endpoint) worker.Channel {
		return f.Channel(forward.Settings{
			Address:        end.Address,
			Token:          end.Token,
			HTTP2:          http2,
			VirtualPath:    path,
			RequestTimeout: timeout,
			PassConnection: passConnection,
			NoWebSockets:   noWebSockets,
			Linger:         end.Linger,
			Refused:        end.Refused,
		})
	}
}

// speaksHTTP2 reports whether the application speaks HTTP/2 on its port, and
// not HTTP/1.1.
func speaksHTTP2(s *merge.Settings, set *worker.Settings, e merge.Element) bool {
	if set.Protocol == worker.HTTPPlatform {
		return s.Section("perch/httpPlatform").Int("applicationProtocol") == 2
	}
	return e.Child("handlerSettings").Setting("perch.applicationProtocol").Number == 2
}

// handlerSettings returns the handlerSetting entries by name in lower case;
// of two with one name the first counts (spec 1.2).
func handlerSettings(e merge.Element, section string) map[string]string {
	keys := make(map[string]string)
	if section != "system.webServer/aspNetCore" {
		return keys
	}
	for _, h := range slices.Backward(e.Child("handlerSettings").Entries()) {
		keys[strings.ToLower(h.Text("name"))] = h.Text("value")
	}
	return keys
}

// development reports whether error pages tell everything to everybody
// (spec 1.5), by the environment that an application has.
func (h *host) development(own func(name string) string) bool {
	detailed := own("ASPNETCORE_DETAILEDERRORS")
	return detailed == "1" || strings.EqualFold(detailed, "true") ||
		strings.EqualFold(own("ASPNETCORE_ENVIRONMENT"), "Development") ||
		strings.EqualFold(own("DOTNET_ENVIRONMENT"), "Development")
}

// variable looks the environment of an application up, where the host's own
// counts before that of web.config.
func (a *Application) variable(h *host) func(name string) string {
	return func(name string) string {
		if v := h.variable(name); v != "" || a.Settings == nil {
			return v
		}
		for _, v := range slices.Backward(a.Settings.Environment) {
			if strings.EqualFold(v.Name, name) {
				return v.Value
			}
		}
		return ""
	}
}

// lookup indexes an environment by name, without regard to case.
func lookup(environ []string) map[string]string {
	m := make(map[string]string, len(environ))
	for _, e := range environ {
		if name, value, ok := strings.Cut(e, "="); ok {
			m[strings.ToUpper(name)] = value
		}
	}
	return m
}

func (h *host) variable(name string) string { return h.environ[strings.ToUpper(name)] }

// resolve is the variables of %NAME% in configuration files. The port is not
// among them: it is chosen when the application starts.
func (h *host) resolve(name string) (string, bool) {
	if strings.EqualFold(name, "HTTP_PLATFORM_PORT") {
		return "", false
	}
	v, ok := h.environ[strings.ToUpper(name)]
	return v, ok
}
