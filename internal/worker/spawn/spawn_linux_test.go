package spawn

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestExit(t *testing.T) {
	t.Parallel()
	g := newGuardian(t, true)
	for _, c := range []struct {
		word string
		want Exit
		text string
	}{
		{"exit=0", Exit{}, "exit code 0"},
		{"exit=3", Exit{Code: 3}, "exit code 3"},
		{"exit=255", Exit{Code: 255}, "exit code 255"},
		{"die=15", Exit{Code: -1, Signal: syscall.SIGTERM}, "signal 15 (terminated)"},
		{"die=9", Exit{Code: -1, Signal: syscall.SIGKILL}, "signal 9 (killed)"},
	} {
		t.Run(c.word, func(t *testing.T) {
			a := run(t, g, c.word)
			if got := a.wait(); got != c.want || got.String() != c.text {
				t.Errorf("got %+v (%v), want %+v (%s)", got, got, c.want, c.text)
			}
			if err := a.Ask(); !errors.Is(err, os.ErrProcessDone) {
				t.Errorf("ask a process that ended: %v, want os.ErrProcessDone", err)
			}
			a.end()
			a.end() // again, for nothing
		})
	}
}

func TestWhatWorkersAreBornWith(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		g := newGuardian(t, plain)
		dir := t.TempDir()
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		s := appSpec(t.Name(), "report")
		s.Dir, s.Stdout, s.Stderr = dir, w, w
		s.Env = []string{"A=1", "B=\xff\xfe not UTF-8", "TOKEN=" + s.Mark}
		p, err := g.Spawn(t.Context(), s)
		w.Close()
		if err != nil {
			t.Fatal(err)
		}
		var got sight
		if err := json.NewDecoder(r).Decode(&got); err != nil {
			t.Fatal(err)
		}
		guardian := g.sys.cmd.Process.Pid
		if got.Pid != p.Pid() || got.Parent != guardian || got.Group != p.Pid() || got.Session != guardian {
			t.Errorf("pid %d, parent %d, group %d, session %d; want %d, %[6]d, %[5]d, %[6]d", got.Pid, got.Parent, got.Group, got.Session, p.Pid(), guardian)
		}
		if want := []string{"0", "1", "2"}; !slices.Equal(got.Files, want) {
			t.Errorf("open files %v, want %v", got.Files, want)
		}
		if want := []string{"A=1", "B=\ufffd\ufffd not UTF-8", "TOKEN=" + s.Mark}; !slices.Equal(got.Env, want) { // the report is JSON
			t.Errorf("environment %q, want %q", got.Env, want)
		}
		if got.Dir != dir {
			t.Errorf("working folder %s, want %s", got.Dir, dir)
		}
		if got.NonBlock {
			t.Error("standard output does not block")
		}
	})
}

// A host that was itself started with blocked and ignored signals and with a
// stray open file passes none of that on.
func TestNothingIsInherited(t *testing.T) {
	t.Parallel()
	// Programs that tell the truth: Go's own, and shells, unblock signals.
	const none = "0000000000000000"
	for _, c := range []struct {
		program []string
		want    []string
	}{
		{[]string{"/bin/grep", "-E", "Sig(Blk|Ign)", "/proc/self/status"}, []string{"SigBlk:\t" + none, "SigIgn:\t" + none}},
		{[]string{"/bin/ls", "/proc/self/fd"}, []string{"0", "1", "2", "3"}}, // the last is the folder
	} {
		t.Run(filepath.Base(c.program[0]), func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], append([]string{"role:blocked"}, c.program...)...)
			lines := startHost(t, cmd)
			var got []string
			for line := range lines {
				switch name, _, _ := strings.Cut(line, " "); name {
				case "ended":
					kill9(t, cmd) // which ends the lines
				case "guardian", "worker":
				default:
					got = append(got, line)
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v tells %q, want %q", c.program, got, c.want)
			}
		})
	}
}

