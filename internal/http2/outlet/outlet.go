// Package outlet sends what gathers in a connection of HTTP/2, for many
// goroutines that have something to say on it and none that does nothing else.
//
// The drivers of both ends import it: internal/serve for clients, and
// internal/handler/forward for applications. It knows no socket: what it writes
// to bounds how long a write takes.
package outlet

import (
	"io"
	"runtime"
	"sync"

	"github.com/perchserver/perch/internal/http2"
)

// Outlet belongs to the lock of a connection's driver, which is held whenever a
// method is called, and given up by those that wait. Whoever has added frames
// calls Flush: it finds nobody sending and sends for all, or leaves it to the one
// who does. Who adds without bound waits: for Room, where Full, and the reader,
// whose peer asks and does not read, in Drain.
type Outlet struct {
	// Room wakes who adds bodies: for the connection's window, which the driver
	// tells of, or for less to be pending.
	Room sync.Cond

	// Dead is why nothing can be sent any more. A failed write sets it, and the
	// driver may.
	Dead error

	mu      *sync.Mutex
	h2      *http2.Conn
	to      io.Writer
	lost    func(error)
	sending bool      // somebody writes
	spare   []byte    // empty buffer for what gathers meanwhile
	drained sync.Cond // of the reader: for less to be pending
	over    sync.Cond // for sending to be false
}

// What may be pending.
const (
	MaxPending = 64 << 10  // bytes that gather before those with bodies wait
	MaxControl = 256 << 10 // and before nothing more is read
)

const maxSpare = 256 << 10 // a larger buffer is not kept

// Open makes o ready to send what gathers in h2. lost is called when a write has
// failed, once.
func (o *Outlet) Open(mu *sync.Mutex, h2 *http2.Conn, to io.Writer, lost func(error)) {
	o.mu, o.h2, o.to, o.lost = mu, h2, to, lost
	o.Room.L, o.drained.L, o.over.L = mu, mu, mu
}

// Flush sends what has gathered, unless somebody is at it. shared says that
// others may be about to add something, which then goes along. It does not serve
// others for longer than one write: the rest is left to a goroutine, for which
// Finish waits.
func (o *Outlet) Flush(shared bool) {
	if !o.begin() {
		return
	}
	if shared {
		o.mu.Unlock()
		runtime.Gosched()
		o.mu.Lock()
	}
	o.send()
	if o.Dead == nil && o.h2.Pending() > 0 {
		go o.rest()
		return
	}
	o.end()
}

// FlushAside is Flush for those who must not wait.
func (o *Outlet) FlushAside() {
	if o.begin() {
		go o.rest()
	}
}

// FlushAll returns when everything has been sent, or nothing can be.
func (o *Outlet) FlushAll() {
	for o.Dead == nil && (o.sending || o.h2.Pending() > 0) {
		if o.sending {
			o.over.Wait()
		} else {
			o.Flush(false)
		}
	}
}

// begin reports whether there is something to send, and nobody who does.
func (o *Outlet) begin() bool {
	if o.sending || o.Dead != nil || o.h2.Pending() == 0 {
		return false
	}
	o.sending = true
	return true
}

func (o *Outlet) end() {
	o.sending = false
	o.over.Broadcast()
}

// rest sends until nothing is left.
func (o *Outlet) rest() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for o.Dead == nil && o.h2.Pending() > 0 {
		o.send()
	}
	o.end()
}

// send writes what has gathered.
func (o *Outlet) send() {
	out := o.h2.Out(o.spare)
	o.spare = nil
	o.mu.Unlock()
	_, err := o.to.Write(out)
	o.mu.Lock()
	if cap(out) <= maxSpare {
		o.spare = out[:0]
	}
	if err != nil && o.Dead == nil {
		o.Dead = err
		o.Room.Broadcast()
		o.lost(err)
	}
	o.Room.Signal()
	o.drained.Signal()
}

// Sending reports whether somebody writes, who will see what is added now.
func (o *Outlet) Sending() bool { return o.sending }

// Full reports whether more of a body should wait for Room.
func (o *Outlet) Full() bool { return o.h2.Pending() >= MaxPending }

// Drain makes the reader wait while too much is pending of what it has caused.
func (o *Outlet) Drain() {
	for o.h2.Pending() > MaxControl && o.Dead == nil {
		o.drained.Wait()
	}
}

// Finish waits until nobody writes any more. Whoever closes what is written to
// breaks writes off and calls it before.
func (o *Outlet) Finish() {
	for o.sending {
		o.over.Wait()
	}
}

// Rest gives up the memory that only a connection at work needs.
func (o *Outlet) Rest() { o.spare = nil }
