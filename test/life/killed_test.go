package life

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

// held asks TestHeld for a host that lives until standard input ends.
const held = "TEST_HELD"

// A test process that is killed takes the hosts with it that it has started,
// and they their applications: nobody is there to clean up.
func TestKilledTests(t *testing.T) {
	t.Parallel()
	tests := exec.Command(os.Args[0], "-test.run=^TestHeld$", "-test.v")
	tests.Env = append(os.Environ(), held+"=1", "TMPDIR="+t.TempDir())
	tests.Stderr = os.Stderr
	out, err := tests.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := tests.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := tests.Start(); err != nil {
		t.Fatal(err)
	}
	var pids []int
	for lines := bufio.NewScanner(out); pids == nil && lines.Scan(); {
		if list, ok := strings.CutPrefix(lines.Text(), held+" "); ok {
			for _, word := range strings.Fields(list) {
				pid, err := strconv.Atoi(word)
				if err != nil {
					t.Fatal(err)
				}
				pids = append(pids, pid)
			}
		}
	}
	tests.Process.Kill()
	tests.Wait()
	in.Close()
	if len(pids) < 4 {
		t.Fatalf("processes %v, want a host with guardian, application and grandchild", pids)
	}
	t.Cleanup(func() { syscall.Kill(pids[0], syscall.SIGKILL) }) // if it was left, and so are the others
	for _, pid := range pids {
		harness.Eventually(t, func() bool { return !harness.Alive(pid) }, "process %d of %v ends", pid, pids)
	}
}

// TestHeld is no test but the part that TestKilledTests kills.
func TestHeld(t *testing.T) {
	if os.Getenv(held) == "" {
		t.Skip("only for TestKilledTests")
	}
	h := harness.Go().Start(t)
	h.Worker()
	grandchild := spawn(t, h)
	fmt.Println(held, h.Pid, strings.Trim(fmt.Sprint(h.Tree()), "[]"), grandchild)
	io.Copy(io.Discard, os.Stdin)
}
