package sites

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// limited is a site with limits of its own.
func limited(site, attributes string) string {
	return strings.Replace(site, "<bindings>", "<limits "+attributes+" /><bindings>", 1)
}

// asker is a connection on which one path after the other is asked for, over
// HTTP/1.1 or HTTP/2.
type asker interface {
	net.Conn
	status(t *testing.T, path string) (status, body string)
}

type plainAsker struct {
	*harness.RawConn
	host string
}

func (a plainAsker) status(t *testing.T, path string) (status, body string) {
	t.Helper()
	r := a.Send("GET " + path + " HTTP/1.1\r\nHost: " + a.host + "\r\n\r\n").Response("GET")
	return r.Status[:3], r.Text()
}

func (m *multiplexed) status(t *testing.T, path string) (status, body string) {
	t.Helper()
	err := m.open("GET", path, true)
	for err == nil && m.statusOf == "" {
		err = m.next()
	}
	text, rerr := io.ReadAll(m)
	if err != nil || rerr != nil {
		t.Fatalf("%s: %v, %v", path, err, rerr)
	}
	return m.statusOf, string(text)
}

// way is a version of HTTP, clear or secure.
type way struct {
	name          string
	secure, multi bool
}

func ways() []way {
	return []way{{"HTTP/1.1", false, false}, {"HTTP/1.1 over TLS", true, false}, {"HTTP/2", false, true}, {"HTTP/2 over TLS", true, true}}
}

// dial opens a connection to the host's first URL, or its second for TLS, for
// name.test or name.localhost.
func (w way) dial(t *testing.T, h *harness.Host, name string) asker {
	t.Helper()
	host, scheme, url := name+".test", "http", h.URLs[0]
	if w.secure {
		host, scheme, url = name+".localhost", "https", h.URLs[1]
	}
	c := harness.Dial(t, "127.0.0.1:"+portOf(url))
	if w.secure {
		set := h.TLS(host)
		if w.multi {
			set.NextProtos = []string{"h2"}
		}
		c.Conn = tls.Client(c.Conn, set)
		c.In.Reset(c.Conn)
	}
	if !w.multi {
		return plainAsker{c, host}
	}
	m, err := multiplex(c.Conn, scheme, host)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestConnectionsOfASite counts those of a site beside another one on
// the same two ports.
func TestConnectionsOfASite(t *testing.T) {
	t.Parallel()
	s := newServer(t, secured(site(9, "first", []string{"127.0.0.1:0:first.test", "127.0.0.1:0:first.localhost"}, "/="+page(t, "first"))))
	h := s.start(t, 2)
	few, many := page(t, "few"), page(t, "many")
	for _, w := range ways() {
		on := func(id int, name, folder string) string {
			var bindings []string
			for i, end := range []string{".test", ".localhost"} {
				bindings = append(bindings, "127.0.0.1:"+portOf(h.URLs[i])+":"+name+end)
			}
			return secured(site(id, name, bindings, "/="+folder))
		}
		s.sites = []string{limited(on(1, "few", few), `maxConnections="1"`), on(2, "many", many)}
		s.write(t)
		if out, code := s.reload(t); code != 0 {
			t.Fatalf("perch reload: %d %s", code, out)
		}
		first := w.admitted(t, h, "few") // once that of the way before is gone
		for _, other := range ways() {
			second := other.dial(t, h, "few")
			if status, _ := second.status(t, "/"); status != "503" {
				t.Errorf("%s: a second connection, over %s: %s", w.name, other.name, status)
			}
			if !other.multi {
				if n, err := second.Read(make([]byte, 1)); err == nil {
					t.Errorf("%s: behind the 503 came %d bytes", w.name, n)
				}
			}
			if status, body := other.dial(t, h, "many").status(t, "/"); status != "200" || body != "many" {
				t.Errorf("%s: the other site: %s %.80q", w.name, status, body)
			}
		}
		if status, _ := first.status(t, "/"); status != "200" {
			t.Errorf("%s: the first connection again: %s", w.name, status)
		}
		first.Close()
	}
}

// admitted opens a connection on which a site answers with its name.
func (w way) admitted(t *testing.T, h *harness.Host, name string) (c asker) {
	t.Helper()
	harness.Eventually(t, func() bool {
		c = w.dial(t, h, name)
		status, body := c.status(t, "/")
		if status == "503" {
			c.Close()
		}
		return status == "200" && body == name
	}, "%s: there is room on %s", w.name, name)
	return c
}

func TestIdleTimeOfASite(t *testing.T) {
	t.Parallel()
	s := newServer(t, limited(secured(site(1, "a", []string{"127.0.0.1:0:a.test", "127.0.0.1:0:a.localhost"}, "/="+page(t, "a"))), `connectionTimeout="00:00:01"`))
	h := s.start(t, 2)
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			unused := w.dial(t, h, "a")
			idle, begin := w.dial(t, h, "a"), time.Now()
			if status, _ := idle.status(t, "/"); status != "200" {
				t.Fatalf("answered %s", status)
			}
			if rest, err := io.ReadAll(idle.(io.Reader)); err != nil && !w.multi || len(rest) > 0 && !w.multi {
				t.Errorf("an idle connection: %q, %v; want its end", rest, err)
			}
			if w.multi {
				m := idle.(*multiplexed)
				var err error
				for err == nil {
					err = m.next()
				}
				if !strings.Contains(err.Error(), "GOAWAY with NO_ERROR") {
					t.Errorf("an idle connection: %v, want a GOAWAY", err)
				}
			}
			took := time.Since(begin)
			if took > harness.Limit/2 {
				t.Errorf("an idle connection ended after %v", took)
			}
			harness.AtLeast(t, time.Second, took)
			// One that no site has been asked on has the server's own time.
			if status, _ := unused.status(t, "/"); status != "200" {
				t.Errorf("an unused connection: %s", status)
			}
		})
	}
}

