package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
)

func mustParse(t *testing.T, urls ...string) []Binding {
	t.Helper()
	var bindings []Binding
	for _, u := range urls {
		b, err := Parse(u)
		if err != nil {
			t.Fatal(err)
		}
		bindings = append(bindings, b)
	}
	return bindings
}

func TestLocalhostListensOnBothAddressesWithOnePort(t *testing.T) {
	t.Parallel()
	g, err := Open(mustParse(t, "http://localhost:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	port := g.Bindings[0].Port
	if port == 0 || !slices.Equal(g.URLs(), []string{fmt.Sprintf("http://localhost:%d", port)}) {
		t.Errorf("port %d, URLs %q", port, g.URLs())
	}
	want := 1
	if l, err := net.Listen("tcp6", "[::1]:0"); err == nil {
		l.Close()
		want = 2
	}
	if len(g.Sockets) != want {
		t.Errorf("%d sockets, want %d", len(g.Sockets), want)
	}
	for _, s := range g.Sockets {
		a := s.Addr().(*net.TCPAddr)
		if !a.IP.IsLoopback() || a.Port != int(port) || s.URL != g.URLs()[0] {
			t.Errorf("socket %s of %s", a, s.URL)
		}
		c, err := net.Dial("tcp", a.String())
		if err != nil {
			t.Errorf("connect: %v", err)
			continue
		}
		c.Close()
	}
}

func TestTakenPortNamesItsOwner(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	port := l.Addr().(*net.TCPAddr).Port
	for _, host := range []string{"localhost", "127.0.0.1", "*"} {
		url := fmt.Sprintf("http://%s:%d", host, port)
		_, err := Open(mustParse(t, url))
		var e *Error
		if !errors.As(err, &e) {
			t.Fatalf("%s: %v", url, err)
		}
		if e.URL != url || !strings.Contains(e.Problem, fmt.Sprintf("port %d is taken", port)) || !strings.Contains(e.Hint, "another port") {
			t.Errorf("%s: %+v", url, e)
		}
		if owner := portOwner(uint16(port)); owner != "" && !strings.Contains(e.Problem, fmt.Sprintf("(process %d)", os.Getpid())) {
			t.Errorf("%s: %q does not name this process", url, e.Problem)
		}
	}
}

func TestOpenFailsAsAWholeWithAllProblems(t *testing.T) {
	t.Parallel()
	taken, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	dir := t.TempDir()
	path := filepath.Join(dir, "a.sock")
	_, err = Open(mustParse(t,
		"unix:"+path,
		"http://"+taken.Addr().String(),
		"unix:"+filepath.Join(dir, "missing", "b.sock"),
		"http://192.0.2.1:0", // TEST-NET-1: no machine has it
	))
	if err == nil {
		t.Fatal("opened")
	}
	lines := strings.Split(err.Error(), "\n")
	want := []string{"is taken", "is not there: create it", "no address 192.0.2.1"}
	if len(lines) != len(want) {
		t.Fatalf("problems:\n%s", err)
	}
	for i := range want {
		if !strings.Contains(lines[i], want[i]) {
			t.Errorf("problem %q, want %q", lines[i], want[i])
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// system is a pretended one: which addresses it has, which are taken.
type system struct {
	absent func(netip.Addr) bool
	errors map[string]error // by address:port
	next   uint16           // what port 0 becomes
	opened []string
	closed int
}

type pretended struct {
	net.Listener
	addr *net.TCPAddr
	sys  *system
}

func (p *pretended) Addr() net.Addr { return p.addr }
func (p *pretended) Close() error   { p.sys.closed++; return nil }

func (s *system) listen(network, address string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if host == "" {
		host = "::"
	}
	addr := netip.MustParseAddr(host)
	if s.absent != nil && s.absent(addr) {
		return nil, &net.OpError{Op: "listen", Net: network, Err: os.NewSyscallError("bind", syscall.EADDRNOTAVAIL)}
	}
	if err := s.errors[address]; err != nil {
		return nil, err
	}
	var number int
	fmt.Sscan(port, &number)
	if number == 0 {
		s.next++
		number = int(s.next)
		if err := s.errors[net.JoinHostPort(host, fmt.Sprint(number))]; err != nil {
			return nil, err
		}
	}
	s.opened = append(s.opened, network+" "+net.JoinHostPort(host, fmt.Sprint(number)))
	return &pretended{addr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(addr, uint16(number))), sys: s}, nil
}

func (s *system) open(t *testing.T, urls ...string) (*Group, error) {
	o := opener{listen: s.listen, owner: func(uint16) string { return "" }, old: new(Group)}
	return o.open(mustParse(t, urls...))
}

func taken() error {
	return &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errnoTaken)}
}

func TestBindingsShareSockets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		urls string
		want string // sockets
	}{
		{"http://a.test:80 http://b.test:80", "tcp [::]:80"},
		{"http://localhost:80", "tcp4 127.0.0.1:80, tcp6 [::1]:80"},
		{"http://localhost:80 http://127.0.0.1:80", "tcp4 127.0.0.1:80, tcp6 [::1]:80"},
		{"http://127.0.0.1:80 http://localhost:80", "tcp4 127.0.0.1:80, tcp6 [::1]:80"},
		{"http://localhost:80 http://*:80", "tcp [::]:80"},
		{"http://10.0.0.1:80 http://a.test:80 http://[::1]:80", "tcp [::]:80"},
		{"http://10.0.0.1:80 http://0.0.0.0:80 http://localhost:80", "tcp4 0.0.0.0:80, tcp6 [::1]:80"},
		{"http://0.0.0.0:80 http://*:80", "tcp [::]:80"},
		{"http://127.0.0.1:80 http://127.0.0.1:81", "tcp4 127.0.0.1:80, tcp4 127.0.0.1:81"},
		{"http://*:80 http://127.0.0.1:81", "tcp [::]:80, tcp4 127.0.0.1:81"},
		{"http://127.0.0.1:0 http://127.0.0.1:0", "tcp4 127.0.0.1:1, tcp4 127.0.0.1:2"},
		{"http://*:0 http://127.0.0.1:0", "tcp [::]:1, tcp4 127.0.0.1:2"},
	} {
		s := &system{}
		g, err := s.open(t, strings.Fields(tt.urls)...)
		if err != nil {
			t.Errorf("%s: %v", tt.urls, err)
			continue
		}
		if got := strings.Join(s.opened, ", "); got != tt.want {
			t.Errorf("%s: sockets %s, want %s", tt.urls, got, tt.want)
		}
		if n := len(strings.Fields(tt.urls)); len(g.Bindings) != n {
			t.Errorf("%s: %d bindings, want %d", tt.urls, len(g.Bindings), n)
		}
		g.Close()
		if s.closed != len(s.opened) {
			t.Errorf("%s: %d of %d sockets closed", tt.urls, s.closed, len(s.opened))
		}
	}
}

