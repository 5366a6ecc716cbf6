package sockio

import "unsafe"

// Memory is a piece of memory that can be fetched into the processor's cache.
// It keeps nothing alive: to fetch what is gone costs a little, and does no harm.
type Memory struct {
	at    uintptr
	lines int
}

const cacheLine = 64

// MemoryOf is that of *p.
func MemoryOf[T any](p *T) Memory { return memoryAt(unsafe.Pointer(p), unsafe.Sizeof(*p)) }

// MemoryIn is that of the first n elements behind s, whatever its length is.
func MemoryIn[T any](s []T, n int) Memory {
	var one T
	return memoryAt(unsafe.Pointer(unsafe.SliceData(s)), uintptr(min(n, cap(s)))*unsafe.Sizeof(one))
}

func memoryAt(p unsafe.Pointer, bytes uintptr) Memory {
	at := uintptr(p)
	return Memory{at, int((at%cacheLine + bytes + cacheLine - 1) / cacheLine)}
}

func (m Memory) fetch() { prefetch(m.at, m.lines) }

// A Part is a share of what is near to a task.
type Part uint8

const (
	Front Part = iota // what the owner of the connection names
	Back              // what the handler names
	parts
)

// near is what a loop has fetched before it resumes a task.
type near struct {
	pieces [parts][5]Memory
	self   uintptr // what the scheduler knows of the task's goroutine
	stack  uintptr // where it was suspended
}

// Near says what memory the task uses whenever it goes on; a Part has room for
// five pieces. With a thousand connections, each finds its own cold. So a loop with
// many of them has it fetched, with the task's stack, while the task before it in
// the same round runs: an eighth less time in user space, and less in the kernel,
// which finds the buffers warm.
func (t *Task) Near(p Part, pieces ...Memory) {
	if t != nil {
		clear(t.near.pieces[p][copy(t.near.pieces[p][:], pieces):])
	}
}

// Near says what memory the owner of a connection that has never parked uses when
// it is woken. A loop has that fetched in the same way.
func (c *Conn) Near(m Memory) { c.near = m }

// fetch has what is near fetched. It does not wait for it.
func (n *near) fetch() {
	const (
		ofSelf    = 5   // lines
		below     = 256 // bytes: the frames of the switch itself
		stackPart = 28  // lines: what a request and its response use most of
	)
	prefetch(n.self, ofSelf)
	prefetch(n.stack-below, stackPart)
	for i := range n.pieces {
		for _, m := range n.pieces[i] {
			m.fetch()
		}
	}
}

// here notes where the stack of the goroutine that calls it ends.
func (n *near) here() {
	var b byte
	n.stack = uintptr(unsafe.Pointer(&b))
}
