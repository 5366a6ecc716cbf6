package plan

import (
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/module/hsts"
	"github.com/perchserver/perch/internal/worker"
)

// definition is a site as the administrator wrote it, with every default
// filled in.
type definition struct {
	name     string
	id       string
	bindings []listen.Binding
	shown    []certificate   // at each of bindings; nil: what the command line says
	hsts     *hsts.Settings  // nil: none
	places   []config.Pos    // of each of bindings; nil: the command line
	apps     []appDefinition // that of the root first

	connections int64         // at most; 0: as many as come
	idle        time.Duration // of a connection; 0: as all
	bandwidth   int64         // bytes a second of all responses; 0: no limit
	segments    int           // of a path, at most; 0: no limit

	written *definition // what it is a copy of, in which no port was chosen; nil: none
}

// appDefinition is an application of a site.
type appDefinition struct {
	path string // in the site: "/", "/shop"
	pool poolDefinition
	dirs []dirDefinition // that of the root first
}

// poolDefinition is what the application's pool says.
type poolDefinition struct {
	name        string
	refused     string            // why it serves nothing; empty: it does
	refusedWay  []string          // out of that
	environment []worker.Variable // before that of the application
	noOverride  bool              // no web.config is read
}

// dirDefinition is a virtual directory of an application.
type dirDefinition struct {
	path        string // in the application: "/", "/files"
	folder      string // absolute
	noSubConfig bool   // below folder no web.config is read

	// missing is what to tell when the folder cannot be served, but for its
	// message.
	missing config.Problem
}

// httpsPort is the port of the https bindings, 0 if there are none, or several
// ports.
func (d *definition) httpsPort() (port uint16) {
	for _, b := range d.bindings {
		if !b.TLS {
			continue
		}
		if port != 0 && port != b.Port {
			return 0
		}
		port = b.Port
	}
	return port
}

// same reports whether two definitions differ at most in where they stand.
func (d *definition) same(o *definition) bool {
	if d.written != nil && d.written == o.written && slices.Equal(d.bindings, o.bindings) {
		return true
	}
	return reflect.DeepEqual(d.unplaced(), o.unplaced())
}

func (d *definition) unplaced() definition {
	c := *d
	c.places, c.written = nil, nil
	c.apps = make([]appDefinition, len(d.apps))
	for i, a := range d.apps {
		c.apps[i] = a
		c.apps[i].dirs = make([]dirDefinition, len(a.dirs))
		for j, dir := range a.dirs {
			dir.missing = config.Problem{}
			c.apps[i].dirs[j] = dir
		}
	}
	c.shown = slices.Clone(d.shown)
	for i := range c.shown {
		c.shown[i].bad = config.Problem{}
	}
	return c
}

// definitions returns the sites to serve: those of the server's file, or one
// with the folder as its only application. They are the builder's own. The
// error is a config.Problems: a file with an error that the running plan does
// not have is not taken over, or a slip would take a site from the air.
func (b *builder) definitions() ([]*definition, error) {
	if s := b.plan.server; s != nil {
		defs, problems := s.defined(len(b.in.Certificates) > 0)
		if b.prev != nil {
			if fresh, rest := newErrors(problems, b.prev.faults); len(fresh) > 0 {
				all := slices.Clip(s.problems)
				for _, p := range append(fresh, rest...) {
					all.Add(p)
				}
				return nil, all
			}
		}
		b.plan.faults = problems
		b.note(s.problems)
		b.note(problems)
		return defs, nil
	}
	name := strings.Trim(filepath.Base(b.in.Folder), `./\`)
	if name == "" {
		name = "site" // of the root of a file system
	}
	return []*definition{{
		name:     name,
		id:       "1",
		bindings: b.in.Bindings,
		apps: []appDefinition{{
			path: "/",
			pool: poolDefinition{name: name},
			dirs: []dirDefinition{{path: "/", folder: b.in.Folder, missing: config.Problem{Code: config.NoPhysicalPath}}},
		}},
	}}, nil
}

// newErrors returns the errors among problems that are not among those before,
// wherever they stand, and the other problems.
func newErrors(problems, before config.Problems) (fresh, rest config.Problems) {
	type fault struct {
		code    config.Code
		message string
	}
	had := make(map[fault]bool)
	for _, p := range before {
		had[fault{p.Code, p.Message}] = true
	}
	for _, p := range problems {
		if p.Severity == config.Error && !had[fault{p.Code, p.Message}] {
			fresh = append(fresh, p)
		} else {
			rest = append(rest, p)
		}
	}
	return fresh, rest
}
