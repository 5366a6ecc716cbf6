package plan

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/serve"
)

// limited is a web.config with limits, and with what else is given.
func limited(attributes, more string) string {
	return `<configuration><perch><limits ` + attributes + ` /></perch>` + more + `</configuration>`
}

// The defaults are the numbers that Perch promises; every value has its own
// way from the file to the connections.
func TestLimits(t *testing.T) {
	promised := serve.Settings{HeaderTime: 15 * time.Second, IdleTime: 2 * time.Minute, DrainTime: 5 * time.Second, BodyGrace: 5 * time.Second, MinRate: 240,
		Streams: 100, StreamWindow: 768 << 10, ConnWindow: 1 << 20, Flood: 1000, FloodSecond: 50}
	promised.Head.Line, promised.Head.Fields, promised.Head.Count = 8192, 32768, 100
	set := serve.Settings{HeaderTime: 3 * time.Second, IdleTime: 4 * time.Second, DrainTime: 5500 * time.Millisecond, BodyGrace: 6 * time.Second, MinRate: 7,
		Streams: 8, StreamWindow: 90_000, ConnWindow: 100_000, Flood: 110, FloodSecond: 12}
	set.Head.Line, set.Head.Fields, set.Head.Count = 100, 300, 2
	for name, c := range map[string]struct {
		files map[string]string
		want  serve.Settings
	}{
		"no file":    {map[string]string{}, promised},
		"no section": {map[string]string{"web.config": `<configuration/>`}, promised},
		"all": {map[string]string{"web.config": limited(`maxRequestLineSize="100" maxRequestHeadersTotalSize="300" maxRequestHeaderCount="2"
			headerWaitTimeout="00:00:03" connectionTimeout="00:00:04" drainTimeout="00:00:05.5" minBytesGracePeriod="00:00:06" minBytesPerSecond="7"
			maxStreamsPerConnection="8" initialStreamWindowSize="90000" initialConnectionWindowSize="100000" floodAllowance="110" floodAllowancePerSecond="12"`, "")}, set},
	} {
		t.Run(name, func(t *testing.T) {
			c.files["index.html"] = ""
			p := mustBuild(t, input(tree(t, c.files)), nil)
			if p.Problems != nil || p.Connections.Log == nil {
				t.Errorf("problems %v, log %v", p.Problems, p.Connections.Log)
			}
			if p.Connections.Log = nil; p.Connections != c.want {
				t.Errorf("got %+v, want %+v", p.Connections, c.want)
			}
		})
	}
}

// Limits of a part of the site would never be kept: that part is in error,
// and the rest is served.
func TestLimitsOfAPart(t *testing.T) {
	docs := `<location path="docs"><perch><limits maxRequestHeaderCount="9" /></perch></location>`
	for name, c := range map[string]struct {
		files map[string]string
		where string
	}{
		"folder":   {map[string]string{"docs/web.config": limited(`maxRequestHeaderCount="9"`, "")}, "docs/web.config:1:23"},
		"location": {map[string]string{"web.config": limited(`maxRequestHeaderCount="5"`, docs)}, "web.config:1:"},
	} {
		t.Run(name, func(t *testing.T) {
			c.files["index.html"], c.files["docs/index.html"] = "root", "docs"
			dir := tree(t, c.files)
			problems, err := Check(input(dir), parts())
			if err != nil || len(problems) != 1 || !strings.Contains(problems[0].String(), filepath.FromSlash(c.where)) || problems[0].Code != "PC023" {
				t.Errorf("%v, %v; want one problem PC023 at %s", problems, err, c.where)
			}
			p := mustBuild(t, input(dir), nil)
			if p.Connections.Head.Count == 9 {
				t.Error("they were taken for those of the server")
			}
			if status, _ := get(t, p, "GET", "/docs/"); status != 500 {
				t.Errorf("/docs/: %d, want 500", status)
			}
			if _, body := get(t, p, "GET", "/"); body != "root" {
				t.Errorf("/: %q", body)
			}
		})
	}
	// A <location> that means the root sets them for the root.
	dir := tree(t, map[string]string{"index.html": "", "docs/index.html": "docs",
		"web.config": `<configuration><location path="."><perch><limits maxRequestHeaderCount="9" /></perch></location></configuration>`})
	p := mustBuild(t, input(dir), nil)
	if _, body := get(t, p, "GET", "/docs/"); p.Connections.Head.Count != 9 || body != "docs" {
		t.Errorf(`path=".": %d fields, %q`, p.Connections.Head.Count, body)
	}
}

