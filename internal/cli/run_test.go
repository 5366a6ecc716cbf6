//go:build unix

package cli

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// A signal to stop that comes again within half a second is the same one; a
// later one stops at once.
func TestSignalsToStop(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then   []time.Duration // after the signal before
		signal os.Signal
		took   time.Duration
		cut    bool
	}{
		"one":    {nil, nil, time.Minute, false},
		"echo":   {[]time.Duration{400 * time.Microsecond}, syscall.SIGTERM, time.Minute, false},
		"echoes": {[]time.Duration{0, 0, echoTime - 1}, syscall.SIGTERM, time.Minute, false},
		"second": {[]time.Duration{echoTime}, syscall.SIGTERM, echoTime, true},
		"third":  {[]time.Duration{echoTime / 2, echoTime / 2}, syscall.SIGTERM, echoTime, true},
		"reload": {[]time.Duration{time.Second}, syscall.SIGHUP, time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				signals := make(chan os.Signal, 1)
				go func() {
					signals <- syscall.SIGTERM
					synctest.Wait()
					for _, after := range c.then {
						time.Sleep(after)
						signals <- c.signal
					}
				}()
				begun, reloads := time.Now(), 0
				err := obey(signals, func(string) { reloads++ }, func(ctx context.Context, _ time.Duration) error {
					select {
					case <-ctx.Done():
						return context.Cause(ctx)
					case <-time.After(time.Minute):
						return nil
					}
				}, slog.New(slog.DiscardHandler))
				if took := time.Since(begun); took != c.took || (err != nil) != c.cut || reloads != 0 {
					t.Errorf("stopped after %v with %v, %d reloads; want %v, cut %t", took, err, reloads, c.took, c.cut)
				}
				if c.cut && errors.Is(err, context.Canceled) {
					t.Errorf("nothing says what cut the requests: %v", err)
				}
			})
		})
	}
}