func TestSpawnErrors(t *testing.T) {
	t.Parallel()
	g := newGuardian(t, true)
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	plain := file("plain", "#!/bin/sh\n", 0o644)
	closed := filepath.Join(dir, "closed")
	if err := os.Mkdir(closed, 0o700); err != nil {
		t.Fatal(err)
	}
	inside := filepath.Join(closed, "app")
	if err := os.WriteFile(inside, []byte("#!/bin/sh\n"), 0o755); err != nil {
		t.Fatal(err)
	}
	nobody := &User{UID: 65534, GID: 65534}
	cases := []struct {
		name      string
		path, dir string
		user      *User
		want      Reason
		subject   string
		errno     syscall.Errno
		root      bool
	}{
		{"no-file", filepath.Join(dir, "none"), dir, nil, MissingFile, filepath.Join(dir, "none"), unix.ENOENT, false},
		{"below-a-file", plain + "/app", dir, nil, MissingFile, plain + "/app", unix.ENOTDIR, false},
		{"no-folder", os.Args[0], filepath.Join(dir, "none"), nil, MissingFolder, filepath.Join(dir, "none"), unix.ENOENT, false},
		{"folder-is-a-file", os.Args[0], plain, nil, MissingFolder, plain, unix.ENOTDIR, false},
		{"program-is-a-folder", dir, dir, nil, NotAFile, dir, unix.EACCES, false},
		{"not-executable", plain, dir, nil, NotExecutable, plain, unix.EACCES, false},
		{"no-interpreter", file("lost", "#!/no/such/shell\n", 0o755), dir, nil, MissingInterpreter, filepath.Join(dir, "lost"), unix.ENOENT, false},
		{"wrong-format", file("text", "just text\n", 0o755), dir, nil, WrongFormat, filepath.Join(dir, "text"), unix.ENOEXEC, false},
		{"closed-folder", os.Args[0], closed, nobody, NoPermission, "", unix.EACCES, true},
		{"closed-program", inside, "/", nobody, NoPermission, "", unix.EACCES, true},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			if c.root && os.Geteuid() != 0 {
				t.Skip("only root can become another user")
			}
			s := appSpec(t.Name(), "sleep")
			s.Path, s.Dir, s.User = c.path, c.dir, c.user
			_, err := g.Spawn(t.Context(), s)
			var e *Error
			if !errors.As(err, &e) {
				t.Fatalf("got %v, want an *Error", err)
			}
			if c.subject == "" {
				c.subject = e.Path // the first closed folder on the way, which depends on the machine
				if st, err := os.Stat(e.Path); err != nil || st.Mode()&0o001 != 0 {
					t.Errorf("%s is named as closed: %v", e.Path, err)
				}
			}
			if e.Reason != c.want || e.Path != c.subject || !errors.Is(err, c.errno) {
				t.Errorf("got reason %d, path %s, %v; want %d, %s, %v", e.Reason, e.Path, e.Err, c.want, c.subject, c.errno)
			}
			if !strings.Contains(err.Error(), c.subject) || !strings.Contains(err.Error(), reasons[c.want]) {
				t.Errorf("the text %q does not tell", err)
			}
		})
	}
	if left := childrenOf(t, g.sys.cmd.Process.Pid); len(left) != 0 {
		t.Errorf("children left after failed spawns: %v", left)
	}
}

func TestSpawnRefusesBadSpecs(t *testing.T) {
	t.Parallel()
	g := newGuardian(t, true)
	good := appSpec(t.Name(), "exit=0")
	for name, spoil := range map[string]func(*Spec){
		"relative-path":   func(s *Spec) { s.Path = "app" },
		"relative-folder": func(s *Spec) { s.Dir = "." },
		"no-arguments":    func(s *Spec) { s.Args = nil },
		"zero-byte":       func(s *Spec) { s.Env = []string{"A=b\x00c"} },
		"too-long":        func(s *Spec) { s.Env = []string{"A=" + strings.Repeat("x", maxFrame)} },
		"over-the-limit":  func(s *Spec) { s.Env = []string{"A=" + strings.Repeat("x", 1<<20)} },
	} {
		s := good
		spoil(&s)
		if _, err := g.Spawn(t.Context(), s); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	p, err := g.Spawn(t.Context(), good) // the guardian is none the worse
	if err != nil {
		t.Fatal(err)
	}
	(&app{Process: p, t: t}).wait()
}

func TestRunAsUser(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
	g := newGuardian(t, true)
	dir, err := os.MkdirTemp("/tmp", "spawn-user-") // the test's own folder is closed to others
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	copied := filepath.Join(dir, "app")
	// Copied by another process: a file that this one has open for writing
	// could not be executed while a fork of a parallel test holds it, too.
	if out, err := exec.Command("cp", os.Args[0], copied).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := appSpec(t.Name(), "report", "deaf", "session", "pid=grandchild", "sleep")
	s.Path, s.Stdout = copied, w
	s.User = &User{UID: 65534, GID: 65533, Groups: []uint32{65532, 65531}}
	p, err := g.Spawn(t.Context(), s)
	w.Close()
	if err != nil {
		t.Fatal(err)
	}
	a := &app{p, t, bufio.NewScanner(r)}
	var got sight
	if err := json.Unmarshal([]byte(a.next()), &got); err != nil {
		t.Fatal(err)
	}
	slices.Sort(got.Groups)
	if got.UID != 65534 || got.GID != 65533 || !slices.Equal(got.Groups, []int{65531, 65532}) {
		t.Errorf("got user %d:%d %v", got.UID, got.GID, got.Groups)
	}
	a.next()
	grandchild := number(t, a.next(), "grandchild")
	a.end()
	gone(t, p.Pid(), grandchild)
}

// Descendants that cut their ties one after another still belong to the
// worker, are listed, and die with it.
func TestTree(t *testing.T) {
	t.Parallel()
	for name, words := range map[string][]string{
		"child":                {"child=stay", "pid=last", "sleep"},
		"session":              {"session=stay", "pid=last", "sleep"},
		"orphan":               {"child", "pid=last", "sleep"},
		"orphan-session":       {"session", "pid=last", "sleep"},
		"double-fork":          {"session", "child", "pid=last", "sleep"},
		"double-fork-sessions": {"session", "session", "session", "pid=last", "sleep"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			both(t, func(t *testing.T, plain bool) {
				g := newGuardian(t, plain)
				other := run(t, g, "pid=other", "sleep") // must not be touched
				other.next()
				a := run(t, g, words...)
				last := number(t, a.next(), "last")
				pids, err := a.Tree()
				if err != nil {
					t.Fatal(err)
				}
				if !slices.Contains(pids, last) || slices.Contains(pids, other.Pid()) {
					t.Errorf("tree %v; want it with %d and without %d", pids, last, other.Pid())
				}
				a.end()
				gone(t, last, a.Pid())
				if pids, err := a.Tree(); err != nil || len(pids) != 0 {
					t.Errorf("tree after the kill: %v, %v", pids, err)
				}
				if pids, err := other.Tree(); err != nil || !slices.Equal(pids, []int{other.Pid()}) {
					t.Errorf("tree of the other worker: %v, %v; want [%d]", pids, err, other.Pid())
				}
				other.end()
			})
		})
	}
}

