package tls

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// What does not become a TLS connection is refused, cheaply and in time.
func TestRefusals(t *testing.T) {
	t.Parallel()
	dir := files(t, "hello")
	const headerTime = 2 * time.Second
	web := `<configuration><perch><limits headerWaitTimeout="00:00:02" /></perch></configuration>`
	if err := os.WriteFile(filepath.Join(dir, "web.config"), []byte(web), 0o644); err != nil {
		t.Fatal(err)
	}
	h := harness.Start(t, harness.Run{Dir: dir, Listen: []string{"https://127.0.0.1:0", "http://127.0.0.1:0"}})
	clear := h.Over(h.URLs[1])
	hello := clientHello(t)
	for name, send := range map[string]func(c *harness.RawConn){
		"silence":     func(*harness.RawConn) {},
		"a beginning": func(c *harness.RawConn) { c.Send(hello[:7]) },
		"half":        func(c *harness.RawConn) { c.Send(hello) }, // the answer is read, and nothing follows
		"a trickle": func(c *harness.RawConn) {
			tick := time.NewTicker(20 * time.Millisecond)
			defer tick.Stop()
			for i := 0; i < len(hello); i++ {
				if _, err := io.WriteString(c, hello[i:i+1]); err != nil {
					return
				}
				<-tick.C
			}
			t.Error("a hello of ", len(hello), " bytes was read to its end")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			begin := time.Now()
			c := harness.Dial(t, h.Addr())
			send(c)
			got := c.All()
			took := time.Since(begin)
			if (got != "") != (name == "half") || took > headerTime+8*time.Second {
				t.Errorf("%.100q after %v", got, took)
			}
			harness.AtLeast(t, headerTime, took)
		})
	}
	for name, text := range map[string]string{
		"clear text":   "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"a clear POST": "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n" + strings.Repeat("x", 100_000),
		"clear HTTP/2": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := harness.Dial(t, h.Addr()).Send(text)
			if r := c.Response("GET"); r.StatusCode != 400 || !strings.Contains(r.Text(), "This port expects TLS: use https instead of http") {
				t.Error(harness.Describe(r.StatusCode, r.Bytes))
			}
			if got := c.All(); got != "" {
				t.Errorf("then %q", got)
			}
		})
	}
	t.Run("TLS on a clear port", func(t *testing.T) {
		t.Parallel()
		c := harness.Dial(t, clear.Addr()).Send(hello)
		if r := c.Response("GET"); r.StatusCode != 400 || !r.Close {
			t.Errorf("%s, close %v", harness.Describe(r.StatusCode, r.Bytes), r.Close)
		}
		_, err := shake(clear.Addr(), &tls.Config{InsecureSkipVerify: true})
		if err == nil || !strings.Contains(err.Error(), "HTTP response to HTTPS client") && !strings.Contains(err.Error(), "does not look like a TLS handshake") {
			t.Error(err)
		}
	})
	t.Run("large ALPN", func(t *testing.T) {
		t.Parallel()
		var protocols []string
		for i := range 500 {
			protocols = append(protocols, fmt.Sprintf("%0200d", i)) // 100,000 bytes; the extension holds 65,535
		}
		for n, want := range map[int]string{100: "no application protocol", 320: ""} {
			if _, err := shake(h.Addr(), &tls.Config{InsecureSkipVerify: true, NextProtos: protocols[:n]}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d protocols: %v", n, err)
			}
		}
		// As a record layer of its own would send it: a hello of 100,000 bytes.
		c := harness.Dial(t, h.Addr())
		c.Send("\x16\x03\x01\x40\x00\x01\x01\x86\xa0" + strings.Repeat("a", 16<<10-4))
		if got := c.All(); strings.Contains(got, "HTTP") || len(got) > 7 {
			t.Errorf("%q", got)
		}
	})
	t.Run("old versions", func(t *testing.T) {
		t.Parallel()
		_, err := shake(h.Addr(), &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err == nil || !strings.Contains(err.Error(), "protocol version") {
			t.Error(err)
		}
	})
	t.Run("renegotiation", func(t *testing.T) {
		t.Parallel()
		out, err := run(t, "openssl", strings.NewReader("R\n"), "s_client", "-connect", h.Addr(), "-tls1_2", "-quiet", "-no_ign_eof")
		if err == nil || !strings.Contains(out, "RENEGOTIATING") || !strings.Contains(out, "alert unexpected message") {
			t.Errorf("%v: %s", err, out)
		}
	})
	// None of this hindered anybody.
	t.Cleanup(func() {
		if r := h.Get("/"); r.Text() != "hello" {
			t.Errorf("afterwards: %q", r.Text())
		}
	})
}

// clientHello is how a handshake begins.
func clientHello(t *testing.T) string {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go tls.Client(there, &tls.Config{ServerName: "localhost"}).Handshake() // it ends with the pipe
	record := make([]byte, 5)
	if _, err := io.ReadFull(here, record); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, int(record[3])<<8|int(record[4]))
	if _, err := io.ReadFull(here, rest); err != nil {
		t.Fatal(err)
	}
	return string(record) + string(rest)
}

// A thousand handshakes that stall keep nobody from being served, cost little,
// and are gone after the header time.
func TestStalledHandshakes(t *testing.T) {
	t.Parallel()
	dir := files(t, "hello")
	harness.WriteFile(t, filepath.Join(dir, "web.config"), `<configuration><perch><limits headerWaitTimeout="00:00:08" /></perch></configuration>`)
	h := harness.Start(t, harness.Run{Dir: dir, Listen: []string{"https://127.0.0.1:0"}})
	h.Get("/")
	before, idle := harness.Memory(h.Pid), h.Established()
	hello := clientHello(t)
	const clients = 1000
	for i := range clients {
		c := harness.Dial(t, h.Addr())
		c.Send(hello[:1+i%len(hello)/2])
	}
	harness.Eventually(t, func() bool { return h.Established()-idle >= clients*9/10 }, "the clients have been accepted, before the header time is over")
	const each = 32 << 10
	if grown := harness.Memory(h.Pid) - before; grown > clients*each {
		t.Errorf("%d handshakes hold %d KB each", clients, grown>>10/clients)
	}
	begin := time.Now()
	if r := h.Get("/"); r.Text() != "hello" || time.Since(begin) > 5*time.Second {
		t.Errorf("%q after %v", r.Text(), time.Since(begin))
	}
	harness.Within(t, 20*time.Second, func() bool { return h.Established() <= idle+1 }, "the handshakes have been given up")
}
