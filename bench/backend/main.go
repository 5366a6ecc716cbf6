// Command backend is the application behind the proxies of the bench. It
// answers as cheaply as an application can, so that what is measured is the
// proxy:
//
//	/                     122 bytes of HTML, with six header fields
//	/65536, /1048576      so many bytes, out of the page cache
//	/upload               the body is dropped up to its end, then as /
//	/fields               the head of the request as it came
//
// It listens on 127.0.0.1 and the port in PORT, as Perch tells it.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"log"
	"net"
	"os"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/perchserver/perch/internal/sockio"
)

func main() {
	lc := net.ListenConfig{Control: sockio.PrepareLocal} // or it would send with timers
	lc.SetMultipathTCP(false)
	l, err := lc.Listen(context.Background(), "tcp", net.JoinHostPort("127.0.0.1", os.Getenv("PORT")))
	if err != nil {
		log.Fatal(err)
	}
	large, err := store(largest)
	if err != nil {
		log.Fatal(err)
	}
	for {
		c, err := l.Accept()
		if err != nil {
			log.Fatal(err)
		}
		go serve(c.(*net.TCPConn), large)
	}
}

// largest is the longest body, filler what large ones consist of.
const (
	largest = 1 << 20
	filler  = "perch on"
)

// reply is a complete response. Behind data, so many bytes of the store follow.
type reply struct {
	data   []byte
	behind int
}

// page is what / answers.
var page = answer("text/html", strings.Repeat("<p>Perch</p>\n", 9)+"12345")

// answers are the responses by request target.
var answers = map[string]reply{
	"/":        page,
	"/upload":  page,
	"/65536":   {head("application/octet-stream", 65536), 65536},
	"/1048576": {head("application/octet-stream", largest), largest},
}

func answer(kind, body string) reply { return reply{data: append(head(kind, len(body)), body...)} }

func head(kind string, length int) []byte {
	return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nServer: backend\r\nDate: Thu, 01 Jan 2026 00:00:00 GMT\r\nContent-Type: %s\r\n"+
		"Content-Length: %d\r\nConnection: keep-alive\r\nCache-Control: no-store\r\n\r\n", kind, length)
}

// store returns a file in memory with so many bytes, so that sending them copies
// nothing.
func store(size int) (fd int, err error) {
	if fd, err = unix.MemfdCreate("store", unix.MFD_CLOEXEC); err != nil {
		return -1, err
	}
	_, err = unix.Write(fd, bytes.Repeat([]byte(filler), size/len(filler)))
	return fd, err
}

// A conn answers the requests of one connection.
type conn struct {
	*net.TCPConn
	raw   syscall.RawConn
	in    *bufio.Reader
	store int
}

// serve answers until the connection ends.
func serve(nc *net.TCPConn, store int) {
	defer nc.Close()
	raw, err := nc.SyscallConn()
	if err != nil {
		return
	}
	c := conn{nc, raw, bufio.NewReaderSize(nc, 16<<10), store}
	for err == nil {
		err = c.exchange()
	}
}

func (c *conn) exchange() error {
	head, err := readHead(c.in)
	if err != nil {
		return err
	}
	r, body := choose(head), bodyLength(head)
	if err := c.drop(body); err != nil { // head is gone
		return err
	}
	if r.behind == 0 {
		_, err := c.Write(r.data)
		return err
	}
	return c.send(r)
}

// drop reads n bytes of a body. What is not in the buffer yet, the kernel drops.
func (c *conn) drop(n int) error {
	known := min(n, c.in.Buffered())
	c.in.Discard(known)
	var waste [1]byte // is not written to
	var err error
	for n -= known; n > 0 && err == nil; {
		e := c.raw.Read(func(fd uintptr) bool {
			got, _, e := syscall.Syscall6(syscall.SYS_RECVFROM, fd, uintptr(unsafe.Pointer(&waste)), uintptr(n), unix.MSG_TRUNC, 0, 0)
			switch {
			case e == syscall.EAGAIN || e == syscall.EINTR:
				return false
			case e != 0:
				err = e
			case got == 0:
				err = io.ErrUnexpectedEOF
			}
			n -= int(got)
			return true
		})
		err = cmp.Or(err, e)
	}
	return err
}

// send sends a response with a part of the store.
func (c *conn) send(r reply) (err error) {
	data, at, end := r.data, int64(0), int64(r.behind)
	e := c.raw.Write(func(fd uintptr) bool {
		for len(data) > 0 && err == nil {
			var n int
			n, err = unix.SendmsgN(int(fd), data, nil, nil, unix.MSG_MORE|unix.MSG_NOSIGNAL)
			data = data[max(n, 0):]
		}
		for at < end && err == nil {
			_, err = unix.Sendfile(int(fd), c.store, &at, int(end-at))
		}
		if err == unix.EAGAIN {
			err = nil
			return false
		}
		return true
	})
	return cmp.Or(err, e)
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

func choose(head []byte) reply {
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
