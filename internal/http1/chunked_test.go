package http1

import (
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

// dechunk decodes a body that arrives in pieces of at most step bytes, as a
// driver does. It returns the data, the trailer as text, how many bytes the
// body took and how it ended; CutShort if text ends before the body.
func dechunk(text string, step int) (data, trailer string, used int, err error) {
	var c Chunked
	var h exchange.Header
	var out strings.Builder
	b := []byte(text)
	end := min(step, len(b))
	for !c.Done() {
		d, n, err := c.Next(b[used:end], &h, &limits)
		if err != nil {
			return out.String(), "", used, err
		}
		out.Write(d)
		used += n
		if n > 0 || c.Done() {
			continue
		}
		if end == len(b) {
			return out.String(), "", used, CutShort
		}
		end = min(end+step, len(b))
	}
	return out.String(), string(AppendFields(nil, &h)), used, nil
}

func TestChunked(t *testing.T) {
	t.Parallel()
	// RFC 9112 section 7.1; spec app-side 1.12.
	long := strings.Repeat("a", maxChunkLine)
	tests := []struct {
		body    string
		data    string
		trailer string
		want    error
	}{
		{"0\r\n\r\n", "", "", nil},
		{"5\r\nhello\r\n0\r\n\r\n", "hello", "", nil},
		{"5\r\nhello\r\n1\r\n \r\n5\r\nworld\r\n0\r\n\r\n", "hello world", "", nil},
		{"A\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", nil},
		{"a\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", nil},
		{"0005\r\nhello\r\n000\r\n\r\n", "hello", "", nil},
		{"2\r\n\r\n\r\n0\r\n\r\n", "\r\n", "", nil},
		{"0\r\nA: 1\r\nB: 2\r\n\r\n", "", "A: 1\r\nB: 2\r\n", nil},
		// 60 bits is the most that is read; it is not there, but announced.
		{"fffffffffffffff\r\nx", "x", "", CutShort},
		{"1ffffffffffffffff\r\nx", "", "", BadChunkSize},
		{"0000000000000005\r\nhello", "", "", BadChunkSize},

		{"", "", "", CutShort},
		{"5", "", "", CutShort},
		{"5\r", "", "", CutShort},
		{"5\r\nhel", "hel", "", CutShort},
		{"5\r\nhello", "hello", "", CutShort},
		{"5\r\nhello\r", "hello", "", CutShort},
		{"5\r\nhello\r\n", "hello", "", CutShort},
		{"0\r\n", "", "", CutShort},
		{"0\r\nA: 1\r\n", "", "", CutShort},

		{"\r\n5\r\nhello\r\n", "", "", BadChunkSize},
		{" 5\r\nhello\r\n", "", "", BadChunkSize},
		{"5 \r\nhello\r\n", "", "", BadChunkSize},
		{"5\t\r\nhello\r\n", "", "", BadChunkSize},
		{"+5\r\nhello\r\n", "", "", BadChunkSize},
		{"-5\r\nhello\r\n", "", "", BadChunkSize},
		{"0x5\r\nhello\r\n", "", "", BadChunkSize},
		{"5h\r\nhello\r\n", "", "", BadChunkSize},
		{"g\r\n", "", "", BadChunkSize},
		{";a\r\n", "", "", BadChunkSize},
		{"5_0\r\n", "", "", BadChunkSize},
		{"5\nhello\r\n", "", "", BadLineEnd},
		{"5\rhello\r\n", "", "", BadChunkSize},
		{"5\r\r\nhello\r\n", "", "", BadChunkSize},
		{"\n", "", "", BadChunkSize},

		{"5\r\nhello\n0\r\n\r\n", "hello", "", BadChunkEnd},
		{"5\r\nhello\r0\r\n\r\n", "hello", "", BadChunkEnd},
		{"5\r\nhelloo\r\n0\r\n\r\n", "hello", "", BadChunkEnd},
		{"5\r\nhello0\r\n\r\n", "hello", "", BadChunkEnd},
		{"4\r\nhello\r\n0\r\n\r\n", "hell", "", BadChunkEnd},
		{"5\r\nhello\x00\n0\r\n\r\n", "hello", "", BadChunkEnd},

		{"5;a\r\nhello\r\n0\r\n\r\n", "hello", "", nil},
		{"5;a=b\r\nhello\r\n0;c\r\n\r\n", "hello", "", nil},
		{"5 ; a = b ; c=\"d e\\\"f\"\r\nhello\r\n0\r\n\r\n", "hello", "", nil},
		{"5;a=\"\"\r\nhello\r\n0\r\n\r\n", "hello", "", nil},
		{"5;\r\nhello\r\n", "", "", BadChunkExtension},
		{"5;;a\r\nhello\r\n", "", "", BadChunkExtension},
		{"5;a \r\nhello\r\n", "", "", BadChunkExtension},
		{"5;a=b \r\nhello\r\n", "", "", BadChunkExtension},
		{"5;a=\r\nhello\r\n", "", "", BadChunkExtension},
		{"5;a=b c\r\nhello\r\n", "", "", BadChunkExtension},
		{"5;=b\r\nhello\r\n", "", "", BadChunkExtension},
		{"5;a=\"b\r\nhello\r\n", "", "", BadChunkExtension},
		{"5;a=\"b\\\r\nhello\r\n", "", "", BadChunkExtension},
		{"5;a=\"b\"c\r\nhello\r\n", "", "", BadChunkExtension},
		{"5;a\rb\r\nhello\r\n", "", "", BadChunkExtension},
		{"5;a\nhello\r\n", "", "", BadLineEnd}, // CVE-2025-55315
		{"5;a=\"b\nc\"\r\nhello\r\n", "", "", BadLineEnd},
		{"5;a=\"\x01\"\r\nhello\r\n", "", "", BadChunkExtension},
		{"5;" + long + "\r\n", "", "", ChunkLineTooLong},
		{"5;" + long, "", "", ChunkLineTooLong},

		{"0\r\n A: 1\r\n\r\n", "", "", FoldedField},
		{"0\r\nA : 1\r\n\r\n", "", "", BadFieldName},
		{"0\r\nA: 1\n\r\n", "", "", BadLineEnd},
		{"0\r\nA: 1\r\n\n", "", "", BadLineEnd},
		{"0\r\n\n", "", "", BadLineEnd},
		{"0\r\nA: \x00\r\n\r\n", "", "", BadFieldValue},
		{"0\r\nGET / HTTP/1.1\r\n\r\n", "", "", BadFieldName},
		{"0\r\n" + strings.Repeat("A: 1\r\n", limits.Count+1) + "\r\n", "", "", TooManyFields},
		{"0\r\nA: " + strings.Repeat("a", limits.Fields) + "\r\n\r\n", "", "", FieldsTooLarge},
		{"0\r\nA: " + strings.Repeat("a", limits.Fields), "", "", FieldsTooLarge},
	}
	for _, tt := range tests {
		for _, step := range []int{1 << 20, 1, 2, 5} {
			data, trailer, _, err := dechunk(tt.body, step)
			if err != tt.want || trailer != tt.trailer {
				t.Errorf("%.60q by %d: trailer %q, %v, want %q, %v", tt.body, step, trailer, err, tt.trailer, tt.want)
			}
			if data != tt.data {
				t.Errorf("%.60q by %d: data %q, want %q", tt.body, step, data, tt.data)
			}
		}
	}
}

// A trailer section may be as large as the fields of a head.
func TestTrailerAtTheLimit(t *testing.T) {
	t.Parallel()
	body := "0\r\nA: " + strings.Repeat("a", limits.Fields-len("A: \r\n")) + "\r\n\r\n"
	if _, trailer, _, err := dechunk(body, 1<<20); err != nil || len(trailer) != limits.Fields {
		t.Errorf("%d bytes of trailer, %v", len(trailer), err)
	}
}

// What follows a body is the next request: not a byte of it may be taken.
func TestChunkedEndsWhereItEnds(t *testing.T) {
	t.Parallel()
	const body = "5\r\nhello\r\n0\r\nA: 1\r\n\r\n"
	for _, step := range []int{1 << 20, 1, 3} {
		_, _, used, err := dechunk(body+"GET / HTTP/1.1\r\n\r\n", step)
		if err != nil || used != len(body) {
			t.Errorf("by %d: took %d bytes of %d, %v", step, used, len(body), err)
		}
	}
}

func TestChunkedSkip(t *testing.T) {
	t.Parallel()
	var c Chunked
	if _, n, err := c.Next([]byte("5\r\n"), nil, nil); n != 3 || err != nil || c.Left() != 5 {
		t.Fatalf("%d, %v, left %d", n, err, c.Left())
	}
	c.Skip(2)
	if c.Left() != 3 {
		t.Errorf("left %d", c.Left())
	}
	c.Skip(3)
	if _, _, err := c.Next([]byte("xx"), nil, nil); c.Left() != 0 || err != BadChunkEnd {
		t.Errorf("left %d, then %v", c.Left(), err)
	}
	c.Reset()
	var h exchange.Header
	if _, n, err := c.Next([]byte("0\r\n"), &h, &limits); n != 3 || err != nil || !c.InTrailer() || c.Done() {
		t.Errorf("%d, %v, in trailer %v, done %v", n, err, c.InTrailer(), c.Done())
	}
}

func TestTrailerAllowed(t *testing.T) {
	t.Parallel()
	// RFC 9110 section 6.5.1: nothing that frames, routes, authenticates or
	// changes how the message is read.
	for name, want := range map[string]bool{
		"Content-Length": false, "transfer-encoding": false, "Host": false, "Authorization": false,
		"Cookie": false, "X-Forwarded-For": false, "MS-ASPNETCORE-TOKEN": false, "Content-Type": false,
		"Grpc-Status": true, "Server-Timing": true, "ETag": true,
	} {
		if got := TrailerAllowed(exchange.LookupField([]byte(name))); got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
