//go:build !linux

package proc

// Kernel is "" where no Linux runs.
func Kernel() string { return "" }
