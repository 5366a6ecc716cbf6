package logs

import "os"

// Terminal reports whether a file is a terminal, or the console of Windows.
// Where the operating system has no way to tell it is taken for none.
func Terminal(f *os.File) bool { return ask(f, isTerminal) }

// Color reports whether text on f may be coloured: f is a terminal that obeys
// control sequences, and neither NO_COLOR (no-color.org) nor TERM=dumb, which
// getenv is asked for, speaks against it. On Windows it switches them on.
func Color(f *os.File, getenv func(string) string) bool {
	return getenv("NO_COLOR") == "" && getenv("TERM") != "dumb" && ask(f, obeysSequences)
}

// ask asks a question about a file's descriptor without taking it out of Go's
// poller.
func ask(f *os.File, question func(fd uintptr) bool) bool {
	conn, err := f.SyscallConn()
	if err != nil {
		return false
	}
	yes := false
	err = conn.Control(func(fd uintptr) { yes = question(fd) })
	return err == nil && yes
}
