package http2

import (
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
)

// use is what a header block is for.
type use uint8

const (
	unused    use = iota
	opening       // the head of a request
	answering     // that of a response
	ending        // fields behind a body
	useless       // read for the sake of HPACK alone
)

// block is the header block that is being read. There is one at a time, and
// its memory goes to the request that it becomes.
type block struct {
	lim    *Limits
	use    use
	id     uint32
	end    bool // of the peer's side of the stream
	frames int  // CONTINUATION frames
	bytes  int  // encoded

	size    int    // of the fields, counted as HTTP/1.1 would send them
	count   int    // of fields, counted likewise
	bad     string // why it is malformed (RFC 9113 section 8.1.1)
	fault   error  // why it is refused with a response
	regular bool   // a field without a colon in front was seen
	cookies int

	method, scheme, authority, path, protocol pseudo
	status                                    pseudo

	host    []byte
	hasHost bool
	length  int64 // Content-Length, -1 for none

	fields []exchange.Field
	text   []byte // what fields point to
}

// pseudo is a pseudo-header field. Each may be there once.
type pseudo struct {
	text string
	is   bool
}

func (b *block) begin(u use, id uint32, end bool) {
	*b = block{lim: b.lim, use: u, id: id, end: end, length: -1, fields: b.fields[:0], text: b.text[:0]}
}

// headers begins a header block.
func (c *Conn) headers(f *http2.HeadersFrame, now int64) (Event, error) {
	u, err := c.purpose(f, now)
	if err != nil {
		return Event{}, err
	}
	c.block.begin(u, f.StreamID, f.StreamEnded())
	if f.HasPriority() && f.Priority.StreamDep == f.StreamID {
		c.block.bad = "a stream depends on itself"
	}
	return c.fragment(f.HeaderBlockFragment(), f.HeadersEnded(), now)
}

// purpose decides what the HEADERS of a stream are (RFC 9113 section 5.1).
func (c *Conn) purpose(f *http2.HeadersFrame, now int64) (use, error) {
	id := f.StreamID
	if c.client {
		return c.answer(id, now)
	}
	if id%2 == 0 {
		return 0, fail(ProtocolError, "HEADERS for stream %d: streams of clients have odd numbers", id)
	}
	if s := c.streams[id]; s != nil {
		switch {
		case s.theirs:
			_, err := c.breakOff(s, StreamClosed, now, "HEADERS behind the end of the request")
			return useless, err
		default:
			return ending, nil
		}
	}
	if id <= c.last {
		used, byUs := c.past.find(id)
		switch {
		case byUs: // on its way when we reset the stream
			return useless, c.charge(priceBlock, now)
		case used:
			return 0, fail(StreamClosed, "HEADERS for stream %d, which is closed", id)
		}
		return 0, fail(ProtocolError, "stream %d comes after stream %d", id, c.last)
	}
	c.last = id
	switch {
	case id > c.final:
		return useless, c.charge(priceBlock, now)
	case c.held >= 2*c.lim.Streams:
		return 0, fail(EnhanceYourCalm, "streams are reset faster than what they asked for can be broken off")
	case c.open >= c.lim.Streams:
		c.fr.WriteRSTStream(id, http2.ErrCodeRefusedStream)
		c.past.add(id, true)
		return useless, c.charge(priceReset, now)
	}
	return opening, nil
}

// continuation adds to the header block. The Framer has seen to it that it is
// the right one.
func (c *Conn) continuation(f *http2.ContinuationFrame, now int64) (Event, error) {
	if c.block.frames++; c.block.frames > maxContinuation {
		return Event{}, fail(EnhanceYourCalm, "more than %d CONTINUATION frames", maxContinuation)
	}
	if err := c.charge(priceBlock, now); err != nil {
		return Event{}, err
	}
	return c.fragment(f.HeaderBlockFragment(), f.HeadersEnded(), now)
}

