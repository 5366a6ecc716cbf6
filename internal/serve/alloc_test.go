package serve

import (
	"bytes"
	"net"
	"runtime"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

// hello answers as an inline handler would. It allocates nothing.
type hello struct {
	kind, body []byte
}

func newHello() *hello { return &hello{[]byte("text/plain; charset=utf-8"), []byte("Hello, World!")} }

func (h *hello) Serve(x *exchange.Exchange) error {
	r := &x.Response
	r.Status, r.Length = 200, int64(len(h.body))
	r.Header.Add(exchange.ContentType, h.kind)
	if err := r.Writer.WriteHead(x); err != nil {
		return err
	}
	_, err := r.Writer.Write(h.body)
	return err
}

// client asks and reads without allocating.
type client struct {
	nc      net.Conn
	request []byte
	buf     [4096]byte
}

func (c *client) ask(tb testing.TB, end []byte) {
	if _, err := c.nc.Write(c.request); err != nil {
		tb.Fatal(err)
	}
	for n := 0; ; {
		k, err := c.nc.Read(c.buf[n:])
		if err != nil {
			tb.Fatal(err)
		}
		if n += k; bytes.HasSuffix(c.buf[:n], end) {
			return
		}
	}
}

// browser is the head that a browser sends.
const browser = "GET /a/page.aspx?id=17&lang=en HTTP/1.1\r\nHost: www.example.com\r\nConnection: keep-alive\r\n" +
	"User-Agent: Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36\r\n" +
	"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,image/webp,*/*;q=0.8\r\n" +
	"Accept-Encoding: gzip, deflate, br, zstd\r\nAccept-Language: en-GB,en;q=0.9\r\nCookie: a=0123456789; b=0123456789\r\n\r\n"

// A request in steady state allocates nothing, from the socket and back: this
// is what keeps the garbage collector out of the road. Not parallel: it
// counts all allocations of the process.
func TestServingAllocatesNothing(t *testing.T) {
	requests := map[string]string{
		"small":   "GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n",
		"browser": browser,
		"body":    "POST /hello HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
		"chunks":  "POST /hello HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"decoded": "GET /a%20b HTTP/1.1\r\nHost: localhost\r\n\r\n",
	}
	for name, request := range requests {
		countAllocations(t, name, onSockets, request, name == "decoded", 0)
	}
	// crypto/tls allocates something itself for every attempt to read a record:
	// here twice in the server, which finds nothing at first, and once in the
	// client.
	for _, name := range []string{"small", "browser"} {
		countAllocations(t, name+" over TLS", onTLS, requests[name], false, 3)
	}
}

// countAllocations asks often and fails the test if a request allocates more
// than it may: tolerated is what is not ours.
func countAllocations(t *testing.T, name string, on starter, request string, decoded bool, tolerated uint64) {
	t.Helper()
	h := newHello()
	c := &client{nc: on(t, Settings{}, h).dial(), request: []byte(request)}
	for range 100 {
		c.ask(t, h.body)
	}
	const rounds = 5000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		c.ask(t, h.body)
	}
	runtime.ReadMemStats(&after)
	// A pool may lose a session to the collector, and the runtime has
	// goroutines of its own: a few in all, not one in a request. A path that
	// has to be decoded may take one.
	most := rounds/100 + tolerated*rounds
	if decoded {
		most += rounds
	}
	if raceDetector {
		most += 4 * rounds // its pools lose one in four on purpose
	}
	if n := after.Mallocs - before.Mallocs; n > most {
		t.Errorf("%s: %d allocations in %d requests", name, n, rounds)
	}
}

func BenchmarkHello(b *testing.B) {
	h := newHello()
	v := onSockets(b, Settings{}, h)
	c := &client{nc: v.dial(), request: []byte("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")}
	b.ReportAllocs()
	for b.Loop() {
		c.ask(b, h.body)
	}
}

// Over TLS there is what crypto/tls allocates for a read and a write, client
// and server: the standard library's own, and none of ours.
func BenchmarkHelloTLS(b *testing.B) {
	h := newHello()
	v := onTLS(b, Settings{}, h)
	c := &client{nc: v.dial(), request: []byte("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")}
	b.ReportAllocs()
	for b.Loop() {
		c.ask(b, h.body)
	}
}
