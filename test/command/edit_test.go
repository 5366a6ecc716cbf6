package command

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// desk is a folder with the folders of sites in it, and a file of sites.
type desk struct {
	t    *testing.T
	dir  string
	file string
}

func newDesk(t *testing.T) *desk {
	dir := t.TempDir()
	for _, name := range []string{"shop", "api", "conf"} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		harness.WriteFile(t, filepath.Join(dir, name, "index.html"), name)
	}
	return &desk{t, dir, filepath.Join(dir, "perch.config")}
}

// run runs a command that has to end with a code, and returns what it prints.
func (d *desk) run(code int, args ...string) (stdout, stderr string) {
	d.t.Helper()
	stdout, stderr, got := harness.Command(d.t, d.dir, args...)
	if got != code {
		d.t.Fatalf("perch %s: code %d, want %d\n%s%s", strings.Join(args, " "), got, code, stdout, stderr)
	}
	return stdout, stderr
}

// edit runs a command that changes something: nothing on standard output, one
// line on standard error.
func (d *desk) edit(args ...string) string {
	d.t.Helper()
	stdout, stderr := d.run(0, args...)
	if stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "perch: "+d.dir) {
		d.t.Errorf("perch %s printed %q and %q", strings.Join(args, " "), stdout, stderr)
	}
	return stderr
}

func (d *desk) text() string {
	d.t.Helper()
	return harness.ReadFile(d.t, d.file)
}

// The way of a first-time user, from nothing to an answer.
func TestFirstSite(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if said := d.edit("site", "add", "shop", "--path", "./shop", "--listen", "http://shop.localhost:0"); !strings.Contains(said, "site shop (id 1) added") {
		t.Errorf("said %q", said)
	}
	const want = `<?xml version="1.0" encoding="utf-8"?>
<configuration>
  <system.applicationHost>
    <sites>
      <site name="shop" id="1">
        <application path="/">
          <virtualDirectory path="/" physicalPath="shop" />
        </application>
        <bindings>
          <binding protocol="http" bindingInformation="*:0:shop.localhost" />
        </bindings>
      </site>
    </sites>
  </system.applicationHost>
</configuration>
`
	if got := d.text(); got != want {
		t.Errorf("the file is\n%s", got)
	}
	// It is what the other commands are about in this folder, too.
	if stdout, _ := d.run(0, "check"); stdout != d.file+": no problems\n" {
		t.Errorf("check printed %q", stdout)
	}
	d.edit("set", "system.webServer/webSocket/@enabled=false", "--location", "shop")
	h := harness.Start(t, harness.Run{Config: d.file, Dir: d.dir, Lines: 1})
	c := harness.Dial(t, "127.0.0.1"+h.URL[strings.LastIndexByte(h.URL, ':'):])
	if r := c.Send("GET / HTTP/1.1\r\nHost: shop.localhost\r\n\r\n").Response("GET"); r.Text() != "shop" {
		t.Errorf("answered %s", harness.Describe(r.StatusCode, r.Bytes))
	}
}

