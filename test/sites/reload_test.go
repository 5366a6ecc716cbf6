package sites

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/perchserver/perch/test/harness"
)

// echo sends a message and expects it back.
func echo(t *testing.T, c *websocket.Conn, text string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(text)); err != nil {
		t.Fatalf("write: %v", err)
	}
	if _, back, err := c.Read(t.Context()); err != nil || string(back) != text {
		t.Fatalf("read %q, %v", back, err)
	}
}

func TestReloadConcernsWhatChanged(t *testing.T) {
	t.Parallel()
	app := harness.Go()
	staying, leaving := app.Folder(t), app.Folder(t)
	stays := site(1, "stays", []string{"127.0.0.1:0:"}, "/="+staying)
	s := newServer(t, stays, site(2, "leaves", []string{"127.0.0.1:0:"}, "/="+leaving))
	h := s.start(t, 2)
	other := strings.TrimPrefix(h.URLs[1], "http://")
	worker := h.Worker()
	socket := h.WebSocket("/ws", nil)
	kept := h.Dial()
	kept.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").Response("GET")
	if status, _ := get(t, other, "x", "/"); status != 200 {
		t.Fatalf("the second site answers %d", status)
	}
	tree := len(h.Tree())

	// One site goes, another comes with a port and a path below it.
	added := "127.0.0.2" + strings.TrimPrefix(h.Addr(), "127.0.0.1")
	s.sites = []string{site(3, "comes", []string{added + ":"}, "/="+page(t, "new"), "/below="+page(t, "below")), stays}
	s.write(t)
	if out, code := s.reload(t); code != 0 || out != s.path+": taken over\n" {
		t.Errorf("perch reload: %d %q", code, out)
	}
	if _, body := get(t, added, "x", "/below/"); body != "below" {
		t.Errorf("the new site answers %q", body)
	}
	harness.Eventually(t, func() bool {
		c, err := net.Dial("tcp", other)
		if err == nil {
			c.Close()
		}
		return err != nil
	}, "the port of the site that left is closed")
	harness.Eventually(t, func() bool { return len(h.Tree()) < tree }, "the processes of the site that left have ended")

	echo(t, socket, "after the reload")
	if kept.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").Response("GET").StatusCode != 200 {
		t.Error("the connection that was kept alive does not answer")
	}
	if now := h.Worker(); now != worker {
		t.Errorf("worker %d became %d", worker, now)
	}
}

func TestReloadOfABrokenFile(t *testing.T) {
	t.Parallel()
	good := site(1, "a", []string{"127.0.0.1:0:"}, "/="+page(t, "served"))
	s := newServer(t, good)
	h := s.start(t, 1)
	for name, c := range map[string]struct{ site, want string }{
		"not XML":        {"<site", "PC0"},
		"a slip":         {strings.Replace(good, "127.0.0.1:0:", "127.0.0.1:x:", 1), "PC050"},
		"a port in use":  {good + site(2, "b", []string{strings.TrimPrefix(h.URL, "http://") + ":"}, "/="+page(t, "b")), ""},
		"an unknown one": {strings.Replace(good, "physicalPath", "fysicalPath", 1), "did you mean physicalPath?"},
	} {
		if name == "a port in use" {
			l, err := net.Listen("tcp4", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			c.site = good + site(2, "b", []string{l.Addr().String() + ":"}, "/="+page(t, "b"))
			c.want = "is taken"
		}
		s.sites = []string{c.site}
		s.write(t)
		out, code := s.reload(t)
		if code != 1 || !strings.Contains(out, c.want) || !strings.Contains(out, "not taken over") {
			t.Errorf("%s: exit code %d, %s", name, code, out)
		}
		if r := h.Get("/"); r.Text() != "served" {
			t.Errorf("%s: %d %.80q", name, r.StatusCode, r.Text())
		}
	}
	s.sites = []string{good}
	s.write(t)
	if out, code := s.reload(t); code != 0 {
		t.Errorf("mended: %d %s", code, out)
	}
}

// A sub-folder that requests have led into is a part as well: it stays as it
// was, and a reload says so.
func TestReloadOfABrokenSubfolder(t *testing.T) {
	t.Parallel()
	folder := page(t, "root")
	if err := os.Mkdir(filepath.Join(folder, "docs"), 0o755); err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, filepath.Join(folder, "docs", "index.html"), "docs")
	file := filepath.Join(folder, "docs", "web.config")
	harness.WriteFile(t, file, "<configuration/>")
	s := newServer(t, site(1, "a", []string{"127.0.0.1:0:"}, "/="+folder))
	h := s.start(t, 1)
	if r := h.Get("/docs/"); r.Text() != "docs" {
		t.Fatalf("%d %.80q", r.StatusCode, r.Text())
	}
	harness.WriteFile(t, file, `<configuration><perch><limits maxRequestHeaderCount="9" /></perch></configuration>`)
	for range 2 {
		if out, code := s.reload(t); code != 1 || !strings.Contains(out, "PC023") || !strings.Contains(out, "parts with errors stay as they were; what else has changed is taken over") {
			t.Errorf("exit code %d, %s", code, out)
		}
		if r := h.Get("/docs/"); r.Text() != "docs" {
			t.Errorf("%d %.80q", r.StatusCode, r.Text())
		}
	}
	harness.WriteFile(t, file, "<configuration/>")
	if out, code := s.reload(t); code != 0 {
		t.Errorf("mended: %d %s", code, out)
	}
}

