package http1

import (
	"bytes"

	"github.com/perchserver/perch/internal/exchange"
)

// ParseRequest parses a whole request head, as found by a Scanner, into r and
// f. What it stores in r points into head, or into scratch where a path had
// to be decoded; the rest of scratch is returned. It fills in everything of r
// but Scheme and Body.
func ParseRequest(head []byte, r *exchange.Request, f *Framing, scratch []byte) ([]byte, error) {
	*f = Framing{}
	e := bytes.IndexByte(head, '\n')
	if e < 1 || head[e-1] != '\r' {
		return scratch, BadLineEnd
	}
	target, err := parseRequestLine(head[:e-1], r)
	if err != nil {
		return scratch, err
	}
	if err := parseFields(head[e+1:], &r.Header, f); err != nil {
		return scratch, err
	}
	if err := requestFraming(r, f); err != nil {
		return scratch, err
	}
	if err := takeHost(r, f); err != nil {
		return scratch, err
	}
	return parseTarget(target, r, scratch)
}

// parseRequestLine parses "method SP target SP version".
func parseRequestLine(line []byte, r *exchange.Request) (target []byte, err error) {
	i := 0
	for i < len(line) && classes[line[i]]&classToken != 0 {
		i++
	}
	if i == 0 || i == len(line) || line[i] != ' ' {
		return nil, BadMethod
	}
	r.Method = methodName(line[:i])
	rest := line[i+1:]
	j := bytes.IndexByte(rest, ' ')
	if j <= 0 {
		return nil, BadRequestLine
	}
	if r.Proto, err = parseVersion(rest[j+1:]); err != nil {
		return nil, err
	}
	if target = rest[:j:j]; !validTarget(target) {
		return nil, BadTarget
	}
	return target, nil
}

// Method returns a method as a string and whether it is a token.
func Method(b []byte) (name string, ok bool) { return methodName(b), isToken(b) }

// CheckStart looks at the first byte of a request, so that a client that
// speaks something else, TLS most of all, is told at once.
func CheckStart(c byte) error {
	switch {
	case classes[c]&classToken != 0 || c == '\r' || c == '\n':
		return nil
	case c == 0x16: // the record type of a TLS handshake
		return TLSOnClearPort
	}
	return BadMethod
}

// methodName returns the method as a string, without allocating for those
// that have a name of their own in RFC 9110 section 9 and RFC 5789.
func methodName(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "HEAD":
		return "HEAD"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "CONNECT":
		return "CONNECT"
	case "OPTIONS":
		return "OPTIONS"
	case "TRACE":
		return "TRACE"
	case "PATCH":
		return "PATCH"
	}
	return string(b)
}

func parseVersion(v []byte) (exchange.Proto, error) {
	switch string(v) {
	case "HTTP/1.1":
		return exchange.HTTP11, nil
	case "HTTP/1.0":
		return exchange.HTTP10, nil
	}
	if len(v) == 8 && string(v[:5]) == "HTTP/" && digit(v[5]) && v[6] == '.' && digit(v[7]) {
		return 0, UnknownVersion
	}
	if bytes.IndexByte(v, ' ') >= 0 {
		return 0, BadRequestLine
	}
	return 0, BadVersion
}

func digit(c byte) bool { return c >= '0' && c <= '9' }

// requestFraming decides on the body (RFC 9112 section 6.3, with every
// doubtful case refused).
func requestFraming(r *exchange.Request, f *Framing) error {
	switch {
	case f.Chunked && f.Length >= 0:
		return TwoFramings
	case f.Chunked && r.Proto < exchange.HTTP11:
		return CodingInHTTP10
	case f.Chunked:
		r.Length = -1
	case f.Length < 0 && r.Proto < exchange.HTTP11 && (r.Method == "POST" || r.Method == "PUT"):
		return NoLength // RFC 1945 section 7.2.2
	default:
		r.Length = max(f.Length, 0)
	}
	if r.Proto < exchange.HTTP11 {
		f.Expect = false
		if !f.KeepAlive {
			f.Close = true
		}
		return nil
	}
	if f.Upgrade && r.Length == 0 {
		if u := r.Header.Get(exchange.Upgrade); !offersHTTP(u) {
			r.Upgrade = u
		}
	}
	return nil
}

// offersHTTP reports whether an Upgrade field asks for another version of
// HTTP. Such an upgrade is ignored, as any may be (RFC 9110 section 7.8; RFC
// 9113 section 3.1 has retired it): requests in it would reach an application
// that speaks HTTP/2 unjudged.
func offersHTTP(v []byte) bool {
	for v != nil {
		var t []byte
		t, v = nextToken(v)
		if exchange.EqualFold(t, "h2c") || exchange.EqualFold(t, "h2") || len(t) >= 5 && exchange.EqualFold(t[:5], "http/") {
			return true
		}
	}
	return false
}

// takeHost checks the Host field (RFC 9112 section 3.2).
func takeHost(r *exchange.Request, f *Framing) error {
	switch {
	case f.hosts > 1:
		return ManyHosts
	case f.hosts == 0 && r.Proto >= exchange.HTTP11:
		return NoHost
	case f.hosts == 0:
		return nil
	}
	r.Host = r.Header.Get(exchange.Host)
	if !ValidHost(r.Host) {
		return BadHost
	}
	return nil
}

// ValidHost reports whether h is a host with an optional port: a name or an
// IPv4 address of plain characters, or an IPv6 address in brackets. An empty
// one is allowed.
func ValidHost(h []byte) bool {
	if len(h) == 0 {
		return true
	}
	rest := h
	if h[0] == '[' {
		i := bytes.IndexByte(h, ']')
		if i < 3 {
			return false
		}
		for _, c := range h[1:i] {
			if _, hex := unhex(c); !hex && c != ':' && c != '.' {
				return false
			}
		}
		rest = h[i+1:]
	} else {
		i := 0
		for i < len(h) && h[i] != ':' {
			if classes[h[i]]&classHost == 0 {
				return false
			}
			i++
		}
		if i == 0 {
			return false
		}
		rest = h[i:]
	}
	if len(rest) == 0 {
		return true
	}
	if rest[0] != ':' || len(rest) > 6 {
		return false
	}
	for _, c := range rest[1:] {
		if !digit(c) {
			return false
		}
	}
	return true
}

func unhex(c byte) (v byte, ok bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
