package certs

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"software.sslmate.com/src/go-pkcs12"
)

// pair is a certificate with its key.
type pair struct {
	leaf *x509.Certificate
	key  crypto.Signer
}

// made returns a certificate for some names that is valid for a time from now.
func made(tb testing.TB, valid time.Duration, names ...string) pair {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return signed(tb, key, valid, names...)
}

func signed(tb testing.TB, key crypto.Signer, valid time.Duration, names ...string) pair {
	tb.Helper()
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		tb.Fatal(err)
	}
	set := &x509.Certificate{SerialNumber: serial, DNSNames: names, NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(valid)}
	der, err := x509.CreateCertificate(rand.Reader, set, set, key.Public(), key)
	if err != nil {
		tb.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		tb.Fatal(err)
	}
	return pair{leaf, key}
}

func (p pair) certificate() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.leaf.Raw})
}

func (p pair) private(tb testing.TB) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(p.key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func (p pair) both(tb testing.TB) []byte { return append(p.certificate(), p.private(tb)...) }

func (p pair) pfx(tb testing.TB, password string) []byte {
	tb.Helper()
	data, err := pkcs12.Modern.Encode(p.key, p.leaf, nil, password)
	if err != nil {
		tb.Fatal(err)
	}
	return data
}

// put writes a file in one step and returns its path.
func put(tb testing.TB, dir, name string, data []byte) string {
	tb.Helper()
	path := filepath.Join(dir, name)
	fresh := path + ".new"
	if err := errors.Join(os.WriteFile(fresh, data, 0o600), os.Rename(fresh, path)); err != nil {
		tb.Fatal(err)
	}
	return path
}

// notes is a log to look into.
type notes struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (n *notes) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.Write(p)
}

func (n *notes) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.buf.String()
}

// port is a port of 127.0.0.1 on which a table answers handshakes.
type port struct {
	*Table
	tb   testing.TB
	l    net.Listener
	log  *notes
	addr netip.AddrPort
}

func newPort(tb testing.TB) *port {
	tb.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	log := &notes{}
	p := &port{NewTable(slog.New(slog.NewTextHandler(log, nil))), tb, l, log, l.Addr().(*net.TCPAddr).AddrPort()}
	var open sync.WaitGroup
	open.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() {
				defer nc.Close()
				nc.SetDeadline(time.Now().Add(10 * time.Second))
				c := tls.Server(nc, p.Config())
				if c.Handshake() == nil {
					c.Write([]byte("."))
				}
			})
		}
	})
	tb.Cleanup(func() { l.Close(); open.Wait() })
	return p
}

// apply sets bindings, whose port is filled in.
func (p *port) apply(bindings ...Binding) []error {
	for i := range bindings {
		bindings[i].Port = p.addr.Port()
	}
	return p.Apply(bindings)
}

// ask does a handshake for a name and returns what was shown.
func (p *port) ask(name string, change ...func(*tls.Config)) (*tls.ConnectionState, error) {
	set := &tls.Config{ServerName: name, InsecureSkipVerify: true}
	for _, f := range change {
		f(set)
	}
	ctx, cancel := context.WithTimeout(p.tb.Context(), 10*time.Second)
	defer cancel()
	nc, err := (&tls.Dialer{Config: set}).DialContext(ctx, "tcp", p.addr.String())
	if err != nil {
		return nil, err
	}
	defer nc.Close()
	if _, err := nc.Read(make([]byte, 1)); err != nil {
		return nil, err
	}
	s := nc.(*tls.Conn).ConnectionState()
	return &s, nil
}

// wants fails the test unless a client that asks for name is shown c.
func (p *port) wants(name string, c pair) {
	p.tb.Helper()
	s, err := p.ask(name)
	switch {
	case err != nil:
		p.tb.Errorf("%q: %v", name, err)
	case !s.PeerCertificates[0].Equal(c.leaf):
		p.tb.Errorf("%q is shown the certificate for %v, want that for %v", name, s.PeerCertificates[0].DNSNames, c.leaf.DNSNames)
	}
}

// refuses fails the test unless a handshake ends with an alert.
func (p *port) refuses(name, alert string, change ...func(*tls.Config)) {
	p.tb.Helper()
	if _, err := p.ask(name, change...); err == nil || !strings.Contains(err.Error(), alert) {
		p.tb.Errorf("%q: %v, want %q", name, err, alert)
	}
}