// takenOver tells why configurations were taken over, by the log.
func takenOver(h *harness.Host) (why []string) {
	for _, e := range h.Events() {
		if text, _ := e["why"].(string); e["msg"] == "configuration taken over" {
			why = append(why, strings.Replace(text, "edited by a command", "applicationHost.config changed", 1)) // the watch may come first
		}
	}
	return why
}

// Each edit is told once, be it of a folder that has become an application's
// or has been one, or by a command whose file is in a folder that is served.
func TestEditsAreToldOnce(t *testing.T) {
	t.Parallel()
	const own, root, sub = "applicationHost.config changed", "web.config has changed", "a web.config in a sub-folder has changed"
	folder := page(t, "root")
	docs := filepath.Join(folder, "docs")
	if err := os.Mkdir(docs, 0o755); err != nil {
		t.Fatal(err)
	}
	starts := func(name string) { // changes what is the default document
		t.Helper()
		harness.WriteFile(t, filepath.Join(docs, name), name)
		harness.WriteFile(t, filepath.Join(docs, "web.config"),
			`<configuration><system.webServer><defaultDocument><files><clear /><add value="`+name+`" /></files></defaultDocument></system.webServer></configuration>`)
	}
	starts("one.txt")
	s := &server{path: filepath.Join(folder, "applicationHost.config"), sites: []string{site(1, "a", []string{"127.0.0.1:0:"}, "/="+folder)}}
	s.write(t)
	h := s.start(t, 1)
	page := "one.txt"
	var want []string
	edit := func(why string, do func()) {
		t.Helper()
		do()
		want = append(want, why)
		harness.Eventually(t, func() bool { return len(takenOver(h)) >= len(want) && h.Get("/docs/").Text() == page }, "edit %d is taken over", len(want))
	}
	write := func(name string) func() { return func() { page = name; starts(name) } }
	command := func(args ...string) func() {
		return func() {
			if _, stderr, code := harness.Command(t, folder, append(args, "--config", s.path)...); code != 0 {
				t.Fatalf("perch %q: code %d, %s", args, code, stderr)
			}
		}
	}
	if r := h.Get("/docs/"); r.Text() != page {
		t.Fatalf("%d %.80q", r.StatusCode, r.Text())
	}
	edit(sub, write("two.txt"))
	edit(own, command("app", "add", "a/docs", "--path", docs))
	edit(root, write("three.txt"))
	edit(own, command("set", "system.applicationHost/sites/site[@name='a']/limits/@maxUrlSegments=9"))
	edit(own, command("app", "remove", "a/docs"))
	edit(sub, write("four.txt"))
	edit(own, func() { s.sites = []string{site(2, "b", []string{"127.0.0.1:0:"}, "/="+folder)}; s.write(t) })
	if got := takenOver(h); !slices.Equal(got, want) {
		t.Errorf("it is told %q, want %q", got, want)
	}
}

