// Package learn is the main path: run the workload as it is and watch it,
// predict what it needs, prove the prediction by running with exactly that,
// and take away what can go.
package learn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// Observer sees what workloads use; the probe, or a recorded stream.
type Observer interface {
	// Watch begins before the workload runs.
	Watch(ref proc.ScopeRef) (Watch, error)
	// Hook names the way in to the kernel's checks.
	Hook() string
}

// Watch is one run's share of what the observer sees.
type Watch interface {
	SetPhase(usage.Phase) error
	Identities() ([]usage.Identity, error)
	Record() (*usage.Record, error)
	End()
}

// Keep is what the recommendation keeps.
type Keep string

const (
	KeepAuto     Keep = ""         // required with a check command, else used
	KeepRequired Keep = "required" // what a trial failed without
	KeepUsed     Keep = "used"     // all that was used
)

// Options of a learning run. Durations that are zero have the defaults below.
type Options struct {
	Checks       []string      // check commands, run with sh -c; all must pass
	CheckTimeout time.Duration // how long the baseline may take until they do
	Settle       time.Duration // how long it is watched after that
	StopTimeout  time.Duration // negative: the engine's default
	Timeout      time.Duration // for everything; 0 = none
	Runs         int           // how often the final set must have passed
	Keep         Keep
	ObserveOnly  bool // no trials: predict, and do not prove
}

const (
	// DefaultCheckTimeout is generous: databases take their time on a fresh volume.
	DefaultCheckTimeout = 60 * time.Second
	// DefaultSettle is how long a workload with a check is watched after it passed.
	DefaultSettle = time.Second
	// DefaultStayUp is how long one without a check has to stay up.
	DefaultStayUp = 3 * time.Second
	// DefaultRuns is how often the final set must pass to be called proven.
	DefaultRuns = 2
	// baselineRuns is how often the baseline runs: what differs between two is
	// not held against a trial.
	baselineRuns = 2
)

func (o Options) withDefaults() Options {
	if o.CheckTimeout == 0 {
		o.CheckTimeout = DefaultCheckTimeout
	}
	if o.Settle == 0 {
		o.Settle = DefaultSettle
		if len(o.Checks) == 0 {
			o.Settle = DefaultStayUp
		}
	}
	if o.Runs <= 0 {
		o.Runs = DefaultRuns
	}
	if o.Keep == KeepAuto {
		o.Keep = KeepUsed
		if len(o.Checks) > 0 {
			o.Keep = KeepRequired
		}
	}
	return o
}

// BaselineError says that the workload fails as it is, with all that it has
// today: there is nothing to learn then.
type BaselineError struct {
	Reason      string
	CheckOutput string
	Logs        string
}

func (e *BaselineError) Error() string {
	return "the workload fails with today's capabilities: " + e.Reason
}

// ErrUnseen says that the workload ran where this kernel cannot see it.
var ErrUnseen = errors.New("the workload ran, but not on this kernel")

// ErrNoLaunch says that the workload's own part could not be told from its
// runtime's, so that a result would be wrong.
var ErrNoLaunch = errors.New("the runtime started the workload without setting its capabilities, so the two cannot be told apart")

// ErrTimeLimit says that the time limit ended before anything was learned.
var ErrTimeLimit = errors.New("the time limit")

// ErrLeftBehind says that something of the runs could not be removed.
var ErrLeftBehind = errors.New("not everything could be removed")

// errUnproven says that no set that is given by name passes.
var errUnproven = errors.New("nothing that was tried passes where the baseline did")

// learner is the state of one learning run.
type learner struct {
	opts     Options
	workload engine.Workload
	observer Observer
	progress func(Event)

	subject    usage.Subject
	profile    *usage.Profile
	guard      *advise.Guard
	exits      []int // exit statuses that the baseline had
	reference  timing
	unconfined bool
	planned    int
	fileCaps   map[string]*caps.FileCaps
	records    []*usage.Record // by trial
	words      []string        // by trial: the telling line of a failed one
	passes     map[caps.Set]int
	failures   map[caps.Set]int
	once       caps.Set // used in the first run only, where runs share state
	enough     caps.Set // the last reduced set that passed
	isEnough   bool     // there is one
	shaken     bool     // the final set failed in the end: what was taken away is in doubt
}

