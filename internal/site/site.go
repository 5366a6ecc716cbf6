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
	"strings"

	"github.com/perchserver/perch/internal/exchange"
)

// Table leads exchanges from bindings to sites. It is the handler at the end
// of the server-wide modules. It is never changed.
type Table struct {
	bindings map[uint16]hosts // by local port; 0 is a unix socket
}

// hosts are the sites of one port.
type hosts struct {
	any    *Tree            // serves every host name that no other claims
	byName map[string]*Tree // by host name in lower case
}

// Binding claims a port, for one host name or for all.
type Binding struct {
	Port uint16 // local port, 0 for a unix socket
	Host string // empty: any host name
	Site *Tree
}

// NewTable returns a table for the bindings. Of two that claim the same, the
// first has it.
func NewTable(bindings []Binding) *Table {
	t := &Table{bindings: make(map[uint16]hosts)}
	for _, b := range bindings {
		h := t.bindings[b.Port]
		if b.Host == "" {
			if h.any == nil {
				h.any = b.Site
			}
		} else {
			if h.byName == nil {
				h.byName = make(map[string]*Tree)
			}
			name := strings.ToLower(b.Host)
			if h.byName[name] == nil {
				h.byName[name] = b.Site
			}
		}
		t.bindings[b.Port] = h
	}
	return t
}

// Serve implements exchange.Handler.
func (t *Table) Serve(x *exchange.Exchange) error {
	tree := t.find(x)
	if tree == nil {
		return errUnclaimedHost
	}
	node, err := tree.Resolve(&x.Request.Target)
	if err != nil {
		return err
	}
	return node.Chain.Serve(x)
}

func (t *Table) find(x *exchange.Exchange) *Tree {
	h, ok := t.bindings[x.Conn.Local.Port()]
	if !ok {
		return nil
	}
	if h.byName != nil {
		if tree := h.byHost(x.Request.Host); tree != nil {
			return tree
		}
	}
	return h.any
}

// byHost looks a Host value up, without its port and without regard to case.
func (h *hosts) byHost(host []byte) *Tree {
	var small [256]byte
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
	return h.byName[string(small[:n])]
}

// Refusals of this stage. Never written.
var (
	errUnclaimedHost = &exchange.Error{Status: 400, Op: "find site",
		Public: "No site answers to this host name",
		Err:    errors.New("no binding claims the host of the request")}
	errTwoReadings = &exchange.Error{Status: 400, Op: "find configuration",
		Public: "The path can be read in two ways",
		Err:    errors.New("with its encoded slashes taken as separators, the path belongs to another configuration node")}
)
