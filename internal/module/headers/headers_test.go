package headers

import (
	"errors"
	"testing"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

// page answers as an application that has set one of the fields itself.
var page = exchange.HandlerFunc(func(x *exchange.Exchange) error {
	x.Response.Status = 200
	x.Response.Header.AddName([]byte("x-frame-options"), []byte("SAMEORIGIN"))
	return x.Response.Writer.WriteHead(x)
})

func values(h *exchange.Header, name string) (all []string) {
	for i := range h.Fields {
		if exchange.EqualFold(h.Fields[i].NameBytes(), name) {
			all = append(all, string(h.Fields[i].Value))
		}
	}
	return all
}

// Spec iis-front 4.6: duplicates of an application's field are added.
func TestFieldsAreAdded(t *testing.T) {
	t.Parallel()
	m := Module(Settings{Custom: []Field{{"X-Frame-Options", "DENY"}, {"X-Empty", ""}, {"Cache-Control", "no-store"}}})
	for range 2 { // a writer is used again
		x, w := exchangetest.New("GET", "/")
		before := x.Response.Writer
		if err := m(page).Serve(x); err != nil || x.Response.Writer != before {
			t.Fatalf("%v, writer changed: %v", err, x.Response.Writer != before)
		}
		if got := values(&w.Header, "X-Frame-Options"); len(got) != 2 || got[0] != "SAMEORIGIN" || got[1] != "DENY" {
			t.Errorf("X-Frame-Options %q, want the application's and ours", got)
		}
		if got := values(&w.Header, "X-Empty"); len(got) != 1 || got[0] != "" {
			t.Errorf("X-Empty %q, want one that is empty", got)
		}
		if got := string(w.Header.Get(exchange.CacheControl)); got != "no-store" || x.Response.Close {
			t.Errorf("Cache-Control %q, close %v", got, x.Response.Close)
		}
	}
}

func TestKeepAliveIsForbidden(t *testing.T) {
	t.Parallel()
	x, _ := exchangetest.New("GET", "/")
	if err := Module(Settings{NoKeepAlive: true})(page).Serve(x); err != nil || !x.Response.Close {
		t.Errorf("%v, close %v, want the connection to end", err, x.Response.Close)
	}
}

// An error passes through: the module outside has the response then.
func TestErrorsPass(t *testing.T) {
	t.Parallel()
	x, w := exchangetest.New("GET", "/")
	want := errors.New("no")
	err := Module(Settings{Custom: []Field{{"A", "1"}}})(exchange.HandlerFunc(func(*exchange.Exchange) error { return want })).Serve(x)
	if err != want || len(w.Header.Fields) != 0 || len(x.Response.Header.Fields) != 0 {
		t.Errorf("%v, %d fields", err, len(x.Response.Header.Fields))
	}
}

func TestNothingToDo(t *testing.T) {
	t.Parallel()
	if Module(Settings{}) != nil {
		t.Error("a module that does nothing stands in the chain")
	}
}

func TestNothingIsAllocated(t *testing.T) {
	silent := exchange.HandlerFunc(func(x *exchange.Exchange) error { return x.Response.Writer.WriteHead(x) })
	h := Module(Settings{Custom: []Field{{"X-A", "1"}}, NoKeepAlive: true})(silent)
	x, _ := exchangetest.New("GET", "/")
	x.Response.Writer = nowhere{}
	if n := testing.AllocsPerRun(200, func() {
		x.Response.Header.Reset()
		h.Serve(x)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// nowhere takes a head and drops it.
type nowhere struct{ exchange.Writer }

func (nowhere) WriteHead(*exchange.Exchange) error { return nil }
