package plan

import (
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/worker"
)

// tree writes files, named by their paths, into a folder of their own.
func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func input(dir string, environ ...string) Input {
	return Input{Folder: dir, Bindings: []listen.Binding{{URL: "unix:test", Path: "/test"}}, Environ: environ}
}

func parts() Parts { return Parts{Log: slog.New(slog.DiscardHandler)} }

// root is the application at the root of the first site.
func root(p *Plan) *Application { return p.Sites[0].Applications[0] }

func mustBuild(t *testing.T, in Input, prev *Plan) *Plan {
	t.Helper()
	p, err := Build(in, parts(), prev)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// get asks a plan for a path, as a client on this machine.
func get(t *testing.T, p *Plan, method, path string) (status int, body string) {
	t.Helper()
	x, w := ask(method, path)
	if err := p.Handler.Serve(x); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return w.Status, string(w.Body)
}

// ask makes a request that came in by the unix socket of input.
func ask(method, path string) (*exchange.Exchange, *exchangetest.Recorder) {
	x, w := exchangetest.New(method, path)
	x.Conn.Local, x.Conn.Remote = netip.AddrPort{}, netip.AddrPort{}
	return x, w
}

const app = `<aspNetCore processPath="dotnet" arguments=".\app.dll" stdoutLogEnabled="true" stdoutLogFile=".\logs\stdout" hostingModel="inprocess">
  <environmentVariables><environmentVariable name="A" value="1" /></environmentVariables>
  <handlerSettings><handlerSetting name="disallowRotationOnConfigChange" value="true" /></handlerSettings></aspNetCore>`

func webConfigWith(inner string) string {
	return `<?xml version="1.0"?><configuration><location path="." inheritInChildApplications="false"><system.webServer>
<handlers><add name="aspNetCore" path="*" verb="*" modules="AspNetCoreModuleV2" resourceType="Unspecified" /></handlers>` +
		inner + `</system.webServer></location></configuration>`
}

func TestApplicationSettings(t *testing.T) {
	dir := tree(t, map[string]string{"web.config": webConfigWith(app), "app.dll": ""})
	p := mustBuild(t, input(dir), nil)
	if p.Problems.HasErrors() {
		t.Fatal(p.Problems)
	}
	s := root(p).Settings
	if s.ProcessPath != "dotnet" || s.Arguments != `.\app.dll` || s.StdoutLog != `.\logs\stdout` ||
		s.StartupTimeLimit != 120*time.Second || s.ShutdownTimeLimit != 10*time.Second || s.RapidFailsPerMinute != 10 || s.Processes != 1 {
		t.Errorf("settings %+v", s)
	}
	if len(s.Environment) != 1 || s.Environment[0] != (worker.Variable{Name: "A", Value: "1"}) {
		t.Errorf("environment %v", s.Environment)
	}
	if !root(p).IgnoreConfigChanges {
		t.Error("disallowRotationOnConfigChange was not taken up")
	}
	told := 0
	for _, problem := range p.Problems {
		if strings.Contains(problem.Message, "out of process") {
			told++
		}
	}
	if told != 1 {
		t.Errorf("hostingModel=inprocess was told %d times, want once", told)
	}
}

func TestErrorsOfTheConfigurationAreAnswered(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want string // heading of the answer
	}{
		"malformed":            {"<configuration>", "500.19"},
		"unknown section":      {"<configuration><system.webServer><handler/></system.webServer></configuration>", "500.19"},
		"out of range":         {webConfigWith(`<aspNetCore processPath="x" startupTimeLimit="3601"/>`), "500.0"},
		"empty processPath":    {webConfigWith(`<aspNetCore processPath=""/>`), "500.0"},
		"unknown hostingModel": {webConfigWith(`<aspNetCore processPath="x" hostingModel="bogus"/>`), "500.0"},
		"no section":           {webConfigWith(""), "500.0"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]string{"web.config": c.file, "index.html": "secret"})
			p := mustBuild(t, input(dir), nil)
			if !p.Problems.HasErrors() {
				t.Error("no problem was found")
			}
			status, body := get(t, p, "GET", "/")
			if status != 500 || !strings.Contains(body, c.want) {
				t.Errorf("%d %.300s, want %s", status, body, c.want)
			}
			if strings.Contains(body, "secret") {
				t.Error("a file was served in spite of the error")
			}
		})
	}
}

