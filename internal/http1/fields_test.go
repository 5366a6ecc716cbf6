package http1

import (
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

func TestFields(t *testing.T) {
	t.Parallel()
	// RFC 9110 sections 5.1 and 5.5, RFC 9112 section 5.
	tests := []struct {
		line  string
		name  string
		value string
		want  error
	}{
		{"Accept: a", "Accept", "a", nil},
		{"accept:a", "accept", "a", nil},
		{"Accept:\t  a b\t ", "Accept", "a b", nil},
		{"Accept:", "Accept", "", nil},
		{"Accept: :", "Accept", ":", nil},
		{"X_Y: a", "X_Y", "a", nil},
		{"!#$%&'*+-.^_`|~: a", "!#$%&'*+-.^_`|~", "a", nil},
		{"X: \x80\xff", "X", "\x80\xff", nil}, // obs-text
		{"X: a\tb", "X", "a\tb", nil},
		{"Accept : a", "", "", BadFieldName},
		{"Accept\t: a", "", "", BadFieldName},
		{": a", "", "", BadFieldName},
		{"Accept", "", "", BadFieldName},
		{"Acc ept: a", "", "", BadFieldName},
		{"Acc\x00ept: a", "", "", BadFieldName},
		{"Acc\xc3\xa4: a", "", "", BadFieldName},
		{"(x): a", "", "", BadFieldName},
		{"X/Y: a", "", "", BadFieldName},
		{" folded", "", "", FoldedField},
		{"\tfolded: a", "", "", FoldedField},
		{" ", "", "", FoldedField},
		{"X: a\x00b", "", "", BadFieldValue},
		{"X: a\x0bb", "", "", BadFieldValue},
		{"X: a\x7fb", "", "", BadFieldValue},
		{"X: \x01", "", "", BadFieldValue},
		{"X: a\x1b[31m", "", "", BadFieldValue},
	}
	for _, tt := range tests {
		var h exchange.Header
		var f Framing
		err := parseFields([]byte(tt.line+"\r\n\r\n"), &h, &f)
		if err != tt.want {
			t.Errorf("%q: %v, want %v", tt.line, err, tt.want)
			continue
		}
		if err == nil && (string(h.Fields[0].Name) != tt.name || string(h.Fields[0].Value) != tt.value) {
			t.Errorf("%q: %q, %q", tt.line, h.Fields[0].Name, h.Fields[0].Value)
		}
	}
}

func TestFieldsKeepOrderAndRepeats(t *testing.T) {
	t.Parallel()
	var h exchange.Header
	var f Framing
	err := parseFields([]byte("B: 1\r\nAccept: 2\r\nb: 3\r\nCookie: 4\r\nCookie: 5\r\n\r\n"), &h, &f)
	if err != nil {
		t.Fatal(err)
	}
	got := string(AppendFields(nil, &h))
	if want := "B: 1\r\nAccept: 2\r\nb: 3\r\nCookie: 4\r\nCookie: 5\r\n"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if h.Fields[1].ID != exchange.Accept || h.Fields[0].ID != exchange.Other {
		t.Errorf("numbers %d, %d", h.Fields[0].ID, h.Fields[1].ID)
	}
}

// Every byte value, at every place of the eight that are looked at together.
func TestValidValueAtEveryPlace(t *testing.T) {
	t.Parallel()
	for c := range 256 {
		want := c == '\t' || c >= 0x20 && c != 0x7f
		for length := 1; length <= 20; length++ {
			for at := range length {
				for _, fill := range []byte{'a', 0x20, 0x80, 0xff} {
					v := []byte(strings.Repeat(string([]byte{fill}), length))
					v[at] = byte(c)
					if validValue(v) != want {
						t.Fatalf("%q: %v", v, !want)
					}
				}
			}
		}
	}
}

func TestStripHopByHop(t *testing.T) {
	t.Parallel()
	// RFC 9110 section 7.6.1.
	tests := []struct{ fields, want string }{
		{"A: 1\r\nB: 2\r\n", "A: 1\r\nB: 2\r\n"},
		{"Connection: close\r\nA: 1\r\n", "A: 1\r\n"},
		{"Keep-Alive: 5\r\nProxy-Connection: x\r\nTE: trailers\r\nTrailer: x\r\nUpgrade: y\r\nContent-Length: 3\r\nA: 1\r\n", "A: 1\r\n"},
		{"Transfer-Encoding: chunked\r\nA: 1\r\n", "A: 1\r\n"},
		{"A: 1\r\nConnection: x-one, X-TWO\r\nX-One: 1\r\nx-two: 2\r\nX-Three: 3\r\nx-one: 4\r\n", "A: 1\r\nX-Three: 3\r\n"},
		{"X-One: 1\r\nA: 1\r\nConnection: close\r\nConnection: x-one\r\nB: 2\r\n", "A: 1\r\nB: 2\r\n"},
		{"Connection: a, b, c\r\na: 1\r\nb: 2\r\nc: 3\r\n", ""},
		{"a: 1\r\nX: 1\r\nb: 2\r\nConnection: a\r\nConnection: b\r\nb: 3\r\na: 4\r\n", "X: 1\r\n"},
		{"Host: a\r\nConnection: host\r\n", "Host: a\r\n"},
		{"Connection: x-on\r\nX-One: 1\r\n", "X-One: 1\r\n"},
	}
	for _, tt := range tests {
		var h exchange.Header
		var f Framing
		if err := parseFields([]byte(tt.fields+"\r\n"), &h, &f); err != nil {
			t.Fatal(err)
		}
		if NamesFields(&h) != f.Named {
			t.Errorf("%q: NamesFields %v, Framing.Named %v", tt.fields, !f.Named, f.Named)
		}
		StripHopByHop(&h, &f)
		if got := string(AppendFields(nil, &h)); got != tt.want {
			t.Errorf("%q: left %q, want %q", tt.fields, got, tt.want)
		}
	}
}

func TestListHas(t *testing.T) {
	t.Parallel()
	tests := []struct {
		list, element string
		want          bool
	}{
		{"trailers", "trailers", true},
		{"gzip;q=0.5, Trailers", "trailers", true},
		{"trailers ;q=1", "trailers", true},
		{"xtrailers", "trailers", false},
		{"", "trailers", false},
		{",,", "trailers", false},
	}
	for _, tt := range tests {
		if got := ListHas([]byte(tt.list), tt.element); got != tt.want {
			t.Errorf("%q in %q: %v", tt.element, tt.list, got)
		}
	}
}
