package sites

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// A running host takes an edit over by itself, and nobody else notices.
func TestEditOfARunningHost(t *testing.T) {
	t.Parallel()
	s := newServer(t)
	folder := harness.Go().Folder(t)
	h, port := s.startAt(t, "*", func(port string) []string {
		return []string{site(1, "stays", []string{"*:" + port + ":localhost"}, "/="+folder)}
	})
	addr := "127.0.0.1:" + port
	h = h.Over("http://localhost:" + port)
	worker := h.Worker()
	socket := h.WebSocket("/ws", nil)
	kept := harness.Dial(t, addr)
	request := func() {
		t.Helper()
		if r := kept.Send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").Response("GET"); r.StatusCode != 200 {
			t.Errorf("the connection that was kept alive answers %d", r.StatusCode)
		}
	}
	request()
	edit := func(args ...string) {
		t.Helper()
		args = append(args, "--config", s.path)
		stdout, stderr, code := harness.Command(t, filepath.Dir(s.path), args...)
		if code != 0 || stdout != "" || strings.Count(stderr, "\n") != 1 || !strings.HasSuffix(stderr, "; the running host has taken it over\n") {
			t.Fatalf("perch %s: code %d, %q %q", strings.Join(args, " "), code, stdout, stderr)
		}
	}
	answers := func(status int, body string) {
		t.Helper()
		if got, text := get(t, addr, "new.test", "/"); got != status || body != "" && text != body {
			t.Errorf("the host new.test answers %d %s, want %d %s", got, text, status, body)
		}
	}

	answers(400, "")
	edit("site", "add", "new", "--path", page(t, "new"), "--listen", "http://new.test:"+port)
	answers(200, "new")
	edit("set", "system.applicationHost/sites/site[@name='new']/application[@path='/']/virtualDirectory[@path='/']/@physicalPath="+page(t, "newer"))
	answers(200, "newer")
	edit("site", "remove", "new")
	answers(400, "")

	request()
	echo(t, socket, "after the edits")
	if now := h.Worker(); now != worker {
		t.Errorf("worker %d became %d", worker, now)
	}
	// Once for each edit, by the watch or by the command: who of the two comes
	// second is silent. A reload, as at the start, is told besides.
	harness.Eventually(t, func() bool { return len(takenOver(h)) >= 4 }, "it is told that three edits were taken over")
	if n := len(takenOver(h)); n > 5 {
		t.Errorf("three edits were taken over, and it is told %d times:\n%s", n-1, h.Stderr())
	}

	// What the host cannot do is told, and leaves everything as it is.
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	_, stderr, code := harness.Command(t, filepath.Dir(s.path), "site", "add", "busy", "--path", page(t, "busy"), "--listen", "http://"+taken.Addr().String(), "--config", s.path)
	if code != 1 || !strings.Contains(stderr, "the running host goes on as before: ") {
		t.Errorf("code %d, %q", code, stderr)
	}
}