// fragment decodes a piece of the block. Fields are taken by emit. A block
// that is only somewhat too large is read to its end and answered with 431.
func (c *Conn) fragment(p []byte, last bool, now int64) (Event, error) {
	b := &c.block
	most := 2 * (b.lim.Head.Line + b.lim.Head.Fields)
	b.bytes += len(p)
	if b.bytes > most {
		return Event{}, fail(EnhanceYourCalm, "a header block of more than %d bytes", most)
	}
	_, err := c.dec.Write(p)
	if err == nil && last {
		err = c.dec.Close()
	}
	switch {
	case err == hpack.ErrStringLength:
		return Event{}, fail(EnhanceYourCalm, "a field that is far too long")
	case err != nil:
		return Event{}, fail(CompressionError, "%v", err)
	case b.size > 4*most:
		return Event{}, fail(EnhanceYourCalm, "a header block that grows too much")
	case !last:
		return Event{}, nil
	}
	u := b.use
	b.use = unused
	switch u {
	case opening:
		return c.opened(now)
	case answering:
		return c.answered(now)
	case ending:
		return c.trailer(now)
	}
	return Event{}, nil
}

// opened checks a request's head as a whole.
func (c *Conn) opened(now int64) (Event, error) {
	b := &c.block
	if b.bad == "" {
		b.check()
	}
	if b.bad != "" {
		c.fr.WriteRSTStream(b.id, http2.ErrCodeProtocol)
		c.past.add(b.id, true)
		return Event{Kind: Broken, Why: b.bad}, c.charge(priceReset, now)
	}
	return Event{Kind: Request}, nil
}

// trailer takes the fields behind a body.
func (c *Conn) trailer(now int64) (Event, error) {
	b := &c.block
	s := c.streams[b.id]
	switch {
	case s == nil:
		return Event{}, nil
	case !b.end:
		b.bad = "HEADERS in the middle of a body"
	case b.fault != nil:
		b.bad = b.fault.Error()
	case s.declared > s.got:
		b.bad = "Content-Length and DATA differ"
	}
	if b.bad != "" {
		return c.breakOff(s, ProtocolError, now, b.bad)
	}
	s.theirs = true
	c.close(s)
	return Event{Kind: Body, Stream: s, Trailer: b.fields}, nil
}

// emit takes one decoded field.
func (b *block) emit(f hpack.HeaderField) {
	b.size += len(f.Name) + len(f.Value) + len(": \r\n")
	switch {
	case b.use == useless || b.bad != "":
	case len(f.Name) > 0 && f.Name[0] == ':':
		b.pseudo(f.Name, f.Value)
	case b.fault == nil:
		b.regular = true
		b.field(f.Name, f.Value)
	}
}

func (b *block) pseudo(name, value string) {
	b.size -= len(name) + len(value) + len(": \r\n") // the line has a limit of its own
	var p *pseudo
	switch name {
	case ":method":
		p = &b.method
	case ":scheme":
		p = &b.scheme
	case ":authority":
		p = &b.authority
	case ":path":
		p = &b.path
	case ":protocol":
		p = &b.protocol
	case ":status":
		p = &b.status
	}
	switch {
	case p == nil || (p == &b.status) != (b.use == answering) && b.use != ending:
		b.bad = "an unknown pseudo-header field"
	case b.use == ending:
		b.bad = "a pseudo-header field behind the body"
	case b.regular:
		b.bad = "a pseudo-header field behind another field"
	case p.is:
		b.bad = "a pseudo-header field that came twice"
	default:
		*p = pseudo{value, true}
	}
}

