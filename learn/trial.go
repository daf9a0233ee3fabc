package learn

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/usage"
)

// timing is how long a passing run took; trials are given more, but not for
// ever.
type timing struct {
	ready   time.Duration // from the start until the check passed
	oneShot bool          // it ended by itself
	healthy bool          // the image's HEALTHCHECK decided
	deaf    bool          // it does not end when asked to: it had to be killed
	// healthcheck: the container has one, and a check command decided.
	healthcheck bool
}

func (t timing) max(u timing) timing {
	return timing{
		max(t.ready, u.ready),
		t.oneShot || u.oneShot, t.healthy || u.healthy, t.deaf || u.deaf, t.healthcheck || u.healthcheck,
	}
}

const (
	// killed is the exit status of what SIGKILL ended.
	killed = 128 + 9
	// deafStop is how long a workload is asked to end that did not listen before.
	deafStop = time.Second
)

// result is one finished run.
type result struct {
	index  int // of the trial
	trial  usage.Trial
	record *usage.Record
	timing timing
	exit   engine.Exit
	output string // the check's last
	logs   string
}

// logLines is how much of a failing workload's output is kept.
const logLines = 20

// reduced runs a reduced set.
func (l *learner) reduced(ctx context.Context, t usage.Trial) (*result, error) {
	return l.try(ctx, t, engine.Grant{Set: t.Set, Unconfined: l.unconfined})
}

