package learn

import (
	"context"
	"fmt"
	"slices"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/usage"
)

const (
	// baselineRuns is how often the baseline runs: what differs between two is
	// not held against a trial.
	baselineRuns = 2
	// baselineFailures is how often it may fail beside that, to be called flaky
	// rather than broken.
	baselineFailures = 2
)

// baseline runs the workload as it is.
func (l *learner) baseline(ctx context.Context) (*usage.Record, error) {
	want := baselineRuns
	if l.opts.ObserveOnly {
		want = 1
	}
	l.planned = want + 2
	var passed, failed []*result
	for len(passed) < want {
		r, err := l.try(ctx, usage.Trial{Kind: usage.Baseline}, engine.Grant{Baseline: true})
		if err != nil {
			return nil, err
		}
		s := r.last()
		if l.unaided() && r.trial.Passed {
			if err := l.assume(r.record); err != nil {
				return nil, err
			}
		}
		if r.record.Launch == nil && !l.unaided() {
			if r.record.ChecksSeen == 0 && s.exit.Started {
				return nil, ErrUnseen
			}
			if r.trial.Passed {
				return nil, ErrNoLaunch
			}
		}
		if !r.trial.Passed {
			failed = append(failed, r)
			// Twice and never passed, or a check that was tried for all its time: broken.
			broken := len(passed) == 0 && (len(failed) == 2 || s.timing.ready >= l.opts.CheckTimeout)
			if broken || len(failed) > baselineFailures {
				reason := r.trial.Reason
				if n := len(passed) + len(failed); n > 1 {
					reason = fmt.Sprintf("%s (it failed %d of %d times)", reason, len(failed), n)
				}
				return nil, &BaselineError{Reason: reason, CheckOutput: s.output, Logs: s.logs}
			}
			l.planned++
			continue
		}
		passed = append(passed, r)
		l.profile.Baseline = r.record.Launch.Bounding
		l.expected(r)
	}
	l.ready = true
	if n := len(failed); n > 0 {
		l.flaky = true
		l.note("the workload or its check is flaky: with all that it has today it failed %d of %d times (%s); a trial counts as failed only if it fails three times", n, n+len(passed), failed[0].trial.Reason)
	}
	for n := range l.expect {
		var all, settled [][]usage.Identity
		for _, r := range passed {
			all = append(all, r.starts[n].record.Identities)
			settled = append(settled, r.starts[n].settled)
		}
		l.expect[n].guard = advise.NewGuard(l.workload.Privileged(), all...)
		if !l.expect[n].timing.oneShot {
			l.expect[n].settled = advise.NewGuard(l.workload.Privileged(), settled...)
		}
	}
	for _, r := range passed {
		l.good = append(l.good, r.record)
	}
	seen := usage.Fold(l.good...)
	l.observe(seen)
	return seen, nil
}

// expected takes from a run what later ones are measured by.
func (l *learner) expected(r *result) {
	for n, s := range r.starts {
		if len(l.expect) <= n {
			l.expect = append(l.expect, expected{})
		}
		e := &l.expect[n]
		if !slices.Contains(e.exits, s.exit.Code) {
			e.exits = append(e.exits, s.exit.Code)
		}
		e.timing = e.timing.max(s.timing)
	}
}

// observe takes what the baseline showed into the profile.
func (l *learner) observe(seen *usage.Record) {
	t := l.expect[0].timing
	if len(l.good) > 1 && l.workload.Persistent(l.opts.Starts > 0) {
		first, last := l.good[0], l.good[len(l.good)-1]
		l.once = advise.Predict(first, l.profile.Baseline) &^ advise.Predict(last, l.profile.Baseline)
		if !l.once.Empty() {
			l.note("%v: used in the first run only (a fresh volume, say); kept, because later runs cannot tell whether it is needed; --starts 2 lets every run begin with fresh volumes", l.once)
		}
	}
	if !t.oneShot && len(l.opts.Checks) == 0 && !t.healthy {
		l.note("no check command: a run passes if it stays up for %v with the same identities; --check says better what works", l.opts.Settle)
	}
	if l.subject.Kind == "command" {
		if client := advise.Client(seen); client != "" {
			l.note("%s was run: what it starts runs elsewhere and was not seen; to learn a container, give its line itself: leastcap learn -- docker run …", client)
		}
	}
	if len(l.opts.Checks) > 0 && t.healthcheck {
		l.note("the container's HEALTHCHECK was not waited for; leave --check out, or let it ask docker inspect for the health")
	}
	p := l.profile
	p.Sets = seen.Sets
	p.Identities, p.Execs, p.Capsets = seen.Identities, seen.Execs, seen.Capsets
	if !seen.Complete() {
		p.Lost = seen.Lost
		l.incomplete("not everything that the workload did was seen")
		if n := seen.Lost["moved"]; n > 0 {
			l.note("%d process(es) left the workload's cgroup and were not seen from then on", n)
		}
	}
}
