package http2

import (
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/http2"
)

// What reaches a driver of a request, and how others are refused: RFC 9113
// sections 8.1.1, 8.2 and 8.3, and RFC 8441 section 4. A request that could
// mean something else to HTTP/1.1 is malformed.
func TestRequests(t *testing.T) {
	t.Parallel()
	const plain = "request GET / Host=a length 0"
	malformed := func(why string) string { return "malformed: " + why }
	without := func(name string, fields []string) []string {
		return slices.DeleteFunc(fields, func(f string) bool { return strings.HasPrefix(f, name+":") })
	}
	for _, test := range []struct {
		name   string
		fields []string
		want   string
	}{
		{"plain", get(), plain},
		{"order and spelling", get("x-b: 2", "user-agent: u", "x-a: 1", "accept: */*"), "request GET / Host=a x-b=2 User-Agent=u x-a=1 Accept=*/* length 0"},
		{"host that is the authority", get("host: A"), plain},
		{"host alone", append(without(":authority", get()), "host: b"), "request GET / Host=b length 0"},
		{"cookies are joined", get("cookie: a=1", "x: y", "cookie: b=2", "cookie: c=3"), "request GET / Host=a Cookie=a=1; b=2; c=3 x=y length 0"},
		{"TE trailers", get("te: trailers"), "request GET / Host=a TE=trailers length 0"},
		{"empty value", get("x:"), "request GET / Host=a x= length 0"},
		{"length 0", get("content-length: 0"), "request GET / Host=a Content-Length=0 length 0"},
		{"own method", append([]string{":method: BREW"}, without(":method", get())...), "request BREW / Host=a length 0"},

		{"no method", without(":method", get()), malformed("no :method")},
		{"no scheme", without(":scheme", get()), malformed("no :scheme or no :path")},
		{"no path", without(":path", get()), malformed("no :scheme or no :path")},
		{"empty path", append(without(":path", get()), ":path:"), malformed("an empty :path")},
		{"absolute path", append(without(":path", get()), ":path: http://b/"), malformed("a :path that does not begin with a slash")},
		{"other scheme", append(without(":scheme", get()), ":scheme: https"), malformed("a :scheme that is not the connection's")},
		{"method twice", append(get(), ":method: POST"), malformed("a pseudo-header field that came twice")},
		{"path twice", append(get(), ":path: /"), malformed("a pseudo-header field that came twice")},
		{"unknown pseudo", append(get(), ":x: 1"), malformed("an unknown pseudo-header field")},
		{"response pseudo", append(get(), ":status: 200"), malformed("an unknown pseudo-header field")},
		{"pseudo behind", append(without(":path", get("x: 1")), ":path: /"), malformed("a pseudo-header field behind another field")},
		{"upper case", get("X-A: 1"), malformed("a field name in upper case")},
		{"empty name", get(""), malformed("a field name that is not a token")},
		{"space in name", get("x a: 1"), malformed("a field name that is not a token")},
		{"CR in value", get("x: a\rb"), malformed("a field value with a control character")},
		{"LF in value", get("x: a\nb: c"), malformed("a field value with a control character")},
		{"NUL in value", get("x: a\x00"), malformed("a field value with a control character")},
		{"NUL in name", get("x\x00: a"), malformed("a field name that is not a token")},
		{"LF in name", get("x\n: a"), malformed("a field name that is not a token")},
		{"space before value", get("x:  a"), malformed("a field value with space around it")},
		{"space behind value", get("x: a\t"), malformed("a field value with space around it")},
		{"transfer-encoding", get("transfer-encoding: chunked"), malformed("a field that is about the connection: Transfer-Encoding")},
		{"connection", get("connection: x"), malformed("a field that is about the connection: Connection")},
		{"keep-alive", get("keep-alive: 1"), malformed("a field that is about the connection: Keep-Alive")},
		{"proxy-connection", get("proxy-connection: x"), malformed("a field that is about the connection: Proxy-Connection")},
		{"upgrade", get("upgrade: h2c"), malformed("a field that is about the connection: Upgrade")},
		{"TE gzip", get("te: trailers, gzip"), malformed("TE other than trailers")},
		{"host against authority", get("host: b"), malformed("Host and :authority differ")},
		{"host twice", get("host: a", "host: a"), malformed("more than one Host")},
		{"length twice", get("content-length: 0", "content-length: 0"), malformed("a Content-Length that is not one number")},
		{"length with a sign", get("content-length: +1"), malformed("a Content-Length that is not one number")},
		{"length without a body", get("content-length: 1"), malformed("Content-Length and DATA differ")},
		{"protocol without CONNECT", append([]string{":protocol: websocket"}, get()...), malformed(":protocol without CONNECT")},
		{"CONNECT with a path", append([]string{":method: CONNECT"}, without(":method", get())...), malformed("CONNECT with :scheme or :path, or without :authority")},
		{"CONNECT to nowhere", []string{":method: CONNECT"}, malformed("CONNECT with :scheme or :path, or without :authority")},
		{"extended CONNECT that has ended", append([]string{":method: CONNECT", ":protocol: websocket"}, without(":method", get())...), malformed("an extended CONNECT with a body")},

		// Well formed, and answered with a status.
		{"CONNECT", []string{":method: CONNECT", ":authority: a:443"}, "refused this method is not served here"},
		{"no host", without(":authority", get()), "refused the Host field is missing"},
		{"bad host", append(without(":authority", get()), ":authority: a@b"), "refused the Host field is not a host and port"},
		{"above the root", append(without(":path", get()), ":path: /../x"), "refused the path leads above the root"},
		{"asterisk", append(without(":path", get()), ":path: *"), "refused the target * is for OPTIONS alone"},
		{"long line", append(without(":path", get()), ":path: /"+strings.Repeat("a", 8<<10)), "refused the request line is too long"},
		{"many fields", get(strings.Fields(strings.Repeat("x:1 ", 101))...), "refused there are too many header fields"},

		// Not even a target or a method: the answer is a reset.
		{"space in path", append(without(":path", get()), ":path: /a b"), "refused the request target is malformed"},
		{"CRLF in path", append(without(":path", get()), ":path: / HTTP/1.1\r\nX: y"), "refused the request target is malformed"},
		{"NUL in path", append(without(":path", get()), ":path: /\x00"), "refused the request target is malformed"},
		{"fragment", append(without(":path", get()), ":path: /#a"), "refused the request target is malformed"},
		{"CRLF in method", append([]string{":method: GET / HTTP/1.1\r\nX: y"}, without(":method", get())...), "refused the method is not a token"},
		{"LF in authority", append(without(":authority", get()), ":authority: a\nb"), "refused the Host field is not a host and port"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPeer(t)
			p.headers(1, true, test.fields...)
			p.headers(3, true, get()...)
			p.run()
			if got := p.log[0]; got != test.want {
				t.Errorf("got  %s\nwant %s", got, test.want)
			}
			reset := strings.HasPrefix(test.want, "malformed") || strings.Contains(test.want, "target is malformed") || strings.Contains(test.want, "not a token")
			if got := slices.Contains(p.answered(), "RST_STREAM 1 PROTOCOL_ERROR"); got != reset {
				t.Errorf("reset %v, want %v", got, reset)
			}
			if got := p.log[len(p.log)-1]; got != plain || p.err != nil {
				t.Errorf("the next request: %s, %v", got, p.err)
			}
		})
	}
}

