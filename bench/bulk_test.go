package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// What the bulk client counts is what was answered whole.
func TestBulk(t *testing.T) {
	t.Parallel()
	const size = 300 << 10
	for name, c := range map[string]struct {
		send   int
		answer string // to every request
		bad    string // part of the error; empty: all is well
	}{
		"down": {answer: "HTTP/1.1 200 OK\r\nContent-Length: 307200\r\n\r\n" + strings.Repeat("x", size)},
		"up":   {send: size, answer: "HTTP/1.1 200 OK\r\nContent-Length: 307200\r\n\r\n" + strings.Repeat("x", size)},
		"bad":  {answer: "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n", bad: "502"},
		"cut":  {answer: "HTTP/1.1 200 OK\r\nContent-Length: 307200\r\n\r\nxxx", bad: "307197 bytes missing"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			seen := make(chan int64, 1000)
			go answerAll(l, c.answer, c.bad != "", seen)
			b := &bench{static: t.TempDir()}
			if err := writeFiller(filepath.Join(b.static, "10m.bin"), size); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			var k bulkClient
			done := make(chan struct{})
			go func() {
				defer close(done)
				k.run(ctx, testCase{path: "/", reply: size, send: c.send}, l.Addr().String(), filepath.Join(b.static, "10m.bin"))
			}()
			if c.bad == "" {
				for range 5 {
					if n := <-seen; n != int64(c.send) {
						t.Errorf("%d bytes were sent, want %d", n, c.send)
					}
				}
				cancel()
			}
			<-done
			switch {
			case c.bad == "" && (k.err != nil || len(k.took) < 4):
				t.Errorf("%d answers, %v", len(k.took), k.err)
			case c.bad != "" && (k.err == nil || !strings.Contains(k.err.Error(), c.bad) || len(k.took) > 0):
				t.Errorf("%d answers, error %v, want one with %q", len(k.took), k.err, c.bad)
			}
		})
	}
}

// answerAll answers every request on every connection with the same bytes, and
// tells how long the bodies were.
func answerAll(l net.Listener, answer string, once bool, seen chan<- int64) {
	for {
		nc, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer nc.Close()
			in := bufio.NewReader(nc)
			for {
				r, err := http.ReadRequest(in)
				if err != nil {
					return
				}
				n, _ := io.Copy(io.Discard, r.Body)
				seen <- n
				if fmt.Fprint(nc, answer); once {
					return
				}
			}
		}()
	}
}
