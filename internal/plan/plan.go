// Package plan turns what the administrator wrote into what the stages do: it
// reads the configuration of a server or of one folder, checks it, and joins
// modules, handlers, pools and sites into one handler. It is the only package
// that knows both the configuration and the stages.
//
// Build prepares a plan; Commit makes it the one that pools follow.
// internal/daemon owns the running plan, internal/cli builds one to check it.
package plan

import (
	"crypto/tls"
	"hash/maphash"
	"io"
	"log/slog"
	"strings"

	"github.com/perchserver/perch/internal/certs"
	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/handler/forward"
	"github.com/perchserver/perch/internal/handler/static"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/module/errorpage"
	"github.com/perchserver/perch/internal/serve"
	"github.com/perchserver/perch/internal/site"
	"github.com/perchserver/perch/internal/worker"
)

// Input is what is to be served: the sites of an applicationHost.config, or
// one folder as a site of its own.
type Input struct {
	Server string // path of applicationHost.config, absolute; empty: Folder is served

	Folder   string           // of the site's application, absolute
	Bindings []listen.Binding // of the site

	// Certificates are where those of TLS bindings are. None: see Parts.Issue.
	Certificates []certs.Source

	// ClientAuthorities is a PEM file of who vouches for the certificates of
	// clients. Empty: whom the system trusts.
	ClientAuthorities string

	Environ []string // of the host, "NAME=value"
	Secrets []string // names in Environ that no application may see

	// Draft is read in place of the file of its path.
	Draft *Draft

	// Checked notes every warning where it stands, and not one for many
	// places: for who reads them all at once.
	Checked bool

	// Every finds every error, and not the first config.MaxErrors of a file:
	// for who compares them.
	Every bool

	// Explained keeps what explains a plan, which serving does without.
	Explained bool

	// Patient keeps the application of the plan before whose web.config is
	// gone: a deployment that moves folders takes it away for a moment.
	Patient bool
}

// Parts are the long-lived things that a plan is joined to. They outlive it.
type Parts struct {
	Log     *slog.Logger
	Forward *forward.Forwarder
	Machine worker.Machine
	Files   *static.Cache // nil: every request opens its file

	// Listen opens what is not open yet for the bindings, and returns them in
	// their order with the ports that the system chose. Nil: nobody listens.
	Listen func([]listen.Binding) ([]listen.Binding, error)

	// Owner tells which user runs the applications of a folder, nil for the
	// host's own. It may be nil.
	Owner func(folder string) (*worker.Account, error)

	// AppLog returns the log of one application, which gets the host's lines
	// about it and what its debug settings ask for, and what closes it. Nil:
	// Log.
	AppLog func(settings *worker.Settings, handlerSettings map[string]string) (*slog.Logger, io.Closer)

	// Output is given each line that an application writes. Nil: dropped.
	Output func(application string, pid int, stream string, line []byte)

	// Visited is told each folder whose content the plan has come to depend
	// on. Nil: nobody watches.
	Visited func(folder string)

	// Issue makes a development certificate for a name. Nil: there are none.
	Issue func(name string) (*tls.Certificate, error)
}

// Plan is one immutable configuration, ready to serve.
type Plan struct {
	Handler exchange.Handler

	// Connections are the limits of every connection.
	Connections serve.Settings

	// Secure is what clients of the TLS bindings are shown.
	Secure []certs.Binding

	// Problems is everything found, errors and warnings. A plan with errors
	// serves all the same: the part they concern stays as it was in the plan
	// before, or answers with an error where there is none.
	Problems config.Problems

	// Sites are those that are served.
	Sites []*Site

	*host
	table  *site.Table
	server *server               // nil: a folder is served
	faults config.Problems       // of the sites in its file
	byName map[string]*Site      // by name in lower case
	kept   map[*Application]bool // taken over because what is there now cannot be used
}