// Without a mark, a group or a parent, an orphan is still known: exactly by
// its control group, and otherwise when only one tree is old enough to be its
// own, or when it was seen before it cut its ties.
func TestOrphanWithoutSigns(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		g := newGuardian(t, plain)
		a := run(t, g, "session", "session=bare", "pid=last", "sleep")
		last := number(t, a.next(), "last")
		a.wait()
		eventually(t, func() error { // its parents have ended, too
			if p, err := readProc(last); err != nil || p.parent != g.sys.cmd.Process.Pid {
				return fmt.Errorf("%+v, %v", p, err)
			}
			return nil
		})
		pids, err := a.Tree()
		if err != nil || !slices.Equal(pids, []int{last}) {
			t.Errorf("tree %v, %v; want [%d]", pids, err, last)
		}
		younger := run(t, g, "pid=younger", "sleep")
		younger.next()
		// The younger tree cannot claim what was seen as the older one's.
		if pids, err := younger.Tree(); err != nil || !slices.Equal(pids, []int{younger.Pid()}) {
			t.Errorf("tree of the younger worker %v, %v; want [%d]", pids, err, younger.Pid())
		}
		a.end()
		gone(t, last)
		younger.end()
	})
}

// What was seen in its place once is known for ever, however many trees are
// old enough.
func TestOrphanSeenBefore(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		g := newGuardian(t, plain)
		older := run(t, g, "pid=older", "sleep")
		older.next()
		a := run(t, g, "session=bare-stay", "pid=last", "sleep")
		last := number(t, a.next(), "last")
		if pids, err := a.Tree(); err != nil || len(pids) != 2 || !slices.Contains(pids, last) {
			t.Fatalf("tree %v, %v; want %d and %d", pids, err, a.Pid(), last)
		}
		if err := syscall.Kill(a.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		a.wait()
		for range 2 {
			if pids, err := a.Tree(); err != nil || !slices.Equal(pids, []int{last}) {
				t.Errorf("tree %v, %v; want [%d]", pids, err, last)
			}
		}
		a.end()
		gone(t, last)
		older.end()
	})
}

func TestAskThenKill(t *testing.T) {
	t.Parallel()
	g := newGuardian(t, true)
	polite := run(t, g, "pid=app", "sleep")
	polite.next()
	if err := polite.Ask(); err != nil {
		t.Fatal(err)
	}
	if got := polite.wait(); got.Signal != syscall.SIGTERM {
		t.Errorf("got %v, want SIGTERM", got)
	}
	polite.end()

	deaf := run(t, g, "deaf", "pid=app", "sleep")
	deaf.next()
	deaf.next()
	if err := deaf.Ask(); err != nil {
		t.Fatal(err)
	}
	select {
	case <-deaf.Done():
		t.Error("a deaf application ended when asked")
	case <-time.After(50 * time.Millisecond):
	}
	deaf.end()
	if got := deaf.wait(); got.Signal != syscall.SIGKILL {
		t.Errorf("got %v, want SIGKILL", got)
	}
}

