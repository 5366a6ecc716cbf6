package http2

import (
	"hash/maphash"
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
)

// encoder makes header blocks.
type encoder struct {
	client bool // of requests

	hp    *hpack.Encoder
	block []byte // the block in the making
	lower []byte // a name in lower case
	memo  *memo  // nil at rest
	seed  maphash.Seed

	filled  int  // grows when what an index stands for may have changed
	resized bool // the next field that hp writes says so
}

func (e *encoder) init() {
	e.hp = hpack.NewEncoder(e)
	e.seed = maphash.MakeSeed()
	e.filled = 1
}

// limit obeys the peer's SETTINGS_HEADER_TABLE_SIZE.
func (e *encoder) limit(size uint32) {
	e.hp.SetMaxDynamicTableSize(min(size, tableSize))
	e.filled++
	e.resized = true
}

// begin starts a block.
func (e *encoder) begin() {
	e.block = e.block[:0]
	if e.memo == nil {
		e.memo = new(memo)
	}
}

// rest gives up the memory that only a connection at work needs.
func (e *encoder) rest() { e.block, e.lower, e.memo = nil, nil, nil }

// Write adds to the block.
func (e *encoder) Write(p []byte) (int, error) {
	e.block = append(e.block, p...)
	return len(p), nil
}

// memo is what a connection remembers of its last messages.
type memo struct {
	texts [64]string // that came last
	known [32]known
	date  known
}

// known is a field that was written as an index into the table of HPACK.
type known struct {
	id          exchange.FieldID
	name, value string // name: of exchange.Other alone, as it came
	index       byte
	filled      int // of the encoder, when that was its index
}

// text returns b as a string. The same bytes, as nearly all fields are,
// become one without an allocation.
func (e *encoder) text(b []byte) string {
	const most = 128
	if len(b) > most {
		return string(b)
	}
	p := &e.memo.texts[maphash.Bytes(e.seed, b)%uint64(len(e.memo.texts))]
	if *p != string(b) {
		*p = string(b)
	}
	return *p
}

// field adds one field. Most were in the last message too, and nothing has
// come into the table since: they are the same byte again.
func (e *encoder) field(f *exchange.Field) {
	other := f.ID == exchange.Other
	k := e.place(f, other)
	if k.filled == e.filled && k.id == f.ID && k.value == string(f.Value) && (!other || k.name == string(f.NameBytes())) {
		e.block = append(e.block, k.index)
		return
	}
	name := f.ID.Lower()
	if other {
		e.lower = e.lower[:0]
		for _, c := range f.NameBytes() {
			if c >= 'A' && c <= 'Z' {
				c |= 0x20
			}
			e.lower = append(e.lower, c)
		}
		name = e.text(e.lower)
	}
	value := e.text(f.Value)
	if index, ok := e.write(hpack.HeaderField{Name: name, Value: value, Sensitive: unique(f.ID)}); ok {
		*k = known{id: f.ID, value: value, index: index, filled: e.filled}
		if other {
			k.name = e.text(f.NameBytes())
		}
	}
}

// place returns where a field is remembered.
func (e *encoder) place(f *exchange.Field, other bool) *known {
	h := maphash.Bytes(e.seed, f.Value) + uint64(f.ID)
	if other {
		h += maphash.Bytes(e.seed, f.NameBytes())
	}
	return &e.memo.known[h%uint64(len(e.memo.known))]
}

// write adds a field as the library does it, and notes what comes into the
// table (RFC 7541 section 6). It reports the index if it is all that was
// written, in one byte.
func (e *encoder) write(f hpack.HeaderField) (index byte, ok bool) {
	start := len(e.block)
	e.hp.WriteField(f)
	e.resized = false
	first := e.block[start]
	if first&0xc0 == 0x40 || first&0xe0 == 0x20 { // a new entry, or another size
		e.filled++
	}
	return first, first&0x80 != 0 && len(e.block) == start+1
}

// unique reports whether a field mostly has a value of its own, which would
// only drive others out of the table, or one that nobody should be able to
// guess at: a connection to an application carries the requests of many.
func unique(id exchange.FieldID) bool {
	switch id {
	case exchange.SetCookie, exchange.Location, exchange.ETag, exchange.ContentLength,
		exchange.ContentRange, exchange.LastModified, exchange.Age,
		exchange.Authorization, exchange.ProxyAuthorization, exchange.Cookie, exchange.XForwardedFor,
		exchange.MSClientCert, exchange.Referer, exchange.IfNoneMatch, exchange.IfModifiedSince, exchange.Range:
		return true
	}
	return false
}

func (e *encoder) status(status int) {
	switch {
	case status != 200:
		e.write(hpack.HeaderField{Name: ":status", Value: e.text(strconv.AppendInt(e.lower[:0], int64(status), 10))})
	case e.resized:
		e.write(hpack.HeaderField{Name: ":status", Value: "200"})
	default:
		e.block = append(e.block, 0x88) // of the static table
	}
}

// date adds the Date field, which is the same for a second.
func (e *encoder) date(value string) {
	k := &e.memo.date
	if k.filled == e.filled && k.value == value {
		e.block = append(e.block, k.index)
		return
	}
	if index, ok := e.write(hpack.HeaderField{Name: "date", Value: value}); ok {
		*k = known{value: value, index: index, filled: e.filled}
	}
}

// fields adds those of h that HTTP/2 knows and that are not the driver's own.
// One that would break the framing somewhere is left out.
func (e *encoder) fields(fields []exchange.Field, trailer bool) {
	for i := range fields {
		f := &fields[i]
		switch f.ID {
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.TransferEncoding,
			exchange.Upgrade, exchange.TE, exchange.ContentLength:
			continue
		case exchange.Date, exchange.Host:
			if (f.ID == exchange.Date) != e.client {
				continue
			}
		case exchange.Other:
			if !http1.ValidField(f.NameBytes(), f.Value) {
				continue
			}
		}
		if !http1.ValidValue(f.Value) || trailer && !http1.TrailerAllowed(f.ID) {
			continue
		}
		e.field(f)
	}
}

// Head is a response head.
type Head struct {
	Status int
	Fields []exchange.Field
	Length int64  // of the Content-Length field, -1 for none
	Date   string // empty for none
	End    bool   // no body follows
}

// WriteHead adds a response head, final or interim.
func (c *Conn) WriteHead(s *Stream, h *Head) {
	if s.Closed() {
		return
	}
	e := &c.enc
	e.begin()
	e.status(h.Status)
	if h.Date != "" {
		e.date(h.Date)
	}
	e.fields(h.Fields, false)
	if h.Length >= 0 {
		e.length(h.Length)
	}
	c.headersFrames(s, h.End)
}

// WriteTrailer adds the fields behind a body and ends the stream.
func (c *Conn) WriteTrailer(s *Stream, fields []exchange.Field) {
	if s.Closed() {
		return
	}
	c.enc.begin()
	c.enc.fields(fields, true)
	if len(c.enc.block) == 0 {
		c.Data(s, nil, true)
		return
	}
	c.headersFrames(s, true)
}

// headersFrames sends the block, in as many frames as it takes.
func (c *Conn) headersFrames(s *Stream, end bool) {
	b := c.enc.block
	n := min(len(b), frameSize)
	c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: s.id, BlockFragment: b[:n], EndStream: end, EndHeaders: n == len(b)})
	for b = b[n:]; len(b) > 0; b = b[n:] {
		n = min(len(b), frameSize)
		c.fr.WriteContinuation(s.id, n == len(b), b[:n])
	}
	if end {
		s.ours = true
		c.close(s)
	}
}
