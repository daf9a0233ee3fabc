package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/docker/go-units"
	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/embedded"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
)

func newDoctor(stdout io.Writer) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "doctor [flags]",
		Short: "Say what this machine offers for learning, and what is not seen",
		Long: `Try everything that learning rests on, and say what there is: the ways in to the
kernel's capability checks (each is loaded and taken away again), what the kernel and
its settings allow, the container engines that answer, the embedded runtime; the tools
of formats of files that leastcap fix asks before it writes one. Then what the way in that
is used does not show, and what would improve it.

Exit status:
  0  everything is there
  1  it works, and something would improve it
  2  wrong usage
  3  there is no way in to the kernel's checks: leastcap learn proves by trials alone`,
		Example: `  leastcap doctor
  sudo leastcap doctor --output json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if output != "text" && output != "json" {
				return &usageError{fmt.Errorf("--output %q is not known", output), "use text or json"}
			}
			m := examine(cmd.Context())
			err := cmd.Context().Err()
			if err != nil { // what was being asked looks absent
				return err
			}
			if output == "json" {
				err = report.DoctorJSON(stdout, m)
			} else {
				err = report.Doctor(stdout, m, styleOf(stdout))
			}
			switch {
			case err != nil:
				return err
			case m.Hook == "":
				return status(exitBlind)
			case len(m.Improve) > 0:
				return status(exitFindings)
			}
			return nil
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// examination collects what is found.
type examination struct{ *report.Machine }

func examine(ctx context.Context) *report.Machine {
	e := examination{&report.Machine{
		Version: report.MachineVersion, System: runtime.GOOS, Kernel: proc.Kernel(), Arch: runtime.GOARCH, User: os.Geteuid(),
		NotSeen: []string{}, Improve: []string{}, Ways: []report.MachineWay{},
	}}
	e.kernel()
	e.ways()
	e.containers(ctx)
	e.tools(ctx)
	return e.Machine
}

func (e examination) fact(section, name string, state report.State, format string, args ...any) {
	e.Facts = append(e.Facts, report.Fact{Section: section, Name: name, State: state, Text: fmt.Sprintf(format, args...)})
}

func (e examination) improve(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(e.Improve, text) {
		e.Improve = append(e.Improve, text)
	}
}

// sysctl reads a setting of the kernel's; ok is false where it has none.
func sysctl(name string) (value string, ok bool) {
	data, err := os.ReadFile("/proc/sys/" + strings.ReplaceAll(name, ".", "/"))
	return strings.TrimSpace(string(data)), err == nil
}

const typeInformation = "type information"

func (e examination) kernel() {
	const section = "kernel"
	if _, err := os.Stat("/sys/kernel/btf/vmlinux"); err == nil {
		e.fact(section, typeInformation, report.Good, "BTF is there")
	} else {
		e.fact(section, typeInformation, report.Absent, "no BTF (%v)", err)
		if _, err := os.Stat("/sys/kernel"); err != nil {
			e.improve("a mounted sysfs: mount -t sysfs sysfs /sys")
		} else {
			e.improve("a kernel built with CONFIG_DEBUG_INFO_BTF=y, as all large distributions' are")
		}
	}

	switch mode := lockdown(); mode {
	case "none":
		e.fact(section, "lockdown", report.Good, "none")
	case "":
		e.fact(section, "lockdown", report.Good, "none that shows (/sys/kernel/security/lockdown is not there)")
	case "integrity":
		e.fact(section, "lockdown", report.Good, "integrity: BPF may look, kprobes may not")
	default:
		// kernel/bpf/helpers.c: LOCKDOWN_BPF_READ_KERNEL is of the confidentiality level.
		e.fact(section, "lockdown", report.Absent, "%s: BPF programs may not read the kernel's memory", mode)
		e.improve("a boot without lockdown=confidentiality")
	}

	may := probe.MayLoad()
	unprivileged, _ := sysctl("kernel.unprivileged_bpf_disabled")
	switch {
	case may:
		e.fact(section, "privilege", report.Good, "may load BPF programs (unprivileged_bpf_disabled %s)", orUnknown(unprivileged))
	case !proc.InitialUserNamespace():
		e.fact(section, "privilege", report.Absent, "this is a user namespace: its capabilities are not the machine's, and load no BPF programs")
		e.improve("root: sudo leastcap …, outside any user namespace")
	default:
		e.fact(section, "privilege", report.Absent, "CAP_BPF with CAP_PERFMON (or CAP_SYS_ADMIN) is missing to load BPF programs (unprivileged_bpf_disabled %s)", orUnknown(unprivileged))
		if e.User == 0 {
			e.improve("these capabilities: leastcap outside any container, or in one that is given sys_admin")
		} else {
			e.improve("root: sudo leastcap …, outside any container")
		}
	}
	if e.System == "linux" && !proc.KernelNumbers() {
		e.fact(section, "pid namespace", report.Lacking, "one of its own, as in a container: ps and top show what is in it")
		e.NotSeen = append(e.NotSeen, "processes of other pid namespaces, in ps and top; which files their refusals are about, in why")
		e.improve("leastcap in the machine's own pid namespace: for one in a container docker run --pid host")
	}
	if v, ok := sysctl("kernel.perf_event_paranoid"); ok {
		text := v
		if may {
			text += ": it does not matter with these capabilities"
		}
		e.fact(section, "perf_event_paranoid", report.Good, "%s", text)
	}
	if v, ok := sysctl("kernel.ftrace_enabled"); ok && v == "0" {
		// kernel/trace/ftrace.c: fexit programs and kprobes at functions' entries are then silent.
		e.fact(section, "ftrace_enabled", report.Absent, "0: fexit programs and kprobes see nothing")
		e.improve("sysctl kernel.ftrace_enabled=1")
	}
	switch restrict, _ := sysctl("kernel.kptr_restrict"); {
	case !addressesHidden():
		e.fact(section, "kernel addresses", report.Good, "shown: evidence names the kernel function that asked")
	case probe.NamesFunctions():
		e.fact(section, "kernel addresses", report.Good, "hidden in /proc (kptr_restrict %s), and listed to BPF: evidence names the kernel function that asked", orUnknown(restrict))
	default:
		e.fact(section, "kernel addresses", report.Lacking, "hidden (kptr_restrict %s)", orUnknown(restrict))
		if !may {
			break // nothing is watched, and it does not matter
		}
		e.NotSeen = append(e.NotSeen, "which kernel function asked; memory accounting is told by the system call alone")
		// kernel/ksyms_common.c kallsyms_show_value()
		if restrict == "0" || restrict == "1" {
			e.improve("CAP_SYSLOG for leastcap: sudo leastcap …, or docker run --cap-add SYSLOG for one in a container")
		} else {
			e.improve("sysctl kernel.kptr_restrict=1")
		}
	}
	if probe.Preempts() {
		e.fact(section, "preemption", report.Good, "the kernel preempts itself: programs that cannot be preempted are preferred")
	}
}

func orUnknown(s string) string {
	if s == "" {
		return "is not set"
	}
	return s
}

// lockdown is the mode in use, empty where the kernel has none.
func lockdown() string {
	data, err := os.ReadFile("/sys/kernel/security/lockdown")
	if err != nil {
		return ""
	}
	_, rest, _ := strings.Cut(string(data), "[")
	mode, _, _ := strings.Cut(rest, "]")
	return mode
}

// addressesHidden says whether /proc/kallsyms shows zeroes to this user.
func addressesHidden() bool {
	f, err := os.Open("/proc/kallsyms")
	if err != nil {
		return true
	}
	defer f.Close()
	// The first symbols of x86 are per-CPU offsets from zero: enough to see others.
	buf := make([]byte, 64<<10)
	n, _ := io.ReadFull(f, buf) // a short file is short
	for line := range strings.Lines(string(buf[:n])) {
		if addr, _, ok := strings.Cut(line, " "); ok && strings.Trim(addr, "0") != "" {
			return false
		}
	}
	return true
}

func (e examination) ways() {
	ways, hook, err := probe.Survey()
	e.Hook = hook
	for _, w := range ways {
		e.Ways = append(e.Ways, report.MachineWay{
			Name: w.Name, Usable: w.Usable, Used: w.Name == hook, Reason: w.Reason, Sees: w.Sees, NotSeen: w.NotSeen,
		})
		if w.Name == hook {
			e.NotSeen = append(e.NotSeen, w.NotSeen...)
		}
	}
	if hook == "" {
		e.NotSeen = append(e.NotSeen, "any check: leastcap learn finds the set by trials alone, and gives no evidence")
		var f *probe.FeatureError
		_, cgroups := proc.FindHierarchy()
		// These are said with the facts that they come from.
		said := !probe.MayLoad() || cgroups != nil || slices.ContainsFunc(e.Facts, func(f report.Fact) bool { return f.Name == typeInformation && f.State == report.Absent })
		if errors.As(err, &f) && !said {
			e.improve("%s", f.Hint)
		}
		return
	}
	e.memory()
	if !slices.ContainsFunc(ways, func(w probe.Way) bool { return w.Name == "tp_btf/cap_capable" && w.Usable }) {
		e.improve("Linux 6.14 or later has a tracepoint for capability checks, which costs the least")
	}
	if slices.ContainsFunc(e.NotSeen, func(s string) bool { return strings.Contains(s, "preempted") }) {
		e.improve("a kernel with kprobes and a mounted tracefs (mount -t tracefs tracefs /sys/kernel/tracing), or the boot parameter preempt=none where the kernel has it")
	}
}

// memory says what the kernel keeps for leastcap while it looks, whatever goes on.
func (e examination) memory() {
	const section, name = "kernel", "memory of maps"
	learning, err := probe.Memory(probe.Options{})
	everything, rerr := probe.Memory(probe.Options{Running: true})
	refusals, ferr := probe.Memory(probe.Options{Running: true, Refusals: true})
	if err := cmp.Or(err, rerr, ferr); err != nil {
		e.fact(section, name, report.Lacking, "%v", err)
		return
	}
	size := func(n uint64) string {
		return units.CustomSize("%.0f %s", float64(n), 1024, []string{"B", "KiB", "MiB", "GiB"})
	}
	e.fact(section, name, report.Good, "%s for learn, %s for watch and top, %s for why: all that it ever takes",
		size(learning), size(everything), size(refusals))
}

func (e examination) containers(ctx context.Context) {
	const section = "containers"
	if h, err := proc.FindHierarchy(); err != nil {
		e.fact(section, "cgroups", report.Absent, "%v", err)
		e.improve("a mounted cgroup file system: mount -t cgroup2 none /sys/fs/cgroup")
	} else if h.V2() {
		e.fact(section, "cgroups", report.Good, "version 2, at %s", h.Mount)
	} else {
		e.fact(section, "cgroups", report.Good, "version 1: %s, at %s", h.Controller, h.Mount)
	}
	found := false
	for _, eng := range engines(ctx) {
		state := report.Good
		switch {
		case eng.err != nil && eng.installed:
			state = report.Lacking
			e.improve("%s is installed and does not answer: %s", eng.name, eng.hint)
		case eng.err != nil:
			state = report.Absent
		case eng.elsewhere:
			state = report.Lacking
			e.improve("leastcap on the machine (with Docker Desktop: in the virtual machine) that runs %s's containers", eng.name)
		}
		found = found || eng.err == nil
		e.fact(section, eng.name, state, "%s", eng.text())
	}
	var problem *engine.Error
	switch err := embedded.Available(); {
	case err == nil && e.User == 0 && !mayMount():
		e.fact(section, "embedded runtime", report.Lacking, "built in, and without sys_admin it cannot mount what containers need")
	case err == nil:
		found = true
		e.fact(section, "embedded runtime", report.Good, "built in, with seccomp (libseccomp)")
	case errors.As(err, &problem):
		e.fact(section, "embedded runtime", report.Absent, "%v", err)
		if problem.Hint != "" {
			e.improve("for the embedded runtime: %s", problem.Hint)
		}
	default:
		e.fact(section, "embedded runtime", report.Absent, "%v", err)
	}
	if !found {
		e.improve("a container engine (docker, podman or nerdctl); host commands can be learned without")
	}
	e.userNamespaces(section)
}

// mayMount says whether root has the capability that mount(2) needs.
func mayMount() bool {
	own, err := proc.Sets(os.Getpid())
	return err != nil || own.Effective.Has(caps.SysAdmin)
}

// userNamespaces says whether containers could be run without root.
func (e examination) userNamespaces(section string) {
	const name = "user namespaces"
	// user_namespaces(7); Debian's and Ubuntu's own settings.
	for _, s := range []struct{ key, bad string }{
		{"user.max_user_namespaces", "0"}, {"kernel.unprivileged_userns_clone", "0"}, {"kernel.apparmor_restrict_unprivileged_userns", "1"},
	} {
		if v, ok := sysctl(s.key); ok && v == s.bad {
			e.fact(section, name, report.Lacking, "not for users (%s is %s): without root the embedded runtime cannot run", s.key, v)
			if e.User != 0 {
				e.improve("sysctl %s, so that the embedded runtime can run without root", s.key)
			}
			return
		}
	}
	if _, err := os.Stat("/proc/self/ns/user"); err != nil {
		e.fact(section, name, report.Absent, "this kernel has none")
		return
	}
	if embedded.Available() == nil {
		if err := embedded.MayRootless(); err != nil {
			e.fact(section, name, report.Lacking, "none can be made here, whatever the settings say (%v): a seccomp filter, as containers have it, or a security module; without root the embedded runtime cannot run", err)
			return
		}
	}
	e.fact(section, name, report.Good, "users may make them: the embedded runtime can run without root")
}
