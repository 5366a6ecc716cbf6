package http1

import (
	"bytes"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

// scanIn finds a head that arrives in pieces of step bytes.
func scanIn(b []byte, step int) (int, error) {
	var s Scanner
	for end := min(step, len(b)); ; end = min(end+step, len(b)) {
		n, err := s.Scan(b[:end], &limits)
		if n > 0 || err != nil || end == len(b) {
			return n, err
		}
	}
}

// requestSeeds are heads of every kind, most of them refused for another
// reason each.
func requestSeeds() []string {
	seeds := []string{
		"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"POST /a%2fb/../c?d%zz HTTP/1.1\r\nHost: [::1]:80\r\nTransfer-Encoding: chunked\r\nConnection: x, close\r\nX: y\r\n\r\nrest",
		"GET http://A:80/b HTTP/1.0\r\nHost: a\r\nContent-Length: 0\r\nExpect: 100-continue\r\n\r\n",
		"GET https://[::1]?x HTTP/1.0\r\n\r\n",
		"OPTIONS * HTTP/1.1\r\nHost:\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
		"PUT //x\\y HTTP/1.0\r\nContent-Length: 3\r\nConnection: keep-alive\r\n\r\n",
		"GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n",
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
		"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
		"GET / HTTP/1.1\nHost: a\n\n",
		"\r\n\r\n",
	}
	for _, field := range []string{
		"Content-Length: 007", "Content-Length: 5\r\nContent-Length: 5", "Content-Length: +5", "Content-Length: 5, 5",
		"Content-Length: 99999999999999999999", "Transfer-Encoding: Chunked", "Transfer-Encoding: gzip, chunked",
		"Transfer-Encoding: chunked\r\nContent-Length: 5", "Transfer-Encoding: \x0bchunked", "Transfer-Encoding : chunked",
		"X: a\r\n b", "X: a\rb", "X: \x80\t\xff", "X:", "X", ": x", "Host: b", "Connection: close, ,keep-alive\r\nKeep-Alive: 5",
	} {
		seeds = append(seeds, "POST /x HTTP/1.1\r\nHost: a\r\n"+field+"\r\n\r\n")
	}
	return seeds
}

// A request head is found and judged alike however it arrives, and what is
// accepted can be written down again without a change of meaning.
func FuzzRequest(f *testing.F) {
	for i, s := range requestSeeds() {
		f.Add([]byte(s), uint8(i))
	}
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		n, err := scanIn(b, len(b)+1)
		if n2, err2 := scanIn(b, int(step)+1); n2 != n || err2 != err {
			t.Fatalf("at once %d, %v; by %d: %d, %v", n, err, int(step)+1, n2, err2)
		}
		if n == 0 {
			return
		}
		var r exchange.Request
		var fr Framing
		if _, err := ParseRequest(b[:n], &r, &fr, nil); err != nil {
			return
		}
		if fr.Chunked && fr.Length >= 0 {
			t.Fatal("two framings")
		}
		for i := range r.Header.Fields {
			fd := &r.Header.Fields[i]
			if !ValidField(fd.Name, fd.Value) {
				t.Fatalf("field %q: %q", fd.Name, fd.Value)
			}
		}
		checkTarget(t, &r.Target)
		again := AppendRequestLine(nil, r.Method, r.Target.Forward, r.Target.Query, r.Target.HasQuery)
		if r.Proto == exchange.HTTP10 && r.Host == nil {
			again = append(again, "Host:\r\n"...)
		} else if r.Proto == exchange.HTTP10 && !r.Header.Has(exchange.Host) {
			again = AppendField(again, []byte("Host"), r.Host)
		}
		again = append(AppendFields(again, &r.Header), "\r\n"...)
		var r2 exchange.Request
		var fr2 Framing
		if _, err := ParseRequest(again, &r2, &fr2, nil); err != nil {
			t.Fatalf("written again as %q: %v", again, err)
		}
		if r2.Method != r.Method || r2.Length != r.Length || !bytes.Equal(r2.Host, r.Host) || !bytes.Equal(r2.Target.Path, r.Target.Path) ||
			!bytes.Equal(r2.Target.Query, r.Target.Query) || r2.Target.HasQuery != r.Target.HasQuery {
			t.Fatalf("written again, it says something else: %q", again)
		}
	})
}

// checkTarget holds what stages rely on.
func checkTarget(t *testing.T, g *exchange.Target) {
	t.Helper()
	if string(g.Raw) == "*" {
		return
	}
	p := string(g.Path)
	if !strings.HasPrefix(p, "/") || strings.Contains(p, "//") || strings.ContainsRune(p, '\\') ||
		strings.Contains(p+"/", "/../") || strings.Contains(p+"/", "/./") {
		t.Fatalf("path %q", p)
	}
	for i := range len(p) {
		if p[i] < 0x20 || p[i] == 0x7f {
			t.Fatalf("path %q holds a control character", p)
		}
	}
	for _, c := range g.Forward {
		if classes[c]&classTarget == 0 || c == '?' {
			t.Fatalf("forward %q is no path", g.Forward)
		}
	}
	if g.HiddenSlash {
		s := string(g.Separated)
		if !strings.HasPrefix(s, "/") || strings.Contains(s, "//") || strings.Contains(s+"/", "/../") || strings.Contains(s+"/", "/./") {
			t.Fatalf("separated %q", s)
		}
	}
}

