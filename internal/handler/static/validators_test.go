package static

import (
	"bytes"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

func TestETagOfIIS(t *testing.T) {
	t.Parallel()
	if got := string(appendETag(nil, modified)); got != exampleETag {
		t.Errorf("tag %s, want %s", got, exampleETag)
	}
	// Bytes 00 80 3e d5 de b1 9d 01: 1970-01-01.
	if got, want := string(appendETag(nil, time.Unix(0, 0))), `"0803ed5deb19d1:0"`; got != want {
		t.Errorf("tag %s, want %s", got, want)
	}
}

func TestPreconditions(t *testing.T) {
	t.Parallel()
	const (
		same  = exampleDate
		older = "Wed, 11 Oct 2023 17:10:48 GMT"
		newer = "Wed, 11 Oct 2023 17:10:50 GMT"
		after = "Sat, 21 Nov 2026 12:00:01 GMT" // the exchange begins a second earlier
	)
	tests := []struct {
		name   string
		fields []string
		want   int
	}{
		{"none", nil, 200},
		{"match-same", []string{"If-Match: " + exampleETag}, 200},
		{"match-any", []string{"If-Match: *"}, 200},
		{"match-other", []string{`If-Match: "other"`}, 412},
		{"match-weak", []string{"If-Match: W/" + exampleETag}, 412},
		{"match-in-list", []string{`If-Match: "a,b", ` + exampleETag}, 200},
		{"match-in-second-field", []string{`If-Match: "a"`, "If-Match: " + exampleETag}, 200},
		{"match-inside-quotes", []string{`If-Match: "a ` + exampleETag + `"`}, 412},
		{"none-match-same", []string{"If-None-Match: " + exampleETag}, 304},
		{"none-match-weak", []string{"If-None-Match: W/" + exampleETag}, 304},
		{"none-match-any", []string{"If-None-Match: *"}, 304},
		{"none-match-other", []string{`If-None-Match: "x", W/"y"`}, 200},
		{"none-match-malformed", []string{"If-None-Match: 821ebe165fcd91:0"}, 200},
		{"none-match-beats-date", []string{`If-None-Match: "x"`, "If-Modified-Since: " + same}, 200},
		{"since-same", []string{"If-Modified-Since: " + same}, 304},
		{"since-newer", []string{"If-Modified-Since: " + newer}, 304},
		{"since-older", []string{"If-Modified-Since: " + older}, 200},
		{"since-later-than-now", []string{"If-Modified-Since: " + after}, 200},
		{"since-rfc850", []string{"If-Modified-Since: Wednesday, 11-Oct-23 17:10:49 GMT"}, 304},
		{"since-asctime", []string{"If-Modified-Since: Wed Oct 11 17:10:49 2023"}, 304},
		{"since-garbage", []string{"If-Modified-Since: yesterday"}, 200},
		{"unmodified-same", []string{"If-Unmodified-Since: " + same}, 200},
		{"unmodified-older", []string{"If-Unmodified-Since: " + older}, 412},
		{"unmodified-garbage", []string{"If-Unmodified-Since: never"}, 200},
		{"match-beats-unmodified", []string{"If-Match: " + exampleETag, "If-Unmodified-Since: " + older}, 200},
		{"match-failed-beats-none-match", []string{`If-Match: "x"`, "If-None-Match: *"}, 412},
		{"none-match-before-unmodified", []string{"If-None-Match: *", "If-Unmodified-Since: " + older}, 304},
	}
	h := site(t, Settings{}, map[string]string{"a.txt": "x"})
	for _, tt := range tests {
		for _, method := range []string{"GET", "HEAD"} {
			r, err := get(t, h, method, "/a.txt", tt.fields...)
			got := r.Status
			if err != nil {
				got = err.Status
			}
			if got != tt.want {
				t.Errorf("%s %s: %d, want %d", tt.name, method, got, tt.want)
			}
			if got == 304 {
				tag, _ := r.Field("ETag")
				date, _ := r.Field("Last-Modified")
				if _, has := r.Field("Content-Type"); tag != exampleETag || date != exampleDate || has || len(r.Body) != 0 || r.Length != -1 {
					t.Errorf("%s: 304 with head\n%s", tt.name, r.Head())
				}
			}
		}
	}
}

func TestWithoutETag(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{OmitETag: true}, map[string]string{"a.txt": "x"})
	r, err := get(t, h, "GET", "/a.txt", "If-None-Match: "+exampleETag)
	if err != nil || r.Status != 200 {
		t.Fatalf("%d, %v", r.Status, err)
	}
	if tag, ok := r.Field("ETag"); ok {
		t.Errorf("ETag %s", tag)
	}
}

func FuzzNextTag(f *testing.F) {
	for _, s := range []string{`"a"`, `W/"a", "b"`, `,, "a" ,W/`, `"a`, `W/x`, `"a"b"c"`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, list []byte) {
		v := validators{etag: []byte(exampleETag), modified: modified}
		x, _ := exchangetest.New("GET", "/")
		x.Request.Header.AddName([]byte("If-None-Match"), list)
		x.Request.Header.AddName([]byte("If-Range"), list)
		listed := v.judge(x) == notModified
		if listed && !bytes.Contains(list, v.etag) && string(list) != "*" {
			t.Errorf("%q lists %s", list, v.etag)
		}
		if v.sameAs(x) && string(list) != exampleETag {
			if _, ok := parseDate(list); !ok {
				t.Errorf("If-Range %q is taken for %s", list, v.etag)
			}
		}
		for rest := list; ; {
			tag, next, ok := nextTag(rest)
			if !ok {
				return
			}
			if len(next) >= len(rest) || len(tag) < 2 || tag[len(tag)-1] != '"' {
				t.Fatalf("nextTag(%q) = %q, %q", rest, tag, next)
			}
			rest = next
		}
	})
}
