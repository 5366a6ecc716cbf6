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
	"strconv"
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
		session := guardian // a terminal of ours is out of its reach
		if !hasTerminal() {
			session, _ = unix.Getsid(0)
		}
		if got.Pid != p.Pid() || got.Parent != guardian || got.Group != p.Pid() || got.Session != session {
			t.Errorf("pid %d, parent %d, group %d, session %d; want %d, %d, %[5]d, %[7]d", got.Pid, got.Parent, got.Group, got.Session, p.Pid(), guardian, session)
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
					got = append(got, withoutLibrarySignals(line))
				}
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("%v tells %q, want %q", c.program, got, c.want)
			}
		})
	}
}

// withoutLibrarySignals leaves out signals 32 to 34 of a line of signal sets:
// they are the C library's own, which sets them up when it starts, and no Go
// program can change what it was born with for them.
func withoutLibrarySignals(line string) string {
	name, set, ok := strings.Cut(line, "\t")
	bits, err := strconv.ParseUint(set, 16, 64)
	if !ok || err != nil {
		return line
	}
	return fmt.Sprintf("%s\t%016x", name, bits&^(7<<31))
}

func TestSpawnErrors(t *testing.T) {
	t.Parallel()
	g := newGuardian(t, true)
	dir := t.TempDir()
	file := func(name, text string, mode os.FileMode) string {
		// Not while a parallel test forks: the child would hold the file open
		// for writing for a moment, and such a file cannot be executed.
		syscall.ForkLock.RLock()
		defer syscall.ForkLock.RUnlock()
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
	suspend(t, g)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := a.KillTree(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want context.Canceled", err)
	}
	if err := g.sys.cmd.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
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
				ctx, cancel := context.WithTimeout(t.Context(), patience)
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
		ctx, cancel := context.WithTimeout(t.Context(), patience)
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
