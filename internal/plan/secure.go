package plan

import (
	"path/filepath"
	"strings"

	"github.com/perchserver/perch/internal/certs"
	"github.com/perchserver/perch/internal/config"
	"github.com/perchserver/perch/internal/config/edit"
	"github.com/perchserver/perch/internal/config/merge"
	"github.com/perchserver/perch/internal/listen"
	"github.com/perchserver/perch/internal/module/access"
)

// certificate is what applicationHost.config says of a TLS binding.
type certificate struct {
	source  certs.Source // with no path: none is named
	anyName bool         // it is that of the address, whoever is asked for
	noHTTP2 bool
	noTLS13 bool

	authorities string // PEM file of who vouches for clients; empty: what the command line says

	bad config.Problem // what to tell when it cannot be used, but for its message
}

// The bits of sslFlags that are obeyed (spec iis-front 1.5). Those that turn
// something off which Perch does not do (8 OCSP stapling, 16 QUIC, 64 versions
// before TLS 1.2) have nothing to say, and whether certificates are in a
// central store (2) is seen from certificateFile being a folder.
const (
	sslSNI     = 1
	sslNoHTTP2 = 4
	sslNoTLS13 = 32
)

// certificate reads what a binding says of its own.
func (d *definer) certificate(binding merge.Element) certificate {
	flags := binding.Int("sslFlags")
	c := certificate{anyName: flags&sslSNI == 0, noHTTP2: flags&sslNoHTTP2 != 0, noTLS13: flags&sslNoTLS13 != 0}
	c.bad = binding.Problem("certificateFile", config.Problem{Code: config.BadCertificate})
	c.source.Password = binding.Text("certificatePassword")
	for attribute, path := range map[string]*string{"certificateFile": &c.source.Path,
		"certificateKeyFile": &c.source.Key, "certificatePasswordFile": &c.source.PasswordFile,
		"clientCertificateAuthorities": &c.authorities} {
		*path = d.absolute(binding.Text(attribute))
	}
	return c
}

// absolute reads the path of a file in applicationHost.config, which begins at
// the folder that this is in. Empty stays so.
func (d *definer) absolute(path string) string {
	if path == "" {
		return ""
	}
	if path = native(path); !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(d.path), path)
	}
	return path
}

// certified reports whether a binding has a certificate, be it from the command
// line, and tells if it has none.
func (d *definer) certified(def *definition, b listen.Binding, c certificate, e merge.Element) bool {
	if c.source.Path != "" || d.certificates || Development(b) {
		return true
	}
	d.tell(e.Problem("bindingInformation", config.Problem{Code: config.NoCertificate,
		Message: "the https binding of site " + def.name + " has no certificate, and is not served",
		Hint: d.command(def.name, "certificateFile=FILE", edit.Elem("bindings"),
			edit.Elem("binding", "protocol", e.Text("protocol"), "bindingInformation", e.Text("bindingInformation"))) + " names one, or `perch run --cert FILE`"}))
	return false
}

// addressed tells of a binding whose certificate no client is ever shown: that
// of an address can be only one (spec iis-front 3.1).
func (d *definer) addressed(b listen.Binding, c certificate, e merge.Element) {
	if !c.anyName {
		return
	}
	key := claim{port: b.Port, addr: b.Addrs()[0].String()}
	first, taken := d.shown[key]
	if !taken {
		d.shown[key] = c.source
		return
	}
	if first != c.source && c.source.Path != "" {
		d.tell(e.Problem("sslFlags", config.Problem{Code: config.BindingTaken,
			Message: "the certificate of this binding is never shown: that of another binding of the same address is",
			Hint:    `sslFlags="1" shows it to clients that ask for ` + strings.ToLower(b.Host)}))
	}
}

// authorities returns who vouches for the clients of a binding.
func (d *definition) authorities(binding int, line string) string {
	if d.shown != nil && d.shown[binding].authorities != "" {
		return d.shown[binding].authorities
	}
	return line
}

// The bits of sslFlags in the section access (spec iis-front 4.11).
const (
	accessTLS       = 8
	accessNegotiate = 32
	accessRequire   = 64
	accessTLS128    = 256 // as every suite has that is spoken
)

const accessSection = "system.webServer/security/access"

// access returns whom the settings of a place let in.
func (r *reader) access(s *merge.Settings) access.Settings {
	flags := s.Section(accessSection).Int("sslFlags")
	set := access.Settings{TLS: flags&(accessTLS|accessTLS128) != 0, Negotiate: flags&accessNegotiate != 0, Require: flags&accessRequire != 0}
	for i, b := range r.def.bindings {
		if !b.TLS {
			continue
		}
		set.Authorities = append(set.Authorities, r.authorities(i))
	}
	return set
}

// authorities returns who vouches for the clients of a binding, as an
// exchange.Conn names them.
func (r *reader) authorities(binding int) string {
	if a := r.def.authorities(binding, r.in.ClientAuthorities); a != "" {
		return a
	}
	return certs.SystemAuthorities
}

// asksClients reports whether a place of the site that is known at the start
// asks for client certificates: the root of an application, or a <location>.
// Its bindings do so then in the handshake, which comes before the path.
func (r *reader) asksClients() bool {
	for _, a := range r.apps {
		paths := []string{r.at(a.Path)}
		eachLocation(a.layers, func(path string) { paths = append(paths, path) })
		for _, path := range paths {
			s, _ := merge.Effective(a.layers, path, r.resolve)
			if s != nil && s.Section(accessSection).Int("sslFlags")&(accessNegotiate|accessRequire) != 0 {
				return true
			}
		}
	}
	return false
}

// secure says what clients of the TLS bindings are shown. Where nobody named a
// certificate, one is issued to those who come over the loopback address: that
// is a developer's machine.
func (b *builder) secure() []certs.Binding {
	var all []certs.Binding
	for _, s := range b.plan.Sites {
		for i, l := range s.def.bindings {
			if !l.TLS {
				continue
			}
			c := certs.Binding{URL: l.URL, Port: l.Port, Host: l.Host, Sources: b.in.Certificates,
				AskClient: s.asksClients, Authorities: s.def.authorities(i, b.in.ClientAuthorities)}
			if s.def.shown != nil {
				own := s.def.shown[i]
				c.AnyName, c.NoHTTP2, c.NoTLS13 = own.anyName, own.noHTTP2, own.noTLS13
				if own.source.Path != "" {
					c.Sources = []certs.Source{own.source}
				}
			}
			if len(c.Sources) == 0 && Development(l) {
				c.Issue = b.parts.Issue
			}
			for _, c.Addr = range l.Addrs() {
				all = append(all, c)
			}
		}
	}
	return all
}

// Development reports whether a binding gets a development certificate when
// no other is named: one that clients can verify.
func Development(l listen.Binding) bool {
	return l.LocalName() || l.Host == "" && (l.Loopback || l.Addr.IsLoopback())
}
