// Package limits is the suite about bounds: what each limit of a connection
// refuses, with which status, and that clients who sit at the edge of the
// limits by the thousand keep nobody else from being served. Nothing imports
// it.
package limits

import (
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }

// start runs the Go application with these limits.
func start(t *testing.T, limits string) *harness.Host {
	t.Helper()
	return harness.Go().Start(t, harness.WebConfig{
		Limits: limits,
		More:   `      <security><requestFiltering><requestLimits maxAllowedContentLength="100000" /></requestFiltering></security>` + "\n",
	}.Use(t))
}
