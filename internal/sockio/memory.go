package sockio

import (
	"sync"
	"time"
)

// HardTimes is how long a peer that takes less than the minimum rate is waited
// for while the kernel is in need of memory. Behind its own bytes there wait those
// that its application has sent, nearly a megabyte, and a kernel that has no
// more to give drops what comes for others.
const HardTimes = time.Second

// memory is what is known of the kernel's memory for what it holds for peers.
type memory struct {
	mu     sync.Mutex
	scarce func() bool // nil: nobody knows
	at     int64       // coarse time of the last answer
	is     bool
}

// Scarce reports whether the kernel is in need of memory for its sockets. The
// answer is at most a tick old.
func (w *Watcher) Scarce() bool {
	m := &w.memory
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := w.clock.Load(); m.at != now {
		m.at, m.is = now, m.scarce != nil && m.scarce()
	}
	return m.is
}

// JudgeMemory has scarce tell from now on whether the kernel is in need.
func (w *Watcher) JudgeMemory(scarce func() bool) {
	w.memory.mu.Lock()
	defer w.memory.mu.Unlock()
	w.memory.scarce, w.memory.at = scarce, 0
}
