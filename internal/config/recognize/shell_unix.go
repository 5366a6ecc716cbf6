//go:build !windows

package recognize

// shell runs the command line that follows it.
const (
	shell       = "/bin/sh"
	shellOption = "-c"
)
