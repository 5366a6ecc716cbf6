package sockio

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// What fails because the process has no descriptor left, leaves none behind,
// and works again when there are some. The test is a process of its own.
func TestOutOfDescriptors(t *testing.T) {
	t.Parallel()
	const child = "SOCKIO_TEST_DESCRIPTORS"
	if os.Getenv(child) == "" {
		cmd := exec.Command(os.Args[0], "-test.run=^TestOutOfDescriptors$", "-test.timeout=1m")
		cmd.Env = append(os.Environ(), child+"=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	w := newWatcher(t)
	accepting := takenListener(t, "tcp", "127.0.0.1:0")
	own, at := listenNear(t, "127.0.0.1:0")
	for range 2 { // one for accepting, the other is what a client may have left
		client, err := net.Dial("tcp", accepting.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer client.Close()
	}
	free := exhaust(t)

	if _, err := dial(w, nil, at, time.Minute); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("dial: %v", err)
	}
	for range 2 {
		if _, err := accepting.Accept(); !errors.Is(err, syscall.EMFILE) {
			t.Errorf("accept: %v", err)
		}
	}
	if _, err := TakeListener(own); !errors.Is(err, syscall.EMFILE) {
		t.Errorf("take: %v", err)
	}
	free()
	for range 2 {
		nc, err := accepting.Accept()
		if err != nil {
			t.Fatal(err)
		}
		w.Adopt(nc, nil).Close()
	}
	if err := own.(*net.TCPListener).SetDeadline(time.Now()); !errors.Is(err, net.ErrClosed) {
		t.Errorf("a listener that was not taken over: %v", err)
	}
	_, at = listenNear(t, "127.0.0.1:0")
	if c, err := dial(w, nil, at, time.Minute); err != nil {
		t.Error(err)
	} else {
		c.Close()
	}
	if n := w.Count(); n != 0 {
		t.Errorf("%d connections are left behind", n)
	}
}

// exhaust opens descriptors until there are no more, and returns what closes
// them.
func exhaust(t *testing.T) (free func()) {
	t.Helper()
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 64, Max: 64}); err != nil {
		t.Fatal(err)
	}
	var held []int
	for {
		fd, err := unix.Open(os.DevNull, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			break
		}
		held = append(held, fd)
	}
	return func() {
		for _, fd := range held {
			unix.Close(fd)
		}
	}
}
