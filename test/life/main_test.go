// Package life is the suite about the life of an application under its host:
// the first request, crashes, planned replacement, app_offline.htm, the end of
// the host, and that no process outlives it. Nothing imports it.
package life

import (
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// overApps runs a test over every application, each time with a host of its
// own.
func overApps(t *testing.T, run func(t *testing.T, app harness.App)) {
	t.Parallel()
	for _, app := range harness.Apps() {
		t.Run(app.Name, func(t *testing.T) {
			t.Parallel()
			run(t, app)
		})
	}
}
