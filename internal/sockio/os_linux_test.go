package sockio

import "syscall"

func setReceiveBuffer(fd uintptr, n int) {
	syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, n)
}

// kernelSockets says that loops watch sockets on this system.
const kernelSockets = true
