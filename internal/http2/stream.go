package http2

// Stream is one stream from the HEADERS of a request until both sides have
// ended it or one has reset it (RFC 9113 section 5.1). A driver embeds it in what
// it keeps for a request. All of it belongs to the Conn.
type Stream struct {
	id    uint32
	owner any

	theirs bool // the peer has ended its side
	ours   bool // we have ended ours
	reset  bool // either side has broken it off
	held   bool // a driver works for it

	answered bool // its final response head has come
	bodiless bool // its response has no body, whatever its head says

	send     int32 // what may still be sent; settings can make it negative
	receive  int32 // what the peer may still send
	returned int32 // taken by the driver, and not yet given back to the peer

	declared int64 // Content-Length, -1 for none
	got      int64 // body bytes that came
}

// ID is the number of the stream.
func (s *Stream) ID() uint32 { return s.id }

// Owner is what was given to Conn.Accept or Conn.Open.
func (s *Stream) Owner() any { return s.owner }

// Closed reports whether nothing more can be sent.
func (s *Stream) Closed() bool { return s.reset || s.ours }

// Reset reports whether the stream was broken off by either side.
func (s *Stream) Reset() bool { return s.reset }

// Ended reports whether the peer has ended its side.
func (s *Stream) Ended() bool { return s.theirs }

// past remembers the streams that closed last: frames for those that we reset
// are on their way and mean no harm; a second use of the others is an error.
type past struct {
	entries []uint32 // a stream number, and in the lowest bit whether we reset it
	next    int
}

// leastPast is how many are remembered at least: as many as may be open at
// once, if that is more.
const leastPast = 128

func (p *past) add(id uint32, byUs bool) {
	e := id << 1
	if byUs {
		e |= 1
	}
	p.entries[p.next] = e
	p.next = (p.next + 1) % len(p.entries)
}

// find reports whether a stream was in use, and whether it was we who reset
// it.
func (p *past) find(id uint32) (used, byUs bool) {
	for _, e := range p.entries {
		if e>>1 == id {
			return true, e&1 != 0
		}
	}
	return false, false
}
