package serve

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/perchserver/perch/internal/exchange"
)

// h2ok is what comes back for a response with a length.
func h2ok(body string) string {
	return fmt.Sprintf(":status: 200\ncontent-length: %d\n\n%s", len(body), body)
}

// h2bare is a response that the driver writes itself.
func h2bare(status int, body string) string {
	return fmt.Sprintf(":status: %d\ncontent-type: text/plain; charset=utf-8\ncontent-length: %d\n\n%s", status, len(body), body)
}

// Each is one request and its answer; behind it comes a GET on the same
// connection, which must go on. The answers are those of HTTP/1.1.
func TestH2Exchanges(t *testing.T) {
	t.Parallel()
	t.Run("clear", func(t *testing.T) { t.Parallel(); testH2Exchanges(t, onSockets) })
	t.Run("TLS", func(t *testing.T) { t.Parallel(); testH2Exchanges(t, onTLSWith("h2")) })
}

func testH2Exchanges(t *testing.T, on starter) {
	late := maps.Clone(pages)
	late["/late-read"] = func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, -1
		x.Response.Writer.WriteHead(x)
		x.Response.Writer.Flush()
		_, err := io.Copy(io.Discard, x.Request.Body)
		return err
	}
	v := on(t, Settings{}, late)
	v.journal.wait("panic while handling a request")
	get := func(path string) func(c *h2client) uint32 {
		return func(c *h2client) uint32 { return c.get(path) }
	}
	post := func(path, body string, fields ...string) func(c *h2client) uint32 {
		return func(c *h2client) uint32 { return c.post(path, body, fields...) }
	}
	open := func(fields ...string) func(c *h2client) uint32 {
		return func(c *h2client) uint32 { return c.open(true, fields...) }
	}
	for _, test := range []struct {
		name string
		ask  func(c *h2client) uint32
		want string
	}{
		{"one", get("/a"), h2ok("GET /a")},
		{"normalised", get("/a/../b//c"), h2ok("GET /b/c")},
		{"asterisk", open(head("OPTIONS", "*")...), h2ok("OPTIONS /")},

		// RFC 9113 section 8.1: bodies.
		{"length", post("/echo", "hello", "content-length: 5"), h2ok("hello")},
		{"length 0", post("/echo", "", "content-length: 0"), h2ok("")},
		{"no length", post("/echo", "hello"), h2ok("hello")},
		{"buffered", post("/buffered", "hello", "content-length: 5"), h2ok("true hello")},
		{"unread", post("/unread", "hello", "content-length: 5"), h2ok("hello true hello false hello <nil>")},
		{"unread and left", post("/unread?left", "hello", "content-length: 5"), h2ok("left")},
		{"not read", post("/ignore", "hello"), h2ok("ignored")},
		{"read in part", post("/part", "hello"), h2ok("began hel")},
		{"large", post("/echo", strings.Repeat("x", 16000)), h2ok(strings.Repeat("x", 16000))},
		{"to the limit", post("/limited", "12345"), h2ok("read 12345")},
		{"beyond the limit", post("/limited", "123456"), h2bare(413, "Content Too Large: The request body is larger than is allowed here.\n")},
		{"beyond the limit, copied", post("/limited-copy", "123456", "content-length: 6"), h2bare(413, "Content Too Large: The request body is larger than is allowed here.\n")},
		{"trailer", func(c *h2client) uint32 {
			id := c.open(false, head("POST", "/echo")...)
			c.fr.WriteData(id, false, []byte("hello"))
			c.fr.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: c.encode("x-a: 1"), EndStream: true, EndHeaders: true})
			return id
		}, h2ok("hello;x-a=1")},
		{"padded", func(c *h2client) uint32 {
			id := c.open(false, head("POST", "/echo", "content-length: 5")...)
			c.fr.WriteDataPadded(id, true, []byte("hello"), make([]byte, 100))
			return id
		}, h2ok("hello")},
		{"empty frames between", func(c *h2client) uint32 {
			id := c.open(false, head("POST", "/echo")...)
			for _, p := range []string{"", "he", "", "llo", ""} {
				c.fr.WriteData(id, false, []byte(p))
			}
			c.fr.WriteData(id, true, nil)
			return id
		}, h2ok("hello")},

		// RFC 9110 section 9.3.2, 15.3.5, 15.4.5.
		{"HEAD", open(head("HEAD", "/a")...), ":status: 200\ncontent-length: 7\n\n"},
		{"HEAD, empty", open(head("HEAD", "/empty")...), ":status: 200\ncontent-length: 0\n\n"},
		{"HEAD, no length", open(head("HEAD", "/stream")...), ":status: 200\n\n"},
		{"204", get("/204"), ":status: 204\n\n"},
		{"304", get("/304"), ":status: 304\ncontent-length: 7\n\n"},
		{"empty", get("/empty"), h2ok("")},
		{"trailers", get("/stream"), ":status: 200\nx-sum: 6\n\nabcdef"},
		{"copied", get("/copied"), ":status: 200\n\ncopied"},
		{"fields", get("/fields"), ":status: 200\ncontent-type: text/plain\nx-good: good\ncontent-length: 2\n\nok"},
		{"close", get("/close"), h2ok("closing")},
		{"interim", get("/inform"), ":status: 103\nlink: </a.css>\n:status: 200\ncontent-length: 4\n\ndone"},
		{"continue", func(c *h2client) uint32 {
			id := c.open(false, head("POST", "/echo", "content-length: 5", "expect: 100-continue")...)
			c.until("100", func() bool { return c.heads[id] == ":status: 100\n" })
			c.fr.WriteData(id, true, []byte("hello"))
			return id
		}, ":status: 100\n" + h2ok("hello")},

		{"continue, not waited for", func(c *h2client) uint32 {
			var both bytes.Buffer // one packet
			fr := http2.NewFramer(&both, nil)
			fr.WriteHeaders(http2.HeadersFrameParam{StreamID: c.next, BlockFragment: c.encode(head("POST", "/echo", "expect: 100-continue")...), EndHeaders: true})
			fr.WriteData(c.next, false, []byte("he"))
			c.nc.Write(both.Bytes())
			time.Sleep(20 * time.Millisecond)
			c.fr.WriteData(c.next, true, []byte("llo"))
			c.next += 2
			return c.next - 2
		}, h2ok("hello")},
		{"continue, too late", func(c *h2client) uint32 {
			return c.open(false, head("POST", "/late-read", "expect: 100-continue")...)
		}, ":status: 200\n\n[INTERNAL_ERROR]"},

		// What handlers do wrong. Before the head has left, another takes its
		// place; afterwards the stream is broken off.
		{"panic", get("/panic"), h2bare(500, "Internal Server Error.\n")},
		{"panic, late", get("/panic-late"), ":status: 200\ncontent-length: 9\n\nabc[INTERNAL_ERROR]"},
		{"nothing", get("/nothing"), h2bare(500, "Internal Server Error.\n")},
		{"404", get("/404"), h2bare(404, "Not Found.\n")},
		{"too little", get("/too-little"), h2bare(500, "Internal Server Error.\n")},
		{"too little, sent", get("/too-little-sent"), ":status: 200\ncontent-length: 9\n\nabc[INTERNAL_ERROR]"},
		{"too much", get("/too-much-ignored"), h2bare(500, "Internal Server Error.\n")},
		{"late", get("/late-error"), ":status: 200\ncontent-length: 3\n\nabc[INTERNAL_ERROR]"},
		{"unsent", get("/unsent-error"), h2bare(502, "Bad Gateway.\n")},
		{"body first", get("/body-first"), h2bare(500, "Internal Server Error.\n")},
		{"two heads", get("/two-heads"), ":status: 200\ncontent-length: 3\n\none[INTERNAL_ERROR]"},

		// What HTTP/1.1 answers with a status, HTTP/2 does too.
		{"above the root", get("/../a"), h2bare(400, "Bad Request: the path leads above the root.\n")},
		{"bad escape", get("/%zz"), h2bare(400, "Bad Request: a percent sign in the path is not followed by two hexadecimal digits.\n")},
		{"bad host", open(":method: GET", ":scheme: http", ":authority: a b", ":path: /"), h2bare(400, "Bad Request: the Host field is not a host and port.\n")},
		{"no host", open(":method: GET", ":scheme: http", ":path: /"), h2bare(400, "Bad Request: the Host field is missing.\n")},
		{"CONNECT", open(":method: CONNECT", ":authority: a:443"), ":status: 405\ncontent-type: text/plain; charset=utf-8\nallow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\ncontent-length: 52\n\nMethod Not Allowed: this method is not served here.\n"},
		{"long line", get("/" + strings.Repeat("a", 8<<10)), h2bare(414, "URI Too Long: the request line is too long.\n")},
		{"many fields", open(head("GET", "/", strings.Fields(strings.Repeat("x:1 ", 101))...)...), h2bare(431, "Request Header Fields Too Large: there are too many header fields.\n")},
		{"large fields", open(head("GET", "/", "x: "+strings.Repeat("x", 11_000), "y: "+strings.Repeat("x", 11_000), "z: "+strings.Repeat("x", 11_000))...),
			h2bare(431, "Request Header Fields Too Large: the header fields are too large.\n")},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := v.dial2()
			if _, secure := c.nc.(secureSocket); secure && test.name == "buffered" {
				return // head and body come in records of their own
			}
			c.tb = t
			id := test.ask(c)
			if got := c.answer(id); strings.TrimSuffix(got, " NO_ERROR") != test.want && got != test.want {
				t.Errorf("got\n%.2000s\nwant\n%.2000s", got, test.want)
			}
			if got := c.answer(c.get("/next")); got != h2ok("GET /next") {
				t.Errorf("then got %q", got)
			}
		})
	}
}
