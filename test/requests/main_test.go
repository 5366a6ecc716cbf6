// Package requests holds one table of exchanges that runs over every fixture
// application: what a client sends, what the application sees of it, and what
// comes back. It is a suite against the built binary; nothing imports it.
package requests

import (
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestApplications runs every case over every application, and over those that
// can do it in HTTP/2 as well, on clear connections and over TLS, in HTTP/1.1 and in HTTP/2:
// what an application sees of a request must not depend on it, but for the
// scheme and the name of the protocol. All cases of one application share
// a host, so a case must not stop it.
func TestApplications(t *testing.T) {
	t.Parallel()
	for _, app := range append(harness.Apps(), harness.Go().OverHTTP2(), harness.DotNet().OverHTTP2()) {
		t.Run(app.String(), func(t *testing.T) {
			t.Parallel()
			h := app.Start(t, func(r *harness.Run) { r.Listen = []string{"http://127.0.0.1:0", "https://127.0.0.1:0"} })
			clear, secure := h.Over(h.URLs[0]), h.Over(h.URLs[1])
			for _, way := range []struct {
				name  string
				host  *harness.Host
				http2 bool
			}{{"clear", clear, false}, {"TLS", secure, false}, {"clear-HTTP2", clear.HTTP2(), true}, {"TLS-HTTP2", secure.HTTP2(), true}} {
				t.Run(way.name, func(t *testing.T) { table(t, way.host, app, way.http2) })
			}
		})
	}
}

// table runs the cases for an application over one kind of connection.
func table(t *testing.T, h *harness.Host, app harness.App, http2 bool) {
	for _, c := range cases {
		if c.only != "" && c.only != app.Module || http2 && c.framing || app.HTTP2 && c.http1 || c.webSocket && !app.WebSockets() {
			continue
		}
		t.Run(c.name, func(t *testing.T) { c.run(t, h.With(t), app) })
	}
}

// exchangeCase is one entry of the table.
type exchangeCase struct {
	name string
	only string // the application's Module, if the case is about one of them

	// framing is set for a case that is about the bytes of HTTP/1.1, or about
	// what HTTP/2 has none of, or in another way that test/h2 looks at.
	framing bool

	// http1 is set for a case that asks an application for what it can do in
	// HTTP/1.1 alone.
	http1 bool

	// webSocket is set for a case that opens one.
	webSocket bool

	run func(t *testing.T, h *harness.Host, app harness.App)
}

// cases is the table, by subject.
var cases = concat(identityCases, headerCases, bodyCases, streamCases, upgradeCases)

func concat(tables ...[]exchangeCase) []exchangeCase {
	var all []exchangeCase
	for _, t := range tables {
		all = append(all, t...)
	}
	return all
}
