package static

import (
	"bytes"
	"crypto/rand"
	"strconv"

	"github.com/perchserver/perch/internal/exchange"
)

// maxRanges bounds the parts of one response. A request for more, or for more
// bytes than the file has, gets the whole file (RFC 9110 section 14.2).
const maxRanges = 32

// byteRange is a part of a file.
type byteRange struct{ start, length int64 }

// appendContentRange appends the value of a Content-Range field.
func (r byteRange) appendContentRange(b []byte, size int64) []byte {
	b = append(b, "bytes "...)
	b = strconv.AppendInt(b, r.start, 10)
	b = append(b, '-')
	b = strconv.AppendInt(b, r.start+r.length-1, 10)
	b = append(b, '/')
	return strconv.AppendInt(b, size, 10)
}

// ranges returns the parts that x asks for, none if it is to get the whole
// file, or the error 416.
func (h *Handler) ranges(x *exchange.Exchange, v validators, size int64) ([]byteRange, error) {
	value := x.Request.Header.Get(exchange.Range)
	if value == nil || x.Request.Method != "GET" || size == 0 || !v.sameAs(x) {
		return nil, nil
	}
	ranges, ok := parseRanges(value, size)
	if !ok {
		return nil, nil
	}
	if len(ranges) == 0 {
		x.Response.Header.Set(exchange.ContentRange, strconv.AppendInt([]byte("bytes */"), size, 10))
		return nil, exchange.Errorf(416, 0, op, "none of the ranges %q is in the file of %d bytes", value, size)
	}
	total := int64(0)
	for _, r := range ranges {
		if total += r.length; total > size {
			return nil, nil
		}
	}
	return ranges, nil
}

// parseRanges reads a Range field for a file that is not empty and returns
// the ranges that it can satisfy. It is not ok for a field to be ignored:
// another unit, not well-formed, or too many ranges.
func parseRanges(value []byte, size int64) (ranges []byteRange, ok bool) {
	unit, list, found := bytes.Cut(value, []byte{'='})
	if !found || !exchange.EqualFold(unit, "bytes") {
		return nil, false
	}
	specs := 0
	for spec := range bytes.SplitSeq(list, []byte{','}) {
		spec = bytes.Trim(spec, " \t")
		if len(spec) == 0 {
			continue // RFC 9110 section 5.6.1.2: empty elements count for nothing
		}
		if specs++; specs > maxRanges {
			return nil, false
		}
		r, valid := parseRange(spec, size)
		if !valid {
			return nil, false
		}
		if r.length > 0 {
			ranges = append(ranges, r)
		}
	}
	return ranges, specs > 0
}

// parseRange reads one range-spec. A range that is valid and lies outside of
// the file has no length.
func parseRange(spec []byte, size int64) (r byteRange, valid bool) {
	first, last, found := bytes.Cut(spec, []byte{'-'})
	if !found {
		return r, false
	}
	if len(first) == 0 {
		suffix, ok := parseNumber(last)
		if !ok {
			return r, false
		}
		suffix = min(suffix, size)
		return byteRange{size - suffix, suffix}, true
	}
	start, ok := parseNumber(first)
	if !ok {
		return r, false
	}
	end := size - 1
	if len(last) > 0 {
		if end, ok = parseNumber(last); !ok || end < start {
			return r, false
		}
		end = min(end, size-1)
	}
	if start >= size {
		return r, true
	}
	return byteRange{start, end - start + 1}, true
}

// parseNumber reads decimal digits. A number too large for an int64 is beyond
// every file and becomes the largest.
func parseNumber(s []byte) (n int64, ok bool) {
	const largest = 1<<63 - 1
	if len(s) == 0 {
		return 0, false
	}
	for _, c := range s {
		if c < '0' || c > '9' {
			return 0, false
		}
		if n > (largest-9)/10 {
			n = largest
			continue
		}
		n = n*10 + int64(c-'0')
	}
	return n, true
}

// sendParts answers with several ranges (RFC 9110 section 15.3.7.2).
func (h *Handler) sendParts(x *exchange.Exchange, f *file, ranges []byteRange) error {
	boundary := rand.Text() // 128 random bits, so that no file holds it
	heads := make([][]byte, len(ranges))
	closing := []byte("\r\n--" + boundary + "--\r\n")
	length := int64(len(closing))
	for i, r := range ranges {
		var b []byte
		if i > 0 {
			b = append(b, "\r\n"...)
		}
		b = append(b, "--"+boundary+"\r\nContent-Type: "...)
		b = append(b, f.mime...)
		b = append(b, "\r\nContent-Range: "...)
		b = r.appendContentRange(b, f.size)
		b = append(b, "\r\n\r\n"...)
		heads[i] = b
		length += int64(len(b)) + r.length
	}
	res := &x.Response
	res.Status, res.Length = 206, length
	res.Header.AddString(exchange.ContentType, "multipart/byteranges; boundary="+boundary)
	if err := res.Writer.WriteHead(x); err != nil {
		return err
	}
	for i, r := range ranges {
		if _, err := res.Writer.Write(heads[i]); err != nil {
			return err
		}
		if err := h.send(res.Writer, f, r); err != nil {
			return err
		}
	}
	_, err := res.Writer.Write(closing)
	return err
}
