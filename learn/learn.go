// Package learn is the main path: run the workload as it is and watch it,
// predict what it needs, prove the prediction by running with exactly that,
// and take away what can go.
package learn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
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
	Checks       []Command     // check commands, run with sh -c; all must pass
	Exec         []Command     // helpers, run with sh -c beside the workload; each must exit 0
	CheckTimeout time.Duration // how long the baseline may take until they do
	Settle       time.Duration // how long it is watched after that
	StopTimeout  time.Duration // default: the engine's
	Timeout      time.Duration // for everything; 0 = none
	Runs         int           // how often the final set must have passed
	// Starts is how often a run starts the workload, one after the other with the
	// same volumes, which are new and empty at the first. 0: once, with the volumes
	// that the line names as they are.
	Starts      int
	Parallel    int // how many independent runs go on at the same time
	Keep        Keep
	ObserveOnly bool // no trials: predict, and do not prove
	// Declared, if any, is what somebody says that the workload needs: it is tried first,
	// in place of what would be predicted, and the profile's [usage.Declaration] says
	// whether it does.
	Declared *caps.Set
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
)

// named says whether the evidence is to tell checks and helpers apart.
func (o Options) named() bool {
	return slices.ContainsFunc(slices.Concat(o.Checks, o.Exec), func(c Command) bool { return c.Name != "" })
}

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
	if o.StopTimeout == 0 {
		o.StopTimeout = -1
	}
	o.Parallel = max(o.Parallel, 1)
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
	expect     []expected  // by start; guards once the baseline is known
	ready      bool        // the baseline is known
	begun      bool        // something may have been started
	flaky      bool        // the baseline failed, and passed
	hurried    atomic.Bool // a trial that passed was cut short
	patient    bool        // no run is cut short any more
	sure       []caps.Set  // what failed more than once, or for a reason that was seen
	unconfined bool
	planned    int
	pauses     pauses

	mu       sync.Mutex // progress, and fileCaps
	fileCaps map[string]*caps.FileCaps

	// clues are what its files suggest, and what its processes keep, where nothing else
	// is seen.
	clues  *advise.Clues
	partly bool // not all of the files were read
	signs  signs

	// decided is the trial that showed that a capability is needed, where it was not
	// the only one that was taken away.
	decided map[caps.Cap]int

	records  []*usage.Record // by trial
	words    []string        // by trial: the telling line of a failed one
	passes   map[caps.Set]int
	failures map[caps.Set]int
	harmless map[string]bool // what a run was refused and passed
	good     []*usage.Record // of the baseline's runs that passed
	once     caps.Set        // used in the first run only, where runs share state
	enough   caps.Set        // the last reduced set that passed
	isEnough bool            // there is one
	shaken   bool            // the final set failed in the end: what was taken away is in doubt
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
		fileCaps: map[string]*caps.FileCaps{}, decided: map[caps.Cap]int{}, passes: map[caps.Set]int{}, failures: map[caps.Set]int{},
		harmless: map[string]bool{},
		profile:  &usage.Profile{Version: usage.Version, Created: began.UTC().Truncate(time.Second), Complete: true},
	}
	defer func() {
		if !l.begun {
			return // and an engine that does not answer is not waited for again
		}
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
	limited, ended := context.WithCancel(ctx)
	defer ended()
	if l.opts.Timeout > 0 {
		var cancel context.CancelFunc
		limited, cancel = context.WithTimeoutCause(limited, l.opts.Timeout, ErrTimeLimit)
		defer cancel()
	}
	go l.pauses.notice(limited)
	err = l.run(limited)
	if err != nil && context.Cause(limited) == ErrTimeLimit {
		if !l.ready {
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
	l.begun = true
	l.subject.Checks, l.subject.Exec, l.subject.Starts = commandTexts(l.opts.Checks), commandTexts(l.opts.Exec), l.opts.Starts
	for _, remark := range l.workload.Remarks() {
		l.note("%s", remark)
	}
	if l.opts.Parallel > 1 {
		why := l.workload.Exclusive()
		if why == "" && l.workload.Persistent(l.opts.Starts > 0) {
			why = "runs share what is mounted"
		}
		if why != "" {
			l.note("runs were made one after the other: %s", why)
			l.opts.Parallel = 1
		}
	}
	p := l.profile
	p.Hook, p.Keep = l.observer.Hook(), string(l.opts.Keep)

	seen, err := l.baseline(ctx)
	if err != nil {
		return err
	}
	if t := l.expect[0].timing; l.unaided() && !t.oneShot && !t.healthy && len(l.opts.Checks) == 0 {
		return ErrNeedsCheck
	}
	volumes, err := l.workload.Volumes(ctx)
	if err != nil {
		return err
	}
	t := l.expect[0].timing
	p.NotExercised = advise.NotExercised(advise.Exercise{
		Container: l.subject.Kind == "container", OneShot: t.oneShot, Killed: t.deaf,
		Checks: len(l.opts.Checks), Healthy: t.healthy, Helpers: len(l.opts.Exec), Starts: l.opts.Starts, Volumes: volumes,
	})
	p.Subject = l.subject
	if l.unaided() {
		final, err := l.alone(ctx)
		if err != nil {
			return err
		}
		proven, err := l.confirm(ctx, final)
		if err != nil {
			return err
		}
		l.why()
		if !proven {
			l.shaken, final = true, p.Baseline
		}
		l.conclude(final, proven)
		return nil
	}
	predicted := advise.Predict(seen, p.Baseline)
	p.Used = predicted
	p.Unused = p.Baseline &^ predicted
	p.Denied = seen.All().Denied &^ p.Baseline
	if l.opts.ObserveOnly {
		l.conclude(predicted, false)
		return nil
	}

	begin, doubtful := predicted, advise.OnlySet(seen)
	if d := l.opts.Declared; d != nil {
		// What it did not use is in doubt.
		begin, doubtful = *d, doubtful|*d&^predicted
	}
	l.planned = len(p.Trials) + 1 + (begin &^ l.once).Len() + l.opts.Runs - 1
	declared := len(p.Trials)
	proved, err := l.prove(ctx, begin)
	if errors.Is(err, errUnproven) {
		l.note("%v, not even all of today's capabilities given by name: the recommendation is to change nothing", err)
		l.conclude(p.Baseline, false)
		return nil
	}
	if err != nil {
		return err
	}
	final, err := l.minimise(ctx, proved, doubtful)
	if err != nil {
		return err
	}
	if l.opts.Keep == KeepUsed {
		// And no substitute: it would only come on top. What was only set by
		// capset(2), and not missed, was not used.
		final |= seen.All().Granted & predicted & proved
	} else if final, err = l.substitute(ctx, final); err != nil {
		return err
	}
	proven, err := l.confirm(ctx, final)
	if err != nil {
		return err
	}
	if !proven && l.hurried.Load() {
		// Runs that were cut short may have passed too early. Once more, with all
		// the time.
		l.patient = true
		if final, err = l.minimise(ctx, proved, doubtful); err != nil {
			return err
		}
		if proven, err = l.confirm(ctx, final); err != nil {
			return err
		}
	}
	if !proven {
		// Too much was taken away, or chance had its part in it.
		l.shaken, final = true, proved
	}
	l.conclude(final, proven)
	if l.opts.Declared != nil {
		l.declaration(p.Trials[declared], final)
	}
	return nil
}

// declaration compares what is declared with what was found. first is the trial with
// exactly the declared set.
func (l *learner) declaration(first usage.Trial, final caps.Set) {
	set := *l.opts.Declared
	d := &usage.Declaration{Set: set, Suffices: first.Passed, Reason: first.Reason}
	if !first.Passed {
		d.Missing = final &^ set
	}
	d.Unneeded = set &^ final
	l.profile.Declared = d
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
			clear(l.failures) // of confined runs
			l.sure = nil
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
	without := func(c caps.Cap) usage.Trial {
		return usage.Trial{Kind: usage.Remove, Set: set.Without(c), Removed: caps.Of(c)}
	}
	for some := range slices.Chunk(advise.Order(set&^l.once), l.opts.Parallel) {
		trials := make([]usage.Trial, len(some))
		for i, c := range some {
			trials[i] = without(c)
		}
		results, err := l.sideBySide(ctx, trials)
		if err != nil {
			return 0, err
		}
		for i, r := range results {
			if !r.trial.Passed {
				continue // and would with less
			}
			if !trials[i].Set.SubsetOf(set) {
				// Another one of these went: now without both.
				if r, err = l.reduced(ctx, without(some[i])); err != nil {
					return 0, err
				}
			}
			if r.trial.Passed {
				set = set.Without(some[i])
				l.enough = set
			}
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
			var problem *engine.Error
			if errors.As(err, &problem) && ctx.Err() == nil {
				// The engine may be older than the capability.
				l.note("%v in place of %v could not be tried: %v", s.Use, c, problem)
				continue
			}
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

// confirm runs the final set until it has passed as often as asked for. One
// that passed and failed is not proven, however often it is run.
func (l *learner) confirm(ctx context.Context, set caps.Set) (bool, error) {
	for l.failures[set] == 0 && l.passes[set] < l.opts.Runs {
		trials := make([]usage.Trial, min(l.opts.Parallel, l.opts.Runs-l.passes[set]))
		for i := range trials {
			trials[i] = usage.Trial{Kind: usage.Confirm, Set: set}
		}
		if _, err := l.sideBySide(ctx, trials); err != nil {
			return false, err
		}
	}
	if n := l.failures[set]; n > 0 {
		l.note("the final set %v passed %d time(s) and failed %d time(s): the workload or its check is flaky, nothing is proven", set, l.passes[set], n)
		return false, nil
	}
	return true, nil
}

// withoutTrial is the trial that decided a capability, -1 if none: one without
// it alone, or one without several that passed.
func (l *learner) withoutTrial(c caps.Cap) int {
	if n, ok := l.decided[c]; ok {
		return n
	}
	for i, t := range slices.Backward(l.profile.Trials) {
		if t.Kind == usage.Remove && (t.Removed == caps.Of(c) || t.Passed && t.Removed.Has(c)) {
			return i
		}
	}
	return -1
}
