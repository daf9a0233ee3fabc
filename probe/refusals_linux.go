package probe

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// Refusals gives the system calls that failed with EPERM, EACCES or EROFS in the chosen
// cgroups, each kind once, in the order of the first. What the runtime's set-up was
// refused is left out. It needs [Options.Refusals].
func (p *Probe) Refusals(chosen func(Place) string) ([]usage.Refusal, error) {
	all, err := p.scopes()
	if err != nil {
		return nil, unavailable(err)
	}
	p.mu.Lock()
	known := p.paths
	groups := map[uint64]string{}
	for id, s := range all {
		groups[id] = chosen(placeOf(all, known, id, s))
	}
	p.mu.Unlock()
	exes := map[bpfExeKey]bpfExe{}
	if err := each(p.coll.Maps[bpfMapExes], func(k bpfExeKey, v bpfExe) { exes[k] = v }); err != nil {
		return nil, unavailable(err)
	}
	functions, err := p.askers()
	if err != nil {
		return nil, unavailable(err)
	}
	// The beginning of some calls may have been missed, see preempt_linux.go.
	missed := p.lossy && p.coll.Programs[bpfProgOnSysEnter] != nil
	var list []usage.Refusal
	err = each(p.coll.Maps[bpfMapRefusals], func(k bpfRefusalKey, v bpfRefusal) {
		group := groups[k.Scope]
		if group == "" || syscallName(p.syscalls, k.Nr) == "epoll_ctl" && k.Compat == 0 {
			return // epoll_ctl(2): EPERM says that a file cannot be waited for
		}
		r := usage.Refusal{
			Group: group, Since: time.Duration(v.Time), Count: v.Count,
			Errno:  unix.ErrnoName(unix.Errno(-k.Ret)),
			Denied: caps.Set(k.Denied), Beyond: caps.Set(k.Beyond), Granted: caps.Set(k.Granted),
			Begun: [...]usage.Begun{bpfBegunBEGUN_UNKNOWN: usage.BegunUnknown, bpfBegunBEGUN_YES: usage.BegunYes, bpfBegunBEGUN_NO: usage.BegunNo}[k.Begun],
			Process: usage.Process{
				PID: int(v.Tgid), ParentPID: int(v.Ppid), Comm: cString(v.Comm[:]),
				Exe: exePath(exes, bpfExeKey{Scope: k.Scope, Ino: k.ExeIno, Dev: k.ExeDev, Stamp: k.ExeStamp}),
				UID: v.Uid, EUID: v.Euid, GID: v.Gid, EGID: v.Egid,
			},
			State: caps.State{
				Effective: caps.Set(v.Caps.Effective), Permitted: caps.Set(v.Caps.Permitted), Inheritable: caps.Set(v.Caps.Inheritable),
				Bounding: caps.Set(v.Caps.Bounding), Ambient: caps.Set(v.Caps.Ambient),
			},
			Launch: k.Launch != 0, NoNewPrivs: k.Nnp != 0, Seccomp: int(v.Seccomp), UserNamespace: v.UsernsLevel > 0,
			FSUID: v.Fsuid, FSGID: v.Fsgid,
		}
		if missed && r.Begun == usage.BegunNo {
			r.Begun = usage.BegunUnknown
		}
		if k.Compat != 0 {
			r.Syscall = fmt.Sprintf("syscall_%d (32-bit)", k.Nr)
		} else {
			r.Syscall = syscallName(p.syscalls, k.Nr)
			r.Path = absolute(cString(v.Path[:]), v.Walk)
			r.Call = formatCall(r.Syscall, v.Args, r.Path)
			r.Args = v.Args
		}
		if r.Syscall == "capset" {
			r.Asked = caps.Set(v.Sets[0] | v.Sets[1] | v.Sets[2])
			r.Call = fmt.Sprintf("capset(%v)", r.Asked)
		}
		if r.Syscall == "prctl" && v.Args[0] == unix.PR_CAP_AMBIENT && v.Args[1] == unix.PR_CAP_AMBIENT_RAISE && v.Args[2] < 64 {
			r.Asked = caps.Of(caps.Cap(v.Args[2]))
		}
		if first := r.Denied.Union(r.Beyond); !first.Empty() {
			r.Function = functions[asker{k.Scope, k.Nr, first.Caps()[0]}]
		}
		list = append(list, r)
	})
	slices.SortStableFunc(list, func(a, b usage.Refusal) int { return cmp.Compare(a.Since, b.Since) })
	return list, unavailable(err)
}

// asker is which check a kernel function asked for.
type asker struct {
	scope uint64
	nr    int32
	cap   caps.Cap
}

// askers are the kernel functions that denied checks came from.
func (p *Probe) askers() (map[asker]string, error) {
	out := map[asker]string{}
	err := each(p.coll.Maps[bpfMapEvidences], func(k bpfEvidenceKey, v bpfEvidence) {
		if kind := bpfKind(k.Kind); kind != bpfKindKIND_DENIED && kind != bpfKindKIND_BEYOND {
			return
		}
		if n := int(v.Nstack) / 8; n > 0 {
			out[asker{k.Scope, k.Nr, caps.Cap(k.Cap)}] = p.symbols.asker(v.Stack[:min(n, len(v.Stack))])
		}
	})
	return out, err
}

// Lost counts what could not be kept since [Open], by kind.
func (p *Probe) Lost() (map[string]uint64, error) {
	now, err := p.losses()
	if err != nil {
		return nil, unavailable(err)
	}
	lost := map[string]uint64{}
	for name, n := range now {
		if n > p.opened[name] {
			lost[name] = n - p.opened[name]
		}
	}
	return lost, nil
}
