//go:build !unix

package engine

import "os/exec"

// Group does nothing where there are no process groups.
func Group(*exec.Cmd) {}

// EndGroup does nothing where there are no process groups.
func EndGroup(*exec.Cmd) {}
