package serve

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/sockio"
)

// A client that has sent more requests than fit into a buffer does not keep
// another of the same loop waiting until all of them are answered.
func TestPipelineLeavesTurns(t *testing.T) {
	t.Parallel()
	t.Run("requests end with the buffer", func(t *testing.T) { testPipeline(t, bufferSize/8) })
	t.Run("requests do not end with the buffer", func(t *testing.T) { testPipeline(t, bufferSize/8-10) })
}

func testPipeline(t *testing.T, size int) {
	t.Parallel()
	const total, from = 50, 15
	type client struct {
		net.Conn
		r *bufio.Reader
	}
	others := map[int]client{} // by loop
	sent := make(chan struct{})
	type turn struct{ loop, answered int }
	turns := make(chan turn, 1) // how many were answered when the other had its turn
	var many atomic.Int32
	v := onSockets(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		loop := x.Task.(*sockio.Task).Loop()
		switch string(x.Request.Target.Path) {
		case "/other":
			turns <- turn{loop, int(many.Load())}
		case "/first":
			<-sent
			many.Store(0)
		case "/many":
			if many.Add(1) == from {
				io.WriteString(others[loop], get("/other"))
			}
		}
		return answer(x, 200, fmt.Sprint(loop))
	}))
	for len(others) < v.watch.Loops() {
		nc := v.dial()
		r := bufio.NewReader(nc)
		io.WriteString(nc, get("/loop"))
		_, body := answered(t, r, "GET")
		var loop int
		fmt.Sscan(body, &loop)
		others[loop] = client{nc, r}
	}
	request := func(path string) string {
		r := "GET " + path + host11 + "Filler: \r\n\r\n"
		return strings.Replace(r, ": \r", ": "+strings.Repeat("x", size-len(r))+"\r", 1)
	}
	best := total
	for try := 0; try < 20 && best > from+2*bufferSize/size; try++ { // the machine may be busy
		nc := v.dial()
		io.WriteString(nc, request("/first")+strings.Repeat(request("/many"), total))
		sent <- struct{}{}
		other := <-turns
		answered(t, others[other.loop].r, "GET")
		r := bufio.NewReader(nc)
		for range 1 + total {
			answered(t, r, "GET")
		}
		best = min(best, other.answered)
	}
	if best > from+2*bufferSize/size {
		t.Errorf("the other client asked after %d answers and had to wait for %d", from, best)
	}
}
