package listen

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		text string
		want Binding
	}{
		{"http://localhost:8080", Binding{URL: "http://localhost:8080", Loopback: true, Port: 8080}},
		{"HTTP://LocalHost:8080/", Binding{URL: "http://localhost:8080", Loopback: true, Port: 8080}},
		{"http://localhost", Binding{URL: "http://localhost:80", Loopback: true, Port: 80}},
		{"http://*:80", Binding{URL: "http://*:80", Port: 80}},
		{"http://+:81", Binding{URL: "http://*:81", Port: 81}},
		{"http://[::]:81", Binding{URL: "http://*:81", Port: 81}},
		{"http://0.0.0.0:81", Binding{URL: "http://0.0.0.0:81", Port: 81, Addr: netip.IPv4Unspecified()}},
		{"http://127.0.0.1:0", Binding{URL: "http://127.0.0.1:0", Addr: loopback4}},
		{"http://[::1]:8080", Binding{URL: "http://[::1]:8080", Port: 8080, Addr: loopback6}},
		{"http://[FE80::1%25eth0]:8080", Binding{URL: "http://[fe80::1%25eth0]:8080", Port: 8080, Addr: netip.MustParseAddr("fe80::1%eth0")}},
		{"http://[::1]", Binding{URL: "http://[::1]:80", Port: 80, Addr: loopback6}},
		{"http://Example.Test:8080", Binding{URL: "http://example.test:8080", Port: 8080, Host: "example.test"}},
		{"http://example.test.:8080", Binding{URL: "http://example.test:8080", Port: 8080, Host: "example.test"}},
		{"http://*.example.test:8080", Binding{URL: "http://*.example.test:8080", Port: 8080, Host: "*.example.test"}},
		{"http://my_app:65535", Binding{URL: "http://my_app:65535", Port: 65535, Host: "my_app"}},
		{"https://localhost:8443", Binding{URL: "https://localhost:8443", Loopback: true, Port: 8443, TLS: true}},
		{"HTTPS://*", Binding{URL: "https://*:443", Port: 443, TLS: true}},
		{"https://[::1]:0/", Binding{URL: "https://[::1]:0", Addr: loopback6, TLS: true}},
		{"https://Shop.Test", Binding{URL: "https://shop.test:443", Host: "shop.test", Port: 443, TLS: true}},
		{"unix:app.sock", Binding{URL: "unix:" + filepath.Join(wd, "app.sock"), Path: filepath.Join(wd, "app.sock")}},
	}
	for _, tt := range tests {
		got, err := Parse(tt.text)
		if err != nil || got != tt.want {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", tt.text, got, err, tt.want)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                               "write http://HOST:PORT",
		"8080":                           "write http://HOST:PORT",
		"localhost:8080":                 "write http://HOST:PORT",
		"ftp://localhost":                `the scheme is "ftp"`,
		"https://":                       "the host is missing",
		"http://":                        "the host is missing",
		"http://:8080":                   "the host is missing",
		"http://localhost:":              `the port is ""`,
		"http://localhost:http":          `the port is "http"`,
		"http://localhost:65536":         "0 to 65535",
		"http://localhost:-1":            "0 to 65535",
		"http://localhost:8080/app":      `"/app" has no place here`,
		"http://localhost:8080?x":        `"?x" has no place here`,
		"http://user@localhost:8080":     "a user name or password has no place here",
		"user@localhost:8080":            "a user name or password has no place here",
		"http://::1:8080":                "too many colons",
		"http://[::1:8080":               "not an IPv6 address",
		"http://[127.0.0.1]:80":          "not an IPv6 address",
		"http://[::ffff:1.2.3.4]:80":     "not an IPv6 address",
		"http://256.1.1.1:80":            "ends in a number",
		"http://1.2.3:80":                "ends in a number",
		"http://a..b:80":                 "1 to 63 characters",
		"http://exa mple:80":             "' '",
		"http://b\u00fccher.test:80":     "xn--",
		"http://a.*:80":                  "'*'",
		"unix:":                          "the path is missing",
		"unix:/" + longName(200):         "at most",
		"http://" + longName(64) + ":80": "1 to 63 characters",
	} {
		got, err := Parse(text)
		if err == nil || !strings.Contains(err.Error(), want) || got != (Binding{}) {
			t.Errorf("Parse(%q) = %+v, %v, want an error with %q", text, got, err, want)
		}
	}
}

// A password ends neither on a terminal nor in a log, whatever is in it.
func TestParseTellsNoPassword(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"http://ann:hush@localhost:80", "http://ann:a/hush@localhost", "http://ann:a@hush@localhost", "ann:hush@localhost", "ftp://ann:hush@localhost"} {
		_, err := Parse(text)
		if err == nil || strings.Contains(err.Error(), "hush") || !strings.Contains(err.Error(), "user name") || !strings.Contains(err.Error(), "localhost") {
			t.Errorf("Parse(%q): %v", text, err)
		}
	}
	if b, err := Parse("unix:/run/perch@1.sock"); err != nil || b.Path != "/run/perch@1.sock" {
		t.Errorf("a socket with @ in its name: %+v, %v", b, err)
	}
}

func longName(n int) string { return strings.Repeat("a", n) }

func FuzzParse(f *testing.F) {
	for _, s := range []string{"http://localhost:8080", "http://[::1%25a]:1", "http://*.a:0", "unix:/a", "http://[::", "http://a:b:c", "http://127.1:80", "http://\xff:80", "https://a:443"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := Parse(text)
		if err != nil {
			return
		}
		again, err := Parse(b.URL)
		if err != nil || again != b {
			t.Errorf("Parse(%q) = %+v; its URL gives %+v, %v", text, b, again, err)
		}
		if b.Host != "" && (b.Addr.IsValid() || b.Loopback || b.Path != "") {
			t.Errorf("Parse(%q) = %+v", text, b)
		}
	})
}

func TestLocalName(t *testing.T) {
	t.Parallel()
	for host, want := range map[string]bool{"localhost": true, "shop.localhost": true, "notlocalhost": false, "localhost.test": false, "": false} {
		if b := (Binding{Host: host}); b.LocalName() != want {
			t.Errorf("%q: %v", host, !want)
		}
	}
}
