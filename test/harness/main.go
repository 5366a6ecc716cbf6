// Package harness starts the built perch and looks at it from outside: the
// words that the black-box suites are written in. It knows the command line,
// HTTP and the process table, and nothing of Perch's packages.
//
// Each test has a folder, a host and ports of its own and runs in parallel
// with the others. Nothing sleeps: waits poll a condition up to a limit. At
// the end of a test no process may be left that its host had started.
//
// Only the suites beside it import it.
package harness

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"
	"time"
)

// Limit bounds every wait that has no reason for another bound. It is long,
// because a machine under load is slow, and costs nothing when all is well.
const Limit = 30 * time.Second

// Main builds the binary, runs the tests of a suite and ends the process. A
// suite calls it from TestMain.
func Main(m *testing.M) {
	if err := build(); err != nil {
		fmt.Fprintln(os.Stderr, "harness:", err)
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// build makes the binary from the sources as they are. The suites run side by
// side, so one builds and the others wait; what is up to date is not touched.
func build() error {
	if err := os.MkdirAll(cache("bin"), 0o755); err != nil {
		return err
	}
	lock, err := os.OpenFile(cache("bin", "perch.lock"), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		return fmt.Errorf("lock %s: %w", lock.Name(), err)
	}
	return compile(Binary())
}

func compile(to string, flags ...string) error {
	cmd := exec.Command("go", append(append([]string{"build", "-o", to}, flags...), "./cmd/perch")...)
	cmd.Dir = Root()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("go build ./cmd/perch: %w\n%s", err, out)
	}
	return nil
}

// WithRaceDetector builds the program with the race detector and returns its
// path. What it finds, it writes to stderr.
func WithRaceDetector(t testing.TB) string {
	t.Helper()
	path := cache("bin", "perch-race")
	if err := compile(path, "-race"); err != nil {
		t.Fatal(err)
	}
	return path
}

// Root is the folder of the repository.
func Root() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// Binary is the path of the program under test.
func Binary() string { return cache("bin", "perch") }

func cache(parts ...string) string {
	return filepath.Join(append([]string{Root(), ".cache"}, parts...)...)
}

// Eventually polls ok every few milliseconds and fails the test if it does not
// hold within Limit. The message says what was waited for.
func Eventually(t testing.TB, ok func() bool, format string, a ...any) {
	t.Helper()
	if !poll(Limit, ok) {
		t.Fatalf("not within %v: "+format, append([]any{Limit}, a...)...)
	}
}

// Within is Eventually with a limit of its own, for promises about time.
func Within(t testing.TB, limit time.Duration, ok func() bool, format string, a ...any) {
	t.Helper()
	if !poll(limit, ok) {
		t.Fatalf("not within %v: "+format, append([]any{limit}, a...)...)
	}
}

// AtLeast is for promises that something does not come too early.
func AtLeast(t testing.TB, least, took time.Duration) {
	t.Helper()
	if took < least {
		t.Errorf("it took %v, want %v at least", took, least)
	}
}

func poll(limit time.Duration, ok func() bool) bool {
	if ok() {
		return true
	}
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(limit)
	for {
		select {
		case <-tick.C:
			if ok() {
				return true
			}
		case <-end:
			return ok()
		}
	}
}
