package http1

import (
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

func TestStatusLine(t *testing.T) {
	t.Parallel()
	// RFC 9112 section 4.
	tests := []struct {
		line   string
		status int
		reason string
		want   error
	}{
		{"HTTP/1.1 200 OK", 200, "OK", nil},
		{"HTTP/1.0 404 Not Found", 404, "Not Found", nil},
		{"HTTP/1.1 200 ", 200, "", nil},
		{"HTTP/1.1 200", 200, "", nil}, // the space is left out by some applications
		{"HTTP/1.1 299 Gr\xfc\xdfe\tx", 299, "Gr\xfc\xdfe\tx", nil},
		{"HTTP/1.1 100 Continue", 100, "Continue", nil},
		{"HTTP/1.1 999 x", 999, "x", nil},
		{"HTTP/1.1 099 x", 0, "", BadStatusLine},
		{"HTTP/1.1 20 OK", 0, "", BadStatusLine},
		{"HTTP/1.1 2000 OK", 0, "", BadStatusLine},
		{"HTTP/1.1 2x0 OK", 0, "", BadStatusLine},
		{"HTTP/1.1 -20 OK", 0, "", BadStatusLine},
		{"HTTP/1.1  200 OK", 0, "", BadStatusLine},
		{"HTTP/1.1 200\tOK", 0, "", BadStatusLine},
		{"HTTP/1.1\t200 OK", 0, "", BadStatusLine},
		{"HTTP/1.2 200 OK", 0, "", BadStatusLine},
		{"HTTP/2.0 200 OK", 0, "", BadStatusLine},
		{"http/1.1 200 OK", 0, "", BadStatusLine},
		{"HTTP/1.1 200 O\x00K", 0, "", BadStatusLine},
		{"HTTP/1.1 200 O\rK", 0, "", BadStatusLine},
		{"ICY 200 OK", 0, "", BadStatusLine},
		{"200 OK", 0, "", BadStatusLine},
		{"", 0, "", BadStatusLine},
	}
	for _, tt := range tests {
		var r ResponseHead
		err := ParseResponse([]byte(tt.line+"\r\n\r\n"), &r)
		if err != tt.want {
			t.Errorf("%q: %v, want %v", tt.line, err, tt.want)
		} else if err == nil && (r.Status != tt.status || string(r.Reason) != tt.reason) {
			t.Errorf("%q: %d %q", tt.line, r.Status, r.Reason)
		}
	}
}

func TestResponseFraming(t *testing.T) {
	t.Parallel()
	tests := []struct {
		head    string
		length  int64
		chunked bool
		reuse   bool
		want    error
	}{
		{"HTTP/1.1 200 OK\r\n", -1, false, true, nil},
		{"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n", 7, false, true, nil},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n", -1, true, true, nil},
		{"HTTP/1.1 200 OK\r\nConnection: close\r\n", -1, false, false, nil},
		{"HTTP/1.0 200 OK\r\n", -1, false, false, nil},
		{"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\n", -1, false, true, nil},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 7\r\n", 0, false, false, TwoFramings},
		{"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n", 0, false, false, CodingInHTTP10},
		{"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n", 0, false, false, UnknownCoding},
		{"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nContent-Length: 7\r\n", 0, false, false, ManyLengths},
		{"HTTP/1.1 200 OK\r\nContent-Length: 7, 7\r\n", 0, false, false, BadLength},
		{"HTTP/1.1 200 OK\r\nX: a\r\n b\r\n", 0, false, false, FoldedField},
		{"HTTP/1.1 200 OK\nX: a\r\n", 0, false, false, BadLineEnd},
	}
	for _, tt := range tests {
		var r ResponseHead
		err := ParseResponse([]byte(tt.head+"\r\n"), &r)
		if err != tt.want {
			t.Errorf("%q: %v, want %v", tt.head, err, tt.want)
		} else if err == nil && (r.Length != tt.length || r.Chunked != tt.chunked || r.Reusable() != tt.reuse) {
			t.Errorf("%q: length %d, chunked %v, reusable %v", tt.head, r.Length, r.Chunked, r.Reusable())
		}
	}
}

func TestKeepAliveTimeout(t *testing.T) {
	t.Parallel()
	for value, want := range map[string]int{
		"timeout=5": 5, "Timeout=72, max=1000": 72, "max=3, timeout=0": 0, "": 0, "timeout=": 0,
		"timeout=-1": 0, "timeout=99999999999": 0, "xtimeout=5": 0,
	} {
		var r ResponseHead
		err := ParseResponse([]byte("HTTP/1.1 200 OK\r\nKeep-Alive: "+value+"\r\n\r\n"), &r)
		if err != nil || r.KeepAliveTimeout != want {
			t.Errorf("%q: %d, %v, want %d", value, r.KeepAliveTimeout, err, want)
		}
	}
}

// A head that is used again forgets the one before.
func TestResponseHeadIsReused(t *testing.T) {
	t.Parallel()
	var r ResponseHead
	first := "HTTP/1.1 500 No\r\nConnection: close, x\r\nContent-Length: 9\r\nKeep-Alive: timeout=9\r\nExpect: 100-continue\r\n\r\n"
	if err := ParseResponse([]byte(first), &r); err != nil {
		t.Fatal(err)
	}
	if err := ParseResponse([]byte("HTTP/1.1 200\r\n\r\n"), &r); err != nil {
		t.Fatal(err)
	}
	if len(r.Header.Fields) != 0 || r.Framing != (Framing{Length: -1}) || r.KeepAliveTimeout != 0 || r.Reason != nil {
		t.Errorf("%+v", r)
	}
}

func TestBodyAllowed(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]bool{100: false, 101: false, 199: false, 200: true, 204: false, 205: true, 304: false, 404: true} {
		if BodyAllowed(status) != want {
			t.Errorf("%d: %v", status, !want)
		}
	}
}

