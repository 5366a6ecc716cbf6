package command

import (
	"context"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

func TestRunPrintsItsURLs(t *testing.T) {
	t.Parallel()
	socket := filepath.Join(t.TempDir(), "web.sock")
	h := harness.Start(t, harness.Run{
		Dir:    harness.Go().Folder(t),
		Listen: []string{"http://127.0.0.1:0", "http://[::1]:0", "unix:" + socket, "http://shop.example:0"},
	})
	for i, want := range []string{`^http://127\.0\.0\.1:\d+/?$`, `^http://\[::1\]:\d+/?$`, `^unix:` + regexp.QuoteMeta(socket) + `$`, `^http://shop\.example:\d+/?$`} {
		if !regexp.MustCompile(want).MatchString(h.URLs[i]) || strings.Contains(h.URLs[i], ":0") {
			t.Errorf("line %d on stdout is %q, want %s", i, h.URLs[i], want)
		}
	}
	for _, u := range h.URLs[:2] {
		res, err := http.Get(u)
		if err != nil {
			t.Errorf("%s: %v", u, err)
			continue
		}
		res.Body.Close()
		if res.StatusCode != 200 {
			t.Errorf("%s answered %d", u, res.StatusCode)
		}
	}
	if res := overSocket(t, socket); res.StatusCode != 200 {
		t.Errorf("over the unix socket answered %d", res.StatusCode)
	}
	// A host name claims requests for it, and no others.
	u, err := url.Parse(h.URLs[3])
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]int{"shop.example": 200, "other.example": 404} {
		c := harness.Dial(t, net.JoinHostPort("127.0.0.1", u.Port()))
		c.Send("GET / HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
		if r := c.Response("GET"); r.StatusCode != want && !(want == 404 && r.StatusCode == 400) {
			t.Errorf("Host %s answered %d, want %d", host, r.StatusCode, want)
		}
	}
	if code := h.Stop(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if _, err := os.Stat(socket); err == nil {
		t.Error("the unix socket is still there")
	}
}

func overSocket(t *testing.T, path string) *http.Response {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", path)
		},
	}}
	res, err := client.Get("http://localhost/")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	return res
}

