package probe

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
	"github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/proc"
)

// Options change how the probe is loaded. The zero value is right for learning.
type Options struct {
	// Limits overrides maps' sizes in entries, by the names of
	// bpf/leastcap.bpf.c; tests use it to make maps overflow.
	Limits map[string]uint32
	// Hook is the way in to use, one of [Hooks]; empty for the first that works.
	Hook string
	// Running is for looking at what runs already: [Probe.Adopt].
	Running bool
	// IsContainer says of a cgroup that its name does not tell that it, and all below it,
	// is a container's or is where an engine has them; nil: none is.
	IsContainer func(path string) bool
	// Refusals follows every system call that is refused, whatever the reason:
	// [Probe.Refusals].
	Refusals bool
}

// Probe is the loaded programs. Its methods may be called concurrently.
type Probe struct {
	coll        *ebpf.Collection
	links       []link.Link
	opened      map[string]uint64 // losses as they stood then
	way         way
	lossy       bool // programs may be preempted, see preempt_linux.go
	hierarchy   proc.Hierarchy
	isContainer func(path string) bool // may be nil
	symbols     *symbols
	syscalls    []string // by number
	events      *ringbuf.Reader
	done        chan struct{}
	// kernelNumbers: /proc has processes under the numbers that the programs see.
	kernelNumbers bool

	mu       sync.Mutex
	watches  []*Watch
	fileCaps map[bpfExeKey]fileCapsResult
	paths    map[uint64]string // of cgroups that were there
}

// Open loads and attaches the programs. Everything that happens in cgroups
// created from then on is seen. Its errors, and those of a [Watch], wrap
// [ErrUnavailable].
func Open(o Options) (*Probe, error) {
	p, err := open(o)
	return p, unavailable(err)
}

func open(o Options) (_ *Probe, err error) {
	allowed, err := named(o.Hook)
	if err != nil {
		return nil, err
	}
	if err := preflight(); err != nil {
		return nil, err
	}
	p := &Probe{isContainer: o.IsContainer, fileCaps: map[bpfExeKey]fileCapsResult{}, paths: map[uint64]string{}, done: make(chan struct{}), kernelNumbers: proc.KernelNumbers()}
	defer func() {
		if err != nil {
			p.Close()
		}
	}()
	if p.hierarchy, err = proc.FindHierarchy(); err != nil {
		return nil, &FeatureError{Missing: "a mounted cgroup file system", Detail: err.Error(), Hint: "mount -t cgroup2 none /sys/fs/cgroup", Err: err}
	}
	if p.symbols, err = loadSymbols(); err != nil {
		return nil, err
	}
	if p.syscalls, err = callTable(); err != nil {
		return nil, err
	}
	raiseMemlock()

	spec, err := loadBpf()
	if err != nil {
		return nil, err
	}
	if err := p.configure(spec, o); err != nil {
		return nil, err
	}
	if err := room(spec, o.Running); err != nil {
		return nil, noMemory(spec, err)
	}
	if p.coll, p.links, p.way, p.lossy, err = load(spec, allowed, o); err != nil {
		return nil, err
	}
	if err := p.describeCalls(); err != nil {
		return nil, err
	}
	if p.events, err = ringbuf.NewReader(p.coll.Maps[bpfMapExecs]); err != nil {
		return nil, fmt.Errorf("open the ring of exec events: %w", err)
	}
	go p.readEvents()
	if p.opened, err = p.losses(); err != nil {
		return nil, err
	}
	return p, nil
}

// Hook names the way in to the kernel's checks that is in use.
func (p *Probe) Hook() string { return p.way.name }

// Sees says whose verdict the hook shows.
func (p *Probe) Sees() string { return p.way.sees }

// Hierarchy is the cgroup hierarchy that tells scopes apart.
func (p *Probe) Hierarchy() proc.Hierarchy { return p.hierarchy }

// Close detaches and unloads everything.
func (p *Probe) Close() {
	closeLinks(p.links)
	if p.events != nil {
		p.events.Close()
		<-p.done
	}
	if p.coll != nil {
		p.coll.Close()
	}
}

