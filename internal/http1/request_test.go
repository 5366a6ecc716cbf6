package http1

import (
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

// limits are those of the product (issue: request line 8 KiB, fields 32 KiB,
// 100 fields).
var limits = Limits{Line: 8 << 10, Fields: 32 << 10, Count: 100}

// read finds and parses the request head at the start of text.
func read(text string) (*exchange.Request, *Framing, error) {
	var scan Scanner
	n, err := scan.Scan([]byte(text), &limits)
	if err != nil {
		return nil, nil, err
	}
	if n == 0 {
		return nil, nil, CutShort
	}
	r, f := new(exchange.Request), new(Framing)
	_, err = ParseRequest([]byte(text[:n]), r, f, nil)
	return r, f, err
}

func TestRequestLine(t *testing.T) {
	t.Parallel()
	// RFC 9112 section 3; spec app-side 1.10.
	tests := []struct {
		line string
		want error
	}{
		{"GET / HTTP/1.1", nil},
		{"get / HTTP/1.1", nil}, // methods are case-sensitive tokens, any token is one
		{"M-SEARCH / HTTP/1.1", nil},
		{"!#$%&'*+-.^_`|~09azAZ / HTTP/1.1", nil},
		{"GET / HTTP/1.0", nil},
		{"", BadMethod},
		{" GET / HTTP/1.1", BadMethod},
		{"GE\tT / HTTP/1.1", BadMethod},
		{"GET\t/ HTTP/1.1", BadMethod},
		{"G(T / HTTP/1.1", BadMethod},
		{"G\x00T / HTTP/1.1", BadMethod},
		{"G\xc3\xa4T / HTTP/1.1", BadMethod},
		{"GET:/ HTTP/1.1", BadMethod},
		{"GET", BadMethod},
		{"GET ", BadRequestLine},
		{"GET /", BadRequestLine}, // HTTP/0.9
		{"GET / ", BadVersion},
		{"GET  / HTTP/1.1", BadRequestLine},
		{"GET /  HTTP/1.1", BadRequestLine},
		{"GET / HTTP/1.1 ", BadRequestLine},
		{"GET / x HTTP/1.1", BadRequestLine},
		{"GET / HTTP/1.1\t", BadVersion},
		{"GET / HTTP/1.2", UnknownVersion},
		{"GET / HTTP/2.0", UnknownVersion},
		{"GET / HTTP/0.9", UnknownVersion},
		{"PRI * HTTP/2.0", UnknownVersion}, // RFC 9113 section 3.4: the preface
		{"GET / http/1.1", BadVersion},
		{"GET / HTTP/1", BadVersion},
		{"GET / HTTP/11", BadVersion},
		{"GET / HTTP/1.10", BadVersion},
		{"GET / HTTP/x.y", BadVersion},
		{"GET / HTTP /1.1", BadRequestLine},
		{"GET /a\x00b HTTP/1.1", BadTarget},
		{"GET /a\rb HTTP/1.1", BadTarget},
		{"GET /a\tb HTTP/1.1", BadTarget},
		{"GET /a\x7fb HTTP/1.1", BadTarget},
		{"GET /\xc3\xa4 HTTP/1.1", BadTarget}, // not ASCII
		{"GET /a#b HTTP/1.1", BadTarget},      // a fragment is never sent
		{"GET /?a#b HTTP/1.1", BadTarget},
	}
	for _, tt := range tests {
		_, _, err := read(tt.line + "\r\nHost: a\r\n\r\n")
		if err != tt.want {
			t.Errorf("%q: %v, want %v", tt.line, err, tt.want)
		}
	}
}

func TestRequestLineParts(t *testing.T) {
	t.Parallel()
	r, _, err := read("PATCH /a/b?c=d&e HTTP/1.0\r\n\r\n")
	if err != nil {
		t.Fatal(err)
	}
	if r.Method != "PATCH" || r.Proto != exchange.HTTP10 || string(r.Target.Raw) != "/a/b?c=d&e" {
		t.Errorf("method %q, version %d, target %q", r.Method, r.Proto, r.Target.Raw)
	}
	for _, m := range []string{"GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "X"} {
		r, _, err := read(m + " / HTTP/1.1\r\nHost: a\r\n\r\n")
		if err != nil || r.Method != m {
			t.Errorf("%s: method %q, %v", m, r.Method, err)
		}
	}
}

func TestLineEnds(t *testing.T) {
	t.Parallel()
	// RFC 9112 section 2.2: CRLF; a bare LF or CR may be read otherwise by
	// the next hop, so it is refused.
	tests := []struct {
		head string
		want error
	}{
		{"GET / HTTP/1.1\nHost: a\r\n\r\n", BadLineEnd},
		{"GET / HTTP/1.1\r\nHost: a\n\r\n", BadLineEnd},
		{"GET / HTTP/1.1\r\nHost: a\r\n\n", BadLineEnd},
		{"GET / HTTP/1.1\r\nHost: a\r\n\r", CutShort},
		{"GET / HTTP/1.1\rHost: a\r\n\r\n", BadRequestLine},
		{"GET / HTTP/1.1\r\r\nHost: a\r\n\r\n", BadVersion},
		{"GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", BadFieldValue},
		{"GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", BadFieldValue},
		{"GET / HTTP/1.1\r\nHost: a\r\n\rX: b\r\n\r\n", BadFieldName},
		{"GET / HTTP/1.1\r\nHost: a\r\n\x00\r\n\r\n", BadFieldName},
		{"\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BadLineEnd},
	}
	for _, tt := range tests {
		if _, _, err := read(tt.head); err != tt.want {
			t.Errorf("%q: %v, want %v", tt.head, err, tt.want)
		}
	}
}

func TestCheckStart(t *testing.T) {
	t.Parallel()
	for c, want := range map[byte]error{
		'G': nil, 'x': nil, '\r': nil, '\n': nil, // a bare LF is the Scanner's to refuse
		0x16: TLSOnClearPort, ' ': BadMethod, 0: BadMethod, 0x80: BadMethod, '(': BadMethod,
	} {
		if err := CheckStart(c); err != want {
			t.Errorf("%q: %v, want %v", c, err, want)
		}
	}
}

func TestLimits(t *testing.T) {
	t.Parallel()
	const rest = "Host: a\r\n\r\n"
	line := func(total int) string { // a request line of total bytes, its CRLF included
		return "GET /" + strings.Repeat("a", total-len("GET / HTTP/1.1\r\n")) + " HTTP/1.1\r\n"
	}
	field := func(total int) string { // one field line of total bytes
		return "X: " + strings.Repeat("a", total-len("X: \r\n")) + "\r\n"
	}
	start := "GET / HTTP/1.1\r\n"
	host := "Host: a\r\n"
	tests := []struct {
		name string
		head string
		want error
	}{
		{"line at the limit", line(limits.Line) + rest, nil},
		{"line beyond", line(limits.Line+1) + rest, LineTooLong},
		{"line beyond, no end in sight", line(limits.Line + 100)[:limits.Line+1], LineTooLong},
		{"fields at the limit", start + host + field(limits.Fields-len(host)) + "\r\n", nil},
		{"fields beyond", start + host + field(limits.Fields-len(host)+1) + "\r\n", FieldsTooLarge},
		{"fields beyond, no end in sight", start + host + field(limits.Fields)[:limits.Fields], FieldsTooLarge},
		{"count at the limit", start + host + strings.Repeat("X: y\r\n", limits.Count-1) + "\r\n", nil},
		{"count beyond", start + host + strings.Repeat("X: y\r\n", limits.Count) + "\r\n", TooManyFields},
	}
	for _, tt := range tests {
		if _, _, err := read(tt.head); err != tt.want {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.want)
		}
	}
	for fault, status := range map[Fault]int{
		LineTooLong: 414, FieldsTooLarge: 431, TooManyFields: 431, UnknownVersion: 505,
		UnknownCoding: 501, MethodNotAllowed: 405, AsteriskTarget: 405, BadLineEnd: 400,
	} {
		if fault.Status() != status {
			t.Errorf("%v: status %d, want %d", fault, fault.Status(), status)
		}
	}
	for f := Fault(1); f < faultCount; f++ {
		if f.Error() == "" || f.Status() < 400 || f.Status() > 599 {
			t.Errorf("fault %d has no row", f)
		}
	}
}

// The head may come in pieces of any size: the answer is the same, and it is
// given as soon as it can be.
func TestScannerInPieces(t *testing.T) {
	t.Parallel()
	heads := []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\nbody",
		"GET / HTTP/1.1\r\n\r\n",
		"GET / HTTP/1.1\r\nHost: a\nX: y\r\n\r\n",
		"GET / HTTP/1.1\r\n" + strings.Repeat("X: y\r\n", 101) + "\r\n",
		"GET /" + strings.Repeat("a", limits.Line),
	}
	for _, head := range heads {
		var whole Scanner
		wantN, wantErr := whole.Scan([]byte(head), &limits)
		for _, step := range []int{1, 2, 3, 7} {
			var s Scanner
			n, end, err := 0, 0, error(nil)
			for end < len(head) && n == 0 && err == nil {
				end = min(end+step, len(head))
				n, err = s.Scan([]byte(head[:end]), &limits)
			}
			if n != wantN || err != wantErr {
				t.Errorf("%.30q by %d: %d, %v; at once %d, %v", head, step, n, err, wantN, wantErr)
			}
			if n > 0 && end-n >= step {
				t.Errorf("%.30q by %d: found after %d bytes, ends at %d", head, step, end, n)
			}
		}
	}
}

