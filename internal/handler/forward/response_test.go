package forward_test

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

// What the client gets of a response: spec aspnetcore-module 3.5, RFC 9112
// section 6, RFC 9110 section 7.6.1. The Date is left out. reused says that the
// connection to the application carried the next exchange.
func TestResponse(t *testing.T) {
	t.Parallel()
	const get = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	const head = "HEAD / HTTP/1.1\r\nHost: a\r\n\r\n"
	const okChunked = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	long := strings.Repeat("0123456789abcdef", 5000) // 80,000 bytes
	for _, c := range []struct {
		name, request, answer, want string
		reused                      bool
		opts                        []option
	}{
		{name: "length", answer: ok, want: ok, reused: true},
		{name: "length 0", answer: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", want: "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", reused: true},
		{name: "long", answer: "HTTP/1.1 200 OK\r\nContent-Length: 80000\r\n\r\n" + long, want: "HTTP/1.1 200 OK\r\nContent-Length: 80000\r\n\r\n" + long, reused: true},
		{name: "status and reason", answer: "HTTP/1.1 418 Short and stout\r\nContent-Length: 0\r\n\r\n", want: "HTTP/1.1 418 Short and stout\r\nContent-Length: 0\r\n\r\n", reused: true},
		{name: "unknown status without a reason", answer: "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n", want: "HTTP/1.1 999 \r\nContent-Length: 0\r\n\r\n", reused: true},
		{name: "no reason, no space", answer: "HTTP/1.1 201\r\nContent-Length: 0\r\n\r\n", want: "HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", reused: true},

		{name: "fields: order, duplicates, Server",
			answer: "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nServer: Kestrel\r\nset-cookie: b=2\r\nX-A: 1\r\nVary: a\r\nVary: b\r\nWWW-Authenticate: Basic\r\nContent-Length: 2\r\nLocation: /x\r\n\r\nok",
			want:   "HTTP/1.1 200 OK\r\nSet-Cookie: a=1\r\nServer: Kestrel\r\nset-cookie: b=2\r\nX-A: 1\r\nVary: a\r\nVary: b\r\nWWW-Authenticate: Basic\r\nLocation: /x\r\nContent-Length: 2\r\n\r\nok", reused: true},
		{name: "fields: dropped",
			answer: "HTTP/1.1 200 OK\r\nDate: Thu, 01 Jan 1970 00:00:00 GMT\r\nConnection: keep-alive, x-hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=30\r\nProxy-Connection: x\r\nUpgrade: h2c\r\nTE: x\r\nX-Empty:\r\nMS-ASPNETCORE-TOKEN: x\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n",
			want:   "HTTP/1.1 200 OK\r\nX-A: 1\r\nContent-Length: 0\r\n\r\n", reused: true},
		{name: "chunked", answer: okChunked + "2\r\nok\r\n3;a=b\r\nay!\r\n0\r\n\r\n", want: okChunked + "2\r\nok\r\n3\r\nay!\r\n0\r\n\r\n", reused: true},
		{name: "chunked, empty", answer: okChunked + "0\r\n\r\n", want: okChunked + "0\r\n\r\n", reused: true},
		{name: "chunked, long", answer: okChunked + "13880\r\n" + long + "\r\n0\r\n\r\n", want: "body " + long, reused: true},
		{name: "chunked, trailers, announced",
			request: "GET / HTTP/1.1\r\nHost: a\r\nConnection: TE\r\nTE: trailers\r\n\r\n",
			answer:  "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\nContent-Length: 9\r\nSet-Cookie: a\r\n\r\n",
			want:    "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n", reused: true},
		{name: "chunked, announcement beside named fields",
			answer: "HTTP/1.1 200 OK\r\nConnection: x-hop\r\nX-Hop: 1\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n",
			want:   "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX-Sum: 1\r\n\r\n", reused: true},
		{name: "until close", answer: "HTTP/1.1 200 OK\r\n\r\nok<close>", want: okChunked + "2\r\nok\r\n0\r\n\r\n"},
		{name: "until close, HTTP/1.0 client", request: "GET / HTTP/1.0\r\n\r\n", answer: "HTTP/1.1 200 OK\r\n\r\nok<close>", want: "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok"},
		{name: "HTTP/1.0", answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok<close>", want: ok},
		{name: "HTTP/1.0, kept", answer: "HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", want: ok, reused: true},
		{name: "Connection: close", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok<close>", want: ok},
		{name: "Connection: close, and it is left open", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", want: ok},
		{name: "HTTP/1.0, and it is left open", answer: "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", want: ok},
		{name: "Connection: close, passed on", answer: "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok<close>",
			want: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok", opts: []option{passConnection}},

		{name: "HEAD", request: head, answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", want: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", reused: true},
		{name: "HEAD, chunked", request: head, answer: okChunked, want: "HTTP/1.1 200 OK\r\n\r\n", reused: true},
		{name: "HEAD, neither", request: head, answer: "HTTP/1.1 200 OK\r\n\r\n", want: "HTTP/1.1 200 OK\r\n\r\n", reused: true},
		{name: "HEAD with a body", request: head, answer: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", want: "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"},
		{name: "204", answer: "HTTP/1.1 204 No Content\r\n\r\n", want: "HTTP/1.1 204 No Content\r\n\r\n", reused: true},
		{name: "204 with a body", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nno", want: "HTTP/1.1 204 No Content\r\n\r\n"},
		{name: "204 that announces a body", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\n", want: "HTTP/1.1 204 No Content\r\n\r\n"},
		{name: "204 that announces chunks", answer: "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n", want: "HTTP/1.1 204 No Content\r\n\r\n"},
		{name: "204 that announces nothing", answer: "HTTP/1.1 204 No Content\r\nContent-Length: 0\r\n\r\n", want: "HTTP/1.1 204 No Content\r\n\r\n", reused: true},
		{name: "304 that announces chunks", answer: "HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n", want: "HTTP/1.1 304 Not Modified\r\n\r\n"},
		{name: "304", answer: "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 500\r\n\r\n", want: "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\nContent-Length: 500\r\n\r\n", reused: true},
		{name: "205", answer: "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", want: "HTTP/1.1 205 Reset Content\r\nContent-Length: 0\r\n\r\n", reused: true},

		{name: "bytes behind a response", answer: ok + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison", want: ok},
		{name: "bytes behind chunks", answer: okChunked + "0\r\n\r\nHTTP/1.1 200 OK\r\n", want: okChunked + "0\r\n\r\n"},
		{name: "bytes behind a long body", answer: "HTTP/1.1 200 OK\r\nContent-Length: 80000\r\n\r\n" + long + "HTTP/1.1 200 OK\r\n", want: "HTTP/1.1 200 OK\r\nContent-Length: 80000\r\n\r\n" + long},

		{name: "interim", answer: "HTTP/1.1 102 \r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\nConnection: x-hop\r\nX-Hop: 1\r\n\r\n" + ok,
			want: "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + ok, reused: true},
		{name: "100 that nobody waits for", answer: "HTTP/1.1 100 Continue\r\nX-A: 1\r\n\r\n" + ok, want: ok, reused: true},
		{name: "interim, HTTP/1.0 client", request: "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", answer: "HTTP/1.1 103 Early Hints\r\n\r\n" + ok,
			want: "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok", reused: true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			play, got := answers(c.answer, ok)
			r := newRig(t, play, c.opts...)
			client := r.client()
			if c.request == "" {
				c.request = get
			}
			client.send(c.request)
			if body, is := strings.CutPrefix(c.want, "body "); is {
				if _, b := client.message(); b != body {
					t.Errorf("body of %d bytes, want %d", len(b), len(body))
				}
			} else if strings.Contains(c.want, "Connection: close") {
				if all, err := client.all(); all != c.want || err != nil {
					t.Errorf("client got %q, %v; want %q", all, err, c.want)
				}
				client = r.client()
			} else {
				client.wantDateless(c.want)
			}
			client.send(get)
			client.wantDateless(ok)
			<-got
			if second := <-got; strings.HasPrefix(second, "1 ") != c.reused {
				t.Errorf("second request on connection %s, reused should be %v", second[:1], c.reused)
			}
			if errs := r.errs(); len(errs) > 0 {
				t.Errorf("error %v", errs)
			}
		})
	}
}

// wantDateless reads exactly s, leaving lines with a Date out of heads.
func (p *peer) wantDateless(s string) {
	p.t.Helper()
	inHead := true
	for rest := s; rest != ""; {
		if next, _ := p.r.Peek(1); inHead && string(next) == "D" {
			if line, _ := p.r.ReadString('\n'); !strings.HasPrefix(line, "Date: ") {
				p.fail("got %q, want %q", line, rest)
			}
			continue
		}
		_, tail, _ := strings.Cut(rest, "\n")
		line := rest[:len(rest)-len(tail)]
		p.want(line)
		rest, inHead = tail, line != "\r\n" || strings.HasPrefix(tail, "HTTP/")
	}
}

// A large head, up to the limit of the module, passes.
func TestLargeHeads(t *testing.T) {
	t.Parallel()
	const line = "X-A: 0123456789abcdef0123456789abcdef\r\n" // 39 bytes
	for _, c := range []struct {
		lines int
		split int // bytes of the first of two writes
		ok    bool
	}{
		{400, 100, true}, {440, 16 << 10, true}, {900, 17, true}, {999, 16<<10 - 1, true}, {1001, 10, false}, {1700, 10, false},
	} {
		t.Run(strconv.Itoa(c.lines), func(t *testing.T) {
			t.Parallel()
			answer := "HTTP/1.1 200 OK\r\n" + strings.Repeat(line, c.lines) + "Content-Length: 2\r\n\r\nok"
			r := newRig(t, func(p *peer) {
				for p.more() {
					p.head()
					p.send(answer[:c.split])
					p.send(answer[c.split:])
				}
			})
			client := r.client()
			client.send("POST / HTTP/1.1\r\nHost: a\r\n\r\n")
			head, body := client.message()
			if got := strings.Count(head, line); c.ok && (got != c.lines || body != "ok") || !c.ok && !strings.HasPrefix(head, "HTTP/1.1 502 ") {
				t.Errorf("got %d lines and %q: %.100q", got, body, head)
			}
		})
	}
	t.Run("one field of 64 KiB", func(t *testing.T) {
		t.Parallel()
		value := strings.Repeat("v", 64<<10-len("X-A: \r\nContent-Length: 2\r\n"))
		play, _ := answers("HTTP/1.1 200 OK\r\nX-A: " + value + "\r\nContent-Length: 2\r\n\r\nok")
		r := newRig(t, play)
		client := r.client()
		client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		if head, body := client.message(); !strings.Contains(head, value) || body != "ok" {
			t.Errorf("got %.100q and %q", head, body)
		}
	})
}

// Answers that are not one HTTP/1.1 response: 502.3 while nothing was sent to
// the client, and a cut response after (spec 3.8). The codes are those of spec
// 9.2.
func TestBadAnswers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, answer string
		code         string // of the report
		step         string
		quoted       string // in the report
	}{
		{"nothing", "<close>", "0x80072EFE", "read response head", ""},
		{"reset", "<reset>", "0x80072EFE", "read response head", ""},
		{"half a head", "HTTP/1.1 200 OK\r\nContent-<close>", "0x80072EFE", "read response head", ""},
		{"another protocol", "SSH-2.0-OpenSSH_9.2\r\n\r\n", "0x80072F78", "read response head", `"SSH-2.0-OpenSSH_9.2\r\n\r\n"`},
		{"binary", "\x15\x03\x03\x00\x02\x02\x0a\x0a", "0x80072F78", "read response head", `"\x15\x03\x03\x00\x02\x02\n\n"`},
		{"a line without end", strings.Repeat("x", 20000), "0x80072F78", "read response head", strings.Repeat("x", 64)},
		{"bare line feeds", "HTTP/1.1 200 OK\nContent-Length: 0\n\n", "0x80072F78", "read response head", ""},
		{"no version", "200 OK\r\n\r\n", "0x80072F78", "read response head", ""},
		{"HTTP/2", "HTTP/2.0 200 OK\r\n\r\n", "0x80072F78", "read response head", ""},
		{"bad status", "HTTP/1.1 2x0 OK\r\n\r\n", "0x80072F78", "read response head", ""},
		{"status below 100", "HTTP/1.1 099 OK\r\n\r\n", "0x80072F78", "read response head", ""},
		{"bad field", "HTTP/1.1 200 OK\r\nbad field: 1\r\n\r\n", "0x80072F78", "read response head", ""},
		{"folded field", "HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\n\r\n", "0x80072F78", "read response head", ""},
		{"NUL in a field", "HTTP/1.1 200 OK\r\nX-A: 1\x002\r\n\r\n", "0x80072F78", "read response head", ""},
		{"two framings", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "0x80072F78", "read response head", ""},
		{"two lengths", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello", "0x80072F78", "read response head", ""},
		{"bad length", "HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\nhello", "0x80072F78", "read response head", ""},
		{"another coding", "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n", "0x80072F78", "read response head", ""},
		{"chunked in HTTP/1.0", "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "0x80072F78", "read response head", ""},
		{"upgrade that nobody asked for", "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n", "0x80072F78", "read response head", ""},
		{"interim for ever", strings.Repeat("HTTP/1.1 102 Processing\r\n\r\n", 70), "0x80072F78", "read response head", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			play, _ := answers(c.answer)
			r := newRig(t, play)
			client := r.client()
			client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
			head := client.head()
			for strings.HasPrefix(head, "HTTP/1.1 102 ") {
				head = client.head()
			}
			if !strings.HasPrefix(head, "HTTP/1.1 502 ") {
				t.Errorf("client got %q, want 502", head)
			}
			e, f := r.failure()
			if e.Status != 502 || e.SubStatus != 3 || e.Resend || f == nil {
				t.Fatalf("error %v (resend %v), want 502.3", e, e.Resend)
			}
			report := f.Report()
			facts := map[string]string{}
			for _, fact := range report.Facts {
				facts[fact.Name] = fact.Value
			}
			if report.Step != c.step || facts["Code"] != c.code || facts["Side"] != "application" || facts["Address"] != f.Address ||
				facts["Cause"] == "" || !strings.Contains(facts["Answer"], c.quoted) || report.Title == "" || len(report.Advice) == 0 {
				t.Errorf("report %+v, want step %q, code %s and the answer", report, c.step, c.code)
			}
		})
	}
}

// A body that ends too early cuts the response where the client can see it.
func TestShortBodies(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\n"
	half := strings.Repeat("x", 50000)
	for name, answer := range map[string]string{
		"length":           head + "Content-Length: 5\r\n\r\nabc<close>",
		"length, no byte":  head + "Content-Length: 5\r\n\r\n<close>",
		"length, reset":    head + "Content-Length: 5\r\n\r\nabc<reset>",
		"long":             head + "Content-Length: 100000\r\n\r\n" + half + "<close>",
		"long, reset":      head + "Content-Length: 100000\r\n\r\n" + half + "<reset>",
		"chunk":            head + "Transfer-Encoding: chunked\r\n\r\n5\r\nabc<close>",
		"long chunk":       head + "Transfer-Encoding: chunked\r\n\r\n186a0\r\n" + half + "<close>",
		"no last chunk":    head + "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n<close>",
		"half a trailer":   head + "Transfer-Encoding: chunked\r\n\r\n0\r\nX-A: 1\r\n<close>",
		"bad chunk size":   head + "Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\nzz\r\n",
		"bad chunk end":    head + "Transfer-Encoding: chunked\r\n\r\n5\r\nabcdefg\r\n0\r\n\r\n",
		"huge chunk size":  head + "Transfer-Encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
		"endless trailer":  head + "Transfer-Encoding: chunked\r\n\r\n0\r\n" + strings.Repeat("X-A: 1\r\n", 20000),
		"until close, cut": head + "\r\nabc<reset>",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			play, _ := answers(answer)
			r := newRig(t, play)
			client := r.client()
			client.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
			all, err := client.all()
			e, f := r.failure()
			if e.Status != 502 || e.SubStatus != 3 || f == nil {
				t.Fatalf("error %v, want 502.3", e)
			}
			if e.Resend {
				t.Error("may be sent again although a part of it was answered")
			}
			whole := strings.HasPrefix(all, "HTTP/1.1 200 ") && strings.HasSuffix(all, "\r\n0\r\n\r\n") ||
				strings.Contains(all, "Content-Length: 5\r\n") && strings.HasSuffix(all, "\r\n\r\nabcde")
			if whole || isTimeout(err) {
				t.Errorf("the client got %.200q and %v, which looks whole", all, err)
			}
			if code := f.Report().Facts; !strings.HasPrefix(code[len(code)-1].Value, "0x80072F78") {
				t.Errorf("report %+v, want the code of a bad response", code)
			}
		})
	}
}

func TestFailureTellsPhaseSideAndCause(t *testing.T) {
	t.Parallel()
	play, _ := answers("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nabc<close>")
	r := newRig(t, play)
	client := r.client()
	client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	client.all()
	e, f := r.failure()
	want := "forward: 502.3: read response body (application, " + f.Address + "): unexpected EOF"
	if e.Error() != want || !errors.Is(e, io.ErrUnexpectedEOF) {
		t.Errorf("error %q, want %q", e.Error(), want)
	}
	var _ exchange.Reporter = f
}