// Run learns a workload. The profile that it returns with an error, if any,
// holds what was found until then. Nothing of the workload's runs is left
// behind, also when ctx ends early.
func Run(ctx context.Context, w engine.Workload, o Observer, opts Options, progress func(Event)) (_ *usage.Profile, err error) {
	began := time.Now()
	if progress == nil {
		progress = func(Event) {}
	}
	l := &learner{
		opts: opts.withDefaults(), workload: w, observer: o, progress: progress,
		fileCaps: map[string]*caps.FileCaps{}, passes: map[caps.Set]int{}, failures: map[caps.Set]int{},
		profile: &usage.Profile{Version: usage.Version, Created: began.UTC().Truncate(time.Second), Complete: true},
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
		defer cancel()
		cerr := w.Clean(clean)
		switch {
		case cerr == nil || l.profile.Trials == nil:
		case err == nil: // the result stands all the same
			l.note("%v (the next start tries again): %v", ErrLeftBehind, cerr)
		default:
			err = errors.Join(err, fmt.Errorf("%w (the next start tries again): %w", ErrLeftBehind, cerr))
		}
	}()
	limited := ctx
	if l.opts.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(ctx, l.opts.Timeout, ErrTimeLimit)
		defer cancel()
	}
	err = l.run(limited)
	if err != nil && context.Cause(limited) == ErrTimeLimit {
		if l.guard == nil {
			return nil, fmt.Errorf("%w of %v: not even the baseline was finished", ErrTimeLimit, l.opts.Timeout)
		}
		l.incomplete("the time limit of %v ended before the proof did", l.opts.Timeout)
		l.conclude(l.safe(), false)
		err = nil
	}
	l.profile.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
	return l.profile, err
}

// cleanTimeout is how long the removal of what is left may take.
const cleanTimeout = 30 * time.Second

// safe is the smallest set that is known to do.
func (l *learner) safe() caps.Set {
	if l.isEnough {
		return l.enough
	}
	return l.profile.Baseline
}

func (l *learner) incomplete(format string, args ...any) {
	l.profile.Complete = false
	l.profile.Notes = append(l.profile.Notes, fmt.Sprintf(format, args...))
}

func (l *learner) note(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(l.profile.Notes, text) {
		l.profile.Notes = append(l.profile.Notes, text)
	}
}

func (l *learner) run(ctx context.Context) error {
	if err := l.workload.Clean(ctx); err != nil {
		return err
	}
	var err error
	if l.subject, err = l.workload.Inspect(ctx); err != nil {
		return err
	}
	l.subject.Checks = l.opts.Checks
	for _, remark := range l.workload.Remarks() {
		l.note("%s", remark)
	}
	p := l.profile
	p.Hook, p.Keep = l.observer.Hook(), string(l.opts.Keep)

	seen, err := l.baseline(ctx)
	if err != nil {
		return err
	}
	p.Subject = l.subject
	predicted := advise.Predict(seen, p.Baseline)
	p.Used = predicted
	p.Unused = p.Baseline &^ predicted
	p.Denied = seen.All().Denied &^ p.Baseline
	if l.opts.ObserveOnly {
		l.conclude(predicted, false)
		return nil
	}

	l.planned = len(p.Trials) + 1 + (predicted &^ l.once).Len() + l.opts.Runs - 1
	proved, err := l.prove(ctx, predicted)
	if errors.Is(err, errUnproven) {
		l.note("%v, not even all of today's capabilities given by name: the recommendation is to change nothing", err)
		l.conclude(p.Baseline, false)
		return nil
	}
	if err != nil {
		return err
	}
	final, err := l.minimise(ctx, proved, advise.OnlySet(seen))
	if err != nil {
		return err
	}
	if l.opts.Keep == KeepUsed {
		// And no substitute: it would only come on top. What was only set by
		// capset(2), and not missed, was not used.
		final |= seen.All().Granted & predicted
	} else if final, err = l.substitute(ctx, final); err != nil {
		return err
	}
	proven, err := l.confirm(ctx, final)
	if err != nil {
		return err
	}
	if !proven {
		// Too much was taken away, or chance had its part in it.
		l.shaken, final = true, proved
	}
	l.conclude(final, proven)
	return nil
}