// A web.config that comes to a sub-folder rules it from then on, whether a
// request has led into the folder before or not.
func TestAWebConfigComesToASubfolder(t *testing.T) {
	t.Parallel()
	for name, first := range map[string]string{"to one that was asked for": "/docs/", "beside what was asked for": "/index.html"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			folder := page(t, "root")
			if err := os.Mkdir(filepath.Join(folder, "docs"), 0o755); err != nil {
				t.Fatal(err)
			}
			harness.WriteFile(t, filepath.Join(folder, "docs", "index.html"), "docs")
			s := newServer(t, site(1, "a", []string{"127.0.0.1:0:"}, "/="+folder))
			h := s.start(t, 1)
			h.Get(first)
			harness.WriteFile(t, filepath.Join(folder, "docs", "web.config"), `<configuration><system.webServer><httpProtocol><customHeaders>
<add name="X-Docs" value="1" /></customHeaders></httpProtocol></system.webServer></configuration>`)
			if first == "/docs/" {
				h.AwaitStderr("a web.config in a sub-folder has changed")
			}
			if r := h.Get("/docs/"); r.Header.Get("X-Docs") != "1" {
				t.Errorf("%d %v", r.StatusCode, r.Header)
			}
		})
	}
}

// What stays because its web.config is gone was not taken over, and the log
// does not say so.
func TestAWebConfigThatIsGoneIsNotTakenOver(t *testing.T) {
	t.Parallel()
	folder := harness.Go().Folder(t)
	s := newServer(t, site(1, "app", []string{"127.0.0.1:0:"}, "/="+folder))
	h := s.start(t, 1)
	if err := os.Remove(filepath.Join(folder, "web.config")); err != nil {
		t.Fatal(err)
	}
	h.AwaitStderr("web.config is gone")
	s.reload(t) // comes after all that the file has caused
	if text := h.Stderr(); strings.Contains(text, "web.config has changed") {
		t.Errorf("the log:\n%s", text)
	}
}

// Folders that come and go are nobody's news, be there errors elsewhere.
func TestFoldersComeInSilence(t *testing.T) {
	t.Parallel()
	folder, broken := page(t, "root"), page(t, "broken")
	harness.WriteFile(t, filepath.Join(broken, "web.config"), "<configuration><oops /></configuration>")
	s := newServer(t, site(1, "files", []string{"127.0.0.1:0:"}, "/="+folder, "/broken="+broken))
	h := s.start(t, 1)
	if r := h.Get("/broken/"); r.StatusCode != 500 {
		t.Fatalf("%d %.80q", r.StatusCode, r.Text())
	}
	if err := os.Mkdir(filepath.Join(folder, "upload"), 0o755); err != nil {
		t.Fatal(err)
	}
	s.sites = append(s.sites, site(2, "more", []string{"127.0.0.1:0:"}, "/="+page(t, "more")))
	s.write(t)
	h.AwaitStderr("what they concern stays as it was", "applicationHost.config changed")
	if text := h.Stderr(); strings.Contains(text, "folders have come or gone") {
		t.Errorf("the log:\n%s", text)
	}
}

