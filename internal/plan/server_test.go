package plan

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/edit"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/config/schema"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/worker"
)

// hostConfig is an applicationHost.config with the pools and sites given.
func hostConfig(pools, sites string) string {
	return "<configuration>\n<system.applicationHost>\n<applicationPools>" + pools + "</applicationPools>\n<sites>\n" +
		sites + "\n</sites>\n</system.applicationHost>\n</configuration>\n"
}

// plainSite is a site with one application.
func plainSite(id int, name, binding, folder string) string {
	return fmt.Sprintf(`<site name="%s" id="%d"><application path="/"><virtualDirectory path="/" physicalPath="%s" /></application>`+
		`<bindings><binding protocol="http" bindingInformation="%s" /></bindings></site>`, name, id, folder, binding)
}

func served(dir string) Input { return Input{Server: filepath.Join(dir, "applicationHost.config")} }

// getFrom asks a plan for a path of a host, by the port 80 of 10.0.0.5.
func getFrom(t *testing.T, p *Plan, host, path string) (status int, body string) {
	t.Helper()
	x, w := ask("GET", path)
	x.Conn.Local = netip.MustParseAddrPort("10.0.0.5:80")
	x.Request.Host = []byte(host)
	if err := p.Handler.Serve(x); err != nil {
		t.Fatalf("%s%s: %v", host, path, err)
	}
	return w.Status, string(w.Body)
}

func TestServerLeadsToSiteApplicationAndDirectory(t *testing.T) {
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig(`<add name="Main" /><add name="Off" autoStart="false" /><add name="Plain" enableConfigurationOverride="false" />`, `
<site name="Shop" id="1">
  <application path="/" applicationPool="Main">
    <virtualDirectory path="/" physicalPath="shop" />
    <virtualDirectory path="/files" physicalPath="files" />
    <virtualDirectory path="/files/old" physicalPath="old" allowSubDirConfig="false" />
  </application>
  <application path="/a/api" applicationPool="Main">
    <virtualDirectory path="/" physicalPath="api" />
    <virtualDirectory path="/docs" physicalPath="docs" />
  </application>
  <application path="/off" applicationPool="Off"><virtualDirectory path="/" physicalPath="api" /></application>
  <application path="/plain" applicationPool="Plain"><virtualDirectory path="/" physicalPath="plain" /></application>
  <bindings><binding protocol="http" bindingInformation="*:80:shop.test" /><binding protocol="net.pipe" bindingInformation="*" /></bindings>
</site>`+plainSite(2, "Rest", "10.0.0.5:80:", `.\rest`)+`
<site name="Stopped" id="3" serverAutoStart="false"><application path="/"><virtualDirectory path="/" physicalPath="rest" /></application>
  <bindings><binding protocol="http" bindingInformation="*:80:stopped.test" /></bindings></site>`),
		"shop/index.html":       "shop",
		"shop/files/index.html": "hidden by the virtual directory",
		"shop/a/web.config":     `<configuration><system.webServer><defaultDocument><files><add value="a.txt"/></files></defaultDocument></system.webServer></configuration>`,
		"files/index.html":      "files",
		"files/x/a.txt":         "files x",
		"old/index.html":        "old",
		"old/sub/web.config":    "<broken",
		"old/sub/index.html":    "old sub",
		"api/index.html":        "api index",
		"api/a.txt":             "api, by the folder above",
		"api/sub/web.config":    "<configuration />",
		"api/sub/a.txt":         "sub",
		"docs/a.txt":            "docs",
		"plain/web.config":      "<broken",
		"plain/index.html":      "plain",
		"rest/index.html":       "rest",
	})
	p := mustBuild(t, served(dir), nil)
	if p.Problems.HasErrors() {
		t.Fatal(p.Problems)
	}
	for _, c := range []struct {
		host, path string
		status     int
		body       string
	}{
		{"shop.test", "/", 200, "shop"},
		{"SHOP.test:80", "/index.html", 200, "shop"},
		{"shop.test", "/files/", 200, "files"},
		{"shop.test", "/FILES/", 200, "files"},
		{"shop.test", "/files/x/a.txt", 200, "files x"},
		{"shop.test", "/files", 301, ""},
		{"shop.test", "/filesx", 404, ""},
		{"shop.test", "/files/old/", 200, "old"},
		{"shop.test", "/files/old/sub/", 200, "old sub"}, // its web.config is not read
		{"shop.test", "/a/api/", 200, "api, by the folder above"},
		{"shop.test", "/a/api/docs/", 200, "docs"},
		{"shop.test", "/a/apis/", 404, ""},
		{"shop.test", "/off/", 503, ""},
		{"shop.test", "/off/sub/", 503, ""}, // which has settings of its own
		{"shop.test", "/plain/", 200, "plain"},
		{"other.test", "/", 200, "rest"},
		{"stopped.test", "/", 200, "rest"}, // as if it were not there
	} {
		status, body := getFrom(t, p, c.host, c.path)
		if status != c.status || c.status == 200 && body != c.body {
			t.Errorf("%s%s: %d %.80q, want %d %q", c.host, c.path, status, body, c.status, c.body)
		}
	}
}

