package http1

import (
	"bytes"

	"github.com/perchserver/perch/internal/exchange"
)

// ParseTarget is ParseRequest for a target that did not come on a request
// line: it fills r.Target by the same rules.
func ParseTarget(raw []byte, r *exchange.Request, scratch []byte) ([]byte, error) {
	if len(raw) == 0 || !validTarget(raw) {
		return scratch, BadTarget
	}
	return parseTarget(raw, r, scratch)
}

func validTarget(raw []byte) bool {
	for _, c := range raw {
		if classes[c]&classTarget == 0 {
			return false
		}
	}
	return true
}

// parseTarget fills r.Target from the four forms of RFC 9112 section 3.2 and
// takes the authority of an absolute one into account.
func parseTarget(raw []byte, r *exchange.Request, scratch []byte) ([]byte, error) {
	r.Target.Raw = raw
	path := raw
	switch {
	case r.Method == "CONNECT":
		return scratch, MethodNotAllowed
	case raw[0] == '/':
	case len(raw) == 1 && raw[0] == '*':
		if r.Method != "OPTIONS" {
			return scratch, AsteriskTarget
		}
		r.Target.Path, r.Target.Forward = []byte("/"), raw
		return scratch, nil
	default:
		var err error
		if path, err = takeAuthority(raw, r); err != nil {
			return scratch, err
		}
	}
	return normalise(path, &r.Target, scratch)
}

// takeAuthority splits an absolute target into authority and the rest. The
// authority must be that of the Host field, with or without the scheme's own
// port: two that differ could be judged by one and served by the other.
func takeAuthority(raw []byte, r *exchange.Request) (path []byte, err error) {
	var port string
	rest := raw
	switch {
	case len(raw) > 7 && exchange.EqualFold(raw[:7], "http://"):
		rest, port = raw[7:], ":80"
	case len(raw) > 8 && exchange.EqualFold(raw[:8], "https://"):
		rest, port = raw[8:], ":443"
	default:
		return nil, BadTarget
	}
	i := 0
	for i < len(rest) && rest[i] != '/' && rest[i] != '?' {
		i++
	}
	authority := rest[:i]
	if i == 0 || !ValidHost(authority) {
		return nil, BadTarget
	}
	if r.Host != nil && !bytes.EqualFold(bytes.TrimSuffix(r.Host, []byte(port)), bytes.TrimSuffix(authority, []byte(port))) {
		return nil, HostMismatch
	}
	if r.Host == nil {
		r.Host = authority
	}
	if path = rest[i:]; len(path) == 0 {
		path = []byte("/")
	} else if path[0] == '?' {
		path = append([]byte("/"), path...)
	}
	return path, nil
}

// normalise fills in the path and query of t from an origin-form target. A
// path that stands for itself, as most do, is not copied.
func normalise(raw []byte, t *exchange.Target, scratch []byte) ([]byte, error) {
	path := raw
	if i := bytes.IndexByte(raw, '?'); i >= 0 {
		path, t.Query, t.HasQuery = raw[:i:i], raw[i+1:], true
	}
	t.Path, t.Forward = path, path
	if plain(path) {
		return scratch, nil
	}
	return resolve(path, t, scratch)
}

