package xmldoc

import (
	"encoding/binary"
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// Encoding is how the text of a file is written as bytes.
type Encoding struct {
	// Order is nil for UTF-8.
	Order binary.ByteOrder

	// Mark tells that the file begins with a byte order mark.
	Mark bool
}

// String returns the name of the encoding.
func (e Encoding) String() string {
	switch e.Order {
	case nil:
		return "UTF-8"
	case binary.LittleEndian:
		return "UTF-16LE"
	}
	return "UTF-16BE"
}

// The byte order marks.
const (
	mark8       = "\xef\xbb\xbf"
	mark16Big   = "\xfe\xff"
	mark16Small = "\xff\xfe"
	mark32Big   = "\x00\x00\xfe\xff"
	mark32Small = "\xff\xfe\x00\x00"
)

// detect finds the encoding of a file by its first bytes, and returns the
// bytes behind the byte order mark. UTF-16 without a mark is known by the
// '<' that every document begins with (XML 1.0 appendix F.1). ok is false
// for UTF-32.
func detect(data []byte) (e Encoding, rest []byte, ok bool) {
	has := func(prefix string) bool { return strings.HasPrefix(string(data[:min(len(data), 4)]), prefix) }
	switch {
	case has(mark32Big), has(mark32Small):
		return Encoding{}, data, false
	case has(mark8):
		return Encoding{Mark: true}, data[len(mark8):], true
	case has(mark16Small):
		return Encoding{Order: binary.LittleEndian, Mark: true}, data[len(mark16Small):], true
	case has(mark16Big):
		return Encoding{Order: binary.BigEndian, Mark: true}, data[len(mark16Big):], true
	case has("<\x00"):
		return Encoding{Order: binary.LittleEndian}, data, true
	case has("\x00<"):
		return Encoding{Order: binary.BigEndian}, data, true
	}
	return Encoding{}, data, true
}

// decode returns the bytes behind the byte order mark as text, and the offset
// in that text of the first place that is not legal in the encoding, or -1.
func (e Encoding) decode(data []byte) (text string, bad int) {
	if e.Order == nil {
		return decode8(data)
	}
	bad = -1
	var b strings.Builder
	b.Grow(len(data) / 2)
	invalid := func() {
		if bad < 0 {
			bad = b.Len()
		}
		b.WriteRune(utf8.RuneError)
	}
	for len(data) >= 2 {
		r := rune(e.Order.Uint16(data))
		data = data[2:]
		if !utf16.IsSurrogate(r) {
			b.WriteRune(r)
			continue
		}
		if len(data) >= 2 {
			if pair := utf16.DecodeRune(r, rune(e.Order.Uint16(data))); pair != utf8.RuneError {
				b.WriteRune(pair)
				data = data[2:]
				continue
			}
		}
		invalid()
	}
	if len(data) > 0 {
		invalid()
	}
	return b.String(), bad
}

func decode8(data []byte) (text string, bad int) {
	if utf8.Valid(data) {
		return string(data), -1
	}
	bad = 0
	for {
		r, n := utf8.DecodeRune(data[bad:])
		if r == utf8.RuneError && n == 1 {
			return strings.ToValidUTF8(string(data), string(utf8.RuneError)), bad
		}
		bad += n
	}
}

// encode is the reverse of decode, the byte order mark included.
func (e Encoding) encode(text string) []byte {
	if e.Order == nil {
		if e.Mark {
			text = mark8 + text
		}
		return []byte(text)
	}
	b := make([]byte, 0, 2+2*len(text))
	put := func(unit uint16) {
		b = append(b, 0, 0)
		e.Order.PutUint16(b[len(b)-2:], unit)
	}
	if e.Mark {
		put(0xfeff)
	}
	for _, r := range text {
		if high, low := utf16.EncodeRune(r); high != utf8.RuneError {
			put(uint16(high))
			put(uint16(low))
		} else {
			put(uint16(r))
		}
	}
	return b
}

// names reports whether an encoding declaration fits the encoding that the
// bytes have.
func (e Encoding) names(declared, text string) bool {
	switch strings.ToLower(declared) {
	case "utf-8":
		return e.Order == nil
	case "us-ascii", "ascii":
		return e.Order == nil && strings.IndexFunc(text, func(r rune) bool { return r >= utf8.RuneSelf }) < 0
	case "utf-16", "unicode":
		return e.Order != nil
	case "utf-16le":
		return e.Order == binary.LittleEndian
	case "utf-16be":
		return e.Order == binary.BigEndian
	}
	return false
}
