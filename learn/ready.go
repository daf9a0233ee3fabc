package learn

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/usage"
)

// When a run works, when it does not, and when that is certain early.

const pollInterval = 50 * time.Millisecond

// ready waits until the run can be said to work, or not to.
func (s *start) ready(ctx context.Context) error {
	if s.ended() && !s.inst.Exit().Started {
		s.fail("start", "it could not be started: %s", s.inst.Exit().Message)
		return nil
	}
	if len(s.opts.Checks) > 0 {
		if s.baseline {
			health, err := s.inst.Health(ctx)
			s.timing.healthcheck = err == nil && health != engine.NoHealth
		}
		return s.check(ctx)
	}
	for {
		ended, err := s.sleep(ctx, pollInterval)
		if err != nil {
			return err
		}
		since := time.Since(s.up)
		if ended {
			return nil // its exit status is judged
		}
		if s.odd() {
			return nil
		}
		health, err := s.inst.Health(ctx)
		if err != nil {
			return err
		}
		switch {
		case health == engine.Healthy:
			s.timing.healthy = true
			return nil
		case health == engine.Unhealthy:
			s.fail("check", "the image's HEALTHCHECK says unhealthy")
			return nil
		case health == engine.Starting:
			if since > s.deadline() || s.hopeless() {
				s.fail("timeout", "the image's HEALTHCHECK did not pass in %v", since.Round(100*time.Millisecond))
				return nil
			}
		case s.expect.timing.oneShot:
			if since > s.deadline() {
				s.fail("timeout", "it did not end in %v as it does in the baseline", s.deadline().Round(time.Second))
				return nil
			}
		case since > s.opts.Settle:
			return nil
		}
	}
}

// deadline is how long a run may take until it is ready: the baseline what the
// user allows, a trial a multiple of what the baseline took. What has passed before is to
// pass again, and is not hurried.
func (s *start) deadline() time.Duration {
	switch {
	case s.baseline:
		return s.opts.CheckTimeout
	case s.kind == usage.Confirm:
		return max(s.opts.CheckTimeout, s.expect.timing.ready*2)
	}
	if s.unaided() && !s.expect.timing.oneShot { // no refusal will tell earlier, nor its end
		return min(3*s.expect.timing.ready+2*time.Second, s.opts.CheckTimeout)
	}
	return min(5*s.expect.timing.ready+5*time.Second, max(s.opts.CheckTimeout, s.expect.timing.ready*2))
}

// hopeless says that a trial will not become ready any more: it was refused what no run
// that passed was, and had three times as long as the baseline took, with a machine that was
// free to work on it for as long as the baseline took at least.
func (s *start) hopeless() bool {
	ready := s.expect.timing.ready
	if s.baseline || time.Since(s.up) < 3*ready+time.Second {
		return false
	}
	if idle, ok := idleTime(); ok && s.idleKnown && idle-s.idle < ready+time.Second/2 {
		return false
	}
	rec, err := s.watch.Record()
	if err != nil {
		return false
	}
	refusal := s.telling(rec)
	return refusal != "" && !s.harmless[refusal]
}

// odd fails a trial as soon as one of its processes is what none was in the
// baseline. One that was refused nothing goes on: its processes may come and go.
func (s *start) odd() bool {
	ids := s.strange()
	if len(ids) > 0 {
		s.fail("guard", "%s", s.expect.guard.Compare(ids))
	}
	return len(ids) > 0
}

// strange gives the identities so far if one of them was none in the baseline,
// and something was refused.
func (s *start) strange() []usage.Identity {
	if s.baseline {
		return nil
	}
	ids, err := s.watch.Identities()
	if err != nil || len(s.expect.guard.Strange(ids)) == 0 {
		return nil // the record at the end will tell
	}
	if rec, err := s.watch.Record(); err != nil || advise.Repair(rec, s.set, s.profile.Baseline) == 0 {
		return nil
	}
	return ids
}

