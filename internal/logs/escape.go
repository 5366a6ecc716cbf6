package logs

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// appendRune appends the first rune of s if it can be seen, or else the escape
// that Go has for it, and returns what is left of s. Neither controls nor
// what turns the direction of writing reach a terminal by it.
func appendRune(b []byte, s string) ([]byte, string) {
	r, n := utf8.DecodeRuneInString(s)
	switch {
	case r == utf8.RuneError && n == 1:
		const hex = "0123456789abcdef"
		b = append(b, '\\', 'x', hex[s[0]>>4], hex[s[0]&15])
	case strconv.IsPrint(r):
		b = append(b, s[:n]...)
	default:
		quoted := strconv.QuoteRune(r)
		b = append(b, quoted[1:len(quoted)-1]...)
	}
	return b, s[n:]
}

// appendPrintable appends s with an escape for each rune that cannot be seen.
func appendPrintable(b []byte, s string) []byte {
	for s != "" {
		b, s = appendRune(b, s)
	}
	return b
}

// appendValue appends s as it is, or in the quotes of Go where it would
// not be one visible word.
func appendValue(b []byte, s string) []byte {
	if s == "" || !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return r == ' ' || r == '"' || !strconv.IsPrint(r) }) {
		return strconv.AppendQuote(b, s)
	}
	return append(b, s...)
}

// appendKey appends the key of a value, which ends at the first = outside
// quotes.
func appendKey(b []byte, s string) []byte {
	if strings.Contains(s, "=") {
		return strconv.AppendQuote(b, s)
	}
	return appendValue(b, s)
}

// appendForeign appends a line that an application printed. Its colours are
// kept if color is set, and end with the line; they are dropped otherwise.
// Tabs stay, and so do the joiners that some scripts and emoji need. All else
// that cannot be seen becomes an escape.
func appendForeign(b []byte, line string, color bool) []byte {
	line = strings.TrimSuffix(line, "\r")
	colored := false
	for line != "" {
		n := sgrLen(line)
		switch {
		case n > 0 && color:
			b = append(b, line[:n]...)
			colored = true
		case n > 0:
		case line[0] == '\t':
			b, n = append(b, '\t'), 1
		case strings.HasPrefix(line, "\u200c"), strings.HasPrefix(line, "\u200d"):
			b, n = append(b, line[:3]...), 3
		default:
			b, line = appendRune(b, line)
		}
		line = line[n:]
	}
	if colored {
		b = append(b, sgrReset...)
	}
	return b
}

// plain returns a line that an application printed without its colours.
func plain(line string) string {
	line = strings.TrimSuffix(line, "\r")
	var b strings.Builder
	for {
		i := strings.IndexByte(line, '\x1b')
		if i < 0 {
			b.WriteString(line)
			return b.String()
		}
		n := sgrLen(line[i:])
		b.WriteString(line[:i])
		if n == 0 {
			b.WriteByte('\x1b')
			n = 1
		}
		line = line[i+n:]
	}
}

// sgrLen returns the length of the control sequence at the beginning of s
// that does nothing but set colours and the like: SGR of ECMA-48, 8.3.117. 0:
// there is none.
func sgrLen(s string) int {
	const most = 32 // nobody needs more; some terminals mistake what is very long
	if !strings.HasPrefix(s, "\x1b[") {
		return 0
	}
	for i := 2; i < len(s) && i < most; i++ {
		switch c := s[i]; {
		case c == 'm':
			return i + 1
		case c != ';' && c != ':' && (c < '0' || c > '9'):
			return 0
		}
	}
	return 0
}
