package limits

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

const (
	attackers = 4000

	// promise is how much longer than the clients of a host that is not attacked
	// others may be kept waiting. That host runs beside the attacked one and is
	// asked at the same time: the attackers take the processors from both.
	promise = 100 * time.Millisecond

	// perAttacker is the memory that a connection may cost while it does its
	// worst: a session has two buffers of 16 KiB and a goroutine its stack,
	// and the collector may hold nearly as much again before it runs.
	perAttacker = 64 << 10

	// held is how many attackers have to be there at once for an attack to
	// count: the first are gone before a slow machine has accepted the last.
	held = attackers / 4

	// kept is how many descriptors a host may keep for later: connections to
	// the application, and pipes for bodies that move inside the kernel.
	kept = attackers / 10
)

// The four modes of slowhttptest, one after another, each with 4,000
// connections: they are closed when their limit has passed, and until then
// everybody else is served. (Many ranges of one file are answered at once, so that
// attack ends by itself.)
//
// Slow readers of large answers have the kernel hold what the application sends,
// 4,000 times more than it grants to all sockets of the machine together. By the
// limits that Perch has by itself they may do that for a minute: enough of them
// are to be gone at once that there is memory for others. Those wait for the
// application, too, which writes for slow readers first: it is not let write much.
func TestAttacks(t *testing.T) {
	program := harness.FindTool(t, "slowhttptest")
	var files syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &files); err != nil || files.Max < 3*attackers {
		t.Fatalf("a process may open %d files (%v): the attack needs %d (ulimit -Hn)", files.Max, err, 3*attackers)
	}
	const limits = `headerWaitTimeout="00:00:05" connectionTimeout="00:00:03" minBytesPerSecond="6000" minBytesGracePeriod="00:00:03" drainTimeout="00:00:01"`
	application := func(t *testing.T) *harness.Host { return start(t, limits) }
	unlimited := func(t *testing.T) *harness.Host {
		if _, limit := tcpMemory(t); limit == 0 {
			t.Skip("this system does not tell how much memory TCP may have")
		}
		return start(t, "")
	}
	folder := func(t *testing.T) *harness.Host {
		dir := t.TempDir()
		harness.WriteFile(t, filepath.Join(dir, "index.html"), strings.Repeat("0123456789abcdef", 4<<10))
		harness.WriteFile(t, filepath.Join(dir, "large.bin"), strings.Repeat("0123456789abcdef", 256<<10))
		harness.WriteFile(t, filepath.Join(dir, "web.config"), `<configuration><perch><limits `+limits+` /></perch></configuration>`)
		return harness.Start(t, harness.Run{Dir: dir})
	}
	for _, s := range []siege{
		{"slow headers", application, "/", "-H -t GET -i 1 -x 20", held, 0},
		{"slow body", application, "/upload", "-B -t POST -i 1 -x 20 -s 8192", held, 0},
		{"slow read", application, "/download?bytes=100000", "-X -n 1 -z 32 -w 512 -y 1024", held, 0},
		{"slow read of large answers", unlimited, "/download?bytes=4194304", "-X -n 1 -z 32 -w 512 -y 1024", held, 10 * time.Second},
		{"slow read of a file", folder, "/large.bin", "-X -n 1 -z 32 -w 512 -y 1024", held, 0},
		{"ranges of a file", folder, "/index.html", "-R -t GET -a 5 -b 3000", 0, 0},
	} {
		t.Run(s.name, func(t *testing.T) {
			// What an attack does to others it does again. A processor that is
			// taken from one of the two hosts alone makes that one look slow.
			for tries := 1; ; tries++ {
				under, beside := s.lay(t, program.Path)
				got, want := at(under, 99), promise+at(beside, 99)
				if got <= want {
					return
				}
				t.Logf("one of a hundred other clients waited longer than %v, want %v: %v more than where nobody attacks", got, want, promise)
				if tries == 3 {
					t.Error("others were kept waiting in three attacks of three")
					return
				}
			}
		})
	}
}

// siege is one kind of attack.
type siege struct {
	name   string
	host   func(*testing.T) *harness.Host
	target string
	flags  string
	held   int
	lasts  time.Duration // how long it is watched; 0: until it is over
}