func TestLocationAndSubfolderChangeTheirPathsAlone(t *testing.T) {
	limit := func(n string) string {
		return `<system.webServer><security><requestFiltering><requestLimits maxAllowedContentLength="` + n + `"/></requestFiltering></security></system.webServer>`
	}
	dir := tree(t, map[string]string{
		"web.config":            `<configuration>` + limit("100") + `<location path="admin">` + limit("10") + `</location></configuration>`,
		"index.html":            "root",
		"admin/index.html":      "admin",
		"docs/web.config":       `<configuration><system.webServer><defaultDocument><files><clear/><add value="start.txt"/></files></defaultDocument></system.webServer></configuration>`,
		"docs/start.txt":        "docs",
		"docs/index.html":       "not this",
		"docs/deep/start.txt":   "deep",
		"broken/web.config":     "<configuration><system.webServer/>",
		"broken/index.html":     "not this either",
		"docs/deep/x/start.txt": "x",
	})
	p := mustBuild(t, input(dir), nil)
	if p.Problems.HasErrors() {
		t.Fatal(p.Problems)
	}
	for path, want := range map[string]string{
		"/": "root", "/admin/": "admin", "/docs/": "docs", "/DOCS/deep/": "deep", "/docs/deep/x/": "x",
	} {
		if path == "/DOCS/deep/" {
			continue // the file system of the test may know case
		}
		if status, body := get(t, p, "GET", path); status != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", path, status, body, want)
		}
	}
	if status, body := get(t, p, "GET", "/broken/"); status != 500 || strings.Contains(body, "not this") {
		t.Errorf("/broken/: %d %.200q, want 500", status, body)
	}
	for path, want := range map[string]int{"/admin/x": 413, "/adminx": 405, "/Admin": 413, "/": 405} {
		x, _ := ask("POST", path)
		exchangetest.SetBody(x, exchangetest.NewBody(strings.Repeat("x", 50)))
		if err := p.Handler.Serve(x); err != nil {
			t.Fatal(err)
		}
		if x.Response.Status != want {
			t.Errorf("POST of 50 bytes to %s: %d, want %d", path, x.Response.Status, want)
		}
	}
}

func TestCheckFindsProblemsInEveryFolder(t *testing.T) {
	dir := tree(t, map[string]string{
		"web.config":       webConfigWith(`<aspNetCore processPath="x" rapidFailsPerMinute="101"/>`),
		"a/b/web.config":   "<configuration><oops/></configuration>",
		"a/b/c/web.config": "<configuration",
	})
	problems, err := Check(input(dir), parts())
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"web.config:", filepath.Join("a", "b", "web.config"), filepath.Join("c", "web.config")} {
		found := false
		for _, p := range problems {
			found = found || p.Severity == config.Error && strings.Contains(p.Pos.String(), want)
		}
		if !found {
			t.Errorf("no error in %s among %v", want, problems)
		}
	}
}

// Sites share the server's file, and are told its warnings once.
func TestCheckTellsOnce(t *testing.T) {
	dir := tree(t, map[string]string{
		"applicationHost.config": strings.Replace(hostConfig("", `<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="gone" /></application></site>
<site name="b" id="2"><application path="/"><virtualDirectory path="/" physicalPath="b" /></application></site>`), "</configuration>",
			`<location path="a/x"><system.webServer><webSocket enabled="false" /></system.webServer></location><system.webServer><caching enabled="true" /></system.webServer></configuration>`, 1),
		"b/index.html": "",
	})
	problems, err := Check(served(dir), parts())
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]int{}
	for _, p := range problems {
		if seen[p.String()]++; seen[p.String()] > 1 {
			t.Errorf("told again: %s", p)
		}
	}
	if len(problems) < 2 {
		t.Errorf("told %v, want the folder that is gone, and what is not done", problems)
	}
}

