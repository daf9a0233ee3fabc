//go:build race

package probe

// detectorMiB is how much more memory a process takes with the race detector.
const detectorMiB = 32
