package plan

import (
	"github.com/perchserver/perch/internal/certs"
	"github.com/perchserver/perch/internal/listen"
)

// secure says what clients of the TLS bindings are shown. Where nobody named a
// certificate, one is issued to those who come over the loopback address: that
// is a developer's machine.
func (b *builder) secure() []certs.Binding {
	var all []certs.Binding
	for _, s := range b.plan.Sites {
		for _, l := range s.def.bindings {
			if !l.TLS {
				continue
			}
			c := certs.Binding{URL: l.URL, Port: l.Port, Host: l.Host, Sources: b.in.Certificates}
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
// no other is named.
func Development(l listen.Binding) bool { return l.Loopback || l.Addr.IsLoopback() || l.LocalName() }
