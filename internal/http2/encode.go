package http2

import (
	"strconv"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/http1"
)

// encoder makes header blocks of response fields.
type encoder struct {
	hp    *hpack.Encoder
	block []byte // the block in the making
	lower []byte // a name in lower case
	texts texts
}

func (e *encoder) init() {
	e.hp = hpack.NewEncoder(e)
}

// limit obeys the client's SETTINGS_HEADER_TABLE_SIZE.
func (e *encoder) limit(size uint32) { e.hp.SetMaxDynamicTableSize(min(size, tableSize)) }

// Write adds to the block.
func (e *encoder) Write(p []byte) (int, error) {
	e.block = append(e.block, p...)
	return len(p), nil
}

// texts holds the strings that came last, so that the same bytes, as nearly
// all response fields are, become a string without an allocation.
type texts [64]string

// of returns b as a string.
func (t *texts) of(b []byte) string {
	const most = 128
	if len(b) > most {
		return string(b)
	}
	h := uint32(2166136261)
	for _, c := range b {
		h = (h ^ uint32(c)) * 16777619
	}
	p := &t[(h^h>>16)%uint32(len(t))]
	if *p != string(b) {
		*p = string(b)
	}
	return *p
}

// field adds one field.
func (e *encoder) field(f *exchange.Field) {
	name := f.ID.Lower()
	if f.ID == exchange.Other {
		e.lower = e.lower[:0]
		for _, c := range f.NameBytes() {
			if c >= 'A' && c <= 'Z' {
				c |= 0x20
			}
			e.lower = append(e.lower, c)
		}
		name = e.texts.of(e.lower)
	}
	e.hp.WriteField(hpack.HeaderField{Name: name, Value: e.texts.of(f.Value), Sensitive: unique(f.ID)})
}

// unique reports whether a field mostly has a value of its own, which would
// only drive others out of the table.
func unique(id exchange.FieldID) bool {
	switch id {
	case exchange.SetCookie, exchange.Location, exchange.ETag, exchange.ContentLength,
		exchange.ContentRange, exchange.LastModified, exchange.Age:
		return true
	}
	return false
}

func (e *encoder) status(status int) {
	value := "200"
	if status != 200 {
		value = e.texts.of(strconv.AppendInt(e.lower[:0], int64(status), 10))
	}
	e.hp.WriteField(hpack.HeaderField{Name: ":status", Value: value})
}

// fields adds those of h that HTTP/2 knows and that are not the driver's own.
// One that would break the framing somewhere is left out.
func (e *encoder) fields(fields []exchange.Field, trailer bool) {
	for i := range fields {
		f := &fields[i]
		switch f.ID {
		case exchange.Connection, exchange.KeepAlive, exchange.ProxyConnection, exchange.TransferEncoding,
			exchange.Upgrade, exchange.TE, exchange.ContentLength, exchange.Date:
			continue
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
	e.block = e.block[:0]
	e.status(h.Status)
	if h.Date != "" {
		e.hp.WriteField(hpack.HeaderField{Name: "date", Value: h.Date})
	}
	e.fields(h.Fields, false)
	if h.Length >= 0 {
		var digits [20]byte
		value := strconv.AppendInt(digits[:0], h.Length, 10)
		e.field(&exchange.Field{ID: exchange.ContentLength, Value: value})
	}
	c.headersFrames(s, h.End)
}

// WriteTrailer adds the fields behind a body and ends the stream.
func (c *Conn) WriteTrailer(s *Stream, fields []exchange.Field) {
	if s.Closed() {
		return
	}
	c.enc.block = c.enc.block[:0]
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
