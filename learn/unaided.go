package learn

import (
	"context"
	"errors"
	"os"
	"sync"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// Learning where the kernel's checks cannot be watched: trials alone tell what is
// needed. They are made of groups of capabilities that are likely not to be.

// HookNone is the name of [Unaided]'s way in, which is none.
const HookNone = "none"

// ErrNeedsCheck says that nothing would tell a run that works from one that does not.
var ErrNeedsCheck = errors.New("without a look at the kernel's checks, a service that only stays up shows nothing")

// Unaided is the observer that sees none of the kernel's checks. It reads the
// identities of the processes that it finds in the workload's cgroup, if that is on
// this machine.
type Unaided struct {
	Hierarchy *proc.Hierarchy // nil: no cgroup is visible
}

// Hook implements [Observer].
func (Unaided) Hook() string { return HookNone }

// Watch implements [Observer].
func (u Unaided) Watch(ref proc.ScopeRef) (Watch, error) {
	return &unaidedWatch{hierarchy: u.Hierarchy, ref: ref}, nil
}

// today is what a workload knows of the capabilities that it has, without a look.
type today interface {
	Today() (caps.Set, error)
}

type unaidedWatch struct {
	hierarchy *proc.Hierarchy
	ref       proc.ScopeRef

	mu     sync.Mutex
	dir    string
	launch *caps.State
}

func (w *unaidedWatch) SetPhase(usage.Phase) error { return nil }
func (w *unaidedWatch) End()                       {}

// Identities are those of the processes that are there now. Which ones a short life
// hides depends on chance, so that only what stays can be compared.
func (w *unaidedWatch) Identities() ([]usage.Identity, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.hierarchy == nil {
		return nil, nil
	}
	if w.dir == "" {
		if w.dir = w.hierarchy.Find(w.ref); w.dir == "" {
			return nil, nil
		}
	}
	pids, err := proc.Procs(w.dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, nil // not this user's to see
	}
	var ids []usage.Identity
	for _, pid := range pids {
		id, err := proc.Identity(pid)
		if err != nil {
			continue // ended meanwhile
		}
		ids = append(ids, id)
		if bounding, err := proc.Bounding(pid); err == nil && w.launch == nil {
			w.launch = &caps.State{Bounding: bounding}
		}
	}
	return ids, nil
}

func (w *unaidedWatch) Record() (*usage.Record, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return &usage.Record{Launch: w.launch, Sets: map[usage.Phase]usage.Sets{}}, nil
}

// unaided says that nothing of the kernel's checks is seen.
func (l *learner) unaided() bool { return l.observer.Hook() == HookNone }

// assume fills in what a look would have shown of the workload's start.
func (l *learner) assume(r *usage.Record) error {
	if r.Launch != nil {
		return nil
	}
	known, ok := l.workload.(today)
	if !ok {
		return ErrUnseen
	}
	set, err := known.Today()
	if err != nil {
		return err
	}
	r.Launch = &caps.State{Bounding: set}
	return nil
}

// alone finds the set by trials alone: from all that the workload has, groups are
// taken away that are likely not to be missed, and where one is missed it is halved.
func (l *learner) alone(ctx context.Context) (caps.Set, error) {
	seen := len(l.expect) > 0 && l.expect[0].settled != nil && len(l.expect[0].settled.Missing(nil)) > 0
	l.incomplete("the kernel's checks could not be watched: the set was found by trials alone, and there is no evidence of what was used or refused")
	if seen {
		l.note("the processes that were there at the end of each run were compared, not those that lived for a moment only")
	} else {
		l.note("the users and groups that processes become were not compared: none was seen")
	}
	root := l.subject.User == "" || l.subject.User == "0" || l.subject.User == "root"
	l.enough, l.isEnough = l.profile.Baseline, true
	a := &alone{learner: l, root: root, set: l.profile.Baseline}
	for rest := advise.Unlikely(a.set, root); len(rest) > 0; {
		group := advise.Group(rest, root)
		rest = rest[len(group):]
		l.planned = len(l.profile.Trials) + 2 + len(rest)/2 + l.opts.Runs
		if err := a.without(ctx, group); err != nil {
			return 0, err
		}
	}
	return a.set, nil
}

// alone is the state of that search.
type alone struct {
	*learner
	root bool
	set  caps.Set // passes
}

// try runs the set without a group, and takes it away if it is not missed.
func (a *alone) attempt(ctx context.Context, group []caps.Cap) (trial int, passed bool, err error) {
	removed := caps.Of(group...)
	t := usage.Trial{Kind: usage.Remove, Set: a.set &^ removed, Removed: removed}
	// Every failure is without a reason that was seen: to repeat them all would cost
	// as many runs again. The final set is run more than once.
	var r *result
	if a.flaky {
		r, err = a.reduced(ctx, t)
	} else {
		r, err = a.learner.try(ctx, t, a.grant(t.Set))
	}
	if err != nil {
		return 0, false, err
	}
	if r.trial.Passed {
		a.set = t.Set
		a.enough = a.set
	}
	return r.index, r.trial.Passed, nil
}

func (a *alone) without(ctx context.Context, group []caps.Cap) error {
	n, passed, err := a.attempt(ctx, group)
	if err != nil || passed {
		return err
	}
	return a.halve(ctx, group, n)
}

// halve finds what is needed of a group that is missed as a whole, as trial n showed.
func (a *alone) halve(ctx context.Context, group []caps.Cap, n int) error {
	if len(group) == 1 {
		a.decided[group[0]] = n
		return nil
	}
	unlikely, likely := group[:(len(group)+1)/2], group[(len(group)+1)/2:]
	m, passed, err := a.attempt(ctx, unlikely)
	if err != nil {
		return err
	}
	if passed {
		return a.halve(ctx, likely, n) // trial n was without these, too
	}
	if err := a.halve(ctx, unlikely, m); err != nil {
		return err
	}
	return a.without(ctx, likely)
}
