package listen

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

// patience is for what the kernel does, where others need the processors.
const patience = 20 * time.Second

// answers reports whether somebody accepts on an address.
func answers(address string) bool {
	c, err := net.DialTimeout("tcp", address, patience)
	if err == nil {
		c.Close()
	}
	return err == nil
}

func TestReopenSharesSocketsAndPorts(t *testing.T) {
	t.Parallel()
	asked := mustParse(t, "http://127.0.0.1:0", "http://127.0.0.1:0", "unix:"+t.TempDir()+"/a.sock")
	var none *Group
	first, err := none.Reopen(asked)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	// Bindings that are written alike keep a port each.
	again, err := first.Reopen(asked)
	if err != nil || !slices.Equal(again.Opened(asked), first.Bindings) || !slices.Equal(again.Sockets, first.Sockets) {
		t.Errorf("the same bindings again: %+v, %v, want %+v", again, err, first)
	}
	// One goes, one comes, the rest stays.
	more := append(slices.Clone(asked[1:]), mustParse(t, "http://localhost:0")...)
	second, err := first.Reopen(more)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := first.HandOver(second, time.Now()); err != nil || second.Leaving() {
		t.Error(err, second.Leaving())
	}
	opened := second.Opened(more)
	if opened[0].Port != first.Bindings[0].Port || second.Sockets[0].Listener != first.Sockets[0].Listener || second.Sockets[1].Listener != first.Sockets[2].Listener {
		t.Errorf("%+v does not share the sockets of %+v", second, first)
	}
	if opened[2].Port == 0 || opened[2].Port == opened[0].Port {
		t.Errorf("localhost has port %d", opened[2].Port)
	}
	if address := first.Sockets[1].Addr().String(); answers(address) {
		t.Errorf("%s is open, though nothing is bound to it any more", address)
	}
	for _, s := range second.Sockets[:1] {
		if !answers(s.Addr().String()) {
			t.Errorf("%s is closed", s.Addr())
		}
	}
}

// Whoever has connected before a binding is widened or narrowed is accepted
// after it, by a socket that is still open.
func TestReopenWidensAndNarrows(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ from, to string }{
		{"http://127.0.0.1", "http://*"},
		{"http://127.0.0.1", "http://0.0.0.0"},
		{"http://0.0.0.0", "http://*"},
		{"http://*", "http://0.0.0.0"},
		{"http://*", "http://127.0.0.1"},
		{"http://0.0.0.0", "http://127.0.0.1"},
		{"http://*", "http://localhost"},
		{"http://localhost", "http://*"},
		{"http://*", "https://127.0.0.1"},
		{"http://127.0.0.1", "https://*"},
	} {
		t.Run(c.from+" "+c.to, func(t *testing.T) {
			t.Parallel()
			first := openAlone(t, c.from)
			defer first.Close()
			port := first.Bindings[0].Port
			to := mustParse(t, fmt.Sprintf("%s:%d", c.to, port))

			given, err := first.Reopen(to) // and not taken over
			if err != nil {
				t.Fatal(err)
			}
			connected := dial(t, port)
			given.CloseExcept(first)
			awaits(t, first, connected)

			connected = dial(t, port)
			next, err := first.Reopen(to)
			if err != nil {
				t.Fatal(err)
			}
			defer next.Close()
			meanwhile := dial(t, port)
			now := time.Now()
			if err := first.HandOver(next, now); err != nil {
				t.Fatal(err)
			}
			after := dial(t, port)
			awaits(t, next, connected, meanwhile, after)
			for _, s := range next.Sockets {
				if s.TLS != to[0].TLS {
					t.Errorf("%s has TLS %v", s.Addr(), s.TLS)
				}
			}
			if l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
				l.Close()
				t.Error("another process can listen on the port")
			}
			next.Expire(now.Add(Handover - time.Second))
			left := next.Leaving()
			next.Expire(now.Add(Handover))
			if next.Leaving() || left != (len(next.all()) > 0 && first.Sockets[0].opened().covers(next.Sockets[0].opened())) {
				t.Errorf("a socket was left: %v, and is now: %v", left, next.Leaving())
			}
			awaits(t, next, dial(t, port))
		})
	}
}

