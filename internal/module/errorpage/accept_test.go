package errorpage

import (
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

func accepting(values ...string) *exchange.Header {
	h := &exchange.Header{}
	for _, v := range values {
		h.AddName([]byte("Accept"), []byte(v))
	}
	return h
}

func TestPreferred(t *testing.T) {
	t.Parallel()
	tests := []struct {
		accept []string
		want   format
	}{
		{nil, formatHTML},
		{[]string{""}, formatHTML},
		{[]string{"*/*"}, formatHTML}, // curl
		{[]string{"text/html,application/xhtml+xml,application/xml;q=0.9,image/webp,*/*;q=0.8"}, formatHTML}, // browsers
		{[]string{"application/json"}, formatJSON},
		{[]string{"APPLICATION/PROBLEM+JSON"}, formatJSON},
		{[]string{"application/json, text/plain, */*"}, formatJSON}, // a usual client library
		{[]string{"application/*"}, formatHTML},                     // covers XHTML too
		{[]string{"text/plain"}, formatText},
		{[]string{"text/plain", "application/json;q=0.5"}, formatText},
		{[]string{"text/*"}, formatHTML},
		{[]string{"text/plain, text/html"}, formatHTML},
		{[]string{"text/html;q=0.5, text/plain"}, formatText},
		{[]string{"text/html; q=0, */*"}, formatJSON},
		{[]string{"text/html;q=0.1;level=1, application/json ; q=0.100"}, formatHTML},
		{[]string{"application/json;q=0"}, formatHTML},
		{[]string{"image/png"}, formatHTML},
		{[]string{"application/json;q=x, text/html;q=0.9"}, formatJSON},
		{[]string{";;,,/,*/,q=1"}, formatHTML},
	}
	for _, tt := range tests {
		if got := preferred(accepting(tt.accept...)); got != tt.want {
			t.Errorf("Accept %q: format %d, want %d", tt.accept, got, tt.want)
		}
	}
}

func TestThousandths(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]int{"1": 1000, "1.000": 1000, "0": 0, "0.": 0, "0.5": 500, "0.25": 250, "0.001": 1, "0.999": 999} {
		if got, ok := thousandths([]byte(s)); !ok || got != want {
			t.Errorf("%s: %d, %v, want %d", s, got, ok, want)
		}
	}
	for _, s := range []string{"2", "1.001", "0.0001", ".5", "0,5", "-1", "0.x"} {
		if got, ok := thousandths([]byte(s)); ok {
			t.Errorf("%s: %d", s, got)
		}
	}
}

func FuzzPreferred(f *testing.F) {
	for _, s := range []string{"text/html;q=0.5, text/plain", "*/*", "text/*;q=", ",;=/*", "application/json;q=0.1234"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, value []byte) {
		h := &exchange.Header{}
		h.AddName([]byte("Accept"), value)
		if got := preferred(h); got < formatHTML || got >= formatCount {
			t.Errorf("format %d", got)
		}
	})
}