// Bodies that are not as long as announced, and what stands behind them.
func TestBodies(t *testing.T) {
	t.Parallel()
	data := func(p *peer, end bool, s string) { p.fr.WriteData(1, end, []byte(s)) }
	for _, test := range []struct {
		name string
		send func(p *peer)
		want string
		rst  string // what stream 1 was reset with
	}{
		{"whole", func(p *peer) { p.headers(1, false, post("content-length: 5")...); data(p, true, "hello") },
			`body "hello" end`, ""},
		{"too long", func(p *peer) { p.headers(1, false, post("content-length: 4")...); data(p, true, "hello") },
			"malformed: Content-Length and DATA differ", "PROTOCOL_ERROR"},
		{"too long, unended", func(p *peer) { p.headers(1, false, post("content-length: 4")...); data(p, false, "hello") },
			"malformed: Content-Length and DATA differ", "PROTOCOL_ERROR"},
		{"too short", func(p *peer) { p.headers(1, false, post("content-length: 6")...); data(p, true, "hello") },
			"malformed: Content-Length and DATA differ", "PROTOCOL_ERROR"},
		{"too short, with a trailer", func(p *peer) {
			p.headers(1, false, post("content-length: 6")...)
			data(p, false, "hello")
			p.headers(1, true, "x: 1")
		}, "malformed: Content-Length and DATA differ", "PROTOCOL_ERROR"},
		{"trailer", func(p *peer) { p.headers(1, false, post()...); p.headers(1, true, "x: 1", "host: b") }, `body "" x=1 end`, ""},
		{"trailer that does not end", func(p *peer) { p.headers(1, false, post()...); p.headers(1, false, "x: 1") },
			"malformed: HEADERS in the middle of a body", "PROTOCOL_ERROR"},
		{"trailer with a pseudo-field", func(p *peer) { p.headers(1, false, post()...); p.headers(1, true, ":path: /") },
			"malformed: a pseudo-header field behind the body", "PROTOCOL_ERROR"},
		{"trailer about the connection", func(p *peer) { p.headers(1, false, post()...); p.headers(1, true, "transfer-encoding: chunked") },
			"malformed: a field that is about the connection: Transfer-Encoding", "PROTOCOL_ERROR"},
		{"behind the end", func(p *peer) { p.headers(1, true, post()...); data(p, true, "x") },
			"malformed: DATA behind the end of the message", "STREAM_CLOSED"},
		{"padding counts for windows alone", func(p *peer) {
			p.headers(1, false, post("content-length: 1")...)
			p.fr.WriteDataPadded(1, true, []byte("x"), make([]byte, 255))
		}, `body "x" end`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPeer(t)
			test.send(p)
			p.run()
			if got := p.log[len(p.log)-1]; got != test.want || p.err != nil {
				t.Errorf("got %s, %v, want %s", got, p.err, test.want)
			}
			if got := slices.Contains(p.answered(), "RST_STREAM 1 "+test.rst); got != (test.rst != "") {
				t.Errorf("reset with %q: %v", test.rst, got)
			}
		})
	}
}

// What is only too large in the sum is read to its end and answered; what is
// far too large ends the connection.
func TestLargeHeads(t *testing.T) {
	t.Parallel()
	send := func(p *peer, id uint32, block []byte) {
		n := min(len(block), frameSize)
		p.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: block[:n], EndStream: true, EndHeaders: n == len(block)})
		for block = block[n:]; len(block) > 0; block = block[n:] {
			n = min(len(block), frameSize)
			p.fr.WriteContinuation(id, n == len(block), block[:n])
		}
	}
	for _, test := range []struct {
		name   string
		fields int // of 1000 bytes
		want   string
	}{
		{"allowed", 30, "request"},
		{"431", 40, "refused the header fields are too large"},
		{"twice", 75, "refused the header fields are too large"},
		{"too much", 120, "connection error 11"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := newPeer(t)
			p.enc.SetMaxDynamicTableSize(0)
			fields := get()
			for range test.fields {
				fields = append(fields, "x: "+strings.Repeat("\x7e", 990))
			}
			p.run()
			send(p, 1, p.encode(fields...))
			p.run()
			if got := p.log[len(p.log)-1]; !strings.HasPrefix(got, test.want) {
				t.Errorf("got %s, want %s", got, test.want)
			}
		})
	}
}
