// Command rawbackend is a fixture: a backend without an HTTP library that does
// what each request tells it to, byte by byte, and remembers every byte that
// reached it.
//
// A request carries its script in the field "Script": lines, base64 in the
// standard alphabet, one step each. Without one, the step is "echo".
//
//	send "text"    write the text, a Go string literal
//	repeat n "t"   write the text n times
//	body n         read n more bytes
//	until "text"   read until the text was seen, and no further
//	pause n        wait n milliseconds
//	echo           answer 200 with the bytes of this request as they came
//	close          close the connection
//	reset          cut the connection with RST
//	hold           wait until the other side closes it
//
// Three targets are answered in another way: /recorded tells all connections
// and their bytes, /count?name=x how many requests had the field "Name: x",
// /closed?name=x whether a connection with such a request was closed by the
// other side.
package main

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

func main() {
	port := os.Getenv("ASPNETCORE_PORT")
	if port == "" {
		port = os.Getenv("HTTP_PLATFORM_PORT")
	}
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		fmt.Fprintln(os.Stderr, "rawbackend:", err)
		os.Exit(1)
	}
	var b backend
	for {
		c, err := ln.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "rawbackend:", err)
			os.Exit(1)
		}
		go b.serve(c.(*net.TCPConn))
	}
}

// backend remembers what came.
type backend struct {
	mu    sync.Mutex
	conns []*record
}

// record is one connection. backend.mu guards it.
type record struct {
	bytes  []byte
	names  []string // values of the field Name, one per request
	closed bool     // by the other side
}

func (b *backend) serve(c *net.TCPConn) {
	defer c.Close()
	rec := &record{}
	b.mu.Lock()
	b.conns = append(b.conns, rec)
	b.mu.Unlock()

	x := &exchange{b: b, rec: rec, conn: c}
	x.in = bufio.NewReader(io.TeeReader(c, recorder{b, rec}))
	for {
		head, err := x.readHead()
		if err != nil {
			b.mu.Lock()
			rec.closed = true
			b.mu.Unlock()
			return
		}
		if !x.answer(head) {
			return
		}
	}
}

type recorder struct {
	b   *backend
	rec *record
}

func (r recorder) Write(p []byte) (int, error) {
	r.b.mu.Lock()
	defer r.b.mu.Unlock()
	r.rec.bytes = append(r.rec.bytes, p...)
	return len(p), nil
}

// exchange is one connection at work.
type exchange struct {
	b    *backend
	rec  *record
	conn *net.TCPConn
	in   *bufio.Reader
	raw  []byte // of the present request
}

func (x *exchange) readHead() (string, error) {
	x.raw = nil
	for !bytes.HasSuffix(x.raw, []byte("\r\n\r\n")) {
		line, err := x.in.ReadBytes('\n')
		x.raw = append(x.raw, line...)
		if err != nil {
			return "", err
		}
	}
	return string(x.raw), nil
}

// answer reports whether the connection goes on.
func (x *exchange) answer(head string) bool {
	name := field(head, "Name")
	x.b.mu.Lock()
	x.rec.names = append(x.rec.names, name)
	x.b.mu.Unlock()

	parts := strings.SplitN(head, " ", 3)
	target, _ := url.ParseRequestURI(parts[1])
	switch {
	case target == nil:
	case target.Path == "/recorded":
		x.respond(x.b.recorded())
		return true
	case target.Path == "/count":
		x.respond(x.b.count(target.Query().Get("name")))
		return true
	case target.Path == "/closed":
		x.respond(x.b.closedByOther(target.Query().Get("name")))
		return true
	case parts[0] == "POST" && strings.HasSuffix(target.Path, "/iisintegration"):
		io.WriteString(x.conn, "HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n")
		os.Exit(0)
	}

	script := "echo"
	if f := field(head, "Script"); f != "" {
		text, err := base64.StdEncoding.DecodeString(f)
		if err != nil {
			x.respond("bad script: " + err.Error())
			return false
		}
		script = string(text)
	}
	for line := range strings.Lines(script) {
		if err := x.step(strings.TrimSpace(line)); err != nil {
			if !errors.Is(err, errEnd) {
				fmt.Fprintf(os.Stderr, "rawbackend: step %s: %v\n", line, err)
			}
			return false
		}
	}
	return true
}

var errEnd = errors.New("end of connection")

func (x *exchange) step(line string) error {
	verb, rest, _ := strings.Cut(line, " ")
	switch verb {
	case "":
		return nil
	case "send":
		text, err := strconv.Unquote(rest)
		if err == nil {
			_, err = io.WriteString(x.conn, text)
		}
		return err
	case "repeat":
		count, quoted, _ := strings.Cut(rest, " ")
		n, _ := strconv.Atoi(count)
		text, err := strconv.Unquote(quoted)
		for i := 0; i < n && err == nil; i++ {
			_, err = io.WriteString(x.conn, text)
		}
		return err
	case "body":
		n, err := strconv.Atoi(rest)
		if err != nil {
			return err
		}
		piece := make([]byte, n)
		got, err := io.ReadFull(x.in, piece)
		x.raw = append(x.raw, piece[:got]...)
		return err
	case "until":
		text, err := strconv.Unquote(rest)
		for err == nil && !bytes.HasSuffix(x.raw, []byte(text)) {
			var c byte
			if c, err = x.in.ReadByte(); err == nil {
				x.raw = append(x.raw, c)
			}
		}
		return err
	case "pause":
		ms, err := strconv.Atoi(rest)
		time.Sleep(time.Duration(ms) * time.Millisecond)
		return err
	case "echo":
		x.respond(string(x.raw))
		return nil
	case "close":
		return errEnd
	case "reset":
		x.conn.SetLinger(0)
		return errEnd
	case "hold":
		io.Copy(io.Discard, x.in)
		x.b.mu.Lock()
		x.rec.closed = true
		x.b.mu.Unlock()
		return errEnd
	}
	return fmt.Errorf("unknown verb %q", verb)
}

func (x *exchange) respond(body string) {
	fmt.Fprintf(x.conn, "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

func (b *backend) recorded() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	var all []string
	for _, r := range b.conns {
		all = append(all, string(r.bytes))
	}
	text, _ := json.Marshal(all)
	return string(text)
}

func (b *backend) count(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, r := range b.conns {
		for _, have := range r.names {
			if have == name {
				n++
			}
		}
	}
	return strconv.Itoa(n)
}

func (b *backend) closedByOther(name string) string {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.conns {
		for _, have := range r.names {
			if have == name && r.closed {
				return "true"
			}
		}
	}
	return "false"
}

// field returns the first value of a field of a request head.
func field(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}