// A wide socket that is about to go is wanted again.
func TestReopenTakesBackWhatWasLeaving(t *testing.T) {
	t.Parallel()
	first, err := Open(mustParse(t, "http://*:0"))
	if err != nil {
		t.Fatal(err)
	}
	port, now := first.Bindings[0].Port, time.Now()
	g := first
	for i, host := range []string{"127.0.0.1", "*", "127.0.0.1", "0.0.0.0", "*", "127.0.0.1"} {
		next, err := g.Reopen(mustParse(t, fmt.Sprintf("http://%s:%d", host, port)))
		if err != nil {
			t.Fatal(i, err)
		}
		defer next.Close()
		waiting := dial(t, port)
		if err := g.HandOver(next, now); err != nil {
			t.Fatal(i, err)
		}
		awaits(t, next, waiting, dial(t, port))
		if i == 1 && (next.Sockets[0].Listener != first.Sockets[0].Listener || next.Leaving()) {
			t.Error("the first socket is not in use again")
		}
		g = next
	}
}

// What another process has taken of a port keeps the wider binding out, and
// the narrow one open.
func TestReopenThatCannotWiden(t *testing.T) {
	t.Parallel()
	first, err := Open(mustParse(t, "http://127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	port := first.Bindings[0].Port
	other, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.2:%d", port))
	if err != nil {
		t.Skip("there is no 127.0.0.2:", err)
	}
	defer other.Close()
	waiting := dial(t, port)
	if g, err := first.Reopen(mustParse(t, fmt.Sprintf("http://*:%d", port))); err == nil {
		t.Fatalf("opened %+v", g)
	}
	awaits(t, first, waiting, dial(t, port))
}

// Where the narrow socket cannot listen after all, the wide one goes on.
func TestHandOverToWhatCannotListen(t *testing.T) {
	t.Parallel()
	first, err := Open(mustParse(t, "http://*:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	port := first.Bindings[0].Port
	next, err := first.Reopen(mustParse(t, fmt.Sprintf("http://127.0.0.1:%d", port)))
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	if next.Sockets[0].opened().begin == nil {
		t.Skip("this system lets it listen at once")
	}
	next.Sockets[0].opened().Listener.Close()
	if err := first.HandOver(next, time.Now()); err == nil || next.Leaving() {
		t.Errorf("%v, leaving %v", err, next.Leaving())
	}
	awaits(t, next, dial(t, port))
}

// openAlone listens on a port that nobody has on any other address either: what
// is free on one may be taken on another.
func openAlone(t *testing.T, url string) *Group {
	t.Helper()
	for attempt := 1; ; attempt++ {
		all, err := net.Listen("tcp", ":0")
		if err != nil {
			t.Fatal(err)
		}
		all.Close()
		g, err := Open(mustParse(t, fmt.Sprintf("%s:%d", url, port(all))))
		if err == nil {
			return g
		}
		if attempt == 10 { // times that somebody came in between
			t.Fatal(err)
		}
	}
}

// dial connects to a port of 127.0.0.1 and returns the address it has there.
func dial(t *testing.T, port uint16) string {
	t.Helper()
	c, err := net.DialTimeout("tcp4", fmt.Sprintf("127.0.0.1:%d", port), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c.LocalAddr().String()
}

// awaits accepts from all sockets of a group until those clients have come.
func awaits(t *testing.T, g *Group, clients ...string) {
	t.Helper()
	for end := time.Now().Add(patience); len(clients) > 0; {
		if time.Now().After(end) {
			t.Errorf("%q were not accepted", clients)
			return
		}
		for _, s := range g.all() {
			l := s.opened().Listener.(interface {
				net.Listener
				SetDeadline(time.Time) error
			})
			l.SetDeadline(time.Now().Add(10 * time.Millisecond)) // and it is the turn of the next
			for len(clients) > 0 {
				c, err := l.Accept()
				if err != nil {
					break
				}
				clients = slices.DeleteFunc(clients, func(a string) bool { return a == c.RemoteAddr().String() })
				c.Close()
			}
			l.SetDeadline(time.Time{})
		}
	}
}

func TestReopenThatFailsLeavesTheGroupAlone(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	asked := mustParse(t, "http://127.0.0.1:0")
	first, err := Open(asked)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	taken := mustParse(t, "http://127.0.0.1:0", "http://127.0.0.1:0", fmt.Sprintf("http://127.0.0.1:%d", port(other)))
	if g, err := first.Reopen(taken); err == nil {
		t.Fatalf("opened %+v", g)
	}
	if !answers(first.Sockets[0].Addr().String()) {
		t.Error("the socket that was open is closed")
	}
	if again, err := first.Reopen(asked); err != nil || again.Sockets[0].Listener != first.Sockets[0].Listener {
		t.Errorf("%+v, %v", again, err)
	}
}
