package perch_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"testing"
)

// The house rules that a machine can hold: who may import whom is in this
// file, what the source text may contain in layout_source_test.go. Every rule
// is a function of its input, and a test shows it a bad example.

const module = "github.com/perchserver/perch"

// A direction says what the packages under From may import of this module. In
// From and May, a name ending in "/..." also stands for all packages below it.
type direction struct {
	From string
	May  []string
	Why  string // printed with an edge that is closed
}

// directions is searched from the top; the first entry that covers a package
// holds for it. A package without an entry is an error: it has no place yet.
var directions = []direction{
	{"cmd/perch", []string{"internal/cli"},
		"main hands arguments, streams and signals to the command line and knows nothing else"},
	{"examples/...", []string{"hosting"},
		"an example is an application like any other: it uses public packages only"},
	{"hosting/...", []string{"hosting/..."},
		"applications import hosting, and must not inherit the server with it"},

	{"internal/exchange/exchangetest", []string{"internal/exchange"},
		"test doubles for the vocabulary need the vocabulary alone"},
	{"internal/exchange", nil,
		"the vocabulary of all stages imports none of them"},
	{"internal/sockio", nil,
		"raw socket operations know no HTTP"},
	{"internal/certs/...", []string{"internal/certs/..."},
		"certificates are found by name; who asks does not matter"},
	{"internal/listen", []string{"internal/exchange", "internal/sockio"},
		"sockets come before every protocol; how the engine wants them is for sockio to say"},
	{"internal/http1", []string{"internal/exchange"},
		"http1 is about bytes: no goroutine, no socket, no stage"},
	{"internal/http2", []string{"internal/exchange", "internal/http1"},
		"http2 is about frames: no goroutine, no socket, no stage; http1 for the rules of targets, hosts and fields that both versions share"},
	{"internal/http2/outlet", []string{"internal/http2"},
		"what sends for a connection of HTTP/2 knows its frames; the socket is handed in"},
	{"internal/serve", []string{"internal/exchange", "internal/http1", "internal/http2/...", "internal/sockio", "internal/listen", "internal/certs"},
		"the driver turns connections into exchanges and hands them on; it does not know who answers"},
	{"internal/site", []string{"internal/exchange"},
		"routing to a site is a table lookup, filled in by plan"},
	{"internal/module/...", []string{"internal/exchange"},
		"a module never imports a module, nor any other stage: order is the business of plan"},
	{"internal/handler/forward", []string{"internal/exchange", "internal/http1", "internal/http2/...", "internal/sockio"},
		"forwarding is an exchange with any backend; it knows no worker and no configuration"},
	{"internal/handler/...", []string{"internal/exchange"},
		"a handler declares itself what it needs of a worker; it imports no stage"},
	{"internal/ownfile", nil,
		"reading a file of the application's folder knows nothing else"},
	{"internal/worker/...", []string{"internal/exchange", "internal/ownfile", "internal/worker/..."},
		"workers are started and stopped; how they are spoken to is handed in"},
	{"internal/logs", []string{"internal/exchange"},
		"the log sees exchanges, not the stages that made them"},

	{"internal/config/store", []string{"internal/ownfile"},
		"writing a file knows nothing of what is in it; ownfile judges whose links are followed"},
	{"internal/config/...", []string{"internal/config/..."},
		"configuration is what the user wrote; it knows nothing of what runs"},
	{"internal/plan", []string{"internal/config/...", "internal/exchange", "internal/listen", "internal/certs", "internal/serve",
		"internal/site", "internal/module/...", "internal/handler/...", "internal/worker", "internal/logs", "internal/ownfile", "internal/http1"},
		"plan joins configuration and stages; only daemon and cli come after it"},
	{"internal/admin/...", []string{"internal/admin/..."},
		"the control interface knows no command: daemon and cli do"},
	{"internal/daemon", []string{"internal/..."},
		""},
	{"internal/cli", []string{"internal/daemon", "internal/plan", "internal/config/...", "internal/admin/...", "internal/listen",
		"internal/logs", "internal/certs/...", "internal/worker/spawn"},
		"commands speak to the daemon, to the plan and to configuration; worker/spawn for the hidden role of the guardian"},
}

// libraries that more than one package may import.
var sharedLibraries = []string{"golang.org/x/sys"}

// edge is one import of the program proper, tests left out.
type edge struct{ From, To string }

// covers reports whether a name of the table stands for a package.
func covers(name, pkg string) bool {
	if base, ok := strings.CutSuffix(name, "/..."); ok {
		return pkg == base || strings.HasPrefix(pkg, base+"/")
	}
	return pkg == name
}

// checkDirections returns a sentence for every edge within the module that the
// table does not open.
func checkDirections(table []direction, edges []edge) []string {
	var bad []string
	for _, e := range edges {
		i := slices.IndexFunc(table, func(d direction) bool { return covers(d.From, e.From) })
		if i < 0 {
			bad = append(bad, fmt.Sprintf("%s has no place in the table of import directions", e.From))
			continue
		}
		open := slices.ContainsFunc(table[i].May, func(name string) bool { return covers(name, e.To) })
		if !open {
			bad = append(bad, fmt.Sprintf("%s must not import %s: %s", e.From, e.To, table[i].Why))
		}
	}
	slices.Sort(bad)
	return slices.Compact(bad)
}