const valid = 30 * 24 * time.Hour

// Certificates are read from all the forms that there are.
func TestSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPort(t)
	c, issuer := made(t, valid, "shop.test"), made(t, valid, "issuer.test")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	r := signed(t, rsaKey, valid, "rsa.test")
	pkcs1 := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(rsaKey)})
	ecDER, err := x509.MarshalECPrivateKey(c.key.(*ecdsa.PrivateKey))
	if err != nil {
		t.Fatal(err)
	}
	sec1 := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: ecDER})
	put(t, dir, "beside.crt", c.certificate())
	put(t, dir, "beside.key", c.private(t))
	tests := map[string]struct {
		source Source
		want   pair
	}{
		"both in one":         {Source{Path: put(t, dir, "both.pem", c.both(t))}, c},
		"key before":          {Source{Path: put(t, dir, "before.pem", slices.Concat(c.private(t), c.certificate()))}, c},
		"text around":         {Source{Path: put(t, dir, "text.pem", slices.Concat([]byte("Bag Attributes\n"), c.both(t), []byte("\nend\n")))}, c},
		"issuer first":        {Source{Path: put(t, dir, "order.pem", slices.Concat(issuer.certificate(), c.both(t)))}, c},
		"key of its own":      {Source{Path: put(t, dir, "own.pem", c.certificate()), Key: put(t, dir, "its-key.pem", c.private(t))}, c},
		"key beside":          {Source{Path: filepath.Join(dir, "beside.crt")}, c},
		"SEC 1":               {Source{Path: put(t, dir, "sec1.pem", slices.Concat(c.certificate(), sec1))}, c},
		"PKCS 1":              {Source{Path: put(t, dir, "pkcs1.pem", slices.Concat(r.certificate(), pkcs1))}, r},
		"PFX":                 {Source{Path: put(t, dir, "a.pfx", c.pfx(t, "secret")), Password: "secret"}, c},
		"PFX, password file":  {Source{Path: put(t, dir, "b.pfx", c.pfx(t, "secret")), PasswordFile: put(t, dir, "password", []byte("secret\r\n"))}, c},
		"PFX, no password":    {Source{Path: put(t, dir, "c.pfx", c.pfx(t, ""))}, c},
		"PFX by another name": {Source{Path: put(t, dir, "d.bin", r.pfx(t, "x")), Password: "x"}, r},
	}
	for name, tt := range tests {
		if errs := p.apply(Binding{URL: "https://*:443", Sources: []Source{tt.source}}); len(errs) > 0 {
			t.Errorf("%s: %v", name, errs)
			continue
		}
		p.wants("shop.test", tt.want)
	}
}

