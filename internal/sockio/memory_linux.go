package sockio

import (
	"bytes"
	"os"
	"strconv"
)

// newScarce returns what tells whether the kernel is in need of memory for TCP,
// nil where it does not say: as in a container. The sockets of the whole machine
// count. From the second number of tcp_mem on, the kernel keeps new buffers small,
// at the third it drops what arrives, whomever it is for.
func newScarce() func() bool {
	limits, err := os.ReadFile("/proc/sys/net/ipv4/tcp_mem")
	fields := bytes.Fields(limits)
	if err != nil || len(fields) != 3 {
		return nil
	}
	need, err := strconv.ParseInt(string(fields[1]), 10, 64)
	if err != nil {
		return nil
	}
	return func() bool {
		table, err := os.ReadFile("/proc/net/sockstat")
		pages, ok := tcpPages(table)
		return err == nil && ok && pages >= need
	}
}

// tcpPages finds in the kernel's table how many pages its TCP sockets hold.
func tcpPages(table []byte) (pages int64, ok bool) {
	_, rest, _ := bytes.Cut(table, []byte("\nTCP: "))
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	_, number, found := bytes.Cut(line, []byte(" mem "))
	pages, err := strconv.ParseInt(string(number), 10, 64)
	return pages, found && err == nil
}