// advisers ask for SYS_ADMIN as advice only: memory accounting
// (security/security.c, security/commoncap.c, mm/util.c), and the JIT, which
// leaves out a hardening (arch/x86/net/bpf_jit_comp.c, arch/arm64/net/bpf_jit_comp.c;
// a seccomp or socket filter gets there).
var advisers = []string{"security_vm_enough_memory_mm", "cap_vm_enough_memory", "__vm_enough_memory", "bpf_int_jit_compile"}

// resize gives the maps the room that is asked for.
func resize(spec *ebpf.CollectionSpec, o Options) error {
	if !o.Refusals { // they would take their memory all the same
		for _, name := range []string{bpfMapRefusals, bpfMapEntered} {
			spec.Maps[name].MaxEntries = 1
		}
	}
	if o.Running {
		for name, n := range roomForAll {
			spec.Maps[name].MaxEntries = n
		}
	}
	for name, n := range o.Limits {
		m, ok := spec.Maps[name]
		if !ok {
			return fmt.Errorf("no map is named %q", name)
		}
		m.MaxEntries = n
	}
	return nil
}

func (p *Probe) configure(spec *ebpf.CollectionSpec, o Options) error {
	if err := resize(spec, o); err != nil {
		return err
	}
	subsys, err := subsystem(p.hierarchy.Controller)
	if err != nil {
		return err
	}
	var text [5][2]uint64
	n := 0
	for _, name := range advisers {
		if from, to, ok := p.symbols.span(name); ok {
			text[n] = [2]uint64{from, to}
			n++
		}
	}
	if from, to, ok := p.symbols.span("proc_fd_permission"); ok {
		text[len(advisers)] = [2]uint64{from, to}
	}
	for name, value := range map[string]any{
		bpfVarCfgSubsys: subsys,
		// arch/x86/include/asm/page_64_types.h, arch/arm64/include/asm/memory.h: THREAD_SIZE
		bpfVarCfgThreadSize:   uint32(max(16<<10, os.Getpagesize())),
		bpfVarCfgText:         text,
		bpfVarCfgPerCpuOffset: p.symbols.data["__per_cpu_offset"],
		bpfVarCfgPreemptCount: p.symbols.data["__preempt_count"],
		bpfVarCfgPcpuHot:      p.symbols.data["pcpu_hot"],
		bpfVarCfgRefusals:     boolByte(o.Refusals),
		bpfVarCfgSelf:         ownPID(o),
	} {
		v, ok := spec.Variables[name]
		if !ok {
			continue // only one architecture has it
		}
		if err := v.Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// roomForAll are the maps' sizes where all of a host is looked at: about 80 MB.
var roomForAll = map[string]uint32{
	bpfMapScopes: 8192, bpfMapPhases: 8192, bpfMapSums: 4096, bpfMapEvidences: 8192,
	bpfMapTasks: 131072, bpfMapExes: 16384, bpfMapIdentities: 8192, bpfMapPorts: 4096,
}

func boolByte(b bool) uint8 {
	if b {
		return 1
	}
	return 0
}

// ownPID is ours where what runs already is looked at, so that we do not see
// ourselves; 0 if the kernel would call us by another number.
func ownPID(o Options) uint32 {
	const first = "pid:[4026531836]" // include/linux/proc_ns.h PROC_PID_INIT_INO
	if ns, err := os.Readlink("/proc/self/ns/pid"); err != nil || ns != first || !o.Running {
		return 0
	}
	return uint32(os.Getpid())
}

// subsystem is a v1 controller's index in struct css_set, which differs with
// the kernel's configuration; -1 for the v2 tree.
func subsystem(controller string) (int32, error) {
	if controller == "" {
		return -1, nil
	}
	// The file systems' names for them differ from the kernel's in one case
	// (include/linux/cgroup_subsys.h).
	name := controller
	if name == "blkio" {
		name = "io"
	}
	kernel, err := btf.LoadKernelSpec()
	if err != nil {
		return 0, err
	}
	var ids *btf.Enum
	if err := kernel.TypeByName("cgroup_subsys_id", &ids); err != nil {
		return 0, fmt.Errorf("cgroup controllers of this kernel: %w", err)
	}
	for _, v := range ids.Values {
		if strings.TrimSuffix(v.Name, "_cgrp_id") == name {
			return int32(v.Value), nil
		}
	}
	return 0, fmt.Errorf("this kernel has no cgroup controller %q", controller)
}

func (p *Probe) describeCalls() error {
	defer unpreempted()() // another leastcap may be looking
	m := p.coll.Maps[bpfMapSysinfos]
	for nr, name := range p.syscalls[:min(len(p.syscalls), int(m.MaxEntries()))] {
		a, ok := calls()[name]
		if !ok {
			continue
		}
		info := bpfSysinfo{Path: a.path, Dirfd: a.dirfd, Fd: a.fd, Sockaddr: a.sockaddr, Special: uint8(a.special)}
		if err := m.Put(uint32(nr), info); err != nil {
			return fmt.Errorf("describe %s: %w", name, err)
		}
	}
	return nil
}

// readEvents reads executables' file capabilities while their processes live.
func (p *Probe) readEvents() {
	defer close(p.done)
	var rec ringbuf.Record
	for {
		if err := p.events.ReadInto(&rec); err != nil {
			if errors.Is(err, os.ErrClosed) {
				return
			}
			continue
		}
		if ev, ok := decodeEvent(rec.RawSample); ok {
			p.resolveExe(ev.Key, int(ev.Tgid))
		}
	}
}

// lossNames are the names of Record.Lost, in the order of enum loss.
var lossNames = [bpfLossLOST_KINDS]string{
	bpfLossLOST_SCOPES: "scopes", bpfLossLOST_TOTALS: "sets", bpfLossLOST_EVIDENCE: "evidence",
	bpfLossLOST_TASKS: "tasks", bpfLossLOST_EXES: "executables", bpfLossLOST_IDENTITIES: "identities",
	bpfLossLOST_PORTS: "ports", bpfLossLOST_INFLIGHT: "results", bpfLossLOST_MOVED: "moved",
	bpfLossLOST_REFUSALS: "refusals",
}

// losses are counters since [Open], by the names of Record.Lost.
func (p *Probe) losses() (map[string]uint64, error) {
	var lost [bpfLossLOST_KINDS]uint64
	if err := p.coll.Variables[bpfVarLost].Get(&lost); err != nil {
		return nil, fmt.Errorf("read the loss counters: %w", err)
	}
	m := map[string]uint64{}
	for i, n := range lost {
		m[lossNames[i]] = n
	}
	// The kernel does not run a program that is running on the same CPU already
	// (kernel/bpf/trampoline.c, bpf_trace_run()): a check in an interrupt, say.
	for name, prog := range p.coll.Programs {
		stats, err := prog.Stats()
		if err != nil {
			return nil, fmt.Errorf("read the state of %s: %w", name, err)
		}
		m["events"] += stats.RecursionMisses
	}
	return m, nil
}

// ChecksSeen counts the checks in all scopes since [Open], counted or not.
func (p *Probe) ChecksSeen() (uint64, error) {
	var n [stripes]uint64
	if err := p.coll.Variables[bpfVarChecksSeen].Get(&n); err != nil {
		return 0, unavailable(fmt.Errorf("read the check counter: %w", err))
	}
	sum := total(n)
	pending, err := p.pending()
	for _, n := range pending {
		sum += n
	}
	return sum, unavailable(err)
}

// chargesMaps says whether the kernel charges maps to memory cgroups: before 5.11 it accounts
// them against RLIMIT_MEMLOCK (Linux commit 97306be45fbe).
func chargesMaps() bool {
	v, err := features.LinuxVersionCode()
	return err != nil || v >= 5<<16|11<<8
}

// raiseMemlock is for kernels that account maps against that limit. Where it cannot be raised the load itself tells whether that matters.
// The library's own way (cilium/ebpf/rlimit) makes a map to find out whenever a program
// starts that has it in it, and so in every container's first process here.
func raiseMemlock() {
	if chargesMaps() {
		return
	}
	_ = unix.Setrlimit(unix.RLIMIT_MEMLOCK, &unix.Rlimit{Cur: unix.RLIM_INFINITY, Max: unix.RLIM_INFINITY})
}
