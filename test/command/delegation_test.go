package command

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// site writes an applicationHost.config with one site and what else it says,
// and the site's web.config, and returns the first.
func site(t *testing.T, more, webConfig string) string {
	t.Helper()
	dir := t.TempDir()
	file := filepath.Join(dir, "applicationHost.config")
	harness.WriteFile(t, file, `<configuration>
  <system.applicationHost>
    <sites>
      <site name="Shop" id="1">
        <application path="/"><virtualDirectory path="/" physicalPath="." /></application>
        <bindings><binding protocol="http" bindingInformation="*:0:" /></bindings>
      </site>
    </sites>
  </system.applicationHost>
`+more+`
</configuration>`)
	harness.WriteFile(t, filepath.Join(dir, "web.config"), webConfig)
	harness.WriteFile(t, filepath.Join(dir, "index.html"), "shop")
	return file
}

// What IIS locks by default is locked below an applicationHost.config, open
// where that file opens it, and open to the owner of a folder.
func TestDelegation(t *testing.T) {
	t.Parallel()
	const locked = `<configuration>
  <system.webServer>
    <webSocket enabled="false" />
  </system.webServer>
</configuration>`
	file := site(t, "", locked)
	stdout, stderr, code := harness.Command(t, filepath.Dir(file), "check", "--config", file)
	if told := stdout + stderr; code != 1 || !strings.Contains(told, "web.config:3:5: error PC031: system.webServer/webSocket is locked") {
		t.Errorf("locked: code %d\n%s", code, told)
	}
	if stdout, stderr, code := harness.Command(t, filepath.Dir(file), "check", filepath.Dir(file)); code != 0 {
		t.Errorf("open to the owner: code %d\n%s%s", code, stdout, stderr)
	}
	file = site(t, `  <location path="Shop" overrideMode="Allow"><system.webServer><webSocket /></system.webServer></location>`, locked)
	if stdout, stderr, code := harness.Command(t, filepath.Dir(file), "check", "--config", file); code != 0 {
		t.Errorf("opened: code %d\n%s%s", code, stdout, stderr)
	}
}

// What keeps a folder out of a site is told with the command that lets it in,
// before there is a file of sites as well.
func TestUnlock(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	sub := filepath.Join(d.dir, "shop", "admin")
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	const section = "system.webServer/security/access"
	harness.WriteFile(t, filepath.Join(sub, "web.config"), `<configuration><system.webServer><security><access sslFlags="None" /></security></system.webServer></configuration>`)
	add := []string{"site", "add", "shop", "--path", "shop", "--listen", "http://shop.localhost:8080"}
	_, stderr := d.run(1, add...)
	_, command, _ := strings.Cut(stderr, "`perch ")
	command, _, _ = strings.Cut(command, "` opens it")
	if said := d.edit(strings.Fields(command)...); !strings.Contains(said, section+" unlocked") {
		t.Errorf("perch %s said %q", command, said)
	}
	d.edit(add...)
	if stdout, _ := d.run(0, "check"); stdout != d.file+": no problems\n" {
		t.Errorf("check printed %q", stdout)
	}
	if said := d.edit("unlock", section); !strings.Contains(said, "nothing to change") {
		t.Errorf("said %q", said)
	}
	if got := d.text(); !strings.Contains(got, "<configuration>\n  <configSections>\n") {
		t.Errorf("the sections are not declared first:\n%s", got)
	}
	// Of a site alone, which has other settings in a <location>.
	d.edit("set", "system.webServer/httpProtocol/@allowKeepAlive=true", "--location", "shop")
	d.edit("unlock", "system.webServer/webSocket", "--location", "shop")
	d.edit("set", "system.webServer/webSocket/@enabled=false", "shop")
	if got := d.text(); !strings.Contains(got, "<location path=\"shop\" overrideMode=\"Allow\">\n    <system.webServer>\n      <webSocket />") {
		t.Errorf("the file is\n%s", got)
	}
	before := d.text()
	for args, want := range map[string]string{
		"unlock config shop /section:system.webServer/webSocket": "write `perch unlock system.webServer/webSocket`, with --location SITE",
		"unlock access":                                     "did you mean system.webServer/security/access?",
		"unlock system.applicationHost/sites":               "no web.config can set it",
		"unlock system.webServer/webSocket --location shpo": "did you mean shop?",
		"set system.webServer/security/access --location=":  "`perch unlock SECTION`",
		"set location[@path='']/@overrideMode=Allow":        "`perch unlock SECTION`",
		"set location[@path='two']/@overrideMode=Allow":     "`perch unlock SECTION`",
	} {
		if _, stderr, code := harness.Command(t, d.dir, strings.Fields(args)...); code == 0 || !strings.Contains(stderr, want) {
			t.Errorf("perch %s: code %d, nothing of %q in %s", args, code, want, stderr)
		}
	}
	if got := d.text(); got != before {
		t.Errorf("the file has changed:\n%s", got)
	}
	// A <location> that says otherwise has the last word.
	harness.WriteFile(t, d.file, strings.Replace(before, "</configSections>", `</configSections><location path="" overrideMode="Deny"><system.webServer><serverRuntime /></system.webServer></location>`, 1))
	if _, stderr := d.run(1, "unlock", "system.webServer/serverRuntime"); !strings.Contains(stderr, "serverRuntime stays locked: it is locked in "+d.file+":") {
		t.Errorf("said %q", stderr)
	}
}

// A part that a file above has locked is told with both places.
func TestLockedPart(t *testing.T) {
	t.Parallel()
	file := site(t, `  <system.webServer>
    <staticContent lockAttributes="isDocFooterFileName" />
  </system.webServer>`, `<configuration>
  <system.webServer>
    <staticContent isDocFooterFileName="false" />
  </system.webServer>
</configuration>`)
	stdout, stderr, code := harness.Command(t, filepath.Dir(file), "check", "--config", file)
	told := stdout + stderr
	if code != 1 {
		t.Errorf("code %d", code)
	}
	for _, want := range []string{"web.config:3:20: error PC032: isDocFooterFileName is locked", "applicationHost.config:11:20"} {
		if !strings.Contains(told, want) {
			t.Errorf("nothing of %q in\n%s", want, told)
		}
	}
}
