package sockio

import "errors"

// ErrNoSplice says that bytes between these two cannot be moved inside the
// kernel; nothing was moved, and the caller copies.
var ErrNoSplice = errors.New("not two sockets of this kernel")

// SideError tells which side of a transfer failed.
type SideError struct {
	Reading bool // the source failed, not the destination
	Err     error
}

func (e *SideError) Error() string {
	if e.Reading {
		return "read: " + e.Err.Error()
	}
	return "write: " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *SideError) Unwrap() error { return e.Err }

// Extend starts the limits that are set anew, because bytes have moved.
func (c *Conn) Extend() {
	now := c.w.now.Load()
	if l := c.readLimit.Load(); l > 0 {
		c.readLimit.CompareAndSwap(l, now+c.readGrace.Load())
	}
	if l := c.writeLimit.Load(); l > 0 {
		c.writeLimit.CompareAndSwap(l, now+c.writeGrace.Load())
	}
}
