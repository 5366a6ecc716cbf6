package ports

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// listeners asks by netlink, and reads the tables in /proc where that is not
// allowed (some sandboxes).
func listeners(want func(uint16) bool) ([]Listener, error) {
	list, err := diag(want)
	if err != nil {
		var second error
		if list, second = tables(want); second != nil {
			return nil, fmt.Errorf("list listening sockets: %w", errors.Join(err, second))
		}
	}
	return list, nil
}

// The parts of linux/inet_diag.h and linux/sock_diag.h that a dump of
// listening sockets needs.
const (
	// tcpDiagGetSock is the older of the two requests. It alone dumps both
	// address families at once.
	tcpDiagGetSock = 18
	attrV6Only     = 11 // INET_DIAG_SKV6ONLY
	stateListen    = 10 // TCP_LISTEN
	requestLen     = unix.SizeofNlMsghdr + 60
	answerLen      = 72 // struct inet_diag_msg
)

// diag dumps the listening sockets of both families from the kernel's hash of
// them, which is as long as there are listeners, however many connections
// exist (sock_diag(7)).
func diag(want func(uint16) bool) ([]Listener, error) {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, unix.NETLINK_INET_DIAG)
	if err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	defer unix.Close(fd)
	// The kernel answers within the call, so this is a guard, not a wait.
	if err := unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 1}); err != nil {
		return nil, fmt.Errorf("netlink: %w", err)
	}
	// struct nlmsghdr, then struct inet_diag_req: family 0 is any, all else
	// zero but the states.
	var request [requestLen]byte
	order := binary.NativeEndian
	order.PutUint32(request[0:], requestLen)
	order.PutUint16(request[4:], tcpDiagGetSock)
	order.PutUint16(request[6:], unix.NLM_F_REQUEST|unix.NLM_F_DUMP)
	order.PutUint32(request[requestLen-8:], 1<<stateListen)
	if err := unix.Sendto(fd, request[:], 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return nil, fmt.Errorf("netlink: send: %w", err)
	}
	var list []Listener
	buffer := make([]byte, 32<<10) // the most that the kernel puts into one answer
	for {
		n, _, err := unix.Recvfrom(fd, buffer, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("netlink: receive: %w", err)
		}
		done := false
		if list, done, err = parseDiag(list, buffer[:n], want); done || err != nil {
			return list, err
		}
	}
}

// parseDiag appends the listeners of one datagram to list. It reports whether
// the dump is complete.
func parseDiag(list []Listener, b []byte, want func(uint16) bool) ([]Listener, bool, error) {
	order := binary.NativeEndian
	for len(b) >= unix.SizeofNlMsghdr {
		size, kind := int(order.Uint32(b)), order.Uint16(b[4:])
		if size < unix.SizeofNlMsghdr || size > len(b) {
			return nil, false, fmt.Errorf("netlink: a message of %d bytes in %d", size, len(b))
		}
		body := b[unix.SizeofNlMsghdr:size]
		switch kind {
		case unix.NLMSG_DONE:
			return list, true, nil
		case unix.NLMSG_ERROR:
			if len(body) < 4 {
				return nil, false, errors.New("netlink: an error without a number")
			}
			return nil, false, fmt.Errorf("netlink: %w", unix.Errno(-int32(order.Uint32(body))))
		case tcpDiagGetSock, unix.SOCK_DIAG_BY_FAMILY:
			if l, ok := parseSocket(body); ok && want(l.Addr.Port()) {
				list = append(list, l)
			}
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return list, false, nil
}

// parseSocket reads struct inet_diag_msg and the attributes behind it.
func parseSocket(b []byte) (Listener, bool) {
	if len(b) < answerLen || b[1] != stateListen {
		return Listener{}, false
	}
	port := binary.BigEndian.Uint16(b[4:])
	var l Listener
	switch b[0] {
	case unix.AF_INET:
		l.Addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[8:12])), port)
	case unix.AF_INET6:
		l.Addr = netip.AddrPortFrom(netip.AddrFrom16([16]byte(b[8:24])).Unmap(), port)
		l.V6Only = true // unless an attribute says otherwise
	default:
		return Listener{}, false
	}
	order := binary.NativeEndian
	l.UID = order.Uint32(b[64:])
	l.Inode = uint64(order.Uint32(b[68:]))
	for b = b[answerLen:]; len(b) >= unix.SizeofRtAttr; {
		size := int(order.Uint16(b))
		if size < unix.SizeofRtAttr || size > len(b) {
			break
		}
		if order.Uint16(b[2:]) == attrV6Only && size > unix.SizeofRtAttr {
			l.V6Only = b[unix.SizeofRtAttr] != 0
		}
		b = b[min(len(b), (size+3)&^3):]
	}
	return l, true
}