// baseline runs the workload as it is.
func (l *learner) baseline(ctx context.Context) (*usage.Record, error) {
	var identities [][]usage.Identity
	n := baselineRuns
	if l.opts.ObserveOnly {
		n = 1
	}
	l.planned = n + 2
	for range n {
		r, err := l.try(ctx, usage.Trial{Kind: usage.Baseline}, engine.Grant{Baseline: true})
		if err != nil {
			return nil, err
		}
		if r.record.Launch == nil {
			if r.record.ChecksSeen == 0 && r.exit.Started {
				return nil, ErrUnseen
			}
			if r.trial.Passed {
				return nil, ErrNoLaunch
			}
		}
		if !r.trial.Passed {
			return nil, &BaselineError{Reason: r.trial.Reason, CheckOutput: r.output, Logs: r.logs}
		}
		l.profile.Baseline = r.record.Launch.Bounding
		if !slices.Contains(l.exits, r.exit.Code) {
			l.exits = append(l.exits, r.exit.Code)
		}
		l.reference = l.reference.max(r.timing)
		identities = append(identities, r.record.Identities)
	}
	if n > 1 && l.workload.Persistent() {
		l.once = advise.Predict(l.records[0], l.profile.Baseline) &^ advise.Predict(l.records[n-1], l.profile.Baseline)
		if !l.once.Empty() {
			l.note("%v: used in the first run only (a fresh volume, say); kept, because later runs cannot tell whether it is needed", l.once)
		}
	}
	l.guard = advise.NewGuard(l.workload.Privileged(), identities...)
	if !l.reference.oneShot && len(l.opts.Checks) == 0 && !l.reference.healthy {
		l.note("no check command: a run passes if it stays up for %v with the same identities; --check says better what works", l.opts.Settle)
	}
	seen := usage.Fold(l.records...)
	if l.subject.Kind == "command" {
		if client := advise.Client(seen); client != "" {
			l.note("%s was run: what it starts runs elsewhere and was not seen; to learn a container, give its line itself: leastcap learn -- docker run …", client)
		}
	}
	if len(l.opts.Checks) > 0 && l.reference.healthcheck {
		l.note("the container's HEALTHCHECK was not waited for; leave --check out, or let it ask docker inspect for the health")
	}
	l.profile.Sets = seen.Sets
	l.profile.Identities, l.profile.Execs, l.profile.Capsets = seen.Identities, seen.Execs, seen.Capsets
	if !seen.Complete() {
		l.profile.Lost = seen.Lost
		l.incomplete("not everything that the workload did was seen")
		if n := seen.Lost["moved"]; n > 0 {
			l.note("%d process(es) left the workload's cgroup and were not seen from then on", n)
		}
	}
	return seen, nil
}

// prove finds a set that passes, beginning with the predicted one. What a
// failed trial was refused is added; where it left no trace, halves of the rest
// are tried.
func (l *learner) prove(ctx context.Context, predicted caps.Set) (caps.Set, error) {
	set, kind := predicted, usage.Predict
	base := l.profile.Baseline
	for {
		r, err := l.reduced(ctx, usage.Trial{Kind: kind, Set: set, Added: set &^ predicted})
		if err != nil {
			return 0, err
		}
		if r.trial.Passed {
			l.enough, l.isEnough = set, true
			return set, nil
		}
		if l.workload.Privileged() && !l.unconfined && r.record.All().Denied&^set&base == 0 {
			// Not capabilities: the other things that --privileged gives.
			l.unconfined, kind = true, usage.Repair
			l.note("it also needs what --privileged gives beside capabilities (no seccomp filter, no AppArmor profile, devices)")
			continue
		}
		add := advise.Repair(r.record, set, base)
		if add.Empty() {
			return l.search(ctx, set, base&^set)
		}
		set, kind = set|add, usage.Repair
	}
}

// search finds a small part of rest that makes set pass, given that all of it
// should: QuickXplain's halving (Junker, AAAI 2004), for needs that leave no
// event in the kernel.
func (l *learner) search(ctx context.Context, set, rest caps.Set) (caps.Set, error) {
	if rest.Empty() {
		return 0, errUnproven
	}
	r, err := l.reduced(ctx, usage.Trial{Kind: usage.Repair, Set: set | rest, Added: rest})
	if err != nil {
		return 0, err
	}
	if !r.trial.Passed {
		return 0, errUnproven
	}
	l.enough, l.isEnough = set|rest, true
	found, err := l.halve(ctx, set, rest, false)
	if err == nil {
		l.enough = set | found
	}
	return set | found, err
}

