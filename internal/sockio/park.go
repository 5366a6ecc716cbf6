package sockio

import "time"

// Park leaves c in the watcher: the caller returns its buffers and its
// goroutine, and the owner is woken, on a task, by the first byte, by the peer's
// closing, or when idle has passed, in which case reading fails with ErrLimit.
// From then on the connection belongs to whoever takes it out of the watcher.
//
// It reports false if the connection cannot park, was aborted, or has been idle for
// that long before it had parked: it still is the caller's.
func (c *Conn) Park(idle time.Duration) bool {
	if !c.CanPark() || c.aborted.Load() {
		return false
	}
	c.LimitRead(idle)
	if c.task == nil { // it had a goroutine
		c.w.left.behind.Add(1)
	}
	c.rejoin()
	c.task = nil
	for !c.rd.state.CompareAndSwap(sideDry, sideParked) {
		// There may be something already, or a limit was kept that is none
		// any more.
		if c.rd.take() && !c.Alive() {
			c.rd.state.Store(sideParked)
			c.signal(&c.rd, true)
			break
		}
	}
	// An Abort, or the limit, may have come when nothing was parked yet.
	return !c.aborted.Load() && !c.readLimit.expired() || !c.Unpark()
}

// WakeOwner has the owner of a connection that can park woken as if c had
// parked and something had come. From then on the connection belongs to it. It is
// for a goroutine, whose stack stays behind.
func (c *Conn) WakeOwner() {
	c.w.left.behind.Add(1)
	c.rejoin()
	c.task = nil
	c.rd.state.Store(sideParked)
	c.signal(&c.rd, true)
}

// CanPark reports whether Park has a chance.
func (c *Conn) CanPark() bool { return c.fd >= 0 && c.owner != nil }

// Unpark takes a parked connection back, to close it. It reports false if
// its owner has been woken already.
func (c *Conn) Unpark() bool { return c.rd.state.CompareAndSwap(sideParked, sideReady) }
