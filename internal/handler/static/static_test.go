package static

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

// modified is the last write of every file that site makes: the worked
// example of the entity tag in the IIS documentation, with its 100 ns
// intervals. The file time is 01d9fc65e1eb0182 hexadecimal.
var modified = fromFileTime(0x01d9fc65e1eb0182)

const (
	exampleETag = `"821ebe165fcd91:0"`
	exampleDate = "Wed, 11 Oct 2023 17:10:49 GMT"
)

func fromFileTime(t int64) time.Time {
	const ticksTo1970 = 116444736000000000
	return time.Unix(0, (t-ticksTo1970)*100).UTC()
}

func TestErrorsAreInWords(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{DefaultDocuments: []string{"a.htm", "b.htm"}}, map[string]string{"sub/x.txt": ""})
	for target, want := range map[string]string{
		"/gone.txt": "serve file: 404: gone.txt: ",
		"/":         "the folder " + h.root + " has none of a.htm, b.htm",
		"/sub/":     "the folder " + filepath.Join(h.root, "sub") + " has none of a.htm, b.htm",
	} {
		if _, err := get(t, h, "GET", target); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("GET %s: %v, want %s", target, err, want)
		}
	}
}

// site makes a folder of files, by slash-separated name, and a handler for it.
func site(t *testing.T, s Settings, files map[string]string) *Handler {
	t.Helper()
	s.Root = t.TempDir()
	if s.DefaultDocuments == nil {
		s.DefaultDocuments = DefaultDocuments()
	}
	for name, content := range files {
		full := filepath.Join(s.Root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(full, modified, modified); err != nil {
			t.Fatal(err)
		}
	}
	h, err := New(s)
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// get serves one request and fails the test if the handler broke the contract
// of the response.
func get(t *testing.T, h *Handler, method, target string, fields ...string) (*exchangetest.Recorder, *exchange.Error) {
	t.Helper()
	x, r := exchangetest.New(method, target, fields...)
	if err := h.Serve(x); err != nil {
		if x.Response.Started {
			t.Fatalf("%s %s: error after the head: %v", method, target, err)
		}
		return r, exchange.AsError(err)
	}
	if err := r.Problem(); err != nil {
		t.Fatalf("%s %s: %v", method, target, err)
	}
	return r, nil
}

func TestFileHead(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{}, map[string]string{"a b.css": "body{}"})
	for _, method := range []string{"GET", "HEAD"} {
		r, err := get(t, h, method, "/a%20b.css?v=1")
		if err != nil {
			t.Fatal(err)
		}
		want := "200\nLast-Modified: " + exampleDate + "\nAccept-Ranges: bytes\nETag: " + exampleETag + "\nContent-Type: text/css\n"
		if got := r.Head(); got != want {
			t.Errorf("%s: head\n%s\nwant\n%s", method, got, want)
		}
		if r.Length != 6 {
			t.Errorf("%s: length %d, want 6", method, r.Length)
		}
		if method == "GET" && (string(r.Body) != "body{}" || r.FileBytes != 6) {
			t.Errorf("body %q, %d bytes from the file", r.Body, r.FileBytes)
		}
	}
}

func TestStatus(t *testing.T) {
	t.Parallel()
	hidden := []string{"web.config", "bin", "App_Data", "App_GlobalResources"}
	h := site(t, Settings{HiddenSegments: hidden}, map[string]string{
		"page.html":                   "page",
		"file.xyz":                    "x",
		"none":                        "x",
		"web.config":                  "secret",
		"sub/Web.Config":              "secret",
		"bin/app.txt":                 "secret",
		"binary/app.txt":              "fine",
		"App_Data/db.txt":             "secret",
		".env":                        "secret",
		".git/config.txt":             "secret",
		"sub/.well-known/a.txt":       "secret",
		".well-known/a.txt":           "fine",
		".well-known/.b.txt":          "secret",
		"dir/index.html":              "index",
		"empty/page.txt":              "x",
		"folder/index.html/inner.txt": "x",
		"folder/iisstart.htm":         "start",
		"ends.":                       "x",
		"v1.2/index.html":             "index",
	})
	tests := []struct {
		target string
		want   string // status.sub of an error, else the body
	}{
		{"/page.html", "page"},
		{"/missing.html", "404.0"},
		{"/missing/deeper.html", "404.0"},
		{"/page.html/", "404.0"},
		{"/page.html/info", "404.0"},
		{"/file.xyz", "404.3"},
		{"/none", "404.3"},
		{"/web.config", "404.8"},
		{"/WEB.CONFIG", "404.8"},
		{"/sub/Web.Config", "404.8"},
		{"/bin/app.txt", "404.8"},
		{"/bin", "404.8"},
		{"/binary/app.txt", "fine"},
		{"/app_data/db.txt", "404.8"},
		{"/nothing/here/bin/at/all", "404.8"},
		{"/App_Global%52e%C5%BFources/a.txt", "404.8"}, // a long s, the same letter to some file systems
		{"/.env", "404.9"},
		{"/.git/config.txt", "404.9"},
		{"/.well-known/a.txt", "fine"},
		{"/.well-known/.b.txt", "404.9"},
		{"/sub/.well-known/a.txt", "404.9"},
		{"/dir/", "index"},
		{"/dir/index.html", "index"},
		{"/empty/", "403.14"},
		{"/folder/", "start"},
		{"/v1.2/", "index"},
		{"/", "403.14"},
		{"/..%2Fetc/passwd", "404.0"},
		{"/a%5Cb.html", "404.0"},
		{"/page.html%00.css", "404.0"},
		{"/page.html.", "404.0"},
		{"/ends.", "404.0"},
		{"/page.html%20", "404.0"},
		{"/page.html::$DATA", "404.0"},
		{"/page.html:stream", "404.0"},
		{"/web.config.", "404.0"},
		{"/a%0Ab", "404.0"},
		{"/" + strings.Repeat("n", 300) + ".html", "404.0"},
	}
	for _, tt := range tests {
		r, err := get(t, h, "GET", tt.target)
		got := string(r.Body)
		if err != nil {
			got = fmt.Sprintf("%d.%d", err.Status, err.SubStatus)
		}
		if got != tt.want {
			t.Errorf("GET %s = %s (%v), want %s", tt.target, got, err, tt.want)
		}
	}
	if open := openBelow(t, h.root); open != 0 {
		t.Errorf("%d files were left open", open)
	}
}

// What a driver never passes on is refused all the same.
func TestSegmentsThatNoDriverSends(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{Root: "x"}, map[string]string{"sub/a.txt": "x"})
	for _, p := range []string{"/../a.txt", "/sub/../sub/a.txt", "/./sub/a.txt", "/sub//a.txt", "//sub/a.txt", "sub/a.txt", "", `/sub\a.txt`} {
		x, _ := exchangetest.New("GET", "/")
		x.Request.Target.Path = []byte(p)
		err := h.Serve(x)
		if p == "" {
			// The root without its slash.
			if err != nil || x.Response.Status != 301 {
				t.Errorf("path %q: status %d, error %v", p, x.Response.Status, err)
			}
			continue
		}
		if err == nil || exchange.AsError(err).Status != 404 {
			t.Errorf("path %q: status %d, error %v", p, x.Response.Status, err)
		}
	}
}

