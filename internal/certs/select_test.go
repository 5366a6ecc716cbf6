package certs

import (
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// rank is the rule of find, one binding at a time: how well b fits a name at
// an address, 0 for not at all.
func (b *binding) rank(name string, addr netip.Addr) int {
	r := 0
	suffix, wild := strings.CutPrefix(b.Host, "*")
	switch {
	case b.Addr.IsValid() && b.Addr != addr:
		return 0
	case b.Host == "" || b.AnyName:
		r = 2
	case b.Host == name:
		r = 1 << 10
	case wild && len(name) > len(suffix) && strings.HasSuffix(name, suffix):
		r = 2 + 2*len(b.Host)
	default:
		return 0
	}
	if b.Addr.IsValid() {
		r++
	}
	return r
}

// Whatever the bindings are, the one that is found fits best, and is the first
// of those that fit as well.
func TestSelectionProperty(t *testing.T) {
	t.Parallel()
	names := rapid.StringMatching(`(([ab]|xn--c)\.){0,3}([ab]|test)`)
	addrs := rapid.SampledFrom([]netip.Addr{{}, netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("::1")})
	rapid.Check(t, func(t *rapid.T) {
		all := ports{}
		var list []*binding
		for range rapid.IntRange(0, 12).Draw(t, "bindings") {
			host := names.Draw(t, "host")
			switch rapid.IntRange(0, 3).Draw(t, "kind") {
			case 0:
				host = ""
			case 1:
				host = "*." + host
			}
			b := &binding{Binding: Binding{Port: 443, Host: host, Addr: addrs.Draw(t, "address"), AnyName: rapid.IntRange(0, 5).Draw(t, "any") == 0}}
			list = append(list, b)
			all.add(b)
		}
		for range 20 {
			name := rapid.OneOf(names, rapid.SampledFrom([]string{"", "a..test"})).Draw(t, "name")
			at := addrs.Filter(netip.Addr.IsValid).Draw(t, "at")
			var want *binding
			most := 0
			for _, b := range list {
				if r := b.rank(name, at); r > most {
					want, most = b, r
				}
			}
			if got := all.find(netip.AddrPortFrom(at, 443), name); got != want {
				t.Fatalf("%q at %v leads to %+v, want %+v", name, at, got, want)
			}
		}
	})
}

// thousand is a table with as many named bindings.
func thousand(tb testing.TB) *Table {
	t := NewTable(slog.New(slog.DiscardHandler))
	var all []Binding
	for i := range 1000 {
		all = append(all, Binding{URL: "https://x", Port: 443, Host: fmt.Sprintf("host-%d.example.com", i)})
	}
	all = append(all, Binding{URL: "https://x", Port: 443, Host: "*.example.net"})
	t.Apply(all)
	return t
}

var local = &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443}

// A name of 64 KiB costs no more than any other.
func TestLongName(t *testing.T) {
	t.Parallel()
	table := thousand(t)
	long := strings.Repeat("a.", 32<<10) + "example.net"
	if b := table.match(local, long[len(long)-253:]); b == nil || b.Host != "*.example.net" {
		t.Errorf("253 bytes lead to %v", b)
	}
	if b := table.match(local, long[len(long)-255:]); b != nil {
		t.Errorf("255 bytes lead to %v", b)
	}
}

func TestAllocSelection(t *testing.T) {
	table := thousand(t)
	for _, name := range []string{"host-999.example.com", "any.example.net", "nobody.test"} {
		if n := testing.AllocsPerRun(100, func() { table.match(local, name) }); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func BenchmarkSelection(b *testing.B) {
	table := thousand(b)
	for _, name := range []string{"host-999.example.com", "any.example.net", "nobody.test"} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				table.match(local, name)
			}
		})
	}
}
