package wire

import (
	"fmt"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// refused are requests that must not reach the backend. Each carries the word
// smuggled somewhere.
var refused = []struct {
	name, request string
	want          string // the status, or "close" for an end without an answer
}{
	// RFC 9112 section 6.3: two framings are an attack.
	{"LengthAndChunked", "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 6\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nX", "400"},
	{"ChunkedAndLength", "POST /smuggled HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 6\r\n\r\n0\r\n\r\nX", "400"},
	{"TwoLengths", "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nXX", "400"},
	{"ListOfLengths", "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 1, 2\r\n\r\nXX", "400"},
	{"SignedLength", "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: +1\r\n\r\nX", "400"},
	{"NegativeLength", "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", "400"},
	{"HexLength", "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 0x1\r\n\r\nX", "400"},
	{"HugeLength", "POST /smuggled HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n", "400 413"},
	{"TwoCodings", "POST /smuggled HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n", "400 501"},
	{"ChunkedTwice", "POST /smuggled HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked, chunked\r\n\r\n0\r\n\r\n", "400 501"},
	{"UnknownCoding", "POST /smuggled HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n", "400 501"},
	{"GzipChunked", "POST /smuggled HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "400 501"},
	{"CodingWithTab", "POST /smuggled HTTP/1.1\r\nHost: a\r\nTransfer-Encoding:\vchunked\r\n\r\n0\r\n\r\n", "400"},
	{"ChunkedOverHTTP10", "POST /smuggled HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "400"},
	{"SpaceBeforeColon", "GET /smuggled HTTP/1.1\r\nHost: a\r\nX-A : 1\r\n\r\n", "400"},
	{"Folding", "GET /smuggled HTTP/1.1\r\nHost: a\r\nX-A: 1\r\n X-B: 2\r\n\r\n", "400"},
	{"FoldedFirstLine", "GET /smuggled HTTP/1.1\r\n Host: a\r\n\r\n", "400"},
	{"BareLineFeed", "GET /smuggled HTTP/1.1\nHost: a\n\n", "400"},
	{"BareLineFeedInField", "GET /smuggled HTTP/1.1\r\nHost: a\nX-A: 1\r\n\r\n", "400"},
	{"BareCarriageReturn", "GET /smuggled HTTP/1.1\r\nHost: a\r\nX-A: 1\rX-B: 2\r\n\r\n", "400"},
	{"NulInField", "GET /smuggled HTTP/1.1\r\nHost: a\r\nX-A: 1\x002\r\n\r\n", "400"},
	{"NoColon", "GET /smuggled HTTP/1.1\r\nHost: a\r\nX-A\r\n\r\n", "400"},
	{"EmptyName", "GET /smuggled HTTP/1.1\r\nHost: a\r\n: 1\r\n\r\n", "400"},
	{"BadName", "GET /smuggled HTTP/1.1\r\nHost: a\r\nX(A): 1\r\n\r\n", "400"},
	{"NoHost", "GET /smuggled HTTP/1.1\r\n\r\n", "400"},
	{"TwoHosts", "GET /smuggled HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "400"},
	{"BadHost", "GET /smuggled HTTP/1.1\r\nHost: a b\r\n\r\n", "400"},
	{"HostWithPath", "GET /smuggled HTTP/1.1\r\nHost: a/b\r\n\r\n", "400"},
	{"SpaceInTarget", "GET /smug gled HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"ControlInTarget", "GET /smuggled\x01 HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"EscapedNul", "GET /smuggled%00 HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"BadEscape", "GET /smuggled%zz HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"NoVersion", "GET /smuggled\r\n\r\n", "400"},
	{"OldVersion", "GET /smuggled HTTP/0.9\r\nHost: a\r\n\r\n", "400 505"},
	{"NewVersion", "GET /smuggled HTTP/3.0\r\nHost: a\r\n\r\n", "400 505"},
	{"BadMethod", "G@T /smuggled HTTP/1.1\r\nHost: a\r\n\r\n", "400"},
	{"Connect", "CONNECT smuggled:443 HTTP/1.1\r\nHost: smuggled:443\r\n\r\n", "400 405 501"},
	{"LongTarget", "GET /smuggled" + strings.Repeat("x", 40_000) + " HTTP/1.1\r\nHost: a\r\n\r\n", "414 431 400"},
	{"LongField", "GET /smuggled HTTP/1.1\r\nHost: a\r\nX-A: " + strings.Repeat("x", 200_000) + "\r\n\r\n", "431"},
	{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03smuggled\r\n\r\n", "400"},
	{"HTTP2Preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nsmuggled", "400 505"},
}

func TestRefusedInFront(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	h.Get("/ready")
	for _, c := range refused {
		t.Run(c.name, func(t *testing.T) {
			h := h.With(t)
			conn := h.Dial()
			conn.Send(c.request)
			conn.CloseWrite()
			got := conn.All()
			if len(got) < 12 || !strings.HasPrefix(got, "HTTP/1.1 ") || !strings.Contains(c.want, got[9:12]) {
				t.Errorf("answered %.200q, want %s", got, c.want)
			}
			if n := strings.Count(got, "HTTP/1.1 "); n != 1 {
				t.Errorf("%d answers: %q", n, got)
			}
		})
	}
	if all := recorded(h); strings.Contains(all, "smuggled") {
		t.Errorf("the backend got %s", all)
	}
}

// A chunked body that goes wrong on the way ends the exchange; nothing behind
// it is taken for a request.
func TestBadChunks(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	h.Get("/ready")
	for name, body := range map[string]string{
		"NotHex": "z\r\n", "Negative": "-1\r\nx\r\n", "Huge": "fffffffffffffffff\r\n", "NoSize": "\r\n", "SignedSize": "+5\r\nhello\r\n",
		"Prefix": "0x5\r\nhello\r\n", "SizeWithSpace": "5 \r\nhello\r\n", "BareLineFeed": "5\nhello\r\n", "NoEndOfData": "5\r\nhelloX\r\n",
		"LineFeedBehindData": "5\r\nhello\n0\r\n\r\n", "BadTrailer": "0\r\nX A: 1\r\n\r\n", "LongExtension": "5;" + strings.Repeat("x", 100_000) + "\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			conn := h.With(t).Dial()
			conn.Send("POST /upload-" + name + " HTTP/1.1\r\nHost: a\r\n" + harness.Script(`until "0\r\n\r\n"`, "echo") +
				"\r\nTransfer-Encoding: chunked\r\n\r\n" + body + "0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
			conn.CloseWrite()
			if got := conn.All(); got != "" && (!strings.HasPrefix(got, "HTTP/1.1 400") && !strings.HasPrefix(got, "HTTP/1.1 413") && !strings.HasPrefix(got, "HTTP/1.1 431") || strings.Count(got, "HTTP/1.1 ") != 1) {
				t.Errorf("answered %.300q, want 400 alone", got)
			}
		})
	}
	if all := recorded(h); strings.Contains(all, "smuggled") {
		t.Errorf("the backend got %s", all)
	}
}

// What reaches the backend: one framing, one token, one forwarded entry each,
// field order and spelling kept.
func TestForwardedHead(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{Env: map[string]string{"ASPNETCORE_TOKEN": "the-token"}})
	c := h.Dial()
	c.Send("GET /a%20b/%E2%82%AC?x=%2F HTTP/1.1\r\nhOST: Shop.Example:81\r\nx-OddCase: 1\r\nAccept: */*\r\nX-Forwarded-For: 203.0.113.7\r\n" +
		"X-Forwarded-For: 198.51.100.1\r\nTE: trailers\r\nConnection: X-Gone, close\r\nX-Gone: 1\r\nms-aspnetcore-token: guess\r\nX-Latin: caf\xe9\r\nX-Empty:\r\n\r\n")
	head := c.Response("GET").Text()
	if !strings.HasPrefix(head, "GET /a%20b/%E2%82%AC?x=%2F HTTP/1.1\r\n") {
		t.Errorf("request line: %q", head)
	}
	lower := strings.ToLower(head)
	for text, want := range map[string]int{
		"\r\nhost: shop.example:81\r\n":          1,
		"\r\nms-aspnetcore-token: the-token\r\n": 1,
		"ms-aspnetcore-token":                    1,
		"\r\nx-forwarded-proto: http\r\n":        1,
		"guess":                                  0,
		"x-gone":                                 0,
		"transfer-encoding":                      0,
		"connection: close":                      0,
		"\r\nx-empty:":                           1,
	} {
		if got := strings.Count(lower, text); got != want {
			t.Errorf("%q occurs %d times, want %d, in %q", text, got, want, head)
		}
	}
	for _, want := range []string{"\r\nx-OddCase: 1\r\n", "\r\nX-Latin: caf\xe9\r\n"} {
		if !strings.Contains(head, want) {
			t.Errorf("%q is missing in %q", want, head)
		}
	}
	var entries []string
	for line := range strings.SplitSeq(lower, "\r\n") {
		if v, ok := strings.CutPrefix(line, "x-forwarded-for: "); ok {
			entries = append(entries, v)
		}
	}
	if got, want := strings.Join(entries, ", "), "203.0.113.7, 198.51.100.1, "+c.LocalAddr().String(); got != want {
		t.Errorf("X-Forwarded-For is %q, want %q", got, want)
	}
	if a, b := strings.Index(head, "x-OddCase"), strings.Index(head, "Accept"); a > b {
		t.Errorf("fields changed places: %q", head)
	}
}

func TestForwardedBodies(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	t.Run("Length", func(t *testing.T) {
		c := h.With(t).Dial()
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n" + harness.Script("body 5", "echo") + "\r\n\r\nhello")
		got := c.Response("POST").Text()
		if !strings.HasSuffix(got, "\r\n\r\nhello") || !strings.Contains(got, "Content-Length: 5\r\n") || strings.Contains(strings.ToLower(got), "transfer-encoding") {
			t.Errorf("the backend got %q", got)
		}
	})
	t.Run("Chunked", func(t *testing.T) {
		c := h.With(t).Dial()
		c.Send("POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n" + harness.Script(`until "0\r\nX-T: 1\r\n\r\n"`, "echo") +
			"\r\n\r\n5;ext=1\r\nhello\r\n1\r\n!\r\n0\r\nX-T: 1\r\n\r\n")
		got := c.Response("POST").Text()
		_, body, _ := strings.Cut(got, "\r\n\r\n")
		var text strings.Builder
		for rest := body; ; {
			var size int
			line, after, _ := strings.Cut(rest, "\r\n")
			if _, err := fmt.Sscanf(line, "%x", &size); err != nil || size == 0 {
				break
			}
			text.WriteString(after[:size])
			rest = after[size+2:]
		}
		if text.String() != "hello!" || strings.Contains(body, "ext") || strings.Contains(strings.ToLower(got), "content-length") {
			t.Errorf("the backend got %q", got)
		}
	})
	t.Run("NoBody", func(t *testing.T) {
		c := h.With(t).Dial()
		for _, m := range []string{"GET", "DELETE", "OPTIONS"} {
			c.Send(m + " / HTTP/1.1\r\nHost: a\r\n\r\n")
			got := strings.ToLower(c.Response(m).Text())
			if strings.Contains(got, "content-length") || strings.Contains(got, "transfer-encoding") {
				t.Errorf("%s without a body got one: %q", m, got)
			}
		}
	})
}

func TestHTTP10Client(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	c := h.Dial()
	// A body of unknown length ends with the connection.
	c.Send("GET / HTTP/1.0\r\nHost: a\r\n" + harness.Script(`send "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"`) + "\r\n\r\n")
	got := c.All()
	if !strings.HasSuffix(got, "\r\n\r\nhello") || strings.Contains(strings.ToLower(got), "chunked") {
		t.Errorf("got %q", got)
	}
	c = h.Dial()
	c.Send("GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n")
	if r := c.Response("GET"); r.StatusCode != 200 {
		t.Errorf("without Host, which HTTP/1.0 may lack: %s", status(r))
	}
}

func TestAbsoluteTarget(t *testing.T) {
	t.Parallel()
	h := start(t, harness.WebConfig{})
	c := h.Dial()
	c.Send("GET http://real.example:81/path?q HTTP/1.1\r\nHost: real.example:81\r\n\r\n")
	got := c.Response("GET").Text()
	if !strings.HasPrefix(got, "GET /path?q HTTP/1.1\r\n") || !strings.Contains(strings.ToLower(got), "host: real.example:81\r\n") {
		t.Errorf("the backend got %q", got)
	}
	// RFC 9112 section 3.2.2 lets the target's host win. A client that says two
	// things is not believed either.
	c = h.Dial()
	c.Send("GET http://real.example/smuggled HTTP/1.1\r\nHost: other.example\r\n\r\n")
	if r := c.Response("GET"); r.StatusCode != 400 {
		t.Errorf("two hosts answered %s", status(r))
	}
	c = h.Dial()
	c.Send("OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n")
	if r := c.Response("OPTIONS"); r.StatusCode >= 500 {
		t.Errorf("OPTIONS * answered %s", status(r))
	}
}
