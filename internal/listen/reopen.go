package listen

import (
	"errors"
	"net"
	"net/netip"
	"slices"
)

// Reopen returns a group for other bindings. It shares the sockets of g that
// they need, so that no connection that waits in one of them is lost, and
// opens what is missing; a binding whose port the system chose keeps it. If
// one cannot be opened, g goes on as it is. CloseExcept closes what the new
// group does not have.
//
// A binding that asks for more addresses than before, or for fewer, or for the
// other scheme, needs a socket that the system does not open beside the old
// one: there alone the old one is closed first. g may be nil.
func (g *Group) Reopen(bindings []Binding) (*Group, error) {
	o := opener{listen: listenTCP, owner: portOwner}
	if g != nil {
		o.old = *g
		o.old.asked = slices.Clone(g.asked)
	}
	return o.open(bindings)
}

// CloseExcept closes the sockets of g that next does not share. g may be nil.
func (g *Group) CloseExcept(next *Group) error {
	if g == nil {
		return nil
	}
	var errs []error
	for _, s := range g.Sockets {
		if !slices.Contains(next.Sockets, s) {
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// Opened returns the bindings that the group was opened for, in their order
// and with the ports that they have now.
func (g *Group) Opened(bindings []Binding) []Binding {
	asked := slices.Clone(g.asked)
	all := make([]Binding, len(bindings))
	for i, b := range bindings {
		all[i] = b
		if at := slices.Index(asked, b); at >= 0 {
			all[i] = g.Bindings[at]
			if b.Port == 0 && b.Path == "" {
				asked[at] = Binding{} // the next of its kind has a port of its own
			}
		}
	}
	return all
}

// recall gives a binding with port 0 the port that the old group has for it.
func (o *opener) recall(b *Binding) {
	if b.Port != 0 || b.Path != "" {
		return
	}
	if at := slices.Index(o.old.asked, *b); at >= 0 {
		b.Port = o.old.Bindings[at].Port
		o.old.asked[at] = Binding{}
	}
}

// share takes a socket over from the old group, and reports whether there is
// one that listens on just this address and the port of b, for its scheme.
func (o *opener) share(addr netip.Addr, b *Binding) bool {
	for _, s := range o.old.Sockets {
		if s.at(addr, b.Port) && s.TLS == b.TLS {
			o.group.Sockets = append(o.group.Sockets, s)
			return true
		}
	}
	return false
}

// shareUnix is share for the path of a unix socket.
func (o *opener) shareUnix(path string) bool {
	for _, s := range o.old.Sockets {
		if a, ok := s.Addr().(*net.UnixAddr); ok && a.Name == path {
			o.group.Sockets = append(o.group.Sockets, s)
			return true
		}
	}
	return false
}

// at reports whether s listens on just this address and port; the zero Addr
// stands for all addresses.
func (s *Socket) at(addr netip.Addr, port uint16) bool {
	a, ok := s.Addr().(*net.TCPAddr)
	if !ok || a.Port != int(port) {
		return false
	}
	at := a.AddrPort().Addr()
	return at == addr || !addr.IsValid() && at.IsUnspecified()
}

// makeWay closes the sockets of the old group that stand in the way of one on
// this address and port, and reports whether there were any.
func (o *opener) makeWay(addr netip.Addr, port uint16) bool {
	closed := false
	for _, s := range o.old.Sockets {
		a, ok := s.Addr().(*net.TCPAddr)
		if !ok || a.Port != int(port) || slices.Contains(o.group.Sockets, s) {
			continue
		}
		if !addr.IsValid() || addr.IsUnspecified() || a.IP.IsUnspecified() || s.at(addr, port) {
			s.Close()
			closed = true
		}
	}
	return closed
}

// undo closes what was opened for a group that does not come to be.
func (o *opener) undo() {
	for _, s := range o.group.Sockets {
		if !slices.Contains(o.old.Sockets, s) {
			s.Close()
		}
	}
}
