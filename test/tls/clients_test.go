package tls

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/perchserver/perch/test/harness"
)

// visit is what a client does on a site, and what comes of it.
type visit struct {
	Protocol  string // that it spoke, as ALPN names it
	Page      string // the text of the page
	Uploaded  int    // bytes, as the application counted them
	Events    string // of an event stream
	Handshake int    // status of that of a WebSocket: 200 is that of an extended CONNECT (RFC 8441)
	WebSocket string // what came back, and the code and the reason of the end
}

const uploadSize = 1_000_000

// place is a site of the port, as clients find it.
type place struct {
	host string
	url  string // without a slash at its end
}

func (p place) page() string { return "the page of " + p.host }

// served is one port with several sites, each of them with a certificate of
// its own, and a page with an application beneath it.
type served struct {
	*harness.Host
	port   int
	places []place
	own    *authority // of those sites that have no development certificate
	roots  string     // PEM file of who vouches for all of them
}

// serveSites has two sites with development certificates, and one each with a
// PEM file and a PFX file.
func serveSites(t *testing.T) *served {
	t.Helper()
	s := &served{own: newAuthority(t), port: free(t)}
	var sites strings.Builder
	for i, p := range []struct{ host, certificate string }{
		{"one.localhost", ""},
		{"two.localhost", ""},
		{"pem.test", fmt.Sprintf(`certificateFile="%s"`, s.own.file("site.pem", "pem.test"))},
		{"pfx.test", fmt.Sprintf(`certificateFile="%s" certificatePassword="%%SITE_PASSWORD%%"`, s.own.pfx("site.pfx", "secret", "pfx.test"))},
	} {
		s.places = append(s.places, place{p.host, fmt.Sprintf("https://%s:%d", p.host, s.port)})
		fmt.Fprintf(&sites, `<site name="%s" id="%d"><application path="/"><virtualDirectory path="/" physicalPath="%s" /></application>`+
			`<application path="/app"><virtualDirectory path="/" physicalPath="%s" /></application><bindings>%s</bindings></site>`+"\n",
			p.host, i+1, s.places[i].folder(t), harness.Go().Folder(t), https(s.port, p.host, `sslFlags="1" `+p.certificate))
	}
	config := filepath.Join(t.TempDir(), "applicationHost.config")
	harness.WriteFile(t, config, "<configuration><system.applicationHost><sites>\n"+sites.String()+"</sites></system.applicationHost></configuration>\n")
	s.Host = harness.Start(t, harness.Run{Config: config, Lines: len(s.places), Env: []string{"SITE_PASSWORD=secret"}})
	var roots []byte
	for _, path := range []string{s.Roots(), s.own.path} {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		roots = append(roots, text...)
	}
	s.roots = s.own.put("roots.pem", roots)
	return s
}

// folder is the root of the site: testdata/site, with a text of its own.
func (p place) folder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS("testdata/site")); err != nil {
		t.Fatal(err)
	}
	index := filepath.Join(dir, "index.html")
	text, err := os.ReadFile(index)
	if err != nil {
		t.Fatal(err)
	}
	harness.WriteFile(t, index, strings.Replace(string(text), "{{text}}", p.page(), 1))
	return dir
}

// The clients that people use reach several sites of one port by name, over
// both versions of HTTP, and do there what people want of them.
func TestClients(t *testing.T) {
	t.Parallel()
	s := serveSites(t)
	const first, second = "http/1.1", "h2"
	for _, c := range []struct {
		name, protocol string
		visit          func(t *testing.T, protocol string, p place) visit
		handshake      int // 0: the client has no WebSockets
	}{
		{"curl", first, s.curl, 0},
		{"curl", second, s.curl, 0},
		{"Go", first, s.goClient, 101},
		{"Go", second, s.goClient, 0},
		{"Node", first, s.node, 101},
		{"Node", second, s.node, 200},
		{"Chromium", first, s.chromium(t, first), 101},
		{"Chromium", second, s.chromium(t, second), 200},
	} {
		for _, p := range s.places {
			t.Run(fmt.Sprint(c.name, " ", strings.ReplaceAll(c.protocol, "/", " "), " ", p.host), func(t *testing.T) {
				t.Parallel()
				want := visit{c.protocol, p.page(), uploadSize, "0 1 2", c.handshake, ""}
				if c.handshake != 0 {
					want.WebSocket = "hello 1000 bye"
				}
				if got := c.visit(t, c.protocol, p); got != want {
					t.Errorf("%+v, want %+v", got, want)
				}
			})
		}
	}
}

var pageText = regexp.MustCompile(`<p id="text">(.*)</p>`)

