package listen

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
)

// ParseInformation reads the bindingInformation of an http or https binding
// in applicationHost.config (spec iis-front 1.5):
//
//	*:80:                      all addresses, every host name
//	10.0.0.5:80:shop.example   one address, one host name
//	[::1]:8080:                an IPv6 address stands in brackets
//	*:80:*.example.com         every name below example.com
//
// An empty address is the same as *. Beyond what IIS takes, port 0 is one that
// the system chooses.
func ParseInformation(protocol, text string) (Binding, error) {
	// An IPv6 address has colons of its own, so the last two count.
	last := strings.LastIndexByte(text, ':')
	before := -1
	if last >= 0 {
		before = strings.LastIndexByte(text[:last], ':')
	}
	if before < 0 {
		return Binding{}, fmt.Errorf("%q is not ADDRESS:PORT:HOST, such as *:80: or 10.0.0.5:80:shop.example", text)
	}
	address, digits, host := text[:before], text[before+1:last], text[last+1:]
	n, err := strconv.ParseUint(digits, 10, 16)
	if err != nil {
		return Binding{}, fmt.Errorf("the port of %q is %q: use a number from 1 to 65535", text, digits)
	}
	b := Binding{Port: uint16(n), TLS: strings.EqualFold(protocol, "https")}
	if address != "" && address != "*" {
		if b.Addr, err = parseAddress(address); err != nil {
			return Binding{}, err
		}
	}
	if host != "" {
		name := strings.TrimSuffix(strings.ToLower(host), ".")
		if why := notHostName(strings.TrimPrefix(name, "*.")); why != "" && !isAddress(name) {
			return Binding{}, fmt.Errorf("%q is not a host name: %s", host, why)
		}
		b.Host = name
	}
	b.URL = b.url()
	return b, nil
}

// parseAddress reads an IPv4 address, or an IPv6 address in brackets. The
// unspecified IPv6 address stands for all addresses and becomes the zero Addr.
func parseAddress(text string) (netip.Addr, error) {
	inner, bracket := strings.CutPrefix(text, "[")
	inner, closed := strings.CutSuffix(inner, "]")
	addr, err := netip.ParseAddr(inner)
	switch {
	case err != nil || bracket != closed || addr.Is4In6():
		return netip.Addr{}, fmt.Errorf("%q is not an IP address", text)
	case addr.Is6() && !bracket:
		return netip.Addr{}, fmt.Errorf("write the IPv6 address in brackets: [%s]", text)
	case addr.Is4() && bracket:
		return netip.Addr{}, fmt.Errorf("%q is not an IPv6 address", text)
	case addr == netip.IPv6Unspecified():
		return netip.Addr{}, nil
	}
	return addr, nil
}

// isAddress reports whether a host name is an IPv4 address, which a client may
// ask for as well as for a name.
func isAddress(host string) bool {
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Is4()
}

// Information returns the bindingInformation that stand for a binding to a
// port: two for the loopback addresses, where the system has both.
func (b *Binding) Information() []string {
	port := ":" + strconv.Itoa(int(b.Port)) + ":"
	switch {
	case b.Loopback:
		all := []string{loopback4.String() + port}
		if addrs, err := net.InterfaceAddrs(); err == nil && slices.ContainsFunc(addrs, func(a net.Addr) bool { return strings.HasPrefix(a.String(), loopback6.String()+"/") }) {
			all = append(all, "["+loopback6.String()+"]"+port)
		}
		return all
	case b.Addr.Is6():
		return []string{"[" + b.Addr.String() + "]" + port}
	case b.Addr.IsValid():
		return []string{b.Addr.String() + port}
	}
	return []string{"*" + port + b.Host}
}
