package hsts

import (
	"testing"

	"github.com/perchserver/perch/internal/exchange"
	"github.com/perchserver/perch/internal/exchange/exchangetest"
)

const name = "Strict-Transport-Security"

// page answers as an application would that has an opinion of its own.
var page = exchange.HandlerFunc(func(x *exchange.Exchange) error {
	x.Response.Status = 200
	x.Response.Header.AddName([]byte("strict-transport-security"), []byte("max-age=1"))
	return x.Response.Writer.WriteHead(x)
})

func TestField(t *testing.T) {
	t.Parallel()
	for want, set := range map[string]Settings{
		"max-age=0":                             {},
		"max-age=31536000":                      {MaxAge: 31536000, Redirect: true},
		"max-age=2; includeSubDomains; preload": {MaxAge: 2, IncludeSubDomains: true, Preload: true},
	} {
		x, w := exchangetest.New("GET", "/")
		x.Request.Scheme = "https"
		writer := x.Response.Writer
		if err := Module(set)(page).Serve(x); err != nil {
			t.Fatal(err)
		}
		n := 0
		for i := range w.Header.Fields {
			if exchange.EqualFold(w.Header.Fields[i].NameBytes(), name) {
				n++
			}
		}
		if got := string(w.Header.GetName(name)); got != want || n != 1 || x.Response.Writer != writer {
			t.Errorf("%q in %d fields, want %q", got, n, want)
		}
	}
}

// RFC 6797 section 7.2: the field is not for responses over http.
func TestClear(t *testing.T) {
	t.Parallel()
	x, w := exchangetest.New("GET", "/")
	if err := Module(Settings{MaxAge: 5})(page).Serve(x); err != nil || string(w.Header.GetName(name)) != "max-age=1" {
		t.Errorf("%v, %q", err, w.Header.GetName(name))
	}
	for host, want := range map[string]string{
		"a.test": "https://a.test/x%20y?q=1", "a.test:8080": "https://a.test/x%20y?q=1", "[::1]:80": "https://[::1]/x%20y?q=1", "[::1]": "https://[::1]/x%20y?q=1",
	} {
		x, w := exchangetest.New("GET", "/x%20y?q=1")
		x.Request.Host = []byte(host)
		if err := Module(Settings{Redirect: true})(page).Serve(x); err != nil || w.Status != 301 || string(w.Header.Get(exchange.Location)) != want {
			t.Errorf("%s: %v, %d to %q, want %q", host, err, w.Status, w.Header.Get(exchange.Location), want)
		}
	}
}

func TestAllocatesNothing(t *testing.T) {
	h := Module(Settings{MaxAge: 5})(exchange.HandlerFunc(func(x *exchange.Exchange) error { return nil }))
	x, _ := exchangetest.New("GET", "/")
	x.Request.Scheme = "https"
	if n := testing.AllocsPerRun(1000, func() { h.Serve(x) }); n > 0.5 { // the pool of the race detector loses one in four
		t.Errorf("%v allocations", n)
	}
}
