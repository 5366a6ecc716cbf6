//go:build unix

package admin

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// socketFolder is a folder whose path is short enough for a socket.
func socketFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "admin")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func serve(t *testing.T, folder, subject string, handle func(Request) (any, error)) *Server {
	t.Helper()
	s, err := Serve(folder, subject, handle, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func echo(r Request) (any, error) {
	if r.Command == "fail" {
		return nil, errors.New("it failed")
	}
	return r.Command, nil
}

func TestAsk(t *testing.T) {
	t.Parallel()
	folder := socketFolder(t)
	s := serve(t, folder, "/srv/a", echo)
	ask := func(subject, command string) (got []string, err error) {
		err = Ask(t.Context(), folder, subject, Request{Command: command}, func(answer json.RawMessage) error {
			got = append(got, string(answer))
			return nil
		})
		return got, err
	}
	if got, err := ask("/srv/a", "reload"); err != nil || len(got) != 1 || got[0] != `"reload"` {
		t.Errorf("answers %q, %v", got, err)
	}
	if _, err := ask("/srv/a", "fail"); err == nil || err.Error() != "it failed" {
		t.Errorf("error %v", err)
	}
	if _, err := ask("/srv/b", "reload"); !errors.Is(err, ErrNobody) {
		t.Errorf("nobody serves /srv/b: %v", err)
	}
	info, err := os.Stat(folder)
	if err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder of the sockets: %v, %v", info.Mode(), err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := ask("/srv/a", "reload"); !errors.Is(err, ErrNobody) {
		t.Errorf("after the end: %v", err)
	}
	if left, _ := os.ReadDir(folder); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

func TestFolderOfOthersIsRefused(t *testing.T) {
	t.Parallel()
	for name, make := range map[string]func(folder string) error{
		"open to others": func(folder string) error { return errors.Join(os.Mkdir(folder, 0o755), os.Chmod(folder, 0o755)) },
		"a link":         func(folder string) error { return os.Symlink(os.TempDir(), folder) },
		"a file":         func(folder string) error { return os.WriteFile(folder, nil, 0o600) },
	} {
		folder := socketFolder(t)
		if err := make(folder); err != nil {
			t.Fatal(err)
		}
		if s, err := Serve(folder, "x", echo, slog.New(slog.DiscardHandler)); err == nil {
			s.Close()
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestSocketsOfKilledHostsAreSwept(t *testing.T) {
	t.Parallel()
	folder := socketFolder(t)
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	dead := path(folder, "/srv/a", 1)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: dead, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(dead, old, old); err != nil {
		t.Fatal(err)
	}
	if err := Ask(t.Context(), folder, "/srv/a", Request{}, nil); !errors.Is(err, ErrNobody) {
		t.Errorf("a dead host was taken for a running one: %v", err)
	}
	serve(t, folder, "/srv/a", echo)
	if _, err := os.Lstat(dead); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is still there: %v", dead, err)
	}
}

func TestCloseDoesNotWaitForTheSilent(t *testing.T) {
	t.Parallel()
	folder := socketFolder(t)
	s := serve(t, folder, "x", echo)
	c, err := net.Dial("unix", path(folder, "x", os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	done := make(chan error, 1)
	go func() { done <- s.Close() }()
	select {
	case <-done:
	case <-time.After(requestTime / 2):
		t.Error("Close waits for a connection that asks nothing")
	}
}

func TestAskEndsWithItsContext(t *testing.T) {
	t.Parallel()
	folder := socketFolder(t)
	ctx, cancel := context.WithCancel(t.Context())
	release := make(chan struct{})
	serve(t, folder, "x", func(Request) (any, error) {
		cancel()
		<-release
		return nil, nil
	})
	err := Ask(ctx, folder, "x", Request{}, func(json.RawMessage) error { return nil })
	close(release)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}

func TestFolder(t *testing.T) {
	t.Parallel()
	getenv := func(string) string { return "/run/user/1" }
	if got := Folder(getenv); os.Geteuid() != 0 && got != "/run/user/1/perch" || !filepath.IsAbs(got) || !strings.Contains(got, "perch") {
		t.Errorf("folder %s", got)
	}
}
