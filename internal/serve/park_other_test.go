//go:build !linux

package serve

const nativePark = false