func TestHost(t *testing.T) {
	t.Parallel()
	// RFC 9112 section 3.2; spec app-side 1.11.
	tests := []struct {
		fields string
		want   error
	}{
		{"Host: example.com\r\n", nil},
		{"Host: example.com:8080\r\n", nil},
		{"Host: example.com:\r\n", nil},
		{"hOST:EXAMPLE.com\r\n", nil},
		{"Host: 127.0.0.1:80\r\n", nil},
		{"Host: [::1]\r\n", nil},
		{"Host: [::]:80\r\n", nil},
		{"Host: [::ffff:1.2.3.4]:80\r\n", nil},
		{"Host: a!$&'()-._~b\r\n", nil},
		{"Host:\r\n", nil},
		{"Host: \t \r\n", nil},
		{"", NoHost},
		{"Host: a\r\nHost: a\r\n", ManyHosts},
		{"Host: a\r\nHost:\r\n", ManyHosts},
		{"Host: a, b\r\n", BadHost},
		{"Host: a,b\r\n", BadHost},
		{"Host: a b\r\n", BadHost},
		{"Host: a/b\r\n", BadHost},
		{"Host: a\\b\r\n", BadHost},
		{"Host: a?b\r\n", BadHost},
		{"Host: user@a\r\n", BadHost},
		{"Host: a%62\r\n", BadHost},
		{"Host: a\"b\r\n", BadHost},
		{"Host: \xc3\xa4\r\n", BadHost},
		{"Host: a:b\r\n", BadHost},
		{"Host: a:80:80\r\n", BadHost},
		{"Host: a:-1\r\n", BadHost},
		{"Host: a:123456\r\n", BadHost},
		{"Host: :80\r\n", BadHost},
		{"Host: ::1\r\n", BadHost},
		{"Host: [::1\r\n", BadHost},
		{"Host: [::1]x\r\n", BadHost},
		{"Host: [::1]:x\r\n", BadHost},
		{"Host: []\r\n", BadHost},
		{"Host: [:]\r\n", BadHost},
		{"Host: [::1%25eth0]\r\n", BadHost},
		{"Host: x[::1]\r\n", BadHost},
	}
	for _, tt := range tests {
		_, _, err := read("GET / HTTP/1.1\r\n" + tt.fields + "\r\n")
		if err != tt.want {
			t.Errorf("%q: %v, want %v", tt.fields, err, tt.want)
		}
		if tt.want == NoHost {
			continue
		}
		if _, _, err := read("GET / HTTP/1.0\r\n" + tt.fields + "\r\n"); err != tt.want {
			t.Errorf("%q in HTTP/1.0: %v, want %v", tt.fields, err, tt.want)
		}
	}
	if r, _, err := read("GET / HTTP/1.0\r\n\r\n"); err != nil || r.Host != nil {
		t.Errorf("HTTP/1.0 without Host: host %q, %v", r.Host, err)
	}
}

