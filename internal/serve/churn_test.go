package serve

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// Many clients that do all that clients do, at once: whoever gets an answer
// gets its own and whole, sessions are never used by two, and nothing is left
// at the end. The race detector is half of this test.
func TestChurn(t *testing.T) { overBoth(t, testChurn) }

func testChurn(t *testing.T, on starter) {
	var inUse sync.Map // sessions, by their exchange
	var served atomic.Int64
	handler := exchange.HandlerFunc(func(x *exchange.Exchange) error {
		if _, used := inUse.LoadOrStore(x, true); used {
			t.Error("an exchange is used by two connections")
		}
		defer inUse.Delete(x)
		served.Add(1)
		switch string(x.Request.Target.Path) {
		case "/panic":
			panic("a mistake")
		case "/wait":
			w := &work{done: make(chan struct{})}
			x.WhenGone(w)
			defer x.WhenGone(nil)
			select {
			case <-w.done:
			case <-time.After(time.Duration(rand.IntN(300)) * time.Millisecond):
			}
		case "/cut":
			x.Response.Status, x.Response.Length = 200, 100
			x.Response.Writer.WriteHead(x)
			return x.Response.Writer.Flush()
		}
		body, err := io.ReadAll(x.Request.Body)
		if err != nil {
			return err
		}
		return answer(x, 200, fmt.Sprintf("%s %s", x.Request.Target.Query, body))
	})
	v := on(t, Settings{ParkAfter: 1}, handler)
	v.journal.wait("panic while handling a request")
	var clients sync.WaitGroup
	const enough = 100
	begin := time.Now()
	for i := range 24 {
		clients.Go(func() {
			for n := 0; time.Since(begin) < 3*time.Second || served.Load() < enough && time.Since(begin) < hangs; {
				n = visit(t, v, i, n)
			}
		})
	}
	clients.Wait()
	idle := v.dial() // and one that stays
	ctx, cancel := context.WithTimeout(context.Background(), hangs)
	defer cancel()
	if err := v.Shutdown(ctx); err != nil {
		t.Errorf("shutdown: %v", err)
	}
	idle.Close()
	if served.Load() < enough {
		t.Errorf("%d requests were served", served.Load())
	}
}

// visit is one connection of one client.
func visit(t *testing.T, v *host, client, n int) int {
	nc := v.dial().(socket)
	defer nc.Close()
	r := bufio.NewReader(nc)
	for range 1 + rand.IntN(10) {
		n++
		path := []string{"/a", "/a", "/a", "/a", "/wait", "/panic", "/cut"}[rand.IntN(7)]
		id := fmt.Sprintf("%d-%d", client, n)
		body := strings.Repeat("b", rand.IntN(3)*rand.IntN(40_000))
		request := post(path+"?"+id, body)
		if rand.IntN(2) == 0 {
			request = chunked(path+"?"+id, fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n", len(body)+1, body+"c"))
			body += "c"
		}
		switch rand.IntN(12) {
		case 0: // leaves in the middle
			io.WriteString(nc, request[:rand.IntN(len(request))])
			return n
		case 1: // leaves without hearing the answer
			io.WriteString(nc, request)
			if rand.IntN(2) == 0 {
				nc.SetLinger(0)
			}
			return n
		case 2: // ends its side
			io.WriteString(nc, request)
			nc.CloseWrite()
		case 3: // is idle for so long that the connection parks
			time.Sleep(time.Duration(rand.IntN(400)) * time.Millisecond)
			io.WriteString(nc, request)
		case 4: // is slow
			half := len(request) / 2
			io.WriteString(nc, request[:half])
			time.Sleep(time.Millisecond)
			io.WriteString(nc, request[half:])
		default:
			io.WriteString(nc, request)
		}
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return n // cut, or ended by itself
		}
		got, err := io.ReadAll(resp.Body)
		switch {
		case err != nil || resp.StatusCode != 200:
			return n
		case string(got) != id+" "+body:
			t.Errorf("%s got an answer for %.20q", id, got)
		case resp.Close:
			return n
		}
	}
	return n
}
