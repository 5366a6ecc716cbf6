//go:build !linux

package sockio

import (
	"context"
	"net"
	"net/netip"
	"time"
)

// Dialing is a connection in the making.
type Dialing struct {
	w      *Watcher
	t      *Task
	to     netip.AddrPort
	ctx    context.Context
	cancel context.CancelFunc
}

// Dial begins to connect to a TCP address of this machine, for t to use. Wait
// must follow. The errors are those of package net.
func (w *Watcher) Dial(t *Task, to netip.AddrPort) (*Dialing, error) {
	d := &Dialing{w: w, t: t, to: to}
	d.ctx, d.cancel = context.WithCancel(context.Background())
	return d, nil
}

// Wait returns the connection, or within limit why there is none.
func (d *Dialing) Wait(limit time.Duration) (*Conn, error) {
	defer d.cancel()
	d.t.Detach()
	dialer := net.Dialer{KeepAlive: -1, Timeout: limit}
	nc, err := dialer.DialContext(d.ctx, "tcp", d.to.String())
	if err != nil {
		return nil, err
	}
	return d.w.AdoptFor(d.t, nc, nil), nil
}

// Abort breaks off what waits, and Wait later on. Any goroutine may call it.
func (d *Dialing) Abort() { d.cancel() }
