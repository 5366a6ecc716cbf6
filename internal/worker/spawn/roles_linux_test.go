package spawn

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The test binary plays every part: guardian, host and application.
func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "role:guardian":
			os.Exit(Serve(os.NewFile(3, "control")))
		case "role:host":
			playHost(os.Args[2:])
		case "role:blocked":
			playBlocked(os.Args[2:])
		case "role:app":
			playApp(os.Args[2:])
		}
	}
	// With the race detector guardians end at once, and loudly when they race.
	os.Setenv("GORACE", "atexit_sleep_ms=0 halt_on_error=1")
	// What a killed host leaves comes to us, whichever test runs first.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		panic(err)
	}
	os.Exit(m.Run())
}

// playApp is an application: a list of words, done in order. It exits without
// the race detector's pause.
func playApp(words []string) {
	for i, word := range words {
		name, value, _ := strings.Cut(word, "=")
		number, _ := strconv.Atoi(value)
		switch name {
		case "pid":
			fmt.Printf("%s %d\n", value, os.Getpid())
		case "report":
			json.NewEncoder(os.Stdout).Encode(lookAround())
		case "deaf":
			signal.Ignore(syscall.SIGTERM)
			fmt.Println("deaf")
		case "child", "session": // runs the rest of the words in a child, or in one with its own session
			cmd := exec.Command("/proc/self/exe", append([]string{"role:app"}, words[i+1:]...)...)
			cmd.Stdout = os.Stdout
			cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: name == "session"}
			if strings.HasPrefix(value, "bare") {
				cmd.Env = []string{}
			}
			if err := cmd.Start(); err != nil {
				panic(err)
			}
			leave(value, cmd)
		case "zombie": // a child that has ended and that nobody waits for
			cmd := exec.Command("/proc/self/exe", "role:app")
			if err := cmd.Start(); err != nil {
				panic(err)
			}
			for {
				if p, err := readProc(cmd.Process.Pid); err == nil && p.ending {
					break
				}
				time.Sleep(time.Millisecond)
			}
		case "exit":
			syscall.Exit(number)
		case "die":
			syscall.Kill(os.Getpid(), syscall.Signal(number))
			select {}
		case "sleep":
			time.Sleep(time.Hour)
		}
	}
	syscall.Exit(0)
}

// leave ends the parent of a child at once, which makes the child an orphan,
// unless it is to stay.
func leave(value string, cmd *exec.Cmd) {
	if strings.HasSuffix(value, "stay") {
		_ = cmd.Wait()
		time.Sleep(time.Hour)
	}
	syscall.Exit(0)
}

// sight is what an application sees of itself.
type sight struct {
	Pid, Parent, Group, Session int
	Files                       []string
	Env                         []string
	Dir                         string
	UID, GID                    int
	Groups                      []int
	NonBlock                    bool
}

func lookAround() sight {
	s := sight{Pid: os.Getpid(), Parent: os.Getppid(), Env: os.Environ(), UID: os.Getuid(), GID: os.Getgid()}
	s.Group, _ = unix.Getpgid(0)
	s.Session, _ = unix.Getsid(0)
	s.Dir, _ = os.Getwd()
	s.Groups, _ = os.Getgroups()
	flags, _ := unix.FcntlInt(1, unix.F_GETFL, 0)
	s.NonBlock = flags&unix.O_NONBLOCK != 0
	entries, _ := os.ReadDir("/proc/self/fd")
	for _, e := range entries {
		fd, _ := strconv.Atoi(e.Name())
		// Go's own have the close-on-exec flag.
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			s.Files = append(s.Files, e.Name())
		}
	}
	return s
}

