package sockio

import (
	"io"
	"os"
	"testing"
	"time"
)

func TestTCPPages(t *testing.T) {
	t.Parallel()
	const table = "sockets: used 14\nTCP: inuse 3 orphan 0 tw 7 alloc 3 mem 395\nUDP: inuse 0 mem 17\n"
	if n, ok := tcpPages([]byte(table)); n != 395 || !ok {
		t.Errorf("%d, %v", n, ok)
	}
	for _, table := range []string{"", "sockets: used 14\n", "sockets: used 14\nTCP: inuse 3\nUDP: mem 17\n", "\nTCP: inuse 3 mem many\n"} {
		if n, ok := tcpPages([]byte(table)); ok {
			t.Errorf("%q: %d", table, n)
		}
	}
}

// In a container the kernel's limit is guessed, and right to a few hundredths
// where nobody has changed it.
func TestUsualNeed(t *testing.T) {
	t.Parallel()
	pages := int64(os.Getpagesize())
	if n, ok := usualNeed([]byte("MemTotal:       24684092 kB\nMemFree:        21033680 kB\n")); n != 24684092<<10/pages/16 || !ok {
		t.Errorf("%d, %v", n, ok)
	}
	for _, text := range []string{"", "MemFree: 17 kB\n", "MemTotal:", "MemTotal: much kB"} {
		if n, ok := usualNeed([]byte(text)); ok {
			t.Errorf("%q: %d", text, n)
		}
	}
	if newScarce() == nil {
		t.Error("this system says neither how much memory TCP may have nor how much there is")
	}
}

// While the kernel is in need of memory, who takes nothing is not waited for as
// long as its limit says. Who takes enough is, and who owes no minimum rate.
func TestHardTimes(t *testing.T) {
	t.Parallel()
	const (
		buffer = 512 << 10 // the kernel takes twice that, and has room again when a third of it is gone
		size   = 1800 << 10
		long   = time.Hour
	)
	sip := func(r io.Reader) { // some 200 KiB a second
		b := make([]byte, 4<<10)
		for {
			if _, err := r.Read(b); err != nil {
				return
			}
			time.Sleep(Tick / 5)
		}
	}
	late := func(r io.Reader) {
		time.Sleep(2 * HardTimes)
		io.Copy(io.Discard, r)
	}
	for name, tt := range map[string]struct {
		hard  bool
		rate  int64
		reads func(io.Reader)
		want  error
	}{
		"stalled":                      {true, 240, nil, ErrLimit},
		"slow":                         {true, 240, sip, nil},
		"stalled without a rate":       {true, 0, late, nil},
		"stalled where memory abounds": {false, 240, late, nil},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatcher(t)
			w.JudgeMemory(func() bool { return tt.hard })
			a, peer := sockets(t)
			a.SetWriteBuffer(buffer)
			c := w.Adopt(a, nil)
			defer c.Close()
			c.LimitWrite(long)
			c.MinRate(tt.rate)
			if tt.reads != nil {
				go tt.reads(peer)
			}
			other, _ := adopted(t, w, nil) // the watcher asks about memory while somebody owes a rate
			other.LimitWrite(long)
			other.MinRate(240)
			cut := make(chan struct{})
			go func() {
				other.Write(make([]byte, size))
				close(cut)
			}()
			defer func() {
				other.Abort()
				<-cut
			}()
			begin := time.Now()
			n, err := c.Write(make([]byte, size))
			if err != tt.want || err == nil && n != size {
				t.Errorf("%d, %v", n, err)
			}
			if took := time.Since(begin); took < HardTimes {
				t.Errorf("after %v", took)
			}
		})
	}
}
