package sockio

import (
	"net/netip"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// mostUnsent is how many bytes the kernel takes for a peer beyond those that are
// on their way to it. Without a bound it takes 4 MB for each client that reads
// slowly, and a few thousand of them the memory of all: what it counts for a byte
// is more than two. Larger values move no more (measured with responses of 64 KiB
// to 10 MiB).
const mostUnsent = 64 << 10

// PrepareListener is SetListener for the Control of a net.ListenConfig.
func PrepareListener(_, address string, c syscall.RawConn) error {
	local, _ := netip.ParseAddrPort(address)
	return control(c, func(fd int) error { return SetListener(fd, local.Addr()) })
}

// keepAlive are the seconds after which, and in which steps, the kernel asks a
// silent client whether it is still there, and how often before it gives up.
// They are those of package net.
const keepAlive, keepAliveProbes = 15, 9

// SetListener prepares a socket that is going to listen at an address: what it
// accepts inherits the settings. The zero Addr is every address.
func SetListener(fd int, local netip.Addr) error {
	for _, o := range [...]struct{ level, name, value int }{
		{unix.IPPROTO_TCP, unix.TCP_NOTSENT_LOWAT, mostUnsent},
		{unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, keepAlive},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, keepAlive},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, keepAliveProbes},
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
	} {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			return os.NewSyscallError("setsockopt", err)
		}
	}
	return unpace(fd, local.Unmap().IsLoopback())
}

// PrepareLocal prepares a socket for connections with processes of this machine
// alone, before it has any, as the Control of a net.Dialer or net.ListenConfig.
func PrepareLocal(_, _ string, c syscall.RawConn) error {
	return control(c, func(fd int) error { return unpace(fd, true) })
}

// unpace has a connection within this machine send at once what it has to send.
// Where the system's choice of congestion control is one that spreads packets
// over time (BBR), it does so on the loopback interface too, with a timer for
// every few of them: measured, a proxied body of 1 MiB then costs 2.3 times as
// much. It has to be said before there is a connection, which goes on with
// timers otherwise. Every kernel has Reno, and every user may choose it.
func unpace(fd int, near bool) error {
	if !near {
		return nil
	}
	return os.NewSyscallError("setsockopt", unix.SetsockoptString(fd, unix.IPPROTO_TCP, unix.TCP_CONGESTION, "reno"))
}

// nearSegment is the size of the segments on a link to an application, in place of
// the 64 KB that the loopback interface has room for. The kernel reckons in segments
// how much it takes of a process before a reader has it: measured, 4.2 MB of those
// of 64 KB, 0.9 MB of these, and no less of smaller ones; 2.1 MB where segments have
// come in another order to the same address lately, which it remembers. It passes as
// many as make up 64 KB in one piece all the same.
const nearSegment = 7500

// bound keeps what an application can write, beyond what was read of it, small: who
// asks for large answers and takes nothing is not to have it write megabytes, which
// everybody else waits for. It has to be said before there is a connection.
func bound(fd int) error {
	return os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_MAXSEG, nearSegment))
}

func control(c syscall.RawConn, set func(fd int) error) (err error) {
	if e := c.Control(func(fd uintptr) { err = set(int(fd)) }); e != nil {
		return e
	}
	return err
}
