package sites

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// What hiddenSegments hide is hidden from every handler, by what the files
// above and below say together; what nobody asked Perch to hide of ASP.NET's
// names is hidden from files alone. explain says of each what the host answers.
func TestHiddenSegments(t *testing.T) {
	t.Parallel()
	hide := func(text string) string {
		return "<system.webServer><security><requestFiltering><hiddenSegments applyToWebDAV=\"false\">" + text + "</hiddenSegments></requestFiltering></security></system.webServer>"
	}
	app, files := harness.Go().Folder(t), t.TempDir()
	write := func(path, text string) {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		harness.WriteFile(t, path, text)
	}
	for name, text := range map[string]string{
		"more/web.config": hide(`<add segment="Secret" /><add segment="bin" /><add segment="web.config" />`),
		"less/web.config": hide(`<remove segment="WEB.CONFIG" /><remove segment="private" /><remove segment="bin" />`),
		"none/web.config": hide(`<clear />`),
	} {
		for _, folder := range []string{app, files} {
			write(filepath.Join(folder, name), "<configuration>"+text+"</configuration>")
		}
	}
	for _, name := range []string{"bin/a.txt", "private/a.txt", "less/bin/a.txt", "less/App_Data/a.txt", "none/App_Data/a.txt", "more/secret/a.txt", "more/secrets/a.txt"} {
		write(filepath.Join(files, name), "a")
	}
	s := newServer(t)
	s.other = hide(`<add segment="private" />`)
	h, port := s.startAt(t, "127.0.0.1", func(port string) []string {
		return []string{site(1, "shop", []string{"127.0.0.1:" + port + ":shop.test"}, "/="+app, "/files="+files)}
	})
	heading := regexp.MustCompile(`HTTP Error (404\.\d+)`)
	for path, want := range map[string]string{ // the status of a refusal; empty: somebody answers
		"/web.config":                 "404.8",
		"/private/x":                  "404.8",
		"/bin/x":                      "",
		"/App_Data/x":                 "",
		"/more/x/secret":              "404.8",
		"/more/Bin/":                  "404.8",
		"/more/private":               "404.8",
		"/more/web.config":            "404.8",
		"/more/secrets":               "",
		"/less/web.config":            "",
		"/less/private":               "",
		"/less/.perch-history/x":      "404.8",
		"/none/web.config":            "",
		"/none/private":               "",
		"/none/.perch-history/x":      "404.8",
		"/none/perch.config":          "404.8",
		"/files/web.config":           "404.8",
		"/files/bin/a.txt":            "404.8",
		"/files/App_code/a.txt":       "404.8",
		"/files/private/a.txt":        "404.8",
		"/files/more/secret/a.txt":    "404.8",
		"/files/more/secrets/a.txt":   "",
		"/files/less/bin/a.txt":       "",
		"/files/less/App_Data/a.txt":  "404.8",
		"/files/less/web.config":      "404.3", // it has no MIME type
		"/files/none/App_Data/a.txt":  "",
		"/files/none/.perch-history/": "404.8",
	} {
		status, body := get(t, "127.0.0.1:"+port, "shop.test", path)
		got := ""
		if found := heading.FindStringSubmatch(body); found != nil {
			got = found[1]
		}
		if got != want || (status == 404) != (want != "") {
			t.Errorf("%s: %s %s, want %q", path, got, harness.Describe(status, []byte(body)), want)
		}
		stdout, stderr, _ := harness.Command(t, t.TempDir(), "explain", fmt.Sprintf("http://shop.test:%s%s", port, path), "--config", s.path)
		if _, answer, _ := strings.Cut(stdout, "answer             "); !strings.HasPrefix(answer, want) || want == "" && !strings.HasPrefix(answer, "the ") {
			t.Errorf("%s is answered with %q, and explained:\n%s%s", path, got, stdout, stderr)
		}
	}
	if stdout, _, code := harness.Command(t, t.TempDir(), "check", "--config", s.path); code != 0 || strings.Contains(stdout, "hiddenSegments") {
		t.Errorf("check: %d\n%s", code, stdout)
	}
	h.Stop()
}

// A web.config behind a link that leads out of the folder rules nothing, be
// the answer a file or an application's, and check tells of it.
func TestLinksThatLeadOut(t *testing.T) {
	t.Parallel()
	const header = `<configuration><system.webServer><httpProtocol><customHeaders><add name="X-From" value="%s" /></customHeaders></httpProtocol></system.webServer></configuration>`
	outside := t.TempDir()
	harness.WriteFile(t, filepath.Join(outside, "web.config"), fmt.Sprintf(header, "outside"))
	harness.WriteFile(t, filepath.Join(outside, "a.txt"), "secret")
	for name, folder := range map[string]string{"application": harness.Go().Folder(t), "files": page(t, "files")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inside := filepath.Join(folder, "inside")
			if err := os.Mkdir(inside, 0o755); err != nil {
				t.Fatal(err)
			}
			harness.WriteFile(t, filepath.Join(inside, "web.config"), fmt.Sprintf(header, "inside"))
			harness.WriteFile(t, filepath.Join(inside, "a.txt"), "a")
			for link, to := range map[string]string{"in": "inside", "out": outside} {
				if err := os.Symlink(to, filepath.Join(folder, link)); err != nil {
					t.Fatal(err)
				}
			}
			h := harness.Start(t, harness.Run{Dir: folder})
			for path, want := range map[string]string{"/in/a.txt": "inside", "/out/a.txt": ""} {
				r := h.Get(path)
				if got := r.Header.Get("X-From"); got != want || strings.Contains(r.Text(), "secret") || name == "files" && (r.StatusCode == 200) != (want != "") {
					t.Errorf("%s: by the settings of %q, %s", path, got, harness.Describe(r.StatusCode, r.Bytes))
				}
				stdout, _, _ := harness.Command(t, folder, "explain", h.URL+path, folder, "--listen", h.URL)
				if strings.Contains(stdout, "X-From") != (want != "") || strings.Contains(stdout, filepath.Join("out", "web.config")) {
					t.Errorf("%s is explained:\n%s", path, stdout)
				}
			}
			harness.WriteFile(t, filepath.Join(outside, "web.config"), "<broken")
			if stdout, _, code := harness.Command(t, folder, "check", folder); code != 0 || !strings.Contains(stdout, filepath.Join(folder, "out")+": warning PC069") {
				t.Errorf("check: %d\n%s", code, stdout)
			}
		})
	}
}
