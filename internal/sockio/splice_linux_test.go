package sockio

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Of a body whose receiver takes nothing, no more than the first step is fetched:
// what follows stays with its sender.
func TestSpliceFetchesLittleAtFirst(t *testing.T) {
	t.Parallel()
	const size = 256 << 10
	w := newWatcher(t)
	r := newRelay(t, w, true)
	if _, err := r.source.Write(make([]byte, size)); err != nil { // the kernel takes them
		t.Fatal(err)
	}
	r.dst.LimitWrite(time.Hour)
	done := make(chan struct{})
	go func() {
		r.dst.Splice(r.src, size)
		close(done)
	}()
	fetched := func() int {
		unread, err := unix.IoctlGetInt(r.src.fd, unix.TIOCINQ)
		if err != nil {
			t.Fatal(err)
		}
		return size - unread - option(t, r.source, func(fd int) (int, error) {
			return unix.IoctlGetInt(fd, unix.TIOCOUTQ)
		})
	}
	eventually(t, "a wait for the receiver", func() bool { return r.dst.writeLimit.at.Load() != limitNone })
	if n := fetched(); n > firstStep {
		t.Errorf("%d bytes were fetched for one who takes none, want at most %d", n, firstStep)
	}
	r.dst.Abort()
	<-done
}