// lay attacks a host, and returns how long others waited for it, and how long
// those of a host beside it that nobody attacks.
func (s *siege) lay(t *testing.T, program string) (under, beside []time.Duration) {
	t.Helper()
	h, control := s.host(t), s.host(t)
	for range 10 { // what starts late has started
		for _, h := range []*harness.Host{h, control} {
			if r := h.Do("GET", "/", last, nil); r.StatusCode != 200 {
				t.Fatalf("answered %d", r.StatusCode)
			}
		}
	}
	idle := harness.Descriptors(h.Pid)
	memory := harness.Memory(h.Pid)

	attack := attack(t, program, h.URL+s.target, strings.Fields(s.flags))
	var underErr, besideErr error
	done := make(chan struct{})
	var wait sync.WaitGroup
	wait.Go(func() { under, underErr = probe(h, done) })
	wait.Go(func() { beside, besideErr = probe(control, done) })
	most, peak := 0, int64(0)
	over, begin := false, time.Now()
	for tick := time.NewTicker(20 * time.Millisecond); !over && time.Since(begin) < harness.Limit; <-tick.C {
		peak = max(peak, harness.Memory(h.Pid)-memory)
		now := harness.Descriptors(h.Pid) - idle
		most = max(most, now)
		switch {
		case s.held == 0:
			over = attack.ended()
		case s.lasts > 0:
			over = most >= s.held && time.Since(begin) >= s.lasts
		default:
			over = most >= s.held && now <= kept
		}
	}
	pages, limit := tcpMemory(t)
	close(done)
	wait.Wait()
	if err := errors.Join(underErr, besideErr); err != nil {
		t.Fatal(err)
	}
	t.Logf("served in %v at the median, %v at the 99th of 100, %v at most; not attacked in %v, %v, %v; at most %d descriptors and %d MiB more",
		at(under, 50), at(under, 99), at(under, 100), at(beside, 50), at(beside, 99), at(beside, 100), most, peak>>20)
	if told := attack.stop(); most < s.held || s.held == 0 && !strings.Contains(told, "No open connections left") {
		t.Fatalf("no attack: %d descriptors at once\n%s", most, told)
	}
	if !over {
		t.Errorf("after %v the attack goes on: its connections are not closed at their limit", harness.Limit)
	}
	if s.lasts > 0 && pages >= limit {
		t.Errorf("the kernel holds %d pages for TCP, and from %d on drops what comes", pages, limit)
	}
	if want := int64(max(most, attackers)) * perAttacker; peak > want {
		t.Errorf("%d bytes of memory, want at most %d", peak, want)
	}
	return under, beside
}

// tcpMemory returns how many pages the kernel holds for all TCP sockets, and how
// many at most; 0 where it does not say.
func tcpMemory(t *testing.T) (pages, limit int) {
	t.Helper()
	limits, err := os.ReadFile("/proc/sys/net/ipv4/tcp_mem")
	if err != nil {
		return 0, 0
	}
	table, err := os.ReadFile("/proc/net/sockstat")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(table), "\nTCP: ")
	_, rest, _ = strings.Cut(rest, " mem ")
	if _, err := fmt.Sscan(rest, &pages); err != nil {
		t.Fatal(err)
	}
	var low, need int
	if _, err := fmt.Sscan(string(limits), &low, &need, &limit); err != nil {
		t.Fatal(err)
	}
	return pages, limit
}

// last asks for the end of the connection.
var last = []string{"Connection: close"}

// probe asks until done is closed, each time on a connection of its own, and
// returns how long that took, in order of length. A client comes every few
// milliseconds: those who come while another one is waited for wait as well,
// until that one is served, or a standstill of seconds would count as one of
// many. Everybody has to be served.
func probe(h *harness.Host, done <-chan struct{}) (took []time.Duration, err error) {
	const every = 5 * time.Millisecond
	for comes := time.Now(); ; {
		r, err := h.Try("GET", "/", last, nil)
		if err != nil || r.StatusCode != 200 || r.Err != nil {
			return nil, fmt.Errorf("another client, after %v: %v %+v", time.Since(comes), err, r)
		}
		for now := time.Now(); comes.Before(now); comes = comes.Add(every) {
			took = append(took, now.Sub(comes))
		}
		select {
		case <-time.After(time.Until(comes)):
		case <-done:
			slices.Sort(took)
			return took, nil
		}
	}
}

// at returns the value below which so many of a hundred lie.
func at(sorted []time.Duration, percent int) time.Duration {
	return sorted[min(len(sorted)*percent/100, len(sorted)-1)]
}

// attacker is a running slowhttptest.
type attacker struct {
	cancel context.CancelFunc
	done   chan struct{}
	out    bytes.Buffer // complete when done is closed
}

// attack starts the program against a URL. It ends with the test at the
// latest.
func attack(t *testing.T, program, url string, flags []string) *attacker {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	a := &attacker{cancel: cancel, done: make(chan struct{})}
	cmd := exec.CommandContext(ctx, program, append(flags, "-c", strconv.Itoa(attackers), "-r", "4000", "-l", "120", "-u", url)...)
	cmd.Stdout, cmd.Stderr = &a.out, &a.out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		cmd.Wait()
		close(a.done)
	}()
	t.Cleanup(func() { a.stop() })
	return a
}

// ended reports whether it has nothing left to do.
func (a *attacker) ended() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// stop ends it and returns what it wrote.
func (a *attacker) stop() string {
	a.cancel()
	<-a.done
	return a.out.String()
}
