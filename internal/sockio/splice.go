package sockio

import (
	"errors"
	"io"
	"time"
)

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

// errNoSplice says that bytes between these two cannot be moved inside the
// kernel; nothing was moved.
var errNoSplice = errors.New("not two sockets of this kernel")

// copySize is the buffer of a transfer that passes through user space.
const copySize = 64 << 10

// copyStep is how much a task copies before others have their turn: a quarter of
// a millisecond's work where it is encrypted.
const copyStep = 256 << 10

// Splice moves n bytes from src to c, inside the kernel where it can, and
// returns how many reached c; what src gave beyond that is lost. Its errors
// are *SideError, io.ErrUnexpectedEOF in one if src ends early.
//
// Each wait is bounded by the limit last set on its side. The limit of src
// counts only while src is waited for: anew at every step, or, with a minimum
// rate, over all of them. It is off afterwards.
func (c *Conn) Splice(src *Conn, n int64) (moved int64, err error) {
	if c.fd >= 0 && src.fd >= 0 && c.layer.Layer == nil && src.layer.Layer == nil {
		if moved, err = c.splice(src, n); err != errNoSplice {
			return moved, err
		}
	}
	buf := c.w.buffers.Get().(*[copySize]byte)
	defer c.w.buffers.Put(buf)
	m := meter{src: src}
	for moved < n {
		if err := m.begin(); err != nil {
			return moved, err
		}
		k, err := src.Read(buf[:min(n-moved, copySize)])
		if err != nil {
			return moved, readError(err)
		}
		m.end(k)
		k, err = c.Write(buf[:k])
		moved += int64(k)
		if err != nil {
			return moved, &SideError{Err: err}
		}
	}
	return moved, nil
}

func readError(err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return &SideError{Reading: true, Err: err}
}

// meter keeps the read limit of a transfer's source.
type meter struct {
	src    *Conn
	since  int64 // when the present wait began
	credit Credit
}

// begin starts the limit of the next wait.
func (m *meter) begin() error {
	c := m.src
	d := time.Duration(c.readLimit.grace.Load())
	if rate := c.rate.Load(); d > 0 && rate > 0 {
		if m.credit.Spent(d) {
			return readError(ErrLimit)
		}
		d = m.credit.Left(d)
	}
	if !c.readLimit.arm(c.w.limit(d)) {
		return readError(c.cause(ErrLimit, &c.readLimit))
	}
	m.since = c.w.clock.Load()
	return nil
}

// end takes it away, because n bytes came.
func (m *meter) end(n int) {
	c := m.src
	c.readLimit.disarm()
	if rate := c.rate.Load(); rate > 0 {
		waited := time.Duration(c.w.clock.Load() - m.since)
		m.credit.Move(n, waited, time.Duration(c.readLimit.grace.Load()), rate)
	}
}
