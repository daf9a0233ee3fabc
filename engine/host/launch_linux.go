package host

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
)

// Launch does what a container runtime does last: it enters the cgroup, drops
// the bounding set, changes the user, sets the capabilities and executes the
// workload. It returns only if it failed, with the exit status to use.
//
// The probe tells a runtime's set-up from the workload by the same order of
// events: into the cgroup, capset(2), execve(2).
func Launch(word string, stderr io.Writer) int {
	spec, err := decodeSpec(word)
	if err == nil {
		err = launch(spec)
	}
	fmt.Fprintf(stderr, "leastcap: error: cannot start the command: %v\n", err)
	return launchFailed
}

func launch(s LaunchSpec) error {
	runtime.LockOSThread() // capabilities belong to the thread
	procs := filepath.Join(string(s.Cgroup), "cgroup.procs")
	if err := os.WriteFile(procs, []byte(fmt.Sprint(os.Getpid())), 0); err != nil {
		return err
	}
	set := caps.Set(s.Bounding)
	for c := caps.Cap(0); c < 64; c++ {
		if set.Has(c) {
			continue
		}
		// EINVAL: this kernel does not know the capability, so nobody has it.
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); err != nil && err != unix.EINVAL {
			return fmt.Errorf("drop %v from the bounding set: %w", c, err)
		}
	}
	var inheritable caps.Set
	if s.HasUser {
		inheritable = set
		if err := unix.Prctl(unix.PR_SET_KEEPCAPS, 1, 0, 0, 0); err != nil {
			return fmt.Errorf("keep capabilities: %w", err)
		}
		if err := changeUser(s); err != nil {
			return err
		}
	}
	if err := capset(set, inheritable); err != nil {
		return fmt.Errorf("set the capabilities: %w", err)
	}
	if s.HasUser {
		for _, c := range set.Caps() {
			if err := unix.Prctl(unix.PR_CAP_AMBIENT, unix.PR_CAP_AMBIENT_RAISE, uintptr(c), 0, 0); err != nil {
				return fmt.Errorf("raise %v in the ambient set: %w", c, err)
			}
		}
	}
	argv := make([]string, len(s.Argv))
	for i, word := range s.Argv {
		argv[i] = string(word)
	}
	if err := unix.Exec(string(s.Path), argv, os.Environ()); err != nil {
		return fmt.Errorf("execute %s: %w", s.Path, err)
	}
	return nil
}

// changeUser uses raw system calls: they concern this thread alone, as its
// capabilities do, and the others end with the exec.
func changeUser(s LaunchSpec) error {
	if err := unix.Setgroups(s.Groups); err != nil {
		return fmt.Errorf("set the groups: %w", err)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(s.GID), uintptr(s.GID), uintptr(s.GID)); e != 0 {
		return fmt.Errorf("set the group: %w", e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(s.UID), uintptr(s.UID), uintptr(s.UID)); e != 0 {
		return fmt.Errorf("set the user: %w", e)
	}
	return nil
}

func capset(set, inheritable caps.Set) error {
	hdr := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var now [2]unix.CapUserData
	if err := unix.Capget(&hdr, &now[0]); err != nil {
		return err
	}
	have := caps.Set(now[0].Permitted) | caps.Set(now[1].Permitted)<<32
	set &= have
	inheritable &= set
	d := [2]unix.CapUserData{
		{Effective: uint32(set), Permitted: uint32(set), Inheritable: uint32(inheritable)},
		{Effective: uint32(set >> 32), Permitted: uint32(set >> 32), Inheritable: uint32(inheritable >> 32)},
	}
	return unix.Capset(&hdr, &d[0])
}
