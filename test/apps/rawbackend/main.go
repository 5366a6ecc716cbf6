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
//	read           read to the end of the message, as its framing says
//	pause n        wait n milliseconds
//	echo           answer 200 with the bytes of this request as they came
//	tell           answer 200 with the number of this request, its method and target
//	close          close the connection
//	reset          cut the connection with RST
//	hold           wait until the other side closes it
//
// Some targets are answered in another way: /recorded tells all connections
// and their bytes, /count?name=x how many requests had the field "Name: x",
// /closed?name=x whether a connection with such a request was closed by the
// other side, /address where the backend listens. Who connects there directly
// can prompt it and hear what came since: see control.go.
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
	b := backend{address: ln.Addr().String()}
	for {
		c, err := ln.Accept()
		if err != nil {
			fmt.Fprintln(os.Stderr, "rawbackend:", err)
			os.Exit(1)
		}
		rec := &record{conn: c.(*net.TCPConn)}
		b.mu.Lock()
		b.conns = append(b.conns, rec)
		b.mu.Unlock()
		go b.serve(rec)
	}
}

// backend remembers what came.
type backend struct {
	address string

	mu    sync.Mutex
	conns []*record
	stage stage
}

// record is one connection. backend.mu guards it.
type record struct {
	bytes  []byte
	names  []string // values of the field Name, one per request
	closed bool     // by the other side
	conn   *net.TCPConn
	ended  bool
	direct bool // from a test, past the host
}

func (b *backend) serve(rec *record) {
	defer b.leave(rec)
	x := &exchange{b: b, rec: rec, conn: rec.conn}
	x.in = bufio.NewReader(&tap{b: b, rec: rec})
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

// exchange is one connection at work.
type exchange struct {
	b    *backend
	rec  *record
	conn *net.TCPConn
	in   *bufio.Reader
	raw  []byte // of the present request
	nr   string // its number, if it was prompted
	read bool   // to its end
}

func (x *exchange) readHead() (string, error) {
	x.raw, x.nr, x.read = nil, "", false
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
	case target.Path == "/prompt", target.Path == "/heard":
		return x.control(target.Path, head)
	case target.Path == "/address":
		x.respond(x.b.address)
		return true
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
	} else if steps, nr := x.b.prompt(); steps != nil {
		x.nr = nr
		script = strings.Join(steps, "\n")
	}
	for line := range strings.Lines(script) {
		if err := x.step(strings.TrimSpace(line)); err != nil {
			if !errors.Is(err, errEnd) {
				fmt.Fprintf(os.Stderr, "rawbackend: step %s: %v\n", line, err)
			}
			return false
		}
	}
	// A server reads away what its application left of a body.
	return x.nr == "" || x.read || x.readMessage() == nil
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
			_, err = io.WriteString(x.conn, strings.ReplaceAll(text, "(nr)", x.nr))
		}
		return err
	case "read":
		return x.readMessage()
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
	case "tell":
		text := strings.Join(strings.SplitN(string(x.raw), " ", 3)[:2], " ")
		return x.step(fmt.Sprintf("send %q", fmt.Sprintf("HTTP/1.1 200 OK\r\nNr: (nr)\r\nContent-Length: %d\r\n\r\n%s", len(text), text)))
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