// checkImporters returns a sentence for every library with two importers.
func checkImporters(required, shared []string, edges []edge) []string {
	importers := map[string][]string{}
	for _, e := range edges {
		library := ""
		for _, r := range required {
			if covers(r+"/...", e.To) && len(r) > len(library) {
				library = r
			}
		}
		if library != "" && !slices.Contains(importers[library], e.From) {
			importers[library] = append(importers[library], e.From)
		}
	}
	var bad []string
	for library, from := range importers {
		if len(from) > 1 && !slices.Contains(shared, library) {
			slices.Sort(from)
			bad = append(bad, fmt.Sprintf("%s is imported by %s: one package owns a library", library, strings.Join(from, " and ")))
		}
	}
	slices.Sort(bad)
	return bad
}

// goMod is what `go mod edit -json` says of go.mod.
type goMod struct {
	Require []struct{ Path string }
	Replace []struct{ Old struct{ Path string } }
}

// checkGoMod returns a sentence for every replace line: `go install` of a
// module with one fails.
func checkGoMod(m goMod) []string {
	var bad []string
	for _, r := range m.Replace {
		bad = append(bad, "go.mod replaces "+r.Old.Path+": such a module cannot be installed by its path")
	}
	return bad
}

func TestImportDirections(t *testing.T) {
	t.Parallel()
	inside, _ := imports(t)
	report(t, checkDirections(directions, inside))
}

func TestOneImporterPerLibrary(t *testing.T) {
	t.Parallel()
	_, outside := imports(t)
	var required []string
	for _, r := range readGoMod(t).Require {
		required = append(required, r.Path)
	}
	report(t, checkImporters(required, sharedLibraries, outside))
}

func TestGoMod(t *testing.T) {
	t.Parallel()
	report(t, checkGoMod(readGoMod(t)))
}

func TestDirectionsCanFail(t *testing.T) {
	t.Parallel()
	for _, e := range []edge{
		{"internal/exchange", "internal/serve"},
		{"internal/module/rewrite", "internal/module/headers"},
		{"internal/serve", "internal/config/merge"},
		{"internal/handler/aspnetcore", "internal/worker"},
		{"internal/handler/aspnetcore", "internal/handler/forward"},
		{"internal/http1", "internal/sockio"},
		{"internal/config/merge", "internal/plan"},
		{"hosting", "internal/exchange"},
		{"internal/helpers", "internal/exchange"},
		{"internal/plan", "internal/daemon"},
	} {
		if got := checkDirections(directions, []edge{e}); len(got) != 1 || !strings.Contains(got[0], e.From) {
			t.Errorf("edge %v: %q, want one complaint", e, got)
		}
	}
	for _, e := range []edge{
		{"internal/serve", "internal/http1"},
		{"internal/plan", "internal/module/headers"},
		{"internal/config/merge", "internal/config/xmldoc"},
		{"internal/worker", "internal/worker/spawn"},
	} {
		if got := checkDirections(directions, []edge{e}); len(got) != 0 {
			t.Errorf("edge %v: %q, want none", e, got)
		}
	}
}

func TestImportersCanFail(t *testing.T) {
	t.Parallel()
	required := []string{"example.org/a", "example.org/a/v2", "golang.org/x/sys"}
	edges := []edge{
		{"internal/one", "example.org/a/part"}, {"internal/two", "example.org/a"},
		{"internal/one", "example.org/a/v2/x"},
		{"internal/one", "golang.org/x/sys/unix"}, {"internal/two", "golang.org/x/sys/unix"},
		{"internal/two", "fmt"},
	}
	got := checkImporters(required, sharedLibraries, edges)
	want := "example.org/a is imported by internal/one and internal/two: one package owns a library"
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestGoModCanFail(t *testing.T) {
	t.Parallel()
	var m goMod
	if err := json.Unmarshal([]byte(`{"Replace":[{"Old":{"Path":"example.org/a"},"New":{"Path":"../a"}}]}`), &m); err != nil {
		t.Fatal(err)
	}
	if got := checkGoMod(m); len(got) != 1 || !strings.Contains(got[0], "example.org/a") {
		t.Errorf("got %q, want one complaint", got)
	}
}

func report(t *testing.T, bad []string) {
	t.Helper()
	for _, b := range bad {
		t.Error(b)
	}
}

// imports returns the imports of all packages on all supported systems: those
// of the module's own packages, with names relative to it, and the others.
func imports(t *testing.T) (inside, outside []edge) {
	t.Helper()
	for _, system := range []string{"linux", "windows", "darwin"} {
		cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
		cmd.Env = append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0")
		dec := json.NewDecoder(bytes.NewReader(output(t, cmd)))
		for {
			var p struct {
				ImportPath string
				Imports    []string
			}
			if err := dec.Decode(&p); err == io.EOF {
				break
			} else if err != nil {
				t.Fatalf("go list: %v", err)
			}
			from := strings.TrimPrefix(p.ImportPath, module+"/")
			for _, to := range p.Imports {
				if rest, ok := strings.CutPrefix(to, module+"/"); ok {
					inside = append(inside, edge{from, rest})
				} else if strings.Contains(path.Dir(to), ".") || strings.Contains(to, ".") {
					outside = append(outside, edge{from, to})
				}
			}
		}
	}
	if len(inside) == 0 {
		t.Fatal("go list found no imports")
	}
	return inside, outside
}

func readGoMod(t *testing.T) goMod {
	t.Helper()
	var m goMod
	if err := json.Unmarshal(output(t, exec.Command("go", "mod", "edit", "-json")), &m); err != nil {
		t.Fatal(err)
	}
	return m
}

func output(t *testing.T, cmd *exec.Cmd) []byte {
	t.Helper()
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(cmd.Args, " "), err, errs.String())
	}
	return out
}
