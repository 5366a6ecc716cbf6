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

// BenchmarkColdStart measures what a cold start costs beyond the application's
// own time to listen: "added-ms", best of all rounds, because the machine has
// other things to do. The aim is less than 30.
func BenchmarkColdStart(b *testing.B) {
	own, cold := time.Hour, time.Hour
	for b.Loop() {
		own = min(own, ownStart(b))
		h := harness.Go().Start(b)
		began := time.Now()
		if r := h.Get("/status"); r.StatusCode != 200 {
			b.Fatalf("answered %s", harness.Describe(r.StatusCode, r.Bytes))
		}
		cold = min(cold, time.Since(began))
		h.Stop()
	}
	b.ReportMetric(float64(own.Microseconds())/1000, "own-ms")
	b.ReportMetric(float64((cold-own).Microseconds())/1000, "added-ms")
}

// ownStart is the time from the start of the application to its first accepted
// connection.
func ownStart(t testing.TB) time.Duration {
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