// check tries the check commands until all pass.
func (s *start) check(ctx context.Context) error {
	env, err := s.inst.Env(ctx)
	if err != nil {
		if !s.ended() {
			return err
		}
		env = nil
	}
	deadline := s.up.Add(s.deadline())
	wait := pollInterval / 2
	for {
		ended := s.ended()
		if ended && !s.endedWell() {
			s.fail("died", "it %v before the check passed", s.inst.Exit())
			return nil
		}
		passed, output, err := s.attempt(ctx, env, deadline)
		if err != nil {
			return err
		}
		s.output = cmp.Or(output, s.output) // one that was cut off says nothing
		if passed {
			return nil
		}
		switch {
		case ended: // well, and the check has had its chance after that
			s.fail("check", "it ended, and %s did not pass%s", s.checkWords(), lastWords(output))
			return nil
		case s.odd():
			return nil
		case s.hopeless():
			s.fail("check", "%s did not pass%s", s.checkWords(), lastWords(output))
			return nil
		case time.Now().After(deadline):
			hangs := ""
			if s.cut {
				hangs = " (it was still running)"
			}
			s.fail("check", "%s did not pass in %v%s%s", s.checkWords(), s.deadline().Round(100*time.Millisecond), hangs, lastWords(s.output))
			return nil
		}
		if _, err := s.sleep(ctx, wait); err != nil {
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
func (s *start) endedWell() bool {
	e := s.inst.Exit()
	if s.baseline {
		return e.Started && e.Code == 0
	}
	return e.Started && slices.Contains(s.expect.exits, e.Code)
}

// attempt runs all check commands once. One that hangs is cut off: when the
// workload has died meanwhile, in a trial when it has become hopeless, and in
// any case at the deadline.
func (s *start) attempt(ctx context.Context, env []string, deadline time.Time) (passed bool, output string, err error) {
	actx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	stop := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		exited := s.inst.Exited()
		for {
			select {
			case <-stop:
				return
			case <-actx.Done():
				return
			case <-exited:
				if !s.endedWell() {
					cancel()
					return
				}
				exited = nil
			case <-time.After(4 * pollInterval):
				if len(s.strange()) > 0 || s.hopeless() {
					cancel()
					return
				}
			}
		}
	}()
	defer func() { close(stop); <-watched }()
	var during []period
	for _, c := range s.opts.Checks {
		before, err := s.look()
		if err != nil {
			return false, "", err
		}
		out, cerr := runCheck(actx, c.Command, env)
		s.cut = actx.Err() == context.DeadlineExceeded
		if ctx.Err() != nil {
			return false, out, ctx.Err()
		}
		if cerr != nil {
			var usageErr *CheckError
			if errors.As(cerr, &usageErr) {
				return false, out, cerr
			}
			s.asked = c
			return false, out, nil
		}
		after, err := s.look()
		if err != nil {
			return false, "", err
		}
		if c.Name != "" {
			during = append(during, period{fmt.Sprintf("check %s", c.Name), before, after})
		}
	}
	s.during = append(s.during, during...)
	return true, "", nil
}

// look takes what was seen so far, in a baseline run whose evidence tells
// checks and helpers apart by their names.
func (s *start) look() (*usage.Record, error) {
	if !s.baseline || !s.opts.named() {
		return nil, nil
	}
	return s.watch.Record()
}

// help runs the helpers, each once.
func (s *start) help(ctx context.Context) error {
	for _, h := range s.opts.Exec {
		before, err := s.look()
		if err != nil {
			return err
		}
		limited, cancel := context.WithTimeout(ctx, s.opts.CheckTimeout)
		output, code, err := s.inst.Exec(limited, h.Command)
		late := limited.Err() != nil && ctx.Err() == nil
		cancel()
		switch {
		case late:
			s.fail("exec", "%s did not end in %v", helper(h), s.opts.CheckTimeout)
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return fmt.Errorf("run %s: %w", helper(h), err)
		case code != 0:
			s.fail("exec", "%s exited %d%s", helper(h), code, lastWords(output))
		}
		if s.failure != "" {
			s.output = output
			return nil
		}
		after, err := s.look()
		if err != nil {
			return err
		}
		if h.Name != "" {
			s.during = append(s.during, period{fmt.Sprintf("helper %s", h.Name), before, after})
		}
	}
	return nil
}

// helper is what a person calls one.
func helper(h Command) string {
	if h.Name != "" {
		return fmt.Sprintf("the helper %q", h.Name)
	}
	return "the helper"
}

// checkWords is what a person calls the check that did not pass.
func (s *start) checkWords() string {
	if s.asked.Name != "" {
		return fmt.Sprintf("the check %q", s.asked.Name)
	}
	return "the check"
}

// settle watches a while longer: some fail only after their first answes.
func (s *start) settle(ctx context.Context) error {
	if len(s.opts.Checks) == 0 && !s.timing.healthy {
		return nil // it has just been watched for that long
	}
	end := time.Now().Add(s.opts.Settle)
	for s.failure == "" && time.Now().Before(end) {
		ended, err := s.sleep(ctx, min(pollInterval, time.Until(end)))
		if err != nil {
			return err
		}
		if ended || s.odd() {
			return nil
		}
		if s.certain() {
			s.hurried.Store(true)
			return nil
		}
	}
	return nil
}

// certain says that watching a trial for longer would show nothing: it was
// refused nothing that it noticed, and all processes are there that the baseline
// had in the end. The final set is always watched to the end.
func (s *start) certain() bool {
	switch s.kind {
	case usage.Remove, usage.Repair, usage.Replace:
	default:
		return false
	}
	if s.patient || s.unaided() || s.expect.settled == nil {
		return false
	}
	ids, err := s.watch.Identities()
	if err != nil || len(s.expect.settled.Missing(ids)) > 0 {
		return false
	}
	rec, err := s.watch.Record()
	return err == nil && rec.All().Denied&s.profile.Baseline == 0 && advise.FirstRefusal(rec, s.profile.Baseline&^s.set) == ""
}
