package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
)

// SystemAuthorities is what Verify returns for those that the system trusts.
const SystemAuthorities = "system"

// askClient sets up what clients are asked for. Whatever they show is accepted
// in the handshake and judged by Verify: the answer to one that proves nothing
// is a response (403.16, 403.17), not an alert that no person sees.
func (b *binding) askClient() error {
	if !b.AskClient {
		return nil
	}
	b.config.ClientAuth = tls.RequestClientCert
	if b.Authorities == "" {
		return nil
	}
	pool, err := Authorities(b.Authorities)
	b.clients = pool
	b.config.ClientCAs = pool // whose names are sent along
	return err
}

// Authorities reads a PEM file of who vouches for clients. Without any, nobody
// is trusted. Errors name the file.
func Authorities(path string) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	data, err := os.ReadFile(path)
	if err == nil && !pool.AppendCertsFromPEM(data) {
		err = fmt.Errorf("%s: there is no certificate in it", path)
	}
	return pool, err
}

// Verify judges the certificate that a client has shown, on a new session or
// one that was taken up again, and fills in VerifiedChains if it can be
// trusted. It returns whom the connection's binding asks for: the path of a
// PEM file, SystemAuthorities, or nothing where it does not ask.
func (t *Table) Verify(local net.Addr, s *tls.ConnectionState) (authorities string) {
	b := t.match(local, s.ServerName)
	s.VerifiedChains = nil
	if b == nil || !b.AskClient {
		return ""
	}
	if len(s.PeerCertificates) > 0 {
		set := x509.VerifyOptions{Roots: b.clients, Intermediates: x509.NewCertPool(), KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
		for _, c := range s.PeerCertificates[1:] {
			set.Intermediates.AddCert(c)
		}
		if chains, err := s.PeerCertificates[0].Verify(set); err == nil {
			s.VerifiedChains = chains
		}
	}
	if b.Authorities == "" {
		return SystemAuthorities
	}
	return b.Authorities
}
