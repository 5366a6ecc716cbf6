//go:build unix

package listen

import (
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

const (
	errnoTaken  = syscall.EADDRINUSE
	errnoDenied = syscall.EACCES
)

// socketPath is short enough for a socket, which t.TempDir need not be.
func socketPath(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "perch-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return filepath.Join(dir, "s")
}

func TestUnixSocket(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	g, err := Open(mustParse(t, "unix:"+path))
	if err != nil {
		t.Fatal(err)
	}
	if got := g.URLs(); len(got) != 1 || got[0] != "unix:"+path {
		t.Errorf("URLs %q", got)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v, want mode 0660", info.Mode(), err)
	}
	client, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	server, err := g.Sockets[0].Accept()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(server, "hello"); err != nil {
		t.Error(err)
	}
	server.Close()
	if got, err := io.ReadAll(client); string(got) != "hello" {
		t.Errorf("%q, %v", got, err)
	}
	for range 2 { // twice is harmless
		if err := g.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the file is there after close: %v", err)
	}
}

func TestStaleSocketIsReplaced(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	dead, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	dead.(*net.UnixListener).SetUnlinkOnClose(false)
	dead.Close()
	g, err := Open(mustParse(t, "unix:"+path))
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
}

func TestUnixSocketInTheWay(t *testing.T) {
	t.Parallel()
	live := socketPath(t)
	l, err := net.Listen("unix", live)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	file := socketPath(t)
	if err := os.WriteFile(file, []byte("keep"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := socketPath(t)
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		live: "another process listens on it",
		file: "is not a socket",
		link: "is not a socket",
	} {
		_, err := Open(mustParse(t, "unix:"+path))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", path, err, want)
		}
		if _, err := os.Stat(path); err != nil {
			t.Errorf("removed: %v", err)
		}
	}
}

// A process that took the path over must keep its file.
func TestCloseLeavesTheSocketOfASuccessor(t *testing.T) {
	t.Parallel()
	path := socketPath(t)
	first, err := Open(mustParse(t, "unix:"+path))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(path, path+".old"); err != nil {
		t.Fatal(err)
	}
	second, err := Open(mustParse(t, "unix:"+path))
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the file of the successor is gone: %v", err)
	}
}
