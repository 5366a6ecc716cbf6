//go:build unix

package cli

import (
	"os"
	"syscall"
)

// Signals are those that Main wants to hear of.
func Signals() []os.Signal { return []os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP} }

func isReload(s os.Signal) bool { return s == syscall.SIGHUP }