// The application with the longest path comes before the virtual directory
// with the longest path, which may be another application's (spec iis-front 1.8).
func TestApplicationComesBeforeDirectory(t *testing.T) {
	t.Parallel()
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig("", `<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="root" />
<virtualDirectory path="/api" physicalPath="shadow" /><virtualDirectory path="/API/deep" physicalPath="shadow" /><virtualDirectory path="/files" physicalPath="files" /></application>
<application path="/api"><virtualDirectory path="/" physicalPath="api" /><virtualDirectory path="/more" physicalPath="files" /></application>
<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site>`),
		"root/a.txt": "root", "shadow/a.txt": "shadow", "files/a.txt": "files", "api/a.txt": "api", "api/deep/a.txt": "deep",
	})
	p := mustBuild(t, served(dir), nil)
	var told []string
	for _, problem := range p.Problems {
		told = append(told, fmt.Sprintf("%d:%d %s %s %s", problem.Line, problem.Column, problem.Severity, problem.Code, problem.Message))
	}
	if want := []string{"6:19 warning PC064 no request reaches the virtual directory /api of a/: the application /api answers there",
		"6:73 warning PC064 no request reaches the virtual directory /API/deep of a/: the application /api answers there"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if want := "`perch unset \"system.applicationHost/sites/site[@name='a']/application[@path='/']/virtualDirectory[@path='/api']\" --config " + served(dir).Server + "`"; !strings.HasSuffix(p.Problems[0].Hint, want) {
		t.Errorf("hint %q, want %s", p.Problems[0].Hint, want)
	}
	for path, want := range map[string]string{"/a.txt": "root", "/files/a.txt": "files", "/api/a.txt": "api", "/Api/Deep/a.txt": "404", "/api/deep/a.txt": "deep", "/api/more/a.txt": "files"} {
		status, body := getFrom(t, p, "any", path)
		if status != 200 {
			body = strconv.Itoa(status)
		}
		if body != want {
			t.Errorf("%s: %s, want %s", path, body, want)
		}
	}
}

func TestApplicationsKnowTheirPlace(t *testing.T) {
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig(`<add name="Main"><environmentVariables><add name="A" value="pool" /><add name="P" value="1" /></environmentVariables></add>`,
			`<site name="Shop" id="7"><application path="/" applicationPool="Main"><virtualDirectory path="/" physicalPath="shop" /></application>
			<application path="/Api" applicationPool="Main"><virtualDirectory path="/" physicalPath="api" /></application></site>`),
		"shop/web.config": webConfigWith(app),
		"api/web.config":  webConfigWith(strings.ReplaceAll(app, "app.dll", "api.dll")),
	})
	p := mustBuild(t, served(dir), nil)
	if p.Problems.HasErrors() {
		t.Fatal(p.Problems)
	}
	top, api := p.application("shop", "/").Settings, p.application("Shop", "/api").Settings
	want := worker.Identity{Version: "10.0", AppPool: "Main", SiteName: "Shop", SiteID: "7",
		AppConfigPath: "MACHINE/WEBROOT/APPHOST/Shop/Api", ApplicationID: "/LM/W3SVC/7/ROOT/Api"}
	if api.Identity != want || api.Name != "Shop/Api" || api.VirtualPath != "/Api" || api.Root != filepath.Join(dir, "api") || api.Arguments != `.\api.dll` {
		t.Errorf("settings %+v", api)
	}
	if top.Name != "Shop" || top.VirtualPath != "/" || top.Identity.ApplicationID != "/LM/W3SVC/7/ROOT" {
		t.Errorf("settings of the root %+v", top)
	}
	// What the application says of a variable comes behind what the pool says.
	if env := []worker.Variable{{Name: "A", Value: "pool"}, {Name: "P", Value: "1"}, {Name: "A", Value: "1"}}; !slices.Equal(api.Environment, env) {
		t.Errorf("environment %v, want %v", api.Environment, env)
	}
}

