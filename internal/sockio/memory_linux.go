package sockio

import (
	"bytes"
	"os"
	"strconv"
)

// newScarce returns what tells whether the kernel is in need of memory for TCP,
// nil where it does not say. The sockets of the whole machine count. From the
// second number of tcp_mem on, the kernel keeps new buffers small, at the third
// it drops what arrives, whomever it is for. A container does not see tcp_mem:
// there it is what the kernel chooses, a sixteenth of all memory.
func newScarce() func() bool {
	limits, _ := os.ReadFile("/proc/sys/net/ipv4/tcp_mem")
	need, ok := number(limits, 1)
	if !ok {
		memory, _ := os.ReadFile("/proc/meminfo")
		if need, ok = usualNeed(memory); !ok {
			return nil
		}
	}
	return func() bool {
		table, err := os.ReadFile("/proc/net/sockstat")
		pages, ok := tcpPages(table)
		return err == nil && ok && pages >= need
	}
}

// usualNeed returns a sixteenth of the memory that meminfo tells of, in pages.
func usualNeed(meminfo []byte) (pages int64, ok bool) {
	_, rest, found := bytes.Cut(meminfo, []byte("MemTotal:"))
	kilobytes, ok := number(rest, 0)
	return kilobytes << 10 / int64(os.Getpagesize()) / 16, found && ok
}

// number returns the field of text with this index, a number.
func number(text []byte, index int) (n int64, ok bool) {
	fields := bytes.Fields(text)
	if index >= len(fields) {
		return 0, false
	}
	n, err := strconv.ParseInt(string(fields[index]), 10, 64)
	return n, err == nil
}

// tcpPages finds in the kernel's table how many pages its TCP sockets hold.
func tcpPages(table []byte) (pages int64, ok bool) {
	_, rest, _ := bytes.Cut(table, []byte("\nTCP: "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	_, number, found := bytes.Cut(line, []byte(" mem "))
	pages, err := strconv.ParseInt(string(number), 10, 64)
	return pages, found && err == nil
}
