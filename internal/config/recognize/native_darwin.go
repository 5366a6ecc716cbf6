package recognize

// What programs of this system are.
const (
	native       = mach
	nativeSystem = "osx"
)