func TestLocalhostIsBothAddresses(t *testing.T) {
	t.Parallel()
	h := harness.Start(t, harness.Run{Dir: harness.Go().Folder(t), Listen: []string{"http://localhost:0"}})
	u, err := url.Parse(h.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, ip := range []string{"127.0.0.1", "::1"} {
		c := harness.Dial(t, net.JoinHostPort(ip, u.Port()))
		c.Send("GET / HTTP/1.1\r\nHost: anything.example\r\n\r\n")
		if r := c.Response("GET"); r.StatusCode != 200 {
			t.Errorf("over %s answered %d", ip, r.StatusCode)
		}
	}
}

func TestRunFails(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { taken.Close() })
	app := harness.Go().Folder(t)
	file := filepath.Join(app, "web.config")
	empty := t.TempDir()
	sites := t.TempDir()
	harness.WriteFile(t, filepath.Join(sites, "perch.config"), "<configuration />")
	broken := t.TempDir()
	harness.WriteFile(t, filepath.Join(broken, "web.config"), "<configuration>\n  <system.webServer>\n</configuration>\n")

	for _, c := range []struct {
		name string
		args []string
		code int
		want []string // texts on stderr
	}{
		{"PortInUse", []string{"run", app, "--listen", "http://" + taken.Addr().String()}, 1, []string{taken.Addr().String(), "taken by", "another port"}},
		{"OneOfTwoPortsInUse", []string{"run", app, "--listen", "http://127.0.0.1:0", "--listen", "http://" + taken.Addr().String()}, 1, []string{"taken by"}},
		{"NoSuchFolder", []string{"run", filepath.Join(app, "nowhere"), "--listen", "http://127.0.0.1:0"}, 1, []string{"nowhere"}},
		{"FolderIsAFile", []string{"run", file, "--listen", "http://127.0.0.1:0"}, 1, []string{"web.config", "folder"}},
		{"NothingToServe", []string{"run", empty, "--listen", "http://127.0.0.1:0"}, 1, []string{"web.config", "package.json", "Procfile", ".runtimeconfig.json"}},
		{"URLsForSites", []string{"run", "--config", file, "--listen", "http://127.0.0.1:0"}, 2, []string{"--listen is not for the sites of " + file}},
		{"URLsForSitesExplained", []string{"explain", "http://localhost/", "--config", file, "--listen", "http://127.0.0.1:0"}, 2, []string{"--listen is not for the sites of " + file}},
		{"BadURL", []string{"run", app, "--listen", "gopher://x"}, 2, []string{"gopher"}},
		{"BadPort", []string{"run", app, "--listen", "http://127.0.0.1:99999"}, 2, []string{"99999"}},
		{"HTTPS without a certificate", []string{"run", app, "--listen", "https://shop.test:0"}, 2, []string{"https://shop.test:0 needs a certificate", "--cert FILE"}},
		{"CertificateWithoutHTTPS", []string{"run", app, "--cert", file}, 2, []string{"--cert is for https, and no --listen URL is one", "hint: write --listen https://"}},
		{"ClientCAWithoutHTTPS", []string{"run", app, "--listen", "http://127.0.0.1:0", "--client-ca", file}, 2, []string{"--client-ca is for https"}},
		{"PasswordWithoutHTTPS", []string{"run", app, "--cert-password-file", file}, 2, []string{"--cert-password-file is for https"}},
		{"PasswordWithoutCertificate", []string{"run", app, "--listen", "https://localhost:0", "--cert-password-file", file}, 2, []string{"--cert-password-file is for the files of --cert"}},
		{"BadCertificates", []string{"run", app, "--listen", "https://localhost:0", "--cert", "nowhere.pem", "--cert", file},
			1, []string{"certificate of --cert nowhere.pem: ", "no such file", "certificate of --cert " + file + ": ", "neither a PEM nor a PFX file"}},
		{"NoPasswordFile", []string{"run", app, "--listen", "https://localhost:0", "--cert", empty, "--cert-password-file", "nowhere"}, 1, []string{"password of " + empty, "nowhere: no such file"}},
		{"BadClientCA", []string{"run", app, "--listen", "https://localhost:0", "--client-ca", file}, 1, []string{"certificates of --client-ca " + file, "there is no certificate in it"}},
		{"UnknownFlag", []string{"run", "--frobnicate"}, 2, []string{"frobnicate"}},
		{"UnknownCommand", []string{"frobnicate"}, 2, []string{`there is no command "perch frobnicate"`, "hint: `perch --help` lists the commands"}},
		{"UnknownHelp", []string{"help", "frobnicate"}, 2, []string{`there is no command "perch frobnicate"`, "hint: `perch --help`"}},
		{"UnknownSiteCommand", []string{"site", "frobnicate"}, 2, []string{`there is no command "perch site frobnicate"`, "hint: `perch site --help` lists"}},
		{"UnknownSiteHelp", []string{"help", "site", "lst"}, 2, []string{"hint: did you mean `perch site list`?"}},
		{"Stop", []string{"stop"}, 2, []string{"hint: Ctrl-C or the signal TERM"}},
		{"List", []string{"list"}, 2, []string{"hint: `perch site list`"}},
		{"Status", []string{"status"}, 2, []string{"hint: `perch site list`"}},
		{"NoTruth", []string{"run", "-h=x"}, 2, []string{`perch: --help cannot be "x": it is true or false`}},
		{"NoNumber", []string{"site", "add", "x", "--id", "x"}, 2, []string{`perch: --id cannot be "x": it is a number from 0`}},
		{"OneTooMany", []string{"version", "x"}, 2, []string{`takes no arguments, and "x" was given`}},
		{"TwoFolders", []string{"run", app, empty}, 2, nil},
		{"ExplainAWord", []string{"explain", "foo", app}, 2, []string{`"foo"`, "http://"}},
		{"ExplainAPort", []string{"explain", "http://ann:hush@x:99999/", app}, 2, []string{`"x:99999/"`, "http://"}},
		{"ExplainAPath", []string{"explain", "/a", app}, 2, []string{`"/a"`, "http://"}},
		{"ExplainFTP", []string{"explain", "ftp://x/", app}, 2, []string{`"ftp://x/"`, "http://"}},
		{"ExplainABadEscape", []string{"explain", "%zz", app}, 2, []string{`"%zz"`, "http://"}},
		{"ExplainABadAddress", []string{"explain", "http://x/", app, "--address", "foo"}, 2, []string{`address "foo" is not an IP address`}},
		{"CheckNoFolder", []string{"check", filepath.Join(app, "nowhere")}, 1, []string{"perch: check " + filepath.Join(app, "nowhere") + ": the folder does not exist"}},
		{"AFileOfSites", []string{"run", filepath.Join(sites, "perch.config")}, 1, []string{"perch.config is a file, and not a folder", "--config " + filepath.Join(sites, "perch.config")}},
		{"AFolderWithAFileOfSites", []string{"run", sites, "--listen", "http://127.0.0.1:0"}, 1, []string{"nothing to host but the sites of its perch.config", "--config " + filepath.Join(sites, "perch.config")}},
		{"ReloadNoFolder", []string{"reload", filepath.Join(app, "nowhere")}, 1, []string{"reload " + filepath.Join(app, "nowhere") + ": it does not exist"}},
		{"ReloadNoFile", []string{"reload", "--config", "nope"}, 1, []string{"nope: it does not exist"}},
		{"CheckNothing", []string{"check", empty}, 1, []string{"perch: check " + empty + ": nothing to host"}},
		{"ExplainNoFolder", []string{"explain", "http://x/", filepath.Join(app, "nowhere")}, 1, []string{"perch: explain " + filepath.Join(app, "nowhere") + ": the folder"}},
		{"CheckBroken", []string{"check", broken}, 1, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			stdout, stderr, code := harness.Command(t, empty, c.args...)
			if code != c.code {
				t.Errorf("exit code %d, want %d", code, c.code)
			}
			if c.name != "CheckBroken" && stdout != "" {
				t.Errorf("stdout %q, want nothing", stdout)
			}
			for _, want := range c.want {
				if !strings.Contains(stderr, want) {
					t.Errorf("stderr has no %q", want)
				}
			}
			if strings.Contains(stderr, "panic") || strings.Contains(stderr, "goroutine ") {
				t.Error("a stack trace is no answer")
			}
			if t.Failed() {
				t.Logf("stderr:\n%s", stderr)
			}
		})
	}
}

