// Package command is the suite about the command line: what is printed where,
// and the exit codes. Nothing imports it.
package command

import (
	"testing"

	"github.com/perchserver/perch/test/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
