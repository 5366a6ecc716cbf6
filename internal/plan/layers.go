package plan

import (
	_ "embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/config/recognize"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/ownfile"
	"github.com/perchserver/perch/internal/site"
)

// defaults is the outermost layer: what IIS's own applicationHost.config says
// where nobody says otherwise, as far as Perch acts on it.
//
//go:embed defaults.config
var defaults []byte

// rootLayer reads the folder's own web.config. Where that names no
// application, or is not there, what the folder is recognised to hold lies
// beneath it: a file that only sets a limit must not turn an application into
// a folder whose files are published.
func (b *builder) rootLayer() (merge.Layer, error) {
	builtIn, problems := merge.Load("built-in defaults", defaults)
	if problems.HasErrors() {
		return merge.Layer{}, fmt.Errorf("built-in configuration: %w", problems.Err())
	}
	b.layers = []merge.Layer{{File: builtIn, At: "/"}}
	b.plan.WebConfig = webConfig(b.in.Folder)
	layer := merge.Layer{At: "/", Application: true}
	if b.plan.WebConfig != "" {
		if layer.File = b.load(b.plan.WebConfig); layer.File == nil || namesApplication(layer) {
			return layer, nil
		}
	}
	found, err := recognize.Folder(b.in.Folder)
	switch {
	case err != nil && layer.File != nil:
		return layer, nil // the file says that files are served
	case err != nil:
		return layer, err
	case found.Section == "":
		b.first("the folder holds no application: its files are served")
		return layer, nil
	}
	b.first("web.config names no application: " + found.Why)
	recognised, problems := merge.Load(filepath.Join(b.in.Folder, "web.config")+" (recognised)", recognize.WebConfig(found))
	if problems.HasErrors() {
		return layer, fmt.Errorf("configuration for the recognised application: %w", problems.Err())
	}
	b.layers = append(b.layers, merge.Layer{File: recognised, At: "/", Application: true})
	return layer, nil
}

// first logs what is worth a line at the start, and not at every reload.
func (b *builder) first(line string) {
	if b.prev == nil {
		b.parts.Log.Info(line, "folder", b.in.Folder)
	}
}

// namesApplication reports whether a file decides itself who handles
// requests: it has a section of an application, or clears the handlers.
func namesApplication(layer merge.Layer) bool {
	layer.At = "/"
	s, _ := merge.Effective([]merge.Layer{layer}, "/", nil)
	if s == nil {
		return true // its errors will be told
	}
	for _, e := range s.Section("system.webServer/handlers").Entries() {
		if _, ok := isApplication(e.Text("modules")); ok || isStatic(e.Text("modules")) {
			return true
		}
	}
	return s.Section("system.webServer/aspNetCore").Present || s.Section("system.webServer/httpPlatform").Present
}

// maxFile is more than the reader of XML accepts, which says so better.
const maxFile = 11 << 20

// load reads and checks one file. What it finds wrong is noted; the result is
// nil if the file cannot be used.
func (b *builder) load(path string) *merge.File {
	data, err := ownfile.Read(filepath.Dir(path), filepath.Base(path), maxFile)
	if err != nil {
		b.plan.Problems.Add(config.Problem{Code: config.NotText, Pos: config.Pos{File: path},
			Message: "the file cannot be read: " + cause(err)})
		return nil
	}
	file, problems := merge.Load(path, data)
	b.note(problems)
	if problems.HasErrors() {
		return nil
	}
	return file
}

// cause is the bare reason of a file error, whose path is told elsewhere.
func cause(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// note adds problems to those of the plan; a warning once for each subject.
func (b *builder) note(problems config.Problems) {
	for _, p := range problems {
		if p.Severity == config.Warning && p.Subject != "" {
			if b.told[p.Subject] {
				continue
			}
			b.told[p.Subject] = true
		}
		b.plan.Problems.Add(p)
	}
}

// root makes the node of the site's root, and the application.
func (b *builder) root(layer merge.Layer) *site.Node {
	before := b.plan.Problems
	if b.plan.WebConfig != "" && layer.File == nil {
		return b.broken(before)
	}
	b.layers = append(b.layers, layer)
	settings, problems := merge.Effective(b.layers, "/", b.resolve)
	b.note(problems)
	if settings == nil {
		return b.broken(problems)
	}
	b.note(settings.NotDone())
	b.limits(settings)
	if problems := b.application(settings); problems.HasErrors() {
		b.note(problems)
		return b.broken(problems)
	}
	return b.node(settings)
}

// broken is the node of a part whose configuration is in error: it answers
// 500.19, or 500.0 where the module's own section is at fault (spec 1.3).
func (b *builder) broken(problems config.Problems) *site.Node {
	e := &exchange.Error{Status: 500, SubStatus: 19, Op: "read configuration",
		Public: "The configuration of this part of the site is in error", Err: &configError{problems}}
	for _, p := range problems {
		if p.Severity == config.Error && strings.HasPrefix(p.Subject, "system.webServer/aspNetCore") {
			e.SubStatus = 0
		}
	}
	return &site.Node{Chain: exchange.HandlerFunc(func(*exchange.Exchange) error { return e })}
}

// configError tells problems of the configuration on an error page.
type configError struct{ problems config.Problems }

func (e *configError) Error() string { return e.problems.Error() }

// Report implements exchange.Reporter.
func (e *configError) Report() exchange.Report {
	r := exchange.Report{Title: "The configuration is in error", Step: "read configuration"}
	for _, p := range e.problems {
		if p.Severity != config.Error {
			continue
		}
		r.Facts = append(r.Facts, exchange.Fact{Name: p.Pos.String(), Value: p.Detail()})
		if p.Hint != "" {
			r.Advice = append(r.Advice, p.Hint)
		}
	}
	r.Advice = append(r.Advice, "run `perch check` in this folder: it lists every problem with its line")
	return r
}
