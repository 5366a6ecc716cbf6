package static

import (
	"bytes"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// validators tell one state of a file from another (RFC 9110 section 8.8).
type validators struct {
	etag     []byte    // nil: none is sent
	modified time.Time // in whole seconds
}

// verdict is what the preconditions of a request say.
type verdict int

const (
	met         verdict = iota // go on
	notModified                // 304
	failed                     // 412
)

// judge evaluates the preconditions of GET and HEAD in the order of IIS:
// If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since. A date is
// looked at only where the request has no list of tags of the same sense (RFC
// 9110 section 13.2.2).
func (v *validators) judge(x *exchange.Exchange) verdict {
	h := &x.Request.Header
	hasMatch, hasNoneMatch := h.Has(exchange.IfMatch), h.Has(exchange.IfNoneMatch)
	if hasMatch && !v.listed(h, exchange.IfMatch, strong) {
		return failed
	}
	if hasNoneMatch && v.listed(h, exchange.IfNoneMatch, weak) {
		return notModified
	}
	if !hasNoneMatch {
		// A date later than now is ignored: the client's clock is wrong.
		since, ok := parseDate(h.Get(exchange.IfModifiedSince))
		if ok && !since.After(x.Begin) && !v.modified.After(since) {
			return notModified
		}
	}
	if !hasMatch {
		since, ok := parseDate(h.Get(exchange.IfUnmodifiedSince))
		if ok && v.modified.After(since) {
			return failed
		}
	}
	return met
}

// sameAs reports whether an If-Range field allows a part to be sent: it names
// the state of the file by a strong validator (RFC 9110 section 13.1.5). A
// date is strong when the file was a second old as the request came.
func (v *validators) sameAs(x *exchange.Exchange) bool {
	value := x.Request.Header.Get(exchange.IfRange)
	if value == nil {
		return true
	}
	if t, ok := parseDate(value); ok {
		return t.Equal(v.modified) && x.Begin.Sub(v.modified) >= time.Second
	}
	tag, rest, ok := nextTag(value)
	return ok && len(rest) == 0 && v.matches(tag, strong)
}

// How two tags are compared (RFC 9110 section 8.8.3.2).
const (
	strong = false
	weak   = true
)

// listed reports whether one of the fields with this number lists the tag of
// the file, or any by "*".
func (v *validators) listed(h *exchange.Header, id exchange.FieldID, weakly bool) bool {
	for i := range h.Fields {
		if h.Fields[i].ID != id {
			continue
		}
		value := h.Fields[i].Value
		if string(value) == "*" {
			return true
		}
		for {
			tag, rest, ok := nextTag(value)
			if !ok {
				break
			}
			if v.matches(tag, weakly) {
				return true
			}
			value = rest
		}
	}
	return false
}

// matches compares a tag, with its quotes and its weakness mark, with ours,
// which is strong.
func (v *validators) matches(tag []byte, weakly bool) bool {
	if weakly {
		tag = bytes.TrimPrefix(tag, []byte("W/"))
	}
	return v.etag != nil && bytes.Equal(tag, v.etag)
}

// nextTag takes the first entity tag off a list. It is not ok at the end of
// the list and where it is malformed.
func nextTag(list []byte) (tag, rest []byte, ok bool) {
	list = bytes.TrimLeft(list, " \t,")
	n := 0
	if bytes.HasPrefix(list, []byte("W/")) {
		n = 2
	}
	if n >= len(list) || list[n] != '"' {
		return nil, nil, false
	}
	end := bytes.IndexByte(list[n+1:], '"')
	if end < 0 {
		return nil, nil, false
	}
	n += end + 2
	return list[:n], bytes.TrimLeft(list[n:], " \t"), true
}

// appendETag appends the entity tag of IIS: the eight bytes of the last write
// as a Windows file time, low to high, in hexadecimal without leading zeros,
// and the change number, which is 0.
func appendETag(b []byte, modified time.Time) []byte {
	const hex = "0123456789abcdef"
	t := fileTime(modified)
	b = append(b, '"')
	for range 8 {
		c := byte(t)
		if c >= 0x10 {
			b = append(b, hex[c>>4])
		}
		b = append(b, hex[c&0xf])
		t >>= 8
	}
	return append(b, `:0"`...)
}

// fileTime counts intervals of 100 ns since 1601.
func fileTime(t time.Time) uint64 {
	const secondsTo1970 = 11644473600
	return uint64(t.Unix()+secondsTo1970)*1e7 + uint64(t.Nanosecond()/100)
}

// The date forms of RFC 9110 section 5.6.7, the first of which is sent. Dates
// are in GMT; the third form does not say so.
const (
	dateFormat   = "Mon, 02 Jan 2006 15:04:05 GMT"
	dateRFC850   = "Monday, 02-Jan-06 15:04:05 GMT"
	dateAsctime  = time.ANSIC
	longestDates = len("Wednesday, 02-Jan-06 15:04:05 GMT")
)

func appendDate(b []byte, t time.Time) []byte { return t.UTC().AppendFormat(b, dateFormat) }

func parseDate(value []byte) (time.Time, bool) {
	if len(value) == 0 || len(value) > longestDates {
		return time.Time{}, false
	}
	for _, layout := range [...]string{dateFormat, dateRFC850, dateAsctime} {
		if t, err := time.Parse(layout, string(value)); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}