// try does one run from creation to removal. An error means that the run could
// not be made; that it failed is a result.
func (l *learner) try(ctx context.Context, t usage.Trial, g engine.Grant) (_ *result, err error) {
	began := time.Now()
	r := &result{index: len(l.profile.Trials), trial: t}
	tell := func(step Step) {
		e := Event{Trial: r.index + 1, Of: max(l.planned, r.index+1), Kind: t.Kind, Set: t.Set, Removed: t.Removed, Added: t.Added, Step: step}
		if step == Done {
			e.Outcome = &r.trial
		}
		l.progress(e)
	}
	tell(Starting)
	inst, err := l.workload.Prepare(ctx, g)
	if err != nil {
		return nil, err
	}
	defer func() {
		clean, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
		defer cancel()
		if rerr := inst.Remove(clean); rerr != nil && err == nil {
			err = fmt.Errorf("remove the run's remains: %w", rerr)
		}
	}()
	watch, err := l.observer.Watch(inst.Scope())
	if err != nil {
		return nil, err
	}
	defer watch.End()
	if r.index == 0 {
		inst.Describe(ctx, &l.subject)
	}
	run := &run{learner: l, inst: inst, watch: watch, result: r, tell: tell, reference: l.reference, baseline: g.Baseline}
	if err := run.play(ctx); err != nil {
		return nil, err
	}
	if r.record, err = watch.Record(); err != nil {
		return nil, err
	}
	l.resolve(ctx, inst, r.record)
	run.judge()
	if !r.trial.Passed {
		r.logs = inst.Logs(ctx, logLines)
	}
	r.trial.Seconds = time.Since(began).Round(time.Millisecond).Seconds()
	if r.exit.Started {
		code := r.exit.Code
		r.trial.Exit = &code
	}
	if kinds := mattering(r.record); kinds != "" && !g.Baseline && r.trial.Passed {
		l.incomplete("run %d passed, and not all of it was seen: lost %s", r.index+1, kinds)
	}
	l.profile.Trials = append(l.profile.Trials, r.trial)
	l.records = append(l.records, r.record)
	words := tellingLine(r.logs)
	if words == "" && (r.trial.Failure == "died" || r.trial.Failure == "exit") {
		words = lastLine(r.logs)
	}
	l.words = append(l.words, words)
	switch {
	case g.Baseline:
	case r.trial.Passed:
		l.passes[t.Set]++
	default:
		l.failures[t.Set]++
	}
	tell(Done)
	return r, nil
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

// resolve reads the file capabilities that the probe was too late for.
func (l *learner) resolve(ctx context.Context, inst engine.Instance, r *usage.Record) {
	for i := range r.Execs {
		e := &r.Execs[i]
		if e.Unknown == "" {
			l.fileCaps[e.Path] = e.Caps
			continue
		}
		known, ok := l.fileCaps[e.Path]
		if !ok {
			var err error
			if known, err = inst.FileCaps(ctx, e.Path); err != nil {
				e.Unknown = err.Error()
				continue
			}
			l.fileCaps[e.Path] = known
		}
		e.Caps, e.Unknown = known, ""
	}
}

// run is one instance's life.
type run struct {
	*learner
	*result
	inst      engine.Instance
	watch     Watch
	tell      func(Step)
	reference timing
	baseline  bool
	started   time.Time
	cut       bool // the check was still running at the deadline
	failure   string
	reason    string
}

func (r *run) fail(failure, format string, args ...any) {
	if r.failure == "" {
		r.failure, r.reason = failure, fmt.Sprintf(format, args...)
	}
}

// play starts, checks, watches and stops the instance.
func (r *run) play(ctx context.Context) error {
	r.started = time.Now()
	if err := r.inst.Start(ctx); err != nil {
		return err
	}
	r.tell(Checking)
	if err := r.ready(ctx); err != nil {
		return err
	}
	r.timing.ready = time.Since(r.started)
	if r.failure == "" && !r.ended() {
		if err := r.watch.SetPhase(usage.Steady); err != nil {
			return err
		}
		r.tell(Settling)
		if err := r.settle(ctx); err != nil {
			return err
		}
	}
	if r.ended() {
		r.timing.oneShot = true
	} else {
		r.tell(Stopping)
		if err := r.watch.SetPhase(usage.Stop); err != nil {
			return err
		}
		timeout := r.opts.StopTimeout
		switch {
		case r.failure != "":
			timeout = 0 // it failed already: how it would have ended tells nothing
		case r.reference.deaf:
			timeout = deafStop // it would wait for the same end for longer
		}
		if err := r.inst.Stop(ctx, timeout); err != nil {
			return err
		}
	}
	r.exit = r.inst.Exit()
	if r.exit.Err != nil {
		return r.exit.Err
	}
	r.timing.deaf = r.failure == "" && r.exit.Code == killed
	return nil
}

func (r *run) ended() bool {
	select {
	case <-r.inst.Exited():
		return true
	default:
		return false
	}
}

// sleep waits, and says whether the instance ended meanwhile.
func (r *run) sleep(ctx context.Context, d time.Duration) (ended bool, err error) {
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-r.inst.Exited():
		return true, nil
	case <-time.After(d):
		return false, nil
	}
}

// judge decides, from everything that was seen, whether the run passed.
func (r *run) judge() {
	if r.baseline {
		if r.failure == "" && r.timing.oneShot && r.exit.Code != 0 {
			r.fail("exit", "it %v", r.exit)
		}
	} else if r.failure == "" {
		if r.timing.oneShot && !r.reference.oneShot {
			r.fail("died", "it %v by itself, and the baseline stayed up until it was stopped", r.exit)
		}
		if !slices.Contains(r.exits, r.exit.Code) {
			r.fail("exit", "it %v, and the baseline %s", r.exit, exitWords(r.exits))
		}
		if wrong := r.guard.Compare(r.record.Identities); wrong != "" {
			r.fail("guard", "%s", wrong)
		}
	}
	r.trial.Passed = r.failure == ""
	r.trial.Failure, r.trial.Reason = r.failure, r.reason
	if r.failure != "" && r.failure != "start" && !r.baseline {
		if missing := advise.FirstRefusal(r.record, r.profile.Baseline&^r.trial.Set); missing != "" {
			r.trial.Reason += " (" + missing + ")"
		}
	}
}

func exitWords(codes []int) string {
	words := make([]string, len(codes))
	for i, c := range codes {
		words[i] = engine.Exit{Code: c, Started: true}.String()
	}
	return strings.Join(words, " or ")
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
