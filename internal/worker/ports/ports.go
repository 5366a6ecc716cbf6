// Package ports is the book of the machine's TCP ports: it chooses a free one
// for a worker to listen on, so that two hosts on one machine never choose the
// same, and tells from the kernel's tables who listens where, without sending
// a byte to anyone.
//
// It stands below the pool of workers, in the steps "choose port" and "wait
// for the listening port". Only internal/worker may import it.
package ports

import (
	"errors"
	"fmt"
	"math/rand/v2"
)

// Reservation is a port that no other host chooses until Release.
type Reservation struct {
	Port uint16
	hold hold
}

// Release gives the port back. It may be called more than once, and on nil,
// but not concurrently.
func (r *Reservation) Release() {
	if r != nil {
		r.hold.release()
		r.hold = hold{}
	}
}

// interval is a range of ports, both ends included; empty when first > last.
type interval struct{ first, last int }

func (i interval) len() int { return max(0, i.last-i.first+1) }

// Choose reserves a random port from lo to hi, both included, on which nobody
// listens and which can be bound on every local address. Ports that the kernel
// gives to outgoing connections are only chosen when no other is free. The
// random numbers are rng's, or the library's when rng is nil.
//
// On Linux the reservation is a lock that all hosts in the same network
// namespace see. Elsewhere two hosts may choose the same port in the short
// time until one of their workers listens.
func Choose(lo, hi uint16, rng *rand.Rand) (*Reservation, error) {
	intn := rand.IntN
	if rng != nil {
		intn = rng.IntN
	}
	taken := make(map[uint16]bool)
	if list, err := Listeners(nil); err == nil {
		for _, l := range list {
			taken[l.Addr.Port()] = true
		}
	} else if !errors.Is(err, errors.ErrUnsupported) {
		return nil, fmt.Errorf("choose a port: %w", err)
	}
	all := interval{int(lo), int(hi)}
	for _, part := range prefer(all, ephemeral()) {
		n := 0
		for _, i := range part {
			n += i.len()
		}
		if n == 0 {
			continue
		}
		start := intn(n)
		for k := range n {
			port := pick(part, (start+k)%n)
			if taken[port] {
				continue
			}
			if h, ok := reserve(port); ok {
				return &Reservation{Port: port, hold: h}, nil
			}
		}
	}
	return nil, fmt.Errorf("choose a port: all from %d to %d are in use", lo, hi)
}

// prefer splits all into what lies outside of avoid and what lies inside.
func prefer(all, avoid interval) [2][]interval {
	if avoid.len() == 0 {
		return [2][]interval{{all}, nil}
	}
	below := interval{all.first, min(all.last, avoid.first-1)}
	above := interval{max(all.first, avoid.last+1), all.last}
	inside := interval{max(all.first, avoid.first), min(all.last, avoid.last)}
	return [2][]interval{{below, above}, {inside}}
}

// pick returns the n-th port of several intervals.
func pick(list []interval, n int) uint16 {
	for _, i := range list {
		if n < i.len() {
			return uint16(i.first + n)
		}
		n -= i.len()
	}
	return 0 // not reached: n is less than the sum
}
