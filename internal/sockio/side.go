package sockio

import "sync/atomic"

// side is one direction of a socket that a loop watches: whether a system call
// may succeed, and who waits until it may. The kernel tells of changes alone
// (epoll's edges), so what it told is kept here, and taken before the call that
// may find nothing: news that comes during the call is not lost.
type side struct {
	state atomic.Uint32
	wake  chan struct{} // for a goroutine that waits; made by the first that does
}

// The states of a side.
const (
	sideDry    uint32 = iota // nothing is known, and nobody waits
	sideReady                // a call may succeed
	sideTask                 // the task of the connection is suspended
	sideBlock                // a goroutine waits on wake
	sideParked               // nobody waits; news wakes the owner
)

// take reports whether a call may succeed, and uses that up.
func (s *side) take() bool {
	return s.state.Load() == sideReady && s.state.CompareAndSwap(sideReady, sideDry)
}

// again says that the next call may succeed too.
func (s *side) again() { s.state.CompareAndSwap(sideDry, sideReady) }

// rouse makes the side ready and returns the state before, which says who waits.
// A task that waits is given the news as it is resumed, so they count as taken.
// An owner who has parked is left alone unless parked is true.
func (s *side) rouse(parked bool) uint32 {
	for {
		was, becomes := s.state.Load(), sideReady
		switch {
		case was == sideReady:
			return was
		case was == sideTask:
			becomes = sideDry
		case was == sideParked && !parked:
			return sideDry
		}
		if s.state.CompareAndSwap(was, becomes) {
			return was
		}
	}
}

// block waits on the goroutine that calls. It returns when the side is ready.
func (s *side) block() {
	if s.wake == nil {
		s.wake = make(chan struct{}, 1)
	}
	if s.state.CompareAndSwap(sideDry, sideBlock) {
		<-s.wake
	}
}
