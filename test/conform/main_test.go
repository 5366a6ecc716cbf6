// Package conform holds the ASP.NET Core Module's own functional tests, by
// their names, as far as they concern applications that run in a process of
// their own. docs/conformance.md lists them all, with a reason for each that
// is not here. Nothing imports it.
package conform

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// start runs the Go application with a web.config.
func start(t *testing.T, c harness.WebConfig, env ...string) *harness.Host {
	t.Helper()
	return harness.Go().Start(t, c.Use(t), func(r *harness.Run) { r.Env = append(r.Env, env...) })
}

// The document and the tests name each other.
func TestDocument(t *testing.T) {
	t.Parallel()
	text := harness.ReadFile(t, filepath.Join(harness.Root(), "docs", "conformance.md"))
	var named []string
	for _, m := range regexp.MustCompile("`conform\\.(Test[A-Za-z0-9_]+)`").FindAllStringSubmatch(text, -1) {
		named = append(named, m[1])
	}
	have := tests(t)
	for _, name := range have {
		if !slices.Contains(named, name) {
			t.Errorf("docs/conformance.md does not name %s", name)
		}
	}
	for _, name := range named {
		if !slices.Contains(have, name) {
			t.Errorf("docs/conformance.md names %s, which does not exist", name)
		}
	}
	// Every row has a test or a reason.
	for line := range strings.Lines(text) {
		cells := strings.Split(line, "|")
		if len(cells) != 5 || !strings.Contains(cells[1], "`") {
			continue
		}
		if strings.TrimSpace(cells[2]) == "" || strings.TrimSpace(cells[2]) == "–" && strings.TrimSpace(cells[3]) == "" {
			t.Errorf("neither test nor reason: %s", line)
		}
	}
}

// tests returns the names of the conformance tests.
func tests(t *testing.T) []string {
	t.Helper()
	files, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, file := range files {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if fn, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(fn.Name.Name, "Test") && fn.Name.Name != "TestMain" && fn.Name.Name != "TestDocument" {
				names = append(names, fn.Name.Name)
			}
		}
	}
	return names
}
