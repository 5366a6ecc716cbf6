//go:build race

package forward_test

// raceDetector is on: pools forget at random then, so allocations say nothing.
const raceDetector = true