func TestSitesAppsAndDirectories(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.edit("site", "add", "shop", "--path", "shop", "--listen", "http://shop.localhost:8080")
	first := d.text()
	d.edit("site", "add", "two", "--path", filepath.Join(d.dir, "shop"), "-l", "https://two.localhost:8443", "-l", "http://*:8081", "--pool", "Main")
	d.edit("app", "add", "shop/api", "--path", "api", "--pool", "main") // letter case aside, it is there
	d.edit("vdir", "add", "SHOP/api/media", "--path", "shop")
	d.edit("set", "system.applicationHost/sites/site[@name='two']/@serverAutoStart=false")
	for args, want := range map[string]string{
		"site list": "NAME  ID  AUTOSTART  URL                                       FOLDER\n" +
			"shop  1   true       http://shop.localhost:8080                shop\n" +
			"two   2   false      https://two.localhost:8443,http://*:8081  " + d.dir + "/shop\n",
		"app list": "APPLICATION  POOL  FOLDER\n" +
			"shop/        -     shop\nshop/api     main  api\ntwo/         Main  " + d.dir + "/shop\n",
		"app list two": "APPLICATION  POOL  FOLDER\ntwo/         Main  " + d.dir + "/shop\n",
		"vdir list shop": "DIRECTORY       FOLDER\n" +
			"shop/           shop\nshop/api        api\nshop/api/media  shop\n",
	} {
		if stdout, stderr := d.run(0, strings.Fields(args)...); stdout != want || stderr != "" {
			t.Errorf("perch %s printed\n%s%s, want\n%s", args, stdout, stderr, want)
		}
	}
	var listed struct {
		Sites []struct {
			Name         string
			ID           int
			Bindings     []struct{ URL, BindingInformation string }
			Applications []struct {
				Path, Pool         string
				VirtualDirectories []struct{ Path, PhysicalPath, Place string }
			}
		}
	}
	stdout, _ := d.run(0, "site", "list", "--json")
	if err := json.Unmarshal([]byte(stdout), &listed); err != nil || len(listed.Sites) != 2 || listed.Sites[1].Name != "two" || listed.Sites[1].ID != 2 ||
		listed.Sites[1].Bindings[0].URL != "https://two.localhost:8443" || listed.Sites[0].Applications[1].VirtualDirectories[1].Path != "/media" {
		t.Errorf("%v: %s", err, stdout)
	}
	if got := d.text(); !strings.Contains(got, `<binding protocol="https" bindingInformation="*:8443:two.localhost" sslFlags="1" />`) || strings.Count(got, "<add name") != 1 {
		t.Errorf("the file is\n%s", got)
	}
	d.run(0, "check", "--config", "perch.config")

	d.edit("vdir", "remove", "shop/api/media")
	d.edit("app", "remove", "shop/api")
	d.edit("unset", "system.applicationHost/sites/site[@name='two']", "system.applicationHost/applicationPools", "--config", "perch.config")
	if got := d.text(); got != first {
		t.Errorf("what was added and removed left\n%s", got)
	}
	// The version before is the one with the second site.
	if got := harness.ReadFile(t, filepath.Join(d.dir, ".perch-history", "perch.config.7")); !strings.Contains(got, `<site name="two"`) {
		t.Errorf("the version before is\n%s", got)
	}
}

