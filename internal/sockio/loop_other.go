//go:build !linux

package sockio

import (
	"net"
	"os"
	"sync/atomic"
)

// loop is not there on this system: all connections go through package net,
// idle ones keep their goroutine, and a client that goes while its backend is
// slow is noticed at the next byte for it.
type loop struct {
	number int
	queue  []errand
	turn   atomic.Uint64
}

type errand struct{ task *Task }

func newLoop(*Watcher) (*loop, error) { return nil, nil }

func (*loop) add(*Conn) error { return nil }
func (*loop) replace()        {}
func (*loop) unblock()        {}
func (*loop) trim() int       { return 0 }
func (*loop) close()          {}
func (*loop) release()        {}

func descriptor(net.Conn) (int, bool) { return -1, false }

func (c *Conn) signal(*side, bool) {}

func (c *Conn) tryReceive([]byte) (int, error) { return 0, ErrDry }

func (c *Conn) trySend([]byte, int) (int, error) { return 0, ErrDry }

func (c *Conn) sendFile([]byte, *os.File, int64, int64) (int64, error) { return 0, errNoSendFile }

func (c *Conn) heldByKernel() (held int64, ok bool) { return 0, false }

// Alive reports whether an idle connection is still open. This system cannot
// tell without reading, so the answer is yes unless it was aborted.
func (c *Conn) Alive() bool { return !c.aborted.Load() }

func (c *Conn) shutdown() error { return nil }

func (c *Conn) linger() {}

func (c *Conn) closeSocket() error { return nil }
