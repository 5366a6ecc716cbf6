package sockio

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listener accepts descriptors that the runtime's poller has never seen. What
// package net makes of a connection, and Adopt would undo, costs nine system
// calls. What it accepts is for Adopt.
type listener struct {
	file *os.File
	raw  syscall.RawConn
	addr net.Addr
	one  bool // of all that it accepts, the local address is its own
}

// TakeListener takes a TCP listener over that SetListener has prepared: l is not
// to be used any more, and is closed if that fails. Other listeners are returned
// as they are.
func TakeListener(l net.Listener) (net.Listener, error) {
	t, ok := l.(*net.TCPListener)
	if !ok {
		return l, nil
	}
	defer t.Close()
	raw, err := t.SyscallConn()
	if err != nil {
		return nil, err
	}
	fd := -1
	if e := raw.Control(func(own uintptr) { fd, err = unix.FcntlInt(own, unix.F_DUPFD_CLOEXEC, 0) }); e != nil {
		err = e
	}
	if err != nil {
		return nil, os.NewSyscallError("fcntl", err)
	}
	addr := t.Addr().(*net.TCPAddr)
	n := &listener{file: os.NewFile(uintptr(fd), "listener"), addr: addr, one: !addr.IP.IsUnspecified()}
	if n.raw, err = n.file.SyscallConn(); err == nil {
		err = n.file.SetDeadline(time.Time{}) // fails if the runtime cannot wait for it
	}
	if err != nil {
		n.file.Close()
		return nil, err
	}
	return n, nil
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	var fd int
	var from unix.Sockaddr
	var err error
	if e := l.raw.Read(func(own uintptr) bool {
		for {
			fd, from, err = unix.Accept4(int(own), unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			switch err {
			case unix.EINTR, unix.ECONNABORTED: // it left while it waited
			default:
				return err != unix.EAGAIN
			}
		}
	}); errors.Is(e, os.ErrDeadlineExceeded) {
		err = e
	} else if e != nil {
		err = net.ErrClosed
	} else {
		err = os.NewSyscallError("accept4", err)
	}
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Addr: l.addr, Err: err}
	}
	return &bare{fd: fd, listener: l, remote: addrPort(from)}, nil
}

// Close implements net.Listener.
func (l *listener) Close() error { return l.file.Close() }

// SetDeadline bounds the wait of Accept.
func (l *listener) SetDeadline(t time.Time) error { return l.file.SetDeadline(t) }

// Addr implements net.Listener.
func (l *listener) Addr() net.Addr { return l.addr }

// SyscallConn implements syscall.Conn.
func (l *listener) SyscallConn() (syscall.RawConn, error) { return l.file.SyscallConn() }

// bare is a socket that waits to be adopted. Until then it can tell its
// addresses and be closed.
type bare struct {
	fd       int
	listener *listener
	remote   netip.AddrPort
}

func (b *bare) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(b.remote) }

// LocalAddr asks the system while the socket is open, if need be.
func (b *bare) LocalAddr() net.Addr {
	if b.listener.one {
		return b.listener.addr
	}
	name, err := unix.Getsockname(b.fd)
	if err != nil {
		return b.listener.addr
	}
	return net.TCPAddrFromAddrPort(addrPort(name))
}

func (b *bare) Close() error                   { return unix.Close(b.fd) }
func (*bare) Read([]byte) (int, error)         { return 0, syscall.ENOTSUP }
func (*bare) Write([]byte) (int, error)        { return 0, syscall.ENOTSUP }
func (*bare) SetDeadline(time.Time) error      { return syscall.ENOTSUP }
func (*bare) SetReadDeadline(time.Time) error  { return syscall.ENOTSUP }
func (*bare) SetWriteDeadline(time.Time) error { return syscall.ENOTSUP }

// addrPort returns the address in s, with the name of its interface where it
// means nothing without.
func addrPort(s unix.Sockaddr) netip.AddrPort {
	switch s := s.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(s.Addr), uint16(s.Port))
	case *unix.SockaddrInet6:
		a := netip.AddrFrom16(s.Addr)
		if s.ZoneId != 0 {
			a = a.WithZone(zone(int(s.ZoneId)))
		}
		return netip.AddrPortFrom(a, uint16(s.Port))
	}
	return netip.AddrPort{}
}

func zone(index int) string {
	if i, err := net.InterfaceByIndex(index); err == nil {
		return i.Name
	}
	return strconv.Itoa(index)
}