// halve gives a minimal part of rest that makes set pass; set|rest is known to.
func (l *learner) halve(ctx context.Context, set, rest caps.Set, try bool) (caps.Set, error) {
	if try {
		r, err := l.reduced(ctx, usage.Trial{Kind: usage.Repair, Set: set, Removed: rest})
		if err != nil {
			return 0, err
		}
		if r.trial.Passed {
			return 0, nil
		}
	}
	if rest.Len() == 1 {
		return rest, nil
	}
	order := advise.Order(rest)
	// The less dangerous half is likelier to stay: it is assumed first.
	dangerous, harmless := caps.Of(order[:len(order)/2]...), caps.Of(order[len(order)/2:]...)
	a, err := l.halve(ctx, set|harmless, dangerous, true)
	if err != nil {
		return 0, err
	}
	b, err := l.halve(ctx, set|a, harmless, !a.Empty())
	return a | b, err
}

// minimise takes away first at once what is likely not to be missed, and then
// one capability after the other, the most dangerous first.
func (l *learner) minimise(ctx context.Context, set, doubtful caps.Set) (caps.Set, error) {
	if doubtful &= set &^ l.once; doubtful.Len() > 1 {
		l.planned++
		r, err := l.reduced(ctx, usage.Trial{Kind: usage.Remove, Set: set &^ doubtful, Removed: doubtful})
		if err != nil {
			return 0, err
		}
		if r.trial.Passed {
			set &^= doubtful
			l.enough = set
			l.planned -= doubtful.Len()
		}
	}
	for _, c := range advise.Order(set &^ l.once) {
		t := usage.Trial{Kind: usage.Remove, Set: set.Without(c), Removed: caps.Of(c)}
		r, err := l.reduced(ctx, t)
		if err != nil {
			return 0, err
		}
		if r.trial.Passed {
			set = set.Without(c)
			l.enough = set
		}
	}
	return set, nil
}

// substitute tries narrower capabilities in the place of required ones.
func (l *learner) substitute(ctx context.Context, set caps.Set) (caps.Set, error) {
	for _, c := range advise.Order(set) {
		n := l.withoutTrial(c)
		if n < 0 {
			continue
		}
		for _, s := range advise.Substitutes(c, l.records[n], set, l.subject.Kind == "container") {
			t := usage.Trial{Kind: usage.Replace, Set: set.Without(c).With(s.Use), Removed: caps.Of(c), Added: caps.Of(s.Use)}
			r, err := l.reduced(ctx, t)
			if err != nil {
				return 0, err
			}
			l.profile.Substitutes = append(l.profile.Substitutes, usage.Substitute{
				For: c, Use: s.Use, Passed: r.trial.Passed, Adopted: r.trial.Passed && s.Adopt, Reason: s.Reason, Trial: r.index,
			})
			if r.trial.Passed && s.Adopt {
				set, l.enough = t.Set, t.Set
				break
			}
		}
	}
	return set, nil
}

// confirm runs the final set until it has passed as often as asked for, and
// once more for every time that it failed.
func (l *learner) confirm(ctx context.Context, set caps.Set) (bool, error) {
	if n := l.failures[set]; n > 0 {
		l.note("the final set failed %d time(s) before it passed: the workload or its check is flaky", n)
	}
	for l.passes[set] < l.opts.Runs+l.failures[set] {
		r, err := l.reduced(ctx, usage.Trial{Kind: usage.Confirm, Set: set})
		if err != nil {
			return false, err
		}
		if !r.trial.Passed {
			l.note("the final set %v passed %d time(s) and then failed (%s): the workload or its check is flaky, nothing is proven", set, l.passes[set], r.trial.Reason)
			return false, nil
		}
	}
	return true, nil
}

// withoutTrial is the trial that decided a capability, -1 if none: one without
// it alone, or one without several that passed.
func (l *learner) withoutTrial(c caps.Cap) int {
	for i, t := range slices.Backward(l.profile.Trials) {
		if t.Kind == usage.Remove && (t.Removed == caps.Of(c) || t.Passed && t.Removed.Has(c)) {
			return i
		}
	}
	return -1
}