// What is wrong with a certificate is said with its file and binding, and the
// other bindings of the port serve.
func TestBadSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	good, other := made(t, valid, "good.test"), made(t, valid, "other.test")
	goodSource := Source{Path: put(t, dir, "good.pem", good.both(t))}
	tests := map[string]struct {
		source Source
		want   string
		serves bool // it is shown all the same: clients decide
	}{
		"nothing there":     {Source{Path: filepath.Join(dir, "no.pem")}, "no such file", false},
		"not a certificate": {Source{Path: put(t, dir, "noise.pem", []byte("noise"))}, "neither a PEM nor a PFX file", false},
		"empty":             {Source{Path: put(t, dir, "empty.pem", nil)}, "neither a PEM nor a PFX file", false},
		"cut":               {Source{Path: put(t, dir, "cut.pem", []byte("-----BEGIN CERTIFICATE-----\nMIIB"))}, "no private key in it", false},
		"no key":            {Source{Path: put(t, dir, "nokey.pem", good.certificate())}, "no private key in it: name the file", false},
		"key not there":     {Source{Path: put(t, dir, "x.pem", good.certificate()), Key: filepath.Join(dir, "gone.key")}, "gone.key", false},
		"key without one":   {Source{Path: put(t, dir, "y.pem", good.certificate()), Key: put(t, dir, "y.txt", good.certificate())}, "y.txt: there is no private key", false},
		"key alone":         {Source{Path: put(t, dir, "alone.pem", good.private(t))}, "no certificate in it", false},
		"another key":       {Source{Path: put(t, dir, "z.pem", good.certificate()), Key: put(t, dir, "z.txt", other.private(t))}, "z.txt: the private key does not belong to the certificate in", false},
		"another key, same": {Source{Path: put(t, dir, "same.pem", slices.Concat(good.certificate(), other.private(t)))}, "same.pem: the private key does not belong to the certificate", false},
		"encrypted key": {Source{Path: put(t, dir, "enc.pem", slices.Concat(good.certificate(),
			pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("?")})))}, "enc.pem: the private key is encrypted", false},
		"wrong password":   {Source{Path: put(t, dir, "w.pfx", good.pfx(t, "right")), Password: "wrong"}, "w.pfx: the password is wrong", false},
		"no password":      {Source{Path: put(t, dir, "n.pfx", good.pfx(t, "right"))}, "n.pfx: it is locked with a password", false},
		"no password file": {Source{Path: put(t, dir, "m.pfx", good.pfx(t, "right")), PasswordFile: filepath.Join(dir, "gone.txt")}, "gone.txt", false},
		"expired":          {Source{Path: put(t, dir, "old.pem", made(t, -time.Hour, "bad.test").both(t))}, "old.pem: clients will refuse it: it expired on", true},
		"not yet valid": {Source{Path: put(t, dir, "soon.pem", func() []byte {
			c := made(t, valid, "bad.test")
			set := *c.leaf
			set.NotBefore = time.Now().Add(48 * time.Hour)
			der, err := x509.CreateCertificate(rand.Reader, &set, &set, c.key.Public(), c.key)
			if err != nil {
				t.Fatal(err)
			}
			c.leaf, _ = x509.ParseCertificate(der)
			return c.both(t)
		}())}, "soon.pem: clients will refuse it: it is valid from", true},
		"another host": {goodSource, "good.pem: clients will refuse it: it is for good.test", true},
		"no host":      {Source{Path: put(t, dir, "nobody.pem", made(t, valid).both(t))}, "it is for nobody", true},
		"empty folder": {Source{Path: t.TempDir()}, "there is no bad.test.pfx, .pem or .crt in it, nor _.test", false},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPort(t)
			errs := p.apply(
				Binding{URL: "https://bad.test:443", Host: "bad.test", Sources: []Source{tt.source}},
				Binding{URL: "https://good.test:443", Host: "good.test", Sources: []Source{goodSource}})
			if len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.want) || !strings.HasPrefix(errs[0].Error(), "certificate of https://bad.test:443: ") {
				t.Fatalf("%v, want one with %q", errs, tt.want)
			}
			p.wants("good.test", good)
			if tt.serves {
				if _, err := p.ask("bad.test"); err != nil {
					t.Error(err)
				}
			} else {
				p.refuses("bad.test", "internal error")
			}
		})
	}
}

// Of the bindings of a port, the name that is asked for counts before the
// address, an exact name before a wildcard, a long wildcard before a short.
func TestSelection(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPort(t)
	shown := map[string]pair{}
	binding := func(addr, host string) Binding {
		c := made(t, valid, strings.Replace(host, "*", "any", 1), "x")
		shown[addr+host] = c
		b := Binding{URL: "https://" + addr + host, Host: host,
			Sources: []Source{{Path: put(t, dir, strings.ReplaceAll(addr+host, "*", "any")+"-.pem", c.both(t))}}}
		if addr != "" {
			b.Addr = netip.MustParseAddr(addr)
		}
		return b
	}
	all := []Binding{
		binding("", "*.a.test"), binding("", "*.b.a.test"), binding("", "exact.a.test"), binding("127.0.0.1", "*.a.test"),
		binding("127.0.0.2", "here.test"), binding("", "here.test"),
	}
	p.apply(all...)
	p.wants("exact.a.test", shown["exact.a.test"])
	p.wants("EXACT.a.test", shown["exact.a.test"])
	p.wants("x.a.test", shown["127.0.0.1*.a.test"])
	p.wants("y.x.a.test", shown["127.0.0.1*.a.test"])
	p.wants("x.b.a.test", shown["*.b.a.test"])
	p.wants("here.test", shown["here.test"])
	for _, nobody := range []string{"a.test", "other.test", "xa.test", ""} {
		p.refuses(nobody, "unrecognized name")
	}
	all = append(all, binding("", ""))
	p.apply(all...)
	p.wants("other.test", shown[""])
	p.wants("", shown[""])
	all = append(all, binding("127.0.0.1", ""))
	p.apply(all...)
	p.wants("other.test", shown["127.0.0.1"])
	p.wants("exact.a.test", shown["exact.a.test"])
}

