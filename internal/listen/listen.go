// Package listen opens the sockets that clients come in by: it turns
// listening URLs into bindings and a set of bindings into listeners, all of
// them or none.
//
// It is the first stage of the road; accepting is the business of serve. plan,
// daemon and cli import it.
package listen

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"

	"github.com/perchserver/perch/internal/sockio"
)

// Group is a set of open sockets.
type Group struct {
	// Bindings are those that Open was given, without repetitions and with
	// the ports that the system chose.
	Bindings []Binding

	// Sockets are what to accept from. Bindings for several host names share
	// one, and localhost has up to two.
	Sockets []Socket

	asked   []Binding // what each of Bindings was before it had a port
	leaving []leaving
	lent    []*opened // whose addresses another socket may have, until HandOver
}

// Socket is a listener as a group uses it. Groups that share it have the same
// Listener. Closing that twice is harmless.
type Socket struct {
	net.Listener
	URL string // of the first binding that is served by it
	TLS bool   // its connections begin with a handshake
}

// opened is the Listener of a Socket.
type opened struct {
	net.Listener
	addr   netip.Addr // zero: all
	port   uint16
	path   string       // of a unix socket
	begin  func() error // it is bound and does not listen before; nil: it listens
	remove func()       // takes the file of a unix socket away; nil for TCP
	once   sync.Once
	err    error
}

// Close stops listening and removes the file of a unix socket.
func (o *opened) Close() error {
	o.once.Do(func() {
		if o.remove != nil {
			o.remove()
		}
		o.err = o.Listener.Close()
	})
	return o.err
}

// at reports whether o listens on just this address and port.
func (o *opened) at(addr netip.Addr, port uint16) bool {
	return o.path == "" && o.addr == addr && o.port == port
}

// covers reports whether connections to the address of s would come to o if s
// were not there.
func (o *opened) covers(s *opened) bool {
	if o.path != "" || s.path != "" || o.port != s.port || o.addr == s.addr {
		return false
	}
	return !o.addr.IsValid() || o.addr == netip.IPv4Unspecified() && s.addr.Is4()
}

func (s *Socket) opened() *opened { return s.Listener.(*opened) }

// URLs returns what to print: one URL for each binding.
func (g *Group) URLs() []string {
	urls := make([]string, len(g.Bindings))
	for i := range g.Bindings {
		urls[i] = g.Bindings[i].URL
	}
	return urls
}

// Close closes all sockets.
func (g *Group) Close() error {
	var errs []error
	for _, s := range g.Sockets {
		errs = append(errs, s.Close())
	}
	for _, s := range g.leaving {
		errs = append(errs, s.Close())
	}
	return errors.Join(errs...)
}

// Open listens on all bindings. If one of them fails, none is left open, and
// the error joins an *Error for each that failed.
//
// Bindings of one port share sockets, as those of HTTP.sys do: where one of
// them listens on all addresses, so do the others, and it is for the router
// to tell them apart by address and host name. Bindings with port 0 share
// nothing, and http shares no socket with https.
func Open(bindings []Binding) (*Group, error) {
	return (*Group)(nil).Reopen(bindings)
}

// listenTCP listens as net.Listen does: address reuse after a restart, a
// queue as long as the system allows, keep-alive on connections. Multipath TCP
// is left out, since the engine works on the descriptors, and what splicing
// does with such connections is not known.
func listenTCP(network, address string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	lc.Control = sockio.PrepareListener
	l, err := lc.Listen(context.Background(), network, address)
	if err != nil {
		return nil, err
	}
	return sockio.TakeListener(l)
}

// opener opens a group. Its functions reach the system.
type opener struct {
	listen func(network, address string) (net.Listener, error)

	// owner names the process that listens on a TCP port, "" if unknown.
	owner func(port uint16) string

	asked []Binding // of the old group, those that were not found again
	wide  map[uint16]wide
	old   *Group // whose sockets are taken over
	group Group
}

func (o *opener) open(bindings []Binding) (*Group, error) {
	var errs []error
	o.widen(bindings)
	known := make(map[Binding]bool, len(bindings))
	for _, b := range bindings {
		if b.Port != 0 || b.Path != "" {
			if known[b] {
				continue
			}
			known[b] = true
		}
		asked := b
		o.recall(&b)
		if err := o.bind(&b); err != nil {
			errs = append(errs, err)
			continue
		}
		b.URL = b.url()
		o.group.Bindings = append(o.group.Bindings, b)
		o.group.asked = append(o.group.asked, asked)
	}
	if len(errs) > 0 {
		o.group.CloseExcept(o.old)
		return nil, errors.Join(errs...)
	}
	o.keepCovered()
	return &o.group, nil
}

// bind opens what b needs and is not open yet, and sets its port.
func (o *opener) bind(b *Binding) error {
	switch {
	case b.Path != "" && o.shareUnix(b.Path):
		return nil
	case b.Path != "":
		s, err := listenUnix(b.Path)
		if err != nil {
			return err
		}
		o.group.Sockets = append(o.group.Sockets, Socket{Listener: s, URL: b.URL})
		return nil
	case b.Loopback && b.Port == 0:
		return o.bindFreeLoopback(b)
	case b.Loopback:
		return o.bindLoopback(b)
	case b.Addr.IsValid():
		return o.bindAddr(b, b.Addr)
	}
	return o.bindAddr(b, netip.Addr{})
}

