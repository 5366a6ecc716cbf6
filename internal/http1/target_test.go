package http1

import (
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

// readTarget parses a request for a target; absolute ones name the host a.
func readTarget(method, target string) (*exchange.Target, error) {
	r, _, err := read(method + " " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")
	if r == nil {
		return nil, err
	}
	return &r.Target, err
}

func TestPath(t *testing.T) {
	t.Parallel()
	// Spec iis-front 1.8: decoding once, back-slashes to slashes, empty and
	// dot segments resolved; above the root is 400. Section 3.3: no control
	// characters. Forward is what the client sent unless that changed it.
	tests := []struct {
		raw, path, forward string // forward: empty means as sent
		want               error
	}{
		{raw: "/", path: "/"},
		{raw: "/a/b.c/d", path: "/a/b.c/d"},
		{raw: "/a/", path: "/a/"},
		{raw: "/a%20b", path: "/a b"},
		{raw: "/%41%62", path: "/Ab"},
		{raw: "/%c3%A4", path: "/ä"},
		{raw: "/a+b;c=d,e:f@g!$&'()*~", path: "/a+b;c=d,e:f@g!$&'()*~"},
		{raw: "/%25", path: "/%"},
		{raw: "/%2541", path: "/%41"}, // once only
		{raw: "/%252e%252e/a", path: "/%2e%2e/a"},
		{raw: "/.well-known/x", path: "/.well-known/x"},
		{raw: "/..a/b..", path: "/..a/b.."},
		{raw: "/.../a", path: "/.../a"},
		{raw: "/a%3Fb", path: "/a?b"},
		{raw: "/a%23b", path: "/a#b"},

		{raw: "//", path: "/", forward: "/"},
		{raw: "//a///b//", path: "/a/b/", forward: "/a/b/"},
		{raw: "/a%20b//c%41", path: "/a b/cA", forward: "/a%20b/c%41"},
		{raw: "/a\\b", path: "/a/b", forward: "/a/b"},
		{raw: "/\\a", path: "/a", forward: "/a"},
		{raw: "/a\\..\\b", path: "/b", forward: "/b"},
		{raw: "/.", path: "/", forward: "/"},
		{raw: "/./a", path: "/a", forward: "/a"},
		{raw: "/a/.", path: "/a/", forward: "/a/"},
		{raw: "/a/..", path: "/", forward: "/"},
		{raw: "/a/../b", path: "/b", forward: "/b"},
		{raw: "/a/b/../../c", path: "/c", forward: "/c"},
		{raw: "/a/%2e%2E/b", path: "/b", forward: "/b"},
		{raw: "/a/.%2e/b", path: "/b", forward: "/b"},
		{raw: "/%2e/a", path: "/a", forward: "/a"},
		{raw: "/a//../b", path: "/b", forward: "/b"}, // the empty segment is gone first
		{raw: "/a%2fb/../c", path: "/c", forward: "/c"},

		{raw: "/..", want: TargetAboveRoot},
		{raw: "/../a", want: TargetAboveRoot},
		{raw: "/a/../../b", want: TargetAboveRoot},
		{raw: "/%2e%2e/a", want: TargetAboveRoot},
		{raw: "/..\\a", want: TargetAboveRoot},
		{raw: "/a/..%2f..%2f..%2fb", want: TargetAboveRoot}, // in the other reading
		{raw: "/%2e%2e%2fa", want: TargetAboveRoot},
		{raw: "/..%5ca", want: TargetAboveRoot},

		{raw: "/%", want: BadEscape},
		{raw: "/%4", want: BadEscape},
		{raw: "/%4/a", want: BadEscape},
		{raw: "/%zz", want: BadEscape},
		{raw: "/%4g", want: BadEscape},
		{raw: "/%u0041", want: BadEscape},
		{raw: "/a%", want: BadEscape},
		{raw: "/a%2/b", want: BadEscape},
		{raw: "/%00", want: ControlInTarget},
		{raw: "/a%0d%0ab", want: ControlInTarget},
		{raw: "/%1f", want: ControlInTarget},
		{raw: "/%7f", want: ControlInTarget},
		{raw: "/%c2%80", want: ControlInTarget}, // U+0080
		{raw: "/%c2%9f", want: ControlInTarget}, // U+009F
		{raw: "/%c2%a0", path: "/\u00a0"},
	}
	for _, tt := range tests {
		for _, query := range []string{"", "?", "?q=%zz/../%00"} { // a query is passed on as it is
			got, err := readTarget("GET", tt.raw+query)
			if err != tt.want {
				t.Errorf("%s: %v, want %v", tt.raw, err, tt.want)
				break
			}
			if err != nil {
				continue
			}
			if tt.forward == "" {
				tt.forward = tt.raw
			}
			if string(got.Path) != tt.path || string(got.Forward) != tt.forward {
				t.Errorf("%s: path %q, forward %q, want %q, %q", tt.raw, got.Path, got.Forward, tt.path, tt.forward)
			}
			if got.HasQuery != (query != "") || got.HasQuery && string(got.Query) != query[1:] {
				t.Errorf("%s%s: query %q, %v", tt.raw, query, got.Query, got.HasQuery)
			}
			if string(got.Raw) != tt.raw+query {
				t.Errorf("%s%s: raw %q", tt.raw, query, got.Raw)
			}
		}
	}
}

func TestHiddenSlash(t *testing.T) {
	t.Parallel()
	// Design: an encoded slash is judged as data and as a separator.
	tests := []struct{ raw, path, separated string }{
		{"/a%2fb", "/a%2fb", "/a/b"},
		{"/a%2Fb", "/a%2Fb", "/a/b"},
		{"/a%5cb", "/a%5cb", "/a/b"},
		{"/a%5Cb", "/a%5Cb", "/a/b"},
		{"/a%2f%2fb", "/a%2f%2fb", "/a/b"},
		{"/a%2f", "/a%2f", "/a/"},
		{"/%2f", "/%2f", "/"},
		{"/a%2f.%2fb", "/a%2f.%2fb", "/a/b"},
		{"/a%2f..%2fb", "/a%2f..%2fb", "/b"},
		{"/a%2f..", "/a%2f..", "/"},
		{"/a%2f.", "/a%2f.", "/a/"},
		{"/x/a%2f%2e%2e%2fb", "/x/a%2f..%2fb", "/x/b"},
	}
	for _, tt := range tests {
		got, err := readTarget("GET", tt.raw)
		if err != nil {
			t.Errorf("%s: %v", tt.raw, err)
			continue
		}
		if !got.HiddenSlash || string(got.Path) != tt.path || string(got.Separated) != tt.separated {
			t.Errorf("%s: hidden %v, path %q, separated %q", tt.raw, got.HiddenSlash, got.Path, got.Separated)
		}
		if string(got.Forward) != tt.raw {
			t.Errorf("%s: forward %q", tt.raw, got.Forward)
		}
	}
	if got, err := readTarget("GET", "/a%252fb"); err != nil || got.HiddenSlash {
		t.Errorf("an escape that was itself escaped hides nothing: %v, %v", got.HiddenSlash, err)
	}
}

func TestTargetForms(t *testing.T) {
	t.Parallel()
	// RFC 9112 section 3.2; spec app-side 1.10 and 1.11.
	tests := []struct {
		method, target, host string
		path                 string
		want                 error
	}{
		{"GET", "http://a/b?c", "a", "/b", nil},
		{"GET", "http://a", "a", "/", nil},
		{"GET", "http://a?c", "a", "/", nil},
		{"GET", "HTTP://A/", "a", "/", nil},
		{"GET", "https://a/", "a", "/", nil},
		{"GET", "http://a:80/", "a", "/", nil},
		{"GET", "http://a/", "a:80", "/", nil},
		{"GET", "https://a:443/", "a", "/", nil},
		{"GET", "http://a:8080/", "a:8080", "/", nil},
		{"GET", "http://[::1]:80/", "[::1]", "/", nil},
		{"GET", "http://a/x/../b", "a", "/b", nil},
		{"GET", "http://b/", "a", "", HostMismatch},
		{"GET", "http://a:81/", "a", "", HostMismatch},
		{"GET", "https://a:80/", "a", "", HostMismatch},
		{"GET", "http://a/", "", "", HostMismatch},
		{"GET", "http:///b", "", "", BadTarget},
		{"GET", "http://", "a", "", BadTarget},
		{"GET", "http://u@a/", "a", "", BadTarget},
		{"GET", "http://a\\b/", "a", "", BadTarget},
		{"GET", "http://a%2fb/", "a", "", BadTarget},
		{"GET", "http:/a/", "a", "", BadTarget},
		{"GET", "ftp://a/", "a", "", BadTarget},
		{"GET", "javascript:x", "a", "", BadTarget},
		{"GET", "a/b", "a", "", BadTarget},
		{"GET", "?x", "a", "", BadTarget},
		{"GET", "%2f", "a", "", BadTarget},
		{"GET", "\\a", "a", "", BadTarget},
		{"GET", "a:80", "a", "", BadTarget}, // authority form is for CONNECT
		{"OPTIONS", "*", "a", "/", nil},
		{"GET", "*", "a", "", AsteriskTarget},
		{"OPTIONS", "*?x", "a", "", BadTarget},
		{"OPTIONS", "**", "a", "", BadTarget},
		{"CONNECT", "a:80", "a:80", "", MethodNotAllowed},
		{"CONNECT", "/", "a", "", MethodNotAllowed},
	}
	for _, tt := range tests {
		r, _, err := read(tt.method + " " + tt.target + " HTTP/1.1\r\nHost: " + tt.host + "\r\n\r\n")
		if err != tt.want {
			t.Errorf("%s %s for %q: %v, want %v", tt.method, tt.target, tt.host, err, tt.want)
		} else if err == nil && string(r.Target.Path) != tt.path {
			t.Errorf("%s %s: path %q, want %q", tt.method, tt.target, r.Target.Path, tt.path)
		}
	}
	r, _, err := read("GET http://a:8080/b HTTP/1.0\r\n\r\n")
	if err != nil || string(r.Host) != "a:8080" {
		t.Errorf("the target's authority stands for a missing Host: %q, %v", r.Host, err)
	}
	r, _, err = read("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
	if err != nil || string(r.Target.Forward) != "*" {
		t.Errorf("the asterisk is passed on as it is: %q, %v", r.Target.Forward, err)
	}
}

// Paths share one scratch buffer, whatever came before in it.
func TestScratchIsShared(t *testing.T) {
	t.Parallel()
	scratch := []byte("before")
	var first, second exchange.Target
	var err error
	if scratch, err = normalise([]byte("/a%20b"), &first, scratch); err != nil {
		t.Fatal(err)
	}
	if scratch, err = normalise([]byte("/c/../%20d"), &second, scratch); err != nil {
		t.Fatal(err)
	}
	if string(first.Path) != "/a b" || string(second.Path) != "/ d" || !strings.HasPrefix(string(scratch), "before") {
		t.Errorf("%q, %q in %q", first.Path, second.Path, scratch)
	}
	if _, err := normalise([]byte("/../a"), &first, []byte("/x/y")); err != TargetAboveRoot {
		t.Errorf("a path must not climb into what came before it: %v", err)
	}
}
