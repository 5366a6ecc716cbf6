package ports

import (
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
)

func TestPreferAndPick(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		all, avoid interval
		first      []int // ports of the preferred part at its borders
		second     []int
	}{
		{"the-usual", interval{10000, 48000}, interval{32768, 60999}, []int{10000, 32767}, []int{32768, 48000}},
		{"in-the-middle", interval{10, 20}, interval{13, 15}, []int{10, 12, 16, 20}, []int{13, 15}},
		{"below", interval{10, 20}, interval{1, 5}, []int{10, 20}, nil},
		{"above", interval{10, 20}, interval{30, 50}, []int{10, 20}, nil},
		{"all", interval{10, 20}, interval{5, 50}, nil, []int{10, 20}},
		{"no-such-range", interval{10, 20}, interval{1, 0}, []int{10, 20}, nil},
		{"one", interval{10, 10}, interval{1, 5}, []int{10, 10}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			parts := prefer(c.all, c.avoid)
			seen := make(map[uint16]int)
			for p, borders := range [2][]int{c.first, c.second} {
				n := 0
				for _, i := range parts[p] {
					n += i.len()
				}
				want := 0
				for i := 0; i < len(borders); i += 2 {
					want += borders[i+1] - borders[i] + 1
				}
				if n != want {
					t.Errorf("part %d holds %d ports, want %d", p, n, want)
				}
				for k := range n {
					seen[pick(parts[p], k)]++
				}
				if n > 0 && (pick(parts[p], 0) != uint16(borders[0]) || pick(parts[p], n-1) != uint16(borders[len(borders)-1])) {
					t.Errorf("part %d is %v, want borders %v", p, parts[p], borders)
				}
			}
			for port := c.all.first; port <= c.all.last; port++ {
				if seen[uint16(port)] != 1 {
					t.Fatalf("port %d is in the parts %d times", port, seen[uint16(port)])
				}
			}
			if len(seen) != c.all.len() {
				t.Errorf("%d ports, want %d", len(seen), c.all.len())
			}
		})
	}
}

func TestChooseAvoidsOutgoingPorts(t *testing.T) {
	t.Parallel()
	avoid := ephemeral()
	lo, hi := uint16(avoid.first-100), uint16(avoid.first+1000)
	rng := rand.New(rand.NewPCG(1, 2))
	for range 50 {
		r, err := Choose(lo, hi, rng)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Release()
		if r.Port < lo || int(r.Port) >= avoid.first {
			t.Errorf("chose %d, want one from %d to %d", r.Port, lo, avoid.first-1)
		}
	}
	// When no other is left they are taken.
	r, err := Choose(uint16(avoid.first), hi, rng)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	if int(r.Port) < avoid.first || r.Port > hi {
		t.Errorf("chose %d, want one from %d to %d", r.Port, avoid.first, hi)
	}
}

// Ports to choose from, outside of the ranges of the other tests.
const firstFree, lastFree = 11000, 19000

// freePort returns a port that nobody uses at the moment.
func freePort(t *testing.T) uint16 {
	t.Helper()
	r, err := Choose(firstFree, lastFree, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Release()
	return r.Port
}

func TestChooseSkipsPortsInUse(t *testing.T) {
	t.Parallel()
	for name, host := range map[string]string{"loopback": "127.0.0.1", "another-loopback": "127.0.0.7", "wildcard": "0.0.0.0", "dual": "", "v6": "::1"} {
		t.Run(name, func(t *testing.T) {
			port := freePort(t)
			l, err := net.Listen("tcp", net.JoinHostPort(host, strconv.Itoa(int(port))))
			if err != nil {
				t.Skip("cannot listen:", err)
			}
			defer l.Close()
			if r, err := Choose(port, port, nil); err == nil {
				r.Release()
				t.Errorf("chose %d, which is listened on", r.Port)
			} else if text := err.Error(); !strings.Contains(text, strconv.Itoa(int(port))) {
				t.Errorf("the text %q does not name the port", text)
			}
			next, err := Choose(port, port+20, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer next.Release()
			if next.Port == port {
				t.Errorf("chose %d, which is listened on", port)
			}
		})
	}
}
