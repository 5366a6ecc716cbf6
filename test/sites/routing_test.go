package sites

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestSitesShareAPort(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, port := s.startAt(t, "*", func(port string) []string {
		return []string{
			site(1, "one", []string{"*:" + port + ":one.test", "*:" + port + ":*.many.test"}, "/="+page(t, "one"), "/sub="+page(t, "sub")),
			site(2, "two", []string{"127.0.0.1:" + port + ":"}, "/="+page(t, "two")),
			site(3, "three", []string{"127.0.0.2:" + port + ":named.test"}, "/="+page(t, "three")),
		}
	})
	for _, c := range []struct {
		addr, host, path string
		status           int
		body             string
	}{
		{"127.0.0.1", "one.test", "/", 200, "one"},
		{"127.0.0.1", "ONE.test:99", "/Sub/", 200, "sub"},
		{"127.0.0.1", "a.many.test", "/", 200, "one"},
		{"127.0.0.1", "many.test", "/", 200, "two"},
		{"127.0.0.1", "named.test", "/", 200, "two"}, // on another address
		{"127.0.0.2", "named.test", "/", 200, "three"},
		{"127.0.0.2", "nobody.test", "/", 400, ""},
		{"127.0.0.3", "a.b.many.test", "/sub/", 200, "sub"},
	} {
		status, body := get(t, c.addr+":"+port, c.host, c.path)
		if status != c.status || status == 200 && body != c.body {
			t.Errorf("%s%s at %s: %d %.80q, want %d %q", c.host, c.path, c.addr, status, body, c.status, c.body)
		}
	}
}

// TestPrecedenceOfBindings lets every binding of one port claim a little less
// than the one before, and asks for what only that leaves to it.
func TestPrecedenceOfBindings(t *testing.T) {
	t.Parallel()
	bindings := []string{ // the strongest first
		"127.0.0.1:PORT:a.b.test", "*:PORT:a.b.test",
		"127.0.0.1:PORT:*.b.test", "*:PORT:*.b.test",
		"127.0.0.1:PORT:*.test", "*:PORT:*.test",
		"127.0.0.1:PORT:", "*:PORT:", "[::1]:PORT:six.example",
	}
	s := newServer(t)
	_, port := s.startAt(t, "*", func(port string) []string {
		var sites []string
		for i, b := range bindings {
			name := fmt.Sprintf("site%d", i)
			sites = append(sites, site(i+1, name, []string{strings.Replace(b, "PORT", port, 1)}, "/="+page(t, name)))
		}
		slices.Reverse(sites) // the order of the file does not count
		return sites
	})
	for _, c := range []struct {
		addr, host string
		want       int
	}{
		{"127.0.0.1", "a.b.test", 0}, {"127.0.0.2", "a.b.test", 1}, {"[::1]", "A.B.test.", 1},
		{"127.0.0.1", "x.b.test", 2}, {"127.0.0.2", "y.x.b.test:80", 3},
		{"127.0.0.1", "b.test", 4}, {"127.0.0.2", "x.test", 5},
		{"127.0.0.1", "test", 6}, {"127.0.0.1", "six.example", 6}, {"127.0.0.1", "[::1]", 6},
		{"127.0.0.2", "example", 7}, {"[::1]", "[::1]", 7}, {"[::1]", "six.example", 8},
	} {
		if status, body := get(t, c.addr+":"+port, c.host, "/"); status != 200 || body != fmt.Sprintf("site%d", c.want) {
			t.Errorf("%s at %s: %d %.40q, want that of %s", c.host, c.addr, status, body, bindings[c.want])
		}
	}
}

// A virtual directory has a folder of its own, the longest path counts, and
// the web.config of the site holds in it.
func TestVirtualDirectories(t *testing.T) {
	t.Parallel()
	root, media, deep, app := page(t, "root"), page(t, "media"), page(t, "deep"), page(t, "app")
	harness.WriteFile(t, filepath.Join(root, "web.config"),
		`<configuration><system.webServer><httpProtocol><customHeaders><add name="X-From" value="root" /></customHeaders></httpProtocol></system.webServer></configuration>`)
	text := site(1, "a", []string{"127.0.0.1:0:"}, "/="+root, "/media/app="+app)
	for path, folder := range map[string]string{"/media": media, "/Media/Deep": deep} {
		text = strings.Replace(text, "</application>", fmt.Sprintf("<virtualDirectory path=%q physicalPath=%q /></application>", path, folder), 1)
	}
	h := newServer(t, text).start(t, 1)
	for path, want := range map[string]string{
		"/": "root", "/media/": "media", "/MEDIA/index.html": "media", "/media/deep/": "deep", "/media/app/": "app",
	} {
		if r := h.Get(path); r.Text() != want || r.Header.Get("X-From") != "root" {
			t.Errorf("%s: %d %.40q %q", path, r.StatusCode, r.Text(), r.Header.Get("X-From"))
		}
	}
	if r := h.Get("/mediatic/"); r.StatusCode != 404 {
		t.Errorf("a path that only begins alike: %d", r.StatusCode)
	}
}

