package main

import (
	"fmt"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

var processes = map[string]operation{
	"kill": {prepare: process, do: func(s scene) (string, error) {
		return outcome(unix.Kill(s.int("pid"), unix.SIGTERM))
	}},
	"setuid":    {do: func(scene) (string, error) { return raw(unix.SYS_SETUID, otherUser) }},
	"setgid":    {do: func(scene) (string, error) { return raw(unix.SYS_SETGID, otherUser) }},
	"setgroups": {do: func(scene) (string, error) { return raw(unix.SYS_SETGROUPS, 0, 0) }},
	"drop-bounding": {do: func(scene) (string, error) {
		return outcome(unix.Prctl(unix.PR_CAPBSET_DROP, unix.CAP_MKNOD, 0, 0, 0))
	}},
	"set-securebits": {do: func(scene) (string, error) {
		return outcome(unix.Prctl(unix.PR_SET_SECUREBITS, 1<<0 /* SECBIT_NOROOT */, 0, 0, 0))
	}},
	"ptrace": {prepare: process, do: func(s scene) (string, error) {
		return outcome(unix.PtraceSeize(s.int("pid")))
	}},
	"read-maps": {prepare: process, do: func(s scene) (string, error) {
		return open("/proc/"+s["pid"]+"/maps", unix.O_RDONLY)
	}},
	"renice": {do: func(scene) (string, error) {
		return outcome(unix.Setpriority(unix.PRIO_PROCESS, 0, -1))
	}},
	"renice-other": {prepare: process, do: func(s scene) (string, error) {
		return outcome(unix.Setpriority(unix.PRIO_PROCESS, s.int("pid"), 5))
	}},
	"choose-pid": {do: func(scene) (string, error) {
		pid := int32(12345)
		args := cloneArgs{exitSignal: uint64(unix.SIGCHLD), setTid: uint64(uintptr(unsafe.Pointer(&pid))), setTidSize: 1}
		errno, err := inCopy(unix.SYS_CLONE3, uintptr(unsafe.Pointer(&args)), unsafe.Sizeof(args), func() syscall.Errno { return 0 })
		if err != nil {
			return "", err
		}
		return outcomeOf(errno)
	}},
	"unshare-uts": {do: func(scene) (string, error) { return outcome(unix.Unshare(unix.CLONE_NEWUTS)) }},
	"map-root": {do: func(scene) (string, error) {
		// The first process of a new user namespace maps its own user, which is root, to
		// itself: the way of unshare --map-root-user. It must not execute anything before,
		// since as no user of its namespace it would lose its capabilities.
		path, line := []byte("/proc/self/uid_map\x00"), []byte("0 0 1")
		errno, err := inCopy(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD), 0, func() syscall.Errno {
			at := unix.AT_FDCWD
			fd, _, errno := unix.RawSyscall6(unix.SYS_OPENAT, uintptr(at), uintptr(unsafe.Pointer(&path[0])), unix.O_WRONLY, 0, 0, 0)
			if errno == 0 {
				_, _, errno = unix.RawSyscall(unix.SYS_WRITE, fd, uintptr(unsafe.Pointer(&line[0])), uintptr(len(line)))
			}
			return errno
		})
		if err != nil {
			return "", err
		}
		return outcomeOf(errno)
	}},
	"set-loginuid": {do: func(scene) (string, error) {
		// The first change is free where none is set yet.
		if _, err := write("/proc/self/loginuid", strconv.Itoa(otherUser)); err != nil {
			return "", err
		}
		return write("/proc/self/loginuid", strconv.Itoa(otherUser+1))
	}},
	"seccomp": {do: func(scene) (string, error) {
		allow := unix.SockFilter{Code: unix.BPF_RET | unix.BPF_K, K: unix.SECCOMP_RET_ALLOW}
		prog := unix.SockFprog{Len: 1, Filter: &allow}
		return outcome(unix.Prctl(unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&prog)), 0, 0))
	}},
}

// cloneArgs is linux/sched.h's struct clone_args, as of Linux 5.5.
type cloneArgs struct {
	flags, pidfd, childTid, parentTid, exitSignal, stack, stackSize, tls, setTid, setTidSize uint64
}

// inCopy makes a new process, a copy of this thread alone, and has it do something. In
// the copy there is no runtime of Go: do makes raw system calls and allocates nothing.
// call is clone(2) or clone3(2), and a and b are its first arguments. The errno is do's,
// or why there is no new process.
func inCopy(call, a, b uintptr, do func() syscall.Errno) (syscall.Errno, error) {
	child, _, errno := unix.RawSyscall6(call, a, b, 0, 0, 0, 0)
	if errno != 0 {
		return errno, nil
	}
	if child == 0 {
		result := do()
		for {
			unix.RawSyscall(unix.SYS_EXIT_GROUP, uintptr(result), 0, 0)
		}
	}
	var status unix.WaitStatus
	if _, err := unix.Wait4(int(child), &status, 0, nil); err != nil {
		return 0, err
	}
	if !status.Exited() {
		return 0, fmt.Errorf("the new process ended with status %#x", uint32(status))
	}
	return syscall.Errno(status.ExitStatus()), nil // errnos are below 256
}

// raw is a system call for this thread alone.
func raw(number uintptr, args ...uintptr) (string, error) {
	var a [3]uintptr
	copy(a[:], args)
	_, _, errno := unix.RawSyscall(number, a[0], a[1], a[2])
	return outcomeOf(errno)
}

func write(path, text string) (string, error) {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return outcome(err)
	}
	defer unix.Close(fd)
	_, err = unix.Write(fd, []byte(text))
	return outcome(err)
}
