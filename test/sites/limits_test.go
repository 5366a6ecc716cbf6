package sites

import (
	"io"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// limited is a site with limits of its own.
func limited(site, attributes string) string {
	return strings.Replace(site, "<bindings>", "<limits "+attributes+" /><bindings>", 1)
}

func TestConnectionsOfASite(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	_, port := s.startAt(t, "127.0.0.1", func(port string) []string {
		return []string{
			limited(site(1, "few", []string{"127.0.0.1:" + port + ":few.test"}, "/="+page(t, "few")), `maxConnections="1"`),
			site(2, "many", []string{"127.0.0.1:" + port + ":"}, "/="+page(t, "many")),
		}
	})
	addr := "127.0.0.1:" + port
	const ask = "GET / HTTP/1.1\r\nHost: few.test\r\n\r\n"
	first := harness.Dial(t, addr)
	if r := first.Send(ask).Response("GET"); r.Text() != "few" {
		t.Fatalf("the first connection: %d %.80q", r.StatusCode, r.Text())
	}
	second := harness.Dial(t, addr)
	if r := second.Send(ask).Response("GET"); r.StatusCode != 503 {
		t.Errorf("the second connection: %d", r.StatusCode)
	}
	if rest := second.All(); rest != "" {
		t.Errorf("behind the 503 came %q", rest)
	}
	if _, body := get(t, addr, "x", "/"); body != "many" {
		t.Errorf("the other site answers %q", body)
	}
	if r := first.Send(ask).Response("GET"); r.Text() != "few" {
		t.Errorf("the first connection again: %d", r.StatusCode)
	}
	first.Close()
	harness.Eventually(t, func() bool { status, _ := get(t, addr, "few.test", "/"); return status == 200 }, "there is room again")
}

func TestIdleTimeOfASite(t *testing.T) {
	t.Parallel()
	s := newServer(t, limited(site(1, "a", []string{"127.0.0.1:0:"}, "/="+page(t, "a")), `connectionTimeout="00:00:01"`))
	h := s.start(t, 1)
	idle, unused := h.Dial(), h.Dial()
	idle.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").Response("GET")
	if n, err := idle.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("an idle connection: %d, %v; want its end", n, err)
	}
	// One that no site has been asked on has the server's own time.
	if r := unused.Send("GET / HTTP/1.1\r\nHost: a\r\n\r\n").Response("GET"); r.StatusCode != 200 {
		t.Errorf("an unused connection: %d", r.StatusCode)
	}
}
