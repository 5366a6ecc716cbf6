//go:build !linux

package sockio

// newScarce returns nil: this system does not say.
func newScarce() func() bool { return nil }
