//go:build unix

package output

import (
	"io/fs"
	"syscall"
)

// openFlags refuse a link in place of the file, and do not wait for the other
// end of a pipe.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK

// names returns how many names (hard links) a file has.
func names(st fs.FileInfo) uint64 {
	if sys, ok := st.Sys().(*syscall.Stat_t); ok {
		return uint64(sys.Nlink)
	}
	return 1
}
