package spawn

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// stubborn is a tree with all that a worker can leave behind.
func stubborn(mode string) *exec.Cmd {
	return exec.Command(os.Args[0], "role:host", mode, "deaf", "session=stay", "session", "child", "pid=last", "sleep")
}

// startHost runs a host in a session of its own and returns its lines.
func startHost(t *testing.T, cmd *exec.Cmd) <-chan string {
	t.Helper()
	cmd.Stderr = os.Stderr
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdout = w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.Close()
	lines := make(chan string)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(lines)
		defer r.Close()
		for in := bufio.NewScanner(r); in.Scan(); {
			select {
			case lines <- in.Text():
			case <-time.After(2 * patience):
				return
			}
		}
	}()
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
		for range lines { // the pipe closes when the last process is gone
		}
		<-ended
	})
	return lines
}

func kill9(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
}

// collect reads lines "name number" until all names were seen.
func collect(t *testing.T, lines <-chan string, names ...string) map[string]int {
	t.Helper()
	got := make(map[string]int)
	limit := time.After(patience)
	for len(got) < len(names) {
		select {
		case line, ok := <-lines:
			name, _, _ := strings.Cut(line, " ")
			if !ok {
				t.Fatalf("the host ended after %v", got)
			}
			if slices.Contains(names, name) {
				got[name] = number(t, line, name)
			}
		case <-limit:
			t.Fatalf("only %v of %v", got, names)
		}
	}
	return got
}

func TestKilledHostLeavesNothing(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		cmd := stubborn(map[bool]string{false: "cgroup", true: "plain"}[plain])
		lines := startHost(t, cmd)
		got := collect(t, lines, "guardian", "worker", "last")
		kill9(t, cmd)
		gone(t, got["guardian"], got["worker"], got["last"])
		for line := range lines { // ends when nobody holds the pipe
			t.Logf("late line %q", line)
		}
	})
}

// Terminals and service managers signal more processes than the host.
func TestGuardianIsDeafToPoliteSignals(t *testing.T) {
	t.Parallel()
	g := newGuardian(t, true)
	a := run(t, g, "pid=app", "sleep")
	a.next()
	for _, sig := range []syscall.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTSTP} {
		if err := g.sys.cmd.Process.Signal(sig); err != nil {
			t.Fatal(err)
		}
	}
	if pids, err := a.Tree(); err != nil || len(pids) != 1 {
		t.Errorf("tree %v, %v after signals to the guardian", pids, err)
	}
	name, err := os.ReadFile(fmt.Sprintf("/proc/%d/comm", g.sys.cmd.Process.Pid))
	if err != nil || string(name) != "guardian\n" {
		t.Errorf("the guardian's name is %q, %v", name, err)
	}
	a.end()
}

// When the guardian alone is killed, the host kills what came to it, and goes
// on with another.
func TestKilledGuardian(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		cmd := stubborn(map[bool]string{false: "cgroup", true: "plain"}[plain])
		lines := startHost(t, cmd)
		got := collect(t, lines, "guardian", "worker", "last")
		if err := syscall.Kill(got["guardian"], syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if sig := collect(t, lines, "lost")["lost"]; sig != int(syscall.SIGKILL) {
			t.Errorf("the worker ended with signal %d, want 9", sig)
		}
		for _, pid := range []int{got["worker"], got["last"], got["guardian"]} {
			if p, err := readProc(pid); err == nil {
				t.Errorf("process %d is left: %+v", pid, p)
			}
		}
		for _, pid := range childrenOf(t, cmd.Process.Pid) {
			if p, err := readProc(pid); err == nil && !p.ending {
				t.Errorf("a child of the host is left: %+v", p)
			}
		}
	})
}

// A worker dies with the guardian even when nobody is there to kill it.
func TestWorkerDiesWithGuardian(t *testing.T) {
	t.Parallel()
	cmd := exec.Command(os.Args[0], "role:host", "plain", "deaf", "pid=last", "sleep")
	lines := startHost(t, cmd)
	got := collect(t, lines, "guardian", "worker", "last")
	if err := cmd.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Kill(got["guardian"], syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	eventually(t, func() error {
		if p, err := readProc(got["worker"]); err == nil && !p.ending {
			return fmt.Errorf("the worker lives: %+v", p)
		}
		return nil
	})
}

// suspend makes a guardian one that does not answer.
func suspend(t *testing.T, g *Guardian) {
	t.Helper()
	pid := g.sys.cmd.Process.Pid
	if err := syscall.Kill(pid, syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, unix.WUNTRACED, nil)
		if err == nil && status.Stopped() {
			return
		}
		if err != unix.EINTR {
			t.Fatalf("the guardian does not stop: %v, %v", status, err)
		}
	}
}

// A host that cannot wait any longer kills the guardian, and what it held.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		g := newGuardian(t, plain)
		a := run(t, g, "deaf", "session=stay", "session", "pid=last", "sleep")
		a.next()
		last := number(t, a.next(), "last")
		suspend(t, g)
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		if err := a.KillTree(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("kill: %v, want the deadline", err)
		}
		if err := g.Close(ctx); !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "was killed") {
			t.Errorf("close: %v, want the deadline and what was done", err)
		}
		for _, pid := range []int{a.Pid(), last} {
			if p, err := readProc(pid); err == nil && !p.ending {
				t.Errorf("process %d is left: %+v", pid, p)
			}
		}
	})
}