// bindAddr listens on one address, or for the zero Addr on all, unless a
// socket of the group covers it.
func (o *opener) bindAddr(b *Binding, addr netip.Addr) error {
	addr = o.widest(addr, b.Port)
	if b.Port != 0 {
		if s := o.find(addr, b.Port); s != nil && s.TLS != b.TLS {
			return &Error{URL: b.URL, Problem: fmt.Sprintf("port %d is that of %s", b.Port, s.URL),
				Hint: "http and https need a port each", Err: errTwoSchemes}
		} else if s != nil || o.share(addr, b) {
			return nil
		}
	}
	l, err := o.listen(network(addr), address(addr, b.Port))
	if isTaken(err) {
		if s := o.beside(addr, b.Port); s != nil {
			o.add(s, b)
			return nil
		}
	}
	if err != nil {
		return o.explain(b, addr, err)
	}
	o.add(&opened{Listener: l, addr: addr, port: port(l)}, b)
	return nil
}

// Never written.
var errTwoSchemes = errors.New("http and https on one port")

// bindLoopback listens on both loopback addresses, as far as the system has
// them. A name server may give a client either.
func (o *opener) bindLoopback(b *Binding) error {
	err4 := o.bindAddr(b, loopback4)
	err6 := o.bindAddr(b, loopback6)
	switch {
	case err4 != nil && !isAbsent(err4):
		return err4
	case err6 != nil && !isAbsent(err6):
		return err6
	case err4 != nil && err6 != nil:
		return err4
	}
	return nil
}

// bindFreeLoopback finds a port that is free on both loopback addresses.
func (o *opener) bindFreeLoopback(b *Binding) error {
	const attempts = 16 // a port is taken on one address alone once in a while
	var err error
	for range attempts {
		var l4, l6 net.Listener
		l4, err = o.listen(network(loopback4), address(loopback4, 0))
		if err != nil && !isAbsent(err) {
			break
		}
		free := uint16(0)
		if l4 != nil {
			free = port(l4)
		}
		l6, err = o.listen(network(loopback6), address(loopback6, free))
		if err != nil && (l4 == nil || !isAbsent(err)) {
			if l4 != nil {
				l4.Close()
			}
			if isTaken(err) {
				continue
			}
			break
		}
		if l4 != nil {
			o.add(&opened{Listener: l4, addr: loopback4, port: port(l4)}, b)
		}
		if l6 != nil {
			o.add(&opened{Listener: l6, addr: loopback6, port: port(l6)}, b)
		}
		return nil
	}
	return o.explain(b, loopback4, err)
}

// add serves b by a socket, and gives it the port of that.
func (o *opener) add(s *opened, b *Binding) {
	b.Port = s.port
	o.group.Sockets = append(o.group.Sockets, Socket{Listener: s, URL: b.url(), TLS: b.TLS})
}

// find returns the socket of the group that listens on just this address and
// port, nil for none.
func (o *opener) find(addr netip.Addr, port uint16) *Socket {
	for i := range o.group.Sockets {
		if s := &o.group.Sockets[i]; s.opened().at(addr, port) {
			return s
		}
	}
	return nil
}

// Never written.
var (
	loopback4 = netip.AddrFrom4([4]byte{127, 0, 0, 1})
	loopback6 = netip.IPv6Loopback()
)

// wide tells that a port is asked for on all addresses, or on all of IPv4.
type wide struct{ all, all4 bool }

// widen notes which bindings cover others of their port.
func (o *opener) widen(bindings []Binding) {
	o.wide = make(map[uint16]wide)
	for _, b := range bindings {
		if b.Port == 0 || b.Path != "" || b.Loopback {
			continue
		}
		w := o.wide[b.Port]
		w.all = w.all || !b.Addr.IsValid()
		w.all4 = w.all4 || b.Addr == netip.IPv4Unspecified()
		o.wide[b.Port] = w
	}
}

// widest returns the address of the socket that serves addr and port: that of
// the binding which covers it, else addr itself.
func (o *opener) widest(addr netip.Addr, port uint16) netip.Addr {
	switch w := o.wide[port]; {
	case w.all:
		return netip.Addr{}
	case w.all4 && addr.Is4():
		return netip.IPv4Unspecified()
	}
	return addr
}

// network tells the families apart, so that 0.0.0.0 is not taken for all
// addresses of both.
func network(addr netip.Addr) string {
	switch {
	case addr.Is4():
		return "tcp4"
	case addr.Is6():
		return "tcp6"
	}
	return "tcp"
}

func address(addr netip.Addr, port uint16) string {
	host := ""
	if addr.IsValid() {
		host = addr.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

func port(l net.Listener) uint16 { return uint16(l.Addr().(*net.TCPAddr).Port) }