func TestServerNamesEveryProblemAndServesTheRest(t *testing.T) {
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig(`<add name="Main" />`,
			plainSite(1, "a", "*:80:a.test", "a")+"\n"+ // line 5
				plainSite(2, "b", "*:80:A.TEST", "a")+"\n"+ // the binding is taken
				plainSite(3, "c", "*:http:", "a")+"\n"+ // no binding
				plainSite(4, "d", "*:80:d.test", "nowhere")+"\n"+ // no folder
				strings.Replace(plainSite(5, "e", "*:80:e.test", "a"), `<application `, `<application applicationPool="Mian" `, 1)+"\n"+
				`<site name="f" id="6"><application path="/x"><virtualDirectory path="/" physicalPath="a" /></application></site>`+"\n"+
				`<site name="g" id="7"><application path="/"><virtualDirectory path="/x" physicalPath="a" /></application></site>`+"\n"+
				strings.Replace(plainSite(8, "h", "*:80:h.test", "a"), "</application>", `<virtualDirectory path="/v" physicalPath="%NOWHERE%\v" /></application>`, 1)),
		"a/index.html": "served",
	})
	p := mustBuild(t, served(dir), nil)
	type found struct {
		line int
		code config.Code
	}
	var got []found
	for _, problem := range p.Problems {
		got = append(got, found{problem.Line, problem.Code})
		if problem.Source == "" || problem.Column == 0 {
			t.Errorf("%v shows no source", problem)
		}
	}
	want := []found{{6, config.BindingTaken}, {7, config.BadBinding}, {8, config.NoPhysicalPath}, {9, config.UnknownPool},
		{10, config.NoRoot}, {11, config.NoRoot}, {11, config.NoRoot}, {12, config.NoPhysicalPath}}
	if hint := p.Problems[len(p.Problems)-1].Hint; !strings.Contains(hint, "the variable %NOWHERE% is not set") {
		t.Errorf("hint %q", hint)
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems %v, want %v:\n%v", got, want, p.Problems)
	}
	for host, want := range map[string]int{"a.test": 200, "h.test": 200, "d.test": 500} {
		if status, _ := getFrom(t, p, host, "/"); status != want {
			t.Errorf("%s: %d, want %d", host, status, want)
		}
	}
	if status, _ := getFrom(t, p, "h.test", "/v/x"); status != 500 {
		t.Errorf("a virtual directory without its folder: %d, want 500", status)
	}
}

// A folder that only Windows can have is told with the way out.
func TestFoldersOfWindows(t *testing.T) {
	t.Parallel()
	if runtime.GOOS == "windows" {
		t.Skip("they are folders here")
	}
	for physical, want := range map[string]string{
		`C:\inetpub\media`:              "there are no drives with letters here",
		`d:/media`:                      "there are no drives with letters here",
		`\\fileserver\share`:            "a share of another machine has no such path here",
		`%SystemDrive%\inetpub\wwwroot`: "`SystemDrive=/srv perch run ...` finds the folder below /srv",
		`/c:/media`:                     "",
	} {
		dir := tree(t, map[string]string{"applicationHost.config": hostConfig("", plainSite(1, "a", "*:80:", physical))})
		in := served(dir)
		p := mustBuild(t, in, nil)
		if len(p.Problems) != 1 || p.Problems[0].Code != config.NoPhysicalPath {
			t.Errorf("%s: %v", physical, p.Problems)
			continue
		}
		hint := p.Problems[0].Hint
		if !strings.Contains(hint, want) || want == "" && hint != "" {
			t.Errorf("%s: hint %q, want %q", physical, hint, want)
		}
		if _, setting, _ := strings.Cut(hint, `perch set "`); want != "" {
			setting, _, _ = strings.Cut(setting, `"`)
			if s, value, _, err := edit.ParseSetting(setting); err != nil || value != "FOLDER" || s.Attribute != "physicalPath" || !strings.Contains(hint, "--config "+in.Server) {
				t.Errorf("%s: no command in %q: %v", physical, hint, err)
			}
		}
	}
}

