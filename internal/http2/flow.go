package http2

import (
	"golang.org/x/net/http2"
)

// data takes body bytes. All of a frame's payload counts for flow control,
// whatever becomes of it (RFC 9113 section 6.9).
func (c *Conn) data(f *http2.DataFrame, now int64) (Event, error) {
	size, body := int32(f.Length), f.Data()
	if size > c.receive {
		return Event{}, fail(FlowControlError, "DATA beyond the window of the connection")
	}
	c.receive -= size
	if c.client {
		c.grant(size) // or a stream that waits for its client would hold up others
	}
	s := c.streams[f.StreamID]
	if s == nil || s.theirs {
		c.giveBack(size)
		return c.stray(f, s, now)
	}
	if c.client && !s.answered {
		return c.breakOff(s, ProtocolError, now, "DATA before the head of a response")
	}
	if size > s.receive {
		c.giveBack(size)
		return c.breakOff(s, FlowControlError, now, "DATA beyond the window of the stream")
	}
	s.receive -= size
	s.got += int64(len(body))
	end := f.StreamEnded()
	if s.declared >= 0 && (s.got > s.declared || end && s.got < s.declared) {
		c.giveBack(size)
		return c.breakOff(s, ProtocolError, now, "Content-Length and DATA differ")
	}
	if padding := int(size) - len(body); padding > 0 {
		c.Taken(s, padding)
	}
	if end {
		s.theirs = true
		c.close(s)
	}
	ev := Event{Kind: Body, Stream: s, Data: body}
	if !end && len(body) <= tinyData {
		return ev, c.charge(priceFrame, now)
	}
	c.calm.earn(calmGot)
	return ev, nil
}

// stray is DATA for a stream that takes none.
func (c *Conn) stray(f *http2.DataFrame, s *Stream, now int64) (Event, error) {
	if c.idle(f.StreamID) {
		return Event{}, fail(ProtocolError, "DATA for stream %d, which is idle", f.StreamID)
	}
	if s != nil {
		return c.breakOff(s, StreamClosed, now, "DATA behind the end of the message")
	}
	used, byUs := c.past.find(f.StreamID)
	switch {
	case byUs && (c.client || len(f.Data()) > tinyData): // on its way when we reset the stream
		return Event{}, nil
	case byUs: // so is that, but it may go on for ever
		return Event{}, c.charge(priceFrame, now)
	case c.client: // that may be longer ago than we remember
		return Event{}, c.charge(priceFrame, now)
	case used:
		c.fr.WriteRSTStream(f.StreamID, http2.ErrCodeStreamClosed)
		return Event{}, c.charge(priceReset, now)
	}
	return Event{}, fail(StreamClosed, "DATA for stream %d, which is closed", f.StreamID)
}

// Taken says that n bytes of a stream's body have left memory: the peer may
// send as many again. It is told when that is worth a frame.
func (c *Conn) Taken(s *Stream, n int) {
	c.giveBack(int32(n))
	if s.theirs || s.reset {
		return
	}
	if s.returned += int32(n); s.returned >= c.lim.StreamWindow/2 {
		c.fr.WriteWindowUpdate(s.id, uint32(s.returned))
		s.receive += s.returned
		s.returned = 0
	}
}

// giveBack is Taken for the connection alone. A client has done that when the
// bytes came: what it holds is bounded by the windows of its streams.
func (c *Conn) giveBack(n int32) {
	if !c.client {
		c.grant(n)
	}
}

// grant lets the peer send n bytes more on the connection. It is told when
// that is worth a frame.
func (c *Conn) grant(n int32) {
	if c.returned += n; c.returned >= c.lim.ConnWindow/2 {
		c.fr.WriteWindowUpdate(0, uint32(c.returned))
		c.receive += c.returned
		c.returned = 0
	}
}

// window takes a WINDOW_UPDATE.
func (c *Conn) window(f *http2.WindowUpdateFrame, now int64) (Event, error) {
	if f.StreamID == 0 {
		if int64(c.send)+int64(f.Increment) > maxWindow {
			return Event{}, fail(FlowControlError, "the window of the connection is too large")
		}
		c.send += int32(f.Increment)
		return Event{Kind: Room}, c.charge(priceFrame, now)
	}
	if c.idle(f.StreamID) {
		return Event{}, fail(ProtocolError, "WINDOW_UPDATE for stream %d, which is idle", f.StreamID)
	}
	s := c.streams[f.StreamID]
	if s == nil {
		return Event{}, c.charge(priceFrame, now)
	}
	if int64(s.send)+int64(f.Increment) > maxWindow {
		return c.breakOff(s, FlowControlError, now, "the window of the stream is too large")
	}
	s.send += int32(f.Increment)
	return Event{Kind: Room, Stream: s}, c.charge(priceFrame, now)
}

// setFirst changes what streams may send, those that are open included.
func (c *Conn) setFirst(n int32) error {
	delta := int64(n) - int64(c.first)
	for _, s := range c.streams {
		if int64(s.send)+delta > maxWindow {
			return fail(FlowControlError, "the window of stream %d is too large", s.id)
		}
		s.send = int32(int64(s.send) + delta)
	}
	c.first = n
	return nil
}

// Sendable is how many body bytes may be sent in the next frame of a stream,
// 0 if it has to wait, and which window it waits for.
func (c *Conn) Sendable(s *Stream) (n int, ofStream bool) {
	return max(int(min(c.send, s.send, frameSize)), 0), s.send <= 0
}

// Data adds a DATA frame with p, which Sendable must allow for, or an empty
// one, which is always allowed. end ends the stream. It is written here and
// not by the Framer, which would copy it once more.
func (c *Conn) Data(s *Stream, p []byte, end bool) {
	if s.Closed() {
		return
	}
	flags := byte(0)
	if end {
		flags = byte(http2.FlagDataEndStream)
	}
	n := len(p)
	c.out = append(c.out, byte(n>>16), byte(n>>8), byte(n), byte(http2.FrameData), flags,
		byte(s.id>>24), byte(s.id>>16), byte(s.id>>8), byte(s.id))
	c.out = append(c.out, p...)
	c.send -= int32(n)
	s.send -= int32(n)
	c.calm.earn(calmSent)
	if end {
		s.ours = true
		c.close(s)
	}
}
