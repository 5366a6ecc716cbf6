// Package daemon puts a running host together: it builds the plan, starts the
// stages in their order, follows changes of the configuration and of the
// applications' files, and stops everything in the reverse order. It owns what
// outlives a plan: listeners, connections, pools, the guardian.
//
// internal/cli imports it; it imports the plan and the stages.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/perchserver/perch/internal/admin"
	"github.com/perchserver/perch/internal/certs"
	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/handler/forward"
	"github.com/perchserver/perch/internal/handler/static"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/logs"
	"github.com/perchserver/perch/internal/plan"
	"github.com/perchserver/perch/internal/serve"
	"github.com/perchserver/perch/internal/sockio"
	"github.com/perchserver/perch/internal/worker"
	"github.com/perchserver/perch/internal/worker/spawn"
)

// Options say what to run: the sites of an applicationHost.config, or one
// folder.
type Options struct {
	Server   string           // path of applicationHost.config, absolute; empty: Folder is served
	Folder   string           // absolute
	Bindings []listen.Binding // of Folder
	Environ  []string
	Log      *slog.Logger

	// Certificates are those of the TLS bindings, tried in their order.
	// None: localhost gets a development certificate.
	Certificates []certs.Source

	// ClientAuthorities is a PEM file of who vouches for the certificates of
	// clients. Empty: whom the system trusts.
	ClientAuthorities string

	// Executable and GuardianArgs start this program in the guardian's role.
	Executable   string
	GuardianArgs []string

	// Control is the folder of the control socket; empty: there is none.
	Control string

	Version string    // of this program, for debug logs
	Stderr  io.Writer // where debug logs with the console token go
}

// Daemon is a running host.
type Daemon struct {
	opts    Options
	watcher *sockio.Watcher
	forward *forward.Forwarder
	cache   *static.Cache
	system  *worker.System
	sockets *listen.Group

	// reopened are the sockets of a plan that is not taken over yet.
	reopened *listen.Group

	server  *serve.Server
	files   *files
	certs   *certs.Table
	issuer  issuer
	control *admin.Server

	mu      sync.Mutex // a change at a time
	current atomic.Pointer[plan.Plan]
	told    map[string]bool // problems of the running plan

	badCertificates map[string]bool // of the running plan, as they were told
	asRoot          map[string]bool // folders of applications that were told to run as root

	retiring sync.WaitGroup     // applications that no plan has any more
	retire   context.Context    // ends when they have to end at once
	hurry    context.CancelFunc // ends it

	accepting     context.Context // ends with the first step of Stop
	stopAccepting context.CancelFunc
}

// Start starts everything, in this order: clock and idle connections, the
// forwarder, the cache of open files, the plan with its sockets, the server,
// the watch over files, the control socket. If one step fails, what was
// started is stopped again.
func Start(o Options) (*Daemon, error) {
	d := &Daemon{opts: o, certs: certs.NewTable(o.Log), issuer: issuer{environ: o.Environ, log: o.Log}, asRoot: make(map[string]bool)}
	d.retire, d.hurry = context.WithCancel(context.Background())
	d.accepting, d.stopAccepting = context.WithCancel(context.Background())
	steps := []func() error{d.startWatcher, d.startSystem, d.build, d.startServer, d.startControl}
	for _, step := range steps {
		if err := step(); err != nil {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			return nil, errors.Join(err, d.Stop(ctx, 0))
		}
	}
	return d, nil
}

func (d *Daemon) startWatcher() (err error) {
	if d.watcher, err = sockio.NewWatcher(); err != nil {
		return fmt.Errorf("watch connections: %w", err)
	}
	d.forward = forward.New(d.watcher)
	d.cache = static.NewCache()
	return nil
}

func (d *Daemon) startSystem() error {
	d.system = worker.NewSystem(spawn.Options{
		Executable: d.opts.Executable,
		Args:       d.opts.GuardianArgs,
		Log:        d.opts.Log,
	}, d.opts.Log)
	return nil
}

