package tls

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// What docs/sites.md says of coming from IIS is what happens, to the letter.
func TestComingFromIIS(t *testing.T) {
	t.Parallel()
	page := harness.ReadFile(t, filepath.Join(harness.Root(), "docs", "sites.md"))
	_, page, _ = strings.Cut(page, "\n## Coming from IIS\n")
	page, _, _ = strings.Cut(page, "\n## ")
	a := newAuthority(t)
	a.pfx("shop.pfx", "secret", "shop.example")
	a.put("shop.password", []byte("secret\n"))
	srv := t.TempDir()
	for _, folder := range []string{"inetpub/wwwroot", "media"} {
		if err := os.MkdirAll(filepath.Join(srv, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	a.put("applicationHost.config", []byte(`<configuration>
  <system.applicationHost>
    <sites>
      <site name="shop" id="1">
        <application path="/">
          <virtualDirectory path="/" physicalPath="%SystemDrive%\inetpub\wwwroot" />
          <virtualDirectory path="/media" physicalPath="D:\media" />
        </application>
        <bindings>
          <binding protocol="https" bindingInformation="*:443:shop.example" sslFlags="1" />
        </bindings>
      </site>
    </sites>
  </system.applicationHost>
</configuration>
`))
	var script, want strings.Builder
	for l := range strings.Lines(page) {
		l, example := strings.CutPrefix(l, "    ")
		command, typed := strings.CutPrefix(l, "$ ")
		switch {
		case !example && l != "\n":
		case typed:
			script.WriteString(command)
		case example || l == "\n":
			want.WriteString(l)
		}
	}
	dir := t.TempDir()
	if err := os.Symlink(harness.Binary(), filepath.Join(dir, "perch")); err != nil {
		t.Fatal(err)
	}
	shell := exec.Command("sh", "-c", strings.NewReplacer("/etc/perch", a.dir, "/srv", srv).Replace(script.String()))
	shell.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	out, err := shell.CombinedOutput()
	if err != nil {
		t.Errorf("%v", err)
	}
	got := strings.NewReplacer(a.dir, "/etc/perch", srv, "/srv").Replace(string(out))
	if got, want := lines(got), lines(want.String()); got != want {
		t.Errorf("the commands print\n%s\nwant\n%s", got, want)
	}
}

// lines leaves out those that are empty.
func lines(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool { return r == '\n' }), "\n")
}
