package serve

import (
	"bufio"
	"io"
	"net"
	"testing"
	"time"

	"github.com/perchserver/perch/internal/sockio"
)

// Some connections of each loop wait for their next request with all that they
// need for it, the others without, and all are served.
func TestWarmConnections(t *testing.T) { overBoth(t, testWarmConnections) }

func testWarmConnections(t *testing.T, on starter) {
	v := on(t, Settings{ParkAfter: time.Hour, IdleTime: 2 * time.Hour}, pages)
	most := mostWarm * v.watch.Loops()
	type client struct {
		net.Conn
		r *bufio.Reader
	}
	var clients []client
	for range most + 40 {
		nc := v.dial()
		clients = append(clients, client{nc, bufio.NewReader(nc)})
	}
	for range 2 {
		// A loop that stood still for a tick, because the machine was busy, has
		// let go of a connection: so all ask again.
		eventually(t, "waiting with sessions", func() bool {
			for _, c := range clients {
				io.WriteString(c, get("/a"))
				if _, body := answered(t, c.r, "GET"); body != "GET /a" {
					t.Fatalf("%q", body)
				}
			}
			for end := time.Now().Add(10 * sockio.Tick); v.withSession() != most && time.Now().Before(end); {
				time.Sleep(time.Millisecond)
			}
			return v.withSession() == most
		})
	}
}
