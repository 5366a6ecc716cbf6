// Package recognize tells what a folder without a web.config holds, so that
// it can be hosted as it is: publishing an application for Linux writes no
// web.config. What it finds is said in the words of that file, which
// `perch init` writes from it.
//
// It reads files and starts nothing. plan and cli import it.
package recognize

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Kind is what was recognised.
type Kind string

// The kinds, in the order in which they are looked for: the explicit word of
// the user first.
const (
	Procfile     Kind = "Procfile"
	DotNet       Kind = ".NET, framework-dependent"
	DotNetOwn    Kind = ".NET, self-contained"
	DotNetSingle Kind = ".NET, single file"
	Node         Kind = "package.json"
	Static       Kind = "files"
)

// App says how to host a folder.
type App struct {
	Kind Kind

	// Section is the section of web.config that the application goes by:
	// "aspNetCore", "httpPlatform", or empty for files alone.
	Section string

	// ProcessPath and Arguments are the attributes of that section: a path
	// may be relative to the folder and have back-slashes, the arguments are
	// quoted by the rules of Windows.
	ProcessPath string
	Arguments   string
	Environment []Variable

	// Why is a sentence for the log: what it was recognised by.
	Why string
}

// Variable is one environment variable of the application.
type Variable struct{ Name, Value string }

// Folder recognises what a folder holds. Its errors are one sentence each,
// with the way out.
func Folder(dir string) (App, error) {
	f, err := open(dir)
	if err != nil {
		return App{}, err
	}
	for _, look := range []func(*folder) (App, error){procfile, dotnet, singleFile, node} {
		app, err := look(f)
		if !errors.Is(err, errNothing) {
			return app, err
		}
	}
	return static(f)
}

// errNothing is what a look returns that found nothing of its kind.
var errNothing = errors.New("nothing of this kind")

// folder is a folder and the names of the files in it.
type folder struct {
	dir   string
	files map[string]bool
	names []string // the same, sorted
	dirs  map[string]bool
}

func open(dir string) (*folder, error) {
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%s does not exist: name the folder that holds the published application", dir)
	case err != nil:
		return nil, fmt.Errorf("cannot read the folder: %w", err)
	case !info.IsDir():
		return nil, fmt.Errorf("%s is a file: name the folder that it is in, %s", dir, filepath.Dir(dir))
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("cannot read the folder: %w", err)
	}
	f := &folder{dir: dir, files: map[string]bool{}, dirs: map[string]bool{}}
	for _, e := range entries {
		// Links count for what they lead to.
		info, err := os.Stat(filepath.Join(dir, e.Name()))
		switch {
		case err != nil:
		case info.IsDir():
			f.dirs[e.Name()] = true
		case info.Mode().IsRegular():
			f.files[e.Name()] = true
			f.names = append(f.names, e.Name())
		}
	}
	return f, nil
}

func (f *folder) path(name string) string { return filepath.Join(f.dir, name) }

// maxText bounds the files that are read as a whole.
const maxText = 4 << 20

// text reads a file, without the mark that some editors put at its begin.
func (f *folder) text(name string) ([]byte, error) {
	file, err := os.Open(f.path(name))
	if err != nil {
		return nil, err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, maxText+1))
	if err == nil && len(data) > maxText {
		err = fmt.Errorf("%s is larger than %d bytes", f.path(name), maxText)
	}
	return bytes.TrimPrefix(data, []byte("\uFEFF")), err
}

// withSuffix returns the files whose names end in suffix, without it.
func (f *folder) withSuffix(suffix string) []string {
	var stems []string
	for _, name := range f.names {
		if stem, ok := strings.CutSuffix(name, suffix); ok && stem != "" {
			stems = append(stems, stem)
		}
	}
	return stems
}

// anyOf returns the first of these files that is there, "" if none is.
func (f *folder) anyOf(names ...string) string {
	for _, name := range names {
		if f.files[name] {
			return name
		}
	}
	return ""
}

// static takes the folder for files to be served, if it has a default
// document and no sign of an application. Serving the files of one would show
// its sources.
func static(f *folder) (App, error) {
	if hint := f.hint(); hint != "" {
		return App{}, fmt.Errorf("%s: %s", f.dir, hint)
	}
	doc := ""
	for _, name := range f.names {
		for i, d := range defaultDocuments {
			if strings.EqualFold(name, d) {
				doc = defaultDocuments[i]
			}
		}
	}
	sites := slices.IndexFunc(f.names, func(name string) bool {
		return strings.EqualFold(name, "perch.config") || strings.EqualFold(name, "applicationHost.config")
	})
	if doc == "" && sites >= 0 {
		return App{}, fmt.Errorf("%s: nothing to host but the sites of its %s, which are served with --config %s", f.dir, f.names[sites], f.path(f.names[sites]))
	}
	if doc == "" {
		return App{}, fmt.Errorf("%s: nothing to host: there is no web.config, no Procfile with a web line, no *.runtimeconfig.json of a .NET application, "+
			"no single-file .NET program, no package.json with a start script, and no default document (%s); name the folder that was published, or write a Procfile with a line such as `web: ./server`",
			f.dir, strings.Join(defaultDocuments, ", "))
	}
	return App{Kind: Static, Why: doc + " is a default document, and there is no application"}, nil
}

// defaultDocuments are those that IIS ships and that are files. Never written.
var defaultDocuments = []string{"Default.htm", "index.htm", "index.html", "iisstart.htm"}

// hint tells what to do with a folder that holds an application of a kind
// that cannot be started without being told how.
func (f *folder) hint() string {
	if sign := f.framework(); sign != "" {
		return fmt.Sprintf("%s belongs to an application of ASP.NET for the .NET Framework, which runs in IIS on Windows alone: port it to ASP.NET Core, and name the folder that is published", sign)
	}
	if projects := append(f.withSuffix(".csproj"), append(f.withSuffix(".fsproj"), f.withSuffix(".vbproj")...)...); len(projects) > 0 {
		return fmt.Sprintf("this is the source of the .NET project %s: run `dotnet publish -c Release -o publish` in it and name the folder publish", projects[0])
	}
	if f.files["go.mod"] {
		return "this is the source of a Go program: build it and write a Procfile with a line such as `web: ./server`, or a web.config with an httpPlatform section"
	}
	if main := f.anyOf("app.py", "main.py", "wsgi.py", "asgi.py", "manage.py"); main != "" {
		return fmt.Sprintf("%s looks like a Python application, and how it is started has to be said: "+
			"write a Procfile with a line such as `web: python %[1]s`, and let it listen on 127.0.0.1 and the port in the variable PORT", main)
	}
	if programs := f.programs(); len(programs) > 0 {
		return fmt.Sprintf("%s is a program, and how it is started has to be said: write a Procfile with a line such as `web: ./%[1]s`", programs[0])
	}
	if f.dirs["wwwroot"] && f.anyOf(defaultDocuments...) == "" {
		if _, err := os.Stat(f.path("wwwroot/index.html")); err == nil {
			return "there is no application here, and wwwroot/index.html is a default document: name the folder wwwroot to serve it"
		}
	}
	return ""
}
