package learn

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/usage"
)

// timing is how long a passing run took; trials are given more, but not for
// ever.
type timing struct {
	ready   time.Duration // from the start until the check passed
	stop    time.Duration // from the request to stop to the end
	oneShot bool          // it ended by itself
	healthy bool          // the image's HEALTHCHECK decided
	deaf    bool          // it does not end when asked to: it had to be killed
	// healthcheck: the container has one, and a check command decided.
	healthcheck bool
}

func (t timing) max(u timing) timing {
	return timing{
		max(t.ready, u.ready), max(t.stop, u.stop),
		t.oneShot || u.oneShot, t.healthy || u.healthy, t.deaf || u.deaf, t.healthcheck || u.healthcheck,
	}
}

const (
	// killed is the exit status of what SIGKILL ended.
	killed = 128 + 9
	// deafStop is how long a workload is asked to end that did not listen before.
	deafStop = time.Second
	// slackStop is what a trial may take to stop beyond three times the baseline's
	// time.
	slackStop = 2 * time.Second
)

// result is one finished run: all of its starts.
type result struct {
	index  int // of the trial
	trial  usage.Trial
	record *usage.Record // of all starts
	starts []*start
	paused bool // it failed before, while leastcap was stopped
	missed bool // not all of it was seen before
}

// last is the start that decided.
func (r *result) last() *start { return r.starts[len(r.starts)-1] }

// expected is what the baseline showed of one of a run's starts.
type expected struct {
	guard *advise.Guard
	// settled compares the identities at the end of the watching alone.
	settled *advise.Guard
	exits   []int // exit statuses
	timing  timing
}

// logLines is how much of a failing workload's output is kept.
const logLines = 20

func (l *learner) grant(set caps.Set) engine.Grant {
	return engine.Grant{Set: set, Unconfined: l.unconfined || l.unaided() && l.workload.Privileged()}
}

// reduced runs a reduced set. A failure that is not to be relied on is
// repeated: one that no refusal explains, and any if the baseline failed too.
func (l *learner) reduced(ctx context.Context, t usage.Trial) (*result, error) {
	r, err := l.try(ctx, t, l.grant(t.Set))
	if err != nil {
		return nil, err
	}
	return l.again(ctx, r)
}

// again repeats a failed trial as often as its failure is in doubt.
func (l *learner) again(ctx context.Context, r *result) (*result, error) {
	doubts := 0
	switch {
	case r.trial.Passed, slices.ContainsFunc(l.sure, r.trial.Set.SubsetOf):
		return r, nil
	case l.flaky:
		doubts = 2
	case l.unexplained(r) && r.trial.Failure == "guard":
		doubts = 3
	case l.unexplained(r):
		doubts = 1
	}
	for range doubts {
		l.planned++
		more, err := l.try(ctx, r.trial.Again(), l.grant(r.trial.Set))
		if err != nil {
			return nil, err
		}
		if more.trial.Passed && l.comesAndGoes(r) {
			return more, nil
		}
		if more.trial.Passed {
			l.note("run %d failed (%s) and run %d, the same again, passed: the workload or its check is flaky", r.index+1, r.trial.Reason, more.index+1)
			return more, nil
		}
	}
	l.sure = append(l.sure, r.trial.Set)
	return r, nil
}

// comesAndGoes says of a failed run, which was refused nothing and passed when
// it was made again, that nothing was wrong in it but which processes it had.
// From now on they may be there or not.
func (l *learner) comesAndGoes(r *result) bool {
	s := r.last()
	if l.flaky || s.failure != "guard" || !l.unexplained(r) {
		return false
	}
	l.note("run %d differed from others in its processes, and was refused nothing (%s): they come and go", r.index+1, s.expect.guard.Compare(s.record.Identities))
	s.expect.guard.Allow(s.record.Identities)
	l.failures[r.trial.Set]--
	return true
}

// unexplained says that a failed trial was refused nothing that the baseline
// had.
func (l *learner) unexplained(r *result) bool {
	lacks := l.profile.Baseline &^ r.trial.Set
	return r.trial.Failure != "start" && advise.Repair(r.record, r.trial.Set, l.profile.Baseline) == 0 &&
		advise.FirstRefusal(r.record, lacks) == ""
}

// try does one run and takes its result into the profile.
func (l *learner) try(ctx context.Context, t usage.Trial, g engine.Grant) (*result, error) {
	r, err := l.execute(ctx, len(l.profile.Trials), t, g)
	if err != nil {
		return nil, err
	}
	l.admit(r)
	return r, nil
}