func TestMethods(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{}, map[string]string{"a.txt": "x"})
	for _, m := range []string{"POST", "PUT", "DELETE", "OPTIONS", "get"} {
		x, _ := exchangetest.New(m, "/a.txt")
		err := exchange.AsError(h.Serve(x))
		if err.Status != 405 || string(x.Response.Header.Get(exchange.Allow)) != "GET, HEAD" {
			t.Errorf("%s: %v, Allow %q", m, err, x.Response.Header.Get(exchange.Allow))
		}
	}
}

func TestFolderWithoutSlashRedirects(t *testing.T) {
	t.Parallel()
	tests := []struct{ prefix, target, want string }{
		{"", "/d%20r", "/d%20r/"},
		{"", "/d%20r?a=1&b=/", "/d%20r/?a=1&b=/"},
		{"", "/d%20r?", "/d%20r/?"},
		{"/App", "/app", "/app/"},
		{"/App/", "/APP/d%20r", "/APP/d%20r/"},
	}
	for _, tt := range tests {
		h := site(t, Settings{Prefix: tt.prefix}, map[string]string{"d r/index.html": "index"})
		for _, method := range []string{"GET", "HEAD"} {
			r, err := get(t, h, method, tt.target)
			if got, _ := r.Field("Location"); err != nil || r.Status != 301 || got != tt.want {
				t.Errorf("%s %s: %d to %q (%v), want 301 to %q", method, tt.target, r.Status, got, err, tt.want)
			}
		}
		if open := openBelow(t, h.root); open != 0 {
			t.Errorf("%d folders were left open", open)
		}
	}
}

func TestPrefixIsTakenOffOnASegmentBoundary(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{Prefix: "/app"}, map[string]string{"a.txt": "a", "e/a.txt": "of apple"})
	if r, err := get(t, h, "GET", "/APP/a.txt"); err != nil || string(r.Body) != "a" {
		t.Errorf("body %q, error %v", r.Body, err)
	}
	for _, target := range []string{"/a.txt", "/apple/a.txt", "/ap"} {
		if _, err := get(t, h, "GET", target); err == nil || err.Status != 404 {
			t.Errorf("GET %s: %v, want 404", target, err)
		}
	}
}

