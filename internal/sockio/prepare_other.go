//go:build !linux

package sockio

import "syscall"

// PrepareListener does nothing: what the kernel holds for slow peers, and how it
// spreads packets over time, is the system's own business here.
func PrepareListener(_, _ string, _ syscall.RawConn) error { return nil }

// PrepareLocal does nothing, as PrepareListener.
func PrepareLocal(_, _ string, _ syscall.RawConn) error { return nil }