// host is what the sites of a plan share. It does not change, and plans hand
// it on as long as the server's file stays. A site that is taken over keeps its
// own, if it would inherit the same from a new one.
type host struct {
	in      Input
	parts   Parts
	environ map[string]string // names in upper case
	base    []merge.Layer     // outside of all sites
	parent  *merge.File       // of the server in base; nil: a folder is served
	seed    maphash.Seed      // of the sums of files
	bequest uint64            // of the server: see there
	ends    int               // of the server: see there

	limitsAt config.Pos // of the limits of connections in the server's file

	// The pages of errors, and those that tell everything to everybody.
	pages, detailedPages exchange.Module
}

// Build reads the configuration and prepares a plan. prev is the running one,
// whose pools are taken over, and its sites where nothing has changed, or
// nil. The error is for what cannot be served at all; what is wrong inside the
// configuration is in Problems.
func Build(in Input, parts Parts, prev *Plan) (*Plan, error) {
	b, err := newBuilder(in, parts, prev)
	if err != nil {
		return nil, err
	}
	defs, err := b.definitions()
	if err != nil {
		return nil, err
	}
	if err := b.listen(defs); err != nil {
		return nil, err
	}
	for _, def := range defs {
		s, err := b.site(def)
		if err != nil {
			return nil, err
		}
		b.plan.Sites = append(b.plan.Sites, s)
		b.plan.byName[strings.ToLower(s.Name)] = s
		b.note(b.placed(s))
	}
	b.plan.table = b.table()
	b.plan.Handler = b.plan.table
	b.plan.Connections = b.connections()
	b.plan.Secure = b.secure()
	b.plan.Problems.Sort()
	return b.plan, nil
}

// builder is the work on one plan.
type builder struct {
	*host
	in   Input // of this plan
	prev *Plan
	plan *Plan
	told map[string]bool // problems that were noted
}

func newBuilder(in Input, parts Parts, prev *Plan) (*builder, error) {
	b := &builder{in: in, prev: prev, told: make(map[string]bool)}
	b.plan = &Plan{byName: make(map[string]*Site), kept: make(map[*Application]bool)}
	seed := maphash.MakeSeed()
	if prev != nil {
		seed, b.host, b.plan.server = prev.seed, prev.host, prev.server
	}
	if in.Server != "" && (prev == nil || prev.server.changed(seed)) {
		s, err := readServer(in, seed)
		if err != nil {
			return nil, err
		}
		b.plan.server = s
	}
	if prev == nil || b.plan.server != prev.server {
		h, err := newHost(in, parts, b.plan.server, seed)
		if err != nil {
			return nil, err
		}
		b.host = h
	}
	b.plan.host = b.host
	return b, nil
}

func newHost(in Input, parts Parts, s *server, seed maphash.Seed) (h *host, err error) {
	h = &host{in: in, parts: parts, environ: lookup(in.Environ), seed: seed}
	if h.base, err = baseLayers(s); err != nil {
		return nil, err
	}
	if s != nil {
		h.parent, h.bequest, h.ends = s.file, s.bequest, s.ends
		_, h.limitsAt = connectionLimits(s.settings, parts.Log)
	}
	set := errorpage.Settings{
		Development: h.development(h.variable),
		Log:         parts.Log,
		MoreLink:    h.variable("ANCM_ADDITIONAL_ERROR_PAGE_LINK"),
	}
	h.pages = errorpage.Module(set)
	set.Development = true
	h.detailedPages = errorpage.Module(set)
	return h, nil
}

// add appends a problem to a list that may be limited.
func (in *Input) add(problems *config.Problems, p config.Problem) {
	if in.Every {
		*problems = append(*problems, p)
	} else {
		problems.Add(p)
	}
}

// note adds problems to those of the plan. Sites that share a file share its
// problems.
func (b *builder) note(problems config.Problems) {
	for _, p := range problems {
		if line := p.String(); !b.told[line] {
			b.told[line] = true
			b.in.add(&b.plan.Problems, p)
		}
	}
}

