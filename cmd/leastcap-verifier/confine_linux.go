package main

import (
	"fmt"

	"github.com/landlock-lsm/go-landlock/landlock"
	"golang.org/x/sys/unix"
)

// confine takes away what reading needs not: all files but those below dir, the network where
// the kernel can, and memory beyond a bound. A definition names files of strangers' choice.
func confine(dir string) error {
	// RLIMIT_DATA counts what is written to, and not what Go reserves (setrlimit(2)).
	if err := unix.Setrlimit(unix.RLIMIT_DATA, &unix.Rlimit{Cur: maxMemory, Max: maxMemory}); err != nil {
		return fmt.Errorf("limit the memory: %w", err)
	}
	// A kernel without Landlock (before 5.13) leaves the rest: no reader opens a file that is
	// not in the question, and who asks waits for a while only.
	if err := landlock.V5.BestEffort().Restrict(landlock.RWDirs(dir)); err != nil {
		return fmt.Errorf("confine it to its directory: %w", err)
	}
	return nil
}
