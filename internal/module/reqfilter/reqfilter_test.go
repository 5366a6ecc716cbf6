package reqfilter

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

func TestBodyLimit(t *testing.T) {
	for name, c := range map[string]struct {
		limit  int64
		body   string
		chunks bool
		status int // 0: passes
	}{
		"below":                 {10, "123456789", false, 0},
		"at the limit":          {10, "1234567890", false, 0},
		"above":                 {10, "12345678901", false, 413},
		"no body, limit zero":   {0, "", false, 0},
		"no limit":              {-1, strings.Repeat("x", 1000), false, 0},
		"above, length unknown": {10, "12345678901", true, 413},
	} {
		t.Run(name, func(t *testing.T) {
			x := new(exchange.Exchange)
			x.Request.Length = int64(len(c.body))
			if c.chunks {
				x.Request.Length = -1
			}
			x.Request.Body = exchangetest.NewBody(c.body)
			read := exchange.HandlerFunc(func(x *exchange.Exchange) error {
				_, err := io.Copy(io.Discard, x.Request.Body)
				return err
			})
			err := Module(Settings{MaxBody: c.limit})(read).Serve(x)
			var e *exchange.Error
			switch {
			case c.status == 0 && err != nil:
				t.Errorf("refused: %v", err)
			case c.status != 0 && (!errors.As(err, &e) || e.Status != c.status):
				t.Errorf("error %v, want status %d", err, c.status)
			}
		})
	}
}

func TestSegments(t *testing.T) {
	for _, c := range []struct {
		path, separated string
		most            int
		refused         bool
	}{
		{"/", "", 1, false},
		{"/a/b", "", 2, false},
		{"/a/b/", "", 2, false},
		{"/a/b/c", "", 2, true},
		{"/a%2fb/c", "/a/b/c", 3, false},
		{"/a%2fb/c", "/a/b/c", 2, true},
		{strings.Repeat("/a", 1000), "", 0, false},
	} {
		target := exchange.Target{Path: []byte(c.path), HiddenSlash: c.separated != "", Separated: []byte(c.separated)}
		set := Settings{MaxSegments: c.most}
		if err := set.Judge(&target); (err != nil) != c.refused {
			t.Errorf("%.20s with %d segments at most: %v", c.path, c.most, err)
		}
	}
}

func TestHiddenSegments(t *testing.T) {
	hidden := Hide("web.config", "bin", ".perch-history", "Größe", strings.Repeat("long", 20))
	hidden.trimmed = false                     // as everywhere but on Windows
	for path, want := range map[string]string{ // what is hidden; empty: nothing
		"/":                              "",
		"":                               "",
		"*":                              "",
		"/web.config":                    "web.config",
		"/WEB.Config":                    "WEB.Config",
		"/web.config/":                   "web.config",
		"/a/bin/b":                       "bin",
		"/a/b/bin":                       "bin",
		"//bin":                          "bin",
		"/binary/x":                      "",
		"/a.bin":                         "",
		"/web.config.":                   "", // names of their own, where case counts
		"/web.config ":                   "",
		"/web.config;x":                  "",
		"/web.confi":                     "",
		"/index.html":                    "", // as long as web.config
		"/x/.perch-history/y":            ".perch-history",
		"/.perch-hi\u017ftory/y":         ".perch-hi\u017ftory", // a long s, the same letter to some file systems
		"/GRÖSSE":                        "",
		"/GRÖßE":                         "GRÖßE",
		"/gr\xc3":                        "",
		"/" + strings.Repeat("LONG", 20): strings.Repeat("LONG", 20),
		"/" + strings.Repeat("long", 21): "",
	} {
		if got := hidden.find([]byte(path)); string(got) != want {
			t.Errorf("%.40s: %q is hidden, want %q", path, got, want)
		}
	}
	var none Segments
	if got := none.find([]byte("/web.config/bin")); got != nil {
		t.Errorf("%q is hidden by nothing", got)
	}
}

func TestHiddenSegmentsOfWindows(t *testing.T) {
	hidden := Hide("web.config", "bin")
	hidden.trimmed = true
	for path, want := range map[string]string{
		"/web.config.":            "web.config.",
		"/WEB.config . ./x":       "WEB.config . .",
		"/web.config::$DATA":      "web.config::$DATA",
		"/a/bin:$I30:$INDEX_A/b":  "bin:$I30:$INDEX_A",
		"/binary./.../ /:bin/web": "",
	} {
		if got := hidden.find([]byte(path)); string(got) != want {
			t.Errorf("%s: %q is hidden, want %q", path, got, want)
		}
	}
}

// An application may take an encoded slash for one, or not.
func TestBothReadingsAreJudged(t *testing.T) {
	set := Settings{Hidden: Hide("bin")}
	for path, separated := range map[string]string{
		"/a%2fbin%2fb": "/a/bin/b",
		"/bin/..%2fx":  "/x",
	} {
		err := set.Judge(&exchange.Target{Path: []byte(path), HiddenSlash: true, Separated: []byte(separated)})
		if e := exchange.AsError(err); err == nil || e.Status != 404 || e.SubStatus != 8 {
			t.Errorf("%s: %v, want 404.8", path, err)
		}
	}
	if err := set.Judge(&exchange.Target{Path: []byte("/a%2fbinary"), HiddenSlash: true, Separated: []byte("/a/binary")}); err != nil {
		t.Error(err)
	}
}

func TestJudgeDoesNotAllocate(t *testing.T) {
	set := Settings{MaxSegments: 32, Hidden: Hide("web.config", ".perch-history")}
	target := exchange.Target{Path: []byte("/api/orders/0123456789/lines")}
	if n := testing.AllocsPerRun(100, func() {
		if set.Judge(&target) != nil {
			t.Error("refused")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkJudge(b *testing.B) {
	set := Settings{Hidden: Hide("web.config", ".perch-history")}
	for _, path := range []string{"/", "/index.html", "/api/orders/0123456789/lines"} {
		b.Run(path, func(b *testing.B) {
			target := exchange.Target{Path: []byte(path)}
			for b.Loop() {
				set.Judge(&target)
			}
		})
	}
}