// build makes the first plan.
func (d *Daemon) build() error {
	d.files = newFiles(d)
	p, err := plan.Build(d.input(), d.parts(), nil)
	if err != nil {
		return err
	}
	d.secure(p)
	p.Commit(nil, "", "start")
	d.current.Store(p)
	d.tell(p.Problems)
	if own := d.opts.Certificates; len(own) > 0 && !slices.ContainsFunc(p.Secure, func(b certs.Binding) bool { return slices.Contains(b.Sources, own[0]) }) {
		d.opts.Log.Warn("nothing uses the certificates of --cert: there is no https binding without one of its own")
	}
	if p.Problems.HasErrors() {
		d.opts.Log.Error("what the errors concern is answered with an error until the configuration is mended", "configuration", d.subject())
	}
	return nil
}

// subject is what is served: a file, or a folder.
func (d *Daemon) subject() string {
	if d.opts.Server != "" {
		return d.opts.Server
	}
	return d.opts.Folder
}

func (d *Daemon) input() plan.Input {
	return plan.Input{Server: d.opts.Server, Folder: d.opts.Folder, Bindings: d.opts.Bindings,
		Certificates: d.opts.Certificates, ClientAuthorities: d.opts.ClientAuthorities, Environ: d.opts.Environ}
}

func (d *Daemon) parts() plan.Parts {
	return plan.Parts{
		Log:     d.opts.Log,
		Forward: d.forward,
		Files:   d.cache,
		Machine: d.system,
		Listen:  d.listen,
		Owner:   owner,
		AppLog:  d.applicationLog,
		Output:  d.output,
		Visited: d.files.visited,
		Issue:   d.issuer.issue,
	}
}

// listen opens the sockets that the bindings of a plan need, beside those that
// are open. They are accepted from when the plan is taken over.
func (d *Daemon) listen(bindings []listen.Binding) ([]listen.Binding, error) {
	next, err := d.sockets.Reopen(bindings)
	if err != nil {
		return nil, err
	}
	d.reopened = next
	return next.Opened(bindings), nil
}

// useSockets accepts from the sockets of the plan, and closes those that it
// has no binding for.
func (d *Daemon) useSockets() {
	before := d.sockets
	d.sockets, d.reopened = d.reopened, nil
	if err := before.HandOver(d.sockets, time.Now()); err != nil {
		d.opts.Log.Error("the sockets are not as they should be", "err", err)
	}
	for _, s := range d.sockets.Sockets {
		l := serve.Listener{Listener: s.Listener, URL: s.URL}
		if s.TLS {
			l.TLS, l.Verify = d.certs.Config(), d.certs.Verify
		}
		d.server.Serve(l)
	}
	if d.sockets.Leaving() {
		d.retiring.Go(d.expireSockets)
	}
}

