package listen

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/perchserver/perch/internal/sockio"
)

// lend lets another socket of this user be bound to the address of l, or to one
// that covers it or is covered by it, or ends that (socket(7), SO_REUSEPORT: the
// kernel asks both sockets when one is bound). Listeners do without, or
// a second host would take connections from the first where it is to be told
// that the port is taken.
func lend(l net.Listener, on bool) error {
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	value := 0
	if on {
		value = 1
	}
	if e := raw.Control(func(fd uintptr) {
		err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEPORT, value)
	}); e != nil {
		err = e
	}
	return err
}

// bindBeside binds a socket beside those that were lent. It listens once begin
// is called.
func bindBeside(addr netip.Addr, port uint16) (l net.Listener, begin func() error, err error) {
	fd, err := bindSocket(addr, port)
	if isAbsent(err) && !addr.IsValid() {
		fd, err = bindSocket(netip.IPv4Unspecified(), port) // there is no IPv6
	}
	if err != nil {
		return nil, nil, err
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	if l, err = net.FileListener(f); err != nil {
		return nil, nil, err
	}
	if l, err = sockio.TakeListener(l); err != nil {
		return nil, nil, err
	}
	raw, err := l.(syscall.Conn).SyscallConn()
	if err != nil {
		l.Close()
		return nil, nil, err
	}
	return l, func() error {
		const longest = 1<<16 - 1 // the kernel takes as much of it as the system allows
		err := errors.New("closed")
		raw.Control(func(fd uintptr) { err = os.NewSyscallError("listen", unix.Listen(int(fd), longest)) })
		return err
	}, nil
}

// bindSocket binds a socket as listenTCP does.
func bindSocket(addr netip.Addr, port uint16) (fd int, err error) {
	family := unix.AF_INET6
	var at unix.Sockaddr = &unix.SockaddrInet6{Port: int(port), Addr: addr6(addr), ZoneId: zone(addr)}
	if addr.Is4() {
		family, at = unix.AF_INET, &unix.SockaddrInet4{Port: int(port), Addr: addr.As4()}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, os.NewSyscallError("socket", err)
	}
	option := func(level, name, value int) {
		if err == nil {
			err = os.NewSyscallError("setsockopt", unix.SetsockoptInt(fd, level, name, value))
		}
	}
	if family == unix.AF_INET6 {
		only := 0
		if addr.IsValid() {
			only = 1
		}
		option(unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only)
	}
	option(unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	option(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil {
		err = sockio.SetListener(fd, addr)
	}
	if err == nil {
		err = os.NewSyscallError("bind", unix.Bind(fd, at))
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// addr6 is the address of an IPv6 socket; all of them for the zero Addr.
func addr6(addr netip.Addr) [16]byte {
	if !addr.IsValid() {
		return [16]byte{}
	}
	return addr.As16()
}

// zone is the number of the interface that an address belongs to, 0 for none.
func zone(addr netip.Addr) uint32 {
	if i, err := net.InterfaceByName(addr.Zone()); err == nil {
		return uint32(i.Index)
	}
	n, _ := strconv.ParseUint(addr.Zone(), 10, 32)
	return uint32(n)
}

const longestSocketPath = 107 // sun_path of sockaddr_un, with its final zero

const privilegeHint = "run as root, give the program the right with `setcap cap_net_bind_service=+ep FILE`, or listen on a port from 1024"

func ownerCommand(port uint16) string { return fmt.Sprintf("ss -ltnp 'sport = :%d'", port) }

// portOwner names the process that listens on a TCP port, by the kernel's
// tables. It is "" if the process belongs to another user, whose descriptors
// cannot be seen, or is in another network namespace.
func portOwner(port uint16) string {
	inodes := map[string]bool{}
	for _, table := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		data, err := os.ReadFile(table)
		if err != nil {
			continue
		}
		for line := range bytes.Lines(data) {
			if inode, ok := listeningInode(string(line), port); ok {
				inodes["socket:["+inode+"]"] = true
			}
		}
	}
	if len(inodes) == 0 {
		return ""
	}
	descriptors, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return ""
	}
	for _, d := range descriptors {
		if target, err := os.Readlink(d); err != nil || !inodes[target] {
			continue
		}
		pid := strings.Split(d, "/")[2]
		name, err := os.ReadFile("/proc/" + pid + "/comm")
		if err != nil {
			continue
		}
		return strings.TrimSpace(string(name)) + " (process " + pid + ")"
	}
	return ""
}

// listeningInode takes the inode of a listening socket on this port from one
// line of /proc/net/tcp (proc_net_tcp in the kernel's documentation): number,
// local address:port, remote one, state, and the inode as the tenth word.
func listeningInode(line string, port uint16) (inode string, ok bool) {
	const listen = "0A"
	words := strings.Fields(line)
	if len(words) < 10 || words[3] != listen {
		return "", false
	}
	i := strings.LastIndexByte(words[1], ':')
	raw, err := hex.DecodeString(words[1][i+1:])
	if err != nil || len(raw) != 2 || uint16(raw[0])<<8|uint16(raw[1]) != port {
		return "", false
	}
	if _, err := strconv.ParseUint(words[9], 10, 64); err != nil {
		return "", false
	}
	return words[9], true
}