// field checks and keeps a field. Those with a number lose their name: what
// they are passed on as is the standard spelling, as HTTP/1.1 clients send it.
func (b *block) field(name, value string) {
	start := len(b.text)
	b.text = append(b.text, name...)
	n := b.text[start:len(b.text):len(b.text)]
	for _, c := range n {
		if c >= 'A' && c <= 'Z' {
			b.bad = "a field name in upper case"
			return
		}
	}
	if !http1.ValidField(n, nil) {
		b.bad = "a field name that is not a token"
		return
	}
	id := exchange.LookupField(n)
	if id != exchange.Other {
		b.text, n = b.text[:start], nil
	}
	start = len(b.text)
	b.text = append(b.text, value...)
	v := b.text[start:len(b.text):len(b.text)]
	switch {
	case !http1.ValidValue(v):
		b.bad = "a field value with a control character"
		return
	case len(v) > 0 && (space(v[0]) || space(v[len(v)-1])):
		b.bad = "a field value with space around it"
		return
	}
	b.note(id, v)
	if b.bad != "" || id == exchange.Host || b.use == ending && !http1.TrailerAllowed(id) {
		return
	}
	b.count++
	if id == exchange.Cookie && b.cookies > 1 { // the first is there, and this goes on in it
		b.count--
		b.size += len("; ") - len("cookie: \r\n")
	}
	if b.fault = b.exceeds(); b.fault == nil {
		b.fields = append(b.fields, exchange.Field{ID: id, Name: n, Value: v})
	}
}

// exceeds says which limit the fields exceed.
func (b *block) exceeds() error {
	switch {
	case b.size > b.lim.Head.Fields:
		return http1.FieldsTooLarge
	case b.count > b.lim.Head.Count:
		return http1.TooManyFields
	}
	return nil
}

// countHost counts what stands for Host, which HTTP/1.1 sends once: the field
// itself is counted already, but not as one.
func (b *block) countHost() {
	b.count++
	if !b.hasHost {
		b.size += len("host: \r\n") + len(b.authority.text)
	}
}

func space(c byte) bool { return c == ' ' || c == '\t' }

// note takes up what a field says of the request (RFC 9113 section 8.2.2).
func (b *block) note(id exchange.FieldID, v []byte) {
	switch id {
	case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.TransferEncoding, exchange.Upgrade:
		b.bad = "a field that is about the connection: " + id.String()
	case exchange.TE:
		if !exchange.EqualFold(v, "trailers") {
			b.bad = "TE other than trailers"
		}
	case exchange.Host:
		if b.hasHost {
			b.bad = "more than one Host"
		}
		b.host, b.hasHost = v, true
	case exchange.ContentLength:
		n, ok := http1.ParseLength(v)
		if !ok || b.length >= 0 {
			b.bad = "a Content-Length that is not one number"
		}
		b.length = n
	case exchange.Cookie:
		b.cookies++
	}
}

// check judges the head as a whole (RFC 9113 section 8.3.1).
func (b *block) check() {
	connect := b.method.text == "CONNECT"
	switch {
	case !b.method.is:
		b.bad = "no :method"
	case b.protocol.is && !connect:
		b.bad = ":protocol without CONNECT"
	case connect && !b.protocol.is:
		if b.bad = "CONNECT with :scheme or :path, or without :authority"; b.authority.is && !b.scheme.is && !b.path.is {
			b.bad, b.fault = "", http1.MethodNotAllowed
		}
	case !b.scheme.is, !b.path.is:
		b.bad = "no :scheme or no :path"
	case b.path.text == "":
		b.bad = "an empty :path"
	case b.path.text[0] != '/' && b.path.text != "*":
		b.bad = "a :path that does not begin with a slash"
	case b.scheme.text != b.lim.Scheme:
		b.bad = "a :scheme that is not the connection's"
	case connect && (b.end || b.length >= 0):
		b.bad = "an extended CONNECT with a body"
	case b.end && b.length > 0:
		b.bad = "Content-Length and DATA differ"
	case b.hasHost && b.authority.is && !exchange.EqualFold(b.host, b.authority.text):
		b.bad = "Host and :authority differ"
	case len(b.method.text)+len(b.path.text)+len("  HTTP/1.1\r\n") > b.lim.Head.Line:
		b.fault = http1.LineTooLong
	case b.fault == nil:
		b.countHost()
		b.fault = b.exceeds()
	}
}
