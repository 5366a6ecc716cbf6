package plan

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/listen"
)

// A section that starts an application is told where nothing leads to it, and
// not where an application below makes use of it.
func TestApplicationSectionsThatNothingLeadsTo(t *testing.T) {
	const aspNetCore, platform = `<aspNetCore processPath="/bin/true" />`, `<httpPlatform processPath="/bin/true" />`
	handler := func(module string) string {
		return `<handlers><add name="app" path="*" verb="*" modules="` + module + `" /></handlers>`
	}
	plain := func(inner string) string {
		return "<configuration><system.webServer>\n" + inner + "\n</system.webServer></configuration>"
	}
	for name, c := range map[string]struct {
		root, api string // web.config
		want      []string
	}{
		"used":                     {root: plain(handler("AspNetCoreModule") + aspNetCore)},
		"no handler":               {root: plain(aspNetCore), want: []string{"web.config:2:1 system.webServer/aspNetCore"}},
		"handler of another":       {root: plain(handler("AspNetCoreModuleV2") + "\n" + aspNetCore + "\n" + platform), want: []string{"web.config:4:1 system.webServer/httpPlatform"}},
		"handler taken away":       {root: plain(handler("httpPlatformHandler") + platform), api: plain(`<handlers><remove name="app" /></handlers>` + platform), want: []string{"api/web.config:2:43 system.webServer/httpPlatform"}},
		"inherited, not used":      {root: plain(handler("AspNetCoreModuleV2") + aspNetCore), api: plain(`<handlers><clear /></handlers>`)},
		"used by a child alone":    {root: plain(aspNetCore), api: plain(handler("AspNetCoreModuleV2"))},
		"included":                 {root: plain(`<aspNetCore configSource="app.config" />`), want: []string{"app.config:1:1 system.webServer/aspNetCore"}},
		"in a location of its own": {root: `<configuration><location path="." inheritInChildApplications="false"><system.webServer>` + aspNetCore + `</system.webServer></location></configuration>`, want: []string{"web.config:1:88 system.webServer/aspNetCore"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			files := map[string]string{"root/web.config": c.root, "root/app.config": aspNetCore, "api/index.html": "",
				"applicationHost.config": hostConfig("", `<site name="a" id="1"><application path="/"><virtualDirectory path="/" physicalPath="root" /></application>
<application path="/api"><virtualDirectory path="/" physicalPath="api" /></application></site>`)}
			if c.api != "" {
				files["api/web.config"] = c.api
			}
			dir := tree(t, files)
			problems, err := Check(served(dir), parts())
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, p := range problems {
				if p.Code == config.NoHandler && p.Severity == config.Warning {
					got = append(got, strings.TrimPrefix(strings.TrimPrefix(p.Pos.String(), dir+"/"), "root/")+" "+p.Subject)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("told %q, want %q of\n%v", got, c.want, problems)
			}
		})
	}
}

// A handler of one module never leads to the application of another.
func TestHandlersOfTwoApplications(t *testing.T) {
	t.Parallel()
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir := tree(t, map[string]string{"web.config": `<configuration><system.webServer>
<handlers><add name="python" path="*.py" verb="*" modules="httpPlatformHandler" /><add name="net" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers>
<httpPlatform processPath="` + program + `" /><aspNetCore processPath="/bin/dotnet" /></system.webServer></configuration>`})
	in := input(dir)
	in.Bindings = []listen.Binding{{URL: "http://localhost", Host: "localhost", Port: 80}}
	for path, want := range map[string]string{"/a.py": "the application ", "/a": "500: the handler net needs the application of system.webServer/aspNetCore"} {
		x, err := Explain(in, parts(), Question{URL: "http://localhost" + path})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(x.Answer, want) {
			t.Errorf("%s is answered by %q, want %q", path, x.Answer, want)
		}
	}
}

// An application handler that is no application's is told where it stands, as
// a request that it answers is.
func TestHandlersWithoutAnApplication(t *testing.T) {
	t.Parallel()
	const inner = `<system.webServer>
<handlers><add name="app" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers><aspNetCore processPath="/bin/true" /></system.webServer>`
	location := `<configuration><location path="api">` + inner + `</location></configuration>`
	for name, c := range map[string]struct{ file, told string }{
		"web.config":     {location, "web.config:2:45"},
		"api/web.config": {"<configuration>" + inner + "</configuration>", "api/web.config:2:45"},
	} {
		dir := tree(t, map[string]string{"index.html": "root", "api/index.html": "api", name: c.file})
		in := input(dir)
		in.Bindings = []listen.Binding{{URL: "http://localhost", Host: "localhost", Port: 80}}
		problems, err := Check(in, parts())
		if err != nil {
			t.Fatal(err)
		}
		if len(problems) != 1 || problems[0].Code != config.NoApplication || problems[0].Severity != config.Warning ||
			problems[0].Pos.String() != filepath.Join(dir, c.told) || problems[0].Source == "" || !strings.Contains(problems[0].Hint, "perch app add") {
			t.Errorf("%s: told\n%swant a warning at %s", name, details(problems), c.told)
			continue
		}
		x, err := Explain(in, parts(), Question{URL: "http://localhost/api/"})
		if err != nil {
			t.Fatal(err)
		}
		why, _ := strings.CutPrefix(x.Answer, "500: ")
		if !x.Refused || why == "" || !strings.HasPrefix(problems[0].Message, why) {
			t.Errorf("%s: explained as %q, and told as %q", name, x.Answer, problems[0].Message)
		}
		if status, _ := get(t, mustBuild(t, input(dir), nil), "GET", "/api/"); status != 500 {
			t.Errorf("%s: answered with %d", name, status)
		}
		server := tree(t, map[string]string{"applicationHost.config": hostConfig("", plainSite(1, "a", "*:80:", dir))})
		problems, err = Check(served(server), parts())
		if want := "`perch app add a/api --path " + filepath.Join(dir, "api") + " --config " + served(server).Server + "`"; err != nil || len(problems) != 1 || !strings.Contains(problems[0].Hint, want) {
			t.Errorf("%s: a site is told %v, %v, want %s", name, details(problems), err, want)
		}
	}
}

// An inherited handler is told only where it takes requests, with the
// application that lacks it and the way to inherit it no more.
func TestInheritedHandlers(t *testing.T) {
	t.Parallel()
	app := func(module, section string) string {
		return "<configuration><system.webServer>\n<handlers>\n" + `<add name="` + section + `" path="*" verb="*" modules="` + module + `" /></handlers>` +
			"<" + section + ` processPath="/bin/true" /></system.webServer></configuration>`
	}
	root := app("httpPlatformHandler", "httpPlatform")
	for name, c := range map[string]struct{ net, want string }{
		"the child answers everything first": {app("AspNetCoreModuleV2", "aspNetCore"), ""},
		"the child answers some":             {strings.Replace(app("AspNetCoreModuleV2", "aspNetCore"), `path="*"`, `path="*.net"`, 1), "root/web.config:3:44"},
	} {
		dir := tree(t, map[string]string{"root/web.config": root, "net/web.config": c.net,
			"applicationHost.config": hostConfig("", strings.Replace(plainSite(1, "s", "*:80:", "root"), "<bindings>",
				`<application path="/net"><virtualDirectory path="/" physicalPath="net" /></application><bindings>`, 1))})
		problems, err := Check(served(dir), parts())
		problems = slices.DeleteFunc(problems, func(p config.Problem) bool { return p.Code != config.NoApplication })
		switch {
		case err != nil || (len(problems) > 0) != (c.want != ""):
			t.Errorf("%s: told %v\n%s", name, err, details(problems))
		case c.want != "":
			if p := problems[0]; p.Pos.String() != filepath.Join(dir, c.want) || !strings.Contains(p.Message, "s/net is the one of system.webServer/aspNetCore") ||
				!strings.Contains(p.Hint, `<location path="." inheritInChildApplications="false"> of `+filepath.Join(dir, "root/web.config")) {
				t.Errorf("%s: told\n%s", name, p.Detail())
			}
		}
	}
}

// What the handlers of iisnode and PHP need here is told where they stand.
func TestHandlersOfModulesThatAreNotThere(t *testing.T) {
	t.Parallel()
	for handler, want := range map[string]string{
		`<add name="iisnode" path="app.js" verb="*" modules="iisnode" />`:                                       `<httpPlatform processPath="node" arguments=".\app.js" />`,
		`<add name="PHP" path="*.php" verb="*" modules="FastCgiModule" scriptProcessor="C:\php\php-cgi.exe" />`: `<httpPlatform processPath="php" arguments="-S 127.0.0.1:%HTTP_PLATFORM_PORT%" />`,
	} {
		dir := tree(t, map[string]string{"index.html": "", "web.config": "<configuration><system.webServer><handlers>\n" + handler + "\n</handlers></system.webServer></configuration>"})
		problems, err := Check(input(dir), parts())
		if err != nil || len(problems) != 1 || problems[0].Line != 2 || problems[0].Source == "" || !strings.Contains(problems[0].Hint, want) {
			t.Errorf("%s: told %v\n%s", handler, err, details(problems))
		}
	}
}