// age makes all files below a folder old enough to be known by their times.
func age(t testing.TB, dir string) {
	t.Helper()
	old := time.Now().Add(-time.Hour)
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		return errors.Join(err, os.Chtimes(path, old, old))
	})
	if err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestReloadTouchesOnlyWhatChanged(t *testing.T) {
	sites := func(more string) string {
		return hostConfig("", plainSite(1, "a", "*:80:a.test", "a")+plainSite(2, "b", "*:80:b.test", "b")+more)
	}
	dir := tree(t, map[string]string{
		"applicationHost.config": sites(plainSite(3, "c", "*:80:c.test", "c")),
		"a/web.config":           webConfigWith(app),
		"b/web.config":           webConfigWith(app),
		"c/web.config":           webConfigWith(app),
	})
	age(t, dir)
	first := mustBuild(t, served(dir), nil)
	same := mustBuild(t, served(dir), first)
	if !slices.Equal(same.Sites, first.Sites) {
		t.Error("sites were made anew though nothing has changed")
	}
	if retired := same.Commit(first, "", "test"); retired != nil {
		t.Errorf("%d pools lost their application though nothing has changed", len(retired))
	}

	write(t, dir, "b/web.config", webConfigWith(strings.Replace(app, "dotnet", "other", 1)))
	other := mustBuild(t, served(dir), same)
	if other.Sites[0] != same.Sites[0] || other.Sites[1] == same.Sites[1] || other.Sites[2] != same.Sites[2] {
		t.Error("a change in one site does not concern it alone")
	}
	if b := other.Sites[1].Applications[0]; b.Pool != same.Sites[1].Applications[0].Pool || !b.Changed(same.Sites[1].Applications[0]) {
		t.Error("the pool of a changed application is another one, or has not changed")
	}

	write(t, dir, "applicationHost.config", sites(plainSite(4, "d", "*:80:d.test", "c")))
	moved := mustBuild(t, served(dir), other)
	retired := moved.Commit(other, "", "test")
	if len(retired) != 1 || retired[0] != other.application("c", "/") {
		t.Errorf("retired %v, want the pool of the site that went", retired)
	}
	for _, name := range []string{"a", "b"} {
		if is, was := moved.application(name, "/"), other.application(name, "/"); is.Pool != was.Pool || is.Changed(was) {
			t.Errorf("the application of %s did not stay as it was", name)
		}
	}
}

