package life

import (
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// A cold start costs little beyond the application's own time to listen. The
// best of some rounds counts, because the machine has other things to do.
func TestColdStartAddsLittle(t *testing.T) {
	const most = 30 * time.Millisecond
	own, cold := time.Hour, time.Hour
	for range 7 {
		own = min(own, ownStart(t))
		h := harness.Go().Start(t)
		began := time.Now()
		if r := h.Get("/status"); r.StatusCode != 200 {
			t.Fatalf("answered %s", harness.Describe(r.StatusCode, r.Bytes))
		}
		cold = min(cold, time.Since(began))
		h.Stop()
	}
	t.Logf("the application listens after %v; a first request takes %v", own, cold)
	if added := cold - own; added > most {
		t.Errorf("a cold start adds %v, want less than %v", added, most)
	}
}

// ownStart is the time from the start of the application to its first accepted
// connection.
func ownStart(t *testing.T) time.Duration {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := ln.Addr().String()
	ln.Close()
	dir := harness.Go().Folder(t)
	ctx, cancel := context.WithTimeout(t.Context(), harness.Limit)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "app"))
	cmd.Env = append(os.Environ(), "ASPNETCORE_PORT="+addr[strings.LastIndex(addr, ":")+1:])
	began := time.Now()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Wait()
	defer cancel()
	for ctx.Err() == nil {
		if c, err := net.Dial("tcp", addr); err == nil {
			c.Close()
			return time.Since(began)
		}
	}
	t.Fatal("the application did not listen")
	return 0
}
