package probe

import (
	"compress/gzip"
	"io"
	"os"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

// A tracing program (tp_btf, fexit) does not run while another task that was
// preempted inside it waits on the same CPU (kernel/bpf/trampoline.c
// __bpf_prog_enter_recur(), kernel/trace/bpf_trace.c __bpf_trace_run()). Where the
// kernel preempts itself, a check would so be lost now and then: that is counted,
// and makes a record incomplete. kprobes and perf's tracepoints run their programs
// without preemption. They are skipped while a task on the CPU was preempted in a map
// operation of bpf(2) (include/linux/bpf.h bpf_disable_instrumentation(),
// kernel/trace/bpf_trace.c trace_call_bpf()), which is counted, too.

// twins are programs that exist twice: for every kernel, and without preemption.
var twins = map[string]string{
	bpfProgOnExit: bpfProgOnExitWhole, bpfProgOnSysExit: bpfProgOnSysExitWhole, bpfProgOnSysEnter: bpfProgOnSysEnterWhole,
	bpfProgOnExec: bpfProgOnExecWhole, bpfProgOnFork: bpfProgOnForkWhole,
}

// tracepoints are where perf's programs are attached.
var tracepoints = map[string][2]string{
	bpfProgOnExitWhole:     {"sched", "sched_process_exit"},
	bpfProgOnExecWhole:     {"sched", "sched_process_exec"},
	bpfProgOnSysExitWhole:  {"raw_syscalls", "sys_exit"},
	bpfProgOnSysEnterWhole: {"raw_syscalls", "sys_enter"},
}

// variant is a way in, with the twins that go with it.
type variant struct {
	way
	whole bool
}

// unpreempted keeps tasks from running in the midst of what the calling goroutine asks of
// maps, until what it returns is called. bpf(2) suspends kprobes and perf's programs on its
// CPU while it reads or writes an entry (include/linux/bpf.h bpf_disable_instrumentation()),
// and does so with preemption enabled: who came in between would not be seen. Tasks of the
// normal policies preempt none of SCHED_FIFO. Without the privilege what is left out is
// counted, as ever.
func unpreempted() (end func()) {
	if !preemptible() {
		return func() {}
	}
	return first()
}

// first puts the calling goroutine's thread before all tasks of the normal policies, until
// what it returns is called.
func first() (end func()) {
	runtime.LockOSThread()
	before, err := unix.SchedGetAttr(0, 0)
	if err == nil && before.Policy != unix.SCHED_FIFO {
		err = unix.SchedSetAttr(0, &unix.SchedAttr{Size: unix.SizeofSchedAttr, Policy: unix.SCHED_FIFO, Priority: 1, Flags: unix.SCHED_FLAG_RESET_ON_FORK}, 0)
	}
	return func() {
		if err == nil && unix.SchedSetAttr(0, before, 0) != nil {
			// Without CAP_SYS_NICE, where the limit RLIMIT_RTPRIO allowed it, this flag stays
			// (kernel/sched/syscalls.c user_check_sched_setscheduler()).
			before.Flags |= unix.SCHED_FLAG_RESET_ON_FORK
			_ = unix.SchedSetAttr(0, before, 0)
		}
		runtime.UnlockOSThread()
	}
}

// has says whether this variant has that twin: one that is a kprobe goes with a way in that
// is one, where kprobes work.
func (v variant) has(twin string) bool {
	return v.whole && (functions[twin] == "" || v.program == bpfProgCheckKprobe)
}

// variants puts what cannot be preempted first on a kernel that preempts itself.
func variants(allowed []way, preempts bool) []variant {
	var vs []variant
	for _, w := range allowed {
		vs = append(vs, variant{w, false})
	}
	if !preempts {
		return vs
	}
	var whole []variant
	for _, w := range allowed {
		whole = append(whole, variant{w, true})
	}
	slices.SortStableFunc(whole, func(a, b variant) int {
		rank := map[bool]int{true: 0, false: 1}
		return rank[a.program == bpfProgCheckKprobe] - rank[b.program == bpfProgCheckKprobe]
	})
	return append(whole, vs...)
}

// preemptible says whether the kernel preempts tasks that run in it. What cannot
// be read counts as yes: nothing is lost by that.
var preemptible = sync.OnceValue(func() bool {
	var uts unix.Utsname
	if err := unix.Uname(&uts); err != nil {
		return true
	}
	cmdline, _ := os.ReadFile("/proc/cmdline") // unreadable: as if it said nothing
	return preempts(unix.ByteSliceToString(uts.Version[:]), dynamicMode(), string(cmdline), config(unix.ByteSliceToString(uts.Release[:])))
})

var (
	modeInUse  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\((\w+)\)`) })
	modeOfBoot = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?:^|\s)preempt=(\w+)`) })
	modeBuilt  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^CONFIG_PREEMPT_(NONE|VOLUNTARY)=y$`) })
)

// preempts reads what uname -v says, and of a kernel whose mode is dynamic
// /sys/kernel/debug/sched/preempt ("none voluntary (full) lazy"), or else how it
// was booted and built (kernel/sched/core.c, preempt_dynamic_init()).
func preempts(version, modes, cmdline, config string) bool {
	if !strings.Contains(version, "PREEMPT") {
		return false
	}
	for _, m := range [][]string{modeInUse().FindStringSubmatch(modes), modeOfBoot().FindStringSubmatch(cmdline)} {
		if m != nil {
			return m[1] != "none" && m[1] != "voluntary"
		}
	}
	return !strings.Contains(version, "PREEMPT_DYNAMIC") || !modeBuilt().MatchString(config)
}

// config is how the kernel was built, empty where it does not say.
func config(release string) string {
	if f, err := os.Open("/proc/config.gz"); err == nil {
		defer f.Close()
		if z, err := gzip.NewReader(f); err == nil {
			if text, err := io.ReadAll(io.LimitReader(z, 4<<20)); err == nil {
				return string(text)
			}
		}
	}
	text, _ := os.ReadFile("/boot/config-" + release) // not there: it does not say
	return string(text)
}

// dynamicMode reads the file from a mount of debugfs that nobody else sees.
func dynamicMode() string {
	const file = "sched/preempt"
	if text, err := os.ReadFile("/sys/kernel/debug/" + file); err == nil {
		return string(text)
	}
	fs, err := unix.Fsopen("debugfs", unix.FSOPEN_CLOEXEC)
	if err != nil {
		return ""
	}
	defer unix.Close(fs)
	if err := unix.FsconfigCreate(fs); err != nil {
		return ""
	}
	mount, err := unix.Fsmount(fs, unix.FSMOUNT_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	defer unix.Close(mount)
	fd, err := unix.Openat(mount, file, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return ""
	}
	f := os.NewFile(uintptr(fd), file)
	defer f.Close()
	text, _ := io.ReadAll(io.LimitReader(f, 4096)) // what was read is looked at
	return string(text)
}