func TestDefaultDocumentsAreTriedInOrder(t *testing.T) {
	t.Parallel()
	files := map[string]string{"index.html": "second", "home.htm": "first", "start.zzz": "unknown"}
	for want, docs := range map[string][]string{
		"first":  {"home.htm", "index.html"},
		"second": {"missing.htm", "index.html", "home.htm"},
		"404.3":  {"start.zzz", "index.html"},
		"403.14": {},
	} {
		h := site(t, Settings{DefaultDocuments: docs}, files)
		r, err := get(t, h, "GET", "/")
		got := string(r.Body)
		if err != nil {
			got = fmt.Sprintf("%d.%d", err.Status, err.SubStatus)
		}
		if got != want {
			t.Errorf("documents %q: %s, want %s", docs, got, want)
		}
	}
}

func TestIgnoreCase(t *testing.T) {
	t.Parallel()
	files := map[string]string{"Sub/Page.html": "upper", "Sub/page.HTML": "lower", "Sub/Only.txt": "only", "\u017fecret.txt": "x", "a/index.HTML": "folded default"}
	exact := site(t, Settings{}, files)
	if _, err := get(t, exact, "GET", "/sub/only.txt"); err == nil || err.Status != 404 {
		t.Skipf("the file system of the tests ignores case itself: %v", err)
	}
	h := site(t, Settings{IgnoreCase: true, HiddenSegments: []string{"hide.txt"}}, files)
	for target, want := range map[string]string{
		"/Sub/page.HTML": "lower", // exact name first
		"/sub/page.html": "upper", // then the first in byte order
		"/SUB/ONLY.TXT":  "only",
		"/a/":            "folded default",
	} {
		if r, err := get(t, h, "GET", target); err != nil || string(r.Body) != want {
			t.Errorf("GET %s: %q, %v, want %q", target, r.Body, err, want)
		}
	}
	for _, target := range []string{"/sub/none.txt", "/none/only.txt", "/sub/only.txt/x"} {
		if _, err := get(t, h, "GET", target); err == nil || err.Status != 404 {
			t.Errorf("GET %s: %v, want 404", target, err)
		}
	}
}

func TestClientCache(t *testing.T) {
	t.Parallel()
	tests := []struct {
		cache            ClientCache
		control, expires string
	}{
		{ClientCache{}, "", ""},
		{ClientCache{Mode: DisableCache}, "no-cache", ""},
		{ClientCache{Mode: UseMaxAge, MaxAge: 24 * time.Hour}, "max-age=86400", ""},
		{ClientCache{Mode: UseMaxAge, MaxAge: time.Hour, Custom: "public"}, "public,max-age=3600", ""},
		{ClientCache{Custom: "immutable"}, "immutable", ""},
		{ClientCache{Mode: UseExpires, Expires: "Tue, 19 Jan 2038 03:14:07 GMT"}, "", "Tue, 19 Jan 2038 03:14:07 GMT"},
	}
	for _, tt := range tests {
		h := site(t, Settings{Cache: tt.cache}, map[string]string{"a.txt": "a"})
		// A 304 carries the same fields (RFC 9110 section 15.4.5).
		for _, fields := range [][]string{nil, {"If-None-Match: *"}} {
			r, err := get(t, h, "GET", "/a.txt", fields...)
			if err != nil {
				t.Fatal(err)
			}
			control, _ := r.Field("Cache-Control")
			expires, _ := r.Field("Expires")
			if control != tt.control || expires != tt.expires {
				t.Errorf("%+v: Cache-Control %q, Expires %q", tt.cache, control, expires)
			}
		}
	}
}

func TestNewRefusesWrongSettings(t *testing.T) {
	t.Parallel()
	if _, err := New(Settings{Root: "relative"}); err == nil {
		t.Error("a relative root is taken")
	}
	if _, err := New(Settings{Root: t.TempDir(), Types: []Type{{"txt", "text/plain"}}}); err == nil {
		t.Error("an extension without a dot is taken")
	}
}

func TestFolderReplacedAsAWholeIsServedAtOnce(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{}, map[string]string{"releases/1/a.txt": "one", "releases/2/a.txt": "two"})
	live := filepath.Join(h.root, "live")
	h.root, live = live, h.root
	for _, release := range []string{"1", "2"} {
		os.Remove(h.root)
		if err := os.Rename(filepath.Join(live, "releases", release), h.root); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"1": "one", "2": "two"}[release]
		if r, err := get(t, h, "GET", "/a.txt"); err != nil || string(r.Body) != want {
			t.Errorf("release %s: %q, %v", release, r.Body, err)
		}
		os.RemoveAll(h.root)
	}
	if _, err := get(t, h, "GET", "/a.txt"); err == nil || err.Status != 404 {
		t.Errorf("without the folder: %v, want 404", err)
	}
}