// TestBandwidthOfASite holds that what a site sends takes the time that its
// bandwidth gives, from a file and from an application, over every protocol,
// and arrives whole.
func TestBandwidthOfASite(t *testing.T) {
	t.Parallel()
	const rate, size = 400_000, 500_000
	want := harness.Pattern(size)
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			folder := page(t, "a")
			harness.WriteFile(t, filepath.Join(folder, "large.bin"), string(want))
			s := newServer(t, limited(secured(site(1, "a", []string{"127.0.0.1:0:a.test", "127.0.0.1:0:a.localhost"},
				"/="+folder, "/app="+harness.Go().Folder(t))), `maxBandwidth="400000"`))
			h := s.start(t, 2)
			begin, sent := time.Now(), 0
			for _, path := range []string{"/large.bin", "/app/download?bytes=500000", "/app/download?bytes=500000&chunked"} {
				status, body := w.dial(t, h, "a").status(t, path)
				if status != "200" || !bytes.Equal([]byte(body), want) {
					t.Fatalf("%s: %s, %d bytes", path, status, len(body))
				}
				sent += size
			}
			// One second's bytes go at once; then the rate holds.
			if took, least := time.Since(begin), time.Duration(sent-rate)*time.Second/rate; took < least {
				t.Errorf("%d bytes came within %v, want %v at least", sent, took, least)
			}
		})
	}
}

// TestWhoWaitsForBandwidth holds that a response with an hour to go ends with
// its client, and with the second signal to stop.
func TestWhoWaitsForBandwidth(t *testing.T) {
	t.Parallel()
	for _, w := range ways() {
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			folder := page(t, "a")
			harness.WriteFile(t, filepath.Join(folder, "large.bin"), string(harness.Pattern(4_000_000)))
			s := newServer(t, limited(secured(site(1, "a", []string{"127.0.0.1:0:a.test", "127.0.0.1:0:a.localhost"}, "/="+folder)), `maxBandwidth="1024"`))
			h := s.start(t, 2)
			begin := func() asker {
				c := w.dial(t, h, "a")
				switch c := c.(type) {
				case plainAsker:
					c.Send("GET /large.bin HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n")
					if _, err := c.In.ReadString('\n'); err != nil {
						t.Fatal(err)
					}
				case *multiplexed:
					if err := errors.Join(c.open("GET", "/large.bin", true), c.await()); err != nil {
						t.Fatal(err)
					}
				}
				return c
			}
			idle := harness.Descriptors(h.Pid)
			begin().Close()
			harness.Eventually(t, func() bool { return harness.Descriptors(h.Pid) <= idle }, "the connection of who has left is closed")
			begin()
			h.Signal(syscall.SIGTERM)
			h.AwaitStderr("requests in flight may end")
			if code := h.Insist(syscall.SIGTERM); code != 1 {
				t.Errorf("exit code %d, want that of requests that were cut", code)
			}
		})
	}
}
