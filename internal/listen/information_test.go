package listen

import (
	"net/netip"
	"strings"
	"testing"
)

func TestParseInformation(t *testing.T) {
	t.Parallel()
	five := netip.MustParseAddr("10.0.0.5")
	for text, want := range map[string]Binding{
		"*:80:":                      {URL: "http://*:80", Port: 80},
		":80:":                       {URL: "http://*:80", Port: 80},
		"*:0:":                       {URL: "http://*:0"},
		"*:80:Shop.Example":          {URL: "http://shop.example:80", Port: 80, Host: "shop.example"},
		"*:80:shop.example.":         {URL: "http://shop.example:80", Port: 80, Host: "shop.example"},
		"10.0.0.5:80:":               {URL: "http://10.0.0.5:80", Port: 80, Addr: five},
		"10.0.0.5:80:shop.example":   {URL: "http://shop.example:80", Port: 80, Addr: five, Host: "shop.example"},
		"*:65535:*.example.com":      {URL: "http://*.example.com:65535", Port: 65535, Host: "*.example.com"},
		"[::1]:8080:":                {URL: "http://[::1]:8080", Port: 8080, Addr: loopback6},
		"[fe80::1%4]:443:x.example":  {URL: "http://x.example:443", Port: 443, Addr: netip.MustParseAddr("fe80::1%4"), Host: "x.example"},
		"[::]:80:":                   {URL: "http://*:80", Port: 80},
		"*:80:localhost":             {URL: "http://localhost:80", Port: 80, Host: "localhost"},
		"*:80:127.0.0.1":             {URL: "http://127.0.0.1:80", Port: 80, Host: "127.0.0.1"},
		"*:80:xn--bcher-kva.example": {URL: "http://xn--bcher-kva.example:80", Port: 80, Host: "xn--bcher-kva.example"},
	} {
		got, err := ParseInformation("http", text)
		if err != nil || got != want {
			t.Errorf("ParseInformation(%q) = %+v, %v, want %+v", text, got, err, want)
		}
	}
}

func TestParseInformationRefuses(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                      "is not ADDRESS:PORT:HOST",
		"80":                    "is not ADDRESS:PORT:HOST",
		"*:80":                  "is not ADDRESS:PORT:HOST",
		"*::":                   `the port of "*::" is ""`,
		"*:http:":               "1 to 65535",
		"*:65536:":              "1 to 65535",
		"*:-1:":                 "1 to 65535",
		"::1:8080:":             "in brackets",
		"[::1:8080:":            "not an IP address",
		"[10.0.0.5]:80:":        "not an IPv6 address",
		"[::ffff:10.0.0.5]:80:": "not an IP address",
		"shop.example:80:":      "not an IP address",
		"*:80:a b":              "' '",
		"*:80:*":                "'*'",
		"*:80:shop.*":           "'*'",
		"*:80:a.*.example":      "'*'",
		"*:80:b\u00fccher.test": "xn--",
	} {
		got, err := ParseInformation("http", text)
		if err == nil || !strings.Contains(err.Error(), want) || got != (Binding{}) {
			t.Errorf("ParseInformation(%q) = %+v, %v, want an error with %q", text, got, err, want)
		}
	}
}

func TestAddrs(t *testing.T) {
	t.Parallel()
	for url, want := range map[string][]netip.Addr{
		"http://*:80":               {{}},
		"http://0.0.0.0:80":         {{}},
		"http://shop.example:80":    {{}},
		"http://localhost:80":       {loopback4, loopback6},
		"http://10.0.0.5:80":        {netip.MustParseAddr("10.0.0.5")},
		"http://[fe80::1%25eth0]:1": {netip.MustParseAddr("fe80::1")},
		"unix:/x.sock":              {{}},
	} {
		b, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		got := b.Addrs()
		if len(got) != len(want) || got[0] != want[0] || got[len(got)-1] != want[len(want)-1] {
			t.Errorf("%s: connections come to %v, want %v", url, got, want)
		}
	}
}

func FuzzParseInformation(f *testing.F) {
	for _, s := range []string{"*:80:", "10.0.0.5:80:shop.example", "[::1]:8080:", "[fe80::1%4]:443:x", "*:80:*.example.com", "::", "*:80", "[::]:0:a", "*:1:\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		b, err := ParseInformation("http", text)
		if err != nil {
			return
		}
		if b.Path != "" || b.Loopback || strings.ContainsAny(b.Host, ":/ ") || b.Host != strings.ToLower(b.Host) {
			t.Errorf("ParseInformation(%q) = %+v", text, b)
		}
		// It means the same without the letter case that it does not have.
		again, err := ParseInformation("http", strings.ToUpper(text))
		if err == nil && (again.Host != b.Host || again.Port != b.Port) {
			t.Errorf("ParseInformation(%q) = %+v, in upper case %+v, %v", text, b, again, err)
		}
	})
}

func TestParseInformationOfHTTPS(t *testing.T) {
	t.Parallel()
	want := Binding{URL: "https://shop.example:443", Port: 443, Host: "shop.example", TLS: true}
	if got, err := ParseInformation("HTTPS", "*:443:shop.example"); err != nil || got != want {
		t.Errorf("%+v, %v, want %+v", got, err, want)
	}
}

// What a listening URL becomes in a file is read as the same binding.
func TestInformation(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"http://*:80", "http://10.0.0.5:8080", "https://[::1]:443", "http://shop.test:0", "https://*.shop.test", "http://0.0.0.0:80", "http://[fe80::1%25eth0]:80"} {
		b, err := Parse(url)
		if err != nil {
			t.Fatal(err)
		}
		protocol, _, _ := strings.Cut(b.URL, ":")
		information := b.Information()
		if got, err := ParseInformation(protocol, information[0]); len(information) != 1 || err != nil || got != b {
			t.Errorf("%s is written %q and read as %+v, %v", url, information, got, err)
		}
	}
	b, err := Parse("http://localhost:8080")
	if err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(b.Information(), " "); got != "127.0.0.1:8080: [::1]:8080:" && got != "127.0.0.1:8080:" {
		t.Errorf("localhost is written %s", got)
	}
}
