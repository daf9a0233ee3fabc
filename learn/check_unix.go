//go:build unix

package learn

import (
	"os/exec"
	"syscall"
)

// group gives the check a process group of its own, so that all of it ends
// with it.
func group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}
