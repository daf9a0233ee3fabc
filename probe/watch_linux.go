package probe

import (
	"cmp"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// Watch is one workload's share of what the probe sees, from before it exists
// until [Watch.End].
type Watch struct {
	p      *Probe
	ref    proc.ScopeRef
	lost   map[string]uint64 // as they stood at the beginning
	scopes []uint64          // found so far, the workload's own first
	read   *contents         // nil: the maps are read
	pend   pending           // of the record that is being made
}

// Watch begins to watch a workload, best before it is started.
func (p *Probe) Watch(ref proc.ScopeRef) (*Watch, error) {
	w := &Watch{p: p, ref: ref}
	if err := w.find(); err != nil {
		return nil, unavailable(err)
	}
	var err error
	if w.lost, err = w.losses(); err != nil {
		return nil, unavailable(err)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.watches = append(p.watches, w)
	return w, nil
}

// find brings the list of the workload's cgroups up to date.
func (w *Watch) find() error {
	all, err := w.p.scopes()
	if err != nil {
		return err
	}
	w.scopes = w.scopes[:0]
	for id := range all {
		if belongs(all, id, w.ref) {
			w.scopes = append(w.scopes, id)
		}
	}
	slices.SortFunc(w.scopes, func(a, b uint64) int {
		return cmp.Or(cmp.Compare(all[a].Level, all[b].Level), cmp.Compare(a, b))
	})
	return nil
}

func (p *Probe) scopes() (map[uint64]bpfScope, error) {
	all := map[uint64]bpfScope{}
	err := each(p.coll.Maps[bpfMapScopes], func(id uint64, s bpfScope) { all[id] = s })
	return all, err
}

// belongs says whether a cgroup is the one that a reference names, or below it.
func belongs(all map[uint64]bpfScope, id uint64, ref proc.ScopeRef) bool {
	for range len(all) {
		s, ok := all[id]
		if !ok {
			return false
		}
		name := cString(s.Name[:])
		switch {
		case ref.ID != 0:
			if id == ref.ID {
				return true
			}
		case strings.Contains(name, ref.Name) && !strings.Contains(name, "conmon"):
			// Podman keeps its monitor in a cgroup of its own: libpod-conmon-ID.
			return true
		}
		id = s.Parent
	}
	return false
}

// SetPhase says that from now on things happen in another phase.
func (w *Watch) SetPhase(phase usage.Phase) error {
	if err := w.find(); err != nil {
		return unavailable(err)
	}
	return unavailable(w.setPhase(phase))
}

func (w *Watch) setPhase(phase usage.Phase) error {
	defer unpreempted()()
	n := uint32(slices.Index(usage.Phases, phase))
	if err := w.p.coll.Variables[bpfVarPhased].Set(uint32(1)); err != nil {
		return fmt.Errorf("set the phase: %w", err)
	}
	for _, id := range w.scopes {
		if err := w.p.coll.Maps[bpfMapPhases].Put(id, n); err != nil {
			return fmt.Errorf("set the phase: %w", err)
		}
	}
	return w.p.forgetMemos() // which would go on counting in the phase before
}

// Identities are those of the workload's processes so far: as they were right
// after each exec, and at their exit.
func (w *Watch) Identities() ([]usage.Identity, error) {
	if err := w.find(); err != nil {
		return nil, unavailable(err)
	}
	exes, err := w.exes()
	if err != nil {
		return nil, unavailable(err)
	}
	ids, err := w.identities(exes)
	return ids, unavailable(err)
}

// End forgets the workload and frees its place in the maps. Cgroups that are
// gone and that nobody watches are forgotten with it, so that a busy host does
// not fill the maps.
func (w *Watch) End() {
	w.p.mu.Lock()
	w.p.watches = slices.DeleteFunc(w.p.watches, func(o *Watch) bool { return o == w })
	others := slices.Clone(w.p.watches)
	w.p.mu.Unlock()
	all, err := w.p.scopes()
	if err != nil {
		return
	}
	w.scopes = w.scopes[:0]
	for id, s := range all {
		watched := slices.ContainsFunc(others, func(o *Watch) bool { return belongs(all, id, o.ref) })
		if !watched && (s.Dead != 0 || belongs(all, id, w.ref)) {
			w.scopes = append(w.scopes, id)
		}
	}
	w.forget()
}

// forget deletes what the maps hold of the watch's cgroups.
func (w *Watch) forget() {
	deleteIf(w.p.coll.Maps[bpfMapSums], func(k bpfTotalsKey) bool { return w.has(k.Scope) })
	deleteIf(w.p.coll.Maps[bpfMapEvidences], func(k bpfEvidenceKey) bool { return w.has(k.Scope) })
	deleteIf(w.p.coll.Maps[bpfMapIdentities], func(k bpfIdentityKey) bool { return w.has(k.Scope) })
	deleteIf(w.p.coll.Maps[bpfMapRefusals], func(k bpfRefusalKey) bool { return w.has(k.Scope) })
	deleteIf(w.p.coll.Maps[bpfMapPorts], func(k bpfPortKey) bool { return w.has(k.Scope) })
	deleteIf(w.p.coll.Maps[bpfMapExes], func(k bpfExeKey) bool {
		if !w.has(k.Scope) {
			return false
		}
		w.p.mu.Lock()
		delete(w.p.fileCaps, k)
		w.p.mu.Unlock()
		return true
	})
	defer unpreempted()()
	for _, id := range w.scopes {
		_ = w.p.coll.Maps[bpfMapPhases].Delete(id) // absent in the first phase
		_ = w.p.coll.Maps[bpfMapScopes].Delete(id)
	}
	_ = w.p.forgetMemos() // else what is gone goes on being counted, for nobody
}

func (w *Watch) has(scope uint64) bool { return slices.Contains(w.scopes, scope) }

// Record gives everything seen so far.
func (w *Watch) Record() (*usage.Record, error) {
	r, err := w.record()
	return r, unavailable(err)
}

func (w *Watch) record() (*usage.Record, error) {
	if err := w.find(); err != nil {
		return nil, err
	}
	return w.recordOf()
}

// recordOf is of the cgroups that were found.
func (w *Watch) recordOf() (*usage.Record, error) {
	r := &usage.Record{Sets: map[usage.Phase]usage.Sets{}}
	var err error
	if w.read != nil {
		w.pend = w.read.pending
	} else if w.pend, err = w.p.pending(); err != nil {
		return nil, err
	}
	exes, err := w.exes()
	if err != nil {
		return nil, err
	}
	for key, exe := range exes {
		e := usage.Exec{Path: walkString(exe.Walk)}
		if res := w.p.resolveExe(key, int(exe.Tgid)); res.err != nil {
			e.Unknown = res.err.Error()
		} else {
			e.Caps = res.caps
		}
		if !slices.ContainsFunc(r.Execs, func(o usage.Exec) bool { return sameExec(o, e) }) {
			r.Execs = append(r.Execs, e)
		}
	}
	for _, step := range []func(*usage.Record) error{w.readScopes, w.readSets, w.readPorts, w.readLosses} {
		if err := step(r); err != nil {
			return nil, err
		}
	}
	if err := w.readEvidence(r, exes); err != nil {
		return nil, err
	}
	if r.Identities, err = w.identities(exes); err != nil {
		return nil, err
	}
	r.Sort()
	return r, nil
}

// sameExec: a file that was only touched between two execs is another one to
// the programs, and the same to people.
func sameExec(a, b usage.Exec) bool {
	if a.Path != b.Path || a.Failed != b.Failed || a.Unknown != b.Unknown || (a.Caps == nil) != (b.Caps == nil) {
		return false
	}
	return a.Caps == nil || *a.Caps == *b.Caps
}

func (w *Watch) readScopes(r *usage.Record) error {
	defer unpreempted()()
	for _, id := range w.scopes {
		var s bpfScope
		if err := w.p.coll.Maps[bpfMapScopes].Lookup(id, &s); err != nil {
			continue // swept meanwhile
		}
		if s.Launched > 0 && r.Launch == nil {
			r.Launch = &caps.State{
				Effective: caps.Set(s.Launch.Effective), Permitted: caps.Set(s.Launch.Permitted),
				Inheritable: caps.Set(s.Launch.Inheritable), Bounding: caps.Set(s.Launch.Bounding),
				Ambient: caps.Set(s.Launch.Ambient),
			}
		}
		if s.HaveNet != 0 && r.Sysctls == nil {
			r.Sysctls = &usage.Sysctls{UnprivilegedPortStart: int(s.PortStart), PingGroupRange: [2]uint32{s.PingLow, s.PingHigh}}
		}
	}
	return nil
}

func (w *Watch) readSets(r *usage.Record) error {
	return w.eachSum(func(k bpfTotalsKey, t bpfTotals) {
		if int(k.Phase) >= len(usage.Phases) {
			return
		}
		set := func(kind bpfKind) (s caps.Set) {
			for c, has := range t.Has[kind] {
				if has != 0 {
					s = s.With(caps.Cap(c))
				}
			}
			return s
		}
		phase := usage.Phases[k.Phase]
		r.AddSets(phase, usage.Sets{
			Granted: set(bpfKindKIND_GRANTED), Denied: set(bpfKindKIND_DENIED), Beyond: set(bpfKindKIND_BEYOND),
			Capset: set(bpfKindKIND_CAPSET), CapsetFailed: set(bpfKindKIND_CAPSET_FAILED),
			Ambient: set(bpfKindKIND_AMBIENT), AmbientFail: set(bpfKindKIND_AMBIENT_FAILED),
			BoundDropped: set(bpfKindKIND_BOUND_DROPPED),
			PlainAll:     set(bpfKindKIND_PLAIN_ALL), PlainOwn: set(bpfKindKIND_PLAIN_OWN),
		})
		r.ChecksSeen += total(t.Checks)
		for of, n := range w.pend {
			if of.Scope == k.Scope && uint32(of.Phase) == k.Phase {
				r.ChecksSeen += n
			}
		}
	})
}

func (w *Watch) readPorts(r *usage.Record) error {
	return w.eachPort(func(k bpfPortKey, v bpfPort) {
		port := usage.Port{Port: int(k.Port), Comm: cString(v.Comm[:]), Ping: k.Ping != 0}
		switch {
		case port.Ping:
			port.Network = "icmp"
		case k.Type == unix.SOCK_DGRAM:
			port.Network = "udp"
		case k.Type == unix.SOCK_STREAM:
			port.Network = "tcp"
		default:
			port.Network = fmt.Sprintf("socket type %d", k.Type)
		}
		if k.Family == unix.AF_INET6 {
			port.Network += "6"
		}
		r.Ports = append(r.Ports, port)
	})
}

// losses are the probe's, and those of the workload's own cgroups.
func (w *Watch) losses() (map[string]uint64, error) {
	lost, err := w.p.losses()
	if err != nil {
		return nil, err
	}
	defer unpreempted()()
	for _, id := range w.scopes {
		var s bpfScope
		if err := w.p.coll.Maps[bpfMapScopes].Lookup(id, &s); err == nil { // else swept meanwhile
			lost[lossNames[bpfLossLOST_MOVED]] += uint64(s.Moved)
		}
	}
	return lost, nil
}

func (w *Watch) readLosses(r *usage.Record) error {
	now, err := w.losses()
	if err != nil {
		return err
	}
	if w.ref.ID != 0 && len(w.scopes) == 0 {
		// The cgroup did not fit when it was made, or is older than the probe:
		// what happens in it is not seen at all.
		const scopes = "scopes"
		now[scopes] = max(now[scopes], w.lost[scopes]+1)
	}
	for name, n := range now {
		if n > w.lost[name] {
			if r.Lost == nil {
				r.Lost = map[string]uint64{}
			}
			r.Lost[name] = n - w.lost[name]
		}
	}
	return nil
}

func (w *Watch) exes() (map[bpfExeKey]bpfExe, error) {
	m := map[bpfExeKey]bpfExe{}
	err := w.eachExe(func(k bpfExeKey, v bpfExe) { m[k] = v })
	return m, err
}

func exePath(exes map[bpfExeKey]bpfExe, key bpfExeKey) string {
	if exe, ok := exes[key]; ok {
		return walkString(exe.Walk)
	}
	// A process that moved to a child cgroup runs what was executed elsewhere.
	for k, exe := range exes {
		if k.Ino == key.Ino && k.Dev == key.Dev && k.Stamp == key.Stamp {
			return walkString(exe.Walk)
		}
	}
	return ""
}

func (w *Watch) identities(exes map[bpfExeKey]bpfExe) ([]usage.Identity, error) {
	seen := map[string]usage.Identity{}
	err := w.eachIdentity(func(k bpfIdentityKey, v bpfIdentity) {
		i := usage.Identity{
			Exe: exePath(exes, bpfExeKey{Scope: k.Scope, Ino: k.ExeIno, Dev: k.ExeDev, Stamp: k.ExeStamp}), UIDs: k.Uid, GIDs: k.Gid,
			Groups: slices.Clone(v.Groups[:min(int(k.Ngroups), len(v.Groups))]), NoNewPrivs: k.Nnp != 0,
			Seccomp: int(k.Seccomp), Root: walkString(v.Root),
		}
		if i.Groups == nil {
			i.Groups = []uint32{}
		}
		seen[i.Key()] = i
	})
	list := slices.Collect(maps.Values(seen))
	slices.SortFunc(list, func(a, b usage.Identity) int { return strings.Compare(a.Key(), b.Key()) })
	return list, err
}

// total adds a counter's stripes up.
func total(stripes [stripes]uint64) (n uint64) {
	for _, s := range stripes {
		n += s
	}
	return n
}

// stripes is STRIPES in bpf/leastcap.h.
const stripes = 64

// compatNr marks a number of the 32-bit table (COMPAT_NR in bpf/leastcap.h).
const compatNr = 1 << 29

// timed is evidence with its time since boot, for putting it in order.
type timed[T any] struct {
	at time.Duration
	v  T
}

func (w *Watch) readEvidence(r *usage.Record, exes map[bpfExeKey]bpfExe) error {
	var checks []timed[usage.Check]
	err := w.eachEvidence(func(k bpfEvidenceKey, v bpfEvidence) {
		if int(k.Phase) >= len(usage.Phases) {
			return
		}
		who := usage.Process{
			PID: int(v.Tgid), ParentPID: int(v.Ppid), Comm: cString(v.Comm[:]),
			Exe: exePath(exes, bpfExeKey{Scope: k.Scope, Ino: v.ExeIno, Dev: v.ExeDev, Stamp: v.ExeStamp}),
			UID: v.Uid, EUID: v.Euid, GID: v.Gid, EGID: v.Egid,
		}
		phase := usage.Phases[k.Phase]
		switch kind := bpfKind(k.Kind); kind {
		case bpfKindKIND_GRANTED, bpfKindKIND_DENIED, bpfKindKIND_BEYOND:
			nr := k.Nr
			if v.Compat != 0 && nr >= 0 {
				nr &^= compatNr
			}
			c := usage.Check{
				Cap: caps.Cap(k.Cap), Verdict: usage.Denied, Beyond: kind == bpfKindKIND_BEYOND, Phase: phase,
				Since:  time.Duration(v.Time),
				Launch: k.Launch != 0, Syscall: syscallName(w.p.syscalls, nr), Process: who,
				Count: total(v.Count) + w.pend[k], Failed: v.Failed,
			}
			if kind == bpfKindKIND_GRANTED {
				c.Verdict = usage.Granted
			}
			c.Path = evidencePath(v)
			c.Call = formatCall(c.Syscall, v.Args, c.Path)
			if v.Compat != 0 { // another table's number
				if nr >= 0 {
					c.Syscall = fmt.Sprintf("syscall_%d (32-bit)", nr)
				}
				c.Path, c.Call = "", ""
			}
			if n := int(v.Nstack) / 8; n > 0 {
				c.Function = w.p.symbols.asker(v.Stack[:min(n, len(v.Stack))])
			}
			if v.HaveRet != 0 && v.Ret < 0 {
				c.Errno = unix.ErrnoName(unix.Errno(-v.Ret))
			}
			checks = append(checks, timed[usage.Check]{time.Duration(v.Time), c})
		case bpfKindKIND_CAPSET, bpfKindKIND_CAPSET_FAILED:
			r.Capsets = append(r.Capsets, usage.Capset{
				Call: "capset", Effective: caps.Set(v.Args[0]), Permitted: caps.Set(v.Args[1]),
				Inheritable: caps.Set(v.Args[2]), Failed: kind == bpfKindKIND_CAPSET_FAILED,
				Phase: phase, Process: who, Count: total(v.Count),
			})
		case bpfKindKIND_AMBIENT, bpfKindKIND_AMBIENT_FAILED:
			r.Capsets = append(r.Capsets, usage.Capset{
				Call: "ambient_raise", Permitted: caps.Of(caps.Cap(k.Cap)), Inheritable: caps.Of(caps.Cap(k.Cap)),
				Failed: kind == bpfKindKIND_AMBIENT_FAILED, Phase: phase, Process: who, Count: total(v.Count),
			})
		case bpfKindKIND_EXEC_FAILED:
			r.Execs = append(r.Execs, w.failedExec(evidencePath(v), k.Scope))
		}
	})
	slices.SortStableFunc(checks, func(a, b timed[usage.Check]) int {
		switch {
		case a.at < b.at:
			return -1
		case a.at > b.at:
			return 1
		}
		return 0
	})
	for _, c := range checks {
		r.Checks = append(r.Checks, c.v)
	}
	return err
}

// failedExec is an execve that was refused: its file capabilities may be why.
func (w *Watch) failedExec(file string, scope uint64) usage.Exec {
	e := usage.Exec{Path: file, Failed: true, Unknown: "no process was left to read it through"}
	for _, pid := range w.p.processes(scope) {
		if res := readThroughRoot(pid, file); res.err == nil {
			e.Caps, e.Unknown = res.caps, ""
			break
		}
	}
	return e
}

// evidencePath is a system call's path argument made absolute.
func evidencePath(v bpfEvidence) string { return absolute(cString(v.Path[:]), v.Walk) }

// absolute puts a path argument behind the directory that it begins in; without one that
// is the file itself.
func absolute(arg string, walk bpfWalk) string {
	switch {
	case strings.HasPrefix(arg, "/"):
		return arg
	case walk.Len == 0 && walk.Truncated == 0 && arg == "":
		return ""
	case arg == "":
		return walkString(walk)
	}
	return path.Join(walkString(walk), arg)
}