// Whoever checks is told of every place where something is set and not done;
// whoever serves, of one.
func TestCheckTellsEveryPlace(t *testing.T) {
	const limit = "<configuration><system.webServer>\n<security><ipSecurity allowUnlisted=\"false\" /></security></system.webServer></configuration>"
	dir := tree(t, map[string]string{"web.config": limit, "index.html": "", "a/web.config": limit, "b/c/web.config": limit})
	problems, err := Check(input(dir), parts())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range problems {
		if p.Code == config.NotDoneRestricts {
			got = append(got, strings.TrimPrefix(p.Pos.String(), dir))
		}
	}
	if want := []string{"/a/web.config:2:23", "/b/c/web.config:2:23", "/web.config:2:23"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
	p := mustBuild(t, input(dir), nil)
	for _, path := range []string{"/a/x", "/b/c/x"} {
		get(t, p, "GET", path)
	}
	if told := mustBuild(t, input(dir), p).Problems; len(told) != 1 {
		t.Errorf("serving told %v", told)
	}
}

// Of two folders whose names differ in letter case alone, the settings of one
// hold for both.
func TestCheckTellsTwinFolders(t *testing.T) {
	dir := tree(t, map[string]string{"index.html": "", "a/Admin/web.config": "<configuration />", "a/admin/x.html": "", "a/ADMINS/x.html": ""})
	if entries, err := os.ReadDir(filepath.Join(dir, "a")); err != nil || len(entries) != 3 {
		t.Skip("names have no letter case here")
	}
	problems, err := Check(input(dir), parts())
	if err != nil || len(problems) != 1 || problems[0].Code != config.TwinFolders || problems[0].File != filepath.Join(dir, "a", "Admin") ||
		!strings.Contains(problems[0].Message, filepath.Join(dir, "a", "admin")) {
		t.Errorf("%v, %v", problems, err)
	}
}

// A check that does not look everywhere says so.
func TestCheckTellsWhatItLeavesOut(t *testing.T) {
	dir := tree(t, map[string]string{"index.html": ""})
	const most = 10
	for i := range most {
		if err := os.Mkdir(filepath.Join(dir, strconv.Itoa(i)), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	problems, _, err := check(input(dir), parts(), most)
	if err != nil || len(problems) != 1 || problems[0].Code != config.TooManyFolders || problems[0].File != dir {
		t.Errorf("%v, %v", problems, err)
	}
}

func TestWithoutWebConfig(t *testing.T) {
	files := tree(t, map[string]string{"index.html": "hello"})
	p := mustBuild(t, input(files), nil)
	if root(p).Pool != nil {
		t.Error("a folder of files became an application")
	}
	if status, body := get(t, p, "GET", "/"); status != 200 || body != "hello" {
		t.Errorf("%d %q", status, body)
	}
	node := tree(t, map[string]string{"package.json": `{"scripts":{"start":"node server.js"}}`, "server.js": ""})
	if p := mustBuild(t, input(node), nil); root(p).Pool == nil || root(p).Settings.Protocol != worker.HTTPPlatform {
		t.Errorf("package.json: %+v", root(p))
	}
	if _, err := Build(input(t.TempDir()), parts(), nil); err == nil {
		t.Error("an empty folder was accepted")
	}
	if _, err := Build(input(filepath.Join(files, "index.html")), parts(), nil); err == nil || !strings.Contains(err.Error(), "folder") {
		t.Errorf("a file was accepted: %v", err)
	}
}

func TestARecognisedApplicationIsTold(t *testing.T) {
	t.Parallel()
	files := map[string]string{"package.json": `{"scripts":{"start":"node server.js"}}`, "server.js": ""}
	for _, c := range []struct{ webConfig, want string }{
		{"", "there is no web.config: package.json has the start script `node server.js`"},
		{"<configuration />", "web.config names no application: package.json has the start script `node server.js`"},
	} {
		if c.webConfig != "" {
			files["web.config"] = c.webConfig
		}
		var told strings.Builder
		if _, err := Build(input(tree(t, files)), Parts{Log: slog.New(slog.NewJSONHandler(&told, nil))}, nil); err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(told.String(), `"msg":"`+c.want+`"`) {
			t.Errorf("with the web.config %q the log is\n%s", c.webConfig, &told)
		}
	}
}

func TestReloadKeepsThePoolAndSeesWhatChanged(t *testing.T) {
	dir := tree(t, map[string]string{"web.config": webConfigWith(app), "app.dll": ""})
	first := mustBuild(t, input(dir), nil)
	same := mustBuild(t, input(dir), first)
	if root(same).Pool != root(first).Pool {
		t.Error("a reload made a new pool")
	}
	if root(same).Changed(root(first)) {
		t.Error("the same file counts as a change")
	}
	if err := os.WriteFile(filepath.Join(dir, "web.config"), []byte(webConfigWith(`<aspNetCore processPath="other"/>`)), 0o644); err != nil {
		t.Fatal(err)
	}
	if next := mustBuild(t, input(dir), same); !root(next).Changed(root(same)) {
		t.Error("another processPath does not count as a change")
	}
}

func TestAWebConfigWithoutAHandlerKeepsTheApplication(t *testing.T) {
	limit := `<configuration><system.webServer><security><requestFiltering><requestLimits maxAllowedContentLength="7"/></requestFiltering></security>`
	node := map[string]string{"package.json": `{"scripts":{"start":"node server.js"}}`, "server.js": "secret"}
	node["web.config"] = limit + `</system.webServer></configuration>`
	if p := mustBuild(t, input(tree(t, node)), nil); root(p).Pool == nil {
		t.Error("a web.config that sets a limit turned the application into files")
	}
	node["web.config"] = limit + `<handlers><clear/><add name="files" path="*" verb="*" modules="StaticFileModule"/></handlers></system.webServer></configuration>`
	if p := mustBuild(t, input(tree(t, node)), nil); root(p).Pool != nil {
		t.Error("a web.config that asks for files did not get them")
	}
	files := map[string]string{"index.html": "hello", "web.config": limit + `</system.webServer></configuration>`}
	if p := mustBuild(t, input(tree(t, files)), nil); root(p).Pool != nil {
		t.Error("a folder of files became an application")
	}
}

func TestABrokenSubfolderKeepsItsLastGoodSettings(t *testing.T) {
	good := `<configuration><system.webServer><defaultDocument><files><clear/><add value="start.txt"/></files></defaultDocument></system.webServer></configuration>`
	dir := tree(t, map[string]string{"index.html": "root", "docs/web.config": good, "docs/start.txt": "docs"})
	first := mustBuild(t, input(dir), nil)
	if _, body := get(t, first, "GET", "/docs/"); body != "docs" {
		t.Fatalf("answered %q", body)
	}
	if err := os.WriteFile(filepath.Join(dir, "docs", "web.config"), []byte("<configuration>"), 0o644); err != nil {
		t.Fatal(err)
	}
	if status, body := get(t, mustBuild(t, input(dir), first), "GET", "/docs/"); body != "docs" {
		t.Errorf("after the file was broken: %d %.80q", status, body)
	}
	started := mustBuild(t, input(dir), nil)
	if status, _ := get(t, started, "GET", "/docs/"); status != 500 {
		t.Errorf("a start with the broken file answers %d, want 500", status)
	}
	if p := mustBuild(t, input(dir), started); !p.Problems.HasErrors() {
		t.Error("a reload does not tell what a request has found")
	}
}

// A file that can be read, and cannot be used where it stands, is broken too;
// a reload tells of it before a request comes, and as long as it is.
func TestAReloadReadsTheFoldersThatWereVisited(t *testing.T) {
	good := `<configuration><system.webServer><defaultDocument><files><clear/><add value="start.txt"/></files></defaultDocument></system.webServer></configuration>`
	for name, bad := range map[string]string{
		"not XML": "<configuration>",
		"limits":  limited(`maxRequestHeaderCount="9"`, ""),
		"twice":   strings.Replace(good, `<add value="start.txt"/>`, `<add value="a.txt"/><add value="a.txt"/>`, 1),
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, map[string]string{"index.html": "root", "docs/web.config": good, "docs/start.txt": "docs"})
			p := mustBuild(t, input(dir), nil)
			if _, body := get(t, p, "GET", "/docs/"); body != "docs" {
				t.Fatalf("answered %q", body)
			}
			write(t, dir, "docs/web.config", bad)
			for range 3 {
				p = mustBuild(t, input(dir), p)
				if !p.Problems.HasErrors() {
					t.Error("a reload found no problem")
				}
				if status, body := get(t, p, "GET", "/docs/"); body != "docs" {
					t.Errorf("answered %d %.80q", status, body)
				}
			}
			write(t, dir, "docs/web.config", good)
			if p = mustBuild(t, input(dir), p); p.Problems.HasErrors() {
				t.Errorf("mended: %v", p.Problems)
			}
		})
	}
}

