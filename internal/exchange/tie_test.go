package exchange

import (
	"sync"
	"testing"
	"time"
)

func TestTieCountsConnections(t *testing.T) {
	var a, b Quota
	a.Limit(2)
	b.Limit(1)
	var conns [4]Tie
	for i, want := range []bool{true, true, false} {
		if got := conns[i].To(&a, time.Second); got != want {
			t.Errorf("connection %d: %v, want %v", i, got, want)
		}
	}
	if !conns[0].To(&a, 2*time.Second) || conns[0].Idle() != 2*time.Second || a.Open() != 2 {
		t.Errorf("the same site again: %d connections, idle %v", a.Open(), conns[0].Idle())
	}
	// It goes over to another site, which makes room in the first.
	if !conns[0].To(&b, 0) || conns[0].Idle() != 0 || a.Open() != 1 || b.Open() != 1 || !conns[2].To(&a, 0) {
		t.Errorf("%d and %d connections", a.Open(), b.Open())
	}
	if conns[1].To(&b, 0) || a.Open() != 2 {
		t.Errorf("a refused connection was counted: %d and %d", a.Open(), b.Open())
	}
	if !conns[1].To(nil, 0) || a.Open() != 1 {
		t.Errorf("a site without a limit: %d", a.Open())
	}
	a.Limit(0) // which closes nothing
	for i := range conns {
		conns[i].End()
		conns[i].End()
	}
	if a.Open() != 0 || b.Open() != 0 {
		t.Errorf("%d and %d connections are left", a.Open(), b.Open())
	}
}

func TestTieOfManyStreams(t *testing.T) {
	quotas := [3]*Quota{{}, {}, nil}
	quotas[0].Limit(5)
	quotas[1].Limit(5)
	var conns [5]Tie
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			for n := range 200 {
				conns[i%5].To(quotas[(i+n)%3], time.Duration(n))
			}
		})
	}
	all.Wait()
	if n := quotas[0].Open() + quotas[1].Open(); n < 0 || n > 5 {
		t.Errorf("%d connections are counted of 5", n)
	}
	for i := range conns {
		conns[i].End()
	}
	for _, q := range quotas[:2] {
		if q.Open() != 0 {
			t.Errorf("%d connections are left", q.Open())
		}
	}
}
