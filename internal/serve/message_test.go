package serve

import (
	"fmt"
	"strings"
	"testing"
)

const host11 = " HTTP/1.1\r\nHost: a\r\n"

// get is a request without a body.
func get(path string) string { return "GET " + path + host11 + "\r\n" }

// post is a request with a body of known length.
func post(path, body string) string {
	return fmt.Sprintf("POST %s%sContent-Length: %d\r\n\r\n%s", path, host11, len(body), body)
}

// chunked is a request with these chunks.
func chunked(path, chunks string) string {
	return "POST " + path + host11 + "Transfer-Encoding: chunked\r\n\r\n" + chunks
}

// ok is the response that answer writes on a connection that goes on, last
// on one that does not.
func ok(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func last(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(body), body)
}

// bare is a response that the driver writes itself.
func bare(status, body string) string {
	return fmt.Sprintf("HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", status, len(body), body)
}

func refusal(status, body string) string {
	return strings.Replace(bare(status, body), "\r\n\r\n", "\r\nConnection: close\r\n\r\n", 1)
}

// One conversation is all that a client sends, then the end of its side, and
// all that it gets. Behind everything comes a GET that is answered only where
// the connection is still in step.
func TestConversations(t *testing.T) { overBoth(t, testConversations) }

func testConversations(t *testing.T, on starter) {
	const next = "GET /next HTTP/1.1\r\nHost: a\r\n\r\n"
	after := ok("GET /next")
	tests := []struct{ name, in, want string }{
		{"one", get("/a"), ok("GET /a")},
		{"pipelined", get("/a") + get("/b") + next, ok("GET /a") + ok("GET /b") + after},
		{"empty lines before", "\r\n\r\n\r\n" + get("/a") + "\r\n\r\n" + next + "\r\n", ok("GET /a") + after},
		{"nothing but empty lines", "\r\n\r\n", ""},
		{"nothing", "", ""},

		// RFC 9112 section 6: the message ends where its body ends.
		{"length", post("/echo", "hello") + next, ok("hello") + after},
		{"length 0", post("/echo", "") + next, ok("") + after},
		{"length, not read", post("/ignore", "hello") + next, ok("ignored") + after},
		{"length, read in part", post("/part", "hello") + next, ok("began hel") + after},
		{"a request inside a body", post("/ignore", get("/evil")) + next, ok("ignored") + after},
		{"buffered", post("/buffered", "hello") + next, ok("true hello") + after},
		{"unread", post("/unread", "hello") + next, ok("hello true hello false hello <nil>") + after},
		{"unread and left", post("/unread?left", "hello") + next, ok("left") + after},
		{"chunks", chunked("/echo", "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n") + next, ok("abcde") + after},
		{"chunks and trailer", chunked("/echo", "1\r\na\r\n0\r\nX-A: 1\r\nx-b: 2\r\n\r\n") + next, ok("a;X-A=1;x-b=2") + after},
		{"chunks, not read", chunked("/ignore", "5\r\nhello\r\n0\r\nA: b\r\n\r\n") + next, ok("ignored") + after},
		{"chunks, read in part", chunked("/part", "5\r\nhello\r\n5\r\nworld\r\n0\r\n\r\n") + next, ok("began hel") + after},
		{"chunks are not buffered", chunked("/buffered", "0\r\n\r\n") + next, ok("false ") + after},
		{"large, not read", post("/ignore", strings.Repeat("x", 1<<20)) + next, ok("ignored") + after},
		{"small chunks, not read", chunked("/ignore", strings.Repeat("1\r\nx\r\n", 20_000)+"0\r\n\r\n") + next, ok("ignored") + after},
		{"small chunks, read", chunked("/echo", strings.Repeat("1;a=\"b\"\r\nx\r\n", 20_000)+"0\r\nT: "+strings.Repeat("t", 20_000)+"\r\n\r\n") + next,
			ok(strings.Repeat("x", 20_000)+";T="+strings.Repeat("t", 20_000)) + after},
		// More than 4 MiB is not read away: the connection ends instead.
		{"too large to be read away", post("/ignore", strings.Repeat("x", 5<<20)) + next, last("ignored")},
		{"too large, read in part", post("/part", strings.Repeat("x", 4<<20+4)) + next, last("began xxx")},
		{"nearly too large, read in part", post("/part", strings.Repeat("x", 4<<20+3)) + next, ok("began xxx") + after},
		{"too large, refused", post("/garbage", strings.Repeat("x", 5<<20)) + next, refusal("502 Bad Gateway", "Bad Gateway.\n")},
		{"too large, streamed", strings.Replace(post("/copied", strings.Repeat("x", 5<<20)), " HTTP/1.1", " HTTP/1.0", 1) + next,
			"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\ncopied"},
		{"too large, HTTP/1.0", "POST /ignore HTTP/1.0\r\nConnection: keep-alive\r\nContent-Length: 5000000\r\n\r\n" + strings.Repeat("x", 5000000) + next, last("ignored")},
		{"too large, HEAD", "HEAD /404" + host11 + "Content-Length: 5000000\r\n\r\n" + strings.Repeat("x", 5000000) + next,
			"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 11\r\nConnection: close\r\n\r\n"},

		// RFC 9110 section 9.3.2, 15.3.5, 15.4.5.
		{"HEAD", "HEAD /a" + host11 + "\r\n" + next, "HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n" + after},
		{"HEAD, empty", "HEAD /empty" + host11 + "\r\n" + next, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" + after},
		{"HEAD, no length", "HEAD /stream" + host11 + "\r\n" + next, "HTTP/1.1 200 OK\r\n\r\n" + after},
		{"HEAD, error", "HEAD /404" + host11 + "\r\n" + next,
			"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 11\r\n\r\n" + after},
		{"204", get("/204") + next, "HTTP/1.1 204 No Content\r\n\r\n" + after},
		{"304", get("/304") + next, "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\n\r\n" + after},
		{"stream", get("/stream") + next, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n3\r\ndef\r\n0\r\nX-Sum: 6\r\n\r\n" + after},
		{"copied", get("/copied") + next, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\ncopied\r\n0\r\n\r\n" + after},
		{"fields of the driver, and bad ones", get("/fields") + next,
			"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nX-Good: good\r\nContent-Length: 2\r\n\r\nok" + after},
		{"interim", get("/inform") + next, "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n" + ok("done") + after},

		// RFC 9112 section 9.3 and 9.6.
		{"close by the client", "GET /a" + host11 + "Connection: close\r\n\r\n" + next, last("GET /a")},
		{"close by the handler", get("/close") + next, last("closing")},
		{"HTTP/1.0", "GET /a HTTP/1.0\r\n\r\n" + next, last("GET /a")},
		{"HTTP/1.0 kept", "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + next,
			"HTTP/1.1 200 OK\r\nContent-Length: 6\r\nConnection: keep-alive\r\n\r\nGET /a" + after},
		{"HTTP/1.0 stream", "GET /stream HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" + next, "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabcdef"},
		{"HTTP/1.0 interim", "GET /inform HTTP/1.0\r\n\r\n", last("done")},

		// Spec app-side 1.12: asked only when read, once.
		{"expect, read", "POST /echo" + host11 + "Expect: 100-continue\r\nContent-Length: 0\r\n\r\n" + next, ok("") + after},
		{"expect, all there", "POST /echo" + host11 + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello" + next, ok("hello") + after},
		{"expect, chunks there", "POST /echo" + host11 + "Expect: 100-continue\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" + next, ok("hello") + after},
		{"expect, not read", "POST /ignore" + host11 + "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", last("ignored")},

		// Spec app-side 1.13: 413 when read.
		{"limit kept", post("/limited", "12345") + next, ok("read 12345") + after},
		{"limit kept by chunks", chunked("/limited", "3\r\n123\r\n2\r\n45\r\n0\r\n\r\n") + next, ok("read 12345") + after},
		{"limit kept, copied", chunked("/limited-copy", "3\r\n123\r\n2\r\n45\r\n0\r\n\r\n") + next, ok("copied 12345") + after},
		{"limit passed", post("/limited", "123456") + next,
			refusal("413 Content Too Large", "Content Too Large: The request body is larger than is allowed here.\n")},
		{"limit passed by chunks", chunked("/limited", "3\r\n123\r\n3\r\n456\r\n0\r\n\r\n") + next,
			refusal("413 Content Too Large", "Content Too Large: The request body is larger than is allowed here.\n")},
		{"limit passed, copied", post("/limited-copy", "123456") + next,
			refusal("413 Content Too Large", "Content Too Large: The request body is larger than is allowed here.\n")},
		{"limit passed, not asked for", "POST /limited" + host11 + "Expect: 100-continue\r\nContent-Length: 6\r\n\r\n",
			refusal("413 Content Too Large", "Content Too Large: The request body is larger than is allowed here.\n")},

		{"body cut short", "POST /echo" + host11 + "Content-Length: 10\r\n\r\nhello", refusal("400 Bad Request",
			"Bad Request: the connection ended in the middle of the message.\n")},
		{"chunks cut short", chunked("/echo", "5\r\nhel"), refusal("400 Bad Request",
			"Bad Request: the connection ended in the middle of the message.\n")},
		{"chunks badly framed", chunked("/echo", "5\r\nhello0\r\n\r\n") + next, refusal("400 Bad Request",
			"Bad Request: a chunk does not end where its size says.\n")},
		{"a large trailer", chunked("/echo", "0\r\nX: "+strings.Repeat("a", 40_000)+"\r\n\r\n") + next, refusal("431 Request Header Fields Too Large",
			"Request Header Fields Too Large: the header fields are too large.\n")},
		{"a fault of the application", get("/garbage") + next, bare("502 Bad Gateway", "Bad Gateway.\n") + after},
		{"chunks badly framed, not read", chunked("/ignore", "5\r\nhello0\r\n\r\n") + next, ok("ignored")},
		{"body cut short, not read", "POST /ignore" + host11 + "Content-Length: 10\r\n\r\nhello", ok("ignored")},
		{"head cut short", "GET /a HTTP/1.1\r\nHos", refusal("400 Bad Request", "Bad Request: the connection ended in the middle of the message.\n")},

		// A handler that fails: with nothing sent, its status, and the
		// connection goes on; else the response is visibly not whole.
		{"nothing written", get("/nothing") + next, bare("500 Internal Server Error", "Internal Server Error.\n") + after},
		{"error", get("/404") + next, bare("404 Not Found", "Not Found.\n") + after},
		{"error for the public", get("/503") + next, strings.Replace(bare("503 Service Unavailable", "Service Unavailable: Come back later.\n"),
			"Content-Length", "Retry-After: 7\r\nContent-Length", 1) + after},
		{"error without a page", get("/empty-error") + next, "HTTP/1.1 500 Internal Server Error\r\nContent-Length: 0\r\n\r\n" + after},
		{"error with a body to be read", post("/404", "hello") + next, bare("404 Not Found", "Not Found.\n") + after},
		{"too little", get("/too-little") + next, bare("500 Internal Server Error", "Internal Server Error.\n") + after},
		{"too little, sent", get("/too-little-sent") + next, "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"},
		{"too much", get("/too-much") + next, bare("500 Internal Server Error", "Internal Server Error.\n") + after},
		{"too much, ignored", get("/too-much-ignored") + next, bare("500 Internal Server Error", "Internal Server Error.\n") + after},
		{"error in time", get("/unsent-error") + next, bare("502 Bad Gateway", "Bad Gateway.\n") + after},
		{"error too late", get("/late-error") + next, ok("abc")},
		{"error between chunks", get("/chunks-error") + next, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"},
		{"body first", get("/body-first") + next, bare("500 Internal Server Error", "Internal Server Error.\n") + after},
		{"two heads", get("/two-heads") + next, ok("one")},
		{"status of no response", get("/bad-status") + next, bare("500 Internal Server Error", "Internal Server Error.\n") + after},

		// Refusals of the parser: the public sentence is that of the fault.
		{"bad request line", "GET /a\r\n\r\n" + next, refusal("400 Bad Request",
			"Bad Request: the request line is not method, target and version with one space between.\n")},
		{"version", "GET / HTTP/1.2\r\nHost: a\r\n\r\n", refusal("505 HTTP Version Not Supported",
			"HTTP Version Not Supported: this HTTP version is not served here.\n")},
		{"coding", "POST /" + host11 + "Transfer-Encoding: gzip\r\n\r\n", refusal("501 Not Implemented",
			"Not Implemented: a transfer coding other than chunked is not implemented.\n")},
		{"TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", refusal("400 Bad Request",
			"Bad Request: this port speaks HTTP without TLS, and a TLS handshake came.\n")},
		{"long line", "GET /" + strings.Repeat("a", 9000), refusal("414 URI Too Long", "URI Too Long: the request line is too long.\n")},
		{"large fields", "GET /" + host11 + "X: " + strings.Repeat("a", 40_000), refusal("431 Request Header Fields Too Large",
			"Request Header Fields Too Large: the header fields are too large.\n")},
		{"fields as large as allowed", "GET /a" + host11 + "X: " + strings.Repeat("a", 32<<10-len("Host: a\r\nX: \r\n")) + "\r\n\r\n" + next, ok("GET /a") + after},
		{"CONNECT", "CONNECT a:80" + host11 + "\r\n", strings.Replace(refusal("405 Method Not Allowed", "Method Not Allowed: this method is not served here.\n"),
			"Content-Length", "Allow: GET, HEAD, POST, PUT, DELETE, OPTIONS, PATCH\r\nContent-Length", 1)},
		{"asterisk", "GET *" + host11 + "\r\n", strings.Replace(refusal("405 Method Not Allowed", "Method Not Allowed: the target * is for OPTIONS alone.\n"),
			"Content-Length", "Allow: OPTIONS\r\nContent-Length", 1)},
		{"HEAD refused", "HEAD /" + host11 + "Content-Length: x\r\n\r\n",
			"HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 49\r\nConnection: close\r\n\r\n"},
		{"refused behind one that was served", get("/a") + "\x00", ok("GET /a") + refusal("400 Bad Request", "Bad Request: the method is not a token.\n")},

		{"upgrade", "GET /upgrade" + host11 + "Connection: upgrade\r\nUpgrade: echo\r\n\r\nfirst",
			"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\n\r\n<first>bye"},
		{"upgrade refused", "GET /a" + host11 + "Connection: upgrade\r\nUpgrade: echo\r\n\r\n" + next, ok("GET /a") + after},
		{"upgrade with a wrong status", get("/upgrade-200") + next, bare("500 Internal Server Error", "Internal Server Error.\n") + after},
	}
	v := on(t, Settings{}, pages)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if got := v.talk(tt.in); got != tt.want {
				t.Errorf("got\n%.2000q\nwant\n%.2000q", got, tt.want)
			}
		})
	}
}

func TestPanics(t *testing.T) {
	t.Parallel()
	v := onSockets(t, Settings{}, pages)
	const message = "panic while handling a request"
	v.journal.wait(message)
	if got, want := v.talk(get("/panic")+get("/a")), bare("500 Internal Server Error", "Internal Server Error.\n")+ok("GET /a"); got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := v.talk(get("/panic-late")+get("/a")), "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if n := v.journal.wait(message); n != 2 {
		t.Errorf("%d panics were logged", n)
	}
}