// listen opens the sockets of all sites.
func (b *builder) listen(defs []*definition) error {
	if b.parts.Listen == nil {
		return nil
	}
	if s := b.plan.server; s != nil && b.prev == nil {
		// Later it is no error: the last site of a running host may go.
		if none := s.nothingListens(defs); none != nil {
			return append(none, b.plan.Problems...)
		}
	}
	var wanted []listen.Binding
	for _, d := range defs {
		wanted = append(wanted, d.bindings...)
	}
	open, err := b.parts.Listen(wanted)
	if err != nil {
		return err
	}
	for _, d := range defs {
		d.bindings, open = open[:len(d.bindings):len(d.bindings)], open[len(d.bindings):]
	}
	return nil
}

// connections are the limits of connections: those of the server, or of the
// folder that is all there is.
func (b *builder) connections() serve.Settings {
	if s := b.plan.server; s != nil {
		return s.connections(b.parts.Log)
	}
	if root := b.plan.Sites[0].Applications[0]; !root.broken {
		return root.connections
	}
	return serve.Settings{Log: b.parts.Log}
}

// table leads every binding to its site.
func (b *builder) table() *site.Table {
	var all []site.Binding
	for _, s := range b.plan.Sites {
		for _, l := range s.def.bindings {
			for _, addr := range l.Addrs() {
				claim := site.Binding{Port: l.Port, Addr: addr, Host: l.Host, Site: s.tree, Idle: s.def.idle}
				if s.def.connections > 0 {
					claim.Quota = s.quota
				}
				all = append(all, claim)
			}
		}
	}
	return site.NewTable(all, func(err error) exchange.Handler {
		return b.pages(exchange.HandlerFunc(func(*exchange.Exchange) error { return err }))
	})
}

// Commit lets the pools follow the plan, which becomes the running one in
// place of before, nil for the first. Workers are replaced if what they run with has changed, or
// if their application is in the folder touched, whose web.config was
// written; empty: none was. It cannot fail. The pools of the applications that
// it returns are nobody's any more: the caller retires them.
func (p *Plan) Commit(before *Plan, touched, why string) (retired []*Application) {
	for _, s := range p.Sites {
		s.quota.Limit(s.def.connections)
		s.bandwidth.Limit(s.def.bandwidth)
	}
	if before == nil {
		return nil
	}
	for _, s := range before.Sites {
		for _, was := range s.Applications {
			is := p.application(s.Name, was.Path)
			if was.Pool != nil && (is == nil || is.Pool != was.Pool) {
				retired = append(retired, was)
			}
			if was.Pool == nil || is == nil || is.Pool != was.Pool || p.kept[is] {
				continue
			}
			if is.Changed(was) || is.Folder == touched && !is.IgnoreConfigChanges {
				is.Pool.Replace(is.Settings, why)
			}
		}
	}
	return retired
}

// SameServer reports whether a plan goes by the same applicationHost.config as
// before did: neither that has changed, nor a file that it includes.
func (p *Plan) SameServer(before *Plan) bool { return p.server == before.server }

// Kept reports whether an application in a folder stays as it was in the plan
// before, because what is there now cannot be used.
func (p *Plan) Kept(folder string) bool {
	for a := range p.kept {
		if a.Folder == folder {
			return true
		}
	}
	return false
}

// application returns the application at a path of a site, nil if there is
// none.
func (p *Plan) application(name, path string) *Application {
	if s := p.byName[strings.ToLower(name)]; s != nil {
		return s.application(path)
	}
	return nil
}

// Included returns the files beside the server's that it takes sections from,
// by the names that it has for them.
func (p *Plan) Included() []string {
	if p == nil || p.server == nil {
		return nil
	}
	return p.server.file.Includes()
}

// Folders calls f for every folder that the plan depends on.
func (p *Plan) Folders(f func(folder string)) {
	for _, s := range p.Sites {
		s.reader.eachFolder(f)
	}
}

// Applications yields the applications of all sites. A nil plan has none.
func (p *Plan) Applications(yield func(*Application) bool) {
	if p == nil {
		return
	}
	for _, s := range p.Sites {
		for _, a := range s.Applications {
			if !yield(a) {
				return
			}
		}
	}
}

// Pools reports whether an application of the plan has workers.
func (p *Plan) Pools() bool {
	for a := range p.Applications {
		if a.Pool != nil {
			return true
		}
	}
	return false
}