// unreadable starts as a user that cannot read a file of the folder, or the
// folder itself.
func unreadable(t *testing.T, name string) harness.Run {
	t.Helper()
	return unreadableIn(t, harness.Go().Folder(t), name)
}

func unreadableIn(t *testing.T, dir, name string) harness.Run {
	t.Helper()
	const nobody = 65534
	path := filepath.Join(dir, name)
	if err := os.Chmod(path, 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(path, 0o755) })
	run := harness.Run{Dir: dir, Cwd: "/"}
	if os.Getuid() == 0 {
		run.UID = nobody
	}
	return run
}

func TestUnreadableFolder(t *testing.T) {
	t.Parallel()
	run := unreadable(t, "")
	stderr, code := harness.Refused(t, run)
	if code != 1 || !strings.Contains(stderr, run.Dir) || !strings.Contains(stderr, "permission denied") {
		t.Errorf("exit code %d, stderr %s", code, stderr)
	}
}

func TestUnreadableConfig(t *testing.T) {
	t.Parallel()
	h := harness.Start(t, unreadable(t, "web.config"))
	h.AwaitStderr("web.config", "permission denied")
	if r := h.Get("/"); r.StatusCode != 500 || !strings.Contains(r.Text(), "500.19") {
		t.Errorf("answered %s, want 500.19", harness.Describe(r.StatusCode, r.Bytes))
	}
}

// What could not be read is looked at again by a reload, though only its mode
// has changed, and what is below a folder that cannot be read is not served
// without the settings that may be in it.
func TestReadableAgain(t *testing.T) {
	t.Parallel()
	const config = `<configuration><system.webServer><httpProtocol><customHeaders><add name="Settings" value="read" /></customHeaders></httpProtocol></system.webServer></configuration>`
	for name, path := range map[string]string{"web.config": "/page.html", "own/web.config": "/own/page.html", "shut": "/shut/page.html"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(t.TempDir(), "site")
			for _, above := range []string{filepath.Dir(dir), filepath.Dir(filepath.Dir(dir))} { // for another user
				if err := os.Chmod(above, 0o755); err != nil {
					t.Fatal(err)
				}
			}
			old := time.Now().Add(-time.Hour)
			for _, folder := range []string{".", "own", "shut"} {
				folder = filepath.Join(dir, folder)
				if err := os.MkdirAll(folder, 0o755); err != nil {
					t.Fatal(err)
				}
				for file, text := range map[string]string{"index.html": "", "page.html": "page", "web.config": config} {
					if file == "web.config" && folder != filepath.Dir(filepath.Join(dir, path)) {
						continue
					}
					harness.WriteFile(t, filepath.Join(folder, file), text)
					if err := os.Chtimes(filepath.Join(folder, file), old, old); err != nil {
						t.Fatal(err)
					}
				}
			}
			for _, folder := range []string{"own", "shut", "."} {
				if err := os.Chtimes(filepath.Join(dir, folder), old, old); err != nil {
					t.Fatal(err)
				}
			}
			h := harness.Start(t, unreadableIn(t, dir, name))
			if r := h.Get(path); r.StatusCode != 500 || !strings.Contains(r.Text(), "500.19") {
				t.Errorf("answered %s, want 500.19", harness.Describe(r.StatusCode, r.Bytes))
			}
			if err := os.Chmod(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
			h.Signal(syscall.SIGHUP)
			harness.Eventually(t, func() bool { return h.Get(path).StatusCode == 200 }, "what can be read again is served")
			if r := h.Get(path); r.Header.Get("Settings") != "read" {
				t.Errorf("served without the settings of its folder: %v", r.Header)
			}
		})
	}
}