// playHost is a host that starts one worker, says so and waits to be killed.
// Its first argument is "cgroup" or "plain"; what follows are the words of the
// application, or "run" and a program.
func playHost(args []string) {
	g, err := Start(Options{
		Executable: os.Args[0], Args: []string{"role:guardian"}, NoCgroup: args[0] == "plain",
		Log: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	mark := "mark-" + strconv.Itoa(os.Getpid()) + "-0123456789"
	s := Spec{
		Path: os.Args[0], Args: append([]string{"app", "role:app"}, args[1:]...), Env: []string{"TOKEN=" + mark},
		Dir: "/", Stdout: os.Stdout, Stderr: os.Stderr, Mark: mark,
	}
	if args[1] == "run" {
		s.Path, s.Args = args[2], args[2:]
	}
	p, err := g.Spawn(context.Background(), s)
	if err != nil {
		fmt.Println("error", err)
		os.Exit(1)
	}
	fmt.Printf("guardian %d\n", g.sys.cmd.Process.Pid)
	fmt.Printf("worker %d\n", p.Pid())
	<-p.Done()
	if p.Exit().Signal == 0 {
		fmt.Printf("ended %d\n", p.Exit().Code)
	} else {
		<-g.Lost()
		fmt.Printf("lost %d\n", p.Exit().Signal)
	}
	time.Sleep(time.Hour)
}

// playBlocked becomes a host whose process began with every signal blocked,
// SIGHUP and SIGTSTP ignored and a stray file open.
func playBlocked(args []string) {
	runtime.LockOSThread()
	signal.Ignore(syscall.SIGHUP, syscall.SIGTSTP)
	var set unix.Sigset_t
	for i := range set.Val {
		set.Val[i] = ^set.Val[i]
	}
	if err := unix.PthreadSigmask(unix.SIG_BLOCK, &set, nil); err != nil {
		panic(err)
	}
	f, err := os.Open("/dev/zero")
	if err != nil {
		panic(err)
	}
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		panic(err)
	}
	panic(syscall.Exec(os.Args[0], append([]string{os.Args[0], "role:host", "plain", "run"}, args...), os.Environ()))
}

// both runs a test with control groups and without. Where the machine does not
// allow them, the first of the two says so.
func both(t *testing.T, f func(t *testing.T, plain bool)) {
	for _, plain := range []bool{false, true} {
		t.Run(map[bool]string{false: "cgroup", true: "plain"}[plain], func(t *testing.T) {
			t.Parallel()
			if !plain {
				c, err := newCgroup()
				if err != nil {
					t.Skip("no control groups:", err)
				}
				if err := c.remove(); err != nil {
					t.Fatal(err)
				}
			}
			f(t, plain)
		})
	}
}

// newGuardian starts a guardian that is closed, and found to have left
// nothing, at the end of the test.
func newGuardian(t *testing.T, plain bool) *Guardian {
	t.Helper()
	g, err := Start(Options{Executable: os.Args[0], Args: []string{"role:guardian"}, NoCgroup: plain, Log: slog.New(slog.NewTextHandler(t.Output(), nil))})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Errorf("close the guardian: %v", err)
		}
	})
	return g
}

// app is a spawned application and its output.
type app struct {
	*Process
	t   *testing.T
	out *bufio.Scanner
}

// run spawns an application that does words.
func run(t *testing.T, g *Guardian, words ...string) *app {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	defer w.Close()
	s := appSpec(t.Name(), words...)
	s.Stdout = w
	p, err := g.Spawn(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return &app{p, t, bufio.NewScanner(r)}
}

func appSpec(name string, words ...string) Spec {
	mark := fmt.Sprintf("mark-%s-%d", name, time.Now().UnixNano())
	return Spec{
		Path: os.Args[0], Args: append([]string{"app", "role:app"}, words...),
		Env: []string{"TOKEN=" + mark}, Dir: "/", Mark: mark,
	}
}

// next returns the next line of output.
func (a *app) next() string {
	a.t.Helper()
	if !a.out.Scan() {
		a.t.Fatalf("no more output: %v", a.out.Err())
	}
	return a.out.Text()
}

// number reads a line "name N" and returns N.
func number(t *testing.T, line, name string) int {
	t.Helper()
	value, ok := strings.CutPrefix(line, name+" ")
	n, err := strconv.Atoi(value)
	if !ok || err != nil {
		t.Fatalf("got line %q, want %q and a number", line, name)
	}
	return n
}

// end kills the tree and waits for the exit.
func (a *app) end() {
	a.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := a.KillTree(ctx); err != nil {
		a.t.Fatal(err)
	}
}

// wait returns how the first process ended.
func (a *app) wait() Exit {
	a.t.Helper()
	select {
	case <-a.Done():
	case <-time.After(patience):
		a.t.Fatal("the process does not end")
	}
	return a.Exit()
}

// patience is for what processes do, of which many start at a time.
const patience = 30 * time.Second

// gone fails unless all processes end soon. A killed host's guardian comes to
// the test's own process and is reaped.
func gone(t *testing.T, pids ...int) {
	t.Helper()
	eventually(t, func() error {
		for _, pid := range pids {
			_, _ = unix.Wait4(pid, nil, unix.WNOHANG, nil)
			if p, err := readProc(pid); err == nil {
				return fmt.Errorf("process %d is still there: %+v", pid, p)
			}
		}
		return nil
	})
}

// eventually polls f until it returns nil.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond)
	}
}

// openFiles returns the number of descriptors of a process.
func openFiles(t *testing.T, pid int) int {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join("/proc", strconv.Itoa(pid), "fd"))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// childrenOf returns the processes whose parent is pid, zombies included.
func childrenOf(t *testing.T, pid int) []int {
	t.Helper()
	s, err := takeSnapshot()
	if err != nil {
		t.Fatal(err)
	}
	return slices.Clone(s.children[pid])
}
