package main

import "golang.org/x/sys/unix"

// limits are operations on memory, and beyond resource limits.
var limits = map[string]operation{
	"mlock":               {do: func(scene) (string, error) { return mlock(1 << 12) }},
	"mlock-without-limit": {do: func(scene) (string, error) { return mlock(0) }},
	"attach-memory": {
		prepare: func(s scene) (err error) {
			s["id"], _, err = asOther("memory")
			return err
		},
		do: func(s scene) (string, error) {
			_, err := unix.SysvShmAttach(s.int("id"), 0, 0)
			return outcome(err)
		},
	},
	"map-page-zero": {do: func(scene) (string, error) {
		_, _, errno := unix.RawSyscall6(unix.SYS_MMAP, 0, 4096, unix.PROT_NONE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS|unix.MAP_FIXED, ^uintptr(0), 0)
		return outcomeOf(errno)
	}},
	"prlimit-other": {prepare: process, do: func(s scene) (string, error) {
		return outcome(unix.Prlimit(s.int("pid"), unix.RLIMIT_NOFILE, nil, new(unix.Rlimit)))
	}},
	"raise-limit": {do: func(scene) (string, error) {
		if err := setrlimit(unix.RLIMIT_NOFILE, 64); err != nil {
			return "", err
		}
		return outcome(setrlimit(unix.RLIMIT_NOFILE, 65))
	}},
	"lower-oom-score": {do: func(scene) (string, error) { return write("/proc/self/oom_score_adj", "-1000") }},
	"settimeofday":    {do: func(scene) (string, error) { return raw(unix.SYS_SETTIMEOFDAY, 0, 0) }},
	"adjtimex": {do: func(scene) (string, error) {
		_, err := unix.Adjtimex(&unix.Timex{Modes: unix.ADJ_TICK, Tick: 1})
		return outcome(err)
	}},
	"alarm-timer": {do: func(scene) (string, error) {
		fd, err := unix.TimerfdCreate(unix.CLOCK_BOOTTIME_ALARM, unix.TFD_CLOEXEC)
		if err != nil {
			return outcome(err)
		}
		defer unix.Close(fd)
		return works, nil
	}},
}

// mlock locks 64 KiB where less may be locked.
func mlock(limit uint64) (string, error) {
	memory, err := unix.Mmap(-1, 0, 1<<16, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return "", err
	}
	if err := setrlimit(unix.RLIMIT_MEMLOCK, limit); err != nil {
		return "", err
	}
	return outcome(unix.Mlock(memory))
}

// setrlimit sets both limits. It is the system call itself: package syscall restores
// the limit of files that it raised at the start.
func setrlimit(resource int, n uint64) error {
	return unix.Prlimit(0, resource, &unix.Rlimit{Cur: n, Max: n}, nil)
}
