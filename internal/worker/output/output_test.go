package output

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"
)

// sink collects lines.
type sink struct {
	mu    sync.Mutex
	lines []string
}

func (s *sink) line(stream Stream, text []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, stream.String()+": "+string(text))
}

// capture starts a capture whose pipes the test writes to.
func capture(t *testing.T, o Options) (c *Capture, stdout, stderr *os.File) {
	t.Helper()
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	c.Start()
	t.Cleanup(func() { _ = c.Close() })
	stdout, stderr = c.Writers()
	return c, stdout, stderr
}

// finish closes a capture once all was read, for which a busy machine may take
// longer than Close waits.
func finish(c *Capture) error {
	c.CloseWriters()
	c.AwaitEnd(20 * time.Second)
	return c.Close()
}

func write(t *testing.T, f *os.File, text string) {
	t.Helper()
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
}

func TestCapture(t *testing.T) {
	t.Parallel()
	var s sink
	var file memoryFile
	log := newLog(&file, slog.New(slog.DiscardHandler))
	c, stdout, stderr := capture(t, Options{Line: s.line, File: log})
	write(t, stdout, "one\ntwo\r\nth")
	write(t, stdout, "ree\n\n")
	write(t, stdout, "no end \xff")
	stdout.Close()
	write(t, stderr, "bad\n")
	if err := errors.Join(finish(c), log.Close()); err != nil {
		t.Fatal(err)
	}
	var out, errs []string
	for _, line := range s.lines {
		if text, ok := strings.CutPrefix(line, "stdout: "); ok {
			out = append(out, text)
		} else {
			errs = append(errs, line)
		}
	}
	if want := []string{"one", "two", "three", "", "no end \ufffd"}; !slices.Equal(out, want) {
		t.Errorf("stdout %q, want %q", out, want)
	}
	if want := []string{"stderr: bad"}; !slices.Equal(errs, want) {
		t.Errorf("stderr %q, want %q", errs, want)
	}
	// The order of the two streams is that of arrival, which is not known.
	const outText, errText = "one\ntwo\r\nthree\n\nno end ", "bad\n"
	if got := c.Tail(); strings.Replace(got, errText, "", 1) != outText+"\ufffd" {
		t.Errorf("tail %q", got)
	}
	if got := strings.Replace(file.String(), errText, "", 1); got != outText+"\xff" { // the file has the very bytes
		t.Errorf("file %q", got)
	}
}

// The tail is exactly 30,000 characters, not bytes, and never cuts one.
func TestTailIsCutByCharacters(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, unit string
	}{{"ascii", "x"}, {"two-bytes", "é"}, {"four-bytes", "🐦"}, {"mixed", "aé漢🐦"}} {
		for _, n := range []int{MaxTail - 1, MaxTail, MaxTail + 1, 2*MaxTail + 1, 5*MaxTail + 3} {
			t.Run(fmt.Sprintf("%s-%d", c.name, n), func(t *testing.T) {
				t.Parallel()
				runes := []rune(strings.Repeat(c.unit, n))[:n]
				runes[len(runes)-1] = 'Z'
				if n >= MaxTail {
					runes[n-MaxTail] = 'A' // the first that is kept
				}
				capture, stdout, _ := capture(t, Options{})
				write(t, stdout, string(runes))
				if err := finish(capture); err != nil {
					t.Fatal(err)
				}
				got := capture.Tail()
				want := string(runes[max(0, n-MaxTail):])
				if got != want {
					t.Errorf("%d characters, first %.3q, last %q; want %d of them", utf8.RuneCountInString(got), got, got[len(got)-1:], utf8.RuneCountInString(want))
				}
			})
		}
	}
}

func TestDecoder(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                          "",
		"plain":                     "plain",
		"é漢🐦":                       "é漢🐦",
		"cut \xc3":                  "cut \ufffd",
		"cut \xf0\x9f\x90":          "cut \ufffd\ufffd\ufffd",
		"\xff\xfe bytes":            "\ufffd\ufffd bytes",
		"\xe9t\xe9":                 "\ufffdt\ufffd",      // Latin-1
		"\xed\xa0\x80":              "\ufffd\ufffd\ufffd", // a surrogate
		"\xc0\x80":                  "\ufffd\ufffd",       // overlong
		"\x80\x80\x80\x80\x80 tail": "\ufffd\ufffd\ufffd\ufffd\ufffd tail",
	} {
		for size := 1; size <= 5; size++ {
			var d decoder
			var got []byte
			for piece := range slices.Chunk([]byte(text), size) {
				got = append(got, d.decode(piece, false)...)
				if !utf8.Valid(got) {
					t.Errorf("%q in pieces of %d: %q is not UTF-8", text, size, got)
				}
			}
			if got = append(got, d.decode(nil, true)...); string(got) != want {
				t.Errorf("%q in pieces of %d: got %q, want %q", text, size, got, want)
			}
		}
	}
}

