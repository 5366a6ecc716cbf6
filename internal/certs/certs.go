// Package certs finds the certificate for a TLS handshake: the binding that
// the client asks for, and of its sources the one whose names fit. Sources are
// files in PEM or PFX form, folders of files named after hosts, and whatever
// issues certificates at need. A file that changed is read again at the next
// handshake, and one that became unreadable goes on with what it held.
//
// plan says what the bindings are, daemon owns the Table and hands it to
// serve. The authority of the development certificate is in certs/devca, the
// trust in it in certs/trust.
package certs

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"
)

// Binding is where TLS connections come in, and what they are shown.
type Binding struct {
	URL  string // names the binding in messages
	Port uint16

	// Addr is the local address, without a zone; the zero Addr stands for all.
	Addr netip.Addr

	// Host is the name that the client has to ask for in its handshake (SNI):
	// a host name in lower case, or "*.example.com". Empty: whatever no other
	// binding of the port claims, and clients that name nobody.
	Host string

	// AnyName is set for a binding that is shown to clients as if it had no
	// host: its certificate is that of the address.
	AnyName bool

	// Sources are looked at in their order for a certificate with the name
	// that is asked for; the first is the default.
	Sources []Source

	// Issue makes a certificate for a name, empty for a client that names
	// nobody. It is asked where there are no sources. Nil: there is none.
	Issue func(name string) (*tls.Certificate, error)

	// AskClient asks clients for a certificate of their own, and accepts that
	// they have none. It is asked for in the handshake: TLS 1.3 knows no other
	// time, and HTTP/2 allows none.
	AskClient   bool
	Authorities string // PEM file of who vouches for clients; empty: whom the system trusts

	NoTLS13 bool // versions before 1.3 alone
	NoHTTP2 bool // HTTP/1.1 alone
}

// Table leads handshakes to bindings. Its bindings can be replaced while it is
// in use; connections that are open never notice.
type Table struct {
	log     *slog.Logger
	config  *tls.Config
	current atomic.Pointer[ports]
}

// ports are the bindings by local port, and for each by the name that clients
// ask for: "shop.example.com", ".example.com" for all names below it, and ""
// for whatever nobody else claims.
type ports map[uint16]map[string][]*binding

// binding is a Binding at work.
type binding struct {
	Binding
	config  *tls.Config
	sources []source
	clients *x509.CertPool // who vouches for clients; nil: whom the system trusts
}

// source is a Source at work, or a folder of them.
type source interface {
	// find returns the certificate for a name, nil for none, which is not an
	// error. Any is for the default: whatever the source has.
	find(name string, any bool) (*tls.Certificate, error)

	// check reports what is wrong with the source, for a host if one is given.
	check(host string) error
}

// NewTable returns a table without bindings.
func NewTable(log *slog.Logger) *Table {
	t := &Table{log: log}
	t.config = baseConfig()
	t.config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if b := t.find(hello); b != nil {
			return b.config, nil
		}
		return nil, nil
	}
	// Whoever is asked for nobody here learns that the name is not known.
	t.config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return nil, nil }
	t.current.Store(&ports{})
	return t
}

// Config is for all connections of all ports. It holds the keys of session
// tickets, which change every day.
func (t *Table) Config() *tls.Config { return t.config }

// baseConfig is what all handshakes have in common: versions and suites that
// nobody has to be warned of, and records as large as may be, so that a
// response of a few KB is one write.
func baseConfig() *tls.Config {
	return &tls.Config{
		MinVersion: tls.VersionTLS12,
		CipherSuites: []uint16{ // of TLS 1.2; those of 1.3 are not a choice
			tls.TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256, tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256,
			tls.TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384, tls.TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384,
			tls.TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256, tls.TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256,
		},
		NextProtos:                  []string{"h2", "http/1.1"},
		DynamicRecordSizingDisabled: true,
	}
}

// Apply replaces the bindings and returns what is wrong with their
// certificates, each error naming binding and file. A binding without a
// certificate that can be used refuses handshakes, and looks for it again at
// each of them; the others serve.
func (t *Table) Apply(bindings []Binding) []error {
	known := t.known()
	next := make(ports)
	var errs []error
	tell := func(err error) {
		same := func(e error) bool { return e.Error() == err.Error() }
		if !slices.ContainsFunc(errs, same) { // localhost is two bindings
			errs = append(errs, err)
		}
	}
	for _, set := range bindings {
		b := &binding{Binding: set}
		b.config = baseConfig()
		if b.NoTLS13 {
			b.config.MaxVersion = tls.VersionTLS12
		}
		if b.NoHTTP2 {
			b.config.NextProtos = []string{"http/1.1"}
		}
		if err := b.askClient(); err != nil {
			tell(fmt.Errorf("client certificates of %s: %w", b.URL, err))
		}
		b.config.GetCertificate = b.certificate
		for _, s := range set.Sources {
			if known[s] == nil {
				known[s] = newSource(s, t.log)
			}
			b.sources = append(b.sources, known[s])
		}
		if err := b.check(); err != nil {
			tell(fmt.Errorf("certificate of %s: %w", b.URL, err))
		}
		next.add(b)
	}
	t.current.Store(&next)
	return errs
}

