package forward_test

import (
	"bytes"
	"io"
	"net"
	"runtime"
	"strings"
	"testing"
)

// cheap is an application that answers without allocating, and without looking
// at what it is asked: a request is what ends with an empty line.
func cheap(answer string) func(*peer) {
	return func(p *peer) {
		buf, out := make([]byte, 4096), []byte(answer)
		for {
			if !readMessage(p.nc, buf) {
				return
			}
			if _, err := p.nc.Write(out); err != nil {
				return
			}
		}
	}
}

// readMessage reads what arrives in one piece and ends with an empty line.
func readMessage(c net.Conn, buf []byte) bool {
	for n := 0; ; {
		k, err := c.Read(buf[n:])
		if err != nil {
			return false
		}
		if n += k; bytes.HasSuffix(buf[:n], []byte("\r\n\r\n")) {
			return true
		}
	}
}

const (
	smallGet = "GET /api/values?id=1 HTTP/1.1\r\nHost: localhost:8080\r\nUser-Agent: bench/1.0\r\nAccept: */*\r\nAccept-Encoding: gzip\r\nConnection: keep-alive\r\n\r\n"

	// smallAnswer ends with an empty line, so that the client can do without
	// parsing it.
	smallAnswer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nServer: Kestrel\r\nDate: Sat, 21 Nov 2026 12:00:00 GMT\r\nContent-Length: 15\r\n\r\nHello World\r\n\r\n"
)

// exchanges makes n round trips on each of the connections.
func exchanges(t testing.TB, clients []*peer, n int) {
	done := make(chan bool, len(clients))
	for _, c := range clients {
		go func() {
			buf, get := make([]byte, 4096), []byte(smallGet)
			for range n {
				if _, err := c.nc.Write(get); err != nil || !readMessage(c.nc, buf) {
					done <- false
					return
				}
			}
			done <- true
		}()
	}
	for range clients {
		if !<-done {
			t.Error("a connection ended")
		}
	}
}

// A small proxied GET allocates nothing in steady state.
func TestAllocations(t *testing.T) {
	if raceDetector {
		t.Skip("the race detector makes pools forget")
	}
	for name, answer := range map[string]string{
		"length":  smallAnswer,
		"chunked": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
		"304":     "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, cheap(answer))
			clients := []*peer{r.client(), r.client()}
			exchanges(t, clients, 200) // until everything is there
			const n = 5000
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			exchanges(t, clients, n)
			runtime.ReadMemStats(&after)
			// A few come of the runtime itself, and of this test.
			if got := after.Mallocs - before.Mallocs; got > n/50 {
				t.Errorf("%d allocations in %d exchanges", got, n*len(clients))
			}
			if errs := r.errs(); len(errs) > 0 {
				t.Error(errs[0])
			}
		})
	}
}

func BenchmarkSmallGet(b *testing.B) {
	r := newRig(b, cheap(smallAnswer))
	clients := make([]*peer, 64)
	for i := range clients {
		clients[i] = r.client()
		clients[i].nc.SetDeadline(noDeadline)
	}
	exchanges(b, clients, 10)
	b.ReportAllocs()
	b.ResetTimer()
	exchanges(b, clients, b.N/len(clients)+1)
}

// BenchmarkDirect is the same round trip without Perch: what remains when it
// is taken off BenchmarkSmallGet is the price of forwarding.
func BenchmarkDirect(b *testing.B) {
	r := newRig(b, cheap(smallAnswer))
	clients := make([]*peer, 64)
	for i := range clients {
		nc, err := net.Dial("tcp", r.app.Addr().String())
		if err != nil {
			b.Fatal(err)
		}
		clients[i] = r.peer(nc, 0)
		clients[i].nc.SetDeadline(noDeadline)
	}
	b.ReportAllocs()
	b.ResetTimer()
	exchanges(b, clients, b.N/len(clients)+1)
}

func BenchmarkMebibyte(b *testing.B) {
	const size = 1 << 20
	answer := "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n" + strings.Repeat("x", size)
	r := newRig(b, cheap(answer))
	client := r.client()
	client.nc.SetDeadline(noDeadline)
	b.SetBytes(size)
	b.ReportAllocs()
	for b.Loop() {
		client.send(smallGet)
		client.head()
		if _, err := io.CopyN(io.Discard, client.r, size); err != nil {
			b.Fatal(err)
		}
	}
}
