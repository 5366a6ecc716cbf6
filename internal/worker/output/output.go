// Package output captures what an application writes to its standard output
// and standard error: the last of it is kept for reports, complete lines go to
// the host's log, and the bytes go to the stdout log file where one is wanted.
//
// It stands beside worker/spawn, which gives the pipes to the process. Only
// internal/worker may import it.
package output

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// MaxTail is how many characters are kept for reports: the last ones of
	// both streams together.
	MaxTail = 30000

	// MaxLine is the length in bytes above which a line is handed on in
	// pieces.
	MaxLine = 16 << 10

	// CloseLimit bounds Close.
	CloseLimit = 2 * time.Second
)

const (
	maxQueue = 256                    // lines that wait for a slow receiver
	patience = time.Second            // for which a full queue holds the application up
	grace    = 200 * time.Millisecond // for what was interrupted to end
	pieceLen = 8 << 10                // bytes of one read
)

// Stream is one of the two streams.
type Stream uint8

// The streams.
const (
	Stdout Stream = iota
	Stderr
)

// String returns "stdout" or "stderr".
func (s Stream) String() string { return [...]string{"stdout", "stderr"}[s] }

// Options say where output goes. The zero value keeps the tail only.
type Options struct {
	// File gets the bytes of both streams as they come, from two goroutines.
	// It is a Log, which never waits for long and reports its own errors, and
	// stays the caller's.
	File io.Writer

	// Line gets every line without its end, and what is left at the end of a
	// stream, as UTF-8, in which each byte that was not is U+FFFD. It is
	// called from one goroutine, and may keep the slice. When it is slow the
	// application is held up for a moment, then lines are dropped.
	Line func(s Stream, line []byte)

	// Log gets warnings, as of dropped lines. Nil discards them.
	Log *slog.Logger
}

// Capture reads the output of one process and all that inherit it. Its methods
// may be called concurrently.
type Capture struct {
	options Options
	readers [2]*os.File
	writers [2]*os.File

	mu   sync.Mutex // guards tail
	tail tail

	queue   chan line
	dropped atomic.Int64
	stalled atomic.Bool // the queue was full for longer than patience
	giveUp  atomic.Bool // Close ran out of time: drop what is queued

	reading atomic.Int32  // streams that have not ended
	read    chan struct{} // closed when both have
	ended   chan struct{} // closed by Close: no line is worth waiting for
	handed  chan struct{} // closed when no line is handed on any more

	closing sync.Once
	err     error // of Close
}

// line is a queued line.
type line struct {
	stream Stream
	text   []byte
}

// New opens a pipe for each stream. Start and then Close are called in any
// case.
func New(o Options) (*Capture, error) {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	c := &Capture{
		options: o, queue: make(chan line, maxQueue),
		read: make(chan struct{}), ended: make(chan struct{}), handed: make(chan struct{}),
	}
	for s := range c.readers {
		r, w, err := os.Pipe()
		if err != nil {
			c.closeFiles()
			return nil, fmt.Errorf("capture %v: %w", Stream(s), err)
		}
		c.readers[s], c.writers[s] = r, w
	}
	return c, nil
}

// Start begins to read. What was written before waits in the pipes, so that it
// may be called when the process is known.
func (c *Capture) Start() {
	if c.options.Line != nil {
		go c.handOn()
	} else {
		close(c.handed)
	}
	c.reading.Store(int32(len(c.readers)))
	for s := range c.readers {
		go c.follow(Stream(s))
	}
}

// Writers returns the ends of the pipes that the process gets as its standard
// output and error. They stay the capture's.
func (c *Capture) Writers() (stdout, stderr *os.File) { return c.writers[Stdout], c.writers[Stderr] }

// CloseWriters closes the host's own copies of the writers, after the process
// was given them or could not be started. Without it the end of the output is
// never seen.
func (c *Capture) CloseWriters() {
	for _, w := range c.writers {
		if w != nil {
			w.Close()
		}
	}
}

func (c *Capture) closeFiles() {
	c.CloseWriters()
	for _, r := range c.readers {
		if r != nil {
			r.Close()
		}
	}
}

// Tail returns the last output so far, at most MaxTail characters, as UTF-8.
func (c *Capture) Tail() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tail.String()
}

