package plan

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/listen"
)

// codes returns place and code of problems in one line.
func codes(problems config.Problems) string {
	var all []string
	for _, p := range problems {
		at := p.Pos
		at.File = filepath.Base(at.File)
		all = append(all, at.String()+" "+string(p.Code))
	}
	return strings.Join(all, ", ")
}

// A site that nothing leads to, and a file in which nothing listens, are told:
// by check, and to who runs it.
func TestNothingListens(t *testing.T) {
	tcp := strings.Replace(plainSite(1, "tcp", "808:*", "a"), `"http"`, `"net.tcp"`, 1)
	for _, c := range []struct{ name, file, sites, want string }{
		{"another protocol, and another site", "perch.config", tcp + "\n" + plainSite(2, "a", "*:0:", "a"),
			"perch.config:5:7 PC066, perch.config:5:126 PC065"},
		{"no binding", "perch.config", `<site name="e" id="5"><application path="/"><virtualDirectory path="/" physicalPath="a" /></application></site>`,
			"perch.config PC067, perch.config:5:7 PC066"},
		{"a binding in error", "perch.config", plainSite(1, "a", "*:x:", "a"), "perch.config PC067, perch.config:5:140 PC050"},
		{"a site that is stopped", "perch.config", strings.Replace(plainSite(1, "a", "*:0:", "a"), "<site ", `<site serverAutoStart="false" `, 1), "perch.config PC067"},
		{"another file", "web.config", "", "web.config PC067"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := tree(t, map[string]string{c.file: hostConfig("", c.sites), "a/index.html": "a"})
			in := Input{Server: filepath.Join(dir, c.file)}
			problems, err := Check(in, parts())
			if got := codes(problems); err != nil || got != c.want {
				t.Errorf("check: %s %v, want %s", got, err, c.want)
			}
			listening := parts()
			listening.Listen = func(wanted []listen.Binding) ([]listen.Binding, error) { return wanted, nil }
			_, err = Build(in, listening, nil)
			var told config.Problems
			if none := strings.Contains(c.want, "PC067"); errors.As(err, &told) != none || none && codes(told) != c.want {
				t.Errorf("build: %v, want an error: %v", err, none)
			}
			if c.file == "web.config" && !strings.Contains(problems[0].Hint, "perch run "+dir) {
				t.Errorf("hint %q", problems[0].Hint)
			}
			// What makes such a file into another one is no error.
			fresh, err := CheckDraft(in, parts(), Draft{in.Server, []byte(hostConfig("", ""))})
			if err != nil || fresh.HasErrors() {
				t.Errorf("a draft without sites: %v %v", fresh, err)
			}
		})
	}
}

func TestAnEditThatTakesTheLastBindingIsTold(t *testing.T) {
	before := hostConfig("", plainSite(1, "a", "*:0:", "a"))
	dir := tree(t, map[string]string{"applicationHost.config": before, "a/index.html": "a"})
	cut := strings.Replace(before, `<binding protocol="http" bindingInformation="*:0:" />`, "", 1)
	fresh, err := CheckDraft(served(dir), parts(), Draft{served(dir).Server, []byte(cut)})
	if got := codes(fresh); err != nil || got != "applicationHost.config:5:7 PC066" {
		t.Errorf("%s %v", got, err)
	}
	if hint := fresh[0].Hint; !strings.Contains(hint, "/bindings/binding[@protocol='http' and @bindingInformation='*:8080:']\" --config "+served(dir).Server) {
		t.Errorf("hint %q", hint)
	}
}

// Settings for a site that is not there are told, those that a removed one
// leaves behind as well.
func TestLocationsWithoutASite(t *testing.T) {
	locations := `<location path="Shop/api"><system.webServer /></location>
<location path="shpo"><system.webServer /></location>
<location path="."><system.webServer /></location>
<location path=""><system.webServer /></location>
</configuration>`
	before := strings.Replace(hostConfig("", plainSite(1, "shop", "*:0:", "a")), "</configuration>", locations, 1)
	dir := tree(t, map[string]string{"applicationHost.config": before, "a/index.html": "a"})
	problems, err := Check(served(dir), parts())
	if got := codes(problems); err != nil || got != "applicationHost.config:9:1 PC070" || problems[0].Severity != config.Warning || problems[0].Hint != "did you mean shop?" {
		t.Errorf("%s %v\n%s", got, err, details(problems))
	}
	fresh, err := CheckDraft(served(dir), parts(), Draft{served(dir).Server, []byte(strings.Replace(hostConfig("", ""), "</configuration>", locations, 1))})
	if got := codes(fresh); err != nil || got != "applicationHost.config:8:1 PC070" || !strings.Contains(fresh[0].Message, "Shop/api") {
		t.Errorf("a draft without the site: %s %v", got, err)
	}
}