// Of several sources, the first whose names fit is shown, or else the first.
// Of two for one name, the one that the client can verify.
func TestSeveralSources(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPort(t)
	one, two, wild := made(t, valid, "one.test"), made(t, valid, "two.test", "2.test"), made(t, valid, "*.wild.test")
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	old := signed(t, rsaKey, valid, "two.test")
	b := Binding{URL: "https://*:443"}
	for i, c := range []pair{one, two, old, wild} {
		b.Sources = append(b.Sources, Source{Path: put(t, dir, fmt.Sprint(i, ".pem"), c.both(t))})
	}
	if errs := p.apply(b); len(errs) > 0 {
		t.Fatal(errs)
	}
	p.wants("one.test", one)
	p.wants("2.test", two)
	p.wants("any.wild.test", wild)
	p.wants("nobody.test", one)
	p.wants("", one)
	s, err := p.ask("two.test", func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256}
	})
	if err != nil || !s.PeerCertificates[0].Equal(old.leaf) {
		t.Errorf("a client that knows RSA alone: %v", err)
	}
	b.Host = "three.test"
	if errs := p.apply(b); len(errs) != 1 || !strings.Contains(errs[0].Error(), "none of 4 sources has one for three.test") {
		t.Errorf("%v", errs)
	}
}

// A folder has a file for each host, or one for all names below a domain.
func TestFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPort(t)
	shop, wild, late := made(t, valid, "shop.test"), made(t, valid, "*.example.test"), made(t, valid, "late.test")
	put(t, dir, "shop.test.pem", shop.both(t))
	put(t, dir, "_.example.test.pfx", wild.pfx(t, "all"))
	outside := made(t, valid, "..")
	put(t, filepath.Dir(dir), "outside.pem", outside.both(t))
	if errs := p.apply(Binding{URL: "https://*:443", Sources: []Source{{Path: dir, Password: "all"}}}); len(errs) > 0 {
		t.Fatal(errs)
	}
	p.wants("shop.test", shop)
	p.wants("Shop.Test", shop)
	p.wants("any.example.test", wild)
	for _, nobody := range []string{"", "example.test", "a.b.example.test", "late.test", "_.example.test", "../outside", "..", ".", "shop.test/x", strings.Repeat("a.", 126) + "a"} {
		if _, err := p.ask(nobody); err == nil {
			t.Errorf("%q was shown something", nobody)
		}
	}
	put(t, dir, "late.test.crt", late.certificate())
	put(t, dir, "late.test.key", late.private(t))
	p.wants("late.test", late)
	put(t, dir, "broken.test.pem", []byte("?"))
	p.refuses("broken.test", "internal error")
	if !strings.Contains(p.log.text(), "broken.test.pem") {
		t.Errorf("nobody was told: %s", p.log.text())
	}
}

// eventually polls: a change is seen at the first handshake after a second.
func eventually(tb testing.TB, what string, is func() bool) {
	tb.Helper()
	for end := time.Now().Add(15 * time.Second); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			tb.Fatalf("%s did not happen", what)
		}
	}
}

// A changed file is shown to who comes next. A broken one, and one that is
// gone, change nothing, and are told of.
func TestRotation(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPort(t)
	before, after := made(t, valid, "shop.test"), made(t, valid, "shop.test")
	path := put(t, dir, "shop.crt", before.certificate())
	put(t, dir, "shop.key", before.private(t))
	b := Binding{URL: "https://*:443", Sources: []Source{{Path: path}}}
	if errs := p.apply(b); len(errs) > 0 {
		t.Fatal(errs)
	}
	shows := func(c pair) func() bool {
		return func() bool {
			s, err := p.ask("shop.test")
			if err != nil {
				t.Error(err)
			}
			return err == nil && s.PeerCertificates[0].Equal(c.leaf)
		}
	}
	put(t, dir, "shop.crt", after.certificate()) // half of the change
	eventually(t, "the complaint", func() bool {
		return shows(before)() && strings.Contains(p.log.text(), "the private key does not belong to the certificate")
	})
	if errs := p.apply(b); len(errs) > 0 { // a reload meanwhile keeps what is held
		t.Fatal(errs)
	}
	p.wants("shop.test", before)
	put(t, dir, "shop.key", after.private(t))
	eventually(t, "the rotation", shows(after))
	os.Remove(path)
	eventually(t, "the second complaint", func() bool { return shows(after)() && strings.Contains(p.log.text(), "no such file") })
	if n := strings.Count(p.log.text(), "\n"); n > 4 {
		t.Errorf("%d lines of log:\n%s", n, p.log.text())
	}
}