// A web.config that is wrong concerns what it is for: the host runs, says
// where the error is, and serves when the file is mended.
func TestMalformedConfig(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	good := harness.ReadFile(t, filepath.Join(dir, "web.config"))
	harness.WriteFile(t, filepath.Join(dir, "web.config"), "<configuration>\n  <system.webServer>\n</configuration>\n")
	h := harness.Start(t, harness.Run{Dir: dir})
	h.AwaitStderr("web.config:3:")
	if r := h.Get("/"); r.StatusCode != 500 || !strings.Contains(r.Text(), "500.19") {
		t.Errorf("answered %s, want 500.19", harness.Describe(r.StatusCode, r.Bytes))
	}
	harness.WriteFile(t, filepath.Join(dir, "web.config"), good)
	harness.Eventually(t, func() bool { return h.Get("/").StatusCode == 200 }, "the mended file takes effect")
}

func TestFlagsAsVariables(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	h := harness.Start(t, harness.Run{Dir: dir, Listen: []string{}, Env: []string{"PERCH_LISTEN=http://127.0.0.1:0"}})
	if !strings.HasPrefix(h.URL, "http://127.0.0.1:") {
		t.Errorf("listens on %s", h.URL)
	}
	for name := range h.Env() {
		if strings.HasPrefix(name, "PERCH_") {
			t.Errorf("%s leaked to the application", name)
		}
	}
}

// A variable that stands for a flag which a command has no use for does not
// make it fail: it may be set for another one.
func TestVariablesThatDoNotApply(t *testing.T) {
	t.Parallel()
	tls := []string{"PERCH_CERT=gone.pem", "PERCH_CERT_PASSWORD_FILE=gone.txt", "PERCH_CLIENT_CA=gone.pem"}
	h := harness.Start(t, harness.Run{Dir: harness.Go().Folder(t), Env: tls})
	if r := h.Get("/"); r.StatusCode != 200 {
		t.Errorf("answered %d", r.StatusCode)
	}
	d := newDesk(t)
	if _, stderr, code := harness.CommandEnv(t, d.dir, tls, "site", "add", "shop", "--path", "shop", "--listen", "http://localhost:0"); code != 0 || strings.Contains(d.text(), "gone.pem") {
		t.Errorf("site add: code %d, %s%s", code, stderr, d.text())
	}
	h = harness.Start(t, harness.Run{Config: d.file, Dir: d.dir, Lines: 1, Env: []string{"PERCH_LISTEN=http://127.0.0.1:0"}})
	if r := h.Get("/"); r.Text() != "shop" {
		t.Errorf("answered %d %s", r.StatusCode, r.Text())
	}
}

// A certificate that no binding of a file of sites has a use for is told: one
// that has may come later.
func TestCertificateThatNothingUses(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.edit("site", "add", "shop", "--path", "shop", "--listen", "http://localhost:0")
	certs := t.TempDir() // as good a source as any, and empty
	const told = "nothing uses the certificates of --cert"
	h := harness.Start(t, harness.Run{Config: d.file, Dir: d.dir, Lines: 1, Flags: []string{"--cert", certs}})
	h.AwaitStderr(told)
	h.Stop()
	d.edit("site", "add", "safe", "--path", "shop", "--listen", "https://localhost:0")
	h = harness.Start(t, harness.Run{Config: d.file, Dir: d.dir, Lines: 2, Flags: []string{"--cert", certs}})
	h.Stop()
	if strings.Contains(h.Stderr(), told) {
		t.Errorf("the certificates are used, and it is told:\n%s", h.Stderr())
	}
}

// Who has PERCH_CONFIG set and names a folder is told where the other half of
// the contradiction is.
func TestVariableBesideAnArgument(t *testing.T) {
	t.Parallel()
	_, stderr, code := harness.CommandEnv(t, t.TempDir(), []string{"PERCH_CONFIG=x.config"}, "check", ".")
	if code != 2 || !strings.Contains(stderr, "exclude each other") || !strings.Contains(stderr, "PERCH_CONFIG") {
		t.Errorf("code %d, %s", code, stderr)
	}
}

func TestVersionAndHelp(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{{"version"}, {"help"}, {"--help"}, {"help", "run"}, {"help", "site", "add"}, {"run", "--help"}, {"check", "--help"}, {"init", "--help"}} {
		stdout, stderr, code := harness.Command(t, t.TempDir(), args...)
		if code != 0 || stdout == "" || stderr != "" {
			t.Errorf("perch %s: code %d, stdout %q, stderr %q", strings.Join(args, " "), code, stdout, stderr)
		}
	}
	want, _, _ := harness.Command(t, t.TempDir(), "version")
	for _, flag := range []string{"--version", "-v"} {
		if stdout, stderr, code := harness.Command(t, t.TempDir(), flag); code != 0 || stdout != want || stderr != "" {
			t.Errorf("perch %s: code %d, stdout %q, stderr %q", flag, code, stdout, stderr)
		}
	}
}