func TestBrokenWebConfigConcernsItsSite(t *testing.T) {
	t.Parallel()
	app := harness.Go()
	folder := app.Folder(t)
	s := newServer(t, site(1, "app", []string{"127.0.0.1:0:"}, "/="+folder), site(2, "files", []string{"127.0.0.1:0:"}, "/="+page(t, "old")))
	h := s.start(t, 2)
	worker := h.Worker()
	harness.WriteFile(t, filepath.Join(folder, "web.config"), "<configuration>")
	h.AwaitStderr("PC0")
	s.sites[1] = site(2, "files", []string{"127.0.0.1:0:"}, "/="+page(t, "new"))
	s.write(t)
	if out, code := s.reload(t); code != 1 || !strings.Contains(out, "parts with errors stay as they were; what else has changed is taken over") {
		t.Errorf("%d %s", code, out)
	}
	if _, body := get(t, strings.TrimPrefix(h.URLs[1], "http://"), "x", "/"); body != "new" {
		t.Errorf("the other site answers %q", body)
	}
	if now := h.Worker(); now != worker {
		t.Errorf("worker %d became %d", worker, now)
	}
}

func TestAChangedFileAndTheSignalReload(t *testing.T) {
	t.Parallel()
	dirs := [2]string{page(t, "one"), page(t, "two")}
	s := newServer(t, site(1, "a", []string{"127.0.0.1:0:"}, "/="+dirs[0]))
	h := s.start(t, 1)
	s.sites[0] = site(1, "a", []string{"127.0.0.1:0:"}, "/="+dirs[1])
	s.write(t)
	harness.Eventually(t, func() bool { return h.Get("/").Text() == "two" }, "the changed file is taken over")
	h.Signal(syscall.SIGHUP)
	h.AwaitStderr("signal hangup")
}

func TestAChangedIncludedFileReloads(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	s := &server{path: filepath.Join(dir, "applicationHost.config")}
	include := func(folder string) {
		harness.WriteFile(t, filepath.Join(dir, "sites.config"), "<sites>"+site(1, "a", []string{"127.0.0.1:0:"}, "/="+folder)+"</sites>")
	}
	include(page(t, "one"))
	harness.WriteFile(t, s.path, `<configuration><system.applicationHost><sites configSource="sites.config" /></system.applicationHost></configuration>`)
	h := s.start(t, 1)
	if text := h.Get("/").Text(); text != "one" {
		t.Fatalf("answered %.80q", text)
	}
	include(page(t, "two"))
	harness.Eventually(t, func() bool { return h.Get("/").Text() == "two" }, "the changed file is taken over")
}

// Where two hosts serve a file, as with port 0 they can, each is told of by itself.
func TestReloadOfTwoHosts(t *testing.T) {
	t.Parallel()
	s := newServer(t, site(1, "a", []string{"127.0.0.1:0:"}, "/="+page(t, "a")))
	hosts := []*harness.Host{s.start(t, 1)}
	if text, _ := s.reload(t); strings.Contains(text, "process") || !strings.Contains(text, "taken over") {
		t.Errorf("of one host: %q", text)
	}
	hosts = append(hosts, s.start(t, 1))
	text, code := s.reload(t)
	for _, h := range hosts {
		if want := fmt.Sprintf("%s (process %d): taken over\n", s.path, h.Pid); !strings.Contains(text, want) || code != 0 {
			t.Errorf("%d %q, want %q", code, text, want)
		}
	}
}

func TestReloadOfNobody(t *testing.T) {
	t.Parallel()
	_, stderr, code := harness.Command(t, t.TempDir(), "reload")
	if code != 1 || !strings.Contains(stderr, "no running perch serves it") {
		t.Errorf("%d %q", code, stderr)
	}
}

// TestControlSocketIsPrivate looks where the socket is, and at a killed host's.
func TestControlSocketIsPrivate(t *testing.T) {
	t.Parallel()
	if os.Geteuid() == 0 {
		if _, err := os.Stat("/run"); err != nil {
			t.Skip("there is no /run")
		}
	}
	s := newServer(t, site(1, "a", []string{"127.0.0.1:0:"}, "/="+page(t, "a")))
	s.start(t, 1)
	if _, code := s.reload(t); code != 0 {
		t.Fatalf("exit code %d", code)
	}
	if os.Geteuid() != 0 {
		return
	}
	info, err := os.Stat("/run/perch")
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}
}