func TestRequestFraming(t *testing.T) {
	t.Parallel()
	// RFC 9112 sections 6.1 to 6.3, RFC 9110 section 8.6; spec app-side 1.12.
	const big = "999999999999999999" // 18 digits: the most that is read
	tests := []struct {
		fields string
		length int64
		want   error
	}{
		{"", 0, nil},
		{"Content-Length: 0\r\n", 0, nil},
		{"Content-Length: 5\r\n", 5, nil},
		{"Content-Length: 005\r\n", 5, nil},
		{"Content-Length:\t5 \r\n", 5, nil},
		{"Content-Length: " + big + "\r\n", 999999999999999999, nil},
		{"Content-Length: " + big + "0\r\n", 0, BadLength},
		{"Content-Length: 18446744073709551621\r\n", 0, BadLength}, // 2^64+5
		{"Content-Length:\r\n", 0, BadLength},
		{"Content-Length: +5\r\n", 0, BadLength},
		{"Content-Length: -5\r\n", 0, BadLength},
		{"Content-Length: 0x5\r\n", 0, BadLength},
		{"Content-Length: 5 5\r\n", 0, BadLength},
		{"Content-Length: 5,5\r\n", 0, BadLength},
		{"Content-Length: 5.0\r\n", 0, BadLength},
		{"Content-Length: five\r\n", 0, BadLength},
		{"Content-Length: \xd9\xa5\r\n", 0, BadLength}, // an Arabic five
		{"Content-Length: 5\r\nContent-Length: 5\r\n", 0, ManyLengths},
		{"Content-Length: 5\r\nContent-Length: 6\r\n", 0, ManyLengths},
		{"Content-Length: 0\r\nContent-Length: 5\r\n", 0, ManyLengths},
		{"Transfer-Encoding: chunked\r\n", -1, nil},
		{"Transfer-Encoding: CHUNKED\r\n", -1, nil},
		{"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n", 0, TwoFramings},
		{"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n", 0, TwoFramings},
		{"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n", 0, TwoFramings},
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", 0, BadCoding},
		{"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n", 0, BadCoding},
		{"Transfer-Encoding: chunked, chunked\r\n", 0, BadCoding},
		{"Transfer-Encoding: gzip, chunked\r\n", 0, UnknownCoding},
		{"Transfer-Encoding: chunked, gzip\r\n", 0, UnknownCoding},
		{"Transfer-Encoding: gzip\r\n", 0, UnknownCoding},
		{"Transfer-Encoding: identity\r\n", 0, UnknownCoding},
		{"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n", 0, UnknownCoding},
		{"Transfer-Encoding: xchunked\r\n", 0, UnknownCoding},
		{"Transfer-Encoding: x-chunked\r\n", 0, UnknownCoding},
		{"Transfer-Encoding: chunked,\r\n", 0, BadCoding},
		{"Transfer-Encoding: ,chunked\r\n", 0, BadCoding},
		{"Transfer-Encoding: \"chunked\"\r\n", 0, BadCoding},
		{"Transfer-Encoding: chunked;q=1\r\n", 0, BadCoding},
		{"Transfer-Encoding: chun ked\r\n", 0, BadCoding},
		{"Transfer-Encoding:\r\n", 0, BadCoding},
		{"Transfer-Encoding: \x0bchunked\r\n", 0, BadFieldValue},
		{"Transfer-Encoding : chunked\r\n", 0, BadFieldName},
		{" Transfer-Encoding: chunked\r\n", 0, FoldedField},
		{"Transfer_Encoding: chunked\r\n", 0, nil}, // another field: means nothing
		{"X-Transfer-Encoding: chunked\r\n", 0, nil},
		{"Transfer-Encodin: chunked\r\n", 0, nil},
	}
	for _, tt := range tests {
		r, _, err := read("GET / HTTP/1.1\r\nHost: a\r\n" + tt.fields + "\r\n")
		if err != tt.want {
			t.Errorf("%q: %v, want %v", tt.fields, err, tt.want)
		} else if err == nil && r.Length != tt.length {
			t.Errorf("%q: length %d, want %d", tt.fields, r.Length, tt.length)
		}
	}
}

