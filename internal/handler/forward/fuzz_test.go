package forward_test

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// FuzzAnswer lets an application answer with arbitrary bytes and close. What
// the client gets is then one well-formed response: that of the application, or
// 502, or one that is visibly cut. Where the application's answer is accepted,
// the standard library reads the same from it.
func FuzzAnswer(f *testing.F) {
	for _, answer := range []string{
		ok,
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2;a=b\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
		"HTTP/1.1 200 OK\r\n\r\nuntil close",
		"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nKeep-Alive: timeout=5\r\nContent-Length: 2\r\n\r\nok",
		"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok,
		"HTTP/1.1 204 No Content\r\n\r\n",
		"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nbytes",
		"HTTP/1.1 200 OK\r\nConnection: x-hop, close\r\nX-Hop: 1\r\nSet-Cookie: a\r\nSet-Cookie: b\r\nContent-Length: 0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\na000\r\n" + strings.Repeat("\x01", 10) + "\r\n0\r\n\r\n",
		"HTTP/1.1 200 OK\r\nContent-Length: 40960\r\n\r\n" + strings.Repeat("\x01", 10),
		"garbage\r\n\r\n",
	} {
		for kind := range byte(6) {
			f.Add([]byte(answer), kind)
		}
	}
	var answer []byte
	page := bytes.Repeat([]byte("x"), 4096)
	served := make(chan error, 1)
	r := newRig(f, func(p *peer) {
		p.r.ReadString('\n')
		p.nc.Write(answer)
		p.close()
	}, inMemory)
	r.after = func(err error) { served <- err }
	f.Fuzz(func(t *testing.T, data []byte, kind byte) {
		data = bytes.ReplaceAll(data, []byte{1}, page) // so that little input makes long bodies
		answer = data
		request := requests[int(kind)%len(requests)]
		r.channel.Close() // a pipe cannot tell what is left on it
		r.channel = r.forward.Channel(r.set)
		nc, err := r.front.(*pipes).dial(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
		client := &peer{t: t, nc: nc, r: bufio.NewReader(nc)}
		go client.send(request)
		got := make(chan []byte)
		go func() {
			all, _ := io.ReadAll(client.r)
			got <- all
		}()
		select {
		case all := <-got:
			client.close() // ends a tunnel
			failed := <-served
			method, _, _ := strings.Cut(request, " ")
			checkAnswer(t, method, all, data, failed)
		case <-time.After(hang):
			t.Fatal("the exchange hangs")
		}
	})
}

// requests are asked in turn. Each is the last of its connection.
var requests = []string{
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
	"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello",
	"POST / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
	"GET / HTTP/1.0\r\n\r\n",
	"GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade, close\r\nUpgrade: websocket\r\n\r\n",
}

// checkAnswer checks what a client got of an answer; failed is what became of
// the exchange.
func checkAnswer(t *testing.T, method string, got, answer []byte, failed error) {
	res, body, rest, err := final(method, got)
	if err != nil && res == nil {
		t.Fatalf("the client got %q: %v", got, err)
	}
	if res.StatusCode == 101 {
		return // plain bytes follow
	}
	if err == nil && len(rest) > 0 {
		t.Fatalf("the client got %q behind the response %q", rest, got)
	}
	if failed != nil {
		// Where the end of the connection is the end of the body, only a reset
		// tells, which pipes do not have.
		framed := res.ContentLength >= 0 || len(res.TransferEncoding) > 0
		if res.StatusCode != 502 && err == nil && framed {
			t.Fatalf("the client got %q, which looks whole, of %q: %v", got, answer, failed)
		}
		return
	}
	if err != nil {
		t.Fatalf("the client got %q, which is cut, of %q", got, answer)
	}
	want, wantBody, _, err := final(method, answer)
	switch {
	case err != nil:
		t.Fatalf("%q became %q, and is refused by the standard library: %v", answer, got, err)
	case want.StatusCode != res.StatusCode || !bytes.Equal(wantBody, body):
		t.Fatalf("the client got %d %q, the application said %d %q", res.StatusCode, body, want.StatusCode, wantBody)
	}
}

// final reads the final response in b, its body and what follows.
func final(method string, b []byte) (res *http.Response, body, rest []byte, err error) {
	in := bufio.NewReader(bytes.NewReader(b))
	for {
		res, err := http.ReadResponse(in, &http.Request{Method: method})
		if err != nil {
			return nil, nil, nil, err
		}
		if res.StatusCode >= 200 || res.StatusCode == 101 {
			body, err = io.ReadAll(res.Body)
			if err != nil {
				return res, body, nil, err
			}
			rest, err = io.ReadAll(in)
			return res, body, rest, err
		}
	}
}
