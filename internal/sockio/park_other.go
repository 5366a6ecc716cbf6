//go:build !linux

package sockio

import "time"

// poller is not there on this system: idle connections keep their goroutine,
// and a client that goes while its backend is slow is noticed at the next
// byte for it.
type poller struct{}

type place struct{ parked bool }

func newPoller() (*poller, error) { return nil, nil }

func (*poller) close()                  {}
func (*poller) forget(*Conn)            {}
func (*poller) watchGone(*Conn, uint32) {}

// Park reports false: connections do not park on this system.
func (c *Conn) Park(time.Duration) bool { return false }

// Unpark reports false: nothing is ever parked on this system.
func (c *Conn) Unpark() bool { return false }

// CanPark reports false on this system.
func (c *Conn) CanPark() bool { return false }
