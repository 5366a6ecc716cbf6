// Package requests holds one table of exchanges that runs over every fixture
// application: what a client sends, what the application sees of it, and what
// comes back. It is a suite against the built binary; nothing imports it.
package requests

import (
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// TestApplications runs every case over every application, on clear connections
// and over TLS: what an application sees of a request must not depend on it,
// but for the scheme. All cases of one application share a host, so a case must
// not stop it.
func TestApplications(t *testing.T) {
	t.Parallel()
	for _, app := range harness.Apps() {
		t.Run(app.Name, func(t *testing.T) {
			t.Parallel()
			h := app.Start(t, func(r *harness.Run) { r.Listen = []string{"http://127.0.0.1:0", "https://127.0.0.1:0"} })
			for i, transport := range []string{"clear", "TLS"} {
				t.Run(transport, func(t *testing.T) {
					for _, c := range cases {
						if c.only != "" && c.only != app.Module {
							continue
						}
						t.Run(c.name, func(t *testing.T) {
							c.run(t, h.Over(h.URLs[i]).With(t), app)
						})
					}
				})
			}
		})
	}
}

// exchangeCase is one entry of the table.
type exchangeCase struct {
	name string
	only string // the application's Module, if the case is about one of them
	run  func(t *testing.T, h *harness.Host, app harness.App)
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