// A binding whose certificate was never usable looks for it again.
func TestLateCertificate(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPort(t)
	if errs := p.apply(Binding{URL: "https://*:443", Sources: []Source{{Path: filepath.Join(dir, "late.pem")}}}); len(errs) != 1 {
		t.Fatal(errs)
	}
	p.refuses("late.test", "internal error")
	late := made(t, valid, "late.test")
	put(t, dir, "late.pem", late.both(t))
	eventually(t, "serving", func() bool { _, err := p.ask("late.test"); return err == nil })
	p.wants("late.test", late)
}

// A binding without sources shows what is issued, or says that it has none.
func TestIssue(t *testing.T) {
	t.Parallel()
	p := newPort(t)
	c := made(t, valid, "localhost")
	var asked []string
	issue := func(name string) (*tls.Certificate, error) {
		asked = append(asked, name)
		return &tls.Certificate{Certificate: [][]byte{c.leaf.Raw}, PrivateKey: c.key}, nil
	}
	if errs := p.apply(Binding{URL: "https://localhost:443", Issue: issue}); len(errs) > 0 {
		t.Fatal(errs)
	}
	p.wants("a.localhost", c)
	if !slices.Equal(asked, []string{"", "a.localhost"}) {
		t.Errorf("asked for %q", asked)
	}
	if errs := p.apply(Binding{URL: "https://*:443"}); len(errs) != 1 || !strings.Contains(errs[0].Error(), "certificate of https://*:443: none is named") {
		t.Errorf("%v", errs)
	}
	p.refuses("a.test", "internal error")
}

// Versions and suites that are not safe any more are not spoken; sessions are
// taken up again.
func TestProtocol(t *testing.T) {
	t.Parallel()
	p := newPort(t)
	c := made(t, valid, "a.test")
	source := Source{Path: put(t, t.TempDir(), "a.pem", c.both(t))}
	b := Binding{URL: "https://*:443", Sources: []Source{source}}
	p.apply(b)
	for _, v := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		s, err := p.ask("a.test", func(c *tls.Config) { c.MinVersion, c.MaxVersion = v, v; c.NextProtos = []string{"http/1.1"} })
		if err != nil || s.Version != v || s.NegotiatedProtocol != "http/1.1" {
			t.Errorf("%s: %v", tls.VersionName(v), err)
		}
	}
	p.refuses("a.test", "protocol version", func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS11 })
	p.refuses("a.test", "handshake failure", func(c *tls.Config) {
		c.MaxVersion = tls.VersionTLS12
		c.CipherSuites = []uint16{tls.TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA}
	})
	p.refuses("a.test", "no application protocol", func(c *tls.Config) { c.NextProtos = []string{"ftp"} })
	for _, off := range []bool{false, true} {
		b.NoHTTP2 = off
		p.apply(b)
		s, err := p.ask("a.test", func(c *tls.Config) { c.NextProtos = []string{"http/1.1", "h2"} })
		if err != nil || (s.NegotiatedProtocol == "h2") == off {
			t.Errorf("HTTP/2 off %v: %q, %v", off, s.NegotiatedProtocol, err)
		}
	}
	cache := tls.NewLRUClientSessionCache(1)
	resumed := false
	for range 2 {
		s, err := p.ask("a.test", func(c *tls.Config) { c.ClientSessionCache = cache })
		if err != nil {
			t.Fatal(err)
		}
		resumed = s.DidResume
	}
	if !resumed {
		t.Error("a session was not taken up again")
	}
	b.NoTLS13 = true
	p.apply(b)
	p.refuses("a.test", "protocol version", func(c *tls.Config) { c.MinVersion = tls.VersionTLS13 })
}

// Nothing of what comes over the network becomes a path outside of a folder.
func FuzzHostName(f *testing.F) {
	for _, s := range []string{"a.test", "..", "../a", "a/b", `a\b`, "_.a", "a..b", ".a", "A", "\x00", "a:b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if isHostName(name) && (!filepath.IsLocal(name) || filepath.Base(name) != name || strings.ContainsAny(name, `/\:`)) {
			t.Errorf("%q is taken for a host name", name)
		}
	})
}
