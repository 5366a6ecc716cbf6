package plan

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/config"
)

// linked makes files and links, which are named by their paths, too.
func linked(t *testing.T, files, links map[string]string) string {
	t.Helper()
	dir := tree(t, files)
	for name, to := range links {
		if err := os.Symlink(to, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// A link that leads out of the folder leads to no file, and to no settings.
func TestLinksThatLeadOut(t *testing.T) {
	t.Parallel()
	const text = `<configuration><system.webServer><staticContent><mimeMap fileExtension=".own" mimeType="text/own" /></staticContent></system.webServer></configuration>`
	dir := linked(t, map[string]string{
		"site/real/web.config":   text,
		"site/real/a.own":        "a",
		"site/sub/b.txt":         "b",
		"site/web.config":        `<configuration><location path="out"><system.webServer><directoryBrowse enabled="false" /></system.webServer></location></configuration>`,
		"outside/web.config":     "<configuration><broken /></configuration>",
		"outside/a.own":          "secret",
		"outside/sub/web.config": "<configuration><broken /></configuration>",
		"empty/a.own":            "secret",
	}, map[string]string{
		"site/in":       "real",
		"site/out":      "../outside", // a <location> speaks of it
		"site/out2":     "../outside",
		"site/out3":     "../empty",
		"site/sub/deep": "../../outside/sub",
		"site/sub/up":   "../real",
	})
	if err := os.Symlink(filepath.Join(dir, "site", "real"), filepath.Join(dir, "site", "absolute")); err != nil {
		t.Fatal(err)
	}
	in := input(filepath.Join(dir, "site"))
	p := mustBuild(t, in, nil)
	for path, want := range map[string]int{
		"/real/a.own": 200, "/in/a.own": 200, "/sub/up/a.own": 200,
		"/out/a.own": 404, "/out/sub/x": 404, "/out2/a.own": 404, "/out2/": 404, "/out3/a.own": 404, "/sub/deep/x": 404, "/absolute/a.own": 404,
	} {
		if status, _ := get(t, p, "GET", path); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	problems, err := Check(in, parts())
	var told []string
	for _, problem := range problems {
		if problem.Code != config.LinkOut {
			t.Errorf("check tells %s", problem)
		}
		told = append(told, strings.TrimPrefix(problem.File, dir+"/site/"))
	}
	slices.Sort(told)
	if want := []string{"absolute", "out", "out2", "sub/deep"}; err != nil || !slices.Equal(told, want) {
		t.Errorf("%v, %v, want %v", told, err, want)
	}
}

func TestExplainKnowsLinksThatLeadOut(t *testing.T) {
	t.Parallel()
	dir := linked(t, map[string]string{
		"applicationHost.config": hostConfig("", plainSite(1, "any", "*:80:", "site")),
		"site/index.html":        "",
		"outside/web.config":     "<configuration><broken /></configuration>",
	}, map[string]string{"site/out": "../outside"})
	x, err := Explain(served(dir), parts(), Question{URL: "http://any/out/a.txt"})
	if err != nil || !strings.HasPrefix(x.Answer, "404: ") || slices.ContainsFunc(x.Files, func(f string) bool { return strings.Contains(f, "out") }) || x.Problems != nil {
		t.Errorf("%v, %v", x, err)
	}
	if folder, err := Folder(served(dir), parts(), "any/out"); err == nil || !strings.Contains(err.Error(), "a link leads out") {
		t.Errorf("%q, %v", folder, err)
	}
	if at := Location(served(dir), parts(), filepath.Join(dir, "site", "out")); at != "" {
		t.Errorf("the folder is said to be %s", at)
	}
}

// Where a link leads is judged anew by every plan.
func TestALinkComesToLeadIn(t *testing.T) {
	t.Parallel()
	dir := linked(t, map[string]string{
		"site/real/web.config": "<configuration><broken /></configuration>",
		"site/web.config":      `<configuration><location path="link"><system.webServer><directoryBrowse enabled="false" /></system.webServer></location></configuration>`,
		"outside/a.txt":        "",
		"outside/web.config":   "<configuration />",
	}, map[string]string{"site/link": "."})
	in := input(filepath.Join(dir, "site"))
	p := mustBuild(t, in, nil)
	for _, to := range []string{"../outside", "real", "../outside"} {
		want := 404
		if to == "real" {
			want = 500
		}
		link := filepath.Join(dir, "site", "link")
		if err := os.Remove(link); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(to, link); err != nil {
			t.Fatal(err)
		}
		p = mustBuild(t, in, p)
		if status, _ := get(t, p, "GET", "/link/a.txt"); status != want {
			t.Errorf("to %s: %d, want %d", to, status, want)
		}
	}
}

// A hidden name is none to a default document either.
func TestHiddenDefaultDocuments(t *testing.T) {
	t.Parallel()
	const documents = `<defaultDocument><files><clear /><add value=".perch-history/old.txt" /><add value="Secret.txt" /><add value="last.txt" /></files></defaultDocument>` +
		`<security><requestFiltering><hiddenSegments><add segment="secret.txt" /></hiddenSegments></requestFiltering></security>`
	dir := tree(t, map[string]string{
		"web.config":             "<configuration><system.webServer>" + documents + "</system.webServer></configuration>",
		".perch-history/old.txt": "old",
		"Secret.txt":             "secret",
		"last.txt":               "last",
	})
	p := mustBuild(t, input(dir), nil)
	if status, body := get(t, p, "GET", "/"); status != 200 || body != "last" {
		t.Errorf("%d %q", status, body)
	}
}
