package usage

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastcap/leastcap/caps"
)

// Phase says when in a run something happened.
type Phase string

const (
	Start  Phase = "start"  // from the container's creation until its check passes
	Steady Phase = "steady" // from then on
	Stop   Phase = "stop"   // from the request to stop until the last process is gone
)

// Phases lists all phases in their order of time.
var Phases = []Phase{Start, Steady, Stop}

// Verdict is the kernel's answer to a check.
type Verdict string

const (
	Granted Verdict = "granted"
	Denied  Verdict = "denied"
)

// Process is who asked, as it was at that moment. Ids are those of the initial
// user and pid namespaces.
type Process struct {
	PID       int    `json:"pid"`
	ParentPID int    `json:"ppid,omitempty"`
	Comm      string `json:"comm"`
	Exe       string `json:"exe,omitempty"`
	UID       uint32 `json:"uid"`
	EUID      uint32 `json:"euid"`
	GID       uint32 `json:"gid"`
	EGID      uint32 `json:"egid"`
}

// Check is one kind of counted check, with the first of its kind as evidence.
type Check struct {
	Cap     caps.Cap `json:"capability"`
	Verdict Verdict  `json:"verdict"`
	// Beyond: asked of a user namespace outside the workload's own; no
	// capability that a container can be given would satisfy it.
	Beyond bool  `json:"beyond,omitempty"`
	Phase  Phase `json:"phase"`
	// Launch: asked by the container runtime's last steps, with the container's
	// own credentials (walking the path to the entry point, say).
	Launch   bool    `json:"launch,omitempty"`
	Syscall  string  `json:"syscall,omitempty"` // "" outside any system call
	Call     string  `json:"call,omitempty"`    // with its arguments, for people
	Path     string  `json:"path,omitempty"`
	Function string  `json:"function,omitempty"` // the kernel function that asked
	Process  Process `json:"process"`
	Count    uint64  `json:"count"`
	// Failed counts those whose system call then returned an error; only denied
	// checks are followed that far.
	Failed uint64 `json:"failed,omitempty"`
	Errno  string `json:"errno,omitempty"` // of the first that failed
	// Start is which of a run's starts it was first seen in, if not the first.
	Start int `json:"start,omitempty"`
	// During names what was going on at some of the times: "check upload".
	During []string `json:"during,omitempty"`
	// Since is when the first was, since boot: it tells those of one cgroup from another's
	// of the same name. It is in no file.
	Since time.Duration `json:"-"`
}

// Exec is an executable that the workload ran, with its file capabilities.
type Exec struct {
	Path string         `json:"path"`
	Caps *caps.FileCaps `json:"file_capabilities,omitempty"`
	// Failed: the execve itself was refused (EPERM or EACCES).
	Failed bool `json:"failed,omitempty"`
	// Unknown says why the file capabilities could not be read.
	Unknown string `json:"unknown,omitempty"`
}

// Capset is one distinct use of capset(2) or of the ambient set by the workload.
type Capset struct {
	Call        string   `json:"call"` // "capset", "ambient_raise"
	Effective   caps.Set `json:"effective,omitempty"`
	Permitted   caps.Set `json:"permitted,omitempty"`
	Inheritable caps.Set `json:"inheritable,omitempty"`
	Failed      bool     `json:"failed,omitempty"`
	Phase       Phase    `json:"phase"`
	Process     Process  `json:"process"`
	Count       uint64   `json:"count"`
}

// Identity is what a process is to the rest of the system. Two runs of a
// workload are alike only if their processes have the same identities; counts
// and process ids may differ.
type Identity struct {
	Exe        string   `json:"exe"`
	UIDs       IDs      `json:"uids"`
	GIDs       IDs      `json:"gids"`
	Groups     []uint32 `json:"groups"`
	NoNewPrivs bool     `json:"no_new_privs"`
	Seccomp    int      `json:"seccomp"` // 0 off, 1 strict, 2 filter
	Root       string   `json:"root"`    // "/" unless chrooted within the container
}

// IDs are the real, effective, saved and file system id.
type IDs [4]uint32

// String gives one number where all four agree.
func (i IDs) String() string {
	if i[0] == i[1] && i[0] == i[2] && i[0] == i[3] {
		return fmt.Sprint(i[0])
	}
	return fmt.Sprintf("%d/%d/%d/%d", i[0], i[1], i[2], i[3])
}

// Key is equal for equal identities and orders them.
func (i Identity) Key() string {
	return fmt.Sprintf("%s uid=%v gid=%v groups=%v nnp=%t seccomp=%d root=%s",
		i.Exe, i.UIDs, i.GIDs, i.Groups, i.NoNewPrivs, i.Seccomp, i.Root)
}

