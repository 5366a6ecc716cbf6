package recognize

// What programs of this system are.
const (
	native       = pe
	nativeSystem = "win"
)

// shell runs the command line that follows it.
const (
	shell       = "cmd.exe"
	shellOption = "/c"
)
