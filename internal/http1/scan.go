package http1

import "bytes"

// Scanner finds the end of a message head while it arrives, looking at each
// byte once. The zero value is ready for a head at the start of a buffer.
type Scanner struct {
	pos    int  // where the current line begins
	seen   int  // what of it was looked at
	first  int  // length of the first line with its CRLF; 0: not known yet
	bare   bool // there is no first line: a trailer section
	fields int  // field lines so far
}

// Reset makes s ready for the next head.
func (s *Scanner) Reset() { *s = Scanner{} }

// Scan looks at b, which begins with the head and may have grown since the
// last call. It returns the length of the head with its empty line, or 0 if
// more is needed, or the Fault that makes reading on useless.
func (s *Scanner) Scan(b []byte, l *Limits) (int, error) {
	for {
		i := bytes.IndexByte(b[s.seen:], '\n')
		if i < 0 {
			s.seen = len(b)
			return 0, s.check(len(b), l)
		}
		end := s.seen + i + 1
		if err := s.check(end, l); err != nil {
			return 0, err
		}
		if end < 2 || b[end-2] != '\r' {
			return 0, BadLineEnd
		}
		if s.Untouched() {
			s.first = end
		} else if end-s.pos == 2 {
			return end, nil
		} else if s.fields++; s.fields > l.Count {
			return 0, TooManyFields
		}
		s.pos, s.seen = end, end
	}
}

// check refuses a head that has become too long by its first end bytes.
func (s *Scanner) check(end int, l *Limits) error {
	if s.Untouched() {
		if end > l.Line {
			return LineTooLong
		}
		return nil
	}
	if end-s.first > l.Fields+2 {
		return FieldsTooLarge
	}
	return nil
}

// Untouched reports whether no line of the head has ended yet.
func (s *Scanner) Untouched() bool { return s.first == 0 && !s.bare }