func TestSplitter(t *testing.T) {
	t.Parallel()
	x := strings.Repeat("x", MaxLine)
	for _, c := range []struct {
		name, text string
		want       []string
	}{
		{"nothing", "", nil},
		{"one", "a\n", []string{"a"}},
		{"no-end", "a", []string{"a"}},
		{"empty-lines", "\n\r\n\n", []string{"", "", ""}},
		{"cr-alone", "a\rb\n\r", []string{"a\rb", ""}},
		{"exactly", x + "\nb", []string{x, "b"}},
		{"exactly-crlf", x + "\r\nb", []string{x, "b"}},
		{"one-more", x + "y\n", []string{x, "y"}},
		{"twice", x + x + "\n\n", []string{x, x, ""}},
		{"long-without-end", x + x + "z", []string{x, x, "z"}},
		{"between-characters", x[:MaxLine-1] + "é" + "\n", []string{x[:MaxLine-1], "é"}},
		{"between-wide-characters", x[:MaxLine-2] + "🐦🐦\n", []string{x[:MaxLine-2], "🐦🐦"}},
	} {
		for _, size := range []int{1, 7, 1000, 1 << 20} {
			var got []string
			s := splitter{emit: func(line []byte) { got = append(got, string(line)) }}
			// Pieces are cut between characters, as a decoder does.
			for piece := range slices.Chunk([]rune(c.text), size) {
				s.write([]byte(string(piece)), false)
			}
			s.write(nil, true)
			if !slices.Equal(got, c.want) {
				t.Errorf("%s in pieces of %d: %d lines, want %d", c.name, size, len(got), len(c.want))
			}
		}
	}
}

// Any stream of bytes, cut anywhere, gives the same text: valid UTF-8, lines
// within their limit, nothing lost.
func FuzzText(f *testing.F) {
	f.Add([]byte("one\r\ntwo\n"), uint16(3))
	f.Add([]byte("\xf0\x9f\x90\xa6\xff\n"), uint16(1))
	f.Fuzz(func(t *testing.T, text []byte, size uint16) {
		var whole decoder
		want := string(whole.decode(text, true))
		var d decoder
		var got, joined []byte
		s := splitter{emit: func(line []byte) {
			if len(line) > MaxLine || !utf8.Valid(line) || bytes.IndexByte(line, '\n') >= 0 {
				t.Errorf("line %q", line)
			}
			joined = append(joined, line...)
		}}
		var last tail
		for piece := range slices.Chunk(text, int(size)+1) {
			part := d.decode(piece, false)
			got = append(got, part...)
			last.write(part)
			s.write(part, false)
		}
		part := d.decode(nil, true)
		got = append(got, part...)
		last.write(part)
		s.write(part, true)
		if string(got) != want {
			t.Errorf("decoded %q, want %q", got, want)
		}
		runes := []rune(want)
		if kept := string(runes[max(0, len(runes)-MaxTail):]); last.String() != kept {
			t.Errorf("tail %q, want %q", last.String(), kept)
		}
		plain := strings.NewReplacer("\r", "", "\n", "")
		if a, b := plain.Replace(string(joined)), plain.Replace(want); a != b {
			t.Errorf("lines hold %q, want %q", a, b)
		}
	})
}

// A flood is read at full speed, and every line arrives when the receiver is
// not slower than the application. It is where the machine gives it no time for
// a second, which the one attempt may meet with and the next does not.
func TestFlood(t *testing.T) {
	t.Parallel()
	for attempt := 1; ; attempt++ {
		lost := flood(t)
		if lost == "" {
			return
		}
		if attempt == 3 {
			t.Fatal(lost)
		}
		t.Log(lost)
	}
}

