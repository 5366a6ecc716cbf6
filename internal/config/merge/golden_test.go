package merge

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/perchserver/perch/internal/config"
)

// TestGolden runs every archive below testdata/golden, whose folders are named
// after what they show. Its comment says what that is, with the section of the
// specification in parentheses, and in lines of their own:
//
//	at /shop/x            the path that settings are asked for; default "/"
//	app /shop             an application begins there
//	env NAME=value        a variable for %NAME%
//	encode NAME encoding  a file is in utf-8-bom, utf-16le or utf-16be
//	warnings              what is known and not done is told too
//
// Its files called web.config are layers, at the folder they are in; one
// called applicationHost.config is that of the server. With it paths begin
// with the name of a site. Other files are there for configSource. The file
// "want" is what comes out: sections that are present with every value that
// is set and its place, and errors. With UPDATE=1 in the environment what comes
// out is written as what is wanted: read every change.
func TestGolden(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/golden/*/*.txtar")
	if err != nil || len(cases) < 150 {
		t.Errorf("%d cases, %v", len(cases), err)
	}
	if stray, _ := filepath.Glob("testdata/*.txtar"); len(stray) > 0 {
		t.Errorf("%q would never run: they belong into a folder of testdata/golden", stray)
	}
	for _, name := range cases {
		t.Run(strings.TrimSuffix(strings.TrimPrefix(filepath.ToSlash(name), "testdata/golden/"), ".txtar"), func(t *testing.T) {
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
			got := outcome(t, string(archive.Comment), files)
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

// golden is what the comment of a case asks for.
type golden struct {
	at     string
	apps   map[string]bool
	env    map[string]string
	encode map[string]string
	files  map[string][]byte

	warnings bool
}

func parseGolden(t *testing.T, comment string, files []txtar.File) *golden {
	g := &golden{at: "/", apps: map[string]bool{}, env: map[string]string{}, encode: map[string]string{}, files: map[string][]byte{}}
	for line := range strings.Lines(comment) {
		word, rest, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch word {
		case "at":
			g.at = rest
		case "app":
			g.apps[rest] = true
		case "env":
			name, value, _ := strings.Cut(rest, "=")
			g.env[name] = value
		case "warnings":
			g.warnings = g.warnings || rest == ""
		case "encode":
			name, encoding, _ := strings.Cut(rest, " ")
			g.encode[name] = encoding
		}
	}
	for _, f := range files {
		g.files[f.Name] = encoded(t, bytes.TrimSuffix(f.Data, []byte("\n")), g.encode[f.Name])
	}
	return g
}

// encoded returns text with a byte order mark in an encoding.
func encoded(t *testing.T, text []byte, encoding string) []byte {
	t.Helper()
	var order binary.AppendByteOrder
	switch encoding {
	case "":
		return text
	case "utf-8-bom":
		return append([]byte("\xef\xbb\xbf"), text...)
	case "utf-16le":
		order = binary.LittleEndian
	case "utf-16be":
		order = binary.BigEndian
	default:
		t.Fatalf("no encoding %s", encoding)
	}
	out := order.AppendUint16(nil, 0xfeff)
	for _, unit := range utf16.Encode([]rune(string(text))) {
		out = order.AppendUint16(out, unit)
	}
	return out
}

// open returns what reads the files that one in a folder includes.
func (g *golden) open(folder string) func(string) ([]byte, error) {
	return func(name string) ([]byte, error) {
		if data, ok := g.files[path.Join(folder, name)]; ok {
			return data, nil
		}
		return nil, fs.ErrNotExist
	}
}

// outcome loads and merges the files of a case and tells what comes out.
func outcome(t *testing.T, comment string, files []txtar.File) string {
	g := parseGolden(t, comment, files)
	var out strings.Builder
	var layers []Layer
	var server *File
	for _, f := range files {
		folder := path.Join("/", path.Dir(f.Name))
		source := Source{Path: f.Name, Data: g.files[f.Name], Parent: server, Open: g.open(path.Dir(f.Name))}
		switch path.Base(f.Name) {
		case "applicationHost.config":
			source.Server = true
		case "web.config":
		default:
			continue
		}
		file, problems := source.Load()
		g.tell(&out, problems)
		if source.Server {
			server = file
		}
		layers = append(layers, Layer{File: file, At: folder, Application: g.apps[folder]})
		delete(g.apps, folder)
	}
	for folder := range g.apps {
		layers = append(layers, Layer{At: folder, Application: true})
	}
	settings, problems := Effective(layers, g.at, func(name string) (string, bool) {
		value, ok := g.env[name]
		return value, ok
	})
	g.tell(&out, problems)
	if settings == nil {
		return out.String()
	}
	for _, path := range settings.Sections() {
		describe(&out, settings.Section(path), path, "")
	}
	for _, p := range settings.NotDone() {
		if !g.warnings {
			break
		}
		fmt.Fprintf(&out, "not done: %s %s\n", p.Subject, p.Pos)
	}
	return out.String()
}

// tell writes problems, without warnings unless the case asks for them: what
// is not done changes with every feature.
func (g *golden) tell(out *strings.Builder, problems config.Problems) {
	if !g.warnings {
		problems = slices.DeleteFunc(slices.Clone(problems), func(p config.Problem) bool { return p.Severity == config.Warning })
	}
	tell(out, problems)
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
	for _, name := range e.Schema().AttributeNames() {
		if a := e.Attribute(name); a.Set {
			fmt.Fprintf(out, "%s%s = %q %s\n", indent, name, a.Text, a.Pos)
		}
	}
	for i := range e.Schema().Elements {
		if c := &e.Schema().Elements[i]; e.Child(c.Name).Present {
			describe(out, e.Child(c.Name), c.Name, indent)
		}
	}
	if c := e.Schema().Collection; c != nil {
		for _, entry := range e.Entries() {
			describe(out, entry, c.Add, indent)
		}
	}
}
