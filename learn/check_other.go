//go:build !unix

package learn

import "os/exec"

func group(*exec.Cmd) {}
