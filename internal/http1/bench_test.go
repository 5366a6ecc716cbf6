package http1

import (
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

const smallHead = "GET /hello HTTP/1.1\r\nHost: localhost:8080\r\n\r\n"

const browserHead = "GET /a/page.aspx?id=17&lang=en HTTP/1.1\r\n" +
	"Host: www.example.com\r\n" +
	"Connection: keep-alive\r\n" +
	"Cache-Control: max-age=0\r\n" +
	"sec-ch-ua: \"Chromium\";v=\"140\", \"Not=A?Brand\";v=\"24\"\r\n" +
	"sec-ch-ua-mobile: ?0\r\n" +
	"sec-ch-ua-platform: \"Linux\"\r\n" +
	"Upgrade-Insecure-Requests: 1\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,image/apng,*/*;q=0.8\r\n" +
	"Sec-Fetch-Site: same-origin\r\n" +
	"Sec-Fetch-Mode: navigate\r\n" +
	"Sec-Fetch-User: ?1\r\n" +
	"Sec-Fetch-Dest: document\r\n" +
	"Referer: https://www.example.com/a/\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\n" +
	"Accept-Language: en-GB,en;q=0.9,de;q=0.8\r\n" +
	"Cookie: .AspNetCore.Session=CfDJ8N2hdGhlcnM; .AspNetCore.Antiforgery.x=CfDJ8A0123456789abcdef\r\n\r\n"

// parser is what a driver keeps between requests.
type parser struct {
	scan    Scanner
	request exchange.Request
	framing Framing
	scratch []byte
}

func newParser() *parser {
	p := &parser{scratch: make([]byte, 0, 512)}
	p.request.Header.Fields = make([]exchange.Field, 0, 32)
	return p
}

func (p *parser) parse(tb testing.TB, b []byte) {
	p.scan.Reset()
	n, err := p.scan.Scan(b, &limits)
	if err != nil {
		tb.Fatal(err)
	}
	p.request.Header.Reset()
	if p.scratch, err = ParseRequest(b[:n], &p.request, &p.framing, p.scratch[:0]); err != nil {
		tb.Fatal(err)
	}
}

// benchmarkHead parses head, and fails if that allocates.
func benchmarkHead(b *testing.B, head string) {
	p, text := newParser(), []byte(head)
	if n := testing.AllocsPerRun(100, func() { p.parse(b, text) }); n != 0 {
		b.Fatalf("%v allocations", n)
	}
	b.SetBytes(int64(len(head)))
	b.ReportAllocs()
	for b.Loop() {
		p.parse(b, text)
	}
}

func BenchmarkParseSmall(b *testing.B)   { benchmarkHead(b, smallHead) }
func BenchmarkParseBrowser(b *testing.B) { benchmarkHead(b, browserHead) }

func BenchmarkParseResponse(b *testing.B) {
	head := []byte("HTTP/1.1 200 OK\r\nServer: Kestrel\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\n" +
		"Content-Type: text/plain; charset=utf-8\r\nContent-Length: 13\r\n\r\n")
	r := &ResponseHead{}
	parse := func() {
		if err := ParseResponse(head, r); err != nil {
			b.Fatal(err)
		}
	}
	if n := testing.AllocsPerRun(100, parse); n != 0 {
		b.Fatalf("%v allocations", n)
	}
	b.ReportAllocs()
	for b.Loop() {
		parse()
	}
}

// The benchmarks assert it too, but are not run by every test run.
func TestParsingAllocatesNothing(t *testing.T) {
	for _, head := range []string{smallHead, browserHead} {
		p, text := newParser(), []byte(head)
		if n := testing.AllocsPerRun(100, func() { p.parse(t, text) }); n != 0 {
			t.Errorf("%v allocations for a head of %d bytes", n, len(head))
		}
	}
}