func TestWriting(t *testing.T) {
	t.Parallel()
	value := []byte("v")
	h := exchange.Header{}
	h.Add(exchange.ETag, value)
	h.AddName([]byte("x-ONE"), value)
	trailer := []exchange.Field{{Name: []byte("X-Sum"), Value: value}, {ID: exchange.ContentLength, Value: value}}
	tests := []struct{ got, want string }{
		{string(AppendRequestLine(nil, "GET", []byte("/a"), []byte("b"), true)), "GET /a?b HTTP/1.1\r\n"},
		{string(AppendRequestLine(nil, "GET", []byte("/a"), nil, true)), "GET /a? HTTP/1.1\r\n"},
		{string(AppendRequestLine(nil, "OPTIONS", []byte("*"), nil, false)), "OPTIONS * HTTP/1.1\r\n"},
		{string(AppendStatusLine(nil, 200, nil)), "HTTP/1.1 200 OK\r\n"},
		{string(AppendStatusLine(nil, 200, []byte("Fine"))), "HTTP/1.1 200 Fine\r\n"},
		{string(AppendStatusLine(nil, 431, nil)), "HTTP/1.1 431 Request Header Fields Too Large\r\n"},
		{string(AppendStatusLine(nil, 299, nil)), "HTTP/1.1 299 \r\n"}, // RFC 9112 section 4: the space stays
		{string(AppendStatusLine(nil, 700, nil)), "HTTP/1.1 700 \r\n"},
		{string(AppendFields(nil, &h)), "ETag: v\r\nx-ONE: v\r\n"},
		{string(AppendLength(nil, 1<<40)), "Content-Length: 1099511627776\r\n"},
		{string(AppendChunk(nil, []byte("0123456789abcdef"))), "10\r\n0123456789abcdef\r\n"},
		{string(AppendLastChunk(nil, nil)), "0\r\n\r\n"},
		{string(AppendLastChunk(nil, trailer)), "0\r\nX-Sum: v\r\n\r\n"},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("%q, want %q", tt.got, tt.want)
		}
	}
	// RFC 9110 section 15, a phrase from each class.
	for status, want := range map[int]string{
		103: "Early Hints", 204: "No Content", 226: "IM Used", 308: "Permanent Redirect",
		418: "I'm a teapot", 421: "Misdirected Request", 429: "Too Many Requests",
		451: "Unavailable For Legal Reasons", 505: "HTTP Version Not Supported",
		511: "Network Authentication Required", 99: "", 600: "", 306: "", 430: "",
	} {
		if got := Phrase(status); got != want {
			t.Errorf("%d: %q, want %q", status, got, want)
		}
	}
}

func TestValidField(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, value string
		want        bool
	}{
		{"X-A", "b", true}, {"X-A", "", true}, {"", "b", false}, {"X A", "b", false}, {"X:", "b", false},
		{"X\r\nY", "b", false}, {"X", "a\r\nY: b", false}, {"X", "a\nb", false}, {"X", "a\x00", false},
	}
	for _, tt := range tests {
		if got := ValidField([]byte(tt.name), []byte(tt.value)); got != tt.want {
			t.Errorf("%q: %q: %v", tt.name, tt.value, got)
		}
		if got := ValidValue([]byte(tt.value)); tt.name == "X" && got != tt.want {
			t.Errorf("value %q: %v", tt.value, got)
		}
	}
}
