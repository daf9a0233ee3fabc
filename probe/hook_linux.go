package probe

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/proc"
)

// way is one way in to the kernel's capability checks. All of them end in the
// same aggregation; they are tried in order, and features decide, never a
// kernel's version.
type way struct {
	name    string
	program string
	// own are programs for what commoncap asks itself, where the way misses it.
	own []string
	// sees says what the verdict is: that of commoncap alone, or of all LSMs.
	sees string
	// offered is nil where the kernel has what the program attaches to.
	offered func() error
}

var (
	ownByFentry = []string{bpfProgOwnCapsetFentry, bpfProgOwnPrctlFentry}
	ownByKprobe = []string{bpfProgOwnCapsetKprobe, bpfProgOwnPrctlKprobe}
)

var ways = []way{
	// The tracepoint comes first although fexit sees the other LSMs' verdicts:
	// it works on locked-down kernels and without trampolines, and a set never
	// depends on what another LSM says.
	{"tp_btf/cap_capable", bpfProgCheckTp, nil, "commoncap's verdict", hasType("btf_trace_cap_capable", (*btf.Typedef)(nil))},
	// The function that the tracepoint is in. commoncap calls it directly for
	// PR_SET_SECUREBITS and capset(2)'s SETPCAP (security/commoncap.c), and other
	// LSMs do: none of these pass security_capable(). Where the compiler inlined
	// it into its own file (gcc 12 did in Debian's 6.1), commoncap's own stay
	// unseen by either: the own programs ask in their place.
	{"fexit/cap_capable", bpfProgCheckFexitCap, ownByFentry, "commoncap's verdict", hasType("cap_capable", (*btf.Func)(nil))},
	{"fexit/security_capable", bpfProgCheckFexitSecurity, ownByFentry, "the verdict of all LSMs", hasType("security_capable", (*btf.Func)(nil))},
	// Where there is no trampoline (arm64 before 6.0). The verdict is worked out,
	// see bpf/kprobe.h.
	{"kprobe/cap_capable", bpfProgCheckKprobe, ownByKprobe, "commoncap's verdict", hasType("cap_capable", (*btf.Func)(nil))},
}

// Hooks are the names of the ways in, the preferred one first.
func Hooks() []string {
	var names []string
	for _, w := range ways {
		names = append(names, w.name)
	}
	return names
}

// named gives the way that has this name, or all of them.
func named(hook string) ([]way, error) {
	if hook == "" {
		return ways, nil
	}
	for _, w := range ways {
		if w.name == hook {
			return []way{w}, nil
		}
	}
	return nil, &HookError{hook}
}

func hasType[T btf.Type](name string, _ T) func() error {
	return func() error {
		kernel, err := btf.LoadKernelSpec()
		if err != nil {
			return err
		}
		var t T
		return kernel.TypeByName(name, &t)
	}
}

// load loads and attaches the programs with the first of the ways in that works.
func load(spec *ebpf.CollectionSpec, allowed []way, o Options) (_ *ebpf.Collection, _ []link.Link, _ way, lossy bool, _ error) {
	preempts := preemptible()
	if !o.Running {
		delete(spec.Programs, bpfProgAdopt)
	}
	if !o.Refusals {
		delete(spec.Programs, bpfProgOnSysEnter)
		delete(spec.Programs, bpfProgOnSysEnterWhole)
	}
	var reasons []string
	var last error
	for _, v := range variants(allowed, preempts) {
		if err := v.offered(); err != nil {
			if errors.Is(err, btf.ErrNotFound) {
				err = errors.New("this kernel does not have it")
			}
			reasons = append(reasons, fmt.Sprintf("%s: %v", v.name, err))
			continue
		}
		coll, links, err := v.load(spec)
		if err == nil {
			return coll, links, v.way, preempts && !(v.whole && v.program == bpfProgCheckKprobe), nil
		}
		last = err
		// There is no more of these for another way in either, and the verifier may be what met it.
		if errors.Is(err, unix.ENOMEM) {
			return nil, nil, v.way, false, noMemory(spec, err)
		}
		if errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE) {
			return nil, nil, v.way, false, &FeatureError{
				Missing: "open files: its programs and maps are some fifty", Detail: unix.EMFILE.Error(),
				Hint: "raise the limit that leastcap runs under (ulimit -n 1024, systemd's LimitNOFILE=)", Err: err,
			}
		}
		var ve *ebpf.VerifierError
		if errors.As(err, &ve) {
			return nil, nil, v.way, false, refused(v.name, ve)
		}
		reasons = append(reasons, fmt.Sprintf("%s: %s", v.name, reason(v.name, err)))
	}
	return nil, nil, way{}, false, noWay(o.Hook, strings.Join(reasons, "; "), last)
}