// String is for people: what is ordinary is left out.
func (i Identity) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s uid %v gid %v", i.Exe, i.UIDs, i.GIDs)
	if len(i.Groups) > 0 {
		fmt.Fprintf(&b, " groups %s", strings.Trim(fmt.Sprint(i.Groups), "[]"))
	}
	if i.NoNewPrivs {
		b.WriteString(" no_new_privs")
	}
	if i.Root != "/" {
		fmt.Fprintf(&b, " root %s", i.Root)
	}
	return b.String()
}

// Port is a port below 1024 that was bound, or a ping socket: what needs a
// capability on some engines and none on others, by sysctl.
type Port struct {
	Port    int    `json:"port,omitempty"`
	Network string `json:"network"` // "tcp", "udp", "icmp", …
	Ping    bool   `json:"ping,omitempty"`
	Comm    string `json:"comm"`
}

// String is "80/tcp" or "ping".
func (p Port) String() string {
	if p.Ping {
		return "ping"
	}
	return fmt.Sprintf("%d/%s", p.Port, p.Network)
}

// Sysctls are the workload's network namespace's, read when it first bound a
// low port or opened a ping socket.
type Sysctls struct {
	UnprivilegedPortStart int       `json:"net.ipv4.ip_unprivileged_port_start"`
	PingGroupRange        [2]uint32 `json:"net.ipv4.ping_group_range"`
}

// Record is what one run showed.
type Record struct {
	// Launch is the state that the runtime gave the first process, nil if no
	// runtime was seen at work.
	Launch *caps.State `json:"launch,omitempty"`

	Sets       map[Phase]Sets `json:"sets"`
	Checks     []Check        `json:"checks"`
	Execs      []Exec         `json:"execs"`
	Capsets    []Capset       `json:"capsets"`
	Identities []Identity     `json:"identities"`
	Ports      []Port         `json:"ports"`
	Sysctls    *Sysctls       `json:"sysctls,omitempty"`

	// ChecksSeen counts the checks in the scope, counted or not: 0 means that nothing
	// was looked at.
	ChecksSeen uint64 `json:"checks_seen"`
	// Lost names what did not fit and how often. Anything here makes the record
	// incomplete.
	Lost map[string]uint64 `json:"lost,omitempty"`
}

// Sets are the masks of one phase. They come from counters that load cannot
// lose, and so may hold a capability for which no evidence was kept.
type Sets struct {
	Granted      caps.Set `json:"granted"`
	Denied       caps.Set `json:"denied"`
	Beyond       caps.Set `json:"beyond,omitempty"`
	Capset       caps.Set `json:"capset,omitempty"`
	CapsetFailed caps.Set `json:"capset_failed,omitempty"`
	Ambient      caps.Set `json:"ambient,omitempty"`
	AmbientFail  caps.Set `json:"ambient_failed,omitempty"`
	BoundDropped caps.Set `json:"bounding_dropped,omitempty"`
	// What a tracer without leastcap's rules would have reported: every granted
	// check in the container's cgroup, and the same without the runtime's set-up.
	PlainAll caps.Set `json:"plain_all"`
	PlainOwn caps.Set `json:"plain_own"`
}

// union adds t's masks to s's.
func (s Sets) union(t Sets) Sets {
	return Sets{
		Granted: s.Granted | t.Granted, Denied: s.Denied | t.Denied, Beyond: s.Beyond | t.Beyond,
		Capset: s.Capset | t.Capset, CapsetFailed: s.CapsetFailed | t.CapsetFailed,
		Ambient: s.Ambient | t.Ambient, AmbientFail: s.AmbientFail | t.AmbientFail,
		BoundDropped: s.BoundDropped | t.BoundDropped,
		PlainAll:     s.PlainAll | t.PlainAll, PlainOwn: s.PlainOwn | t.PlainOwn,
	}
}

// All is the union over the phases.
func (r *Record) All() Sets {
	var all Sets
	for _, s := range r.Sets {
		all = all.union(s)
	}
	return all
}

// Complete says whether nothing was lost.
func (r *Record) Complete() bool {
	for _, n := range r.Lost {
		if n > 0 {
			return false
		}
	}
	for _, e := range r.Execs {
		if e.Unknown != "" && !e.Failed { // what was not executed demands nothing
			return false
		}
	}
	return true
}

// IdentitySet gives the record's identities by their keys.
func (r *Record) IdentitySet() map[string]Identity {
	m := make(map[string]Identity, len(r.Identities))
	for _, i := range r.Identities {
		m[i.Key()] = i
	}
	return m
}

// FileCaps is the union of what effective file capabilities of executed files
// demand: execve(2) fails with EPERM where one of them is outside the bounding
// set (security/commoncap.c bprm_caps_from_vfs_caps()).
func (r *Record) FileCaps() caps.Set {
	var s caps.Set
	for _, e := range r.Execs {
		if e.Caps != nil && e.Caps.Effective {
			s |= e.Caps.Permitted
		}
	}
	return s
}

