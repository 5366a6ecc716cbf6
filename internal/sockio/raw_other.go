//go:build !linux

package sockio

import (
	"errors"
	"os"
	"syscall"
)

// rawIO: this system goes through package net.
const rawIO = false

var errNoRaw = errors.New("raw socket I/O is there on Linux only")

type readOp struct{}

func (*readOp) init() {}

func (*readOp) read(syscall.RawConn, []byte) (int, error) { return 0, errNoRaw }

func (*readOp) readHeld(syscall.RawConn, Holder) (int, error) { return 0, errNoRaw }

type writeOp struct{}

func (*writeOp) init(*Conn) {}

func (*writeOp) write(syscall.RawConn, []byte) (int, bool, error) { return 0, false, errNoRaw }

type peekOp struct{}

func (*peekOp) init() {}

type fileOp struct{}

func (c *Conn) sendFile([]byte, *os.File, int64, int64) (int64, error) { return 0, errNoSendFile }

func (c *Conn) heldByKernel() (held int64, ok bool) { return 0, false }

// Alive reports whether an idle connection is still open. This system cannot
// tell without reading, so the answer is yes unless it was aborted.
func (c *Conn) Alive() bool { return !c.aborted.Load() }
