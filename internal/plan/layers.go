package plan

import (
	"errors"
	"fmt"
	"hash/maphash"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/config/recognize"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/ownfile"
	"github.com/perchserver/perch/internal/site"
)

// rootLayers returns the layers that hold at the root of an application: those
// above it, and its own web.config. Where that names no application, or is not
// there, what the folder is recognised to hold lies beneath it: a file that
// only sets a limit must not turn an application into a folder whose files are
// published.
func (r *reader) rootLayers(a *Application, above []merge.Layer, first bool) ([]merge.Layer, error) {
	layers := slices.Clip(above)
	own := merge.Layer{At: r.at(a.Path), Application: true}
	if a.WebConfig != "" {
		file, problems := r.load(a.WebConfig)
		if own.File = file; file == nil {
			return nil, problems
		}
		if namesApplication(own) {
			return append(layers, own), nil
		}
	}
	if a.Path != "/" && r.answered(layers, a.Path) {
		return append(layers, own), nil // the application above passes it on
	}
	r.dependOnContent(a.Folder)
	found, err := recognize.Folder(a.Folder)
	switch {
	case err != nil && own.File == nil && r.in.Server == "":
		return nil, err
	case err != nil:
		return append(layers, own), nil // files are served, or what is below
	case found.Section == "":
		r.first(first, "the folder holds no application: its files are served", a)
		return append(layers, own), nil
	}
	lacking := "there is no web.config: "
	if own.File != nil {
		lacking = "web.config names no application: "
	}
	r.first(first, lacking+found.Why, a)
	recognised, problems := merge.Load(filepath.Join(a.Folder, "web.config")+" (recognised)", recognize.WebConfig(found))
	if problems.HasErrors() {
		return nil, fmt.Errorf("configuration for the recognised application: %w", problems.Err())
	}
	return append(layers, merge.Layer{File: recognised, At: own.At, Application: true}, own), nil
}

// first logs what is worth a line at the start, and not at every reload.
func (r *reader) first(first bool, line string, a *Application) {
	if first {
		r.parts.Log.Info(line, "folder", a.Folder)
	}
}

// answered reports whether an application answers at a path by the settings of
// layers alone.
func (r *reader) answered(layers []merge.Layer, path string) bool {
	layers = append(slices.Clip(layers), merge.Layer{At: r.at(path), Application: true})
	s, _ := merge.Effective(layers, r.at(path), r.resolve)
	return s != nil && applicationSection(s) != ""
}

// namesApplication reports whether a file decides itself who handles
// requests: it has a section of an application, or clears the handlers.
func namesApplication(layer merge.Layer) bool {
	s, _ := merge.Effective([]merge.Layer{layer}, layer.At, nil)
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
func (r *reader) load(path string) (*merge.File, config.Problems) {
	s, data, err := r.in.read(filepath.Dir(path), filepath.Base(path), r.seed)
	r.depend(s)
	if err != nil {
		unreadable := config.Problems{{Code: config.Unreadable, Pos: config.Pos{File: path},
			Message: "the file cannot be read: " + cause(err)}}
		r.note(unreadable)
		return nil, unreadable
	}
	file, problems := merge.Source{Path: path, Data: data, Parent: r.parent, Open: r.include(filepath.Dir(path)), Every: r.in.Every}.Load()
	r.note(problems)
	return file, problems
}

// include reads the files in a folder that a configSource names, and has the
// site depend on them.
func (r *reader) include(folder string) func(name string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		s, data, err := r.in.read(folder, name, r.seed)
		r.depend(s)
		return data, err
	}
}

// read reads a file below a folder that may be in other hands.
func (in *Input) read(folder, name string, seed maphash.Seed) (source, []byte, error) {
	path := filepath.Join(folder, filepath.FromSlash(name))
	s := look(path)
	if in.Draft != nil && in.Draft.Path == path {
		return s, in.Draft.Data, nil
	}
	data, err := ownfile.Read(folder, filepath.FromSlash(name), maxFile)
	if s.unread = err != nil; err == nil {
		s.sum = maphash.Bytes(seed, data)
	}
	return s, data, err
}

