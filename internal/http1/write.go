package http1

import (
	"strconv"

	"github.com/perchserver/perch/internal/exchange"
)

// AppendRequestLine appends "method target HTTP/1.1".
func AppendRequestLine(b []byte, method string, path, query []byte, hasQuery bool) []byte {
	b = append(b, method...)
	b = append(b, ' ')
	b = append(b, path...)
	if hasQuery {
		b = append(b, '?')
		b = append(b, query...)
	}
	return append(b, " HTTP/1.1\r\n"...)
}

// AppendStatusLine appends the status line. An empty reason stands for the
// standard phrase.
func AppendStatusLine(b []byte, status int, reason []byte) []byte {
	if status == 200 && len(reason) == 0 {
		return append(b, "HTTP/1.1 200 OK\r\n"...)
	}
	b = append(b, "HTTP/1.1 "...)
	b = strconv.AppendUint(b, uint64(status), 10)
	b = append(b, ' ')
	if len(reason) > 0 {
		b = append(b, reason...)
	} else {
		b = append(b, Phrase(status)...)
	}
	return append(b, '\r', '\n')
}

// AppendField appends a field line.
func AppendField(b []byte, name, value []byte) []byte {
	b = append(b, name...)
	b = append(b, ": "...)
	b = append(b, value...)
	return append(b, '\r', '\n')
}

// AppendFields appends all fields of h.
func AppendFields(b []byte, h *exchange.Header) []byte {
	for i := range h.Fields {
		f := &h.Fields[i]
		b = AppendField(b, f.NameBytes(), f.Value)
	}
	return b
}

// AppendLength appends a Content-Length field.
func AppendLength(b []byte, n int64) []byte {
	b = append(b, "Content-Length: "...)
	b = strconv.AppendInt(b, n, 10)
	return append(b, '\r', '\n')
}

// AppendChunk appends one chunk with the data of p, which must not be empty:
// an empty one would end the body.
func AppendChunk(b, p []byte) []byte {
	b = AppendChunkSize(b, int64(len(p)))
	b = append(b, p...)
	return append(b, '\r', '\n')
}

// AppendChunkSize appends the size line of a chunk whose data follows.
func AppendChunkSize(b []byte, n int64) []byte {
	b = strconv.AppendInt(b, n, 16)
	return append(b, '\r', '\n')
}

// AppendLastChunk ends a chunked body with the trailer fields that may stand
// there.
func AppendLastChunk(b []byte, trailer []exchange.Field) []byte {
	b = append(b, '0', '\r', '\n')
	for i := range trailer {
		if f := &trailer[i]; TrailerAllowed(f.ID) {
			b = AppendField(b, f.NameBytes(), f.Value)
		}
	}
	return append(b, '\r', '\n')
}

// ValidField reports whether a field that some stage made may be written: a
// token for a name and a value that cannot start a new line.
func ValidField(name, value []byte) bool { return isToken(name) && validValue(value) }

// ValidValue reports whether a value cannot start a new line.
func ValidValue(value []byte) bool { return validValue(value) }

// Phrase returns the standard reason phrase of a status, "" for one that has
// none (RFC 9110 section 15 and the IANA registry).
func Phrase(status int) string {
	if status < 100 || status >= 600 {
		return ""
	}
	return phrases[status-100]
}

// phrases is never written.
var phrases = [500]string{
	0: "Continue", 1: "Switching Protocols", 2: "Processing", 3: "Early Hints",
	100: "OK", 101: "Created", 102: "Accepted", 103: "Non-Authoritative Information",
	104: "No Content", 105: "Reset Content", 106: "Partial Content", 107: "Multi-Status",
	108: "Already Reported", 126: "IM Used",
	200: "Multiple Choices", 201: "Moved Permanently", 202: "Found", 203: "See Other",
	204: "Not Modified", 205: "Use Proxy", 207: "Temporary Redirect", 208: "Permanent Redirect",
	300: "Bad Request", 301: "Unauthorized", 302: "Payment Required", 303: "Forbidden",
	304: "Not Found", 305: "Method Not Allowed", 306: "Not Acceptable",
	307: "Proxy Authentication Required", 308: "Request Timeout", 309: "Conflict", 310: "Gone",
	311: "Length Required", 312: "Precondition Failed", 313: "Content Too Large",
	314: "URI Too Long", 315: "Unsupported Media Type", 316: "Range Not Satisfiable",
	317: "Expectation Failed", 318: "I'm a teapot", 321: "Misdirected Request",
	322: "Unprocessable Content", 323: "Locked", 324: "Failed Dependency", 325: "Too Early",
	326: "Upgrade Required", 328: "Precondition Required", 329: "Too Many Requests",
	331: "Request Header Fields Too Large", 351: "Unavailable For Legal Reasons",
	400: "Internal Server Error", 401: "Not Implemented", 402: "Bad Gateway",
	403: "Service Unavailable", 404: "Gateway Timeout", 405: "HTTP Version Not Supported",
	406: "Variant Also Negotiates", 407: "Insufficient Storage", 408: "Loop Detected",
	411: "Network Authentication Required",
}