func TestKillTreeIsBounded(t *testing.T) {
	t.Parallel()
	g := newGuardian(t, true)
	a := run(t, g, "pid=app", "sleep")
	a.next()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.KillTree(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	a.wait() // the guardian went on
	a.end()
}

func TestSpawnAbandoned(t *testing.T) {
	t.Parallel()
	g := newGuardian(t, true)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 20 {
		p, err := g.Spawn(ctx, appSpec(t.Name(), "sleep"))
		if err == nil { // the answer was faster
			(&app{Process: p, t: t}).end()
		} else if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
	}
	a := run(t, g, "pid=app", "sleep") // in order behind the others
	a.next()
	eventually(t, func() error {
		g.sys.mu.Lock()
		held := len(g.sys.trees)
		g.sys.mu.Unlock()
		if left := childrenOf(t, g.sys.cmd.Process.Pid); held != 1 || !slices.Equal(left, []int{a.Pid()}) {
			return fmt.Errorf("children %v, held %d; want [%d] and 1", left, held, a.Pid())
		}
		return nil
	})
	a.end()
}

// Two hundred workers, many at a time, leave no descriptor and no zombie in
// host or guardian.
func TestManySpawnsLeakNothing(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		g := newGuardian(t, plain)
		guardian := g.sys.cmd.Process.Pid
		a := run(t, g, "exit=0")
		a.wait()
		a.end()
		before := openFiles(t, guardian)
		var all sync.WaitGroup
		turns := make(chan struct{}, 20)
		for i := range 200 {
			turns <- struct{}{}
			all.Go(func() {
				defer func() { <-turns }()
				s, want := appSpec(fmt.Sprint(t.Name(), i), "child", "sleep"), 0
				if i%4 != 0 {
					s.Path, s.Args, want = "/bin/sh", []string{"sh", "-c", "exit 7"}, 7
				}
				p, err := g.Spawn(t.Context(), s)
				if err != nil {
					t.Error(err)
					return
				}
				<-p.Done()
				if p.Exit().Code != want {
					t.Errorf("exit code %d, want %d", p.Exit().Code, want)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
				defer cancel()
				if err := p.KillTree(ctx); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if left := childrenOf(t, guardian); len(left) != 0 {
			t.Errorf("children of the guardian left: %v", left)
		}
		if after := openFiles(t, guardian); after != before {
			t.Errorf("the guardian had %d files open, now %d", before, after)
		}
		g.sys.mu.Lock()
		defer g.sys.mu.Unlock()
		if len(g.sys.trees) != 0 || len(g.sys.waiting) != 0 {
			t.Errorf("the host still holds %d trees and %d requests", len(g.sys.trees), len(g.sys.waiting))
		}
	})
}

func TestCloseKillsEverything(t *testing.T) {
	t.Parallel()
	both(t, func(t *testing.T, plain bool) {
		g := newGuardian(t, plain)
		var pids []int
		var apps []*app
		for range 5 {
			a := run(t, g, "deaf", "session=stay", "session", "session=bare", "pid=last", "sleep")
			a.next()
			pids = append(pids, a.Pid(), number(t, a.next(), "last"))
			apps = append(apps, a)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		if err := g.Close(ctx); err != nil {
			t.Fatal(err)
		}
		for _, a := range apps {
			if got := a.wait(); got.Signal != syscall.SIGKILL {
				t.Errorf("got %v, want SIGKILL", got)
			}
			if err := a.KillTree(ctx); err != nil {
				t.Errorf("kill after the close: %v", err)
			}
		}
		for _, pid := range pids { // at once, not soon
			if p, err := readProc(pid); err == nil {
				t.Errorf("process %d is left: %+v", pid, p)
			}
		}
		select {
		case <-g.Lost():
			t.Error("a guardian that was closed is not lost")
		default:
		}
		if _, err := g.Spawn(t.Context(), appSpec(t.Name(), "sleep")); !errors.Is(err, ErrLost) {
			t.Errorf("spawn after the close: %v, want ErrLost", err)
		}
		if dir := g.sys.cgroup; dir != "" {
			if _, err := os.Stat(dir); err == nil {
				t.Errorf("the control group %s is left", dir)
			}
		}
	})
}

func TestStartFails(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]Options{
		"no-program":    {Executable: "/no/such/program"},
		"wrong-program": {Executable: os.Args[0], Args: []string{"role:app", "exit=4"}},
	} {
		if g, err := Start(o); err == nil {
			t.Errorf("%s: started", name)
			_ = g.Close(t.Context())
		} else if name == "wrong-program" && !strings.Contains(err.Error(), "exit status 4") {
			t.Errorf("%s: %v does not tell how it ended", name, err)
		}
	}
}

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
			case <-time.After(20 * time.Second):
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
	limit := time.After(10 * time.Second)
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
