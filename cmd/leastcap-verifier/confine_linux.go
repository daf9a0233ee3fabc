package main

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// confine takes away what reading needs not: all files but those below dir, the network where
// the kernel can, and memory beyond a bound. A definition names files of strangers' choice.
func confine(dir string) error {
	// RLIMIT_DATA counts what is written to, and not what Go reserves (setrlimit(2)). A lower
	// limit stays: nobody may raise it without CAP_SYS_RESOURCE.
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_DATA, &limit)
	if err == nil {
		limit.Max = min(limit.Max, maxMemory)
		limit.Cur = min(limit.Cur, limit.Max)
		err = unix.Setrlimit(unix.RLIMIT_DATA, &limit)
	}
	if err != nil {
		return fmt.Errorf("limit the memory: %w", err)
	}
	// A kernel without Landlock (before 5.13) leaves the rest: no reader opens a file that is
	// not in the question, and who asks waits for a while only.
	if err := landlock.V5.BestEffort().Restrict(landlock.RWDirs(dir)); err != nil {
		return fmt.Errorf("confine it to its directory: %w", err)
	}
	return nil
}
