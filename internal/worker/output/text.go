package output

import (
	"bytes"
	"unicode/utf8"
)

// tail keeps the last MaxTail characters of what it is given, which must be
// valid UTF-8. It forgets in large steps, so that writing costs little, and
// never holds more than twice of what it keeps.
type tail struct {
	text  []byte
	runes int // in text
}

func (t *tail) write(valid []byte) {
	t.text = append(t.text, valid...)
	t.runes += utf8.RuneCount(valid)
	if t.runes > 2*MaxTail {
		n := copy(t.text, t.last())
		t.text, t.runes = t.text[:n], MaxTail
	}
}

// last returns the characters that are kept.
func (t *tail) last() []byte {
	b := t.text
	for n := t.runes; n > MaxTail; n-- {
		_, size := utf8.DecodeRune(b)
		b = b[size:]
	}
	return b
}

// String returns the characters that are kept.
func (t *tail) String() string { return string(t.last()) }

// decoder makes valid UTF-8 of the pieces of a stream. A character that is cut
// by the end of a piece waits for the next one. Every byte that is not UTF-8
// becomes U+FFFD, however the pieces are cut.
type decoder struct {
	rest  [utf8.UTFMax]byte
	nrest int
	out   []byte
}

// decode returns the text of the next piece, valid until the next call. At the
// end nothing waits.
func (d *decoder) decode(piece []byte, end bool) []byte {
	d.out = append(append(d.out[:0], d.rest[:d.nrest]...), piece...)
	b := d.out
	d.nrest = 0
	if !end {
		if n := incomplete(b); n > 0 {
			d.nrest = copy(d.rest[:], b[len(b)-n:])
			b = b[:len(b)-n]
		}
	}
	if utf8.Valid(b) {
		return b
	}
	var valid []byte
	for len(b) > 0 {
		r, size := utf8.DecodeRune(b)
		valid = utf8.AppendRune(valid, r)
		b = b[size:]
	}
	return valid
}

// incomplete returns the number of bytes at the end of b that may be the
// beginning of a character.
func incomplete(b []byte) int {
	for n := 1; n < utf8.UTFMax && n <= len(b); n++ {
		if last := b[len(b)-n:]; utf8.RuneStart(last[0]) {
			if utf8.FullRune(last) {
				return 0
			}
			return n
		}
	}
	return 0
}

// splitter cuts text into lines.
type splitter struct {
	emit func(line []byte) // gets a slice of its own
	rest []byte            // of the line that is not complete
	cut  bool              // rest is not the beginning of its line
}

// write emits the complete lines of rest and text, and at the end what is left.
// A line ends with LF or CRLF. Longer ones are cut between characters.
func (s *splitter) write(text []byte, end bool) {
	for {
		head, tail, complete := bytes.Cut(text, []byte{'\n'})
		s.rest = append(s.rest, head...)
		for len(s.rest) > MaxLine {
			n := MaxLine
			for !utf8.RuneStart(s.rest[n]) {
				n--
			}
			s.emit(bytes.Clone(s.rest[:n]))
			s.rest = append(s.rest[:0], s.rest[n:]...)
			s.cut = true
		}
		if !complete {
			break
		}
		s.flush()
		text = tail
	}
	if end && len(s.rest) > 0 {
		s.flush()
	}
}

// flush emits rest as the end of a line. Nothing is left to say when the line
// was cut just before its end.
func (s *splitter) flush() {
	if text := bytes.TrimSuffix(s.rest, []byte{'\r'}); len(text) > 0 || !s.cut {
		s.emit(append([]byte{}, text...))
	}
	s.rest, s.cut = s.rest[:0], false
}
