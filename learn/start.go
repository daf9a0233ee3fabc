package learn

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/leastcap/leastcap/advise"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/usage"
)

// start is one instance's life: a run has one, or several with the same
// volumes.
type start struct {
	*learner
	n         int // which of the run's, counted from 0
	inst      engine.Instance
	watch     Watch
	tell      func(Step)
	expect    expected // the baseline's; what is known of it by now
	baseline  bool
	kind      usage.TrialKind
	set       caps.Set
	unhurried bool // it may take as long to stop as the baseline may

	began time.Time
	up    time.Time // when the engine had started it, which may take long and is not its doing
	// idle is the machine's idle time when it was up, where it is known.
	idle      time.Duration
	idleKnown bool

	asked  Command // the check that did not pass last
	cut    bool    // the check was still running at the deadline
	during []period

	record  *usage.Record
	settled []usage.Identity // at the end of the watching
	timing  timing
	exit    engine.Exit
	cutStop bool   // it was killed when it could have been given more time to stop
	output  string // the check's last
	logs    string // if it failed
	failure string
	reason  string
}

// period is what was seen while something named went on.
type period struct {
	name          string
	before, after *usage.Record
}

func (s *start) fail(failure, format string, args ...any) {
	if s.failure == "" {
		s.failure, s.reason = failure, fmt.Sprintf(format, args...)
	}
}

// do watches the instance from its beginning to its end and judges it.
func (s *start) do(ctx context.Context, describe bool) error {
	var err error
	if s.watch, err = s.observer.Watch(s.inst.Scope()); err != nil {
		return err
	}
	defer s.watch.End()
	if describe {
		s.inst.Describe(ctx, &s.subject)
		if s.unaided() {
			defer s.gather(ctx, s.inst)()
		}
	}
	if err := s.play(ctx); err != nil {
		return err
	}
	if s.record, err = s.watch.Record(); err != nil {
		return err
	}
	s.resolve(ctx, s.inst, s.record)
	for _, p := range s.during {
		s.record.Mark(p.before, p.after, p.name)
	}
	if s.n > 0 {
		s.record.MarkStart(s.n + 1)
	}
	s.judge()
	if s.failure != "" {
		s.logs = s.inst.Logs(ctx, logLines)
	}
	return nil
}

// play starts, checks, watches and stops the instance.
func (s *start) play(ctx context.Context) error {
	s.began = time.Now()
	if err := s.inst.Start(ctx); err != nil {
		return err
	}
	s.up = time.Now()
	s.idle, s.idleKnown = idleTime()
	s.tell(Checking)
	if err := s.ready(ctx); err != nil {
		return err
	}
	s.timing.ready = time.Since(s.began)
	if s.failure == "" && !s.ended() {
		if err := s.watch.SetPhase(usage.Steady); err != nil {
			return err
		}
		if err := s.help(ctx); err != nil {
			return err
		}
		s.tell(Settling)
		if err := s.settle(ctx); err != nil {
			return err
		}
		if s.failure == "" && !s.ended() {
			var err error
			if s.settled, err = s.watch.Identities(); err != nil {
				return err
			}
			if w, ok := s.watch.(*unaidedWatch); ok && s.baseline {
				kept := s.signs.kept
				s.signs = w.Signs()
				s.signs.kept |= kept
			}
		}
	} else if s.failure == "" && len(s.opts.Exec) > 0 {
		s.fail("exec", "it ended before %s could run", helper(s.opts.Exec[0]))
	}
	if s.ended() {
		s.timing.oneShot = true
	} else {
		s.tell(Stopping)
		if err := s.watch.SetPhase(usage.Stop); err != nil {
			return err
		}
		asked := time.Now()
		limit, less := s.stopTimeout()
		if err := s.inst.Stop(ctx, limit); err != nil {
			return err
		}
		s.timing.stop = time.Since(asked)
		s.cutStop = less && s.inst.Exit().Code == killed && !slices.Contains(s.expect.exits, killed)
	}
	s.exit = s.inst.Exit()
	if s.exit.Err != nil {
		return s.exit.Err
	}
	s.timing.deaf = s.failure == "" && s.exit.Code == killed
	return nil
}

// stopTimeout is how long it may take to stop; negative: the engine's default. Less says
// that this is not all that the baseline may take.
func (s *start) stopTimeout() (limit time.Duration, less bool) {
	switch t := s.expect.timing; {
	case s.failure != "":
		return 0, false // it failed already: how it would have ended tells nothing
	case t.deaf:
		return deafStop, false // it would wait for the same end for longer
	case s.baseline || s.unhurried || s.kind == usage.Confirm || t.stop == 0:
		return s.opts.StopTimeout, false
	default: // the baseline needed that long; one that hangs is not waited for
		limit := (3*t.stop + slackStop).Round(time.Second)
		if s.opts.StopTimeout >= 0 && s.opts.StopTimeout <= limit {
			return s.opts.StopTimeout, false
		}
		return limit, true
	}
}

func (s *start) ended() bool {
	select {
	case <-s.inst.Exited():
		return true
	default:
		return false
	}
}

// sleep waits, and says whether the instance ended meanwhile.
func (s *start) sleep(ctx context.Context, d time.Duration) (ended bool, err error) {
	select {
	case <-ctx.Done():
		return false, ctx.Err()
	case <-s.inst.Exited():
		return true, nil
	case <-time.After(d):
		return false, nil
	}
}

// judge decides, from everything that was seen, whether the run passed.
func (s *start) judge() {
	if s.baseline {
		if s.failure == "" && s.timing.oneShot && s.exit.Code != 0 {
			s.fail("exit", "it %v", s.exit)
		}
	} else if s.failure == "" {
		if s.timing.oneShot && !s.expect.timing.oneShot {
			s.fail("died", "it %v by itself, and the baseline stayed up until it was stopped", s.exit)
		}
		if !slices.Contains(s.expect.exits, s.exit.Code) {
			s.fail("exit", "it %v, and the baseline %s", s.exit, exitWords(s.expect.exits))
		}
		if wrong := s.expect.guard.Compare(s.record.Identities); wrong != "" {
			s.fail("guard", "%s", wrong)
		} else if s.unaided() && s.expect.settled != nil {
			if wrong := s.expect.settled.Compare(s.settled); wrong != "" {
				s.fail("guard", "%s", wrong)
			}
		}
	}
	if s.failure != "" && s.failure != "start" && !s.baseline {
		if refusal := s.telling(s.record); refusal != "" {
			s.reason += " (" + refusal + ")"
		}
	}
}

// telling is the refusal that a trial is likeliest to fail from, "" if there is none: the
// first that no run had which passed.
func (s *start) telling(r *usage.Record) string {
	var harmless string
	for refusal := range advise.Refusals(r, s.profile.Baseline&^s.set) {
		if !s.harmless[refusal] {
			return refusal
		}
		harmless = cmp.Or(harmless, refusal)
	}
	return harmless
}

func exitWords(codes []int) string {
	words := make([]string, len(codes))
	for i, c := range codes {
		words[i] = engine.Exit{Code: c, Started: true}.String()
	}
	return strings.Join(words, " or ")
}

// resolve reads the file capabilities that the probe was too late for.
func (l *learner) resolve(ctx context.Context, inst engine.Instance, r *usage.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
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
