package plan

import (
	"bytes"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/config"
)

// What lies below a file that cannot be used inherits from it, and cannot be
// served either: what the file restricts would be open.
func TestBelowABrokenFile(t *testing.T) {
	t.Parallel()
	const fine, broken = "<configuration><system.webServer><httpProtocol allowKeepAlive=\"false\" /></system.webServer></configuration>", "<configuration><oops /></configuration>"
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig("", `<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="root" /><virtualDirectory path="/bad/media" physicalPath="media" /></application>
<application path="/bad/app"><virtualDirectory path="/" physicalPath="app" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site>
<site name="torn" id="2"><application path="/"><virtualDirectory path="/" physicalPath="root/bad" /></application><application path="/app"><virtualDirectory path="/" physicalPath="app" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:torn" /></bindings></site>
<site name="lone" id="3"><application path="/"><virtualDirectory path="/" physicalPath="lone" /></application><application path="/app"><virtualDirectory path="/" physicalPath="app" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:lone" /></bindings></site>`),
		"root/web.config": "<configuration><location path=\"bad/told\"><system.webServer><httpProtocol allowKeepAlive=\"false\" /></system.webServer></location></configuration>",
		"root/a.txt":      "fine", "root/good/web.config": fine, "root/good/a.txt": "fine",
		"root/bad/web.config": broken, "root/bad/a.txt": "secret", "root/bad/plain/a.txt": "secret",
		"root/bad/own/web.config": fine, "root/bad/own/a.txt": "secret", "root/bad/own/deep/web.config": fine, "root/bad/own/deep/a.txt": "secret",
		"root/bad/told/a.txt": "secret", "media/a.txt": "secret", "media/web.config": fine, "app/a.txt": "secret", "app/web.config": fine,
		"lone/web.config": webConfigWith(""), // a handler, and no application: it concerns nobody below
	})
	p := mustBuild(t, served(dir), nil)
	for url, want := range map[string]string{"any/": "200", "any/good/": "200", "any/bad/": "500.19", "any/bad/plain/": "500.19", "any/bad/own/": "500.19",
		"any/bad/own/deep/": "500.19", "any/bad/told/": "500.19", "any/bad/media/": "500.19", "any/bad/app/": "500.19",
		"torn/": "500.19", "torn/app/": "500.19", "lone/": "500.0", "lone/app/": "200"} {
		host, path, _ := strings.Cut(url, "/")
		status, body := getFrom(t, p, host, "/"+path+"a.txt")
		if got := strconv.Itoa(status); !strings.HasPrefix(want, got) || status != 200 && !strings.Contains(body, want) {
			t.Errorf("%s: %d %.40s, want %s", url, status, body[max(0, strings.Index(body, "HTTP Error")):], want)
		}
	}
}

// The last good state of a folder whose file cannot be used may be that it had
// none: a setting that was taken back does not return, and a folder that was
// served goes on. What lies below it inherits from that state as well.
func TestABrokenFileWhereNoneWas(t *testing.T) {
	t.Parallel()
	const broken = "<configuration><system.webServer><bogus /></system.webServer></configuration>"
	start := func(name string) string {
		return "<configuration><system.webServer><defaultDocument><files><clear /><add value=\"" + name + "\" /></files></defaultDocument></system.webServer></configuration>"
	}
	dir := tree(t, map[string]string{"index.html": "root", "sub/web.config": start("own.txt"), "sub/index.html": "none", "sub/own.txt": "own",
		"s2/index.html": "none", "s2/own.txt": "own", "s2/below/web.config": start("own.txt"), "s2/below/own.txt": "own", "late/index.html": "none"})
	p := mustBuild(t, input(dir), nil)
	answers := func(when string, want map[string]string) {
		t.Helper()
		for path, text := range want {
			if status, body := get(t, p, "GET", path); body != text && strconv.Itoa(status) != text {
				t.Errorf("%s: %s answers %d %.80q, want %s", when, path, status, body, text)
			}
		}
	}
	answers("at the start", map[string]string{"/sub/": "own", "/s2/": "none", "/s2/below/": "own"})
	if err := os.Remove(filepath.Join(dir, "sub", "web.config")); err != nil {
		t.Fatal(err)
	}
	p = mustBuild(t, input(dir), p)
	answers("taken back", map[string]string{"/sub/": "none"})
	for _, folder := range []string{"sub", "s2", "late"} {
		write(t, dir, folder+"/web.config", broken)
	}
	for range 2 {
		if p = mustBuild(t, input(dir), p); !p.Problems.HasErrors() {
			t.Error("a reload found no problem")
		}
		answers("broken", map[string]string{"/sub/": "none", "/s2/": "none", "/s2/below/": "own", "/late/": "500"})
	}
	write(t, dir, "s2/web.config", start("own.txt"))
	p = mustBuild(t, input(dir), p)
	answers("mended", map[string]string{"/sub/": "none", "/s2/": "own"})
	p = mustBuild(t, input(dir), nil)
	answers("at the next start", map[string]string{"/sub/": "500", "/s2/": "own"})
}

