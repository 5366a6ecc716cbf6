// Package site finds, for each exchange, who is asked for: which binding, and
// below its site the configuration node whose settings rule the path. A node
// is a place with settings of its own: the application's root, a path that
// a <location> speaks of, a folder with a web.config. Each has a chain of
// modules that ends in a choice of handlers.
//
// internal/plan makes the tables; nothing else imports this package. It knows
// no configuration: a Source tells it what is at a path.
package site

import (
	"errors"
	"net/netip"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// Table leads exchanges from bindings to sites. It is the handler at the end
// of the server-wide modules. It is never changed.
type Table struct {
	ports  map[uint16]*port // by local port; 0 is a unix socket
	failed func(error) exchange.Handler
}

// Binding claims a port, for one local address or for all, and for one host
// name, for those below one, or for all.
type Binding struct {
	Port uint16     // local port, 0 for a unix socket
	Addr netip.Addr // local address without a zone; zero: every address
	Host string     // empty: any host name; "*.example.com": every name below example.com
	Site *Tree

	// Quota bounds the connections of the site, and Idle how long one may be
	// idle. Nil, and 0: as all are.
	Quota *exchange.Quota
	Idle  time.Duration
}

// port is what is claimed of one port.
type port struct {
	names map[string]*claims // exact names, and ".example.com" for "*.example.com"
	ends  [maxHost + 1]bool  // lengths that a ".example.com" has
	wild  bool               // there is one
	rest  claims             // of every host name
}

// claims are the bindings for one host name, by local address.
type claims struct {
	any    *Binding // every address
	byAddr map[netip.Addr]*Binding
}

// NewTable returns a table for the bindings. Of two that claim the same, the
// first has it. What leads to no node is answered by what failed returns.
func NewTable(bindings []Binding, failed func(error) exchange.Handler) *Table {
	t := &Table{ports: make(map[uint16]*port), failed: failed}
	for _, b := range bindings {
		p := t.ports[b.Port]
		if p == nil {
			p = &port{names: make(map[string]*claims)}
			t.ports[b.Port] = p
		}
		p.claim(b.Host).add(&b)
	}
	return t
}

// claim returns the claims of a host as a binding writes it.
func (p *port) claim(host string) *claims {
	if host == "" {
		return &p.rest
	}
	name := strings.ToLower(host)
	if suffix, ok := strings.CutPrefix(name, "*."); ok {
		name = "." + suffix
		p.ends[min(len(name), maxHost)], p.wild = true, true
	}
	c := p.names[name]
	if c == nil {
		c = new(claims)
		p.names[name] = c
	}
	return c
}

func (c *claims) add(b *Binding) {
	if !b.Addr.IsValid() {
		if c.any == nil {
			c.any = b
		}
		return
	}
	if c.byAddr == nil {
		c.byAddr = make(map[netip.Addr]*Binding)
	}
	if c.byAddr[b.Addr] == nil {
		c.byAddr[b.Addr] = b
	}
}

// find returns the binding for a local address: its own before that of all.
func (c *claims) find(addr netip.Addr) *Binding {
	if c.byAddr != nil {
		if b := c.byAddr[addr]; b != nil {
			return b
		}
	}
	return c.any
}

// Serve implements exchange.Handler.
func (t *Table) Serve(x *exchange.Exchange) error {
	b := t.Find(x.Conn.Local, x.Request.Host)
	if b == nil {
		return t.failed(errUnclaimedHost).Serve(x)
	}
	if !x.Conn.Site.To(b.Quota, b.Idle) {
		return t.failed(errTooMany).Serve(x)
	}
	node, err := b.Site.Resolve(&x.Request.Target)
	if err != nil {
		return t.failed(err).Serve(x)
	}
	return node.Chain.Serve(x)
}

// Find returns the binding that a request belongs to which came to a local
// address with a Host value, nil if nobody claims it. The host name counts
// before the address (spec iis-front 1.8): the exact name, then the longest
// one with a wildcard, then bindings without a name; of each the binding of
// the address before that of all addresses.
func (t *Table) Find(local netip.AddrPort, host []byte) *Binding {
	p := t.ports[local.Port()]
	if p == nil {
		return nil
	}
	addr := local.Addr()
	if addr.Zone() != "" {
		addr = addr.WithZone("")
	}
	if len(p.names) > 0 {
		var small [maxHost]byte
		if b := p.byName(hostName(&small, host), addr); b != nil {
			return b
		}
	}
	return p.rest.find(addr)
}

// byName looks a host name up, first as it is, then shorter and shorter ends
// of it, as far as some wildcard has such a length.
func (p *port) byName(name []byte, addr netip.Addr) *Binding {
	if c := p.names[string(name)]; c != nil && name[0] != '.' {
		if b := c.find(addr); b != nil {
			return b
		}
	}
	if !p.wild {
		return nil
	}
	var everyAddr *Binding
	for i := 1; i < len(name); i++ {
		if name[i] != '.' || !p.ends[len(name)-i] {
			continue
		}
		if c := p.names[string(name[i:])]; c != nil {
			if b := c.byAddr[addr]; b != nil {
				return b
			}
			if everyAddr == nil {
				everyAddr = c.any
			}
		}
	}
	return everyAddr
}

// maxHost is longer than any name of the domain system.
const maxHost = 256

// hostName is a Host value without its port and without a dot at its end, in
// lower case. What is too long to be the name of a binding is no name.
func hostName(small *[maxHost]byte, host []byte) []byte {
	n := 0
	for _, c := range host {
		if c == ':' && host[0] != '[' {
			break
		}
		if n == len(small) {
			return nil
		}
		if c >= 'A' && c <= 'Z' {
			c |= 0x20
		}
		small[n] = c
		n++
		if c == ']' {
			break
		}
	}
	if n > 1 && small[n-1] == '.' {
		n--
	}
	return small[:n]
}

// Refusals of this stage. Never written.
var (
	errUnclaimedHost = &exchange.Error{Status: 400, Op: "find site",
		Public: "No site answers to this host name",
		Err:    errors.New("no binding claims the host of the request")}
	errTooMany = &exchange.Error{Status: 503, Op: "find site", Close: true,
		Public: "The site has as many connections as it may have",
		Err:    errors.New("the connections of the site have reached maxConnections")}
	errTwoReadings = &exchange.Error{Status: 400, Op: "find configuration",
		Public: "The path can be read in two ways",
		Err:    errors.New("with its encoded slashes taken as separators, the path belongs to another configuration node")}
)
