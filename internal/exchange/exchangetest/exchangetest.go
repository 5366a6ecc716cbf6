// Package exchangetest makes exchanges without a driver, for the tests of
// handlers and modules: a request from a line of text, and a Recorder that
// stands where the driver writes and holds the handler to the contract of
// exchange.Writer.
//
// Tests of every stage may import it; the product never does.
package exchangetest

import (
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"

	"github.com/perchserver/perch/internal/exchange"
)

// Now is when exchanges made by New begin.
var Now = time.Date(2026, time.November, 21, 12, 0, 0, 0, time.UTC)

// New returns the exchange of a request without a body, as a driver would
// fill it: HTTP/1.1 from loopback to loopback, Host "localhost:8080". The
// target is in origin form and needs no normalising: New decodes its path and
// leaves dot segments and empty ones alone. Each field is "Name: value"; a
// Host among them replaces the usual one.
//
// A target or field that is not of this form panics, being a mistake in the
// test.
func New(method, target string, fields ...string) (*exchange.Exchange, *Recorder) {
	x := &exchange.Exchange{
		Conn: &exchange.Conn{
			Serial:     7,
			Requests:   1,
			Local:      netip.MustParseAddrPort("127.0.0.1:8080"),
			Remote:     netip.MustParseAddrPort("127.0.0.1:50000"),
			RemoteText: "127.0.0.1:50000",
			Listener:   "http://localhost:8080",
		},
		Begin: Now,
	}
	x.Request = exchange.Request{
		Method: method,
		Proto:  exchange.HTTP11,
		Scheme: "http",
		Host:   []byte("localhost:8080"),
		Target: NewTarget(target),
		Body:   NewBody(""),
	}
	for _, f := range fields {
		name, value, ok := strings.Cut(f, ":")
		if !ok {
			panic(fmt.Sprintf("exchangetest: field %q has no colon", f))
		}
		x.Request.Header.AddName([]byte(name), []byte(strings.TrimSpace(value)))
	}
	if host := x.Request.Header.Get(exchange.Host); host != nil {
		x.Request.Host = host
	} else {
		x.Request.Header.Add(exchange.Host, x.Request.Host)
	}
	r := &Recorder{x: x}
	x.Response.Writer = r
	return x, r
}

// NewTarget decodes a target in origin form. An encoded slash or back-slash
// stays encoded in the path, as exchange.Target says.
func NewTarget(raw string) exchange.Target {
	path, query, hasQuery := strings.Cut(raw, "?")
	if !strings.HasPrefix(path, "/") {
		panic(fmt.Sprintf("exchangetest: target %q is not in origin form", raw))
	}
	t := exchange.Target{
		Raw:      []byte(raw),
		Forward:  []byte(path),
		Query:    []byte(query),
		HasQuery: hasQuery,
	}
	decode := func(s string) []byte {
		p, err := url.PathUnescape(s)
		if err != nil {
			panic(fmt.Sprintf("exchangetest: target %q: %v", raw, err))
		}
		return []byte(p)
	}
	keep := strings.NewReplacer("%2f", "%252f", "%2F", "%252F", "%5c", "%255c", "%5C", "%255C").Replace(path)
	t.Path = decode(keep)
	t.HiddenSlash = keep != path
	if t.HiddenSlash {
		t.Separated = []byte(strings.ReplaceAll(string(decode(path)), `\`, "/"))
	}
	return t
}

// SetBody gives the request a body and the length that declares it.
func SetBody(x *exchange.Exchange, b *Body) {
	x.Request.Body = b
	x.Request.Length = b.length
}