func TestReloadKeepsWhatCannotBeUsed(t *testing.T) {
	text := hostConfig("", plainSite(1, "a", "*:80:a.test", "a")+plainSite(2, "b", "*:80:b.test", "b"))
	dir := tree(t, map[string]string{"applicationHost.config": text, "a/web.config": webConfigWith(app), "b/index.html": "b"})
	first := mustBuild(t, served(dir), nil)

	// The file of the server: everything stays.
	write(t, dir, "applicationHost.config", text[:len(text)-5])
	if p, err := Build(served(dir), parts(), first); err == nil {
		t.Errorf("a torn applicationHost.config made the plan %v", p)
	} else if problems := (config.Problems)(nil); !errors.As(err, &problems) || !problems.HasErrors() {
		t.Errorf("%v, want the problems of the file", err)
	}

	// A slip in it that would take a site from the air: the same. One that was
	// there at the start does not keep other changes out.
	slip := strings.Replace(text, "*:80:b.test", "*:http:b.test", 1)
	write(t, dir, "applicationHost.config", slip)
	if p, err := Build(served(dir), parts(), first); err == nil {
		t.Errorf("a binding with a slip made the plan %v", p)
	}
	started := mustBuild(t, served(dir), nil)
	write(t, dir, "applicationHost.config", strings.Replace(slip, "a.test", "new.test", 1))
	if status, _ := getFrom(t, mustBuild(t, served(dir), started), "new.test", "/"); status == 400 {
		t.Error("an error that was there before kept a change out")
	}

	// A web.config: its application stays, and the rest is taken over.
	write(t, dir, "applicationHost.config", strings.Replace(text, "b.test", "new.test", 1))
	write(t, dir, "a/web.config", "<configuration>")
	p := mustBuild(t, served(dir), first)
	if !p.Problems.HasErrors() {
		t.Error("no problem was found")
	}
	if p.application("a", "/") != first.application("a", "/") {
		t.Error("an application whose web.config was broken did not stay as it was")
	}
	if retired := p.Commit(first, filepath.Join(dir, "a"), "test"); retired != nil {
		t.Error("its pool was given up")
	}
	if status, body := getFrom(t, p, "new.test", "/"); status != 200 || body != "b" {
		t.Errorf("the rest was not taken over: %d %q", status, body)
	}

	// Mended, it is taken over.
	write(t, dir, "a/web.config", webConfigWith(strings.Replace(app, "dotnet", "other", 1)))
	if p := mustBuild(t, served(dir), p); p.Problems.HasErrors() || p.application("a", "/").Settings.ProcessPath != "other" {
		t.Errorf("after it was mended: %v", p.Problems)
	}

	// A web.config that is gone is awaited, which is told once, unless somebody
	// asks.
	if err := os.Remove(filepath.Join(dir, "a/web.config")); err != nil {
		t.Fatal(err)
	}
	in := served(dir)
	in.Patient = true
	patient := p
	var log bytes.Buffer
	patient.parts.Log = slog.New(slog.NewTextHandler(&log, nil))
	for range 2 {
		if patient = mustBuild(t, in, patient); patient.application("a", "/").Pool == nil {
			t.Error("an application was given up when its web.config was gone for a moment")
		}
	}
	if n := strings.Count(log.String(), "web.config is gone"); n != 1 {
		t.Errorf("that it is gone is told %d times:\n%s", n, log.String())
	}
	write(t, dir, "a/index.html", "files")
	if p := mustBuild(t, served(dir), patient); p.application("a", "/").Pool != nil {
		t.Error("an application without web.config did not become files when asked")
	}
}

func TestRealDefaultsAreNotDoubled(t *testing.T) {
	// A file of IIS has the handlers and default documents itself.
	dir := tree(t, map[string]string{
		"applicationHost.config": strings.Replace(hostConfig("", plainSite(1, "a", "*:80:", "a")), "</configuration>", `<system.webServer>
<defaultDocument><files><add value="index.html" /></files></defaultDocument>
<handlers><add name="StaticFile" path="*" verb="*" modules="StaticFileModule" resourceType="Either" requireAccess="Read" /></handlers>
</system.webServer></configuration>`, 1),
		"a/index.html": "a",
	})
	p := mustBuild(t, served(dir), nil)
	if status, body := getFrom(t, p, "any", "/"); p.Problems.HasErrors() || status != 200 || body != "a" {
		t.Errorf("%d %q, %v", status, body, p.Problems)
	}
}

// The sections that Perch has where no file does are those that the schema
// says it of, because who edits a file must not bring them back.
func TestBuiltInSectionsAreMarked(t *testing.T) {
	base, err := baseLayers(nil)
	if err != nil {
		t.Fatal(err)
	}
	settings, problems := merge.Effective(base, "", nil)
	if settings == nil {
		t.Fatal(problems)
	}
	var marked []string
	for _, s := range schema.Builtin() {
		if s.Replaces {
			marked = append(marked, s.Path)
		}
	}
	// Files add to what is hidden, and do not take its place.
	if got := slices.DeleteFunc(settings.Sections(), func(s string) bool { return s == requestFiltering }); len(got) == 0 || !slices.Equal(got, marked) {
		t.Errorf("built in are %q, and marked %q", got, marked)
	}
}

func TestLocationOfASiteInTheServersFile(t *testing.T) {
	dir := tree(t, map[string]string{
		"applicationHost.config": strings.Replace(hostConfig("", plainSite(1, "a", "*:80:a.test", "a")+plainSite(2, "b", "*:80:b.test", "a")), "</configuration>", `
<location path="a/docs"><system.webServer><defaultDocument><files><clear/><add value="start.txt" /></files></defaultDocument></system.webServer></location></configuration>`, 1),
		"a/docs/index.html": "index",
		"a/docs/start.txt":  "start",
	})
	p := mustBuild(t, served(dir), nil)
	for host, want := range map[string]string{"a.test": "start", "b.test": "index"} {
		if _, body := getFrom(t, p, host, "/docs/"); body != want {
			t.Errorf("%s: %.80q, want %q", host, body, want)
		}
	}
}

