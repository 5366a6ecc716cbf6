//go:build !linux

package plan

import "testing"

// unprivileged changes nothing: tests run as root on Linux alone.
func unprivileged(*testing.T, string) (end func()) { return func() {} }
