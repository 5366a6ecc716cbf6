//go:build !windows && !darwin

package recognize

// What programs of this system are.
const (
	native       = elf
	nativeSystem = "linux"
)