// noWay says why none of the ways that were allowed works; last is the last one's error, nil
// where the kernel has none of them.
func noWay(hook, reasons string, last error) error {
	if errors.Is(last, unix.EPERM) && !MayLoad() {
		return &FeatureError{
			Missing: "the privilege to load BPF programs (CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN)",
			Hint:    "run it as root (sudo leastcap …), outside any user namespace, and any container that lacks these capabilities",
			Err:     last,
		}
	}
	if hook != "" {
		return &FeatureError{
			Missing: "the way in to the kernel's capability checks that --hook names",
			Detail:  reasons,
			Hint:    "leave --hook out: the best one is taken that this machine has; leastcap doctor says which there are",
			Err:     last,
		}
	}
	if errors.Is(last, unix.EPERM) {
		return &FeatureError{
			Missing: "a way in to the kernel's capability checks that this machine permits",
			Detail:  reasons,
			Hint:    "it refuses these even to a process that may load BPF programs (lockdown, or its host's policy): leastcap doctor says which ways it has",
			Err:     last,
		}
	}
	return &FeatureError{
		Missing: "a way in to the kernel's capability checks",
		Detail:  reasons,
		Hint:    "Linux 6.14 and later have the tracepoint; older kernels need BPF trampolines (CONFIG_BPF_JIT, CONFIG_FUNCTION_TRACER) or kprobes (CONFIG_KPROBES); leastcap doctor tells what there is",
		Err:     last,
	}
}

// MayLoad says that this process has what bpf(2) asks for: capabilities(7), in the initial user
// namespace (include/linux/capability.h bpf_capable(), perfmon_capable()).
func MayLoad() bool {
	if !proc.InitialUserNamespace() {
		return false
	}
	own, err := proc.Sets(os.Getpid())
	if err != nil {
		return true
	}
	return own.Effective.Has(caps.SysAdmin) || own.Effective.Has(caps.Bpf) && own.Effective.Has(caps.Perfmon)
}

// noMemory: the maps are charged to leastcap's memory cgroup (since 5.11; kernel/bpf/syscall.c
// bpf_map_save_memcg()).
func noMemory(spec *ebpf.CollectionSpec, err error) error {
	return &FeatureError{
		Missing: fmt.Sprintf("memory for the maps, which take about %d MiB, and for leastcap beside them", estimate(spec)>>20+1),
		Detail:  err.Error(),
		Hint:    "raise the memory limit that leastcap runs under (its cgroup's, systemd's MemoryMax=, docker's --memory), or end something else",
		Err:     err,
	}
}

// refused says all that the verifier said.
func refused(way string, ve *ebpf.VerifierError) error {
	return fmt.Errorf("%s: the kernel's verifier refused a program, which is a bug in leastcap: %w\n%s",
		way, ve, strings.Join(ve.Log, "\n"))
}

func (v variant) load(spec *ebpf.CollectionSpec) (*ebpf.Collection, []link.Link, error) {
	s := spec.Copy()
	for _, other := range ways {
		for _, name := range append([]string{other.program}, other.own...) {
			if name != v.program && !slices.Contains(v.own, name) {
				delete(s.Programs, name)
			}
		}
	}
	own := uint32(0)
	if v.own != nil {
		own = 1
	}
	if err := s.Variables[bpfVarCfgOwn].Set(own); err != nil {
		return nil, nil, fmt.Errorf("set %s: %w", bpfVarCfgOwn, err)
	}
	for plain, whole := range twins {
		if v.has(whole) {
			delete(s.Programs, plain)
		} else {
			delete(s.Programs, whole)
		}
	}
	coll, err := ebpf.NewCollection(s)
	if err != nil {
		return nil, nil, err
	}
	links, err := attach(coll)
	if err != nil {
		coll.Close()
	}
	return coll, links, err
}

// functions are where kprobes are attached.
var functions = map[string]string{
	bpfProgCheckKprobe: "cap_capable", bpfProgOwnCapsetKprobe: "cap_capset", bpfProgOwnPrctlKprobe: "cap_task_prctl",
	bpfProgOnForkWhole: "wake_up_new_task",
}

func attach(coll *ebpf.Collection) (links []link.Link, err error) {
	defer func() {
		if err != nil {
			closeLinks(links)
		}
	}()
	for name, prog := range coll.Programs {
		if name == bpfProgAdopt {
			continue // run once, when it is needed
		}
		var l link.Link
		var err error
		switch prog.Type() {
		case ebpf.Kprobe:
			l, err = link.Kprobe(functions[name], prog, nil)
		case ebpf.TracePoint:
			event := tracepoints[name]
			l, err = link.Tracepoint(event[0], event[1], prog, nil)
		default:
			l, err = link.AttachTracing(link.TracingOptions{Program: prog})
		}
		if err != nil {
			return links, fmt.Errorf("attach %s: %w", name, err)
		}
		links = append(links, l)
	}
	return links, nil
}

func closeLinks(links []link.Link) {
	for _, l := range links {
		l.Close()
	}
}

// preflight gives the clear errors that a failed load would hide.
func preflight() error {
	if runtime.GOOS != "linux" {
		return &FeatureError{Missing: "Linux", Detail: "this is " + runtime.GOOS, Hint: "run leastcap on the machine that runs the containers", Err: errors.ErrUnsupported}
	}
	if _, err := btf.LoadKernelSpec(); err != nil {
		return &FeatureError{
			Missing: "the kernel's type information (BTF, /sys/kernel/btf/vmlinux)", Detail: err.Error(),
			Hint: "use a kernel that was built with CONFIG_DEBUG_INFO_BTF=y, as all large distributions' are", Err: err,
		}
	}
	return nil
}
