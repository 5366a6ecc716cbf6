package plan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/config"
)

// including is a web.config whose default documents are in another file.
func including(name string) string {
	return `<configuration><system.webServer><defaultDocument configSource="` + name + `" /></system.webServer></configuration>`
}

// Files that a configSource names are read, and looked at again like those
// that name them.
func TestIncludedFiles(t *testing.T) {
	sites := "<sites>" + plainSite(1, "A", "*:80:", "a") + "</sites>"
	dir := tree(t, map[string]string{
		"applicationHost.config": `<configuration><system.applicationHost><sites configSource="conf\sites.config" /></system.applicationHost></configuration>`,
		"conf/sites.config":      sites,
		"a/web.config":           including("documents.config"),
		"a/documents.config":     `<defaultDocument><files><add value="one.txt" /></files></defaultDocument>`,
		"a/one.txt":              "one",
		"a/two.txt":              "two",
		"b/one.txt":              "b",
	})
	p := mustBuild(t, served(dir), nil)
	if p.Problems.HasErrors() {
		t.Fatal(p.Problems)
	}
	if status, body := getFrom(t, p, "x", "/"); status != 200 || body != "one" {
		t.Errorf("%d %q, want what the included file says", status, body)
	}

	write(t, dir, "a/documents.config", `<defaultDocument><files><add value="two.txt" /></files></defaultDocument>`)
	p = mustBuild(t, served(dir), p)
	if status, body := getFrom(t, p, "x", "/"); status != 200 || body != "two" {
		t.Errorf("%d %q, want what the included file says now", status, body)
	}

	write(t, dir, "conf/sites.config", strings.ReplaceAll(sites, `physicalPath="a"`, `physicalPath="b"`))
	p = mustBuild(t, served(dir), p)
	if status, body := getFrom(t, p, "x", "/one.txt"); status != 200 || body != "b" {
		t.Errorf("%d %q, want the folder that the included sites name now", status, body)
	}
}

// A file that cannot be read is named where it is included, whatever is wrong
// with it, and the rest of the server goes on.
func TestIncludedFilesThatCannotBeRead(t *testing.T) {
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig("", plainSite(1, "A", "*:80:a.test", "a")+plainSite(2, "B", "*:80:b.test", "b")+plainSite(3, "C", "*:80:c.test", "c")),
		"a/web.config":           including("gone.config"),
		"b/web.config":           including("loop.config"),
		"c/index.html":           "c",
	})
	if err := os.Symlink("loop.config", filepath.Join(dir, "b", "loop.config")); err != nil {
		t.Fatal(err)
	}
	p := mustBuild(t, served(dir), nil)
	for host, want := range map[string]int{"a.test": 500, "b.test": 500, "c.test": 200} {
		if status, _ := getFrom(t, p, host, "/"); status != want {
			t.Errorf("%s: %d, want %d", host, status, want)
		}
	}
	for _, folder := range []string{"a", "b"} {
		found := false
		for _, problem := range p.Problems {
			found = found || problem.Code == config.BadInclude && problem.File == filepath.Join(dir, folder, "web.config") && problem.Line > 0
		}
		if !found {
			t.Errorf("the include of %s is not named: %v", folder, p.Problems)
		}
	}
}

// A redirection.config that is on is named: IIS would read another file.
func TestRedirectionIsNamed(t *testing.T) {
	redirection := func(attributes string) string {
		return `<configuration><configSections><section name="configurationRedirection" /></configSections><configurationRedirection ` + attributes + ` /></configuration>`
	}
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig("", plainSite(1, "A", "*:80:", "a")),
		"redirection.config":     redirection(`enabled="false" path="\\share\config"`),
		"a/index.html":           "a",
	})
	p := mustBuild(t, served(dir), nil)
	if len(p.Problems) > 0 {
		t.Errorf("one that is off: %v", p.Problems)
	}
	write(t, dir, "redirection.config", redirection(`enabled="true" path="\\share\config"`))
	p = mustBuild(t, served(dir), p)
	if len(p.Problems) != 1 || p.Problems[0].Subject != "configurationRedirection/@enabled" || p.Problems[0].File != filepath.Join(dir, "redirection.config") {
		t.Errorf("one that is on: %v", p.Problems)
	}
	write(t, dir, "redirection.config", "<broken")
	if _, err := Build(served(dir), parts(), p); err == nil {
		t.Error("a broken one is passed over")
	}
}