// expireSockets closes the sockets whose last connections have come by now.
func (d *Daemon) expireSockets() {
	t := time.NewTimer(listen.Handover)
	defer t.Stop()
	select {
	case <-t.C:
	case <-d.accepting.Done():
		return // Stop closes them
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.sockets.Expire(time.Now()); err != nil {
		d.opts.Log.Warn("a socket did not close", "err", err)
	}
}

func (d *Daemon) startServer() error {
	d.server = serve.New(d.running().Connections, d.watcher, d.running().Handler)
	d.useSockets()
	d.files.follow(d.running())
	d.tellRoot(d.running())
	if d.running().Pools() {
		d.system.Prepare()
	}
	return nil
}

// output logs one line of an application.
func (d *Daemon) output(application string, pid int, stream string, line []byte) {
	logs.Line(d.opts.Log, application, pid, stream, line)
}

// applicationLog opens the debug log that the environment and web.config ask
// for, beside the host's log (spec 5.4).
func (d *Daemon) applicationLog(application *worker.Settings, settings map[string]string) (*slog.Logger, io.Closer) {
	environ := func(name string) string {
		for _, e := range d.opts.Environ {
			if n, value, ok := strings.Cut(e, "="); ok && strings.EqualFold(n, name) {
				return value
			}
		}
		return ""
	}
	own := logs.DebugSource{Level: settings["debuglevel"], File: settings["debugfile"]}
	if application.User != nil && own.File != "" && !filepath.IsLocal(strings.ReplaceAll(own.File, `\`, "/")) {
		// The file would be opened with the rights of root, and web.config is
		// in the hands of somebody else.
		d.opts.Log.Warn("debugFile leads out of the application's folder and is left out: the folder does not belong to root", "file", own.File)
		own.File = ""
	}
	debug, err := logs.OpenDebug(logs.DebugOptions{
		Root:    application.Root,
		Sources: []logs.DebugSource{logs.DebugEnvironment(environ), own},
		Console: d.opts.Stderr,
		Program: "perch",
		Version: d.opts.Version,
	})
	if err != nil {
		d.opts.Log.Warn("the debug log is not as it should be", "err", err)
	}
	return debug.Logger(d.opts.Log), debug
}

// tell logs the problems of a plan that were not in the one before.
func (d *Daemon) tell(problems config.Problems) {
	told := make(map[string]bool, len(problems))
	for _, p := range problems {
		line := p.String()
		if told[line] = true; d.told[line] {
			continue
		}
		p.Log(d.opts.Log)
	}
	d.told = told
}

// tellRoot warns of applications that run as root, once for each folder.
func (d *Daemon) tellRoot(p *plan.Plan) {
	var fresh []string
	for a := range p.Applications {
		if a.Pool != nil && asRoot(a.Settings.User) && !d.asRoot[a.Folder] {
			d.asRoot[a.Folder] = true
			fresh = append(fresh, a.Folder)
		}
	}
	if len(fresh) > 0 {
		d.opts.Log.Warn("applications run as root, because their folders belong to root: give each folder to a user of its own (chown -R USER FOLDER)",
			"folders", listed(fresh))
	}
}

// URLs are where the host listens, one for each binding.
func (d *Daemon) URLs() []string { return d.sockets.URLs() }

// change is why the configuration is read again.
type change struct {
	why string

	// touched is the folder of the application whose own web.config was
	// written, empty if none was: its workers are replaced though its settings
	// stay (spec 2.12: touching web.config is enough).
	touched string

	// asked is set when somebody wants to know that it was done.
	asked bool

	// noticed is set when applicationHost.config is known to have changed, by a
	// watch or from the command that edited it. The other one may have come
	// before: what was taken over is not told again.
	noticed bool
}

// Reload reads the configuration again and, if it can be used, makes it the
// running one: a new plan is built beside the old one, which goes on serving
// if there cannot be a new one. Parts of it that have errors stay as they
// were. Workers are replaced if what they run with has changed. It returns
// every problem found, and the error that kept the old plan.
func (d *Daemon) Reload(why string) (config.Problems, error) {
	return d.reload(change{why: why, asked: true})
}

func (d *Daemon) reload(c change) (config.Problems, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.running()
	in := d.input()
	in.Patient = !c.asked
	next, err := plan.Build(in, d.parts(), before)
	if err != nil {
		if d.reopened != nil {
			d.reopened.CloseExcept(d.sockets)
			d.reopened = nil
		}
		d.opts.Log.Error("the configuration was not taken over; the one before stays", "why", c.why, "err", err)
		var problems config.Problems
		if errors.As(err, &problems) {
			d.tell(problems)
		}
		return problems, err
	}
	switch same := next.SameServer(before); {
	case same && c.noticed:
		c.asked = false
	case !same && !c.asked && c.touched == "":
		c.asked, c.why = true, filepath.Base(d.opts.Server)+" changed" // the watch comes second
	}
	d.tell(next.Problems)
	if next.Problems.HasErrors() && (c.asked || c.touched != "") {
		d.opts.Log.Error("the configuration has errors: what they concern stays as it was", "why", c.why)
	}
	d.adopt(before, next, c)
	return next.Problems, nil
}

// adopt makes next the running plan.
func (d *Daemon) adopt(before, next *plan.Plan, c change) {
	d.secure(next)
	d.current.Store(next)
	d.server.Apply(next.Connections)
	d.server.SetHandler(next.Handler)
	d.useSockets()
	d.files.follow(next)
	d.tellRoot(next)
	for _, a := range next.Commit(before, c.touched, c.why) {
		d.retiring.Go(func() { d.end(a) })
	}
	if (c.asked || c.touched != "" && !next.Kept(c.touched)) && !next.Problems.HasErrors() {
		d.opts.Log.Info("configuration taken over", "why", c.why)
	}
}

// end stops the pool of an application that no plan has any more.
func (d *Daemon) end(a *plan.Application) {
	ctx, cancel := context.WithTimeout(d.retire, time.Minute)
	defer cancel()
	if err := a.Stop(ctx); err != nil {
		d.opts.Log.Warn("the log of an application did not close", "application", a.Name, "err", err)
	}
}

// awaitRequests lets the requests end that came before the stop, with the
// starts that they wait for. WebSockets do not count: what ends them is that
// the application is asked to stop.
func awaitRequests(ctx context.Context, pool *worker.Pool) {
	const look = 20 * time.Millisecond
	t := time.NewTicker(look)
	defer t.Stop()
	for busy(pool.Status()) {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

func busy(s worker.Status) bool {
	return s.Starting > 0 || slices.ContainsFunc(s.Workers, func(w worker.WorkerStatus) bool { return w.Serving > 0 })
}

// Stop stops everything, in the reverse order of Start: no new connection, no
// new configuration, then every application as soon as it has no request in
// flight (WebSockets end with it), then the rest. What is in flight after
// drain is cut, which is an error; the applications still have their
// shutdownTimeLimit then. When ctx ends, everything ends at once.
func (d *Daemon) Stop(ctx context.Context, drain time.Duration) error {
	var errs []error
	draining, cancel := context.WithTimeoutCause(ctx, drain, fmt.Errorf("they did not end within %v", drain))
	defer cancel()
	d.stopAccepting()
	if d.control != nil {
		errs = append(errs, d.control.Close())
	}
	if d.files != nil {
		d.files.stop()
	}
	if d.server != nil {
		d.server.StopAccepting()
	}
	defer d.hurry()
	defer context.AfterFunc(draining, d.hurry)()
	stopped := make(chan error, 1)
	go func() { stopped <- d.stopApplications(ctx, draining) }()
	if d.server != nil {
		if err := d.server.Shutdown(draining); err != nil {
			errs = append(errs, fmt.Errorf("requests were cut: %w", err))
		}
	}
	errs = append(errs, <-stopped)
	d.retiring.Wait()
	for _, g := range []*listen.Group{d.sockets, d.reopened} {
		if g != nil {
			g.Close()
		}
	}
	if d.system != nil {
		// The applications are gone; the guardian needs no time of theirs.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if err := d.system.Close(ctx); err != nil {
			errs = append(errs, err)
		}
	}
	if d.cache != nil {
		d.cache.Close()
	}
	if d.forward != nil {
		d.forward.Close()
	}
	if d.watcher != nil {
		d.watcher.Close()
	}
	return errors.Join(errs...)
}

// stopApplications stops those of the running plan, all at the same time: each
// when its requests have ended, or draining has.
func (d *Daemon) stopApplications(ctx, draining context.Context) error {
	var stopping sync.WaitGroup
	var mu sync.Mutex
	var errs []error
	for a := range d.running().Applications {
		if a.Pool == nil {
			continue
		}
		stopping.Go(func() {
			awaitRequests(draining, a.Pool)
			err := a.Stop(ctx)
			mu.Lock()
			errs = append(errs, err)
			mu.Unlock()
		})
	}
	stopping.Wait()
	return errors.Join(errs...)
}
