package probe

import (
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"
)

// way is one way in to the kernel's capability checks. All of them end in the
// same aggregation; they are tried in order, and features decide, never a
// kernel's version.
type way struct {
	name    string
	program string
	// sees says what the verdict is: that of commoncap alone, or of all LSMs.
	sees string
	// offered is nil where the kernel has what the program attaches to.
	offered func() error
}

var ways = []way{
	// The tracepoint comes first although fexit sees the other LSMs' verdicts:
	// it works on locked-down kernels and without trampolines, and a set never
	// depends on what another LSM says.
	{"tp_btf/cap_capable", bpfProgCheckTp, "commoncap's verdict", hasType("btf_trace_cap_capable", (*btf.Typedef)(nil))},
	// The function that the tracepoint is in. commoncap calls it directly for
	// PR_SET_SECUREBITS and capset(2)'s SETPCAP (security/commoncap.c), and other
	// LSMs do: none of these pass security_capable(). Where the compiler inlined
	// it into its own file (gcc 12 did in Debian's 6.1), commoncap's own stay
	// unseen by either, and only a trial shows the need.
	{"fexit/cap_capable", bpfProgCheckFexitCap, "commoncap's verdict", hasType("cap_capable", (*btf.Func)(nil))},
	{"fexit/security_capable", bpfProgCheckFexitSecurity, "the verdict of all LSMs", hasType("security_capable", (*btf.Func)(nil))},
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

// load loads and attaches the programs with the first way in that works.
func load(spec *ebpf.CollectionSpec, o Options) (*ebpf.Collection, []link.Link, way, error) {
	var reasons []string
	var last error
	for _, w := range ways {
		if err := w.offered(); err != nil {
			if errors.Is(err, btf.ErrNotFound) {
				err = errors.New("this kernel does not have it")
			}
			reasons = append(reasons, fmt.Sprintf("%s: %v", w.name, err))
			continue
		}
		s := spec.Copy()
		for _, other := range ways {
			if other.program != w.program {
				delete(s.Programs, other.program)
			}
		}
		if !o.Running {
			delete(s.Programs, bpfProgAdopt)
		}
		if !o.Refusals {
			delete(s.Programs, bpfProgOnSysEnter)
		}
		coll, err := ebpf.NewCollection(s)
		if err == nil {
			var links []link.Link
			if links, err = attach(coll); err == nil {
				return coll, links, w, nil
			}
			coll.Close()
		}
		last = err
		var ve *ebpf.VerifierError
		if errors.As(err, &ve) {
			return nil, nil, w, refused(w.name, ve)
		}
		reasons = append(reasons, fmt.Sprintf("%s: %v", w.name, err))
	}
	if errors.Is(last, unix.EPERM) {
		return nil, nil, way{}, &FeatureError{
			Missing: "the privilege to load BPF programs (CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN)",
			Detail:  strings.Join(reasons, "; "),
			Hint:    "run it as root (sudo leastcap …), outside any container that lacks these capabilities",
			Err:     last,
		}
	}
	return nil, nil, way{}, &FeatureError{
		Missing: "a way in to the kernel's capability checks",
		Detail:  strings.Join(reasons, "; "),
		Hint:    "Linux 6.14 and later have the tracepoint; older kernels need BPF trampolines (CONFIG_BPF_JIT, CONFIG_FUNCTION_TRACER)",
		Err:     last,
	}
}

// refused says all that the verifier said.
func refused(way string, ve *ebpf.VerifierError) error {
	return fmt.Errorf("%s: the kernel's verifier refused a program, which is a bug in leastcap: %w\n%s",
		way, ve, strings.Join(ve.Log, "\n"))
}

func attach(coll *ebpf.Collection) (links []link.Link, err error) {
	defer func() {
		if err != nil {
			closeLinks(links)
		}
	}()
	for name, prog := range coll.Programs {
		if prog.Type() != ebpf.Tracing || name == bpfProgAdopt {
			continue // run once, when it is needed
		}
		l, err := link.AttachTracing(link.TracingOptions{Program: prog})
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