// What must not be is refused, with the reason and the exit code, and nothing
// is written.
func TestEditsThatAreRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	harness.WriteFile(t, d.file, `<configuration>
  <system.applicationHost>
    <sites>
      <site name="shop" id="4">
        <application path="/"><virtualDirectory path="/" physicalPath="shop" /><virtualDirectory path="/closed" physicalPath="api" allowSubDirConfig="false" /></application>
        <bindings><binding protocol="http" bindingInformation="*:8080:shop.test" /></bindings>
      </site>
    </sites>
  </system.applicationHost>
  <location path="shop" overrideMode="Deny">
    <system.webServer><webSocket enabled="true" /></system.webServer>
  </location>
  <system.webServer><directoryBrowse enabled="false" lockAttributes="enabled" /></system.webServer>
</configuration>
`)
	broken := filepath.Join(d.dir, "broken.config")
	harness.WriteFile(t, broken, "<configuration><system.webServer></configuration>")
	before := d.text()
	web := filepath.Join(d.dir, "shop", "web.config")
	for _, c := range []struct {
		args string // with ~ for blanks
		code int
		want []string
	}{
		{"site add shop --path shop --listen http://x.test:8080", 1, []string{"there is a site shop already, at " + d.file + ":4:7"}},
		{"site add x --path nowhere --listen http://x.test:8080", 1, []string{"folder nowhere: it does not exist"}},
		{"site add x --path shop --listen http://shop.test:8080", 1, []string{d.file + ":13:", "PC051", "^", "it stands at " + d.file + ":6:"}},
		{"site add x --path shop --listen http://x.test:8080 --id 4", 1, []string{"PC030", "id is 4 here and in another <site>"}},
		{"site add x --path shop --listen https://x.test", 2, []string{"needs a certificate", "--cert FILE"}},
		{"site add x --path shop --listen http://x.localhost:8080 --cert gone.pem", 2, []string{"--cert is for https", "hint: write --listen https://"}},
		{"site add x --path shop --listen https://x.test --cert gone.pem", 1, []string{"PC056", "gone.pem"}},
		{"site add x/y --path shop --listen http://x.test", 1, []string{"PC017", "a name without / and ?"}},
		{"site add x --path nowhere --listen http://x.test", 1, []string{"folder nowhere"}},
		{"site add x --path shop", 2, []string{"--listen", "hint:"}},
		{"site add x --path shop --listen unix:/run/x.sock", 2, []string{"unix socket"}},
		{"site add x --path shop --listen http://x.test:99999", 2, []string{"99999"}},
		{"site add x --path shop --listen *:8080:x.localhost", 2, []string{"hint: that is how IIS writes a binding; its URL is http://x.localhost:8080\n"}},
		{"set location[@path='shop']/@overrideMode=Deny --config perch.config --location shop", 2, []string{"exclude each other", "hint: leave --location out"}},
		{"site add --path shop --listen http://x.test", 2, []string{"the name of a site"}},
		{"site remove shpo", 1, []string{"there is no site shpo", "did you mean shop?"}},
		{"site rename shop", 2, []string{"there is no command"}},
		{"site remove shop --config gone.config", 1, []string{"there is no file", "gone.config"}},
		{"site list --config gone.config", 1, []string{"PC008", "gone.config", "hint: --config FILE names another one; `perch site add` makes one"}},
		{"site add x --path shop --listen http://x.test --config broken.config", 1, []string{broken + ":1:", "PC004"}},
		{"app add shpo/x --path api", 1, []string{"did you mean shop?"}},
		{"app add shop/ --path api", 1, []string{"there is an application shop/ already"}},
		{"app add shop/../x --path api", 1, []string{"PC017", "dot segments"}},
		{"app add shop//x --path api", 1, []string{d.file + ":6:", "PC017", "empty segments", "did you mean /x?"}},
		{"vdir add shop/a//b --path api", 1, []string{"PC017", "did you mean /a/b?"}},
		{"app add shop/x", 2, []string{"--path"}},
		{"app remove shop/", 1, []string{"PC054"}},
		{"app remove shop/x", 1, []string{"no application /x in site shop"}},
		{"vdir add shop --path api", 1, []string{"there is a virtual directory shop/ already"}},
		{"vdir remove shop/x", 1, []string{"no virtual directory /x"}},
		{"vdir remove shop/", 1, []string{"PC054"}},
		{"set system.webServer/webSocket/@enabeld=x shop", 1, []string{web + ":4:16", "PC013", "did you mean enabled?"}},
		{"set system.webServer/webSocket/@enabled=maybe shop", 1, []string{web + ":4:25", "PC017", "expected: true or false"}},
		{"set system.webServer/aspNetCore/@startupTimeLimit=9999 shop", 1, []string{"PC018", "a number from 0 to 3600"}},
		{"set system.applicationHost/sites/site[@name='shop']/@id=x --config perch.config", 1, []string{d.file + ":4:", "PC017"}},
		{"set system.applicationHost/sites/site[@name='shop']/@id=1 --config perch.config --location shop", 1, []string{"PC023", "part of the server"}},
		{"set system.webServer/webSocket/@enabled=false --config perch.config --location shop --web-config", 1, []string{web, "PC031", "it is locked in " + d.file + ":11:"}},
		{"set system.webServer/directoryBrowse/@enabled=true --config perch.config --location shop --web-config", 1, []string{web, "PC032", "it is locked in " + d.file + ":13:"}},
		{"set system.webServer/webSocket/@enabled=false --config perch.config --location shpo", 1, []string{"did you mean shop?"}},
		{"set system.webServer/webSocket/@enabled=false --config perch.config --location shop/../api --web-config", 1, []string{"location shop/../api", "dot segment"}},
		{"set system.webServer/webSocket/@enabled=false --config perch.config --location shop/none --web-config", 1, []string{filepath.Join("shop", "none") + ": the folder does not exist"}},
		{"set system.webServer/webSocket/@enabled=false --config perch.config --location shop/index.html --web-config", 1, []string{"index.html: this is a file"}},
		{"set system.webServer/webSocket/@enabled=false --config perch.config --location shop/closed/x --web-config", 1, []string{"no web.config is read", "allowSubDirConfig"}},
		{"set system.webServer/webSocket/@enabled=false --web-config", 2, []string{"--location"}},
		{"set system.webServer/webSocket/@enabled=false shop --config perch.config", 2, []string{"exclude"}},
		{"set system.webServer/webSocket/@enabled shop", 2, []string{"has no value"}},
		{"set system.webServer/webSocket/@enabled=false shop", 1, []string{web, "PC031", "it is locked in " + d.file + ":11:",
			"`perch set system.webServer/webSocket/@enabled=false --config perch.config --location shop` sets it there"}},
		{"set system.applicationHost/sites/site[@name='typo']/limits/@maxConnections=3 --config perch.config", 1, []string{"there is no site typo in " + d.file + "; there is shop"}},
		{"set system.applicationHost/sites/site[@name='shpo']/@serverAutoStart=false --config perch.config", 1, []string{"there is no site shpo in " + d.file + "; did you mean shop?"}},
		{"set system.applicationHost/sites/site[@name='shop']/application[@path='/']/@applicationPool=Fast --config perch.config", 1,
			[]string{d.file + ":5:", "PC052", "`perch set \"system.applicationHost/applicationPools/add[@name='Fast']\" --config " + d.file + "` adds it"}},
		{"set /section:system.webServer/webSocket /enabled:false /commit:apphost", 2, []string{"appcmd", "hint: write `perch set system.webServer/webSocket/@enabled=false`"}},
		{"set config shop /section:system.applicationHost/sites /siteDefaults.limits.maxConnections:7", 2,
			[]string{"hint: write `perch set system.applicationHost/sites/siteDefaults/limits/@maxConnections=7`"}},
		{"set nowhere", 2, []string{"neither a folder"}},
		{"set shop", 2, []string{"no setting"}},
		{"set system.webServer/a[ shop", 2, []string{"ends too early"}},
		{"unset system.webServer/webSocket/@enabled=false shop", 2, []string{"leave out"}},
		{"set system.webServer/handlers/add/@path=x shop", 1, []string{"say which"}},
	} {
		t.Run(strings.NewReplacer("/", ".", " ", "_").Replace(c.args), func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := harness.Command(t, d.dir, strings.Fields(c.args)...)
			if code != c.code || stdout != "" {
				t.Errorf("code %d, want %d; on standard output %q", code, c.code, stdout)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("nothing is said of %q in:\n%s", want, stderr)
				}
			}
		})
	}
	t.Cleanup(func() {
		if got := d.text(); got != before {
			t.Errorf("the file has changed:\n%s", got)
		}
		for _, web := range []string{web, filepath.Join(d.dir, "api", "web.config")} {
			if _, err := os.Stat(web); err == nil {
				t.Errorf("%s was written", web)
			}
		}
	})
}

