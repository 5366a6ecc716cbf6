package listen

import (
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
)

// Binding says where to listen and for which host name.
type Binding struct {
	// URL is the binding in its regular form, as printed at start:
	// "http://localhost:8080", "unix:/run/perch.sock".
	URL string

	// Host is the host name that requests have to ask for, in lower case.
	// Empty: every host name.
	Host string

	// Addr is the address to listen on; the zero Addr stands for all of them.
	// Without meaning for Loopback and Path.
	Addr netip.Addr

	// Loopback asks for 127.0.0.1 and ::1, as far as the system has them.
	Loopback bool

	// Port is 0 to let the system choose one.
	Port uint16

	// TLS is for https.
	TLS bool

	// Path is the absolute path of a unix socket, empty for TCP.
	Path string
}

// Addrs returns the local addresses that connections of b come to, without
// zones. The zero Addr stands for all of them, and for a unix socket.
func (b *Binding) Addrs() []netip.Addr {
	switch {
	case b.Path != "" || b.Addr == netip.IPv4Unspecified():
		return []netip.Addr{{}}
	case b.Loopback:
		return []netip.Addr{loopback4, loopback6}
	}
	return []netip.Addr{b.Addr.WithZone("")}
}

// Parse reads a listening URL:
//
//	http://localhost:8080      both loopback addresses, every host name
//	http://*:80                all addresses, every host name; + is the same
//	http://127.0.0.1:0         one address, every host name, a port that is free
//	http://[::1]:8080
//	http://example.test:8080   all addresses, this host name
//	https://localhost:8443     the same forms, over TLS
//	unix:/run/perch.sock       a unix socket; a relative path begins at the working folder
//
// The port may be left out and is 80 then, or 443.
func Parse(text string) (Binding, error) {
	if i := strings.LastIndexByte(text, '@'); i >= 0 && !strings.HasPrefix(text, "unix:") {
		return Binding{}, fmt.Errorf("listening URL of %q: a user name or password has no place here: write http://HOST:PORT alone", text[i+1:])
	}
	b, err := parse(text)
	if err != nil {
		return Binding{}, fmt.Errorf("listening URL %q: %w", text, err)
	}
	return b, nil
}

func parse(text string) (Binding, error) {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		return unixBinding(path)
	}
	scheme, authority, ok := strings.Cut(text, "://")
	switch {
	case !ok:
		return Binding{}, fmt.Errorf("write http://HOST:PORT, such as http://localhost:8080, https://HOST:PORT or unix:PATH")
	case !strings.EqualFold(scheme, "http") && !strings.EqualFold(scheme, "https"):
		return Binding{}, fmt.Errorf("the scheme is %q: write http://HOST:PORT, https://HOST:PORT or unix:PATH", scheme)
	}
	b := Binding{TLS: strings.EqualFold(scheme, "https")}
	authority = strings.TrimSuffix(authority, "/")
	if i := strings.IndexAny(authority, "/?#"); i >= 0 {
		return Binding{}, fmt.Errorf("%q has no place here: write http://HOST:PORT alone", authority[i:])
	}
	host, err := b.setPort(authority)
	if err != nil {
		return Binding{}, err
	}
	if err := b.setHost(host); err != nil {
		return Binding{}, err
	}
	b.URL = b.url()
	return b, nil
}

// setPort takes the port off and returns the host.
func (b *Binding) setPort(authority string) (host string, err error) {
	host, digits := authority, "80"
	if b.TLS {
		digits = "443"
	}
	// A colon behind the bracket of an IPv6 address, or the only one there is.
	if i := strings.LastIndexByte(authority, ':'); i > strings.LastIndexByte(authority, ']') {
		host, digits = authority[:i], authority[i+1:]
	}
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return "", fmt.Errorf("the port is %q: use a number from 0 to 65535, where 0 is any that is free", digits)
	}
	b.Port = uint16(n)
	return host, nil
}

func (b *Binding) setHost(host string) error {
	host = strings.ToLower(host)
	switch host {
	case "":
		return fmt.Errorf("the host is missing: use localhost, an IP address, a host name, or * for all addresses")
	case "*", "+":
		return nil
	case "localhost":
		b.Loopback = true
		return nil
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		inner, closed := strings.CutSuffix(inner, "]")
		addr, err := netip.ParseAddr(strings.Replace(inner, "%25", "%", 1))
		if !closed || err != nil || !addr.Is6() || addr.Is4In6() {
			return fmt.Errorf("%s is not an IPv6 address in brackets", host)
		}
		if !addr.IsUnspecified() {
			b.Addr = addr
		}
		return nil
	}
	if strings.Contains(host, ":") {
		return fmt.Errorf("%s has too many colons: write an IPv6 address in brackets, such as http://[::1]:8080", host)
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		b.Addr = addr
		return nil
	}
	if why := notHostName(strings.TrimPrefix(host, "*.")); why != "" {
		return fmt.Errorf("%q is not a host name: %s", host, why)
	}
	b.Host = strings.TrimSuffix(host, ".")
	return nil
}

// LocalName reports whether the host is a name that means this machine to
// everybody (RFC 6761 section 6.3).
func (b *Binding) LocalName() bool {
	return b.Host == "localhost" || strings.HasSuffix(b.Host, ".localhost")
}

// notHostName says why a name cannot be the host of a URL (RFC 1123 section
// 2.1, and the underscore that is in use), "" if it can.
func notHostName(name string) string {
	name = strings.TrimSuffix(name, ".")
	if len(name) > 253 {
		return "it is longer than 253 characters"
	}
	labels := strings.Split(name, ".")
	for _, label := range labels {
		if label == "" || len(label) > 63 {
			return "a part between dots has to have 1 to 63 characters"
		}
		for _, c := range []byte(label) {
			switch {
			case c >= 0x80:
				return "write it in its ASCII form, beginning with xn--"
			case c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z'):
				return fmt.Sprintf("it has the character %q", c)
			}
		}
	}
	if strings.Trim(labels[len(labels)-1], "0123456789") == "" {
		return "it ends in a number, and is no IP address either"
	}
	return ""
}

func unixBinding(path string) (Binding, error) {
	if path == "" {
		return Binding{}, fmt.Errorf("the path is missing: write unix:/path/to.sock")
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return Binding{}, err
	}
	if len(path) > longestSocketPath {
		return Binding{}, fmt.Errorf("the path has %d characters, and the system takes at most %d for a socket", len(path), longestSocketPath)
	}
	return Binding{URL: "unix:" + path, Path: path}, nil
}

// url is the regular form of b.
func (b *Binding) url() string {
	if b.Path != "" {
		return "unix:" + b.Path
	}
	host := "*"
	switch {
	case b.Loopback:
		host = "localhost"
	case b.Host != "":
		host = b.Host
	case b.Addr.IsValid():
		host = b.Addr.String()
	}
	// RFC 6874: the sign before a zone is encoded in a URL.
	host = strings.Replace(host, "%", "%25", 1)
	scheme := "http://"
	if b.TLS {
		scheme = "https://"
	}
	return scheme + net.JoinHostPort(host, strconv.Itoa(int(b.Port)))
}
