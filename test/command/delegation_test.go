package command

import (
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
