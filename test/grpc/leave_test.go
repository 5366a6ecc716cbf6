package grpc

import (
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/perchserver/perch/test/harness"
)

// An application that dies takes its calls with it: their clients are told
// that it is unavailable, and the next call has a new process.
func TestApplicationDies(t *testing.T) {
	ways(t, func(t *testing.T, c *client) {
		begun := c.stream(with(t), "Both")
		begun.expect("hello")
		waiting := c.stream(with(t), "Up") // no head of a response yet
		waiting.send("x")
		harness.Eventually(t, func() bool { return c.seen().received > 0 }, "the application has the message")
		if err := syscall.Kill(c.seen().pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		for name, s := range map[string]*stream{"begun": begun, "waiting": waiting} {
			if _, err := s.receive(); status.Code(err) != codes.Unavailable {
				t.Errorf("%s: %v, want Unavailable", name, err)
			}
		}
		harness.Eventually(t, func() bool {
			got, err := c.call(with(t), "Unary", "again")
			return err == nil && got == "again"
		}, "a new process answers")
	})
}

// Calls go on while workers are replaced again and again, and none fails. A
// stream that has begun ends where it began.
func TestReplacedUnderLoad(t *testing.T) {
	t.Parallel()
	h := start(t)
	c := dial(t, h, h.URLs[1])
	long := c.stream(with(t), "Both")
	long.expect("hello")
	var stop atomic.Bool
	var calls atomic.Int64
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for !stop.Load() {
				if got, err := c.call(with(t), "Unary", "x"); err != nil || got != "x" {
					t.Errorf("call %d: %q, %v", calls.Load(), got, err)
					return
				}
				calls.Add(1)
			}
		})
	}
	for range 4 {
		before, now := c.seen().pid, time.Now()
		if err := os.Chtimes(filepath.Join(h.Dir, "web.config"), now, now); err != nil {
			t.Fatal(err)
		}
		harness.Eventually(t, func() bool { return c.seen().pid != before }, "another process answers")
		long.send("x")
		long.expect("x")
		long.end()
		long.expect("")
		long = c.stream(with(t), "Both")
		long.expect("hello")
	}
	stop.Store(true)
	wait.Wait()
	t.Logf("%d calls", calls.Load())
}
