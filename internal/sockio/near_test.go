package sockio

import (
	"testing"
	"unsafe"
)

func TestMemoryCoversWhatItNames(t *testing.T) {
	buf := make([]byte, 64<<10) // too large for the stack, which may move
	covers := func(what string, m Memory, first, last *byte) {
		t.Helper()
		from, to := m.at/cacheLine, m.at/cacheLine+uintptr(m.lines)
		a, b := uintptr(unsafe.Pointer(first))/cacheLine, uintptr(unsafe.Pointer(last))/cacheLine
		if from != a || to != b+1 {
			t.Errorf("%s: lines %d to %d, want %d to %d", what, from, to, a, b+1)
		}
	}
	for off := range 70 {
		covers("200 bytes", MemoryIn(buf[off:off], 200), &buf[off], &buf[off+199])
	}
	covers("more than there is", MemoryIn(buf[:10:100], 500), &buf[0], &buf[99])
	p := (*[300]byte)(buf[77:])
	covers("an array", MemoryOf(p), &buf[77], &buf[376])
}

func TestFetchingNothingIsNoFault(t *testing.T) {
	MemoryOf((*Conn)(nil)).fetch()
	MemoryIn([]byte(nil), 100).fetch()
	Memory{at: ^uintptr(0) - 100, lines: 4}.fetch()
	Memory{}.fetch()
	new(near).fetch()
}

func TestNearReplacesAPart(t *testing.T) {
	var task Task
	var x [4]int64
	one := MemoryOf(&x)
	task.Near(Front, one, one, one)
	task.Near(Back, one)
	task.Near(Front, one)
	for part, want := range []int{1, 1} {
		n := 0
		for _, m := range task.near.pieces[part] {
			n += m.lines
		}
		if n != want*one.lines {
			t.Errorf("part %d has %d lines, want %d", part, n, want*one.lines)
		}
	}
	(*Task)(nil).Near(Front, one)
	var c Conn
	if c.Near(one); c.near != one {
		t.Errorf("a connection has %v, want %v", c.near, one)
	}
}

func TestHereIsOnTheStack(t *testing.T) {
	var n near
	var b byte
	n.here()
	if at := uintptr(unsafe.Pointer(&b)); n.stack > at || at-n.stack > 4<<10 {
		t.Errorf("%#x is not the end of a stack with %#x", n.stack, at)
	}
}
