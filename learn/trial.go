package learn

import (
	"cmp"
	"context"
	"errors"
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

const pollInterval = 50 * time.Millisecond

// ready waits until the run can be said to work, or not to.
func (r *run) ready(ctx context.Context) error {
	if r.ended() && !r.inst.Exit().Started {
		r.fail("start", "it could not be started: %s", r.inst.Exit().Message)
		return nil
	}
	if len(r.opts.Checks) > 0 {
		if r.baseline {
			health, err := r.inst.Health(ctx)
			r.timing.healthcheck = err == nil && health != engine.NoHealth
		}
		return r.check(ctx)
	}
	for {
		ended, err := r.sleep(ctx, pollInterval)
		if err != nil {
			return err
		}
		since := time.Since(r.started)
		if ended {
			return nil // its exit status is judged
		}
		if r.odd() {
			return nil
		}
		health, err := r.inst.Health(ctx)
		if err != nil {
			return err
		}
		switch {
		case health == engine.Healthy:
			r.timing.healthy = true
			return nil
		case health == engine.Unhealthy:
			r.fail("check", "the image's HEALTHCHECK says unhealthy")
			return nil
		case health == engine.Starting:
			if since > r.deadline() || r.hopeless() {
				r.fail("timeout", "the image's HEALTHCHECK did not pass in %v", since.Round(100*time.Millisecond))
				return nil
			}
		case r.reference.oneShot:
			if since > r.deadline() {
				r.fail("timeout", "it did not end in %v as it does in the baseline", r.deadline().Round(time.Second))
				return nil
			}
		case since > r.opts.Settle:
			return nil
		}
	}
}

// deadline is how long a run may take until it is ready: the baseline what the
// user allows, a trial a multiple of what the baseline took.
func (r *run) deadline() time.Duration {
	if r.baseline {
		return r.opts.CheckTimeout
	}
	return min(5*r.reference.ready+5*time.Second, max(r.opts.CheckTimeout, r.reference.ready*2))
}

// hopeless says that a trial will not become ready any more: what it lacks was
// refused, and it had three times as long as the baseline took.
func (r *run) hopeless() bool {
	if r.baseline || time.Since(r.started) < 3*r.reference.ready+time.Second {
		return false
	}
	rec, err := r.watch.Record()
	return err == nil && advise.FirstRefusal(rec, r.profile.Baseline&^r.trial.Set) != ""
}

// odd fails a trial as soon as one of its processes is what none was in the
// baseline.
func (r *run) odd() bool {
	ids := r.strange()
	if len(ids) > 0 {
		r.fail("guard", "%s", r.guard.Compare(ids))
	}
	return len(ids) > 0
}

// strange gives the identities so far if one of them was none in the baseline.
func (r *run) strange() []usage.Identity {
	if r.baseline {
		return nil
	}
	ids, err := r.watch.Identities()
	if err != nil || len(r.guard.Strange(ids)) == 0 {
		return nil // the record at the end will tell
	}
	return ids
}

// check tries the check commands until all pass.
func (r *run) check(ctx context.Context) error {
	env, err := r.inst.Env(ctx)
	if err != nil {
		if !r.ended() {
			return err
		}
		env = nil
	}
	deadline := r.started.Add(r.deadline())
	wait := pollInterval / 2
	for {
		ended := r.ended()
		if ended && !r.endedWell() {
			r.fail("died", "it %v before the check passed", r.inst.Exit())
			return nil
		}
		passed, output, err := r.attempt(ctx, env, deadline)
		if err != nil {
			return err
		}
		r.output = cmp.Or(output, r.output) // one that was cut off says nothing
		if passed {
			return nil
		}
		switch {
		case ended: // well, and the check has had its chance after that
			r.fail("check", "it ended, and the check did not pass%s", lastWords(output))
			return nil
		case r.odd():
			return nil
		case r.hopeless():
			r.fail("check", "the check did not pass%s", lastWords(output))
			return nil
		case time.Now().After(deadline):
			hangs := ""
			if output == "" {
				hangs = " (it was still running)"
			}
			r.fail("check", "the check did not pass in %v%s%s", r.deadline().Round(100*time.Millisecond), hangs, lastWords(r.output))
			return nil
		}
		if _, err := r.sleep(ctx, wait); err != nil {
			return err
		}
		wait = min(2*wait, 500*time.Millisecond)
	}
}

func lastWords(output string) string {
	if line := cmp.Or(tellingLine(output), lastLine(output)); line != "" {
		return ": " + line
	}
	return ""
}

// endedWell says whether the exit status of a workload that ended is as it
// should be.
func (r *run) endedWell() bool {
	e := r.inst.Exit()
	if r.baseline {
		return e.Started && e.Code == 0
	}
	return e.Started && slices.Contains(r.exits, e.Code)
}

// attempt runs all check commands once. One that hangs is cut off: when the
// workload has died meanwhile, in a trial when it has become hopeless, and in
// any case at the deadline.
func (r *run) attempt(ctx context.Context, env []string, deadline time.Time) (passed bool, output string, err error) {
	actx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	stop := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		exited := r.inst.Exited()
		for {
			select {
			case <-stop:
				return
			case <-actx.Done():
				return
			case <-exited:
				if !r.endedWell() {
					cancel()
					return
				}
				exited = nil
			case <-time.After(4 * pollInterval):
				if len(r.strange()) > 0 || r.hopeless() {
					cancel()
					return
				}
			}
		}
	}()
	defer func() { close(stop); <-watched }()
	for _, c := range r.opts.Checks {
		out, cerr := runCheck(actx, c, env)
		if ctx.Err() != nil {
			return false, out, ctx.Err()
		}
		if cerr != nil {
			var usageErr *CheckError
			if errors.As(cerr, &usageErr) {
				return false, out, cerr
			}
			return false, out, nil
		}
	}
	return true, "", nil
}

// settle watches a while longer: some fail only after their first answer.
func (r *run) settle(ctx context.Context) error {
	if len(r.opts.Checks) == 0 && !r.timing.healthy {
		return nil // it has just been watched for that long
	}
	end := time.Now().Add(r.opts.Settle)
	for time.Now().Before(end) {
		ended, err := r.sleep(ctx, min(pollInterval, time.Until(end)))
		if err != nil {
			return err
		}
		if ended || r.odd() {
			return nil
		}
	}
	return nil
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
