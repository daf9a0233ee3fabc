package learn

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
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

// signs are what processes that were looked at show of their needs.
type signs struct {
	kept     caps.Set // permitted to processes of other users than root
	uid, gid uint32   // root's, which in a user namespace has other numbers here
}

type unaidedWatch struct {
	hierarchy *proc.Hierarchy
	ref       proc.ScopeRef

	mu     sync.Mutex
	dir    string
	launch *caps.State
	signs  signs
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
	w.signs.kept = 0
	for _, pid := range pids {
		id, err := proc.Identity(pid)
		if err != nil {
			continue // ended meanwhile
		}
		ids = append(ids, id)
		state, err := proc.Sets(pid)
		if err != nil {
			continue
		}
		uid, gid := proc.Root(pid)
		if w.launch == nil {
			w.launch = &caps.State{Bounding: state.Bounding}
			w.signs.uid, w.signs.gid = uid, gid
		}
		if id.UIDs[1] != uid {
			w.signs.kept |= state.Permitted
		}
	}
	return ids, nil
}

// Signs are those of when it was last looked.
func (w *unaidedWatch) Signs() signs {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.signs
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
// taken away that are likely not to be missed, and where one is missed a part of it is
// tried.
func (l *learner) alone(ctx context.Context) (caps.Set, error) {
	seen := len(l.expect) > 0 && l.expect[0].settled != nil && len(l.expect[0].settled.Missing(nil)) > 0
	l.incomplete("the kernel's checks could not be watched: the set was found by trials alone, and there is no evidence of what was used or refused")
	if seen {
		l.note("the processes that were there at the end of each run were compared, not those that lived for a moment only")
	} else {
		l.note("the users and groups that processes become were not compared: none was seen")
	}
	l.behaved()
	set := l.profile.Baseline
	l.enough, l.isEnough = set, true
	search := advise.NewSearch(set, l.clues)
	l.decided = search.Decided
	for {
		group := search.Group()
		if group.Empty() {
			break
		}
		l.planned = len(l.profile.Trials) + search.Left() + l.opts.Runs - 1
		r, err := l.attempt(ctx, set, group)
		if err != nil {
			return 0, err
		}
		if !r.trial.Passed {
			search.Failed(r.index, l.words[r.index]+" "+r.trial.Reason)
			continue
		}
		set &^= group
		l.enough = set
		search.Passed()
	}
	return set, nil
}

// attempt runs a set without a group.
func (l *learner) attempt(ctx context.Context, set, group caps.Set) (*result, error) {
	t := usage.Trial{Kind: usage.Remove, Set: set &^ group, Removed: group}
	// Every failure is without a reason that was seen: to repeat them all would cost
	// as many runs again. The final set is run more than once.
	if l.flaky {
		return l.reduced(ctx, t)
	}
	return l.try(ctx, t, l.grant(t.Set))
}

// gather begins to read what the files of the first instance suggest. What it gives
// waits for that, but not long.
func (l *learner) gather(ctx context.Context, inst engine.Instance) (wait func()) {
	root := l.subject.User == "" || l.subject.User == "0" || l.subject.User == "root"
	l.clues = &advise.Clues{Root: root, Mute: true}
	files, ok := inst.(engine.Files)
	if !ok {
		return func() {}
	}
	var helpers []string
	for _, h := range l.opts.Exec {
		helpers = append(helpers, h.Command)
	}
	began := time.Now()
	ctx, cancel := context.WithCancel(ctx)
	var found *advise.Clues
	var err error
	done := make(chan struct{})
	go func() {
		defer close(done)
		found, err = Clues(ctx, files, helpers)
	}()
	return func() {
		defer cancel()
		limit := time.AfterFunc(clueTime-time.Since(began), cancel)
		defer limit.Stop()
		<-done
		if l.partly = errors.Is(err, context.Canceled); err != nil && !l.partly {
			l.note("not all of what its files suggest could be read: %v", err)
		}
		if found != nil {
			l.clues = found
		}
	}
}

// behaved takes what the baseline's processes show for clues: who is another user than
// the one that it starts as has become it.
func (l *learner) behaved() {
	for _, e := range l.expect {
		if e.settled == nil {
			continue
		}
		for _, i := range e.settled.Missing(nil) {
			if root := l.signs.uid; l.clues.Root && i.UIDs != (usage.IDs{root, root, root, root}) {
				l.clues.Add(caps.Of(caps.Setuid), advise.Called, fmt.Sprintf("a process became user %v", i.UIDs))
			}
			if root := l.signs.gid; l.clues.Root && i.GIDs != (usage.IDs{root, root, root, root}) {
				l.clues.Add(caps.Of(caps.Setgid), advise.Called, fmt.Sprintf("a process became group %v", i.GIDs))
			}
		}
	}
	// What it keeps when it gives up root is what it wants.
	l.clues.Add(l.signs.kept&l.profile.Baseline, advise.Granted, "a process that is not root keeps it")
}

// why says what the runs were for.
func (l *learner) why() {
	var baseline, without, failed, result int
	for _, t := range l.profile.Trials {
		switch {
		case t.Kind == usage.Baseline:
			baseline++
		case t.Kind == usage.Confirm:
			result++
		default:
			without++
			if !t.Passed {
				failed++
			}
		}
	}
	order := "what its files suggest decided which were tried first"
	switch {
	case l.partly:
		order = "what its files suggest, of those that were read in time, decided which were tried first"
	case l.clues.Mute:
		order = "its files suggest nothing, so what other workloads need decided which were tried first"
	}
	l.note("%d runs: %d as it is today; %d without some of the capabilities, of which %d failed; %d more with the result, which has passed %d times then; %s",
		len(l.profile.Trials), baseline, without, failed, result, l.passes[l.enough], order)
}
