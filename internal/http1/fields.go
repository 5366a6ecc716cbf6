package http1

import (
	"bytes"
	"encoding/binary"

	"github.com/perchserver/perch/internal/exchange"
)

// Framing is what the fields of a head say of its message and connection.
type Framing struct {
	Length    int64 // Content-Length, -1 if there is none
	Chunked   bool
	Close     bool // Connection: close
	KeepAlive bool // Connection: keep-alive
	Upgrade   bool // Connection: upgrade
	Named     bool // Connection names fields that are not passed on
	Expect    bool // Expect: 100-continue
	hosts     int
	options   int // elements of Connection
}

// maxOptions is how many elements Connection may have. Each is looked for
// among all fields, and nobody names more than a few.
const maxOptions = 32

// parseFields adds the field lines in b, up to the empty line that ends it,
// to h and finds the framing in them. Values keep pointing into b.
func parseFields(b []byte, h *exchange.Header, f *Framing) error {
	f.Length = -1
	for {
		e := bytes.IndexByte(b, '\n')
		if e < 1 || b[e-1] != '\r' {
			return BadLineEnd
		}
		if e == 1 {
			return nil
		}
		name, value, err := splitField(b[:e-1])
		if err != nil {
			return err
		}
		id := exchange.LookupField(name)
		if err := f.note(id, value); err != nil {
			return err
		}
		h.Append(id, name, value)
		b = b[e+1:]
	}
}

// splitField takes a field line without its CRLF apart.
func splitField(line []byte) (name, value []byte, err error) {
	i := 0
	for i < len(line) && classes[line[i]]&classToken != 0 {
		i++
	}
	if i == 0 && (line[0] == ' ' || line[0] == '\t') {
		return nil, nil, FoldedField
	}
	if i == 0 || i == len(line) || line[i] != ':' {
		return nil, nil, BadFieldName
	}
	name, value = line[:i:i], trim(line[i+1:])
	if !validValue(value) {
		return nil, nil, BadFieldValue
	}
	return name, value, nil
}

// trim removes the white space that may surround a value (RFC 9112 5.1).
func trim(v []byte) []byte {
	for len(v) > 0 && (v[0] == ' ' || v[0] == '\t') {
		v = v[1:]
	}
	for len(v) > 0 && (v[len(v)-1] == ' ' || v[len(v)-1] == '\t') {
		v = v[:len(v)-1]
	}
	return v
}

// validValue reports whether v holds no control character but the tab. Eight
// bytes at a time, it looks for bytes below 0x20 and for 0x7f; only where it
// finds one it looks closer.
func validValue(v []byte) bool {
	const ones, tops = 0x0101010101010101, 0x8080808080808080
	for len(v) >= 8 {
		x := binary.LittleEndian.Uint64(v)
		low := (x - ones*0x20) &^ x & tops
		del := x ^ ones*0x7f
		del = (del - ones) &^ del & tops
		if low|del != 0 {
			for _, c := range v[:8] {
				if classes[c]&classValue == 0 {
					return false
				}
			}
		}
		v = v[8:]
	}
	for _, c := range v {
		if classes[c]&classValue == 0 {
			return false
		}
	}
	return true
}

// note takes up what a field says of the message.
func (f *Framing) note(id exchange.FieldID, v []byte) error {
	switch id {
	case exchange.Host:
		f.hosts++
	case exchange.ContentLength:
		if f.Length >= 0 {
			return ManyLengths
		}
		n, ok := ParseLength(v)
		if !ok {
			return BadLength
		}
		f.Length = n
	case exchange.TransferEncoding:
		if f.Chunked {
			return BadCoding
		}
		if !exchange.EqualFold(v, "chunked") {
			return codingFault(v)
		}
		f.Chunked = true
	case exchange.Connection:
		return f.connection(v)
	case exchange.Expect:
		f.Expect = f.Expect || exchange.EqualFold(v, "100-continue")
	}
	return nil
}

// codingFault tells a list of codings that are well formed, and so not
// implemented, from one that is not.
func codingFault(v []byte) error {
	chunked := 0
	for v != nil {
		var t []byte
		t, v = nextToken(v)
		if len(t) == 0 || !isToken(t) {
			return BadCoding
		}
		if exchange.EqualFold(t, "chunked") {
			chunked++
		}
	}
	if chunked > 1 {
		return BadCoding
	}
	return UnknownCoding
}

// ParseLength reads a Content-Length: digits alone, below 10^18.
func ParseLength(v []byte) (n int64, ok bool) {
	if len(v) == 0 || len(v) > 18 {
		return 0, false
	}
	for _, c := range v {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// connection takes up the elements of a Connection field.
func (f *Framing) connection(v []byte) error {
	for v != nil {
		var t []byte
		t, v = nextToken(v)
		if f.options++; f.options > maxOptions {
			return TooManyOptions
		}
		switch {
		case len(t) == 0:
		case exchange.EqualFold(t, "close"):
			f.Close = true
		case exchange.EqualFold(t, "keep-alive"):
			f.KeepAlive = true
		case exchange.EqualFold(t, "upgrade"):
			f.Upgrade = true
		default:
			f.Named = true
		}
	}
	return nil
}

// nextToken takes the first element off a comma-separated list. The rest is
// nil after the last.
func nextToken(v []byte) (token, rest []byte) {
	if i := bytes.IndexByte(v, ','); i >= 0 {
		return trim(v[:i]), v[i+1:]
	}
	return trim(v), nil
}

func isToken(v []byte) bool {
	for _, c := range v {
		if classes[c]&classToken == 0 {
			return false
		}
	}
	return len(v) > 0
}

// ListHas reports whether a comma-separated list has an element, parameters
// left aside, in any case.
func ListHas(list []byte, element string) bool {
	for v := list; v != nil; {
		var t []byte
		t, v = nextToken(v)
		if i := bytes.IndexByte(t, ';'); i >= 0 {
			t = trim(t[:i])
		}
		if exchange.EqualFold(t, element) {
			return true
		}
	}
	return false
}

// NamesFields reports whether a Connection field names other fields, which
// are then not passed on.
func NamesFields(h *exchange.Header) bool {
	var f Framing
	for i := range h.Fields {
		if h.Fields[i].ID == exchange.Connection {
			f.connection(h.Fields[i].Value)
		}
	}
	return f.Named
}

// NamedByConnection reports whether a Connection field of h names f. Host and
// TE cannot be taken away so.
func NamedByConnection(h *exchange.Header, f *exchange.Field) bool {
	if f.ID == exchange.Connection || f.ID == exchange.Host || f.ID == exchange.TE {
		return false
	}
	for i := range h.Fields {
		if h.Fields[i].ID == exchange.Connection && ListHas(h.Fields[i].Value, string(f.NameBytes())) {
			return true
		}
	}
	return false
}

// StripHopByHop removes the fields that concern one connection only (RFC 9110
// section 7.6.1): those with that meaning by name, and those that Connection
// names when f says so.
func StripHopByHop(h *exchange.Header, f *Framing) {
	kept := h.Fields[:0] // Connection stays among them until the end
	for i := range h.Fields {
		switch h.Fields[i].ID {
		case exchange.KeepAlive, exchange.ProxyConnection, exchange.TE, exchange.Trailer,
			exchange.TransferEncoding, exchange.Upgrade, exchange.ContentLength:
			continue
		}
		if f.Named && NamedByConnection(h, &h.Fields[i]) {
			continue
		}
		kept = append(kept, h.Fields[i])
	}
	h.Fields = kept
	h.Del(exchange.Connection)
}
