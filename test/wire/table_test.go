package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/perchserver/perch/test/harness"
)

// leastCases is what the table is at least: a file that is not found any more
// must not look green.
const leastCases = 900

// TestTable plays every case of cases/*.txt against a host, each file against
// one of its own. A case is played twice: with each write as the case has it,
// and with the same bytes in pieces of a few. The outcome must be the same. One
// that is about time is played in one way, and again where a process may have
// stood still for longer than it has time.
func TestTable(t *testing.T) {
	t.Parallel()
	files, _ := filepath.Glob("cases/*.txt")
	n := 0
	for _, file := range files {
		cases := readCases(t, file)
		n += len(cases)
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			for _, c := range cases {
				t.Run(c.name, func(t *testing.T) {
					problems := r.play(t, c, false)
					switch {
					case !c.whole && len(problems) == 0:
						problems = r.play(t, c, true)
					case c.whole:
						for tries := 1; tries < 3 && len(problems) > 0; tries++ {
							t.Logf("played again, because %s", strings.Join(problems, "\n"))
							problems = r.play(t, c, false)
						}
					}
					for _, p := range problems {
						t.Error(p)
					}
				})
			}
			r.checkLog(t)
		})
	}
	if n < leastCases {
		t.Errorf("the table has %d cases, which is less than %d", n, leastCases)
	}
}

// rig is a host in front of the backend, and a way to the backend past it.
type rig struct {
	h       *harness.Host
	backend string
	client  *http.Client
	failed  int // responses with 502, or cut, so far

	heardBytes int // of the last case
}

const token = "the-token"

// nodes are the places of the site with settings of their own: guarded is kept
// from the application, small takes little.
const nodes = `</system.webServer></location>
  <location path="guarded"><system.webServer><handlers><clear />
    <add name="files" path="*" verb="*" modules="StaticFileModule" resourceType="Either" />
  </handlers></system.webServer></location>
  <location path="small"><system.webServer><security><requestFiltering>
    <requestLimits maxAllowedContentLength="100" />
  </requestFiltering></security>`

func newRig(t *testing.T) *rig {
	h := harness.Start(t, harness.Run{
		Dir:   harness.RawBackend(t, harness.WebConfig{Env: map[string]string{"ASPNETCORE_TOKEN": token}, More: nodes}),
		Flags: []string{"--log-level", "debug"},
	})
	r := &rig{h: h, backend: h.Get("/address").Text(),
		// The backend's promise in control.go is about a new connection.
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}}
	return r
}

