package site

import (
	"errors"
	"net/netip"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

// disk is a Source with folders and nodes given as text: "/a" is a folder,
// "/a!" one with a node of its own.
type disk struct {
	paths []string
	nodes map[string]*Node
	asked map[string]int
}

func newDisk(paths ...string) *disk {
	d := &disk{nodes: map[string]*Node{"/": named("/")}, asked: map[string]int{}}
	for _, p := range paths {
		if q, own := strings.CutSuffix(p, "!"); own {
			d.nodes[q] = named(q)
			p = q
		}
		d.paths = append(d.paths, p)
	}
	return d
}

// named is a node whose chain answers with an error that tells its name.
func named(name string) *Node {
	return &Node{Chain: exchange.HandlerFunc(func(*exchange.Exchange) error { return errors.New(name) })}
}

func (d *disk) Open(path string, above *Node) (*Node, []string, error) {
	d.asked[path]++
	node := d.nodes[path]
	if node == nil || path == "/" {
		node = above
	}
	var names []string
	for _, p := range d.paths {
		if up, name := p[:strings.LastIndex(p, "/")], p[strings.LastIndex(p, "/")+1:]; up == strings.TrimSuffix(path, "/") {
			names = append(names, name)
		}
	}
	return node, names, nil
}

// failed hands the error on.
func failed(err error) exchange.Handler {
	return exchange.HandlerFunc(func(*exchange.Exchange) error { return err })
}

func target(path string) *exchange.Target { return &exchange.Target{Path: []byte(path)} }

func TestTreeFindsTheNodeOfAPath(t *testing.T) {
	d := newDisk("/admin!", "/admin/public", "/admin/public/open!", "/Static", "/docs", "/docs/readme.txt!", "/Ärger!", "/\xff!")
	tree := NewTree(d.nodes["/"], d)
	for path, want := range map[string]string{
		"/":                            "/",
		"/index.html":                  "/",
		"/admin":                       "/admin",
		"/ADMIN/":                      "/admin",
		"/admin/x/y":                   "/admin",
		"/administrator":               "/",
		"/admin/public":                "/admin",
		"/admin/public/open/deep":      "/admin/public/open",
		"/static/admin/public/open":    "/",
		"/docs/readme.txt":             "/docs/readme.txt",
		"/docs/other.txt":              "/",
		"/" + strings.Repeat("x", 400): "/",
		"/Ärger/x":                     "/Ärger",
		"/ärger/x":                     "/Ärger",
		"/ÄRGER":                       "/Ärger",
		"/\xff/x":                      "/\xff",
		"/\xfe/x":                      "/",
	} {
		node, err := tree.Resolve(target(path))
		if err != nil {
			t.Fatal(err)
		}
		if got := node.Chain.Serve(nil).Error(); got != want {
			t.Errorf("%s is ruled by %s, want %s", path, got, want)
		}
	}
	for path, n := range d.asked {
		if n != 1 {
			t.Errorf("%s was read %d times, want once", path, n)
		}
	}
}

// What a folder says is asked when a request first leads into it, to its end,
// and not before.
func TestTreeOpensWhatARequestLeadsInto(t *testing.T) {
	d := newDisk("/a", "/a/b", "/c")
	tree := NewTree(d.nodes["/"], d)
	for _, step := range []struct{ path, opened string }{{"/", "/"}, {"/index.html", ""}, {"/a", "/a"}, {"/a/x", ""}, {"/a/b/", "/a/b"}} {
		before := len(d.asked)
		if _, err := tree.Resolve(target(step.path)); err != nil {
			t.Fatal(err)
		}
		if new := len(d.asked) - before; step.opened == "" && new != 0 || step.opened != "" && (new != 1 || d.asked[step.opened] != 1) {
			t.Errorf("%s: opened %v, want %q besides", step.path, d.asked, step.opened)
		}
	}
}

func TestTreeRefusesAPathWithTwoReadings(t *testing.T) {
	d := newDisk("/admin!")
	tree := NewTree(d.nodes["/"], d)
	one := &exchange.Target{Path: []byte("/admin%2Fx"), HiddenSlash: true, Separated: []byte("/admin/x")}
	if _, err := tree.Resolve(one); err != errTwoReadings {
		t.Errorf("error %v, want that the path can be read in two ways", err)
	}
	both := &exchange.Target{Path: []byte("/files/a%2Fb"), HiddenSlash: true, Separated: []byte("/files/a/b")}
	if _, err := tree.Resolve(both); err != nil {
		t.Errorf("refused though both readings lead to one node: %v", err)
	}
}

func TestTableFindsTheSiteOfAHost(t *testing.T) {
	site := func(name string) *Tree { return NewTree(named(name), newDisk()) }
	table := NewTable([]Binding{
		{Port: 80, Host: "Shop.test", Site: site("shop")},
		{Port: 80, Host: "", Site: site("any")},
		{Port: 81, Host: "only.test", Site: site("only")},
		{Port: 81, Host: "only.test", Site: site("second")},
		{Port: 82, Host: "[::1]", Site: site("six")},
	}, failed)
	for _, c := range []struct {
		port uint16
		host string
		want string // empty: 400
	}{
		{80, "shop.test", "shop"},
		{80, "SHOP.TEST:80", "shop"},
		{80, "other.test", "any"},
		{80, "", "any"},
		{81, "only.test:8081", "only"},
		{81, "shop.test", ""},
		{81, "", ""},
		{82, "[::1]:82", "six"},
		{83, "shop.test", ""},
	} {
		var x exchange.Exchange
		x.Conn = &exchange.Conn{Local: netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), c.port)}
		x.Request.Host = []byte(c.host)
		x.Request.Target.Path = []byte("/")
		err := table.Serve(&x)
		var e *exchange.Error
		switch {
		case c.want == "" && (!errors.As(err, &e) || e.Status != 400):
			t.Errorf("%d %q: %v, want 400", c.port, c.host, err)
		case c.want != "" && err.Error() != c.want:
			t.Errorf("%d %q: %v, want %s", c.port, c.host, err, c.want)
		}
	}
}

