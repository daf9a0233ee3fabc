//go:build !race

package probe

const detectorMiB = 0