func TestReloadSeesIncludedFiles(t *testing.T) {
	file := func(name string) string {
		return `<defaultDocument><files><clear/><add value="` + name + `"/></files></defaultDocument>`
	}
	dir := tree(t, map[string]string{
		"applicationHost.config": strings.Replace(hostConfig("", `<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="a" /></application>
			<bindings><binding protocol="http" bindingInformation="*:80:" /></bindings></site>`), "</configuration>",
			`<system.webServer><defaultDocument configSource="documents.config" /></system.webServer></configuration>`, 1),
		"documents.config": file("one.txt"),
		"a/one.txt":        "one",
		"a/two.txt":        "two",
	})
	age(t, dir)
	first := mustBuild(t, served(dir), nil)
	write(t, dir, "documents.config", file("two.txt"))
	for want, p := range map[string]*Plan{"one": first, "two": mustBuild(t, served(dir), first)} {
		if _, body := getFrom(t, p, "any", "/"); body != want {
			t.Errorf("%.80q, want %q; %v", body, want, p.Problems)
		}
	}
}

func TestLimitsOfASite(t *testing.T) {
	text := func(most string) string {
		return hostConfig("", strings.Replace(plainSite(1, "a", "*:80:a.test", "a"), "</site>",
			`<limits maxConnections="`+most+`" connectionTimeout="00:00:07" /></site>`, 1)+plainSite(2, "b", "*:80:b.test", "a"))
	}
	dir := tree(t, map[string]string{"applicationHost.config": text("1"), "a/index.html": "a"})
	p := mustBuild(t, served(dir), nil)
	p.Commit(nil, "", "start")
	var ties [2]exchange.Tie
	status := func(p *Plan, tie int, host string) int {
		x, w := ask("GET", "/")
		x.Conn.Local, x.Conn.Site, x.Request.Host = netip.MustParseAddrPort("10.0.0.5:80"), &ties[tie], []byte(host)
		if err := p.Handler.Serve(x); err != nil {
			t.Fatal(err)
		}
		return w.Status
	}
	if got := status(p, 0, "a.test"); got != 200 || ties[0].Idle() != 7*time.Second {
		t.Errorf("the first connection: %d, idle for %v", got, ties[0].Idle())
	}
	if got := status(p, 1, "a.test"); got != 503 {
		t.Errorf("the second connection: %d", got)
	}
	if got := status(p, 1, "b.test"); got != 200 {
		t.Errorf("another site: %d", got)
	}
	// A reload counts those that are open.
	write(t, dir, "applicationHost.config", text("2"))
	next := mustBuild(t, served(dir), p)
	if got := status(next, 1, "a.test"); got != 503 {
		t.Errorf("the new limit holds before the plan does: %d", got)
	}
	next.Commit(p, "", "test")
	if got := status(next, 1, "a.test"); got != 200 {
		t.Errorf("there is room for a second: %d", got)
	}
	if got := next.Sites[0].quota.Open(); got != 2 {
		t.Errorf("%d connections are counted, want 2", got)
	}
}

// What sites inherit from the server's file reaches those that did not change.
func TestReloadSeesWhatSitesInherit(t *testing.T) {
	text := func(name string) string {
		return strings.Replace(hostConfig("", plainSite(1, "a", "*:80:", "a")), "</configuration>",
			`<location path="a"><system.webServer><defaultDocument><files><clear/><add value="`+name+`"/></files></defaultDocument></system.webServer></location></configuration>`, 1)
	}
	dir := tree(t, map[string]string{"applicationHost.config": text("one.txt"), "a/one.txt": "one", "a/two.txt": "two"})
	age(t, dir)
	first := mustBuild(t, served(dir), nil)
	write(t, dir, "applicationHost.config", text("two.txt"))
	if _, body := getFrom(t, mustBuild(t, served(dir), first), "any", "/"); body != "two" {
		t.Errorf("%.80q, want two", body)
	}
}
