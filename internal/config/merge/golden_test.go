package merge

import (
	"bytes"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/schema"
)

// TestGolden runs every archive in testdata. Its comment says what it shows,
// and in lines of their own:
//
//	at /shop/x       the path that settings are asked for; default "/"
//	app /shop        an application begins there
//	env NAME=value   a variable for %NAME%
//
// Its files called web.config are layers, at the folder they are in; one
// called applicationHost.config is that of the server. The file "want" is what comes out: sections that are present with every value that
// is set and its place, what is not done, and problems. With UPDATE=1 in the
// environment what comes out is written as what is wanted: read every change.
func TestGolden(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) < 40 {
		t.Fatalf("%d cases, %v", len(cases), err)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".txtar"), func(t *testing.T) {
			t.Parallel()
			archive, err := txtar.ParseFile(name)
			if err != nil {
				t.Fatal(err)
			}
			var want []byte
			var files []txtar.File
			for _, f := range archive.Files {
				if f.Name == "want" {
					want = f.Data
				} else {
					files = append(files, f)
				}
			}
			got := outcome(string(archive.Comment), files)
			if os.Getenv("UPDATE") != "" {
				archive.Files = append(files, txtar.File{Name: "want", Data: []byte(got)})
				if err := os.WriteFile(name, txtar.Format(archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s\n%s", archive.Comment, diff)
			}
		})
	}
}

// outcome loads and merges the files of a case and tells what comes out.
func outcome(comment string, files []txtar.File) string {
	at, apps, env := "/", map[string]bool{}, map[string]string{}
	for line := range strings.Lines(comment) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "at":
			at = rest
		case "app":
			apps[rest] = true
		case "env":
			name, value, _ := strings.Cut(rest, "=")
			env[name] = value
		}
	}
	var out strings.Builder
	var layers []Layer
	for _, f := range files {
		folder := path.Join("/", path.Dir(f.Name))
		server := path.Base(f.Name) == "applicationHost.config"
		file, problems := Source{Path: f.Name, Data: bytes.TrimSuffix(f.Data, []byte("\n")), Server: server}.Load()
		tell(&out, problems)
		layers = append(layers, Layer{File: file, At: folder, Application: apps[folder]})
		delete(apps, folder)
	}
	for folder := range apps {
		layers = append(layers, Layer{At: folder, Application: true})
	}
	settings, problems := Effective(layers, at, func(name string) (string, bool) {
		value, ok := env[name]
		return value, ok
	})
	tell(&out, problems)
	if settings == nil {
		return out.String()
	}
	for _, s := range schema.Builtin() {
		if s.Status != schema.Ignored && s.Described() && (!s.ServerOnly || at == "/") && settings.Section(s.Path).Present {
			describe(&out, settings.Section(s.Path), s.Path, "")
		}
	}
	for _, p := range settings.NotDone() {
		fmt.Fprintf(&out, "not done: %s %s\n", p.Subject, p.Pos)
	}
	return out.String()
}

// tell writes errors in full and warnings in one line.
func tell(out *strings.Builder, problems config.Problems) {
	for _, p := range problems {
		if p.Severity == config.Error {
			out.WriteString(p.Detail())
		} else {
			out.WriteString(p.String() + "\n")
		}
	}
}

// describe writes the values that are set in an element.
func describe(out *strings.Builder, e Element, name, indent string) {
	fmt.Fprintf(out, "%s%s\n", indent, name)
	indent += "  "
	for i := range e.e.schema.Attributes {
		s := &e.e.schema.Attributes[i]
		if a := e.Attribute(s.Name); a.Set {
			fmt.Fprintf(out, "%s%s = %q %s\n", indent, s.Name, a.Text, a.Pos)
		}
	}
	for i := range e.e.schema.Elements {
		if c := &e.e.schema.Elements[i]; e.Child(c.Name).Present {
			describe(out, e.Child(c.Name), c.Name, indent)
		}
	}
	if c := e.e.schema.Collection; c != nil {
		for _, entry := range e.Entries() {
			describe(out, entry, c.Add, indent)
		}
	}
}
