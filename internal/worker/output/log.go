package output

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

const (
	openLimit  = 5 * time.Second // for the file system to open a file
	maxPending = 256 << 10       // bytes that wait for the file
)

// Log is an open stdout log file. Its bytes wait in a queue for the one
// goroutine that touches the file: a file system that hangs, as a dead network
// mount does, costs the application a second and then bytes, never more. The
// file says where how many of them are missing, and is written again as soon
// as it can be. Methods may be called at the same time.
type Log struct {
	file io.WriteCloser
	log  *slog.Logger
	wake chan struct{} // has room for one
	done chan struct{} // closed when the file is

	mu      sync.Mutex
	pending []byte
	dropped int64         // bytes that came after pending
	taken   chan struct{} // closed when pending is taken; nil: nobody waits
	closed  bool

	// The goroutine's own; err is read after done.
	missing int64 // bytes that the end of the file lacks
	failing bool
	err     error // of closing the file
}

func newLog(file io.WriteCloser, log *slog.Logger) *Log {
	l := &Log{file: file, log: log, wake: make(chan struct{}, 1), done: make(chan struct{})}
	go l.follow()
	return l
}

// Write queues p as a whole. It waits a second at most for a full queue, then
// drops p and what follows until the queue has moved. What happens to the file
// is told to the logger, and is no error of Write's.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	l.awaitRoom(len(p))
	closed, first := l.closed, false
	switch {
	case closed:
	case l.fits(len(p)):
		l.pending = append(l.pending, p...)
	default:
		first = l.dropped == 0
		l.dropped += int64(len(p))
	}
	l.mu.Unlock()
	if closed {
		return 0, os.ErrClosed
	}
	if first {
		l.log.Warn("the stdout log file is too slow, output is missing from it")
	}
	l.signal()
	return len(p), nil
}

// fits reports whether n more bytes may be queued. Callers hold l.mu.
func (l *Log) fits(n int) bool {
	return l.dropped == 0 && (len(l.pending) == 0 || len(l.pending)+n <= maxPending)
}

// awaitRoom waits until n more bytes fit, unless others were dropped or
// patience ends. Callers hold l.mu, which is free meanwhile.
func (l *Log) awaitRoom(n int) {
	if l.fits(n) {
		return
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for inTime := true; inTime && !l.fits(n) && l.dropped == 0 && !l.closed; {
		if l.taken == nil {
			l.taken = make(chan struct{})
		}
		taken := l.taken
		l.mu.Unlock()
		inTime = wait(taken, limit.C)
		l.mu.Lock()
	}
}

func (l *Log) signal() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// follow writes what is queued, until Close.
func (l *Log) follow() {
	defer close(l.done)
	var text []byte
	for closed := false; !closed; {
		<-l.wake
		l.mu.Lock()
		next, dropped := l.pending, l.dropped
		l.pending, l.dropped = text[:0], 0
		if l.taken != nil {
			close(l.taken)
			l.taken = nil
		}
		closed = l.closed
		l.mu.Unlock()
		text = next
		l.put(text)
		l.missing += dropped
		if dropped > 0 || closed {
			l.note()
		}
	}
	l.err = l.file.Close()
}

// put writes text behind the note of what is missing before it.
func (l *Log) put(text []byte) {
	l.note()
	n := 0
	if l.missing == 0 && len(text) > 0 {
		var err error
		n, err = l.file.Write(text)
		l.judge(err)
	}
	l.missing += int64(len(text) - n)
}

// note writes how much is missing, if anything is.
func (l *Log) note() {
	if l.missing == 0 {
		return
	}
	_, err := fmt.Fprintf(l.file, "\n[%d bytes are missing here]\n", l.missing)
	l.judge(err)
	if err == nil {
		l.log.Info("the stdout log file is written again", "missing", l.missing)
		l.missing = 0
	}
}

// judge warns of the first of several errors.
func (l *Log) judge(err error) {
	if err != nil && !l.failing {
		l.log.Warn("cannot write the stdout log file, output is missing from it until it can be written again", "err", err)
	}
	l.failing = err != nil
}

// Close writes what is queued and closes the file, for at most CloseLimit: then
// a file system that hangs keeps the goroutine until it comes back. The error
// tells what the file lacks at its end.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.signal()
	limit := time.NewTimer(CloseLimit)
	defer limit.Stop()
	if !wait(l.done, limit.C) {
		return fmt.Errorf("close the stdout log file: not done after %v, its file system hangs", CloseLimit)
	}
	var lack error
	if l.missing > 0 {
		lack = fmt.Errorf("the last %d bytes are missing", l.missing)
	}
	if err := errors.Join(lack, l.err); err != nil {
		return fmt.Errorf("close the stdout log file: %w", err)
	}
	return nil
}

// openWithin gives open a limit. A file that comes later is closed.
func openWithin(limit time.Duration, open func() (*os.File, error)) (*os.File, error) {
	type result struct {
		file *os.File
		err  error
	}
	opened, late := make(chan result), make(chan struct{})
	go func() {
		file, err := open()
		select {
		case opened <- result{file, err}:
		case <-late:
			if err == nil {
				file.Close()
			}
		}
	}()
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case r := <-opened:
		return r.file, r.err
	case <-timer.C:
		close(late)
		return nil, fmt.Errorf("open the stdout log file: not done after %v, its file system hangs", limit)
	}
}