func TestEntryMatches(t *testing.T) {
	for _, c := range []struct {
		pattern, path string
		want          bool
	}{
		{"*", "/any/thing", true},
		{"*.php", "/a/b.PHP", true},
		{"*.php", "/a/b.php/c", false},
		{"default.htm", "/x/Default.htm", true},
		{"api/*", "/api/x/y", true},
		{"/api/*", "/api/x", true},
		{"api/*", "/other/api/x", false},
		{"a?c", "/abc", true},
		{"a?c", "/ac", false},
		{"*a*b*", "/xxaxxb", true},
		{"*a*b", "/xxaxxbx", false},
	} {
		e := Entry{Path: c.pattern}
		if got := e.matches(target(c.path)); got != c.want {
			t.Errorf("%q matches %q: %v, want %v", c.pattern, c.path, got, c.want)
		}
	}
}

func TestChoiceTellsAWrongMethodFromAWrongPath(t *testing.T) {
	answer := exchange.HandlerFunc(func(*exchange.Exchange) error { return nil })
	c := Choice{Entries: []Entry{{Path: "*.x", Verbs: []string{"GET"}, Handler: answer}}}
	for _, q := range []struct {
		method, path string
		want         error
	}{{"GET", "/a.x", nil}, {"POST", "/a.x", errNoVerb}, {"GET", "/a.y", errNoHandler}} {
		var x exchange.Exchange
		x.Request.Method, x.Request.Target.Path = q.method, []byte(q.path)
		if err := c.Serve(&x); err != q.want {
			t.Errorf("%s %s: %v, want %v", q.method, q.path, err, q.want)
		}
	}
}

func BenchmarkResolve(b *testing.B) {
	d := newDisk("/wwwroot", "/runtimes", "/admin!")
	tree := NewTree(d.nodes["/"], d)
	x := target("/api/orders/17")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tree.Resolve(x); err != nil {
			b.Fatal(err)
		}
	}
}
