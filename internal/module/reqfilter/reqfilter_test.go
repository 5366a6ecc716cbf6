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
