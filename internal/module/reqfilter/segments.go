package reqfilter

import (
	"bytes"
	"math/bits"
	"runtime"
)

// Segments are names to look for among the segments of paths, in any letter
// case. The zero value is none.
type Segments struct {
	names   [][]byte
	lengths uint64 // one bit for each length in bytes that a spelling can have

	// trimmed has segments judged as the names that Windows makes of them.
	trimmed bool
}

// longest stands for all lengths from it on.
const longest = 63

// Hide returns names as Segments.
func Hide(names ...string) (s Segments) {
	s.trimmed = runtime.GOOS == "windows"
	for _, name := range names {
		s.names = append(s.names, []byte(name))
		shortest, most := len(name), len(name)
		for _, c := range []byte(name) {
			switch {
			case c >= 0x80:
				shortest, most = 0, longest // letters of any length may be the same
			case c|0x20 == 's':
				most += len("\u017f") - 1 // the long s
			case c|0x20 == 'k':
				most += len("\u212a") - 1 // the sign of the kelvin
			}
		}
		for n := min(shortest, longest); n <= min(most, longest); n++ {
			s.lengths |= 1 << n
		}
	}
	return s
}

// find returns the first segment of a path that has one of the names, nil if
// none has. Most segments are told by their length, and short paths as a whole.
func (s *Segments) find(path []byte) []byte {
	for shortest := bits.TrailingZeros64(s.lengths); len(path) > shortest; {
		path = path[1:]
		end := bytes.IndexByte(path, '/')
		if end < 0 {
			end = len(path)
		}
		segment := path[:end]
		if s.trimmed {
			segment = trim(segment)
		}
		if s.lengths>>min(uint(len(segment)), longest)&1 != 0 {
			for _, name := range s.names {
				if bytes.EqualFold(segment, name) {
					return path[:end]
				}
			}
		}
		path = path[end:]
	}
	return nil
}

// trim returns the name of the file that Windows opens by a segment: without
// the dots and blanks at its end, and without the name of a stream.
func trim(segment []byte) []byte {
	if i := bytes.IndexByte(segment, ':'); i >= 0 {
		segment = segment[:i]
	}
	return bytes.TrimRight(segment, ". ")
}
