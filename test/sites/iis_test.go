package sites

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// writtenByIIS is one of the files that IIS 10 and IIS Express write, all
// sections of the server in it, moved to where this test can serve its site,
// with an identity that Windows has encrypted and a part that is for few.
func writtenByIIS(t *testing.T, name, root string) string {
	t.Helper()
	text := harness.ReadFile(t, filepath.Join("..", "..", "internal", "config", "merge", "testdata", name))
	for _, change := range [][2]string{
		{`physicalPath="[^"]*"`, `physicalPath="` + root + `"`},
		{`<binding protocol="http" bindingInformation="[^"]*"`, `<binding protocol="http" bindingInformation="127.0.0.1:0:"`},
		{`<processModel [^>]*/>`, `<processModel identityType="SpecificUser" userName="CORP\web" password="[enc:IISWASOnlyAesProvider:57686f207265616473:enc]" />`},
		{`</configuration>\s*$`, `<location path="` + siteOf(text) + `/admin"><system.webServer><security><authorization>` +
			`<remove users="*" roles="" verbs="" /><add accessType="Allow" roles="Administrators" /></authorization></security></system.webServer></location></configuration>`},
	} {
		found := regexp.MustCompile(change[0])
		if !found.MatchString(text) {
			t.Fatalf("%s has no %s", name, change[0])
		}
		text = found.ReplaceAllLiteralString(text, change[1])
	}
	path := filepath.Join(t.TempDir(), "applicationHost.config")
	harness.WriteFile(t, path, text)
	return path
}

func siteOf(text string) string {
	return regexp.MustCompile(`<site name="([^"]+)"`).FindStringSubmatch(text)[1]
}

// TestFilesOfIIS serves them. What Perch does not do is named once, with its
// place, and what would restrict access as that.
func TestFilesOfIIS(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"iis.config", "iisexpress.config"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			root := page(t, "home")
			harness.WriteFile(t, filepath.Join(root, "style.css"), "p {}")
			config := writtenByIIS(t, name, root)

			stdout, stderr, code := harness.Command(t, t.TempDir(), "check", "--config", config)
			if code != 0 || stderr != "" {
				t.Errorf("perch check: %d %s%s", code, stdout, stderr)
			}
			told := notDone(stdout)
			for _, want := range []string{"PC040 system.webServer/httpErrors", "PC041 system.webServer/security/authorization"} {
				if !slices.ContainsFunc(told, func(s string) bool { return strings.HasPrefix(s, want) }) {
					t.Errorf("perch check does not tell %s:\n%s", want, strings.Join(told, "\n"))
				}
			}

			h := harness.Start(t, harness.Run{Config: config, Lines: 1, Dir: root, Env: []string{"SystemDrive=C:", "windir=/w", "IIS_SITES_HOME=/s", "IIS_USER_HOME=/u", "IIS_BIN=/b", "AppData=/a"}})
			if r := h.Get("/"); r.StatusCode != 200 || r.Text() != "home" || r.Header.Get("X-Powered-By") != "ASP.NET" {
				t.Errorf("%d %.80q %v", r.StatusCode, r.Text(), r.Header)
			}
			if r := h.Get("/style.css"); r.Header.Get("Content-Type") != "text/css" {
				t.Errorf("%d %v", r.StatusCode, r.Header)
			}
			if r := h.Get("/web.config"); r.StatusCode != 404 {
				t.Errorf("web.config: %d", r.StatusCode)
			}
			harness.Eventually(t, func() bool { return len(notDone(h.Stderr())) >= len(told) }, "perch run tells as much as perch check")
			started := notDone(h.Stderr())
			if slices.Sort(started); len(slices.Compact(slices.Clone(started))) != len(started) {
				t.Errorf("told twice:\n%s", strings.Join(started, "\n"))
			}
			if slices.Sort(told); !slices.Equal(started, told) {
				t.Errorf("perch run tells\n%s\nand perch check\n%s", strings.Join(started, "\n"), strings.Join(told, "\n"))
			}
			if strings.Contains(stdout+h.Stderr(), "57686f") {
				t.Error("an encrypted password is told")
			}
		})
	}
}

// notDone returns code and subject of everything that a text says not to be
// done.
func notDone(text string) []string {
	var all []string
	for _, m := range regexp.MustCompile(`warning (PC04[01])[^:]*: (\S+) is known, but not done yet`).FindAllStringSubmatch(text, -1) {
		all = append(all, m[1]+" "+m[2])
	}
	return all
}

// TestFilesThatCannotBe tells what is wrong with hostile and broken files, with
// its place, within a second or two, and serves none of them; a server that
// runs goes on with what it has.
func TestFilesThatCannotBe(t *testing.T) {
	t.Parallel()
	good := site(1, "a", []string{"127.0.0.1:0:"}, "/="+page(t, "served"))
	s := newServer(t, good)
	dir := filepath.Dir(s.path)
	h := s.start(t, 1)
	loop := filepath.Join(dir, "loop")
	if err := os.Symlink(loop, loop); err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, filepath.Join(dir, "cycle.config"), `<sites configSource="cycle.config" />`)
	harness.WriteFile(t, filepath.Join(dir, "web.config"), `<configuration />`)
	host := func(sites string) string {
		return "<configuration><system.applicationHost>" + sites + "</system.applicationHost></configuration>"
	}
	for name, c := range map[string]struct{ text, want string }{
		"a bomb of entities": {`<!DOCTYPE b [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"><!ENTITY c "&b;&b;&b;&b;">]>` + host("&c;"), "PC0"},
		"an entity outside":  {`<!DOCTYPE b [<!ENTITY a SYSTEM "file:///etc/passwd">]>` + host("&a;"), "PC0"},
		"ten megabytes":      {host("<sites>"+good+"</sites>") + strings.Repeat(" ", 10<<20), "PC0"},
		"a cycle":            {host(`<sites configSource="cycle.config" />`), "cycle.config"},
		"a loop of links":    {host(`<sites configSource="loop" />`), "loop"},
		"a file that is not": {host(`<sites configSource="gone.config" />`), "gone.config"},
		"a deep tree":        {strings.Repeat("<configuration>", 100_000), "PC0"},
		"no text":            {"\x00\x01\x02", "PC0"},
	} {
		harness.WriteFile(t, s.path, c.text)
		stdout, _, code := harness.Command(t, dir, "check", "--config", s.path)
		if code != 1 || !strings.Contains(stdout, c.want) || !regexp.MustCompile(`\.config(:\d+:\d+)?: error PC\d`).MatchString(stdout) {
			t.Errorf("%s: perch check: %d %.300s", name, code, stdout)
		}
		if out, code := s.reload(t); code != 1 || !strings.Contains(out, "not taken over") {
			t.Errorf("%s: perch reload: %d %.300s", name, code, out)
		}
		if r := h.Get("/"); r.Text() != "served" {
			t.Errorf("%s: the server answers %d", name, r.StatusCode)
		}
	}
	// A folder that is a loop is told, and the rest is served.
	harness.WriteFile(t, s.path, host("<sites>"+site(1, "a", []string{"127.0.0.1:0:"}, "/="+page(t, "still"))+site(2, "b", []string{"127.0.0.1:0:"}, "/="+loop)+"</sites>"))
	if out, code := s.reload(t); code != 1 || !strings.Contains(out, fmt.Sprintf("%q", loop)) && !strings.Contains(out, loop) {
		t.Errorf("perch reload: %d %.300s", code, out)
	}
	harness.Eventually(t, func() bool { return h.Get("/").Text() == "still" }, "the other site is served anew")
}