func TestRequestFramingInHTTP10(t *testing.T) {
	t.Parallel()
	tests := []struct {
		head string
		want error
	}{
		{"GET / HTTP/1.0\r\n\r\n", nil},
		{"POST / HTTP/1.0\r\nContent-Length: 5\r\n\r\n", nil},
		{"POST / HTTP/1.0\r\n\r\n", NoLength}, // RFC 1945 section 7.2.2
		{"PUT / HTTP/1.0\r\n\r\n", NoLength},
		{"POST / HTTP/1.1\r\nHost: a\r\n\r\n", nil}, // RFC 9112 section 6.3: empty
		// RFC 9112 section 6.1: a message with an older version and a
		// Transfer-Encoding is to be treated as if the framing is faulty.
		{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", CodingInHTTP10},
		{"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", TwoFramings},
	}
	for _, tt := range tests {
		if _, _, err := read(tt.head); err != tt.want {
			t.Errorf("%q: %v, want %v", tt.head, err, tt.want)
		}
	}
}

func TestConnectionOptions(t *testing.T) {
	t.Parallel()
	// RFC 9110 section 7.6.1, RFC 9112 section 9.3.
	const v11, v10 = "GET / HTTP/1.1\r\nHost: a\r\n", "GET / HTTP/1.0\r\n"
	tests := []struct {
		head string
		want Framing
	}{
		{v11, Framing{}},
		{v11 + "Connection: keep-alive\r\n", Framing{KeepAlive: true}},
		{v11 + "Connection: close\r\n", Framing{Close: true}},
		{v11 + "Connection: Close , Keep-Alive\r\n", Framing{Close: true, KeepAlive: true}},
		{v11 + "Connection: keep-alive\r\nConnection: close\r\n", Framing{Close: true, KeepAlive: true}},
		{v11 + "Connection: ,, Upgrade\r\n", Framing{Upgrade: true}},
		{v11 + "Connection: X-One\r\n", Framing{Named: true}},
		{v11 + "Connection: closed\r\n", Framing{Named: true}},
		{v11 + "Expect: 100-Continue\r\n", Framing{Expect: true}},
		{v11 + "Expect: something\r\n", Framing{}},
		{v11 + "Expect: 100-continue\r\nExpect: something\r\n", Framing{Expect: true}},
		{v11 + "Expect: something\r\nExpect: 100-continue\r\n", Framing{Expect: true}},
		{v10, Framing{Close: true}},
		{v10 + "Connection: keep-alive\r\n", Framing{KeepAlive: true}},
		{v10 + "Connection: close, keep-alive\r\n", Framing{Close: true, KeepAlive: true}},
		{v10 + "Expect: 100-continue\r\n", Framing{Close: true}}, // RFC 9110 section 10.1.1: ignored
	}
	for _, tt := range tests {
		_, f, err := read(tt.head + "\r\n")
		if err != nil {
			t.Errorf("%q: %v", tt.head, err)
			continue
		}
		got := *f
		got.Length, got.hosts, got.options = 0, 0, 0
		if got != tt.want {
			t.Errorf("%q: %+v, want %+v", tt.head, got, tt.want)
		}
	}
	many := v11 + "Connection: " + strings.Repeat("a,", maxOptions-1) + "a\r\n"
	if _, _, err := read(many + "\r\n"); err != nil {
		t.Errorf("%d options: %v", maxOptions, err)
	}
	if _, _, err := read(many + "Connection: a\r\n\r\n"); err != TooManyOptions {
		t.Errorf("%d options: %v, want %v", maxOptions+1, err, TooManyOptions)
	}
}

func TestUpgrade(t *testing.T) {
	t.Parallel()
	// RFC 9110 section 7.8; spec app-side 1.12: without a body only.
	const head = "GET / HTTP/1.1\r\nHost: a\r\n"
	tests := []struct{ head, want string }{
		{head + "Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket"},
		{head + "Connection: keep-alive, upgrade\r\nUpgrade: chat/2\r\nContent-Length: 0\r\n", "chat/2"},
		// RFC 9113 section 3.1: no upgrade to HTTP/2, whose requests would not be judged.
		{head + "Connection: upgrade\r\nUpgrade: h2c\r\n", ""},
		{head + "Connection: upgrade\r\nUpgrade: websocket , H2C\r\n", ""},
		{head + "Connection: upgrade\r\nUpgrade: h2\r\n", ""},
		{head + "Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n", ""},
		{head + "Connection: upgrade\r\nUpgrade: h2cx, HTTPX\r\n", "h2cx, HTTPX"},
		{head + "Upgrade: websocket\r\n", ""},
		{head + "Connection: upgrade\r\n", ""},
		{head + "Connection: upgrade\r\nUpgrade:\r\n", ""},
		{head + "Connection: upgrade\r\nUpgrade: websocket\r\nContent-Length: 3\r\n", ""},
		{head + "Connection: upgrade\r\nUpgrade: websocket\r\nTransfer-Encoding: chunked\r\n", ""},
		{"GET / HTTP/1.0\r\nConnection: upgrade\r\nUpgrade: websocket\r\n", ""},
	}
	for _, tt := range tests {
		r, _, err := read(tt.head + "\r\n")
		if err != nil || string(r.Upgrade) != tt.want {
			t.Errorf("%q: %q, %v, want %q", tt.head, r.Upgrade, err, tt.want)
		}
	}
}

// A head that is refused must not leave the framing of the one before it.
func TestFramingIsNotCarriedOver(t *testing.T) {
	t.Parallel()
	r, f := new(exchange.Request), &Framing{Expect: true, Close: true, Chunked: true, Length: 9}
	if _, err := ParseRequest([]byte("\x01 / HTTP/1.1\r\n\r\n"), r, f, nil); err != BadMethod {
		t.Fatalf("error %v", err)
	}
	if *f != (Framing{}) {
		t.Errorf("framing %+v", *f)
	}
}