// Of folders that come and go, nothing is kept for ever.
func TestAFolderThatIsGoneIsForgotten(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"index.html": "root", "upload/index.html": "here", "stays/index.html": "here"})
	p := mustBuild(t, input(dir), nil)
	for _, path := range []string{"/upload/", "/stays/"} {
		if _, body := get(t, p, "GET", path); body != "here" {
			t.Fatalf("%s answers %.80q", path, body)
		}
	}
	if err := os.RemoveAll(filepath.Join(dir, "upload")); err != nil {
		t.Fatal(err)
	}
	kept := mustBuild(t, input(dir), p).Sites[0].reader.good.files
	if _, stays := kept[part{"/stays", filepath.Join(dir, "stays")}]; len(kept) != 1 || !stays {
		t.Errorf("kept %v", kept)
	}
}

// The page of a part in error names the command that sees what the host sees.
func TestABrokenPartNamesTheCheck(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig("", plainSite(1, "a", "*:80:", "a")),
		"a/web.config":           "<configuration><system.webServer><webSocket enabled=\"false\" /></system.webServer></configuration>",
		"b/web.config":           "<configuration><oops /></configuration>",
	})
	in := served(dir)
	in.Environ = []string{"ASPNETCORE_ENVIRONMENT=Development"} // pages tell everything
	if _, body := getFrom(t, mustBuild(t, in, nil), "any", "/"); !strings.Contains(body, "perch check --config "+filepath.Join(dir, "applicationHost.config")) {
		t.Errorf("sites: %s", body)
	}
	in = input(filepath.Join(dir, "b"), in.Environ...)
	if _, body := get(t, mustBuild(t, in, nil), "GET", "/"); !strings.Contains(body, "perch check "+in.Folder) {
		t.Errorf("a folder: %s", body)
	}
}

// A line of the log has what is wrong as a value, under names that programs
// know beforehand.
func TestABrokenPartIsLoggedUnderKnownNames(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{"web.config": "<configuration>\n<oops />\n<system.webServer><webSocket enabeld=\"x\" /></system.webServer></configuration>"})
	var log bytes.Buffer
	joined := parts()
	joined.Log = slog.New(slog.NewJSONHandler(&log, nil))
	p, err := Build(input(dir), joined, nil)
	if err != nil {
		t.Fatal(err)
	}
	log.Reset() // of what the start tells
	get(t, p, "GET", "/")
	var line struct{ Report map[string]any }
	if err := json.Unmarshal(log.Bytes(), &line); err != nil {
		t.Fatalf("%v in %s", err, log.Bytes())
	}
	for name := range line.Report {
		if strings.Trim(name, "abcdefghijklmnopqrstuvwxyz_") != "" {
			t.Errorf("a value is named %q", name)
		}
	}
	told, _ := line.Report["errors"].(string)
	if !strings.Contains(told, "web.config:2:1: ") || !strings.Contains(told, "web.config:3:30: ") {
		t.Errorf("the errors are %q", told)
	}
}

func details(problems config.Problems) string {
	var b strings.Builder
	problems.WriteTo(&b)
	return b.String()
}

// What is told of the server's file is told where it stands, once, though
// sites that are taken over have found it at another line.
func TestAReloadTellsWhereThingsStandNow(t *testing.T) {
	t.Parallel()
	text := func(sites string) string {
		return strings.Replace(hostConfig("", sites), "</configuration>", `<system.webServer><caching enabled="false" /></system.webServer>
<location path="a"><system.webServer><handlers><add name="x" path="*.x" verb="*" modules="NoSuchModule" /></handlers></system.webServer></location>
</configuration>`, 1)
	}
	one := plainSite(1, "a", "*:80:a.test", "a")
	two := one + "\n\n" + plainSite(2, "b", "*:80:b.test", "a")
	dir := tree(t, map[string]string{"applicationHost.config": text(one), "a/index.html": "a"})
	age(t, dir)
	p := mustBuild(t, served(dir), nil)
	for _, sites := range []string{two, one, one + "\n", two} {
		write(t, dir, "applicationHost.config", text(sites))
		was := p.Sites[0]
		if p = mustBuild(t, served(dir), p); p.Sites[0] != was {
			t.Error("a site was made anew though nothing of it has changed")
		}
		fresh := mustBuild(t, served(dir), nil).Problems
		if len(fresh) < 2 {
			t.Fatalf("a start tells %v", fresh)
		}
		if got, want := details(p.Problems), details(fresh); got != want {
			t.Errorf("a reload tells\n%s\nand a start\n%s", got, want)
		}
	}
}