// A file keeps its looks: only the value changes.
func TestSetKeepsTheRest(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	path := filepath.Join(dir, "web.config")
	text := "\xef\xbb\xbf" + strings.ReplaceAll(`<?xml version='1.0'?>
<!-- ž -->
<configuration>
	<system.webServer>
		<handlers>
			<add name='app'   path="*" verb="*" modules="AspNetCoreModuleV2" /> <!-- all -->
		</handlers>
		<aspNetCore
			processPath=".\app"
			startupTimeLimit='20'   >
			<environmentVariables></environmentVariables>
		</aspNetCore>
	</system.webServer>
</configuration>`, "\n", "\r\n")
	harness.WriteFile(t, path, text)
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	set := func(args ...string) {
		t.Helper()
		if stdout, stderr, code := harness.Command(t, dir, args...); code != 0 || stdout != "" {
			t.Fatalf("code %d, %s%s", code, stdout, stderr)
		}
	}
	set("set", "system.webServer/aspNetCore/@startupTimeLimit=30", "system.webServer/aspNetCore/environmentVariables/environmentVariable[@name='A']/@value=<ž>")
	want := strings.Replace(strings.Replace(text, "'20'", "'30'", 1), "<environmentVariables></environmentVariables>",
		"<environmentVariables>\r\n\t\t\t\t<environmentVariable name=\"A\" value=\"&lt;ž>\" />\r\n\t\t\t</environmentVariables>", 1)
	if got := harness.ReadFile(t, path); got != want {
		t.Errorf("the file is\n%q, want\n%q", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
	h := harness.Start(t, harness.Run{Dir: dir})
	if got := h.Env()["A"]; got != "<ž>" {
		t.Errorf("A is %q", got)
	}
	set("unset", "system.webServer/aspNetCore/environmentVariables/environmentVariable[@name='A']", dir)
	harness.Eventually(t, func() bool { _, there := h.Env()["A"]; return !there }, "the application runs without the variable")
	if r := h.Get("/.perch-history/web.config.1"); strings.Contains(r.Text(), "aspNetCore") {
		t.Errorf("a version before was served: %s", harness.Describe(r.StatusCode, r.Bytes))
	}
}

// An included section is changed where it is, and an error that is there
// already keeps nobody from mending it.
func TestSetInOtherFiles(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	harness.WriteFile(t, d.file, `<configuration><system.applicationHost><sites configSource="conf\sites.config" /></system.applicationHost></configuration>`)
	sites := filepath.Join(d.dir, "conf", "sites.config")
	harness.WriteFile(t, sites, "<sites>\n</sites>\n")
	d.edit("site", "add", "shop", "--path", "shop", "--listen", "http://shop.test:8080")
	if got := harness.ReadFile(t, sites); !strings.Contains(got, "\n  <site name=\"shop\" id=\"1\">\n") {
		t.Errorf("the included file is\n%s", got)
	}
	d.run(0, "check", "--config", "perch.config")
	_, stderr := d.run(1, "site", "add", "two", "--path", "shop", "--listen", "http://two.test:8080", "--pool", "P")
	_, first, _ := strings.Cut(strings.TrimSpace(stderr), "add it first: perch ")
	d.edit(strings.Fields(strings.ReplaceAll(first, `"`, ""))...)
	d.edit("site", "add", "two", "--path", "shop", "--listen", "http://two.test:8080", "--pool", "P")

	harness.WriteFile(t, d.file, `<configuration>
  <system.webServer><webSocket enabeld="false" /><handlers><add name="a" path="*" verb="*" modules="StaticFileModule" /><add name="a" path="*" verb="*" modules="x" /></handlers></system.webServer>
</configuration>`)
	path := "system.webServer/webSocket/@enabeld"
	if _, stderr := d.run(1, "set", "system.webServer/webSocket/@enabled=x", "--config", d.file); !strings.Contains(stderr, "PC017") || strings.Contains(stderr, "PC013") {
		t.Errorf("an error that was there already is told as new, or a new one is not:\n%s", stderr)
	}
	d.edit("unset", path, "--config", d.file)
	if _, stderr := d.run(0, "unset", path, "--config", d.file); !strings.Contains(stderr, "nothing to change") {
		t.Errorf("said %q", stderr)
	}
}

// Taking away what is not there makes no file.
func TestUnsetMakesNoFile(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if stderr := d.edit("unset", "system.webServer/webSocket/@enabled", "shop"); !strings.Contains(stderr, "nothing to change") {
		t.Errorf("said %q", stderr)
	}
	if _, err := os.Stat(filepath.Join(d.dir, "shop", "web.config")); err == nil {
		t.Error("there is a web.config now")
	}
}

// What is told is how many settings are others than before.
func TestSettingsAreCounted(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const on, keep = "system.webServer/webSocket/@enabled=true", "system.webServer/httpProtocol/@allowKeepAlive=false"
	for _, c := range []struct{ args, want string }{
		{"set " + on + " " + keep, "2 settings changed"},
		{"set " + on + " system.webServer/directoryBrowse/@enabled=false", "1 setting changed"},
		{"set " + on + " " + keep, "nothing to change"},
		{"unset system.webServer/webSocket/@enabled system.webServer/webSocket/@receiveBufferLimit", "1 setting changed"},
	} {
		if stderr := d.edit(append(strings.Fields(c.args), "shop")...); !strings.Contains(stderr, c.want) {
			t.Errorf("perch %s: %q, want %q", c.args, stderr, c.want)
		}
	}
}

// Twenty at once: all land, with numbers of their own.
func TestParallelSiteAdd(t *testing.T) {
	t.Parallel()
	const many = 20
	d := newDesk(t)
	var all sync.WaitGroup
	for i := range many {
		all.Go(func() {
			name := fmt.Sprintf("s%d", i)
			if _, stderr, code := harness.Command(t, d.dir, "site", "add", name, "--path", "shop", "--listen", "http://"+name+".test:8080"); code != 0 {
				t.Errorf("%s: code %d, %s", name, code, stderr)
			}
		})
	}
	all.Wait()
	if n := strings.Count(d.text(), "<site "); n != many {
		t.Errorf("%d sites, want %d", n, many)
	}
	d.run(0, "check", "--config", "perch.config")
	if kept, _ := filepath.Glob(filepath.Join(d.dir, ".perch-history", "perch.config.*")); len(kept) != 10 {
		t.Errorf("the versions are %q, want ten", kept)
	}
}

// Whoever is killed while writing leaves the file of before or of after.
func TestEditIsKilled(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	filler := "<!-- " + strings.Repeat(strings.Repeat("x", 79)+"\n", 40_000) + " -->\n"
	text := func(value string) string {
		return "<configuration>\n" + filler + "<system.webServer><webSocket enabled=\"" + value + "\" /></system.webServer>\n</configuration>\n"
	}
	harness.WriteFile(t, d.file, text("true"))
	next := filepath.Join(d.dir, ".perch-history", "next")
	file := func() []byte { return []byte(harness.ReadFile(t, d.file)) }
	value := regexp.MustCompile(`enabled="(\w+)"`)
	now, killed := "true", 0
	for i := range 24 {
		other := map[string]string{"true": "false", "false": "true"}[now]
		cmd := exec.Command(harness.Binary(), "set", "system.webServer/webSocket/@enabled="+other, "--config", d.file)
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		done := make(chan error, 1)
		go func() { done <- cmd.Wait() }()
		kill(t, done, func() bool { // when so much of the new file is there
			info, err := os.Stat(next)
			return err == nil && info.Size() >= int64(i)*150_000
		}, cmd.Process)
		got := file()
		if string(got) != text(now) && string(got) != text(other) {
			t.Fatalf("after a kill the file has %d bytes: %s", len(got), strings.ReplaceAll(string(got), filler, ""))
		}
		if cmd.ProcessState.ExitCode() != 0 {
			killed++
		}
		now = string(value.FindSubmatch(got)[1])
	}
	if killed == 0 {
		t.Error("nobody was killed")
	}
	d.run(0, "set", "system.webServer/webSocket/@enabled=true", "--config", d.file)
	if _, err := os.Stat(next); err == nil {
		t.Error("what the killed left was not taken away")
	}
}

// kill ends a process once ok, or once it has ended by itself.
func kill(t *testing.T, done <-chan error, ok func() bool, p *os.Process) {
	t.Helper()
	limit := time.After(harness.Limit)
	for !ok() {
		select {
		case <-done:
			return
		case <-limit:
			t.Error("the command did not end")
			p.Kill()
			<-done
			return
		default:
		}
	}
	p.Kill()
	<-done
}
