package static

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

const digits = "0123456789"

func TestSingleRange(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{}, map[string]string{"a.txt": digits, "empty.txt": "", "long.txt": strings.Repeat(digits, 10)})
	tests := []struct {
		value string
		body  string
		want  string // Content-Range; empty for the whole file
	}{
		{"bytes=0-0", "0", "bytes 0-0/10"},
		{"bytes=2-4", "234", "bytes 2-4/10"},
		{"bytes=7-", "789", "bytes 7-9/10"},
		{"bytes=-3", "789", "bytes 7-9/10"},
		{"bytes=-30", digits, "bytes 0-9/10"},
		{"bytes=5-500", "56789", "bytes 5-9/10"},
		{"bytes=5-99999999999999999999999999", "56789", "bytes 5-9/10"},
		{"Bytes = 1-2", digits, ""},
		{"BYTES=1-2", "12", "bytes 1-2/10"},
		{"bytes=,1-2,", "12", "bytes 1-2/10"},
		{"bytes=1-2, 50-60", "12", "bytes 1-2/10"}, // what lies outside is left out
		{"bytes=0-9", digits, "bytes 0-9/10"},
		{"bytes=4-2", digits, ""},
		{"bytes=", digits, ""},
		{"bytes=,", digits, ""},
		{"bytes=a-b", digits, ""},
		{"bytes=1", digits, ""},
		{"bytes=-", digits, ""},
		{"bytes=+1-2", digits, ""},
		{"lines=1-2", digits, ""},
		{"bytes=1-2,x", digits, ""},
		{"bytes=0-6,3-9", digits, ""}, // more than the file in all
		{"bytes=0-0," + strings.Repeat("1-1,", 9), digits, "multi"},
	}
	for _, tt := range tests {
		r, err := get(t, h, "GET", "/a.txt", "Range: "+tt.value)
		if err != nil {
			t.Errorf("%s: %v", tt.value, err)
			continue
		}
		got, has := r.Field("Content-Range")
		if tt.want == "multi" {
			if ct, _ := r.Field("Content-Type"); r.Status != 206 || !strings.HasPrefix(ct, "multipart/byteranges") {
				t.Errorf("%s: %d, %s", tt.value, r.Status, ct)
			}
			continue
		}
		status := 200
		if tt.want != "" {
			status = 206
		}
		if r.Status != status || got != tt.want || has != (tt.want != "") || string(r.Body) != tt.body {
			t.Errorf("%s: %d, Content-Range %q, body %q; want %d, %q, %q", tt.value, r.Status, got, r.Body, status, tt.want, tt.body)
		}
		if ct, _ := r.Field("Content-Type"); ct != "text/plain" {
			t.Errorf("%s: Content-Type %q", tt.value, ct)
		}
		if r.FileBytes != int64(len(r.Body)) {
			t.Errorf("%s: %d of %d bytes came from the file", tt.value, r.FileBytes, len(r.Body))
		}
	}
	for n, want := range map[int]int{maxRanges: 206, maxRanges + 1: 200} {
		if r, err := get(t, h, "GET", "/long.txt", "Range: bytes="+strings.Repeat("0-0,", n)); err != nil || r.Status != want {
			t.Errorf("%d ranges: %d, %v, want %d", n, r.Status, err, want)
		}
	}
	if r, err := get(t, h, "HEAD", "/a.txt", "Range: bytes=2-4"); err != nil || r.Status != 200 || r.Length != 10 {
		t.Errorf("HEAD with a range: %d, length %d, %v", r.Status, r.Length, err)
	}
	if r, err := get(t, h, "GET", "/empty.txt", "Range: bytes=0-"); err != nil || r.Status != 200 {
		t.Errorf("range of an empty file: %d, %v", r.Status, err)
	}
}

func TestRangeOutsideOfTheFile(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{}, map[string]string{"a.txt": digits})
	for _, value := range []string{"bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999-"} {
		x, _ := exchangetest.New("GET", "/a.txt", "Range: "+value)
		err := exchange.AsError(h.Serve(x))
		if got := string(x.Response.Header.Get(exchange.ContentRange)); err.Status != 416 || got != "bytes */10" {
			t.Errorf("%s: %v, Content-Range %q", value, err, got)
		}
	}
}