// Fold joins the records of several runs of the same workload with the same
// capabilities into one: masks are united, checks of a kind are added up, the
// first evidence stays.
func Fold(records ...*Record) *Record {
	out := &Record{Sets: map[Phase]Sets{}}
	for _, r := range records {
		if out.Launch == nil {
			out.Launch = r.Launch
		}
		for p, s := range r.Sets {
			out.Sets[p] = out.Sets[p].union(s)
		}
		for _, c := range r.Checks {
			i := slices.IndexFunc(out.Checks, func(o Check) bool { return o.kind() == c.kind() })
			if i < 0 {
				out.Checks = append(out.Checks, c)
				continue
			}
			o := &out.Checks[i]
			o.Count += c.Count
			o.Failed += c.Failed
			if o.Errno == "" {
				o.Errno = c.Errno
			}
			o.During = union(o.During, c.During)
		}
		for _, e := range r.Execs {
			if !slices.ContainsFunc(out.Execs, func(o Exec) bool { return o.Path == e.Path && o.Failed == e.Failed }) {
				out.Execs = append(out.Execs, e)
			}
		}
		for _, c := range r.Capsets {
			if !slices.ContainsFunc(out.Capsets, func(o Capset) bool { return o.kind() == c.kind() }) {
				out.Capsets = append(out.Capsets, c)
			}
		}
		seen := out.IdentitySet()
		for _, i := range r.Identities {
			if _, ok := seen[i.Key()]; !ok {
				out.Identities = append(out.Identities, i)
			}
		}
		for _, p := range r.Ports {
			if !slices.ContainsFunc(out.Ports, func(o Port) bool { return o.String() == p.String() }) {
				out.Ports = append(out.Ports, p)
			}
		}
		if out.Sysctls == nil {
			out.Sysctls = r.Sysctls
		}
		out.ChecksSeen += r.ChecksSeen
		for k, n := range r.Lost {
			if out.Lost == nil {
				out.Lost = map[string]uint64{}
			}
			out.Lost[k] += n
		}
	}
	out.Sort()
	return out
}

// union is both lists in order, without what is twice in them.
func union(a, b []string) []string {
	for _, s := range b {
		if !slices.Contains(a, s) {
			a = append(slices.Clip(a), s)
		}
	}
	return a
}

// MarkStart says that the record is of a run's n-th start.
func (r *Record) MarkStart(n int) {
	for i := range r.Checks {
		r.Checks[i].Start = n
	}
}

// Mark says of all checks that were made between two looks what was going on
// meanwhile.
func (r *Record) Mark(before, after *Record, during string) {
	if before == nil || after == nil {
		return
	}
	count := func(of *Record, kind checkKind) uint64 {
		var n uint64
		for _, c := range of.Checks {
			if c.kind() == kind {
				n += c.Count
			}
		}
		return n
	}
	for i := range r.Checks {
		c := &r.Checks[i]
		// The phase may have ended between the looks; the kind says which it was.
		if count(after, c.kind()) > count(before, c.kind()) {
			c.During = union(c.During, []string{during})
		}
	}
}

type checkKind struct {
	cap     caps.Cap
	verdict Verdict
	beyond  bool
	phase   Phase
	launch  bool
	syscall string
}

func (c Check) kind() checkKind {
	return checkKind{c.Cap, c.Verdict, c.Beyond, c.Phase, c.Launch, c.Syscall}
}

func (c Capset) kind() string {
	return fmt.Sprint(c.Call, c.Effective, c.Permitted, c.Inheritable, c.Failed, c.Phase)
}

// Sort puts everything into an order that depends on nothing but its content,
// so that equal runs give equal files.
func (r *Record) Sort() {
	slices.SortStableFunc(r.Checks, func(a, b Check) int {
		return cmpAll(int(a.Cap)-int(b.Cap), strings.Compare(string(b.Verdict), string(a.Verdict)),
			phaseIndex(a.Phase)-phaseIndex(b.Phase), strings.Compare(a.Syscall, b.Syscall))
	})
	slices.SortFunc(r.Execs, func(a, b Exec) int { return strings.Compare(a.Path, b.Path) })
	slices.SortStableFunc(r.Capsets, func(a, b Capset) int { return strings.Compare(a.kind(), b.kind()) })
	slices.SortFunc(r.Identities, func(a, b Identity) int { return strings.Compare(a.Key(), b.Key()) })
	slices.SortFunc(r.Ports, func(a, b Port) int { return cmpAll(a.Port-b.Port, strings.Compare(a.Network, b.Network)) })
}

func phaseIndex(p Phase) int { return slices.Index(Phases, p) }

func cmpAll(cs ...int) int {
	for _, c := range cs {
		if c != 0 {
			return c
		}
	}
	return 0
}

// AddSets unites masks with those of a phase.
func (r *Record) AddSets(p Phase, s Sets) { r.Sets[p] = r.Sets[p].union(s) }
