// Package advise decides what a record of use means: what to try, in which
// order, and what to recommend. Pure functions; the trials themselves are
// learn's.
package advise

import (
	"fmt"
	"iter"
	"path"
	"slices"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/usage"
)

// Predict gives the set that a workload should do with, from a record of a run
// that passed: what counted checks were granted, what effective file
// capabilities demand at exec, and what was set by capset(2) and in the ambient
// set; never more than it had.
func Predict(r *usage.Record, baseline caps.Set) caps.Set {
	all := r.All()
	return (all.Granted | all.Capset | all.Ambient | r.FileCaps()) & baseline
}

// OnlySet gives what was used by capset(2) alone: many programs set again what
// they hold, so most of it is likely not to be missed.
func OnlySet(r *usage.Record) caps.Set {
	all := r.All()
	return all.Capset &^ (all.Granted | all.Ambient | r.FileCaps())
}

// Repair gives what a failed trial was refused and might need, of what the
// baseline has and the trial had not. Empty if the trial left no trace of it.
func Repair(r *usage.Record, had, baseline caps.Set) caps.Set {
	all := r.All()
	return (all.Denied | all.CapsetFailed | all.AmbientFail | r.FileCaps()) & baseline &^ had
}

// Refusals says in words which of the capabilities were refused in a way that
// the workload noticed: a system call failed with EPERM or EACCES.
func Refusals(r *usage.Record, lacks caps.Set) iter.Seq[string] {
	return func(yield func(string) bool) {
		for _, c := range r.Checks {
			if c.Verdict == usage.Denied && lacks.Has(c.Cap) && c.Failed > 0 && (c.Errno == "EPERM" || c.Errno == "EACCES") &&
				!yield(fmt.Sprintf("%s: %s gave %s", c.Process.Comm, c.Call, c.Errno)) {
				return
			}
		}
		for _, e := range r.Execs {
			if e.Failed && e.Caps != nil && e.Caps.Effective && e.Caps.Permitted&lacks != 0 &&
				!yield(fmt.Sprintf("execve(%q) gave EPERM: its file capabilities are %v", e.Path, e.Caps)) {
				return
			}
		}
		for _, c := range r.Capsets {
			if missing := (c.Permitted | c.Effective | c.Inheritable) & lacks; c.Failed && missing != 0 &&
				!yield(fmt.Sprintf("%s: %s of %v gave EPERM", c.Process.Comm, c.Call, missing)) {
				return
			}
		}
	}
}

// FirstRefusal is the first of them, "" if there is none.
func FirstRefusal(r *usage.Record, lacks caps.Set) string {
	for refusal := range Refusals(r, lacks) {
		return refusal
	}
	return ""
}

// clients ask a daemon to run something: what they start is not their child.
var clients = []string{"docker", "podman", "nerdctl", "ctr", "crictl", "kubectl", "systemctl", "systemd-run", "machinectl"}

// Client names the executed program that had another program do the work, ""
// if there was none.
func Client(r *usage.Record) string {
	for _, e := range r.Execs {
		if slices.Contains(clients, path.Base(e.Path)) {
			return path.Base(e.Path)
		}
	}
	return ""
}

// Order is the order in which to try without: the most dangerous first, so
// that of two that can stand in for each other the less dangerous stays.
func Order(set caps.Set) []caps.Cap { return catalog.ByDanger(set) }

// Candidate is a substitute worth trying.
type Candidate struct {
	For, Use caps.Cap
	// Adopt: if it passes, it is a reduction and takes the other's place; else it
	// is only reported.
	Adopt  bool
	Reason string
}

// Substitutes gives the narrower capabilities that may do in place of a
// required one. The kernel asks the alternatives one after the other, so what
// could stand in was refused beside it in the trial without it, or is known to
// be asked only where the wider one is missing.
func Substitutes(required caps.Cap, without *usage.Record, have caps.Set, container bool) []Candidate {
	var out []Candidate
	for _, n := range catalog.Get(required).Narrower {
		if have.Has(n.Cap) || !without.All().Denied.Has(n.Cap) {
			continue
		}
		c := Candidate{For: required, Use: n.Cap, Adopt: n.Container || !container, Reason: n.For}
		out = append(out, c)
	}
	return out
}