// prompt tells the backend what to do, and to forget what it heard.
func (r *rig) prompt(t *testing.T, scripts [][]string) {
	t.Helper()
	text, err := json.Marshal(scripts)
	if err != nil {
		t.Fatal(err)
	}
	res, err := r.client.Post("http://"+r.backend+"/prompt", "application/json", bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	answer, _ := io.ReadAll(res.Body)
	res.Body.Close()
	if len(answer) > 0 {
		t.Fatalf("the backend says %s", answer)
	}
}

// event is what the backend tells of one read. No data is the end of the
// connection.
type event struct {
	Conn int
	Data []byte
}

func (r *rig) heard(t *testing.T) (all []event) {
	t.Helper()
	res, err := r.client.Get("http://" + r.backend + "/heard")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(&all); err != nil {
		t.Fatal(err)
	}
	return all
}

// sentinel is sent behind every case that leaves its connection open: only
// its own answer may come next.
const (
	sentinel     = "GET /sentinel HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
	sentinelSeen = "GET /sentinel HTTP/1.1\r\nHost: a\r\n" + ours + "\r\n\r\n"
)

// play runs a case and returns where what it expects, or what is expected of
// all, does not hold.
func (r *rig) play(t *testing.T, c *wireCase, pieces bool) (problems []string) {
	t.Helper()
	problem := func(format string, a ...any) {
		how := ""
		if pieces {
			how = " (sent in pieces)"
		}
		problems = append(problems, fmt.Sprintf("%s%s: %s", c.place, how, fmt.Sprintf(format, a...)))
	}
	r.prompt(t, c.scripts)
	cl := dial(t, r.h.Addr(), pieces)
	defer cl.close()
	err := cl.converse(c)
	if err != nil {
		problem("%v", err)
	}
	for _, m := range cl.finals {
		if m.status() == 502 || m.short {
			r.failed++
		}
	}
	seen, err := r.collect(t, cl)
	if err != nil {
		problem("the backend: %v", err)
		return problems
	}
	for _, err := range []error{account(cl, seen), onePath(seen)} {
		if err != nil {
			problem("%v", err)
		}
	}
	rest := strings.Contains(c.seen, "(rest)\r\n")
	var got strings.Builder
	for _, m := range seen {
		got.WriteString(strings.NewReplacer(cl.address, "(client)", token, "(token)").Replace(m.render(rest)))
	}
	wanted := c.seen
	if cl.sentinel {
		wanted += sentinelSeen
	}
	if got.String() != wanted {
		problem("the backend got\n%s\nwant\n%s", quote(got.String()), quote(wanted))
	}
	return problems
}

// quote shows bytes line by line.
func quote(s string) string {
	var b strings.Builder
	for line := range strings.Lines(s) {
		fmt.Fprintf(&b, "\t%.200q\n", line)
	}
	return b.String()
}

// client is the client's side of a case.
type client struct {
	conn    *net.TCPConn
	address string
	sends   chan []byte   // nil closes the sending direction
	sent    chan struct{} // closed when all was sent
	buf     []byte
	eof     bool
	reset   bool

	finals   []*message // final responses, in order, and a 101
	sentinel bool       // the last of them answers the sentinel
}

// dial connects. With pieces, what is sent goes out a few bytes at a time.
func dial(t *testing.T, addr string, pieces bool) *client {
	t.Helper()
	c, err := net.DialTimeout("tcp", addr, 5*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(harness.Limit))
	cl := &client{conn: c.(*net.TCPConn), address: c.LocalAddr().String(), sends: make(chan []byte, 100), sent: make(chan struct{})}
	go func() {
		defer close(cl.sent)
		for b := range cl.sends {
			cl.write(b, pieces)
		}
	}()
	return cl
}

// write sends b. An error is not told: a host may close while it is sent, and
// what it must not do is seen by reading.
func (cl *client) write(b []byte, pieces bool) {
	if b == nil {
		cl.conn.CloseWrite()
		return
	}
	for i := 0; len(b) > 0; i++ {
		n := len(b)
		if pieces {
			n = min(n, 1+i*i%97) // one byte first, then more or less
		}
		if _, err := cl.conn.Write(b[:n]); err != nil {
			return
		}
		b = b[n:]
	}
}

func (cl *client) close() {
	cl.conn.Close()
	close(cl.sends)
	<-cl.sent
}

// converse goes through the steps of a case. Its error is the first thing
// that was not as expected.
func (cl *client) converse(c *wireCase) error {
	var last *want
	fin := false
	for _, s := range c.steps {
		switch {
		case s.want != nil:
			if err := cl.expect(s.want); err != nil {
				return err
			}
			last = s.want
		case s.fin:
			fin = true
			cl.sends <- nil
		default:
			cl.sends <- s.send
		}
	}
	switch {
	case last.cut || last.close || last.status == 101 || fin:
		return cl.end(last.cut)
	}
	// The connection is said to live on: nothing may be on it but what is
	// asked for now.
	cl.sends <- []byte(sentinel)
	cl.sentinel = true
	if err := cl.expect(&want{text: "the sentinel's answer", status: 200, close: true, contains: []string{"GET /sentinel"}}); err != nil {
		return err
	}
	return cl.end(false)
}

// more reads on.
func (cl *client) more() error {
	p := make([]byte, 64<<10)
	n, err := cl.conn.Read(p)
	cl.buf = append(cl.buf, p[:n]...)
	switch {
	case err == io.EOF:
		cl.eof = true
	case errors.Is(err, syscall.ECONNRESET):
		cl.eof, cl.reset = true, true
	case err != nil:
		return fmt.Errorf("%v after %.300q", err, cl.buf)
	}
	return nil
}

// expect reads one message and compares.
func (cl *client) expect(w *want) error {
	if w.status == 0 {
		return nil // the end of the connection follows
	}
	for {
		m, n, err := readResponse(cl.buf, w.head, cl.eof)
		if err != nil {
			return fmt.Errorf("what came is not a response to pass on: %v; %.300q", err, cl.buf)
		}
		if m != nil {
			cl.buf = cl.buf[n:]
			if length, chunked, _ := m.framing(); cl.reset && length < 0 && !chunked && len(m.body) > 0 {
				m.short = true // a reset is the only way to say so
			}
			return cl.compare(w, m)
		}
		switch {
		case cl.reset:
			return fmt.Errorf("the connection was reset where %q could have come; before: %.300q", w.text, cl.buf)
		case cl.eof:
			return fmt.Errorf("the connection ended, want %q; before: %.300q", w.text, cl.buf)
		}
		if err := cl.more(); err != nil {
			return fmt.Errorf("waiting for %q: %w", w.text, err)
		}
	}
}

// compare judges a message that came.
func (cl *client) compare(w *want, m *message) error {
	if s := m.status(); s >= 200 || s == 101 {
		cl.finals = append(cl.finals, m)
	}
	text := undated(m.render(false))
	closes := m.lists("Connection", "close")
	switch {
	case m.status() != w.status:
		return fmt.Errorf("answered\n%swant %q", quote(text), w.text)
	case m.short != w.cut:
		return fmt.Errorf("the response is cut: %v, want %v:\n%s", m.short, w.cut, quote(text))
	case w.cut || w.status < 200:
	case closes != w.close:
		return fmt.Errorf("the response says that the connection ends: %v, want %v:\n%s", closes, w.close, quote(text))
	}
	if w.exact != "" && text != w.exact {
		return fmt.Errorf("answered\n%swant\n%s", quote(text), quote(w.exact))
	}
	for _, part := range w.contains {
		if !strings.Contains(m.head+string(m.body)+m.trailer, part) {
			return fmt.Errorf("answered\n%swithout %q", quote(text), part)
		}
	}
	if w.status != 101 {
		return nil
	}
	for !cl.eof && len(cl.buf) < len(w.tunnel) {
		if err := cl.more(); err != nil {
			return err
		}
	}
	if string(cl.buf) != w.tunnel {
		return fmt.Errorf("behind the upgrade came %q, want %q", cl.buf, w.tunnel)
	}
	cl.buf = nil
	return nil
}

// end reads to the end of the connection: nothing may come any more. A reset
// is right only where a response without a length is cut.
func (cl *client) end(cut bool) error {
	for !cl.eof {
		if err := cl.more(); err != nil {
			return fmt.Errorf("waiting for the end of the connection: %w", err)
		}
	}
	switch {
	case len(cl.buf) > 0:
		return fmt.Errorf("more came: %.300q", cl.buf)
	case cl.reset && !cut:
		return errors.New("the connection was reset at its end")
	}
	return nil
}

// undated takes the time out of a response.
func undated(s string) string {
	before, rest, ok := strings.Cut(s, "\r\nDate: ")
	if !ok {
		return s
	}
	_, after, _ := strings.Cut(rest, "\r\n")
	return before + "\r\nDate: (date)\r\n" + after
}
