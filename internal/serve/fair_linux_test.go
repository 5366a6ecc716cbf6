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
	others := map[int]net.Conn{} // by loop
	sent := make(chan struct{})
	turn := make(chan int32, 1) // how many were answered when the other had its turn
	var many atomic.Int32
	v := onSockets(t, Settings{}, exchange.HandlerFunc(func(x *exchange.Exchange) error {
		loop := x.Task.(*sockio.Task).Loop()
		switch string(x.Request.Target.Path) {
		case "/other":
			turn <- many.Load()
		case "/many":
			<-sent
			if many.Add(1) == from {
				io.WriteString(others[loop], get("/other"))
			}
		}
		return answer(x, 200, fmt.Sprint(loop))
	}))
	for len(others) < v.watch.Loops() {
		nc := v.dial()
		io.WriteString(nc, get("/loop"))
		_, body := answered(t, bufio.NewReader(nc), "GET")
		var loop int
		fmt.Sscan(body, &loop)
		others[loop] = nc
	}
	nc := v.dial()
	request := "GET /many" + host11 + "Filler: \r\n\r\n"
	request = strings.Replace(request, ": \r", ": "+strings.Repeat("x", size-len(request))+"\r", 1)
	io.WriteString(nc, strings.Repeat(request, total))
	close(sent)
	if n := <-turn; int(n) > from+2*bufferSize/size {
		t.Errorf("the other client asked after %d answers and had to wait for %d", from, n)
	}
}