// Guard compares a trial's process identities with the baseline's.
type Guard struct {
	must map[string]usage.Identity // in every baseline run
	may  map[string]usage.Identity // in any
	// loose leaves the seccomp mode out: a privileged baseline has none, and its
	// trials run under the engine's profile.
	loose bool
}

// NewGuard makes one from at least one baseline run. What differs between
// baseline runs is not held against a trial.
func NewGuard(loose bool, runs ...[]usage.Identity) *Guard {
	g := &Guard{must: map[string]usage.Identity{}, may: map[string]usage.Identity{}, loose: loose}
	for n, run := range runs {
		seen := map[string]bool{}
		for _, i := range run {
			k := g.key(i)
			seen[k] = true
			g.may[k] = i
			if n == 0 {
				g.must[k] = i
			}
		}
		for k := range g.must {
			if !seen[k] {
				delete(g.must, k)
			}
		}
	}
	return g
}

func (g *Guard) key(i usage.Identity) string {
	if g.loose {
		i.Seccomp = 0
	}
	return i.Key()
}

// Strange gives the identities that no baseline run had. One is enough to know
// that a trial failed, also while it runs.
func (g *Guard) Strange(run []usage.Identity) []usage.Identity {
	var out []usage.Identity
	for _, i := range run {
		if _, ok := g.may[g.key(i)]; !ok {
			out = append(out, i)
		}
	}
	return out
}

// Allow takes a run as one more of the baseline's: what is only in it may be
// there, what is not in it need not.
func (g *Guard) Allow(run []usage.Identity) {
	seen := map[string]bool{}
	for _, i := range run {
		k := g.key(i)
		seen[k] = true
		g.may[k] = i
	}
	for k := range g.must {
		if !seen[k] {
			delete(g.must, k)
		}
	}
}

// Missing gives the identities that every baseline run had and this one has not.
func (g *Guard) Missing(run []usage.Identity) []usage.Identity {
	seen := map[string]bool{}
	for _, i := range run {
		seen[g.key(i)] = true
	}
	var keys []string
	for k := range g.must {
		if !seen[k] {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	out := make([]usage.Identity, 0, len(keys))
	for _, k := range keys {
		out = append(out, g.must[k])
	}
	return out
}

// Compare says what is wrong with a finished trial's identities, "" if nothing.
func (g *Guard) Compare(run []usage.Identity) string {
	strange, missing := g.Strange(run), g.Missing(run)
	for _, s := range strange {
		for _, m := range missing {
			if s.Exe == m.Exe { // the same program, and not what it should have become
				return fmt.Sprintf("a process stayed %v instead of %v", s, m)
			}
		}
	}
	switch {
	case len(strange) > 0:
		return fmt.Sprintf("a process was %v, which no baseline run had", strange[0])
	case len(missing) > 0:
		return fmt.Sprintf("no process became %v", missing[0])
	}
	return ""
}

// Portability infers what other engines' defaults would add to a set that was
// proven under these sysctls. Docker sets ip_unprivileged_port_start=0 and
// opens ping_group_range in private network namespaces since 20.10 (moby
// dae652e2e5, daemon/oci_linux.go); Podman, CRI-O and containerd before 2.0 do
// not set the first (KERNEL facts §4).
func Portability(r *usage.Record, recommended caps.Set) usage.Portability {
	p := usage.Portability{Ports: r.Ports, Sysctls: r.Sysctls}
	for _, port := range r.Ports {
		switch {
		case port.Ping && !recommended.Has(caps.NetRaw) && !p.Inferred.Has(caps.NetRaw):
			p.Inferred = p.Inferred.With(caps.NetRaw)
			p.Reasons = append(p.Reasons, fmt.Sprintf(
				"%s opens a ping socket; where net.ipv4.ping_group_range does not allow that (CRI-O, containerd before 2.0) it may need net_raw", port.Comm))
		case !port.Ping && r.Sysctls != nil && r.Sysctls.UnprivilegedPortStart <= port.Port &&
			!recommended.Has(caps.NetBindService) && !p.Inferred.Has(caps.NetBindService):
			p.Inferred = p.Inferred.With(caps.NetBindService)
			p.Reasons = append(p.Reasons, fmt.Sprintf(
				"%s binds port %v; where net.ipv4.ip_unprivileged_port_start is 1024 (Podman, CRI-O, containerd before 2.0, the host's network) it needs net_bind_service", port.Comm, port))
		}
	}
	return p
}