// fill takes what the three answers of a visit say.
func (v *visit) fill(t *testing.T, page, uploaded, events string) {
	t.Helper()
	if m := pageText.FindStringSubmatch(page); m != nil {
		v.Page = m[1]
	}
	var count struct{ Bytes int }
	if err := json.Unmarshal([]byte(uploaded), &count); err != nil {
		t.Errorf("%v in %q", err, uploaded)
	}
	v.Uploaded = count.Bytes
	v.Events = strings.Join(strings.Fields(strings.ReplaceAll(events, "data:", "")), " ")
}

func (s *served) curl(t *testing.T, protocol string, p place) (v visit) {
	ask := func(path string, args ...string) string {
		flag := map[string]string{"http/1.1": "--http1.1", "h2": "--http2"}[protocol]
		out, err := run(t, "curl", strings.NewReader(strings.Repeat("x", uploadSize)), append([]string{"-sS", flag, "--cacert", s.roots,
			"--connect-to", fmt.Sprintf("::127.0.0.1:%d", s.port), "-w", "\n%{http_version}", p.url + path}, args...)...)
		if err != nil {
			t.Fatalf("%s: %v: %s", path, err, out)
		}
		i := strings.LastIndexByte(out, '\n')
		v.Protocol = map[string]string{"1.1": "http/1.1", "2": "h2"}[out[i+1:]]
		return out[:i]
	}
	v.fill(t, ask("/"), ask("/app/upload", "--data-binary", "@-"), ask("/app/sse?n=3&ms=1"))
	return v
}

func (s *served) goClient(t *testing.T, protocol string, p place) (v visit) {
	pool := s.Pool()
	pool.AddCert(s.own.root)
	c := client(fmt.Sprintf("127.0.0.1:%d", s.port), &tls.Config{RootCAs: pool})
	tr := c.Transport.(*http.Transport)
	defer tr.CloseIdleConnections()
	tr.Protocols = new(http.Protocols)
	tr.Protocols.SetHTTP1(protocol == "http/1.1")
	tr.Protocols.SetHTTP2(protocol == "h2")
	ask := func(method, path string, body io.Reader) string {
		req, err := http.NewRequest(method, p.url+path, body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := c.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		text, err := io.ReadAll(res.Body)
		if err != nil || res.StatusCode != 200 {
			t.Errorf("%s: %d, %v", path, res.StatusCode, err)
		}
		v.Protocol = map[string]string{"HTTP/1.1": "http/1.1", "HTTP/2.0": "h2"}[res.Proto]
		return string(text)
	}
	v.fill(t, ask("GET", "/", nil), ask("POST", "/app/upload", strings.NewReader(strings.Repeat("x", uploadSize))), ask("GET", "/app/sse?n=3&ms=1", nil))
	if protocol == "h2" {
		return v // it knows no extended CONNECT
	}
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	defer cancel()
	w, res, err := websocket.Dial(ctx, strings.Replace(p.url, "https", "wss", 1)+"/app/ws", &websocket.DialOptions{HTTPClient: &http.Client{Transport: tr}})
	if err != nil {
		t.Fatal(err)
	}
	defer w.CloseNow()
	w.Write(ctx, websocket.MessageText, []byte("hello"))
	_, got, err := w.Read(ctx)
	if err != nil {
		t.Fatal(err)
	}
	w.Write(ctx, websocket.MessageText, []byte("close"))
	_, _, err = w.Read(ctx)
	var end websocket.CloseError
	errors.As(err, &end)
	v.Handshake, v.WebSocket = res.StatusCode, fmt.Sprintf("%s %d %s", got, end.Code, end.Reason)
	return v
}

func (s *served) node(t *testing.T, protocol string, p place) (v visit) {
	out, err := run(t, "node", nil, "testdata/client.js", protocol, p.url, s.roots, harness.NodeModules(t))
	if err == nil {
		err = json.Unmarshal([]byte(out), &v)
	}
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return v
}

// chromium starts a browser that trusts whom a developer's does, and returns
// how it visits a site. It is started when it is first asked for.
func (s *served) chromium(t *testing.T, protocol string) func(*testing.T, string, place) visit {
	var flags []string
	if protocol == "http/1.1" {
		flags = append(flags, "disable-http2")
	}
	open := browser(t, home(t, s.Host, s.own), "MAP *.test 127.0.0.1", flags...)
	return func(t *testing.T, _ string, p place) (v visit) {
		tab := open(t)
		handshake := tab.handshake()
		tab.navigate(p.url + "/")
		if err := json.Unmarshal([]byte(tab.await("visit()")), &v); err != nil {
			t.Fatal(err)
		}
		v.Handshake = handshake()
		return v
	}
}
