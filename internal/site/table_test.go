package site

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// TestPrecedenceOfBindings holds the order of spec iis-front 1.8: host name
// before address, exact before wildcard, the longest wildcard first.
func TestPrecedenceOfBindings(t *testing.T) {
	addr := netip.MustParseAddr
	var all []Binding
	bind := func(ip, host string) {
		b := Binding{Port: 80, Host: host, Site: NewTree(named(ip+"|"+host), newDisk())}
		if ip != "*" {
			b.Addr = addr(ip)
		}
		all = append(all, b)
	}
	bind("*", "")
	bind("10.0.0.5", "")
	bind("fe80::1", "")
	bind("*", "a.example")
	bind("10.0.0.5", "b.example")
	bind("*", "b.example")
	bind("10.0.0.6", "only.example")
	bind("*", "*.example")
	bind("*", "*.deep.example")
	bind("10.0.0.5", "*.example")
	bind("*", "A.Example") // a second claim has nothing
	table := NewTable(all, failed)
	for _, c := range []struct{ local, host, want string }{
		{"10.0.0.5:80", "a.example", "*|a.example"}, // host beats address
		{"10.0.0.5:80", "B.example:80", "10.0.0.5|b.example"},
		{"10.0.0.7:80", "b.example", "*|b.example"},
		{"10.0.0.5:80", "other", "10.0.0.5|"},
		{"10.0.0.7:80", "other", "*|"},
		{"10.0.0.7:80", "", "*|"},
		{"10.0.0.6:80", "only.example", "10.0.0.6|only.example"},
		{"10.0.0.7:80", "only.example", "*|*.example"}, // the name is claimed on another address only
		{"10.0.0.7:80", "x.deep.example", "*|*.deep.example"},
		{"10.0.0.7:80", "x.y.z.deep.example", "*|*.deep.example"},
		{"10.0.0.5:80", "x.deep.example", "10.0.0.5|*.example"}, // an address with a wildcard before all with one
		{"10.0.0.7:80", "deep.example", "*|*.example"},
		{"10.0.0.7:80", "example", "*|"},
		{"10.0.0.7:80", ".example", "*|"},
		{"10.0.0.7:80", "a.example.", "*|a.example"},
		{"10.0.0.7:80", "notexample", "*|"},
		{"[fe80::1%eth0]:80", "", "fe80::1|"},
		{"[fe80::2]:80", "", "*|"},
		{"10.0.0.5:81", "a.example", ""},
	} {
		b := table.Find(netip.MustParseAddrPort(c.local), []byte(c.host))
		got := ""
		if b != nil {
			node, _ := b.Site.Resolve(target("/"))
			got = node.Chain.Serve(nil).Error()
		}
		if got != c.want {
			t.Errorf("%s to %s is for %q, want %q", c.host, c.local, got, c.want)
		}
	}
}

// many is a table of 10,000 bindings on one port: names, wildcards, addresses.
func many() *Table {
	var all []Binding
	tree := NewTree(&Node{Chain: exchange.HandlerFunc(func(*exchange.Exchange) error { return nil })}, newDisk())
	for i := range 8_000 {
		all = append(all, Binding{Port: 80, Host: fmt.Sprintf("shop-%d.customers.example.com", i), Site: tree})
	}
	for i := range 1_000 {
		all = append(all, Binding{Port: 80, Host: fmt.Sprintf("*.tenant-%d.example.net", i), Site: tree})
	}
	for i := range 1_000 {
		ip := netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)})
		all = append(all, Binding{Port: 80, Addr: ip, Host: fmt.Sprintf("shop-%d.customers.example.com", i), Site: tree})
	}
	return NewTable(append(all, Binding{Port: 80, Site: tree}), failed)
}

// requests are what the speed of the table is measured with: an exact name, a
// name below a wildcard, and one that nobody claims.
var requests = map[string]string{
	"exact":    "shop-4711.customers.example.com",
	"wildcard": "www.tenant-815.example.net",
	"rest":     "a.name.that.nobody.has.example.org:8080",
}

func ask(host string) *exchange.Exchange {
	x := &exchange.Exchange{Conn: &exchange.Conn{Local: netip.MustParseAddrPort("10.0.0.9:80"), Site: new(exchange.Tie)}}
	x.Request.Host = []byte(host)
	x.Request.Target.Path = []byte("/api/orders/17")
	return x
}

func TestRoutingAllocatesNothing(t *testing.T) {
	table := many()
	for name, host := range requests {
		x := ask(host)
		if n := testing.AllocsPerRun(100, func() {
			if err := table.Serve(x); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations, want none", name, n)
		}
	}
}

func BenchmarkTable(b *testing.B) {
	table := many()
	for name, host := range requests {
		b.Run(name, func(b *testing.B) {
			x := ask(host)
			b.ReportAllocs()
			for b.Loop() {
				if err := table.Serve(x); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func TestASiteHasItsConnections(t *testing.T) {
	tree := NewTree(&Node{Chain: exchange.HandlerFunc(func(*exchange.Exchange) error { return nil })}, newDisk())
	var quota exchange.Quota
	quota.Limit(1)
	table := NewTable([]Binding{{Port: 80, Host: "few", Site: tree, Quota: &quota, Idle: time.Minute}, {Port: 80, Site: tree}}, failed)
	var ties [2]exchange.Tie
	ask := func(tie int, host string) error {
		x := ask(host)
		x.Conn.Site = &ties[tie]
		return table.Serve(x)
	}
	if err := ask(0, "few"); err != nil || ties[0].Idle() != time.Minute {
		t.Errorf("the first connection: %v, idle for %v", err, ties[0].Idle())
	}
	if err := ask(1, "few"); err != errTooMany {
		t.Errorf("the second connection: %v", err)
	}
	if err := ask(1, "other"); err != nil {
		t.Errorf("another site: %v", err)
	}
	if err := ask(0, "other"); err != nil || ties[0].Idle() != 0 {
		t.Errorf("the first goes over: %v, idle for %v", err, ties[0].Idle())
	}
	if err := ask(1, "few"); err != nil {
		t.Errorf("there is room again: %v", err)
	}
}
