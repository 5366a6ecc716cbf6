//go:build !linux

package sockio

func setReceiveBuffer(uintptr, int) {}
