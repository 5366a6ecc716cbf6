package sockio

import (
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// Every request on a used connection asks first.
func TestAliveAllocatesNothing(t *testing.T) {
	w := newWatcher(t)
	c, _ := adopted(t, w, nil)
	if n := testing.AllocsPerRun(100, func() {
		if !c.Alive() {
			t.Error("not alive")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Who is not the owner of a connection never looks at a descriptor that the owner
// has closed: its number may be another socket's by then.
func TestSilentBesideClose(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	c, _ := adopted(t, w, nil)
	if !c.Silent() {
		t.Error("an open and silent connection")
	}
	w.remove(c) // the first thing that Close does: from here on it may close
	other, _ := sockets(t)
	raw, err := other.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	raw.Control(func(fd uintptr) { err = unix.Dup3(int(fd), c.fd, unix.O_CLOEXEC) })
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(c.fd)
	if c.Silent() {
		t.Error("another socket was looked at")
	}
}

func TestSilentWhileItCloses(t *testing.T) {
	t.Parallel()
	w := newWatcher(t)
	for range 100 {
		c, _ := adopted(t, w, nil)
		var both sync.WaitGroup
		both.Go(func() { c.Close() })
		both.Go(func() {
			for c.Silent() {
			}
		})
		both.Wait()
	}
}
