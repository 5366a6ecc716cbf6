// Package plan turns what the administrator wrote into what the stages do: it
// reads the configuration of a folder, checks it, and joins modules, handlers,
// pools and sites into one handler. It is the only package that knows both
// the configuration and the stages.
//
// Build prepares a plan and changes nothing; Commit makes it the one that
// pools follow. internal/daemon owns the running plan, internal/cli builds
// one to check it.
package plan

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/handler/forward"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/module/errorpage"
	"github.com/perchserver/perch/internal/serve"
	"github.com/perchserver/perch/internal/site"
	"github.com/perchserver/perch/internal/worker"
)

// Input is what is to be served.
type Input struct {
	Folder   string           // the application's folder, absolute
	Bindings []listen.Binding // with the ports that were given
	Environ  []string         // of the host, "NAME=value"
	Secrets  []string         // names in Environ that no application may see

	// User runs the application; nil is the host's own.
	User *worker.Account
}

// Parts are the long-lived things that a plan is joined to. They outlive it.
type Parts struct {
	Log     *slog.Logger
	Forward *forward.Forwarder
	Machine worker.Machine

	// AppLog returns the log of one application, which gets the host's lines
	// about it and what its debug settings ask for. Nil: Log.
	AppLog func(root string, handlerSettings map[string]string) *slog.Logger

	// Output is given each line that an application writes. Nil: dropped.
	Output func(application string, pid int, stream string, line []byte)

	// Visited is told each folder whose content the plan has come to depend
	// on. Nil: nobody watches.
	Visited func(folder string)
}

// Plan is one immutable configuration, ready to serve.
type Plan struct {
	Handler exchange.Handler

	// Connections are the limits of every connection.
	Connections serve.Settings

	// Problems is everything found, errors and warnings. A plan with errors
	// serves all the same: the part they concern answers with an error.
	Problems config.Problems

	// Application is what answers in the folder, nil for files alone.
	Application *Application

	// WebConfig is the path of the folder's web.config, empty if there is none.
	WebConfig string

	Bindings []listen.Binding

	good *goodFiles
}

// Application is one application of a plan and the pool it runs in.
type Application struct {
	Settings            *worker.Settings
	Pool                *worker.Pool
	IgnoreConfigChanges bool // disallowRotationOnConfigChange

	known bool // the pool was there before this plan
}

// Build reads the configuration and prepares a plan. prev is the running one,
// whose pools are taken over, or nil. The error is for a folder that cannot be
// served at all; what is wrong inside the configuration is in Problems.
func Build(in Input, parts Parts, prev *Plan) (*Plan, error) {
	_, p, err := build(in, parts, prev)
	return p, err
}

func build(in Input, parts Parts, prev *Plan) (*builder, *Plan, error) {
	b := &builder{in: in, parts: parts, prev: prev, environ: lookup(in.Environ), told: make(map[string]bool)}
	if err := b.folder(); err != nil {
		return nil, nil, err
	}
	p := &Plan{Bindings: in.Bindings, Connections: serve.Settings{Log: parts.Log}}
	b.plan = p
	layer, err := b.rootLayer()
	if err != nil {
		return nil, nil, err
	}
	b.top = b.root(layer)
	p.Handler = errorpage.Module(errorpage.Settings{
		Development: b.development(),
		Log:         parts.Log,
		MoreLink:    b.variable("ANCM_ADDITIONAL_ERROR_PAGE_LINK"),
	})(site.NewTable(b.bindings(site.NewTree(b.top, b.folders()))))
	p.Problems.Sort()
	b.prev = nil // or every plan would hold all before it
	return b, p, nil
}

// Commit lets the pools follow the plan. It cannot fail.
func (p *Plan) Commit(why string) {
	if a := p.Application; a != nil && a.known {
		a.Pool.Replace(a.Settings, why)
	}
}

// Changed reports whether the workers of a have to be replaced, because the
// settings they run with are others than those of b. Functions and the
// host's environment do not count.
func (a *Application) Changed(b *Application) bool {
	if a == nil || b == nil {
		return a != b
	}
	x, y := *a.Settings, *b.Settings
	for _, s := range []*worker.Settings{&x, &y} {
		s.Line, s.AppOffline, s.Connect = nil, nil, nil
	}
	return !reflect.DeepEqual(x, y)
}

// builder is the work on one plan.
type builder struct {
	in      Input
	parts   Parts
	prev    *Plan
	plan    *Plan
	environ map[string]string // names in upper case
	layers  []merge.Layer
	app     exchange.Handler // of the application; nil: none
	top     *site.Node       // of the site's root
	told    map[string]bool  // warnings that were given, by subject

	limitsAt config.Pos // of the limits that hold
}

// folder checks that there is something to serve.
func (b *builder) folder() error {
	info, err := os.Stat(b.in.Folder)
	switch {
	case errors.Is(err, os.ErrNotExist):
		return fmt.Errorf("serve %s: the folder does not exist", b.in.Folder)
	case err != nil:
		return fmt.Errorf("serve %s: %w", b.in.Folder, err)
	case !info.IsDir():
		return fmt.Errorf("serve %s: this is a file; give the folder that it is in", b.in.Folder)
	}
	if _, err := os.ReadDir(b.in.Folder); err != nil {
		return fmt.Errorf("serve %s: the folder cannot be read: %w", b.in.Folder, err)
	}
	return nil
}

// bindings leads every binding to the one site.
func (b *builder) bindings(tree *site.Tree) []site.Binding {
	var all []site.Binding
	for _, l := range b.in.Bindings {
		for _, addr := range l.Addrs() {
			all = append(all, site.Binding{Port: l.Port, Addr: addr, Host: l.Host, Site: tree})
		}
	}
	return all
}

// development reports whether error pages tell everything to everybody
// (spec 1.5). The host's environment counts before that of web.config.
func (b *builder) development() bool {
	own := func(name string) string { return b.variable(name) }
	if app := b.plan.Application; app != nil {
		own = func(name string) string {
			if v := b.variable(name); v != "" {
				return v
			}
			for _, v := range slices.Backward(app.Settings.Environment) {
				if strings.EqualFold(v.Name, name) {
					return v.Value
				}
			}
			return ""
		}
	}
	detailed := own("ASPNETCORE_DETAILEDERRORS")
	return detailed == "1" || strings.EqualFold(detailed, "true") ||
		strings.EqualFold(own("ASPNETCORE_ENVIRONMENT"), "Development") ||
		strings.EqualFold(own("DOTNET_ENVIRONMENT"), "Development")
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

func (b *builder) variable(name string) string { return b.environ[strings.ToUpper(name)] }

// resolve is the variables of web.config's %NAME%. The port is not among
// them: it is chosen when the application starts.
func (b *builder) resolve(name string) (string, bool) {
	if strings.EqualFold(name, "HTTP_PLATFORM_PORT") {
		return "", false
	}
	v, ok := b.environ[strings.ToUpper(name)]
	return v, ok
}

// webConfig finds the file, whose name Windows compares without case.
func webConfig(folder string) string {
	exact := filepath.Join(folder, "web.config")
	if _, err := os.Lstat(exact); err == nil {
		return exact
	}
	entries, err := os.ReadDir(folder)
	if err != nil {
		return ""
	}
	for _, e := range entries {
		if strings.EqualFold(e.Name(), "web.config") {
			return filepath.Join(folder, e.Name())
		}
	}
	return ""
}
