//go:build !linux

package sockio

// pipes is not needed on this system: nothing is moved inside the kernel.
type pipes struct{}

func (*pipes) close() {}

func (c *Conn) splice(*Conn, int64) (int64, error) { return 0, errNoSplice }
