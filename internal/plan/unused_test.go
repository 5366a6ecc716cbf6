package plan

import (
	"os"
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