// AwaitEnd waits until the output was read to its end, at most for limit: the
// end of a process is known before its last words were read.
func (c *Capture) AwaitEnd(limit time.Duration) {
	t := time.NewTimer(limit)
	defer t.Stop()
	wait(c.read, t.C)
}

// follow reads one stream to its end.
func (c *Capture) follow(s Stream) {
	defer func() {
		if c.reading.Add(-1) == 0 {
			close(c.read)
		}
	}()
	var (
		piece = make([]byte, pieceLen)
		text  decoder
		lines = splitter{emit: func(text []byte) { c.push(line{s, text}) }}
	)
	for {
		n, err := c.readers[s].Read(piece)
		decoded := text.decode(piece[:n], err != nil)
		c.mu.Lock()
		c.tail.write(decoded)
		c.mu.Unlock()
		if c.options.File != nil && n > 0 {
			_, _ = c.options.File.Write(piece[:n]) // reports for itself
		}
		if c.options.Line != nil {
			lines.write(decoded, err != nil)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
				c.options.Log.Warn("cannot read the application's output", "stream", s.String(), "err", err)
			}
			return
		}
	}
}

// push queues a line. When the queue stays full, lines are dropped until it is
// half empty, so that a receiver that hangs cannot stop the application.
func (c *Capture) push(l line) {
	if c.stalled.Load() {
		if len(c.queue) > maxQueue/2 {
			c.dropped.Add(1)
			return
		}
		c.stalled.Store(false)
	}
	select {
	case c.queue <- l:
		return
	default:
	}
	limit := time.NewTimer(patience)
	defer limit.Stop()
	select {
	case c.queue <- l:
	case <-c.ended:
		c.dropped.Add(1)
	case <-limit.C:
		c.stalled.Store(true)
		c.dropped.Add(1)
	}
}

// handOn gives the queued lines to their receiver, until Close and then until
// none is left.
func (c *Capture) handOn() {
	defer close(c.handed)
	for {
		select {
		case l := <-c.queue:
			c.hand(l)
			continue
		default:
		}
		select {
		case l := <-c.queue:
			c.hand(l)
		case <-c.ended:
			if len(c.queue) == 0 {
				return
			}
		}
	}
}

func (c *Capture) hand(l line) {
	if c.giveUp.Load() {
		return
	}
	if n := c.dropped.Swap(0); n > 0 {
		c.options.Log.Warn("lines of the application's output were dropped, the log is too slow", "lines", n)
	}
	c.options.Line(l.stream, l.text)
}

// Close waits until the output ends and every line was handed on, for
// CloseLimit and at most 2 s more where that hangs, and closes the pipes. After
// that a process that still holds them cannot write any more, and gets SIGPIPE
// when it tries. The error tells what was not waited for and what is missing. It may be called more than once.
func (c *Capture) Close() error {
	c.closing.Do(func() { c.err = c.close() })
	return c.err
}

func (c *Capture) close() error {
	c.CloseWriters()
	defer c.closeFiles()
	limit := time.NewTimer(CloseLimit)
	defer limit.Stop()
	var errs []error
	if !wait(c.read, limit.C) {
		errs = append(errs, fmt.Errorf("still open after %v: a process that outlived the application may hold it", CloseLimit))
		for _, r := range c.readers {
			_ = r.SetReadDeadline(time.Unix(1, 0)) // ends a read that waits
		}
		c.AwaitEnd(patience + grace) // it may be waiting for a queue
		limit.Reset(grace)
	}
	close(c.ended)
	handed := wait(c.handed, limit.C)
	if !handed {
		c.giveUp.Store(true) // its goroutine ends when the receiver comes back
	}
	if n := c.dropped.Swap(0) + int64(len(c.queue)); n > 0 || !handed {
		errs = append(errs, fmt.Errorf("the log does not take the lines, %d at the end are missing", n))
	}
	if len(errs) > 0 {
		return fmt.Errorf("capture output: %w", errors.Join(errs...))
	}
	return nil
}

// wait reports whether done was closed before the limit.
func wait(done <-chan struct{}, limit <-chan time.Time) bool {
	select {
	case <-done:
		return true
	case <-limit:
		return false
	}
}
