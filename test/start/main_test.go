// Package start is the suite about starts that fail and what is told of them:
// the page, the log, and the way out. Nothing imports it.
package start

import (
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