func TestDevelopment(t *testing.T) {
	with := func(name, value string) string {
		return webConfigWith(`<aspNetCore processPath="x"><environmentVariables><environmentVariable name="` + name + `" value="` + value + `"/></environmentVariables></aspNetCore>`)
	}
	for name, c := range map[string]struct {
		file    string
		environ string
		want    bool
	}{
		"neither":             {with("A", "b"), "X=y", false},
		"web.config":          {with("aspnetcore_environment", "development"), "X=y", true},
		"host":                {with("A", "b"), "DOTNET_ENVIRONMENT=Development", true},
		"host before file":    {with("ASPNETCORE_ENVIRONMENT", "Development"), "ASPNETCORE_ENVIRONMENT=Production", false},
		"detailed errors":     {with("ASPNETCORE_DETAILEDERRORS", "1"), "X=y", true},
		"detailed errors off": {with("ASPNETCORE_DETAILEDERRORS", "0"), "X=y", false},
	} {
		p := mustBuild(t, input(tree(t, map[string]string{"web.config": c.file}), c.environ), nil)
		if got := root(p).detailed; got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestHandlerErrors(t *testing.T) {
	dir := tree(t, map[string]string{"web.config": `<configuration><system.webServer><handlers><clear/>
<add name="php" path="*.php" verb="GET" modules="FastCgiModule"/></handlers></system.webServer></configuration>`})
	p := mustBuild(t, input(dir), nil)
	for path, want := range map[string]string{"/a.php": "500.21", "/a.html": "404.4"} {
		if _, body := get(t, p, "GET", path); !strings.Contains(body, want) {
			t.Errorf("%s: %.200s, want %s", path, body, want)
		}
	}
	if status, _ := get(t, p, "POST", "/a.php"); status != 405 {
		t.Errorf("POST /a.php: %d, want 405", status)
	}
}
