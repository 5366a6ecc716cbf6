package sockio

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Dialing is a connection in the making.
type Dialing struct {
	conn *Conn
	to   netip.AddrPort
}

// Dial begins to connect to a TCP address of this machine, for t to use. Wait
// must follow. The errors are those of package net.
func (w *Watcher) Dial(t *Task, to netip.AddrPort) (*Dialing, error) {
	fd, ready, err := openNear(to)
	if err != nil {
		return nil, dialError(to, err)
	}
	c := &Conn{fd: fd, w: w, task: t}
	if ready {
		c.wr.state.Store(sideReady)
	}
	if err := w.take(c); err != nil {
		c.Close()
		return nil, dialError(to, err)
	}
	return &Dialing{c, to}, nil
}

// Wait returns the connection, or within limit why there is none. The task waits
// on its loop, so that a burst of requests that each need a connection takes no
// goroutines. The cause of its error may be ErrLimit or ErrAborted.
func (d *Dialing) Wait(limit time.Duration) (*Conn, error) {
	if err := d.conn.connected(d.to, limit); err != nil {
		d.conn.Close()
		return nil, dialError(d.to, err)
	}
	return d.conn, nil
}

// Abort breaks off what waits, and Wait later on. Any goroutine may call it.
func (d *Dialing) Abort() { d.conn.Abort() }

// dialError says what failed as package net does.
func dialError(to netip.AddrPort, err error) error {
	return &net.OpError{Op: "dial", Net: "tcp", Addr: net.TCPAddrFromAddrPort(to), Err: err}
}

// openNear begins to connect. It reports whether that is done already.
func openNear(to netip.AddrPort) (fd int, ready bool, err error) {
	family := unix.AF_INET6
	var at unix.Sockaddr = &unix.SockaddrInet6{Port: int(to.Port()), Addr: to.Addr().As16()}
	if a := to.Addr(); a.Is4() {
		family, at = unix.AF_INET, &unix.SockaddrInet4{Port: int(to.Port()), Addr: a.As4()}
	}
	fd, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP)
	if err != nil {
		return -1, false, os.NewSyscallError("socket", err)
	}
	if err = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1); err != nil {
		err = os.NewSyscallError("setsockopt", err)
	} else if err = errors.Join(unpace(fd, true), bound(fd)); err == nil {
		switch err = unix.Connect(fd, at); err {
		case nil:
			return fd, true, nil
		case unix.EINPROGRESS:
			return fd, false, nil
		}
		err = os.NewSyscallError("connect", err)
	}
	unix.Close(fd)
	return -1, false, err
}

// connected waits until the socket is connected, or why it is not.
func (c *Conn) connected(to netip.AddrPort, limit time.Duration) error {
	c.LimitWrite(limit)
	c.armWrite(0)
	if err := c.wait(&c.wr, &c.writeLimit); err != nil {
		return err
	}
	c.writeLimit.disarm()
	if c.ended.Load() {
		code, err := unix.GetsockoptInt(c.fd, unix.SOL_SOCKET, unix.SO_ERROR)
		switch {
		case err != nil:
			return os.NewSyscallError("getsockopt", err)
		case code != 0:
			return os.NewSyscallError("connect", unix.Errno(code))
		}
	}
	// Where nobody listens, the system may choose the very port for the near end
	// too, and TCP then connects a socket to itself.
	near, err := unix.Getsockname(c.fd)
	switch {
	case err != nil:
		return os.NewSyscallError("getsockname", err)
	case addrPort(near) == to:
		c.Reset() // or the port stays taken for a minute
		return os.NewSyscallError("connect", unix.ECONNREFUSED)
	}
	c.wr.again()
	return nil
}