func TestSeveralRanges(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{}, map[string]string{"a.txt": digits})
	r, err := get(t, h, "GET", "/a.txt", "Range: bytes=0-1, -2, 99-, 3-3")
	if err != nil || r.Status != 206 {
		t.Fatalf("%d, %v", r.Status, err)
	}
	if v, has := r.Field("Content-Range"); has {
		t.Errorf("Content-Range %q beside parts", v)
	}
	ct, _ := r.Field("Content-Type")
	media, params, err2 := mime.ParseMediaType(ct)
	if err2 != nil || media != "multipart/byteranges" {
		t.Fatalf("Content-Type %q: %v", ct, err2)
	}
	parts := multipart.NewReader(bytes.NewReader(r.Body), params["boundary"])
	var got []string
	for {
		p, err := parts.NextRawPart()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(p)
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, p.Header.Get("Content-Type")+" "+p.Header.Get("Content-Range")+" "+string(body))
	}
	want := []string{"text/plain bytes 0-1/10 01", "text/plain bytes 8-9/10 89", "text/plain bytes 3-3/10 3"}
	if !slices.Equal(got, want) {
		t.Errorf("parts %q, want %q", got, want)
	}
	if r.FileBytes != 5 {
		t.Errorf("%d bytes came from the file, want 5", r.FileBytes)
	}
}

func TestIfRange(t *testing.T) {
	t.Parallel()
	h := site(t, Settings{}, map[string]string{"a.txt": digits})
	for value, want := range map[string]int{
		exampleETag:                     206,
		"W/" + exampleETag:              200,
		`"other"`:                       200,
		exampleETag + `, "other"`:       200,
		exampleDate:                     206,
		"Wed, 11 Oct 2023 17:10:50 GMT": 200, // later is another state too
		"Wed, 11 Oct 2023 17:10:48 GMT": 200,
		"garbage":                       200,
		"":                              200,
	} {
		r, err := get(t, h, "GET", "/a.txt", "Range: bytes=1-2", "If-Range: "+value)
		if err != nil || r.Status != want {
			t.Errorf("If-Range %q: %d, %v, want %d", value, r.Status, err, want)
		}
	}
	// The date of a file written this very second says nothing for sure.
	x, _ := exchangetest.New("GET", "/a.txt", "Range: bytes=1-2", "If-Range: "+exampleDate)
	x.Begin = modified.Truncate(time.Second).Add(999 * time.Millisecond)
	if err := h.Serve(x); err != nil || x.Response.Status != 200 {
		t.Errorf("weak date: %d, %v", x.Response.Status, err)
	}
}

func FuzzParseRanges(f *testing.F) {
	for _, s := range []string{"bytes=0-1,-2", "bytes=5-", "bytes=-0", "bytes=9223372036854775807-9223372036854775808", "bytes= 1-2 , ,3-", "x=1"} {
		f.Add([]byte(s), int64(10))
	}
	f.Fuzz(func(t *testing.T, value []byte, size int64) {
		if size <= 0 {
			return
		}
		ranges, ok := parseRanges(value, size)
		if !ok && ranges != nil && len(ranges) > maxRanges {
			t.Fatalf("%d ranges", len(ranges))
		}
		if !ok {
			return
		}
		for _, r := range ranges {
			if r.start < 0 || r.length <= 0 || r.start > size-r.length {
				t.Errorf("parseRanges(%q, %d) has %+v", value, size, r)
			}
		}
	})
}

func FuzzName(f *testing.F) {
	for _, s := range []string{"/", "/a/b.txt", "/../x", "/a//b", "/.git/x", "/bin/x", "/a:b", "/\x00", "/a ", "/.well-known/x"} {
		f.Add([]byte(s))
	}
	h, err := New(Settings{Root: f.TempDir()})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		name, slash, err := h.name(&exchange.Target{Path: p})
		if err != nil {
			return
		}
		if name == "." {
			return
		}
		want := "/" + name
		if slash {
			want += "/"
		}
		if want != string(p) {
			t.Fatalf("name(%q) = %q, %v", p, name, slash)
		}
		for segment := range strings.SplitSeq(name, "/") {
			if segment == "" || segment == "." || segment == ".." || strings.ContainsAny(segment, "\x00\\:") ||
				strings.HasSuffix(segment, ".") || strings.HasSuffix(segment, " ") ||
				segment[0] == '.' && segment != ".well-known" || strings.EqualFold(segment, "web.config") {
				t.Fatalf("name(%q) lets %q pass", p, segment)
			}
		}
	})
}