// A path that was normalised once is normal: the one who gets Forward sees
// the path that was judged.
func FuzzTarget(f *testing.F) {
	for _, s := range []string{"/", "/a/../b", "/a%2f../b", "//a\\b", "/%2e%2e/x", "/%c2%85", "/a/./b/..?c", "/%25%32%65/%5c..%2f", "/.a/..b/...", "/a//../.."} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, raw string) {
		if !strings.HasPrefix(raw, "/") {
			return
		}
		for i := range len(raw) {
			if classes[raw[i]]&classTarget == 0 {
				return
			}
		}
		var g exchange.Target
		if _, err := normalise([]byte(raw), &g, nil); err != nil {
			return
		}
		g.Raw = []byte(raw)
		checkTarget(t, &g)
		var again exchange.Target
		if _, err := normalise(g.Forward, &again, []byte("scratch")); err != nil {
			t.Fatalf("forward %q: %v", g.Forward, err)
		}
		if !bytes.Equal(again.Path, g.Path) || !bytes.Equal(again.Forward, g.Forward) {
			t.Fatalf("forward %q: path %q, forward %q, was path %q", g.Forward, again.Path, again.Forward, g.Path)
		}
		if again.HiddenSlash && !bytes.Equal(again.Separated, g.Separated) {
			t.Fatalf("separated %q, was %q", again.Separated, g.Separated)
		}
		decoded, _, err := decode(nil, g.Forward)
		if err != nil || !bytes.Equal(decoded, g.Path) {
			t.Fatalf("forward %q decodes to %q, path %q, %v", g.Forward, decoded, g.Path, err)
		}
	})
}

func FuzzResponse(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"), uint8(1))
	f.Add([]byte("HTTP/1.0 304\r\nConnection: keep-alive, x\r\nKeep-Alive: timeout=5, max=1\r\nX: y\r\n\r\n"), uint8(4))
	f.Add([]byte("HTTP/1.1 101 Switching\r\nTransfer-Encoding: chunked\r\nUpgrade: websocket\r\n\r\n"), uint8(2))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		n, err := scanIn(b, len(b)+1)
		if n2, err2 := scanIn(b, int(step)+1); n2 != n || err2 != err {
			t.Fatalf("at once %d, %v; by %d: %d, %v", n, err, int(step)+1, n2, err2)
		}
		if n == 0 {
			return
		}
		var r ResponseHead
		if ParseResponse(b[:n], &r) != nil {
			return
		}
		if r.Status < 100 || r.Status > 999 || r.Chunked && r.Length >= 0 || r.KeepAliveTimeout < 0 {
			t.Fatalf("%+v", r)
		}
		StripHopByHop(&r.Header, &r.Framing)
		head := append(AppendFields(AppendStatusLine(nil, r.Status, r.Reason), &r.Header), "\r\n"...)
		var again ResponseHead
		if err := ParseResponse(head, &again); err != nil {
			t.Fatalf("written again as %q: %v", head, err)
		}
		if again.Status != r.Status || again.Chunked || again.Length >= 0 || again.Named || len(again.Header.Fields) != len(r.Header.Fields) {
			t.Fatalf("%q still concerns one connection", head)
		}
	})
}

// A chunked body says the same however it arrives, and encoding what was
// decoded gives it again.
func FuzzChunked(f *testing.F) {
	f.Add([]byte("5\r\nhello\r\n0\r\n\r\nrest"), uint8(1))
	f.Add([]byte("5;a=b;c=\"d\"\r\nhello\r\n00\r\nA: 1\r\nB: 2\r\n\r\n"), uint8(2))
	f.Add([]byte("a\r\n0123456789\r\n1 ;x\r\n \r\n0\r\nContent-Length: 3\r\n\r\n"), uint8(6))
	f.Fuzz(func(t *testing.T, b []byte, step uint8) {
		data, trailer, used, err := dechunk(string(b), len(b)+1)
		data2, trailer2, used2, err2 := dechunk(string(b), int(step)+1)
		if data2 != data || trailer2 != trailer || used2 != used || err2 != err {
			t.Fatalf("at once %q %q %d %v; by %d %q %q %d %v", data, trailer, used, err, int(step)+1, data2, trailer2, used2, err2)
		}
		if err != nil {
			return
		}
		var encoded []byte
		if data != "" {
			encoded = AppendChunk(nil, []byte(data))
		}
		data2, _, used, err = dechunk(string(AppendLastChunk(encoded, nil)), 1<<20)
		if data2 != data || err != nil {
			t.Fatalf("encoded again: %q, %v after %d bytes, was %q", data2, err, used, data)
		}
	})
}
