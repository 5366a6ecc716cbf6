package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unsafe"
)

// stage is what a test that is connected directly has set up, and what has
// happened since. backend.mu guards it.
type stage struct {
	prompted bool
	scripts  [][]string
	next     int
	heard    []event
}

// event is one read from a connection, or its end.
type event struct {
	Conn int    // number of the connection, from 0
	Data []byte // as it came; empty: the connection has ended
}

// control serves a connection that a test made directly, past the host:
//
//	POST /prompt   sets scripts for the next requests, a JSON list of lists of
//	               steps, and forgets what was heard. A request beyond the
//	               list is read and answered with method and target. "(nr)" in
//	               a text stands for the number of the request, from 1.
//	GET /heard     tells all that has come since, in order, as a JSON list of
//	               events. All that was written to the backend before this was
//	               asked is in it: connections are accepted in order, and none
//	               may have unread bytes.
//
// It reports whether the connection goes on.
func (x *exchange) control(path, head string) bool {
	length, _ := strconv.Atoi(field(head, "Content-Length"))
	body := make([]byte, length)
	if _, err := io.ReadFull(x.in, body); err != nil {
		return false
	}
	b := x.b
	b.mu.Lock()
	x.rec.direct = true
	b.mu.Unlock()
	if path == "/heard" {
		b.settle()
		b.mu.Lock()
		text, _ := json.Marshal(b.events())
		b.mu.Unlock()
		x.respond(string(text))
		return true
	}
	var scripts [][]string
	if err := json.Unmarshal(body, &scripts); err != nil {
		x.respond(err.Error())
		return false
	}
	b.mu.Lock()
	b.stage = stage{prompted: true, scripts: scripts}
	b.mu.Unlock()
	x.respond("")
	return true
}

// events are those of connections that a host made.
func (b *backend) events() []event {
	all := []event{}
	for _, e := range b.stage.heard {
		if !b.conns[e.Conn].direct {
			all = append(all, e)
		}
	}
	return all
}

// prompt returns the steps for the next request and its number; nil if no
// test has prompted anything.
func (b *backend) prompt() ([]string, string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := &b.stage
	if !s.prompted {
		return nil, ""
	}
	s.next++
	nr := strconv.Itoa(s.next)
	if s.next > len(s.scripts) {
		return []string{"read", "tell"}, nr
	}
	return s.scripts[s.next-1], nr
}

// settle waits until all that has arrived was read, for a second at most: a
// script may leave bytes where they are.
func (b *backend) settle() {
	for range 1000 {
		waiting := false
		b.mu.Lock()
		for _, r := range b.conns {
			waiting = waiting || !r.ended && unread(r.conn) > 0
		}
		b.mu.Unlock()
		if !waiting {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// unread is how many bytes wait in the socket.
func unread(c syscall.Conn) (n int32) {
	raw, err := c.SyscallConn()
	if err == nil {
		raw.Control(func(fd uintptr) {
			syscall.Syscall(syscall.SYS_IOCTL, fd, syscall.TIOCINQ, uintptr(unsafe.Pointer(&n)))
		})
	}
	return n
}

// tap reads from a connection and records what it reads in the same moment,
// so that what is not in the socket any more is in the record.
type tap struct {
	b   *backend
	rec *record
}

func (t *tap) Read(p []byte) (n int, err error) {
	raw, err := t.rec.conn.SyscallConn()
	if err != nil {
		return 0, err
	}
	waited := raw.Read(func(fd uintptr) bool {
		t.b.mu.Lock()
		defer t.b.mu.Unlock()
		for {
			if n, err = syscall.Read(int(fd), p); err != syscall.EINTR {
				break
			}
		}
		if n > 0 {
			t.rec.bytes = append(t.rec.bytes, p[:n]...)
			t.b.hear(event{t.b.number(t.rec), bytes.Clone(p[:n])})
		}
		return err != syscall.EAGAIN
	})
	switch {
	case waited != nil:
		return 0, waited
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// leave closes a connection.
func (b *backend) leave(rec *record) {
	b.mu.Lock()
	defer b.mu.Unlock()
	rec.conn.Close()
	rec.ended = true
	b.hear(event{Conn: b.number(rec)})
}

// hear keeps an event for the test that wants to know.
func (b *backend) hear(e event) {
	if b.stage.prompted {
		b.stage.heard = append(b.stage.heard, e)
	}
}

func (b *backend) number(rec *record) int {
	for i, r := range b.conns {
		if r == rec {
			return i
		}
	}
	return -1
}

// readMessage reads what is left of the message whose head was read.
func (x *exchange) readMessage() error {
	x.read = true
	head, _, _ := strings.Cut(string(x.raw), "\r\n\r\n")
	if field(head+"\r\n", "Transfer-Encoding") == "" {
		n, _ := strconv.Atoi(field(head+"\r\n", "Content-Length"))
		return x.step("body " + strconv.Itoa(n-(len(x.raw)-len(head)-len("\r\n\r\n"))))
	}
	for {
		line, err := x.line()
		if err != nil {
			return err
		}
		size, err := strconv.ParseInt(line, 16, 32)
		if err != nil {
			return err
		}
		if size == 0 {
			break
		}
		if err := x.step("body " + strconv.FormatInt(size+2, 10)); err != nil {
			return err
		}
	}
	for {
		if line, err := x.line(); err != nil || line == "" {
			return err
		}
	}
}

// line reads a line that ends with CRLF.
func (x *exchange) line() (string, error) {
	line, err := x.in.ReadString('\n')
	x.raw = append(x.raw, line...)
	text, ok := strings.CutSuffix(line, "\r\n")
	if err == nil && !ok {
		err = errors.New("a line without CRLF")
	}
	return text, err
}
