package listen

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"time"
)

// Handover is how long a socket goes on by which connections may be on their
// way to an address that has a socket of its own from now on: time enough for
// the last step of a handshake to get lost once.
const Handover = 3 * time.Second

// leaving is a socket that goes on until then.
type leaving struct {
	Socket
	until time.Time
}

// Reopen returns a group for other bindings. It shares the sockets of g that
// they need, so that no connection that waits in one of them is lost, and
// opens what is missing; a binding whose port the system chose keeps it. If
// one cannot be opened, g goes on as it is. Otherwise HandOver makes the new
// group the one that listens, or its CloseExcept gives it up.
//
// A binding may ask for more addresses than before, or for fewer. A socket for
// all addresses and one for a single address listen beside each other then,
// where the kernel hands connections to the latter: that of a wider binding
// opens beside the narrow one, which stays, and that of a narrower binding
// beside the wide one, which goes when its last connections have come. Where a
// system lets only one of them be open, the change is refused. g may be nil.
func (g *Group) Reopen(bindings []Binding) (*Group, error) {
	o := opener{listen: listenTCP, owner: portOwner, old: g}
	if g == nil {
		o.old = new(Group)
	}
	o.asked = slices.Clone(o.old.asked)
	return o.open(bindings)
}

// HandOver lets next listen in place of g, which may be nil: it closes the
// sockets that next does not share. Those that connections to addresses of
// next may still come by are left to next, whose Expire closes them.
func (g *Group) HandOver(next *Group, now time.Time) error {
	if g == nil {
		return nil
	}
	fresh, dead, errs := g.begin(next)
	next.settle()
	for _, s := range g.leaving {
		if !next.has(s.Listener) {
			next.leaving = append(next.leaving, s)
		}
	}
	for _, s := range g.Sockets {
		switch {
		case next.has(s.Listener):
		case slices.ContainsFunc(dead, s.opened().covers):
			next.Sockets = append(next.Sockets, s)
		case slices.ContainsFunc(fresh, s.opened().covers):
			next.leaving = append(next.leaving, leaving{s, now.Add(Handover)})
		default:
			errs = append(errs, s.Close())
		}
	}
	return errors.Join(errs...)
}

// begin listens on the sockets of next that are only bound so far. It returns
// those that g has not, and those that cannot listen, which are closed: that
// takes somebody of the same user who has come in between.
func (g *Group) begin(next *Group) (fresh, dead []*opened, errs []error) {
	next.Sockets = slices.DeleteFunc(next.Sockets, func(s Socket) bool {
		o := s.opened()
		if g.has(o) {
			return false
		}
		if o.begin != nil {
			if err := o.begin(); err != nil {
				errs, dead = append(errs, fmt.Errorf("listen on %s: %w", s.URL, err)), append(dead, o)
				o.Close()
				return true
			}
			o.begin = nil
		}
		fresh = append(fresh, o)
		return false
	})
	return fresh, dead, errs
}

// Leaving reports whether there is something for Expire to close.
func (g *Group) Leaving() bool { return len(g.leaving) > 0 }

// Expire closes the sockets that have been left for long enough.
func (g *Group) Expire(now time.Time) error {
	var errs []error
	g.leaving = slices.DeleteFunc(g.leaving, func(s leaving) bool {
		if now.Before(s.until) {
			return false
		}
		errs = append(errs, s.Close())
		return true
	})
	return errors.Join(errs...)
}

// CloseExcept closes the sockets of g that other does not have.
func (g *Group) CloseExcept(other *Group) {
	for _, s := range g.Sockets {
		if !other.has(s.Listener) {
			s.Close()
		}
	}
	g.settle()
}

// has reports whether a listener is one of the group, of those too that are
// leaving.
func (g *Group) has(l net.Listener) bool {
	return slices.ContainsFunc(g.all(), func(s Socket) bool { return s.Listener == l })
}

// all are the sockets of the group and those that are leaving.
func (g *Group) all() []Socket {
	all := slices.Clip(g.Sockets)
	for _, s := range g.leaving {
		all = append(all, s.Socket)
	}
	return all
}

// Opened returns the bindings that the group was opened for, in their order
// and with the ports that they have now.
func (g *Group) Opened(bindings []Binding) []Binding {
	at := make(map[Binding][]int, len(g.asked))
	for i, b := range g.asked {
		at[b] = append(at[b], i)
	}
	all := make([]Binding, len(bindings))
	for i, b := range bindings {
		all[i] = b
		if found := at[b]; len(found) > 0 {
			all[i] = g.Bindings[found[0]]
			if b.Port == 0 && b.Path == "" {
				at[b] = found[1:] // the next of its kind has a port of its own
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
	if at := slices.Index(o.asked, *b); at >= 0 {
		b.Port = o.old.Bindings[at].Port
		o.asked[at] = Binding{}
	}
}

// share takes a socket over from the old group, and reports whether there is
// one that listens on just this address and the port of b. Where it was for
// the other scheme, it is for that of b from the hand-over on: what was not
// accepted by then is taken for what the new binding asks for.
func (o *opener) share(addr netip.Addr, b *Binding) bool {
	for _, s := range o.old.all() {
		if s.opened().at(addr, b.Port) {
			o.add(s.opened(), b)
			return true
		}
	}
	return false
}

// shareUnix is share for the path of a unix socket.
func (o *opener) shareUnix(path string) bool {
	for _, s := range o.old.Sockets {
		if s.opened().path == path {
			o.group.Sockets = append(o.group.Sockets, s)
			return true
		}
	}
	return false
}

// keepCovered keeps the sockets of single addresses which one for all takes the
// place of: whoever comes to such an address comes to its own socket first,
// and closing that would lose who waits there.
func (o *opener) keepCovered() {
	for _, s := range o.old.all() {
		wide := slices.IndexFunc(o.group.Sockets, func(w Socket) bool { return w.opened().covers(s.opened()) })
		if wide >= 0 && !o.group.has(s.Listener) {
			w := o.group.Sockets[wide]
			o.group.Sockets = append(o.group.Sockets, Socket{Listener: s.Listener, URL: w.URL, TLS: w.TLS})
		}
	}
}

// beside binds a socket whose address our own sockets stand in the way of. It
// listens from the hand-over on: until then who comes is for the old ones. Nil
// where there are none, or the system cannot do it.
func (o *opener) beside(addr netip.Addr, port uint16) *opened {
	want := &opened{addr: addr, port: port}
	var ours []*opened
	for _, s := range slices.Concat(o.old.all(), o.group.Sockets) {
		if s := s.opened(); s.covers(want) || want.covers(s) {
			ours = append(ours, s)
		}
	}
	if len(ours) == 0 {
		return nil
	}
	o.group.lent = append(o.group.lent, ours...)
	for _, s := range ours {
		if lend(s.Listener, true) != nil {
			return nil
		}
	}
	l, begin, err := bindBeside(addr, port)
	if err != nil {
		return nil
	}
	s := &opened{Listener: l, addr: addr, port: port, begin: begin}
	o.group.lent = append(o.group.lent, s)
	return s
}

// settle ends what beside has begun: from now on nobody can listen beside our
// sockets.
func (g *Group) settle() {
	for _, s := range g.lent {
		lend(s.Listener, false)
	}
	g.lent = nil
}
