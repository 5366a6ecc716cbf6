//go:build !unix

package cli

import (
	"os"
	"syscall"
)

// Signals are those that Main wants to hear of. There is none to reload with
// on this system.
func Signals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM} }

func isReload(os.Signal) bool { return false }
