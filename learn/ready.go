package learn

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/usage"
)

// When a run works, when it does not, and when that is certain early.

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
			if r.cut {
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
		r.cut = actx.Err() == context.DeadlineExceeded
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