// http and https share no socket, and the one that comes second says so.
func TestTwoSchemes(t *testing.T) {
	t.Parallel()
	g, err := Open(mustParse(t, "http://127.0.0.1:0", "https://127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range g.Sockets {
		if want := strings.HasPrefix(s.URL, "https:"); s.TLS != want {
			t.Errorf("%s: TLS %v", s.URL, s.TLS)
		}
	}
	g.Close()
	_, err = new(system).open(t, "http://127.0.0.1:80", "https://a.test:80", "https://*:80")
	const want = "listen on https://a.test:80: port 80 is that of http://127.0.0.1:80: http and https need a port each"
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%v, want %q", err, want)
	}
}

func TestRepeatedBindingIsOne(t *testing.T) {
	t.Parallel()
	s := &system{}
	g, err := s.open(t, "http://localhost:80", "http://LOCALHOST")
	if err != nil || len(g.Bindings) != 1 || len(g.Sockets) != 2 {
		t.Errorf("%+v, %v", g, err)
	}
}

func TestWithoutOneFamily(t *testing.T) {
	t.Parallel()
	is6 := func(a netip.Addr) bool { return a.Is6() && !a.IsUnspecified() }
	for _, tt := range []struct {
		absent func(netip.Addr) bool
		url    string
		want   string // sockets, or part of the error
	}{
		{is6, "http://localhost:80", "tcp4 127.0.0.1:80"},
		{is6, "http://localhost:0", "tcp4 127.0.0.1:1"},
		{is6, "http://[::1]:80", "this machine has no address ::1"},
		{netip.Addr.Is4, "http://localhost:80", "tcp6 [::1]:80"},
		{netip.Addr.Is4, "http://localhost:0", "tcp6 [::1]:1"},
		{netip.Addr.IsLoopback, "http://localhost:80", "this machine has no address 127.0.0.1"},
		{netip.Addr.IsLoopback, "http://localhost:0", "this machine has no address 127.0.0.1"},
	} {
		s := &system{absent: tt.absent}
		_, err := s.open(t, tt.url)
		got := strings.Join(s.opened, ", ")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) {
			t.Errorf("%s: %s, want %s", tt.url, got, tt.want)
		}
	}
}

func TestFreeLoopbackPortIsFreeOnBothAddresses(t *testing.T) {
	t.Parallel()
	s := &system{errors: map[string]error{"[::1]:1": taken(), "[::1]:2": taken()}}
	g, err := s.open(t, "http://localhost:0")
	if err != nil {
		t.Fatal(err)
	}
	if g.Bindings[0].Port != 3 || len(g.Sockets) != 2 || s.closed != 2 {
		t.Errorf("port %d, %d sockets, %d closed; want 3, 2, 2", g.Bindings[0].Port, len(g.Sockets), s.closed)
	}
}

func TestLocalhostTakenOnOneAddressIsTaken(t *testing.T) {
	t.Parallel()
	for _, at := range []string{"127.0.0.1:80", "[::1]:80"} {
		s := &system{errors: map[string]error{at: taken()}}
		_, err := s.open(t, "http://localhost:80", "http://127.0.0.1:81")
		if err == nil || !strings.Contains(err.Error(), "port 80 is taken") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s taken: %v", at, err)
		}
		if s.closed != len(s.opened) {
			t.Errorf("%s taken: %d of %d sockets closed", at, s.closed, len(s.opened))
		}
	}
}

func TestPrivilegedPort(t *testing.T) {
	t.Parallel()
	denied := &net.OpError{Op: "listen", Net: "tcp", Err: os.NewSyscallError("bind", errnoDenied)}
	s := &system{errors: map[string]error{":80": denied}}
	_, err := s.open(t, "http://*:80")
	want := "listen on http://*:80: this user may not listen on port 80: " + privilegeHint
	if err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
