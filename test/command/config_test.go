package command

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/perchserver/perch/test/harness"
)

// Every problem is told at once, each with its place.
func TestCheck(t *testing.T) {
	t.Parallel()
	dir := harness.Go().Folder(t)
	text := strings.Join([]string{
		`<?xml version="1.0"?>`,
		`<configuration>`,
		`  <system.webServer>`,
		`    <aspNetCore processPath="" startupTimeLimit="9999" hostingModel="sideways" requestTimeout="00:00:60" stdoutLogEnable="true">`,
		`      <environmentVariables>`,
		`        <add name="A" value="1" />`,
		`      </environmentVariables>`,
		`    </aspNetCore>`,
		`    <nobodyKnowsThis />`,
		`  </system.webServer>`,
		`</configuration>`,
	}, "\n")
	harness.WriteFile(t, filepath.Join(dir, "web.config"), text)
	stdout, stderr, code := harness.Command(t, dir, "check", dir)
	if code != 1 {
		t.Errorf("exit code %d, want 1", code)
	}
	told := stdout + stderr
	for _, want := range []string{
		"web.config:4:", "processPath", "startupTimeLimit", "hostingModel", "requestTimeout",
		"stdoutLogEnabled", // did you mean
		"web.config:6:", "environmentVariable", "web.config:9:", "nobodyKnowsThis",
	} {
		if !strings.Contains(told, want) {
			t.Errorf("nothing is said of %q in:\n%s", want, told)
		}
	}

	stdout, _, code = harness.Command(t, dir, "check", "--json", dir)
	if code != 1 || !json.Valid([]byte(stdout)) {
		t.Errorf("--json: code %d, %s", code, stdout)
	}
}

// The errors come first, and the last line says how many there are.
func TestCheckCounts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "perch.config")
	harness.WriteFile(t, filepath.Join(dir, "index.html"), "")
	harness.WriteFile(t, file, `<configuration><system.applicationHost><sites><site name="a" id="1"><bindings>
<binding protocol="net.tcp" bindingInformation="808:*" />
<binding protocol="http" bindingInformation="*:http:" />
<binding protocol="http" bindingInformation="*:8080:" />
</bindings><application path="/"><virtualDirectory path="/" physicalPath="." /></application></site></sites></system.applicationHost></configuration>`)
	stdout, _, code := harness.Command(t, dir, "check", "--config", file)
	worse, warning := strings.Index(stdout, "error PC050"), strings.Index(stdout, "warning PC065")
	if code != 1 || worse < 0 || warning < worse || !strings.HasSuffix(stdout, "\n\n1 error, 1 warning\n") {
		t.Errorf("code %d, %s", code, stdout)
	}
}

func TestCheckFine(t *testing.T) {
	t.Parallel()
	for _, app := range harness.Apps() {
		dir := app.Folder(t)
		if stdout, stderr, code := harness.CommandEnv(t, dir, app.Env(t), "check", dir); code != 0 {
			t.Errorf("%s: code %d, %s%s", app.Name, code, stdout, stderr)
		}
	}
}

// What is known and not done yet is said by name, once, and does not keep the
// host from serving.
func TestKnownButNotDone(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t, harness.WebConfig{
		Attrs: map[string]string{"hostingModel": "inprocess"},
		More:  `      <urlCompression doDynamicCompression="true" /><security><ipSecurity allowUnlisted="false" /></security>` + "\n",
	}.Use(t))
	h.Worker()
	h.Stop() // its log is whole
	for _, name := range []string{"urlCompression", "ipSecurity"} {
		if !strings.Contains(h.Stderr(), name) {
			t.Errorf("nothing is said of %s", name)
		}
	}
	n := 0
	for _, e := range h.Events() {
		if text := strings.ToLower(e.Text()); strings.Contains(text, "inprocess") && strings.Contains(text, "out of process") {
			n++
		}
	}
	if n != 1 {
		t.Errorf("hostingModel inprocess was spoken of %d times, want once", n)
	}
}

func TestEncodings(t *testing.T) {
	t.Parallel()
	text := harness.WebConfig{Env: map[string]string{"WORD": "žluťoučký &amp;"}}.XML()
	wide := func(order func(uint16) [2]byte, mark []byte) []byte {
		out := mark
		for _, u := range utf16.Encode([]rune(strings.Replace(text, "utf-8", "utf-16", 1))) {
			b := order(u)
			out = append(out, b[:]...)
		}
		return out
	}
	for name, content := range map[string][]byte{
		"UTF8":    []byte(text),
		"BOM":     append([]byte{0xef, 0xbb, 0xbf}, text...),
		"UTF16LE": wide(func(u uint16) [2]byte { return [2]byte{byte(u), byte(u >> 8)} }, []byte{0xff, 0xfe}),
		"UTF16BE": wide(func(u uint16) [2]byte { return [2]byte{byte(u >> 8), byte(u)} }, []byte{0xfe, 0xff}),
		"CRLF":    []byte(strings.ReplaceAll(text, "\n", "\r\n")),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := harness.Go().Start(t, func(r *harness.Run) {
				harness.WriteFile(t, filepath.Join(r.Dir, "web.config"), string(content))
			})
			if got := h.Env()["WORD"]; got != "žluťoučký &amp;" {
				t.Errorf("WORD is %q", got)
			}
		})
	}
}

