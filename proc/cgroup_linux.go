package proc

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// poll is how often a cgroup is looked at for being empty.
const poll = 10 * time.Millisecond

// KillTimeout is how long a process may take to end after SIGKILL. It is one that writes to a
// slow disk that takes seconds, or a machine that stands still.
const KillTimeout = 30 * time.Second

// KillCgroup sends SIGKILL to all processes in a cgroup until none is left, for
// KillTimeout at most: they may fork meanwhile.
func KillCgroup(dir string) error {
	end := time.Now().Add(KillTimeout)
	for {
		// v2 since 5.14 does it in one step (Documentation/admin-guide/cgroup-v2.rst).
		_ = os.WriteFile(filepath.Join(dir, "cgroup.kill"), []byte("1"), 0)
		pids, err := Procs(dir)
		if errors.Is(err, fs.ErrNotExist) || err == nil && len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			_ = unix.Kill(pid, unix.SIGKILL)
		}
		if time.Now().After(end) {
			return fmt.Errorf("processes in %s do not end: %v", dir, pids)
		}
		time.Sleep(poll)
	}
}

// RemoveCgroup ends what runs in a cgroup, and removes it and those below it. One that
// is not there is fine.
func RemoveCgroup(dir string) error {
	if err := KillCgroup(dir); err != nil {
		return err
	}
	end := time.Now().Add(KillTimeout)
	for {
		err := removeTree(dir)
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) || time.Now().After(end) {
			return err
		}
		time.Sleep(poll) // zombies hold it until they are waited for
	}
}

// removeTree removes a cgroup and those below it; only directories can be.
func removeTree(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeTree(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err // else somebody was faster
			}
		}
	}
	return unix.Rmdir(dir)
}
