package main

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"unsafe"

	"golang.org/x/sys/unix"
)

// kernel are operations on what there is once for the whole machine.
var kernel = map[string]operation{
	"load-module": {do: func(scene) (string, error) { return outcome(unix.InitModule([]byte("no module"), "")) }},
	"limit-usermode-helpers": {do: func(scene) (string, error) {
		const path = "/proc/sys/kernel/usermodehelper/bset"
		// What is there is written again.
		text, err := os.ReadFile(path)
		if err != nil {
			return "", err
		}
		return write(path, string(text))
	}},
	"accounting": {
		prepare: func(scene) error { return os.WriteFile("/tmp/accounting", nil, 0o600) },
		do: func(scene) (string, error) {
			if err := unix.Acct("/tmp/accounting"); err != nil {
				return outcome(err)
			}
			_, _, errno := unix.RawSyscall(unix.SYS_ACCT, 0, 0, 0) // off again
			return outcomeOf(errno)
		},
	},
	"set-hostname": {do: func(scene) (string, error) { return outcome(unix.Sethostname([]byte("proof"))) }},
	"reboot":       {do: func(scene) (string, error) { return raw(unix.SYS_REBOOT, 0, 0, 0) }},
	"kexec": {do: func(scene) (string, error) {
		_, _, errno := unix.RawSyscall6(unix.SYS_KEXEC_LOAD, 0, 1<<20, 0, 0, 0, 0)
		return outcomeOf(errno)
	}},
	"hang-up": {do: func(scene) (string, error) { return raw(unix.SYS_VHANGUP) }},
	"kernel-log": {do: func(scene) (string, error) {
		_, err := unix.Klogctl(9 /* SYSLOG_ACTION_SIZE_UNREAD */, nil)
		return outcome(err)
	}},
	"kernel-addresses": {do: func(scene) (string, error) {
		f, err := os.Open("/proc/kallsyms")
		if err != nil {
			return outcome(err)
		}
		defer f.Close()
		for in := bufio.NewScanner(f); in.Scan(); {
			words := strings.Fields(in.Text())
			if len(words) < 3 || words[2] != "_stext" {
				continue
			}
			address, err := strconv.ParseUint(words[0], 16, 64)
			if err != nil {
				return "", err
			}
			if address == 0 {
				return "zeros", nil
			}
			return "addresses", nil
		}
		return "", fmt.Errorf("/proc/kallsyms has no _stext")
	}},
	"block-suspend": {do: func(scene) (string, error) {
		ep, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
		if err != nil {
			return "", err
		}
		defer unix.Close(ep)
		fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
		if err != nil {
			return "", err
		}
		defer unix.Close(fd)
		if err := unix.EpollCtl(ep, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLWAKEUP}); err != nil {
			return outcome(err)
		}
		info, err := os.ReadFile(fmt.Sprintf("/proc/self/fdinfo/%d", ep))
		if err != nil {
			return "", err
		}
		// tfd:        4 events: 20000019 data: …
		_, rest, _ := strings.Cut(string(info), "events:")
		words := strings.Fields(rest)
		if len(words) == 0 {
			return "", fmt.Errorf("no events in %q", info)
		}
		events, err := strconv.ParseUint(words[0], 16, 32)
		if err != nil {
			return "", err
		}
		if events&unix.EPOLLWAKEUP == 0 {
			return "EPOLLWAKEUP cleared", nil
		}
		return "EPOLLWAKEUP set", nil
	}},
	"perf-all-processes": {do: func(scene) (string, error) {
		attr := unix.PerfEventAttr{Type: unix.PERF_TYPE_SOFTWARE, Config: unix.PERF_COUNT_SW_CPU_CLOCK, Bits: unix.PerfBitExcludeKernel | unix.PerfBitDisabled}
		attr.Size = uint32(unsafe.Sizeof(attr))
		fd, err := unix.PerfEventOpen(&attr, -1, 0, -1, unix.PERF_FLAG_FD_CLOEXEC)
		if err != nil {
			return outcome(err)
		}
		defer unix.Close(fd)
		return works, nil
	}},
	"bpf-map": {do: func(scene) (string, error) {
		// union bpf_attr's first fields. A trie is not for the unprivileged, whatever
		// kernel.unprivileged_bpf_disabled says.
		attr := struct{ kind, key, value, entries, flags uint32 }{unix.BPF_MAP_TYPE_LPM_TRIE, 8, 8, 1, unix.BPF_F_NO_PREALLOC}
		fd, _, errno := unix.Syscall(unix.SYS_BPF, unix.BPF_MAP_CREATE, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
		if errno == 0 {
			unix.Close(int(fd))
		}
		return outcomeOf(errno)
	}},
	"io-privilege": {do: ioPrivilege},
}
