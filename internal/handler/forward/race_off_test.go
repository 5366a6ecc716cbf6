//go:build !race

package forward_test

// raceDetector is off.
const raceDetector = false
