package exchangetest

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
)

func TestNewFillsTheRequest(t *testing.T) {
	t.Parallel()
	x, _ := New("GET", "/a%20b/c%2Fd?q=1", "Accept: text/html", "Host: example.test")
	r := &x.Request
	if got, want := string(r.Target.Path), "/a b/c%2Fd"; got != want {
		t.Errorf("path %q, want %q", got, want)
	}
	if got, want := string(r.Target.Separated), "/a b/c/d"; !r.Target.HiddenSlash || got != want {
		t.Errorf("separated %q (hidden slash %v), want %q", got, r.Target.HiddenSlash, want)
	}
	if got := string(r.Target.Query); got != "q=1" || !r.Target.HasQuery {
		t.Errorf("query %q (%v)", got, r.Target.HasQuery)
	}
	if got := string(r.Host); got != "example.test" {
		t.Errorf("host %q", got)
	}
	if got := string(r.Header.Get(exchange.Accept)); got != "text/html" {
		t.Errorf("Accept %q", got)
	}
}

func TestRecorderHoldsToTheContract(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		method string
		write  func(*exchange.Exchange)
		want   string // part of the problem, "" for none
	}{
		{"whole", "GET", func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length = 200, 2
			x.Response.Writer.WriteHead(x)
			io.WriteString(x.Response.Writer, "ok")
		}, ""},
		{"head-of-a-body", "HEAD", func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length = 200, 2
			x.Response.Writer.WriteHead(x)
		}, ""},
		{"nothing", "GET", func(*exchange.Exchange) {}, "no head"},
		{"no-status", "GET", func(x *exchange.Exchange) { x.Response.Writer.WriteHead(x) }, "status 0"},
		{"short", "GET", func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length = 200, 2
			x.Response.Writer.WriteHead(x)
		}, "wrote 0"},
		{"long", "GET", func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length = 200, 2
			x.Response.Writer.WriteHead(x)
			io.WriteString(x.Response.Writer, "okay")
		}, "more than"},
		{"body-for-head", "HEAD", func(x *exchange.Exchange) {
			x.Response.Status, x.Response.Length = 200, 2
			x.Response.Writer.WriteHead(x)
			io.WriteString(x.Response.Writer, "ok")
		}, "for HEAD"},
		{"body-first", "GET", func(x *exchange.Exchange) { io.WriteString(x.Response.Writer, "ok") }, "before the head"},
		{"two-heads", "GET", func(x *exchange.Exchange) {
			x.Response.Status = 200
			x.Response.Writer.WriteHead(x)
			x.Response.Writer.WriteHead(x)
		}, "second head"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x, r := New(tt.method, "/")
			tt.write(x)
			err := r.Problem()
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("problem %v, want %q", err, tt.want)
			}
		})
	}
}

func TestRecorderCountsFileBytes(t *testing.T) {
	t.Parallel()
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	x, r := New("GET", "/")
	x.Response.Status, x.Response.Length = 200, 6
	x.Response.Writer.WriteHead(x)
	x.Response.Writer.ReadFrom(io.NewSectionReader(f, 0, 4))
	x.Response.Writer.ReadFrom(strings.NewReader("ab"))
	if r.FileBytes != 4 || string(r.Body) != "0123ab" || r.Problem() != nil {
		t.Errorf("%d file bytes, body %q, problem %v", r.FileBytes, r.Body, r.Problem())
	}
}

func TestBody(t *testing.T) {
	t.Parallel()
	b := NewBody("hello")
	if got, err := io.ReadAll(b); string(got) != "hello" || err != nil || !b.Sent() {
		t.Errorf("read %q, %v, sent %v", got, err, b.Sent())
	}
	b = NewBody("hello")
	if rest, ok := b.Buffered(); !ok || string(rest) != "hello" || !b.Sent() {
		t.Errorf("buffered %q, %v, sent %v", rest, ok, b.Sent())
	}
	for n, want := range map[int64]string{-1: "hello", 5: "hello", 4: "hell", 0: ""} {
		b = NewChunked("hello")
		b.Limit(n)
		got, err := io.ReadAll(b)
		if string(got) != want || (want == "hello") != (err == nil) || err != nil && exchange.AsError(err).Status != 413 {
			t.Errorf("limit %d: read %q, %v", n, got, err)
		}
		b = NewChunked("hello")
		b.Limit(n)
		var w strings.Builder
		_, err = b.WriteTo(&w)
		if w.String() != want || (want == "hello") != (err == nil) || b.Sent() != (err == nil) {
			t.Errorf("limit %d: wrote %q, %v", n, w.String(), err)
		}
	}
	cut := NewChunked("hel")
	cut.Err = errors.New("cut")
	if _, err := io.ReadAll(cut); err != cut.Err || cut.Sent() {
		t.Errorf("cut body: %v, sent %v", err, cut.Sent())
	}
}
