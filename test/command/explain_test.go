package command

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// check tells of an application that could not be started, with the place.
func TestCheckLooksForTheProgram(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	if stdout, _, code := harness.Command(t, dir, "check"); code != 0 || strings.Contains(stdout, "PC057") {
		t.Errorf("a program that is there: code %d, %s", code, stdout)
	}
	if err := os.Remove(filepath.Join(dir, "app")); err != nil {
		t.Fatal(err)
	}
	stdout, _, code := harness.Command(t, dir, "check")
	if code != 0 || !strings.Contains(stdout, "web.config:8:19: warning PC057") || !strings.Contains(stdout, "looked for "+filepath.Join(dir, "app.exe")) {
		t.Errorf("a program that is not there: code %d, %s", code, stdout)
	}
}

// explain looks whether the file is there, and shows no password.
func TestExplainAFile(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, c := range []struct {
		url  string
		code int
		want string
	}{
		{"http://localhost:8080/", 0, "the file " + filepath.Join(d.dir, "shop", "index.html") + "\n"},
		{"http://ann:hush@localhost:8080/index.html", 0, "request            GET http://localhost:8080/index.html\n"},
		{"http://localhost:8080/missing.html", 1, "answer             404"},
		{"http://localhost:8080/web.config", 1, "answer             404.8"},
	} {
		stdout, stderr := d.run(c.code, "explain", c.url, "shop")
		if !strings.Contains(stdout, c.want) || strings.Contains(stdout+stderr, "hush") {
			t.Errorf("explain %s does not say %q:\n%s%s", c.url, c.want, stdout, stderr)
		}
	}
}

// A link that leads back is told once, and so is what is below it.
func TestCheckFollowsNoLoop(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	if err := os.Symlink(".", filepath.Join(d.dir, "shop", "loop")); err != nil {
		t.Fatal(err)
	}
	stdout, _ := d.run(0, "check", "shop")
	if strings.Count(stdout, "PC058") != 1 || !strings.HasPrefix(stdout, filepath.Join(d.dir, "shop", "loop")+": warning PC058") {
		t.Errorf("check told\n%s", stdout)
	}
	harness.WriteFile(t, filepath.Join(d.dir, "shop", "web.config"), "<configuration><oops /></configuration>")
	if stdout, _ := d.run(1, "check", "shop"); strings.Count(stdout, "PC011") > 2 {
		t.Errorf("one error is told %d times", strings.Count(stdout, "PC011"))
	}
}

// What explain says of a request is what a running host answers, with its
// sub-status, and of problems it tells those of that part alone.
func TestExplainIsWhatIsAnswered(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const section = "<configuration><system.webServer>%s</system.webServer></configuration>"
	for name, text := range map[string]string{
		"web.config":           fmt.Sprintf(section, `<handlers><add name="php" path="*.php" verb="*" modules="FastCgiModule" /></handlers>`),
		"index.html":           "home",
		"broken/web.config":    "<configuration><oops /></configuration>",
		"broken/index.html":    "",
		"cut/web.config":       "<configuration>",
		"inherits/web.config":  fmt.Sprintf(section, `<defaultDocument><files><add value="index.html" /></files></defaultDocument>`),
		"part/web.config":      fmt.Sprintf(section, `<handlers><clear /><add name="app" path="*" verb="*" modules="AspNetCoreModuleV2" /></handlers>`),
		"nothing/web.config":   fmt.Sprintf(section, `<handlers><clear /></handlers>`),
		"broken/deep/file.txt": "",
	} {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		harness.WriteFile(t, path, text)
	}
	h := harness.Start(t, harness.Run{Dir: dir})
	heading := regexp.MustCompile(`HTTP Error (\S+)`)
	for _, path := range []string{"/", "/a.php", "/broken/", "/broken/deep/file.txt", "/cut/index.html", "/inherits/", "/part/x", "/nothing/x"} {
		r := h.Get(path)
		want := ""
		if found := heading.FindStringSubmatch(r.Text()); found != nil {
			want = strings.TrimSuffix(found[1], ".0")
		}
		stdout, stderr, _ := harness.Command(t, dir, "explain", h.URL+path, dir, "--listen", h.URL)
		_, answer, _ := strings.Cut(stdout, "answer             ")
		if !strings.HasPrefix(answer, want+":") && !(want == "" && strings.HasPrefix(answer, "the file ")) {
			t.Errorf("%s: answered with %s %q, and explained:\n%s%s", path, r.Status, want, stdout, stderr)
		}
		if told := strings.Contains(answer, "oops"); told != strings.HasPrefix(path, "/broken/") {
			t.Errorf("%s: told of the problem of /broken: %v\n%s", path, told, answer)
		}
	}
}

