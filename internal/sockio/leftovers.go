package sockio

import (
	"sync/atomic"
	"time"
)

// leftovers counts what parking leaves behind: the stack of the goroutine
// that waited, and the buffers it had. The runtime keeps both until it next
// collects garbage, which in a server that allocates next to nothing may be
// two minutes away. So after a crowd has come and gone quiet, the watcher
// asks it to give that memory back: of 10,000 idle connections, half.
type leftovers struct {
	parked atomic.Int64 // connections, ever

	// The sweeper's own.
	seen  int64 // parked at its last look
	since int64 // coarse time from which seen has not changed
	given int64 // parked when memory was given back
	next  int64 // coarse time before which it is not given back again
}

const (
	// crowd is how many connections leave enough behind to be worth a
	// collection: some 10 MB.
	crowd = 1000

	// quiet is how long no connection has parked: the next would be given
	// the stack of the last.
	quiet = time.Second

	// tidyPause is the least time between two collections.
	tidyPause = 10 * time.Second
)

// due reports, once for every crowd, that memory is to be given back.
func (l *leftovers) due(now int64) bool {
	parked := l.parked.Load()
	if parked != l.seen {
		l.seen, l.since = parked, now
		return false
	}
	if parked-l.given < crowd || now < l.since+int64(quiet) || now < l.next {
		return false
	}
	l.given, l.next = parked, now+int64(tidyPause)
	return true
}
