//go:build unix

package engine

import (
	"os/exec"
	"syscall"
	"time"
)

// Group gives a command a process group of its own: the terminal's Ctrl-C is
// for leastcap, which then stops in order, and cancelling ends all of the group.
// A child that keeps the command's output open holds nobody up for long.
func Group(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
}

// EndGroup ends what a command that has been waited for left of its group.
func EndGroup(cmd *exec.Cmd) {
	if cmd.Process != nil {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // nobody is left: that is what is wanted
	}
}
