//go:build !linux && !darwin && !windows

package logs

func isTerminal(uintptr) bool { return false }

func obeysSequences(uintptr) bool { return false }
