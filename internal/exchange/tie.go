package exchange

import (
	"sync/atomic"
	"time"
)

// Quota is how many connections a site may have at a time, and how many there
// are. Plans hand it on, so that connections are counted across reloads.
type Quota struct {
	most atomic.Int64
	open atomic.Int64
}

// Limit sets how many connections there may be. Those that are open already
// stay.
func (q *Quota) Limit(most int64) { q.most.Store(most) }

// Open returns how many there are.
func (q *Quota) Open() int64 { return q.open.Load() }

// Tie joins a connection to the site that it was used for last. The zero Tie
// is one that no site has asked for. Streams of one connection may use it at
// the same time.
type Tie struct {
	quota atomic.Pointer[Quota]
	idle  atomic.Int64
}

// To ties the connection to a site: it counts for quota, unless that is nil,
// and may be idle for so long, unless that is 0. It reports false, and changes
// nothing, where the site has all the connections that it may have. A nil Tie
// is never refused.
func (t *Tie) To(quota *Quota, idle time.Duration) bool {
	if t == nil {
		return true
	}
	was := t.quota.Load()
	if quota != was {
		if quota != nil && quota.open.Add(1) > quota.most.Load() {
			quota.open.Add(-1)
			return false
		}
		if t.quota.CompareAndSwap(was, quota) {
			leave(was)
		} else {
			leave(quota) // another stream was first
		}
	}
	if t.idle.Load() != int64(idle) {
		t.idle.Store(int64(idle))
	}
	return true
}

func leave(q *Quota) {
	if q != nil {
		q.open.Add(-1)
	}
}

// Idle is how long the connection may be idle, 0 if the site does not say.
func (t *Tie) Idle() time.Duration { return time.Duration(t.idle.Load()) }

// End is called by the driver when the connection has closed.
func (t *Tie) End() { leave(t.quota.Swap(nil)) }
