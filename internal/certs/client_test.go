package certs

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"path/filepath"
	"strings"
	"testing"
)

// A client's certificate is asked for where the binding says so, and judged by
// those that it names. If they cannot be read, nobody is trusted.
func TestClientCertificates(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	p := newPort(t)
	server, client := made(t, valid, "a.test"), made(t, valid, "client")
	good := Binding{URL: "https://*:443", AskClient: true, Sources: []Source{{Path: put(t, dir, "a.pem", server.both(t))}}}
	for name, tt := range map[string]struct {
		authorities string
		ask         bool
		want        string // what Verify returns
		trusted     bool
		problem     string
	}{
		"ours":       {put(t, dir, "ours.pem", client.certificate()), true, filepath.Join(dir, "ours.pem"), true, ""},
		"others":     {put(t, dir, "others.pem", server.certificate()), true, filepath.Join(dir, "others.pem"), false, ""},
		"the system": {"", true, SystemAuthorities, false, ""},
		"gone":       {filepath.Join(dir, "gone.pem"), true, filepath.Join(dir, "gone.pem"), false, "client certificates of https://*:443: "},
		"empty":      {put(t, dir, "empty.pem", nil), true, filepath.Join(dir, "empty.pem"), false, "there is no certificate in it"},
		"not asked":  {filepath.Join(dir, "gone.pem"), false, "", false, ""},
	} {
		b := good
		b.AskClient, b.Authorities = tt.ask, tt.authorities
		errs := p.apply(b)
		if tt.problem == "" && len(errs) != 0 || tt.problem != "" && (len(errs) != 1 || !strings.Contains(errs[0].Error(), tt.problem)) {
			t.Errorf("%s: %v", name, errs)
		}
		asked := false
		if _, err := p.ask("a.test", func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				asked = true
				return &tls.Certificate{}, nil
			}
		}); err != nil || asked != tt.ask {
			t.Errorf("%s: asked %v, %v", name, asked, err)
		}
		s := tls.ConnectionState{ServerName: "a.test", PeerCertificates: []*x509.Certificate{client.leaf},
			VerifiedChains: [][]*x509.Certificate{{client.leaf}}} // of another binding, say
		got := p.Verify(net.TCPAddrFromAddrPort(p.addr), &s)
		if got != tt.want || (len(s.VerifiedChains) > 0) != tt.trusted {
			t.Errorf("%s: %q, %d chains, want %q", name, got, len(s.VerifiedChains), tt.want)
		}
	}
}
