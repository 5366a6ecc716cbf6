package output

import (
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// dup returns another descriptor of a pipe, as a child that inherited it has.
func dup(f *os.File) (*os.File, error) {
	fd, err := syscall.Dup(int(f.Fd()))
	if err != nil {
		return nil, err
	}
	syscall.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "held"), nil
}

// A process that outlives the application holds the pipe open: Close does not
// wait for it.
func TestCloseIsBounded(t *testing.T) {
	t.Parallel()
	c, stdout, _ := capture(t, Options{})
	held, err := dup(stdout)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	write(t, stdout, "before")
	start := time.Now()
	err = c.Close()
	took := time.Since(start)
	if err == nil || !strings.Contains(err.Error(), "outlived") || strings.Contains(err.Error(), "file") {
		t.Errorf("close: %v", err)
	}
	if took < CloseLimit { // it is held for ever
		t.Errorf("close took %v, want %v", took, CloseLimit)
	}
	if c.Tail() != "before" {
		t.Errorf("tail %q", c.Tail())
	}
	if _, err := held.WriteString("after"); err == nil {
		t.Error("the pipe is still open")
	}
}