// flood returns what was lost of a flood.
func flood(t *testing.T) (lost string) {
	const n = 20000
	var count, bytes atomic.Int64
	var file memoryFile
	log := newLog(&file, slog.New(slog.DiscardHandler))
	c, stdout, stderr := capture(t, Options{File: log, Line: func(_ Stream, line []byte) {
		count.Add(1)
		bytes.Add(int64(len(line)) + 1)
	}})
	var writers sync.WaitGroup
	var written atomic.Int64
	for _, w := range []*os.File{stdout, stderr} {
		writers.Go(func() {
			for i := range n {
				k, err := fmt.Fprintf(w, "line %d %s\n", i, strings.Repeat("x", i%500))
				written.Add(int64(k))
				if err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	writers.Wait()
	if err := errors.Join(finish(c), log.Close()); err != nil {
		return err.Error()
	}
	if got := utf8.RuneCountInString(c.Tail()); got != MaxTail {
		t.Errorf("tail of %d characters, want %d", got, MaxTail)
	}
	if count.Load() != 2*n || bytes.Load() != written.Load() || int64(file.Len()) != written.Load() {
		return fmt.Sprintf("%d lines of %d bytes and a file of %d, want %d of %d", count.Load(), bytes.Load(), file.Len(), 2*n, written.Load())
	}
	return ""
}

// awaitStdout waits until one of the streams, which is closed, was read to its
// end.
func awaitStdout(t *testing.T, c *Capture) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); c.reading.Load() != 1; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the stream was not read to its end")
		}
	}
}

// A receiver that hangs for ever costs lines, and never stops the application.
func TestReceiverThatHangs(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	defer close(release)
	var log lockedBuffer
	c, stdout, _ := capture(t, Options{
		Line: func(Stream, []byte) { <-release },
		Log:  slog.New(slog.NewTextHandler(&log, nil)),
	})
	const n = 10 * maxQueue
	for i := range n {
		write(t, stdout, fmt.Sprintln("line", i))
	}
	stdout.Close()
	awaitStdout(t, c)
	err := c.Close() // which comes back
	// One line is with the receiver.
	if want := fmt.Sprintf("the log does not take the lines, %d at the end are missing", n-1); err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("close: %v, want %s", err, want)
	}
	if want := fmt.Sprintln("line", n-1); !strings.HasSuffix(c.Tail(), want) {
		t.Errorf("the tail misses %q", want)
	}
	if err2 := c.Close(); err2 != err {
		t.Errorf("closed again: %v, want the same %v", err2, err)
	}
}

// After a receiver recovered, it is told how much is missing.
func TestDroppedLinesAreCounted(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	var log lockedBuffer
	var count atomic.Int64
	c, stdout, _ := capture(t, Options{
		Line: func(Stream, []byte) { <-release; count.Add(1) },
		Log:  slog.New(slog.NewTextHandler(&log, nil)),
	})
	const n = 4 * maxQueue
	for i := range n {
		write(t, stdout, fmt.Sprintln("line", i))
	}
	stdout.Close()
	awaitStdout(t, c)
	dropped := c.dropped.Load()
	close(release)
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
	if dropped == 0 || count.Load()+dropped != n {
		t.Errorf("%d lines arrived and %d were dropped, want %d in all", count.Load(), dropped, n)
	}
	if want := fmt.Sprintf("lines=%d", dropped); !strings.Contains(log.String(), want) {
		t.Errorf("the log says %q, want %s", log.String(), want)
	}
}

// lockedBuffer is a buffer for loggers.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(b)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// A file that hangs for ever, as on a dead network mount, stops neither the
// application nor those who read the tail.
func TestFileThatHangs(t *testing.T) {
	t.Parallel()
	file := &memoryFile{gate: make(chan struct{})}
	log := newLog(file, slog.New(slog.DiscardHandler))
	defer close(file.gate)
	c, stdout, _ := capture(t, Options{File: log})
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range 4 * maxPending / pieceLen {
			_, _ = stdout.WriteString(strings.Repeat("x", pieceLen))
			_ = c.Tail()
		}
	}()
	if !wait(done, time.After(20*time.Second)) {
		t.Fatal("the application was stopped")
	}
	if err := c.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if n := utf8.RuneCountInString(c.Tail()); n != MaxTail {
		t.Errorf("tail of %d characters, want %d", n, MaxTail)
	}
}

// What a process wrote just before its end is there after AwaitEnd, which a
// pipe that is held open does not stop.
func TestAwaitEnd(t *testing.T) {
	t.Parallel()
	c, stdout, stderr := capture(t, Options{})
	c.AwaitEnd(time.Millisecond)
	for range 4 {
		write(t, stdout, strings.Repeat("x", 16<<10))
	}
	write(t, stdout, "last words")
	stdout.Close()
	stderr.Close()
	c.AwaitEnd(20 * time.Second)
	if !strings.HasSuffix(c.Tail(), "last words") {
		t.Errorf("the tail misses the last words")
	}
}

func BenchmarkFlood(b *testing.B) {
	c, err := New(Options{Line: func(Stream, []byte) {}})
	if err != nil {
		b.Fatal(err)
	}
	c.Start()
	defer c.Close()
	stdout, _ := c.Writers()
	text := []byte(strings.Repeat(strings.Repeat("x", 99)+"\n", 40))
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := stdout.Write(text); err != nil {
			b.Fatal(err)
		}
	}
}
