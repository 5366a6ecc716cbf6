// Package wire is the suite about bytes: what is refused in front, what
// reaches a backend, and what becomes of a backend's answer, whatever it is.
// The backend plays scripts and records what it got. Nothing imports it.
package wire

import (
	"fmt"
	"strings"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// start runs a host in front of the raw backend.
func start(t *testing.T, c harness.WebConfig) *harness.Host {
	t.Helper()
	return harness.Start(t, harness.Run{Dir: harness.RawBackend(t, c)})
}

// get is a request with a script for the backend, on a connection that lives
// on.
func get(target, script string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: a\r\n" + script + "\r\n\r\n"
}

// recorded returns everything that reached the backend, connection by
// connection, but for this question.
func recorded(h *harness.Host) string {
	var all []string
	h.JSON("/recorded", &all)
	return strings.Join(all, "\n----\n")
}

func status(r *harness.Response) string { return fmt.Sprintf("%d %s", r.StatusCode, r.Text()) }
