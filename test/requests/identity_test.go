package requests

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// identityCases are about who asked for what: scheme, host, addresses, path.
var identityCases = []exchangeCase{
	{name: "SchemeHostPathBase", run: func(t *testing.T, h *harness.Host, app harness.App) {
		s := h.Seen("GET", "/some/where?a=1&b=%20", "Host: shop.example:8443")
		protocol := "HTTP/1.1"
		if app.HTTP2 {
			protocol = "HTTP/2"
		}
		if s.Scheme != h.Scheme() || s.Host != "shop.example:8443" || s.PathBase != "" || s.Path != "/some/where" ||
			s.Query != "?a=1&b=%20" || s.Method != "GET" || !strings.HasPrefix(s.Protocol, protocol) {
			t.Errorf("the application saw %+v", s)
		}
	}},
	{name: "RemoteAddressAndPort", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		want := ""
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { want = c.Conn.LocalAddr().String() }})
		r, err := h.TryContext(ctx, "GET", "/", nil, nil)
		if err != nil || !strings.Contains(r.Text(), fmt.Sprintf(`"remote":"%s"`, want)) {
			t.Errorf("the application saw %s, %v, want %s", r.Text(), err, want)
		}
	}},
	{name: "ForwardedForIsAppended", run: func(t *testing.T, h *harness.Host, app harness.App) {
		s := h.Seen("GET", "/", "X-Forwarded-For: 203.0.113.7", "X-Forwarded-Proto: https")
		ip, _, err := net.SplitHostPort(s.Remote)
		if err != nil || ip != "127.0.0.1" || s.Scheme != h.Scheme() {
			t.Errorf("remote %q, scheme %q: the entry of the nearest proxy was not the last", s.Remote, s.Scheme)
		}
		// ASP.NET Core takes off the entry that it used and keeps the rest.
		want := "203.0.113.7"
		if app.Name != "aspnetcore31" {
			want += ", " + s.Remote
		}
		if got := strings.Join(s.Field("X-Forwarded-For"), ", "); got != want {
			t.Errorf("X-Forwarded-For is %q, want %q", got, want)
		}
	}},
	{name: "RawTargetIsPassedOn", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for _, target := range []string{"/a%20b", "/caf%C3%A9?x=%2F&y=a+b", "/a%2Cb;c=1", "/%7Euser/x", "/?", "/a?b?c"} {
			if got := seen(t, h, target); got.RawTarget != target {
				t.Errorf("target %s arrived as %s", target, got.RawTarget)
			}
		}
	}},
	{name: "DotSegmentsAreRemoved", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for target, want := range map[string]string{
			"/a/./b": "/a/b", "/a/../b": "/b", "/a/%2e%2E/b": "/b", "/a/b/..": "/a/", `/a\b`: "/a/b", "//a///b": "/a/b",
		} {
			if got := seen(t, h, target+"?q=%2e"); got.RawTarget != want+"?q=%2e" {
				t.Errorf("target %s arrived as %s, want %s", target, got.RawTarget, want)
			}
		}
		for _, target := range []string{"/../b", "/a/../../b", "/%2e%2e/b", `/a\..\..\b`} {
			if r := raw(t, h, target); r.StatusCode != 400 {
				t.Errorf("target %s, which leads above the root, answered %d, want 400", target, r.StatusCode)
			}
		}
	}},
	{name: "HiddenSegments", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for _, target := range []string{
			"/web.config", "/WEB.Config", "/%77eb%2Econfig", "/web.config/", "/web.config/x?y", "/a/web.config", "/a//web.config", "//web.config",
			`/a\web.config`, "/a/../web.config", "/a%2fweb.config", "/a%5cweb.config", "/a%2f..%2fweb.config",
			"/.perch-history/web.config.1", "/a/.PERCH-history/", "/%2Eperch-history",
		} {
			if r := raw(t, h, target); r.StatusCode != 404 || !strings.Contains(r.Text(), "HTTP Error 404.8") {
				t.Errorf("target %s is answered with %s", target, harness.Describe(r.StatusCode, r.Bytes))
			}
		}
		for _, target := range []string{"/web.config.", "/web.config;x", "/web.config%20", "/web.configs", "/a?/web.config", "/bin/x", "/App_Data/x", "/a%2fb"} {
			if got := seen(t, h, target); got.RawTarget != target {
				t.Errorf("target %s arrived as %s", target, got.RawTarget)
			}
		}
	}},
	{name: "Methods", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		for _, m := range []string{"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"} {
			if s := h.Seen(m, "/"); s.Method != m {
				t.Errorf("method %s arrived as %s", m, s.Method)
			}
		}
	}},
	{name: "WorkingDirectory", run: func(t *testing.T, h *harness.Host, _ harness.App) {
		var p struct {
			Cwd string
			Pid int
		}
		h.JSON("/process", &p)
		if _, err := os.Stat(filepath.Join(p.Cwd, "web.config")); err != nil {
			t.Errorf("the application runs in %s, which is not its folder", p.Cwd)
		}
		if len(h.Tree()) < 2 || !harness.Alive(p.Pid) {
			t.Errorf("process tree %v of the host, application %d", h.Tree(), p.Pid)
		}
	}},
	{name: "AroundTheHost", only: "aspNetCore", run: func(t *testing.T, h *harness.Host, app harness.App) {
		direct := &http.Transport{Protocols: new(http.Protocols)}
		defer direct.CloseIdleConnections()
		direct.Protocols.SetHTTP1(!app.HTTP2)
		direct.Protocols.SetUnencryptedHTTP2(app.HTTP2)
		res, err := (&http.Client{Transport: direct}).Get("http://127.0.0.1:" + h.Env()["ASPNETCORE_PORT"] + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		if res.StatusCode != 400 {
			t.Errorf("a request around the host, without the token, got %d, want 400", res.StatusCode)
		}
	}},
	{name: "Environment", run: func(t *testing.T, h *harness.Host, app harness.App) {
		env := h.Env()
		name := "ASPNETCORE_PORT"
		if app.Module == "httpPlatform" {
			name = "HTTP_PLATFORM_PORT"
		}
		if port, err := strconv.Atoi(env[name]); err != nil || port < 1025 || port > 48000 {
			t.Errorf("%s is %q", name, env[name])
		}
		if env["PORT"] != env[name] {
			t.Errorf("PORT is %q, want the same as %s", env["PORT"], name)
		}
		for name := range env {
			if strings.HasPrefix(name, "PERCH_") || strings.HasPrefix(name, "LISTEN_") || name == "NOTIFY_SOCKET" {
				t.Errorf("%s leaked into the environment of the application", name)
			}
		}
	}},
}

// raw sends a target as it is.
func raw(t *testing.T, h *harness.Host, target string) *harness.Response {
	t.Helper()
	path, query, has := strings.Cut(target, "?")
	u := &url.URL{Scheme: h.Scheme(), Host: h.Addr(), Opaque: path, RawQuery: query, ForceQuery: has}
	if strings.HasPrefix(path, "//") { // Opaque would be an absolute form
		u.Opaque, u.Path = "", path
	}
	res, err := h.Client().Do(&http.Request{Method: "GET", URL: u, Header: http.Header{}})
	if err != nil {
		t.Fatalf("%s: %v", target, err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	return &harness.Response{Response: res, Bytes: text, Err: err}
}

// seen is what the application sees of it.
func seen(t *testing.T, h *harness.Host, target string) (s harness.Seen) {
	t.Helper()
	harness.Decode(t, raw(t, h, target), &s)
	return s
}
