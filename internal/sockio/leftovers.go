package sockio

import (
	"runtime"
	"runtime/debug"
	"sync/atomic"
	"time"
)

// leftovers counts what is left behind when connections park and tasks are
// given back: stacks, and the buffers they had. The runtime keeps both until it
// next collects garbage, which in a server that allocates next to nothing may be
// two minutes away. So after a crowd has come and gone quiet, the watcher asks
// it to give that memory back: of 10,000 idle connections, half.
type leftovers struct {
	behind atomic.Int64 // connections and tasks, ever

	// The sweeper's own.
	seen  int64 // behind at its last look
	since int64 // coarse time from which seen has not changed
	given int64 // behind when memory was given back
	next  int64 // coarse time before which it is not given back again
}

const (
	// crowd is how many connections leave enough behind to be worth a
	// collection: some 10 MB.
	crowd = 1000

	// quiet is how long nothing was added: the next would be given the stack
	// of the last. A crowd that asks every few seconds finds what it left: to
	// make it anew costs 20 microseconds for a connection.
	quiet = 5 * time.Second

	// tidyPause is the least time between two collections.
	tidyPause = 10 * time.Second
)

// due reports, once for every crowd, that memory is to be given back.
func (l *leftovers) due(now int64) bool {
	behind := l.behind.Load()
	if behind != l.seen {
		l.seen, l.since = behind, now
		return false
	}
	if behind-l.given < crowd || now < l.since+int64(quiet) || now < l.next {
		return false
	}
	l.given, l.next = behind, now+int64(tidyPause)
	return true
}

// tidy collects twice: what lies in a sync.Pool outlives the first time.
func tidy() {
	runtime.GC()
	debug.FreeOSMemory()
}