// plain reports whether a path needs neither decoding nor normalising: no
// escape, no back-slash, no empty segment, no segment that begins with a dot.
func plain(p []byte) bool {
	for i, c := range p {
		if classes[c]&classPlain != 0 {
			continue
		}
		switch c {
		case '.':
			if p[i-1] == '/' {
				return false
			}
		case '/':
			if i > 0 && p[i-1] == '/' {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// resolve decodes each segment once and resolves dot segments, empty segments
// and back-slashes (spec iis-front 1.8). Where that changed the path, what is
// forwarded is the path joined again from the segments that are left, each as
// the client encoded it.
func resolve(raw []byte, t *exchange.Target, scratch []byte) ([]byte, error) {
	start := len(scratch)
	changed := false
	forward := make([]byte, 0, len(raw)) // rare: only a path that is not plain
	for i := 0; i < len(raw); {
		j := i + 1
		for j < len(raw) && raw[j] != '/' && raw[j] != '\\' {
			j++
		}
		segment, last := raw[i+1:j], j == len(raw)
		changed = changed || raw[i] == '\\'
		mark := len(scratch)
		var hidden bool
		var err error
		scratch, hidden, err = decode(append(scratch, '/'), segment)
		if err != nil {
			return scratch, err
		}
		t.HiddenSlash = t.HiddenSlash || hidden
		switch plainText := scratch[mark+1:]; {
		case len(plainText) == 0 && !last, len(plainText) == 1 && plainText[0] == '.':
			changed = true
			scratch = scratch[:mark]
			if last {
				scratch, forward = append(scratch, '/'), append(forward, '/')
			}
		case len(plainText) == 2 && plainText[0] == '.' && plainText[1] == '.':
			changed = true
			up := bytes.LastIndexByte(scratch[start:mark], '/')
			if up < 0 {
				return scratch, TargetAboveRoot
			}
			scratch = scratch[:start+up]
			forward = forward[:bytes.LastIndexByte(forward, '/')]
			if last {
				scratch, forward = append(scratch, '/'), append(forward, '/')
			}
		default:
			forward = append(append(forward, '/'), segment...)
		}
		i = j
	}
	t.Path = scratch[start:len(scratch):len(scratch)]
	if changed {
		t.Forward = forward
	}
	if t.HiddenSlash {
		var err error
		if t.Separated, err = separate(t.Path); err != nil {
			return scratch, err
		}
	}
	return scratch, nil
}

// decode appends a segment with its escapes resolved, except those of the
// slash and the back-slash, which stay and are reported. Control characters,
// encoded or as U+0080 to U+009F, are refused (spec iis-front 3.3,
// AllowRestrictedChars).
func decode(dst, segment []byte) (out []byte, hidden bool, err error) {
	for i := 0; i < len(segment); i++ {
		c := segment[i]
		if c != '%' {
			dst = append(dst, c)
			continue
		}
		if i+2 >= len(segment) {
			return dst, false, BadEscape
		}
		hi, ok1 := unhex(segment[i+1])
		lo, ok2 := unhex(segment[i+2])
		if !ok1 || !ok2 {
			return dst, false, BadEscape
		}
		c = hi<<4 | lo
		switch {
		case c < 0x20 || c == 0x7f:
			return dst, false, ControlInTarget
		case c >= 0x80 && c <= 0x9f && len(dst) > 0 && dst[len(dst)-1] == 0xc2:
			return dst, false, ControlInTarget
		case c == '/' || c == '\\':
			hidden = true
			dst = append(dst, segment[i:i+3]...)
		default:
			dst = append(dst, c)
		}
		i += 2
	}
	return dst, hidden, nil
}

// separate returns the other reading of a path that holds encoded slashes or
// back-slashes: as separators, resolved once more.
func separate(path []byte) ([]byte, error) {
	open := make([]byte, 0, len(path))
	for i := 0; i < len(path); i++ {
		if path[i] == '%' && i+2 < len(path) {
			if e := string(path[i+1 : i+3]); e == "2F" || e == "2f" || e == "5C" || e == "5c" {
				open = append(open, '/')
				i += 2
				continue
			}
		}
		open = append(open, path[i])
	}
	var segments [][]byte
	parts := bytes.Split(open[1:], []byte("/"))
	for i, s := range parts {
		switch {
		case len(s) == 0 || string(s) == ".":
		case string(s) == "..":
			if len(segments) == 0 {
				return nil, TargetAboveRoot
			}
			segments = segments[:len(segments)-1]
		default:
			segments = append(segments, s)
			continue
		}
		if i == len(parts)-1 {
			segments = append(segments, nil)
		}
	}
	return append([]byte("/"), bytes.Join(segments, []byte("/"))...), nil
}