// A web.config of the 1.x module runs unchanged.
func TestModuleOfOnePointX(t *testing.T) {
	t.Parallel()
	h := harness.Go().Start(t, func(r *harness.Run) {
		harness.WriteFile(t, filepath.Join(r.Dir, "web.config"), `<?xml version="1.0" encoding="utf-8"?>
<configuration>
  <system.webServer>
    <handlers>
      <add name="aspNetCore" path="*" verb="*" modules="AspNetCoreModule" resourceType="Unspecified"/>
    </handlers>
    <aspNetCore processPath=".\app" arguments="" stdoutLogEnabled="false" stdoutLogFile=".\logs\stdout" forwardWindowsAuthToken="false"/>
  </system.webServer>
</configuration>`)
	})
	h.Worker()
}

// A web.config is left alone, however its name is written: it is the one that
// counts.
func TestInitSeesEveryWebConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	harness.WriteFile(t, filepath.Join(dir, "Procfile"), "web: ./app\n")
	harness.WriteFile(t, filepath.Join(dir, "Web.config"), "<configuration />")
	_, stderr, code := harness.Command(t, dir, "init")
	if _, err := os.Stat(filepath.Join(dir, "web.config")); code != 1 || err == nil || !strings.Contains(stderr, "Web.config: there is one already") {
		t.Errorf("code %d, %s, a second one: %v", code, stderr, err == nil)
	}
}

// Folders without a web.config are recognised, and init writes what was.
func TestRecognition(t *testing.T) {
	t.Parallel()
	without := func(app harness.App, add map[string]string) func(t *testing.T) (string, []string) {
		return func(t *testing.T) (string, []string) {
			dir := app.Folder(t)
			os.Remove(filepath.Join(dir, "web.config"))
			for name, content := range add {
				harness.WriteFile(t, filepath.Join(dir, name), content)
			}
			return dir, app.Env(t)
		}
	}
	for _, c := range []struct {
		name    string
		folder  func(t *testing.T) (string, []string)
		section string // in the web.config that init writes
	}{
		{"DotNet", without(harness.DotNet(), nil), "aspNetCore"},
		{"Node", without(harness.Apps()[1], nil), "httpPlatform"},
		{"Procfile", without(harness.Go(), map[string]string{"Procfile": "release: ./migrate\nweb: ./app\n"}), "httpPlatform"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, env := c.folder(t)
			h := harness.Start(t, harness.Run{Dir: dir, Env: env})
			h.Worker()
			h.Stop()

			if stdout, stderr, code := harness.CommandEnv(t, dir, env, "init", dir); code != 0 {
				t.Fatalf("init: code %d, %s%s", code, stdout, stderr)
			}
			path := filepath.Join(dir, "web.config")
			text := harness.ReadFile(t, path)
			if !strings.Contains(text, "<"+c.section) {
				t.Errorf("init wrote %s", text)
			}
			// It keeps what is there.
			if _, _, code := harness.CommandEnv(t, dir, env, "init", dir); code != 1 || harness.ReadFile(t, path) != text {
				t.Errorf("init over a web.config: code %d, want 1", code)
			}
			h = harness.Start(t, harness.Run{Dir: dir, Env: env})
			h.Worker()
		})
	}
	t.Run("Files", func(t *testing.T) {
		t.Parallel()
		dir := t.TempDir()
		os.Chmod(dir, 0o755)
		harness.WriteFile(t, filepath.Join(dir, "index.html"), "<h1>files</h1>")
		h := harness.Start(t, harness.Run{Dir: dir})
		if r := h.Get("/"); r.StatusCode != 200 || r.Text() != "<h1>files</h1>" || !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
			t.Errorf("answered %v %s", r.Header, harness.Describe(r.StatusCode, r.Bytes))
		}
		for _, hidden := range []string{"/web.config", "/.env", "/bin/x.dll", "/missing", "/../etc/passwd"} {
			if r := h.Get(hidden); r.StatusCode != 404 && r.StatusCode != 400 {
				t.Errorf("%s answered %d, want 404", hidden, r.StatusCode)
			}
		}
	})
}