// cause is the bare reason of a file error, whose path is told elsewhere.
func cause(err error) string {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err.Error()
	}
	return err.Error()
}

// broken is the node of a part whose configuration is in error: it answers
// 500.19, or 500.0 where the module's own section is at fault (spec 1.3).
func (r *reader) broken(at string, problems config.Problems) *site.Node {
	e := &exchange.Error{Status: 500, SubStatus: 19, Op: "read configuration",
		Public: "The configuration of this part of the site is in error", Err: &configError{problems, r.in.check()}}
	for _, p := range problems {
		if p.Severity == config.Error && strings.HasPrefix(p.Subject, "system.webServer/aspNetCore") {
			e.SubStatus = 0
		}
	}
	n := &site.Node{Chain: r.pages(refusal{e})}
	if r.places != nil {
		r.places[n] = &place{at: at, refused: e, problems: problems}
	}
	return n
}

// configError tells problems of the configuration on an error page.
type configError struct {
	problems config.Problems
	check    string // command that lists all of them
}

func (e *configError) Error() string { return e.problems.Error() }

// Report implements exchange.Reporter.
func (e *configError) Report() exchange.Report {
	r := exchange.Report{Title: "The configuration is in error", Step: "read configuration"}
	var faults config.Problems
	for _, p := range e.problems {
		if p.Severity != config.Error {
			continue
		}
		faults = append(faults, p)
		if p.Hint != "" {
			r.Advice = append(r.Advice, p.Hint)
		}
	}
	var text strings.Builder
	faults.WriteTo(&text)
	r.Facts = []exchange.Fact{{Name: "Errors", Value: text.String()}}
	r.Advice = append(r.Advice, "run `"+e.check+"`: it lists every problem with its line")
	return r
}

// check is the command that checks what is served: a folder may be in order by
// itself, and not by what the server's file says.
func (in *Input) check() string {
	if in.Server != "" {
		return "perch check --config " + word(in.Server)
	}
	return "perch check " + word(in.Folder)
}

// word writes an argument of a command for a shell.
func word(text string) string {
	if strings.ContainsAny(text, " ()&'") {
		return `"` + text + `"`
	}
	return text
}

// webConfig finds the file, whose name Windows compares without case. It is
// empty where there is none.
func (in *Input) webConfig(folder string) (string, error) {
	if d := in.Draft; d != nil && filepath.Dir(d.Path) == filepath.Clean(folder) && strings.EqualFold(filepath.Base(d.Path), "web.config") {
		return d.Path, nil
	}
	exact := filepath.Join(folder, "web.config")
	if _, err := os.Lstat(exact); err == nil {
		return exact, nil
	}
	entries, err := list(folder)
	for _, e := range entries {
		if strings.EqualFold(e.Name(), "web.config") {
			return filepath.Join(folder, e.Name()), nil
		}
	}
	return "", err
}

// list returns what is in a folder, which is nothing if there is no such
// folder. The error is for what is there and cannot be read: who goes on would
// pass over settings.
func list(folder string) ([]os.DirEntry, error) {
	entries, err := os.ReadDir(folder)
	if err == nil {
		return entries, nil
	}
	info, gone := os.Stat(folder)
	if gone == nil && !info.IsDir() || gone != nil && !errors.Is(gone, os.ErrPermission) {
		return nil, nil
	}
	return nil, fmt.Errorf("the folder %s cannot be read: %s", folder, cause(err))
}

// dependOnContent notes the files of a folder that tell what it holds.
func (r *reader) dependOnContent(folder string) {
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		if name := strings.ToLower(e.Name()); strings.HasSuffix(name, ".json") || name == "procfile" {
			r.depend(look(filepath.Join(folder, e.Name())))
		}
	}
}
