//go:build !linux

package sockio

// pipes is not needed on this system: nothing is moved inside the kernel.
type pipes struct{}

func (*pipes) close() {}

// Splice reports ErrNoSplice: this system cannot move bytes between sockets.
func (c *Conn) Splice(src *Conn, n int64) (moved int64, err error) { return 0, ErrNoSplice }
