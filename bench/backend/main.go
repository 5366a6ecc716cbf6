// Command backend is the application behind the proxies of the bench. It
// answers as cheaply as an application can, so that what is measured is the
// proxy:
//
//	/                     122 bytes of HTML, with six header fields
//	/65536, /1048576      so many bytes
//	/upload               the body is read to its end, then as /
//	/fields               the head of the request as it came
//
// It listens on 127.0.0.1 and the port in PORT, as Perch tells it.
package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
)

func main() {
	l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", os.Getenv("PORT")))
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c.(*net.TCPConn), answers)
	}
}

// page is what / answers.
var page = answer("text/html", strings.Repeat("<p>Perch</p>\n", 9)+"12345")

// answers are the complete responses by request target.
var answers = map[string][]byte{
	"/":        page,
	"/upload":  page,
	"/65536":   answer("application/octet-stream", strings.Repeat("perch on", 65536/8)),
	"/1048576": answer("application/octet-stream", strings.Repeat("perch on", 1048576/8)),
}

func answer(kind, body string) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: %s\r\n"+
		"Content-Length: %d\r\nConnection: keep-alive\r\nCache-Control: no-store\r\n\r\n%s", kind, len(body), body)
}

// serve answers the requests of one connection until it ends.
func serve(c *net.TCPConn, answers map[string][]byte) {
	defer c.Close()
	in := bufio.NewReaderSize(c, 16<<10)
	for {
		head, err := readHead(in)
		if err != nil {
			return
		}
		reply, body := choose(answers, head), bodyLength(head)
		if _, err := in.Discard(body); err != nil { // head is gone
			return
		}
		if _, err := c.Write(reply); err != nil {
			return
		}
	}
}

// readHead reads up to the empty line that ends a request head. The bytes are
// good until the next read.
func readHead(in *bufio.Reader) ([]byte, error) {
	for want := 1; ; {
		if _, err := in.Peek(want); err != nil {
			return nil, err
		}
		got, _ := in.Peek(in.Buffered())
		if end := bytes.Index(got, []byte("\r\n\r\n")); end >= 0 {
			in.Discard(end + 4)
			return got[:end+4], nil
		}
		if want = len(got) + 1; want > in.Size() {
			return nil, io.ErrShortBuffer
		}
	}
}

// bodyLength returns how long the body behind head is. Proxies that write
// field names in lower case are among those measured.
func bodyLength(head []byte) int {
	if !bytes.HasPrefix(head, []byte("POST ")) {
		return 0
	}
	_, value, _ := bytes.Cut(bytes.ToLower(head), []byte("\r\ncontent-length: "))
	value, _, _ = bytes.Cut(value, []byte("\r"))
	n, err := strconv.Atoi(string(value))
	if err != nil {
		return 0
	}
	return n
}

func choose(answers map[string][]byte, head []byte) []byte {
	_, target, _ := bytes.Cut(head, []byte(" "))
	target, _, _ = bytes.Cut(target, []byte(" "))
	if a, ok := answers[string(target)]; ok {
		return a
	}
	if string(target) == "/fields" {
		return answer("text/plain", string(head))
	}
	return answer("text/plain", "no such path")
}
