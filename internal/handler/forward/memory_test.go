package forward_test

import (
	"net"
	"runtime"
	"testing"
)

// BenchmarkWaitingStreams tells what a response costs that streams for long and
// waits for its next event: memory of Perch alone, connections and goroutines
// included.
func BenchmarkWaitingStreams(b *testing.B) {
	const streams = 1000
	release := make(chan struct{})
	defer close(release)
	r := newRig(b, func(p *peer) {
		p.head()
		p.send("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n8\r\ndata: 1\n\r\n")
		<-release
	})
	open := func(l net.Listener) float64 {
		before := inUse()
		for range streams {
			nc, err := net.Dial("tcp", l.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			c := r.peer(nc, 0)
			c.nc.SetDeadline(noDeadline)
			c.send(smallGet)
			c.head()
			c.want("8\r\ndata: 1\n\r\n")
		}
		return float64(inUse()-before) / streams
	}
	direct := open(r.app) // what clients and application take, which are in this process too
	forwarded := open(r.front)
	for b.Loop() {
	}
	b.ReportMetric(forwarded-direct, "B/stream")
	b.ReportMetric(0, "ns/op")
}

// inUse is what the process holds in heap and stacks.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapInuse + m.StackInuse
}