// known returns the sources in use, which keep what they hold.
func (t *Table) known() map[Source]source {
	all := make(map[Source]source)
	for _, hosts := range *t.current.Load() {
		for _, bs := range hosts {
			for _, b := range bs {
				for i, s := range b.Sources {
					all[s] = b.sources[i]
				}
			}
		}
	}
	return all
}

// check tries what handshakes will do.
func (b *binding) check() error {
	if len(b.sources) == 0 {
		if b.Issue == nil {
			return errors.New("none is named")
		}
		_, err := b.Issue("")
		return err
	}
	host := strings.Replace(b.Host, "*", "any", 1)
	if len(b.sources) == 1 {
		return b.sources[0].check(host)
	}
	var errs []error
	fits := host == ""
	for _, s := range b.sources {
		if err := s.check(""); err != nil {
			errs = append(errs, err)
		} else if c, _ := s.find(host, false); c != nil {
			fits = true
		}
	}
	if !fits {
		errs = append(errs, fmt.Errorf("clients will refuse it: none of %d sources has one for %s", len(b.sources), b.Host))
	}
	return errors.Join(errs...)
}

// find returns the binding of a handshake, nil if there is none.
func (t *Table) find(hello *tls.ClientHelloInfo) *binding {
	return t.match(hello.Conn.LocalAddr(), hello.ServerName)
}

func (t *Table) match(at net.Addr, name string) *binding {
	local, ok := at.(*net.TCPAddr)
	if !ok {
		return nil
	}
	return t.current.Load().find(local.AddrPort(), strings.ToLower(name))
}

// longestName is that of a host name (RFC 1035 section 2.3.4). What is longer
// is not looked for: a client may send 64 KiB of it, with a dot at every
// second byte.
const longestName = 253

func (p ports) add(b *binding) {
	if p[b.Port] == nil {
		p[b.Port] = make(map[string][]*binding)
	}
	host := strings.TrimPrefix(b.Host, "*")
	if b.AnyName {
		host = ""
	}
	p[b.Port][host] = append(p[b.Port][host], b)
}

// find returns the binding for a name at an address: the name counts before
// the address, an exact name before a wildcard, a long wildcard before a short
// one (spec 1.8).
func (p ports) find(local netip.AddrPort, name string) *binding {
	hosts := p[local.Port()]
	addr := local.Addr().Unmap().WithZone("")
	if name != "" && name[0] != '.' && len(name) <= longestName {
		if b := at(hosts[name], addr); b != nil {
			return b
		}
		for i := 1; i < len(name); i++ { // a name below has at least a byte more
			if name[i] != '.' {
				continue
			}
			if b := at(hosts[name[i:]], addr); b != nil {
				return b
			}
		}
	}
	return at(hosts[""], addr)
}

// at returns the first of some bindings that is for this address, else the
// first that is for all.
func at(all []*binding, addr netip.Addr) (b *binding) {
	for _, c := range all {
		switch {
		case c.Addr == addr:
			return c
		case !c.Addr.IsValid() && b == nil:
			b = c
		}
	}
	return b
}

// certificate implements tls.Config.GetCertificate.
func (b *binding) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	name := strings.ToLower(hello.ServerName)
	if len(b.sources) == 0 {
		if b.Issue == nil {
			return nil, fmt.Errorf("%s has no certificate", b.URL)
		}
		return b.Issue(name)
	}
	var second *tls.Certificate // fits the name, but not what the client can verify
	var errs []error
	for _, s := range b.sources {
		c, err := s.find(name, false)
		switch {
		case err != nil:
			errs = append(errs, err)
		case c == nil:
		case hello.SupportsCertificate(c) == nil:
			return c, nil
		case second == nil:
			second = c
		}
	}
	if second != nil {
		return second, nil
	}
	for _, s := range b.sources {
		if c, err := s.find(name, true); c != nil && err == nil {
			return c, nil
		}
	}
	return nil, errors.Join(append(errs, fmt.Errorf("%s has no certificate for %q", b.URL, name))...)
}

// names tells a person whom a certificate is for.
func names(c *x509.Certificate) string {
	all := slices.Clone(c.DNSNames)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	if len(all) == 0 {
		return "nobody: it has no subject alternative name"
	}
	const most = 5
	if len(all) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(all[:most], ", "), len(all)-most)
	}
	return strings.Join(all, ", ")
}
