//go:build !linux

package sockio

func setReceiveBuffer(uintptr, int) {}

// kernelSockets says that loops watch sockets on this system.
const kernelSockets = false