// TestApplicationBelowASite holds that an application below a site sees its
// place as the path base, and everything below as its path.
func TestApplicationBelowASite(t *testing.T) {
	t.Parallel()
	for _, app := range harness.Apps() {
		t.Run(app.Name, func(t *testing.T) {
			t.Parallel()
			folder := app.Folder(t)
			s := newServer(t, site(7, "shop", []string{"127.0.0.1:0:"}, "/="+page(t, "root"), "/Api/v1="+folder))
			h := s.start(t, 1, app.Env(t)...)
			for target, want := range map[string][2]string{
				"/Api/v1/orders": {"/Api/v1", "/orders"},
				"/api/V1/orders": {"/api/V1", "/orders"},
				"/Api/v1":        {"/Api/v1", ""},
			} {
				seen := h.Seen("GET", target)
				if app.Module == "httpPlatform" { // which has no word for the path base
					want = [2]string{"", target}
				}
				if path := strings.TrimSuffix(seen.Path, "/"); seen.PathBase != want[0] || path != want[1] {
					t.Errorf("%s: path base %q, path %q, want %q", target, seen.PathBase, seen.Path, want)
				}
			}
			if r := h.Get("/"); r.Text() != "root" {
				t.Errorf("/: %d %.80q", r.StatusCode, r.Text())
			}
			if app.Module == "httpPlatform" {
				return
			}
			env := map[string]string{}
			if h.JSON("/Api/v1/env", &env); env["ASPNETCORE_APPL_PATH"] != "/Api/v1" {
				t.Errorf("environment %v", env)
			}
		})
	}
}

func TestCheckTellsTheServersProblems(t *testing.T) {
	t.Parallel()
	s := newServer(t, site(1, "one", []string{"*:80:", "*:x:"}, "/="+page(t, "one")), site(2, "two", []string{":80:"}, "/=/nowhere/at/all"))
	stdout, stderr, code := harness.Command(t, t.TempDir(), "check", "--config", s.path)
	for _, want := range []string{"PC050", "PC051", "PC053", "expected: ADDRESS:PORT:HOST", "/nowhere/at/all", s.path + ":4:"} {
		if !strings.Contains(stdout, want) {
			t.Errorf("stdout does not tell %q:\n%s", want, stdout)
		}
	}
	if code != 1 || stderr != "" {
		t.Errorf("exit code %d, stderr %q", code, stderr)
	}
	stdout, _, _ = harness.Command(t, t.TempDir(), "check", "--json", "--config", s.path)
	var answer struct {
		Config   string
		Problems []struct{ Code string }
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || answer.Config != s.path || len(answer.Problems) != 3 {
		t.Errorf("%v in %s", err, stdout)
	}
}

// TestExplainTellsWhoAnswers asks the command and the server for the same URL.
func TestExplainTellsWhoAnswers(t *testing.T) {
	t.Parallel()
	const port = "80" // nobody listens
	folder := harness.Go().Folder(t)
	s := newServer(t, site(1, "shop", []string{"127.0.0.1:" + port + ":shop.test"}, "/="+page(t, "root"), "/api="+folder))
	for path, want := range map[string]string{
		"/":       "the file ",
		"/api/x":  "the application shop/api: ",
		"/bin/x":  "404.8", // the name is hidden
		"/%ff%2g": "400",
	} {
		stdout, stderr, code := harness.Command(t, t.TempDir(), "explain", "http://shop.test:"+port+path, "--config", s.path)
		if path == "/%ff%2g" { // no URL
			if code != 2 || stdout != "" || !strings.Contains(stderr, "is not the URL") {
				t.Errorf("%s: %d %q %q", path, code, stdout, stderr)
			}
			continue
		}
		wantCode := 0
		if want == "404.8" {
			wantCode = 1
		}
		if code != wantCode || stderr != "" || !strings.Contains(stdout, "answer             "+want) || !strings.Contains(stdout, s.path+":4:") {
			t.Errorf("%s: %d %q\n%s", path, code, stderr, stdout)
		}
	}
	secure := newServer(t, limited(strings.Replace(site(1, "shop", []string{"*:443:shop.localhost"}, "/="+page(t, "root")), `"http"`, `"https"`, 1), `maxBandwidth="2048"`))
	told, _, code := harness.Command(t, t.TempDir(), "explain", "https://shop.localhost/", "--config", secure.path)
	for _, want := range []string{"certificate        a development certificate", "binding            https://shop.localhost:443  " + secure.path + ":",
		"modules            throttle, ", `site/limits/@maxBandwidth="2048"  ` + secure.path + ":"} {
		if code != 0 || !strings.Contains(told, want) {
			t.Errorf("%d, and %q is not in\n%s", code, want, told)
		}
	}
	stdout, _, code := harness.Command(t, t.TempDir(), "explain", "--json", "http://shop.test:"+port+"/api/x", "--config", s.path)
	var answer struct {
		Site, PhysicalPath string
		Application        struct{ Name string }
		Handler            struct{ Name, Place string }
		Modules            []string
		Settings           []struct{ Name, Value, Place string }
	}
	if err := json.Unmarshal([]byte(stdout), &answer); err != nil || code != 0 {
		t.Fatalf("%d %v in %s", code, err, stdout)
	}
	if answer.Site != "shop (id 1)" || answer.Application.Name != "/api" || answer.PhysicalPath != filepath.Join(folder, "x") ||
		!strings.HasPrefix(answer.Handler.Place, filepath.Join(folder, "web.config")+":") || len(answer.Modules) == 0 || len(answer.Settings) == 0 {
		t.Errorf("explained as %+v", answer)
	}
}
