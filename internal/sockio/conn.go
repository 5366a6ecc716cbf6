// Package sockio is how bytes meet sockets: a Conn reads and writes one
// without the costs of the general path, moves bodies between two inside the
// kernel, and obeys limits that cost a store to set; a Watcher holds the
// coarse clock behind those limits and the place where idle connections wait
// without a goroutine.
//
// It knows no protocol. The drivers (internal/serve) and the forwarder
// (internal/handler/forward) import it; it imports nothing of Perch.
package sockio

import (
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"
)

// ErrLimit is what Read, Write and Splice return when a limit set with
// LimitRead or LimitWrite has passed.
var ErrLimit = errors.New("time limit passed")

// ErrAborted is what they return after Abort.
var ErrAborted = errors.New("aborted")

// Conn is one socket. One goroutine may read while another writes; Abort,
// Close and the limits may be used by any.
type Conn struct {
	nc  net.Conn
	raw syscall.RawConn // nil: use nc (not Linux, or not a socket of the kernel)
	w   *Watcher

	in  readOp
	out writeOp

	// Limits are coarse clock times in nanoseconds; see limitNone.
	readLimit, writeLimit atomic.Int64
	aborted               atomic.Bool

	readGrace, writeGrace atomic.Int64 // what they were set to, for extensions

	// unsent is the kernel's send queue at the last look of the sweeper.
	unsent atomic.Int64

	// stay is odd while the owner waits for something else than this
	// connection; the sweeper then watches for the peer's going.
	stay atomic.Uint32
	seen uint32 // sweeper's last view of stay

	place place // in the epoll of the watcher
	owner Owner

	prev, next *Conn // list of the watcher
}

// Owner is told what the watcher sees of a connection. Its methods must not
// block.
type Owner interface {
	// Wake is called on a goroutine of its own when a parked connection has
	// something to read, or has been closed by its peer.
	Wake()

	// Gone is called when the peer of a connection that is busy with
	// something else (Stay) has closed its side.
	Gone()
}

// A limit is a coarse clock time, or one of these.
const (
	limitNone    = 0
	limitExpired = -1
)

// Read reads what is there, at least one byte, waiting if need be.
func (c *Conn) Read(p []byte) (int, error) {
	if c.raw == nil {
		n, err := c.nc.Read(p)
		return n, c.cause(err, &c.readLimit)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n, err := c.in.read(c.raw, p)
	if err != nil && err != io.EOF {
		err = c.cause(err, &c.readLimit)
	}
	return n, err
}

// Write writes all of p.
func (c *Conn) Write(p []byte) (int, error) {
	if c.raw == nil {
		c.armWrite()
		n, err := c.nc.Write(p)
		c.disarmWrite()
		return n, c.cause(err, &c.writeLimit)
	}
	n, waited, err := c.out.write(c.raw, p)
	if waited {
		c.disarmWrite()
	}
	if err != nil {
		err = c.cause(err, &c.writeLimit)
	}
	return n, err
}

// cause tells a passed limit and an abort from other errors.
func (c *Conn) cause(err error, limit *atomic.Int64) error {
	if err == nil {
		return nil
	}
	if c.aborted.Load() {
		return ErrAborted
	}
	if errors.Is(err, os.ErrDeadlineExceeded) || limit.Load() == limitExpired {
		return ErrLimit
	}
	return err
}

// LimitRead makes reads fail with ErrLimit once d has passed from now. The
// limit stays, over any number of reads, until it is set anew; 0 takes it
// away. It is kept by the coarse clock, so it may fire a tick late.
func (c *Conn) LimitRead(d time.Duration) {
	c.readGrace.Store(int64(d))
	c.readLimit.Store(c.w.limit(d))
}

// LimitWrite makes a write fail with ErrLimit when it has waited for d for
// the peer to take bytes; 0 waits for ever. Writing without waiting costs
// nothing. A peer that takes bytes above MinRate, however few at a time, is
// given more time.
func (c *Conn) LimitWrite(d time.Duration) {
	c.writeGrace.Store(int64(d))
}

// armWrite starts the write limit, because a write has to wait.
func (c *Conn) armWrite() {
	if d := c.writeGrace.Load(); d > 0 {
		c.unsent.Store(0)
		c.writeLimit.Store(c.w.limit(time.Duration(d)))
	}
}

// disarmWrite ends it, because the write is done. A limit that has fired
// stays.
func (c *Conn) disarmWrite() {
	if l := c.writeLimit.Load(); l > 0 {
		c.writeLimit.CompareAndSwap(l, limitNone)
	}
}

// Unlimit takes both limits away and reports whether the connection is still
// whole: false if one of them fired or it was aborted.
func (c *Conn) Unlimit() bool {
	r := c.readLimit.Swap(limitNone)
	w := c.writeLimit.Swap(limitNone)
	return r != limitExpired && w != limitExpired && !c.aborted.Load()
}

// ForgiveRead makes a connection usable again whose read limit has passed
// before any byte came.
func (c *Conn) ForgiveRead() error {
	c.readLimit.Store(limitNone)
	return c.nc.SetReadDeadline(time.Time{})
}

// BreakRead makes a read that waits fail, and later ones, until ForgiveRead.
func (c *Conn) BreakRead() { c.nc.SetReadDeadline(past()) }

// Abort breaks off reads and writes that wait, and all later ones.
func (c *Conn) Abort() {
	c.aborted.Store(true)
	c.nc.SetDeadline(past())
}

// Aborted reports whether Abort was called.
func (c *Conn) Aborted() bool { return c.aborted.Load() }

// Stay tells the watcher that the owner waits for something else (true), or
// does so no longer. If the wait is longer than a tick or two, the watcher
// looks out for the peer's going.
func (c *Conn) Stay(waiting bool) {
	if (c.stay.Load()&1 == 1) != waiting {
		c.stay.Add(1)
	}
}

// SendFile sends what l reads from a file, inside the kernel where it can.
func (c *Conn) SendFile(l *io.LimitedReader) (int64, error) {
	c.armWrite()
	defer c.disarmWrite()
	n, err := io.Copy(c.nc, l) // package net knows sendfile
	return n, c.cause(err, &c.writeLimit)
}

// CloseWrite ends the sending direction.
func (c *Conn) CloseWrite() error {
	if h, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return h.CloseWrite()
	}
	return c.nc.Close()
}

// Close closes the socket and takes it out of the watcher.
func (c *Conn) Close() error {
	c.w.remove(c)
	return c.nc.Close()
}

// Net returns the connection beneath, for its addresses.
func (c *Conn) Net() net.Conn { return c.nc }

// past is a time that has passed long ago, so a deadline that fires at once.
func past() time.Time { return time.Unix(1, 0) }