// Sites share their connections: the root of one is a part of the server, and
// who wrote the limits there is told the file that they belong to.
func TestLimitsOfOneSiteOfAServer(t *testing.T) {
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig("", plainSite(1, "a", "*:80:", "a")),
		"a/web.config":           limited(`maxRequestHeaderCount="9"`, ""),
	})
	problems, err := Check(served(dir), parts())
	if err != nil || len(problems) != 1 || problems[0].Code != "PC023" {
		t.Fatalf("%v, %v; want one problem PC023", problems, err)
	}
	if want := "perch/limits in applicationHost.config"; !strings.Contains(problems[0].Expected, want) {
		t.Errorf("expected: %s; want %q", problems[0].Expected, want)
	}
}

// A file with a limit out of its range is not taken over.
func TestLimitOutOfRange(t *testing.T) {
	dir := tree(t, map[string]string{"index.html": "", "web.config": limited(`maxRequestHeaderCount="5"`, "")})
	first := mustBuild(t, input(dir), nil)
	if err := os.WriteFile(filepath.Join(dir, "web.config"), []byte(limited(`maxRequestHeaderCount="0"`, "")), 0o644); err != nil {
		t.Fatal(err)
	}
	p := mustBuild(t, input(dir), first)
	if !p.Problems.HasErrors() || !strings.Contains(p.Problems.Error(), "maxRequestHeaderCount") {
		t.Errorf("problems %v", p.Problems)
	}
}

// TestSegmentsOfASite asks for paths at the limit and beyond it, and has them
// explained.
func TestSegmentsOfASite(t *testing.T) {
	t.Parallel()
	limited := func(id int, name, attributes string) string {
		return strings.Replace(plainSite(id, name, "*:80:"+name+".test", "a"), "</site>", "<limits "+attributes+" /></site>", 1)
	}
	dir := tree(t, map[string]string{
		"applicationHost.config": hostConfig("", plainSite(1, "default", "*:80:default.test", "a")+
			limited(2, "two", `maxUrlSegments="2"`)+limited(3, "none", `maxUrlSegments="0"`)),
		"a/b/c.txt": "",
	})
	p := mustBuild(t, served(dir), nil)
	for path, want := range map[string]string{
		"two/": "403", "two/b/c.txt": "200", "two/b/c/": "404", "two/b/c/d": "404.20",
		"default" + strings.Repeat("/a", 32): "404", "default" + strings.Repeat("/a", 33): "404.20",
		"none" + strings.Repeat("/a", 33): "404",
	} {
		host, rest, _ := strings.Cut(path, "/")
		status, body := getFrom(t, p, host+".test", "/"+rest)
		if got := strconv.Itoa(status); !strings.HasPrefix(want, got) || strings.Contains(body, "404.20") != (want == "404.20") {
			t.Errorf("%s: %d, want %s: %.300s", path, status, want, body)
		}
		x, err := Explain(served(dir), parts(), Question{URL: "http://" + host + ".test/" + rest})
		if err != nil {
			t.Fatal(err)
		}
		if x.Refused != (status != 200) || strings.HasPrefix(x.Answer, "404.20") != (want == "404.20") {
			t.Errorf("%s is explained by %q, want %s", path, x.Answer, want)
		}
	}
	if got := len(p.Problems); got > 0 {
		t.Errorf("told %v", p.Problems)
	}
}
