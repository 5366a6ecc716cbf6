package http2

import (
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
)

// NewClient returns the state of the client's end of a connection to a server
// that is known to speak HTTP/2 (RFC 9113 section 3.3), with the preface and
// the first frames ready to be sent. Streams are opened when it has Settled.
// now is in nanoseconds, of any clock that goes forward.
func NewClient(lim Limits, now int64) *Conn {
	c := newConn(lim, now)
	c.client, c.enc.client = true, true
	c.out = append(c.out, Preface...)
	c.fr.WriteSettings(
		http2.Setting{ID: http2.SettingEnablePush, Val: 0},
		http2.Setting{ID: http2.SettingInitialWindowSize, Val: uint32(lim.StreamWindow)},
		http2.Setting{ID: http2.SettingMaxHeaderListSize, Val: lim.listSize()},
	)
	c.fr.WriteWindowUpdate(0, uint32(lim.ConnWindow-initialWindow))
	return c
}

// Openable is how many streams may be opened now.
func (c *Conn) Openable() int {
	if c.leaving || c.last >= maxWindow-2 {
		return 0
	}
	return max(int(min(c.most, maxWindow))-c.open, 0)
}

// Leaving reports whether no stream can be opened any more.
func (c *Conn) Leaving() bool { return c.leaving || c.last >= maxWindow-2 }

// Connects reports whether the server takes an extended CONNECT (RFC 8441).
func (c *Conn) Connects() bool { return c.connect }

// RequestHead is what a request begins with. The scheme is "http": that of
// the connection, which is in clear text.
type RequestHead struct {
	Method    string
	Authority []byte // empty for none
	Path      []byte
	Query     []byte
	HasQuery  bool
	Protocol  []byte // of an extended CONNECT, nil for any other request
	Fields    []exchange.Field
	Length    int64 // of the Content-Length field, -1 for none
	Trailers  bool  // those of the response may be sent: TE
	End       bool  // no body follows
}

// Open opens s, which is new or was released, with a request. There must be
// one that is Openable.
func (c *Conn) Open(s *Stream, owner any, h *RequestHead) {
	c.last += 1 + c.last%2
	*s = Stream{
		id: c.last, owner: owner, held: true, bodiless: h.Method == "HEAD",
		send: c.first, receive: c.lim.StreamWindow, declared: -1,
	}
	c.streams[s.id] = s
	c.open++
	c.held++
	c.enc.request(h)
	c.headersFrames(s, h.End)
}

// request makes the block of a request head (RFC 9113 section 8.3.1).
func (e *encoder) request(h *RequestHead) {
	e.begin()
	method := h.Method
	if h.Protocol != nil {
		method = "CONNECT"
	}
	e.write(hpack.HeaderField{Name: ":method", Value: method})
	e.write(hpack.HeaderField{Name: ":scheme", Value: "http"})
	e.lower = append(e.lower[:0], h.Path...)
	if h.HasQuery {
		e.lower = append(append(e.lower, '?'), h.Query...)
	}
	e.write(hpack.HeaderField{Name: ":path", Value: e.text(e.lower), Sensitive: h.HasQuery})
	if len(h.Authority) > 0 {
		e.write(hpack.HeaderField{Name: ":authority", Value: e.text(h.Authority)})
	}
	if h.Protocol != nil {
		e.write(hpack.HeaderField{Name: ":protocol", Value: e.text(h.Protocol)})
	}
	e.fields(h.Fields, false)
	if h.Trailers {
		e.write(hpack.HeaderField{Name: "te", Value: "trailers"})
	}
	if h.Length >= 0 {
		e.length(h.Length)
	}
}

// length adds a Content-Length field.
func (e *encoder) length(n int64) {
	var digits [20]byte
	e.field(&exchange.Field{ID: exchange.ContentLength, Value: strconv.AppendInt(digits[:0], n, 10)})
}

// Dropped reports whether the server, having said that it goes away, will not
// answer a stream that it has not looked at: it may be sent again elsewhere.
func (c *Conn) Dropped(s *Stream) bool { return s.id > c.final }

// away takes the server's GOAWAY (RFC 9113 section 6.8).
func (c *Conn) away(f *http2.GoAwayFrame, now int64) (Event, error) {
	c.leaving = true
	c.final = min(c.final, f.LastStreamID)
	return Event{Kind: Away, Code: Code(f.ErrCode)}, c.charge(priceFrame, now)
}

// allowed takes a setting that says what a server allows for.
func (c *Conn) allowed(s http2.Setting) *Error {
	if !c.client {
		return nil
	}
	switch s.ID {
	case http2.SettingMaxConcurrentStreams:
		c.most = s.Val
	case http2.SettingEnableConnectProtocol:
		c.connect = s.Val == 1
	case http2.SettingEnablePush:
		if s.Val != 0 {
			return fail(ProtocolError, "SETTINGS_ENABLE_PUSH from a server")
		}
	}
	return nil
}

// answer decides what the HEADERS of a stream that we opened are (RFC 9113
// section 8.1).
func (c *Conn) answer(id uint32, now int64) (use, error) {
	s := c.streams[id]
	switch {
	case s == nil && c.idle(id):
		return 0, fail(ProtocolError, "HEADERS for stream %d, which is idle", id)
	case s == nil: // on its way when we reset the stream
		if _, byUs := c.past.find(id); byUs {
			return useless, nil
		}
		return useless, c.charge(priceBlock, now)
	case s.theirs:
		_, err := c.breakOff(s, StreamClosed, now, "HEADERS behind the end of the response")
		return useless, err
	case s.answered:
		return ending, nil
	}
	return answering, nil
}

// answered checks a response's head as a whole (RFC 9113 section 8.3.2).
func (c *Conn) answered(now int64) (Event, error) {
	b := &c.block
	s := c.streams[b.id]
	if s == nil {
		return Event{}, nil
	}
	status := b.statusCode()
	interim := status < 200
	switch {
	case b.bad != "":
	case !b.status.is:
		b.bad = "no :status"
	case status < 100 || status == 101:
		b.bad = "a :status that is not one of HTTP/2"
	case b.fault != nil:
		b.bad = b.fault.Error()
	case interim && b.end:
		b.bad = "an interim response that ends the stream"
	}
	if !interim {
		s.answered = true
		s.bodiless = s.bodiless || !http1.BodyAllowed(status)
		if s.declared = b.length; s.bodiless {
			s.declared = 0
		}
		if b.end && s.declared > 0 && b.bad == "" {
			b.bad = "Content-Length and DATA differ"
		}
	}
	if b.bad != "" {
		return c.breakOff(s, ProtocolError, now, b.bad)
	}
	if b.end {
		s.theirs = true
		c.close(s)
	}
	return Event{Kind: Response, Stream: s}, nil
}

// statusCode returns the status, 0 if it is not three digits.
func (b *block) statusCode() (status int) {
	if len(b.status.text) != 3 {
		return 0
	}
	for _, d := range []byte(b.status.text) {
		if d < '0' || d > '9' {
			return 0
		}
		status = status*10 + int(d-'0')
	}
	return status
}

// Response takes the head that Take has told of into r. What it stores there
// points into the memory that is returned; scratch is kept in exchange for it.
func (c *Conn) Response(r *http1.ResponseHead, scratch []byte) []byte {
	b := &c.block
	*r = http1.ResponseHead{Proto: exchange.HTTP2, Status: b.statusCode(), Header: r.Header}
	r.Length = b.length
	r.Header.Fields = append(r.Header.Fields[:0], b.fields...)
	text := b.text
	b.text = scratch[:0]
	return text
}
