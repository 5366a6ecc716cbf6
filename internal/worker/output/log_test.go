package output

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// memoryFile is a file that can hang and fail. gate and fail are changed while
// nobody writes.
type memoryFile struct {
	bytes.Buffer
	gate   chan struct{} // a write waits until it is closed; nil: it does not
	fail   error
	closed bool
}

func (f *memoryFile) Write(p []byte) (int, error) {
	if f.gate != nil {
		<-f.gate
	}
	if f.fail != nil {
		return 0, f.fail
	}
	return f.Buffer.Write(p)
}

func (f *memoryFile) Close() error { f.closed = true; return nil }

// logBench is a Log in fake time.
type logBench struct {
	*testing.T
	*Log
	file     memoryFile
	warnings bytes.Buffer
}

func inBubble(t *testing.T, f func(b *logBench)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := &logBench{T: t}
		b.Log = newLog(&b.file, slog.New(slog.NewTextHandler(&b.warnings, nil)))
		f(b)
	})
}

// write writes and tells how long that took.
func (b *logBench) write(text string) time.Duration {
	b.Helper()
	start := time.Now()
	if n, err := b.Log.Write([]byte(text)); n != len(text) || err != nil {
		b.Errorf("write: %d, %v", n, err)
	}
	synctest.Wait()
	return time.Since(start)
}

func (b *logBench) logged(text string, times int) {
	b.Helper()
	synctest.Wait()
	if n := strings.Count(b.warnings.String(), text); n != times {
		b.Errorf("%q was logged %d times, want %d:\n%s", text, n, times, &b.warnings)
	}
}

// A full queue costs a second once, and then bytes until the file is back.
func TestLogThatHangs(t *testing.T) {
	inBubble(t, func(b *logBench) {
		b.file.gate = make(chan struct{})
		b.write("first\n") // is with the file
		full := strings.Repeat("x", maxPending)
		if took := b.write(full); took != 0 {
			t.Errorf("a write that finds room took %v", took)
		}
		if took := b.write("lost"); took != patience {
			t.Errorf("a write that finds no room took %v, want %v", took, patience)
		}
		if took := b.write("this too"); took != 0 {
			t.Errorf("the next write took %v", took)
		}
		b.logged("too slow", 1)
		close(b.file.gate)
		synctest.Wait()
		b.logged("missing=12", 1)
		b.write("last\n")
		if err := b.Close(); err != nil || !b.file.closed {
			t.Errorf("close: %v", err)
		}
		if want := "first\n" + full + "\n[12 bytes are missing here]\nlast\n"; b.file.String() != want {
			t.Errorf("the file ends %q", b.file.String()[max(0, b.file.Len()-60):])
		}
		if _, err := b.Log.Write([]byte("late")); !errors.Is(err, os.ErrClosed) {
			t.Errorf("write after close: %v", err)
		}
	})
}

// A file that is only slow holds the application up and loses nothing.
func TestLogThatIsSlow(t *testing.T) {
	inBubble(t, func(b *logBench) {
		b.file.gate = make(chan struct{})
		b.write("first\n")
		full := strings.Repeat("x", maxPending)
		b.write(full)
		time.AfterFunc(patience/2, func() { close(b.file.gate) })
		var writers sync.WaitGroup
		for range 2 {
			writers.Go(func() {
				start := time.Now()
				if _, err := b.Log.Write([]byte("whole\n")); err != nil || time.Since(start) != patience/2 {
					t.Errorf("%v after %v", err, time.Since(start))
				}
			})
		}
		writers.Wait()
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		if want := "first\n" + full + "whole\nwhole\n"; b.file.String() != want || b.warnings.Len() != 0 {
			t.Errorf("the file has %d bytes, want %d; logged %s", b.file.Len(), len(want), &b.warnings)
		}
	})
}

// After an error the file is tried again with every piece, and says what it
// lacks. One episode is one warning.
func TestLogThatFails(t *testing.T) {
	inBubble(t, func(b *logBench) {
		for episode := 1; episode <= 2; episode++ {
			b.write("good\n")
			b.file.fail = errors.New("disk full")
			for range 100 {
				b.write("lost ")
			}
			b.logged("disk full", episode)
			b.file.fail = nil
			b.write("again\n")
			b.logged("missing=500", episode)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
		const episode = "good\n\n[500 bytes are missing here]\nagain\n"
		if got := b.file.String(); got != episode+episode {
			t.Errorf("the file holds %q", got)
		}
	})
}

func TestLogThatFailsToTheEnd(t *testing.T) {
	inBubble(t, func(b *logBench) {
		b.file.fail = errors.New("disk full")
		b.write("lost")
		if err := b.Close(); err == nil || !strings.Contains(err.Error(), "the last 4 bytes are missing") {
			t.Errorf("close: %v", err)
		}
	})
}

func TestLogThatHangsToTheEnd(t *testing.T) {
	inBubble(t, func(b *logBench) {
		b.file.gate = make(chan struct{})
		b.write("lost")
		start := time.Now()
		if err := b.Close(); err == nil || !strings.Contains(err.Error(), "hangs") || time.Since(start) != CloseLimit {
			t.Errorf("close: %v after %v", err, time.Since(start))
		}
		close(b.file.gate)
		synctest.Wait()
		if !b.file.closed {
			t.Error("the file was left open")
		}
	})
}

func TestOpeningIsBounded(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	synctest.Test(t, func(t *testing.T) {
		file, err := os.Create(path)
		if err != nil {
			t.Fatal(err)
		}
		gate := make(chan struct{})
		_, err = openWithin(openLimit, func() (*os.File, error) { <-gate; return file, nil })
		if err == nil || !strings.Contains(err.Error(), fmt.Sprint(openLimit)) {
			t.Errorf("open: %v", err)
		}
		close(gate)
		synctest.Wait()
		if _, err := file.Stat(); !errors.Is(err, os.ErrClosed) {
			t.Errorf("a file that came late: %v", err)
		}
	})
}

func TestFileOpensALog(t *testing.T) {
	t.Parallel()
	f := File{Name: "stdout", Root: t.TempDir(), Start: start, PID: 42}
	log, err := f.Open(slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	_, err = log.Write([]byte("text"))
	if err := errors.Join(err, log.Close()); err != nil {
		t.Error(err)
	}
	got, err := os.ReadFile(filepath.Join(f.Root, "stdout_20260304050607_42.log"))
	if err != nil || string(got) != "text" {
		t.Errorf("got %q, %v", got, err)
	}
}
