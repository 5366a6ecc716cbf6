package listen

import (
	"fmt"
	"net"
	"slices"
	"testing"
	"time"
)

// answers reports whether somebody accepts on an address.
func answers(address string) bool {
	c, err := net.DialTimeout("tcp", address, time.Second)
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
	if err := first.CloseExcept(second); err != nil {
		t.Error(err)
	}
	opened := second.Opened(more)
	if opened[0].Port != first.Bindings[0].Port || second.Sockets[0] != first.Sockets[0] || second.Sockets[1] != first.Sockets[2] {
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

func TestReopenWidensAndNarrows(t *testing.T) {
	t.Parallel()
	first, err := Open(mustParse(t, "http://127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	port := first.Bindings[0].Port
	wide, err := first.Reopen(mustParse(t, fmt.Sprintf("http://*:%d", port)))
	if err != nil {
		t.Fatal(err)
	}
	defer wide.Close()
	narrow, err := wide.Reopen(mustParse(t, fmt.Sprintf("http://127.0.0.1:%d", port)))
	if err != nil {
		t.Fatal(err)
	}
	defer narrow.Close()
	if got := narrow.Sockets[0].Addr().String(); got != first.Sockets[0].Addr().String() || !answers(got) {
		t.Errorf("listens on %s", got)
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
	if again, err := first.Reopen(asked); err != nil || again.Sockets[0] != first.Sockets[0] {
		t.Errorf("%+v, %v", again, err)
	}
}

// A socket that waits with connections for http is no good for https.
func TestReopenChangesTheScheme(t *testing.T) {
	t.Parallel()
	first, err := Open(mustParse(t, "http://127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := first.Reopen(mustParse(t, fmt.Sprintf("https://127.0.0.1:%d", first.Bindings[0].Port)))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if len(second.Sockets) != 1 || second.Sockets[0] == first.Sockets[0] || !second.Sockets[0].TLS {
		t.Errorf("%+v", second.Sockets)
	}
}
