//go:build !linux

package sockio

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Dial connects to a TCP address of this machine, within limit, for t to use.
// The errors are those of package net.
func (w *Watcher) Dial(t *Task, to netip.AddrPort, limit time.Duration) (*Conn, error) {
	t.Detach()
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	d := net.Dialer{KeepAlive: -1}
	nc, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, err
	}
	return w.AdoptFor(t, nc, nil), nil
}
