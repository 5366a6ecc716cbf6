// Package sites is the suite about an applicationHost.config: which site,
// application and folder answers, and what becomes of requests, connections
// and processes when the configuration changes under them. Nothing imports it.
package sites

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// server is the text of an applicationHost.config as a test changes it.
type server struct {
	path  string
	pools string
	sites []string
	other string // groups of sections beside system.applicationHost
}

func newServer(t *testing.T, sites ...string) *server {
	t.Helper()
	s := &server{path: filepath.Join(t.TempDir(), "applicationHost.config"), sites: sites}
	s.write(t)
	return s
}

// write puts the file in its place.
func (s *server) write(t testing.TB) {
	t.Helper()
	harness.WriteFile(t, s.path, "<configuration><system.applicationHost>\n<applicationPools>"+s.pools+"</applicationPools>\n<sites>\n"+
		strings.Join(s.sites, "\n")+"\n</sites></system.applicationHost>"+s.other+"</configuration>\n")
}

// start runs a host that has to print so many listening URLs.
func (s *server) start(t *testing.T, urls int, env ...string) *harness.Host {
	t.Helper()
	return harness.Start(t, harness.Run{Config: s.path, Lines: urls, Dir: filepath.Dir(s.path), Env: env})
}

// reload has the host read the file again and returns what the command says.
func (s *server) reload(t testing.TB) (stdout string, code int) {
	t.Helper()
	stdout, stderr, code := harness.Command(t, filepath.Dir(s.path), "reload", "--config", s.path)
	if stderr != "" {
		t.Errorf("perch reload wrote %q to stderr", stderr)
	}
	return stdout, code
}

// site is one site. Its applications are "/path=folder", its bindings
// bindingInformation.
func site(id int, name string, bindings []string, applications ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "<site name=%q id=\"%d\">", name, id)
	for _, a := range applications {
		path, folder, _ := strings.Cut(a, "=")
		fmt.Fprintf(&b, "<application path=%q><virtualDirectory path=\"/\" physicalPath=%q /></application>", path, folder)
	}
	b.WriteString("<bindings>")
	for _, info := range bindings {
		fmt.Fprintf(&b, "<binding protocol=\"http\" bindingInformation=%q />", info)
	}
	b.WriteString("</bindings></site>")
	return b.String()
}

// page makes a folder with an index.html.
func page(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	harness.WriteFile(t, filepath.Join(dir, "index.html"), text)
	return dir
}

// get asks an address for a host and a path on a connection of its own.
func get(t *testing.T, addr, host, path string) (status int, body string) {
	t.Helper()
	c := harness.Dial(t, addr)
	defer c.Close()
	r := c.Send("GET " + path + " HTTP/1.1\r\nHost: " + host + "\r\nConnection: close\r\n\r\n").Response("GET")
	return r.StatusCode, r.Text()
}

// startAt runs a host on a port that the system chose, on one address or on
// all (*), and then gives it the sites that sites returns for the port: nobody
// else can take it meanwhile.
func (s *server) startAt(t *testing.T, address string, sites func(port string) []string) (h *harness.Host, port string) {
	t.Helper()
	s.sites = []string{site(99, "first", []string{address + ":0:first.test"}, "/="+page(t, "first"))}
	s.write(t)
	h = s.start(t, 1)
	port = portOf(h.URL)
	s.sites = sites(port)
	s.write(t)
	if out, code := s.reload(t); code != 0 {
		t.Fatalf("perch reload: %d %s", code, out)
	}
	return h, port
}

// portOf is the port of a listening URL.
func portOf(url string) string {
	return strings.TrimSuffix(url[strings.LastIndexByte(url, ':')+1:], "/")
}