// tables reads /proc/net/tcp and tcp6, which list connections, too.
func tables(want func(uint16) bool) ([]Listener, error) {
	var list []Listener
	for _, name := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) && name == "/proc/net/tcp6" {
			continue // no IPv6
		}
		if err != nil {
			return nil, err
		}
		for line := range bytes.Lines(text) {
			if l, ok := parseTableLine(line); ok && want(l.Addr.Port()) {
				list = append(list, l)
			}
		}
	}
	return list, nil
}

// parseTableLine reads one line of /proc/net/tcp or tcp6 (proc_net(5)). The
// addresses are words in the machine's byte order, printed as numbers.
func parseTableLine(line []byte) (Listener, bool) {
	f := bytes.Fields(line)
	if len(f) < 10 || string(f[3]) != "0A" { // TCP_LISTEN; the heading has another word there
		return Listener{}, false
	}
	digits, portText, ok := bytes.Cut(f[1], []byte{':'})
	port, err := strconv.ParseUint(string(portText), 16, 16)
	if !ok || err != nil {
		return Listener{}, false
	}
	raw, err := hex.DecodeString(string(digits))
	if err != nil || len(raw)%4 != 0 {
		return Listener{}, false
	}
	for i := 0; i < len(raw); i += 4 {
		binary.NativeEndian.PutUint32(raw[i:], binary.BigEndian.Uint32(raw[i:]))
	}
	addr, ok := netip.AddrFromSlice(raw)
	uid, err1 := strconv.ParseUint(string(f[7]), 10, 32)
	inode, err2 := strconv.ParseUint(string(f[9]), 10, 64)
	if !ok || err1 != nil || err2 != nil {
		return Listener{}, false
	}
	return Listener{
		Addr: netip.AddrPortFrom(addr.Unmap(), uint16(port)), V6Only: addr.Is6() && !addr.Is4In6(),
		UID: uint32(uid), Inode: inode,
	}, true
}

// owner looks for the socket among the open files of each process.
func owner(l Listener, pids []int) (int, error) {
	closed := 0
	name := "socket:[" + strconv.FormatUint(l.Inode, 10) + "]"
	for _, pid := range pids {
		switch ok, err := holds(pid, name); {
		case ok:
			return pid, nil
		case errors.Is(err, fs.ErrPermission):
			closed = pid
		}
	}
	if closed != 0 {
		return closed, fmt.Errorf("look at the files of process %d: %w", closed, fs.ErrPermission)
	}
	return 0, ErrNotOwner
}

// holds reports whether one of the process's descriptors is the named file.
func holds(pid int, name string) (bool, error) {
	path := "/proc/" + strconv.Itoa(pid) + "/fd"
	dir, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer dir.Close()
	fds, err := dir.Readdirnames(-1)
	if err != nil {
		return false, err
	}
	var link [64]byte
	for _, fd := range fds {
		n, err := unix.Readlinkat(int(dir.Fd()), fd, link[:])
		if err == nil && string(link[:n]) == name {
			return true, nil
		}
	}
	return false, nil
}