// sideBySide does several independent runs at the same time, as many as the
// options and the workload allow.
func (l *learner) sideBySide(ctx context.Context, trials []usage.Trial) ([]*result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	results, errs := make([]*result, len(trials)), make([]error, len(trials))
	first := len(l.profile.Trials)
	var wg sync.WaitGroup
	for i, t := range trials {
		wg.Go(func() {
			results[i], errs[i] = l.execute(ctx, first+i, t, l.grant(t.Set))
			if errs[i] != nil {
				cancel()
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		// What was only cancelled because of another's error tells nothing.
		if err != nil && !errors.Is(err, context.Canceled) {
			return nil, err
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	for _, r := range results {
		l.admit(r)
	}
	for i, r := range results {
		var err error
		if results[i], err = l.again(ctx, r); err != nil {
			return nil, err
		}
	}
	return results, nil
}

// vain is how often one run is made again that tells nothing.
const vain = 3

// execute does one run, and changes nothing of the learner. An error means that the run
// could not be made; that it failed is a result. One that failed while this process was
// stopped tells nothing: its times were not the workload's. Nor does one that passed while
// the kernel left out events, which depends on what else the machine does, or one that only
// needed longer to stop than a trial is given at first.
func (l *learner) execute(ctx context.Context, index int, t usage.Trial, g engine.Grant) (*result, error) {
	var paused, missed, hurried bool
	for n := 0; ; n++ {
		before := l.pauses.count()
		r, err := l.executeOnce(ctx, index, t, g, hurried)
		if err != nil {
			return nil, err
		}
		r.paused, r.missed = paused, missed
		stopped := !r.trial.Passed && l.pauses.count() > before
		left := r.trial.Passed && mattering(r.record) == "events" && !l.isFirst(index)
		late := r.last().cutStop && r.trial.Failure == "exit"
		if n == vain || !stopped && !left && !late {
			return r, nil
		}
		paused, missed, hurried = paused || stopped, missed || left, hurried || late
	}
}

// isFirst: no other run begins as this one did, with volumes that are empty, say.
func (l *learner) isFirst(index int) bool {
	return index == 0 && l.workload.Persistent(l.opts.Starts > 0)
}

// executeOnce is from creation to removal.
func (l *learner) executeOnce(ctx context.Context, index int, t usage.Trial, g engine.Grant, unhurried bool) (_ *result, err error) {
	began := time.Now()
	r := &result{index: index, trial: t}
	tell := func(step Step) {
		l.mu.Lock()
		defer l.mu.Unlock()
		e := Event{Trial: r.index + 1, Of: max(l.planned, r.index+1), Kind: t.Kind, Set: t.Set, Removed: t.Removed, Added: t.Added, Step: step}
		if step == Done {
			e.Outcome = &r.trial
		}
		l.progress(e)
	}
	tell(Starting)
	var used []engine.Instance // a later start needs the earlier one's volumes
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), cleanTimeout)
		defer cancel()
		for _, inst := range slices.Backward(used) {
			if rerr := inst.Remove(clean); rerr != nil && err == nil {
				err = fmt.Errorf("remove the run's remains: %w", rerr)
			}
		}
	}()
	g.Fresh = l.opts.Starts > 0
	var records []*usage.Record
	for n := range max(l.opts.Starts, 1) {
		inst, err := l.workload.Prepare(ctx, g)
		if err != nil {
			return nil, err
		}
		used = append(used, inst)
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		g.Fresh, g.After = false, inst
		s := &start{learner: l, n: n, inst: inst, tell: tell, baseline: g.Baseline, kind: t.Kind, set: t.Set, unhurried: unhurried}
		if len(l.expect) > n {
			s.expect = l.expect[n]
		}
		if err := s.do(ctx, index == 0 && n == 0); err != nil {
			return nil, err
		}
		r.starts = append(r.starts, s)
		records = append(records, s.record)
		if s.failure != "" {
			break
		}
	}
	r.record = usage.Fold(records...)
	s := r.last()
	r.trial.Passed, r.trial.Failure, r.trial.Reason = s.failure == "", s.failure, s.reason
	if len(r.starts) > 1 && s.failure != "" {
		r.trial.Reason = fmt.Sprintf("start %d: %s", len(r.starts), s.reason)
	}
	if s.exit.Started {
		code := s.exit.Code
		r.trial.Exit = &code
	}
	r.trial.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
	tell(Done)
	return r, nil
}

// admit takes a finished run into the profile.
func (l *learner) admit(r *result) {
	if r.paused {
		l.note("leastcap itself was stopped during run %d, which failed then and was made again", r.index+1)
	}
	if r.missed {
		l.note("run %d was made again: the kernel had left out some of leastcap's events, as it does under load", r.index+1)
	}
	if kinds := mattering(r.record); kinds != "" && r.trial.Kind != usage.Baseline && r.trial.Passed {
		l.incomplete("run %d passed, and not all of it was seen: lost %s", r.index+1, kinds)
	}
	l.profile.Trials = append(l.profile.Trials, r.trial)
	l.records = append(l.records, r.record)
	logs := r.last().logs
	words := tellingLine(logs)
	if words == "" && (r.trial.Failure == "died" || r.trial.Failure == "exit") {
		words = lastLine(logs)
	}
	l.words = append(l.words, words)
	switch {
	case r.trial.Kind == usage.Baseline:
	case r.trial.Passed:
		l.passes[r.trial.Set]++
		for refusal := range advise.Refusals(r.record, l.profile.Baseline&^r.trial.Set) {
			l.harmless[refusal] = true
		}
	default:
		l.failures[r.trial.Set]++
	}
}

// mattering names the losses in a trial that could hide why it should have
// failed. Sets and evidence decide nothing there.
func mattering(r *usage.Record) string {
	var kinds []string
	for _, kind := range slices.Sorted(maps.Keys(r.Lost)) {
		switch kind {
		case "evidence", "ports", "results", "sets":
		default:
			kinds = append(kinds, kind)
		}
	}
	return strings.Join(kinds, ", ")
}

// tellingLine picks the last line of an output that speaks of permission, ""
// if none does.
func tellingLine(output string) string {
	for _, line := range slices.Backward(strings.Split(output, "\n")) {
		lower := strings.ToLower(line)
		for _, word := range []string{"not permitted", "permission denied", "eperm", "eacces", "access denied", "cap_"} {
			if strings.Contains(lower, word) {
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}

// lastLine is the last that is not empty.
func lastLine(output string) string {
	lines := strings.Split(strings.TrimSpace(output), "\n")
	return strings.TrimSpace(lines[len(lines)-1])
}
