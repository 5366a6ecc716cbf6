package static

import (
	"io/fs"
	"os"
	"syscall"
)

const openFlags = os.O_RDONLY

// Error numbers of Windows that the syscall package does not name.
const (
	errorInvalidName         syscall.Errno = 123
	errorFilenameExceedRange syscall.Errno = 206
	errorDirectory           syscall.Errno = 267
)

func leadsNowhere(e syscall.Errno) bool {
	switch e {
	case errorInvalidName, errorFilenameExceedRange, errorDirectory, syscall.ENOTDIR:
		return true
	}
	return false
}

// isShortName reports whether s may be the 8.3 name of another file, such as
// WEB~1.CON of web.config.
func isShortName(s []byte) bool {
	for i := 0; i+1 < len(s); i++ {
		if s[i] == '~' && s[i+1] >= '0' && s[i+1] <= '9' {
			return true
		}
	}
	return false
}

func hasHiddenAttribute(info fs.FileInfo) bool {
	d, ok := info.Sys().(*syscall.Win32FileAttributeData)
	return ok && d.FileAttributes&syscall.FILE_ATTRIBUTE_HIDDEN != 0
}

// staysOpen: a file that is open can be deleted here, but the folder it is in
// can be neither renamed nor removed, and no other file renamed over it. So a
// Cache holds no large files.
const staysOpen = false

func (f *file) asOpened() bool { return false }
