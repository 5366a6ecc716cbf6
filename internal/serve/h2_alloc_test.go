package serve

import (
	"encoding/binary"
	"io"
	"net"
	"runtime"
	"testing"

	"golang.org/x/net/http2"

	"github.com/perchserver/perch/internal/exchange"
)

// h2asker asks for one path again and again, and reads without allocating.
type h2asker struct {
	nc      net.Conn
	request []byte // HEADERS with fields that are in the table of HPACK
	id      uint32
	buf     [16 << 10]byte
}

func newH2Asker(tb testing.TB, v *host, fields ...string) *h2asker {
	c := v.dial2(http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1 << 30})
	c.answer(c.open(true, fields...))
	c.fr.WriteWindowUpdate(0, 1<<30)
	block := c.encode(fields...)
	a := &h2asker{nc: c.nc, id: c.next}
	a.request = append([]byte{0, 0, byte(len(block)), byte(http2.FrameHeaders), byte(http2.FlagHeadersEndHeaders | http2.FlagHeadersEndStream), 0, 0, 0, 0}, block...)
	return a
}

// widen opens the window of the connection.
func (a *h2asker) widen(n uint32) { http2.NewFramer(a.nc, nil).WriteWindowUpdate(0, n) }

// ask sends a request and reads to the end of its stream.
func (a *h2asker) ask(tb testing.TB) {
	binary.BigEndian.PutUint32(a.request[5:], a.id)
	a.id += 2
	if _, err := a.nc.Write(a.request); err != nil {
		tb.Fatal(err)
	}
	for {
		if _, err := io.ReadFull(a.nc, a.buf[:9]); err != nil {
			tb.Fatal(err)
		}
		n := int(a.buf[0])<<16 | int(a.buf[1])<<8 | int(a.buf[2])
		end := a.buf[3] <= byte(http2.FrameHeaders) && http2.Flags(a.buf[4]).Has(http2.FlagDataEndStream)
		if _, err := io.ReadFull(a.nc, a.buf[:n]); err != nil {
			tb.Fatal(err)
		}
		if end {
			return
		}
	}
}

// A request in steady state costs the one frame that the library makes of
// HEADERS, and nothing more. Not parallel: it counts all allocations of the
// process.
func TestH2AllocatesNextToNothing(t *testing.T) {
	h := newHello()
	v := onSockets(t, Settings{}, h)
	a := newH2Asker(t, v, head("GET", "/hello", "user-agent: test", "accept: */*", "cookie: a=b", "cookie: c=d")...)
	for range 100 {
		a.ask(t)
	}
	const rounds = 5000
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for range rounds {
		a.ask(t)
	}
	runtime.ReadMemStats(&after)
	most := uint64(rounds + rounds/10)
	if raceDetector {
		most += 6 * rounds // its pools lose one in four on purpose
	}
	if n := after.Mallocs - before.Mallocs; n > most {
		t.Errorf("%d allocations in %d requests", n, rounds)
	}
}

func BenchmarkH2Hello(b *testing.B) {
	v := onSockets(b, Settings{}, newHello())
	a := newH2Asker(b, v, head("GET", "/hello")...)
	b.ReportAllocs()
	for b.Loop() {
		a.ask(b)
	}
}

// BenchmarkH2Download is a megabyte through the windows of one stream.
func BenchmarkH2Download(b *testing.B) {
	v := onSockets(b, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		x.Response.Status, x.Response.Length = 200, 1<<20
		if err := x.Response.Writer.WriteHead(x); err != nil {
			return err
		}
		_, err := x.Response.Writer.ReadFrom(io.LimitReader(zeros{}, 1<<20))
		return err
	}))
	a := newH2Asker(b, v, head("GET", "/")...)
	b.SetBytes(1 << 20)
	for n := int64(0); b.Loop(); n++ {
		a.ask(b)
		if n%500 == 499 {
			a.widen(500 << 20)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }
