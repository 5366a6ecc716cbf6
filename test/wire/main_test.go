// Package wire is the suite about bytes: what is refused in front, what
// reaches a backend, and what becomes of a backend's answer, whatever it is.
//
// Nearly all of it is one table of cases in text files, described in
// cases/README.md and played by TestTable; what holds in every case is listed
// in invariant_test.go. What is about time, sending again, and what is left
// over afterwards is written in Go in backend_test.go.
//
// The backend plays scripts and records what it got. Nothing imports this
// package.
package wire

import (
	"fmt"
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// start runs a host in front of the raw backend.
func start(t *testing.T, c harness.WebConfig) *harness.Host {
	t.Helper()
	return harness.Start(t, harness.Run{Dir: harness.RawBackend(t, c)})
}

func status(r *harness.Response) string { return fmt.Sprintf("%d %s", r.StatusCode, r.Text()) }
