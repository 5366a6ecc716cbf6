//go:build amd64 || arm64

package sockio

// prefetch has so many lines of the cache fetched from at on. No address is wrong.
//
//go:noescape
func prefetch(at uintptr, lines int)

// self is where the scheduler keeps what it knows of the goroutine that calls.
func self() uintptr