// What the host refuses for its size alone, explain refuses as well: at the
// limit, and one beyond.
func TestExplainKnowsTheLimits(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	harness.WriteFile(t, filepath.Join(dir, "index.html"), "page")
	harness.WriteFile(t, filepath.Join(dir, "web.config"),
		`<configuration><perch><limits maxRequestLineSize="100" maxRequestHeadersTotalSize="256" /></perch></configuration>`)
	h := harness.Start(t, harness.Run{Dir: dir})
	line := func(method string, size int) string {
		return "/?" + strings.Repeat("q", size-len(method)-len(" /? HTTP/1.1\r\n"))
	}
	const host = 256 - len("Host: \r\n") - len(":80")
	for _, c := range []struct {
		method, target, host string
		want                 int
	}{
		{"GET", line("GET", 100), "a", 200},
		{"GET", line("GET", 101), "a", 414},
		{"HEAD", line("HEAD", 100), "a", 200},
		{"HEAD", line("HEAD", 101), "a", 414},
		{"GET", "/" + strings.Repeat("p", 100), "a", 414},
		{"GET", "/", strings.Repeat("h", host), 200},
		{"GET", "/", strings.Repeat("h", host+1), 431},
	} {
		conn := h.Dial()
		if r := conn.Send(c.method + " " + c.target + " HTTP/1.1\r\nHost: " + c.host + ":80\r\n\r\n").Response(c.method); r.StatusCode != c.want {
			t.Errorf("%s %s for %s is answered with %d, want %d", c.method, c.target, c.host, r.StatusCode, c.want)
		}
		stdout, stderr, code := harness.Command(t, dir, "explain", "http://"+c.host+":80"+c.target, "-X", c.method, "--listen", "http://*:80", dir)
		refused := strings.Contains(stdout, fmt.Sprintf("\nanswer             %d: ", c.want))
		if refused != (c.want != 200) || (code == 1) != refused {
			t.Errorf("%s %s for %s, which gets %d, is explained with code %d:\n%s%s", c.method, c.target, c.host, c.want, code, stdout, stderr)
		}
	}
}

// What can be known of an application without starting it is.
func TestExplainForesees(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		config harness.WebConfig
		spoil  func(dir string) error
		want   string // of the answer, which is a status of the host's
	}{
		"offline": {spoil: func(dir string) error {
			return os.WriteFile(filepath.Join(dir, "APP_offline.htm"), []byte("away"), 0o644)
		}, want: "503"},
		"no program":       {spoil: func(dir string) error { return os.Remove(filepath.Join(dir, "app")) }, want: "502.5"},
		"no program, mute": {config: harness.WebConfig{Attrs: map[string]string{"disableStartUpErrorPage": "true"}}, spoil: func(dir string) error { return os.Remove(filepath.Join(dir, "app")) }, want: "502.3"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := harness.Go().Folder(t)
			c.config.Write(t, dir)
			if err := c.spoil(dir); err != nil {
				t.Fatal(err)
			}
			h := harness.Start(t, harness.Run{Dir: dir})
			status := h.Get("/").StatusCode
			stdout, stderr, code := harness.Command(t, dir, "explain", "http://localhost:8080/", dir)
			_, answer, _ := strings.Cut(stdout, "answer             ")
			if code != 1 || !strings.HasPrefix(answer, c.want+": ") || !strings.HasPrefix(answer, strconv.Itoa(status)) {
				t.Errorf("answered with %d, want %s, and explained with code %d:\n%s%s", status, c.want, code, stdout, stderr)
			}
		})
	}
}
