package learn_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/usage"
)

func TestRequiredOptionalUnused(t *testing.T) {
	used, needed := caps.Of(caps.Chown, caps.Setuid, caps.AuditWrite), caps.Of(caps.Chown, caps.Setuid)
	m := &model{baseline: docker14, play: needs(used, needed)}
	p := mustLearn(t, m, learn.Options{})
	if p.Required != needed || p.Optional != caps.Of(caps.AuditWrite) || p.Unused != docker14&^used {
		t.Errorf("required %v optional %v unused %v", p.Required, p.Optional, p.Unused)
	}
	if p.Recommended != needed || !p.Proven || p.Runs < 2 || !p.Complete {
		t.Errorf("recommended %v proven %v in %d runs", p.Recommended, p.Proven, p.Runs)
	}
	for _, f := range p.Capabilities {
		if (f.Status == usage.Required) != (f.Without != nil && !f.Without.Passed) {
			t.Errorf("%v is %v, and the run without it: %+v", f.Cap, f.Status, f.Without)
		}
	}
}

func TestKeepUsed(t *testing.T) {
	used, needed := caps.Of(caps.Setuid, caps.AuditWrite), caps.Of(caps.Setuid)
	p := mustLearn(t, &model{baseline: docker14, play: needs(used, needed)}, learn.Options{Keep: learn.KeepUsed})
	if p.Required != needed || p.Recommended != used || !p.Proven {
		t.Errorf("required %v recommended %v proven %v", p.Required, p.Recommended, p.Proven)
	}
}

func TestNothingNeeded(t *testing.T) {
	m := &model{baseline: docker14, play: needs(0, 0)}
	p := mustLearn(t, m, learn.Options{})
	if p.Required != 0 || p.Recommended != 0 || !p.Proven || m.n != 4 {
		t.Errorf("required %v proven %v in %d runs, want none in 4", p.Required, p.Proven, m.n)
	}
}

// A second capability is asked for only when the first is granted, and the
// baseline's check for it leaves no trace there.
func TestRepairFromDenials(t *testing.T) {
	m := &model{baseline: docker14, play: func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{granted: caps.Of(caps.Chown), identities: []usage.Identity{root()}}
		if !set.Has(caps.Fowner) { // shows only where another is missing
			o.denied = caps.Of(caps.Fowner)
			o.exit = 1
		}
		if !set.Has(caps.Chown) {
			o.exit = 1
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if want := caps.Of(caps.Chown, caps.Fowner); p.Required != want || !p.Proven {
		t.Errorf("required %v, want %v", p.Required, want)
	}
	if p.Trials[3].Kind != usage.Repair || p.Trials[3].Added != caps.Of(caps.Fowner) {
		t.Errorf("fourth run: %+v, want a repair by fowner", p.Trials[3])
	}
}

// Needs that leave no event at all are found by halving.
func TestSearchForSilentNeeds(t *testing.T) {
	for _, hidden := range []caps.Set{
		caps.Of(caps.Setfcap), caps.Of(caps.SysChroot, caps.Mknod), caps.Of(caps.NetBindService, caps.Kill, caps.Fsetid),
	} {
		needed := hidden.With(caps.Chown)
		m := &model{baseline: docker14, play: needs(caps.Of(caps.Chown), needed)}
		p := mustLearn(t, m, learn.Options{})
		if p.Required != needed || !p.Proven {
			t.Errorf("hidden %v: required %v", hidden, p.Required)
		}
		for _, f := range p.Capabilities {
			if hidden.Has(f.Cap) && (len(f.Reasons) != 1 || f.Reasons[0] != "trial") {
				t.Errorf("%v: reasons %v, want only the trial", f.Cap, f.Reasons)
			}
		}
	}
}

// Apache without setgid answers, but its workers stay in group 0.
func TestGuard(t *testing.T) {
	m := &model{baseline: docker14, play: func(_ int, set caps.Set, _ bool) outcome {
		gid := uint32(33)
		if !set.Has(caps.Setgid) {
			gid = 0
		}
		return outcome{granted: caps.Of(caps.Setgid), identities: []usage.Identity{root(), worker(33, gid)}}
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Required != caps.Of(caps.Setgid) {
		t.Errorf("required %v, want setgid: only the guard sees it", p.Required)
	}
	for _, tr := range p.Trials {
		if tr.Kind == usage.Remove && (tr.Failure != "guard" || !strings.Contains(tr.Reason, "gid 0")) {
			t.Errorf("the run without setgid: %+v", tr)
		}
	}
}

// What differs between two baseline runs is not held against a trial.
func TestGuardIgnoresWhatVaries(t *testing.T) {
	m := &model{baseline: docker14, play: func(n int, _ caps.Set, _ bool) outcome {
		ids := []usage.Identity{root()}
		if n == 1 {
			ids = append(ids, worker(100, 100))
		}
		return outcome{identities: ids}
	}}
	if p := mustLearn(t, m, learn.Options{}); !p.Proven {
		t.Errorf("not proven: %+v", p.Trials)
	}
}

func TestFlakyIsNotProven(t *testing.T) {
	m := &model{baseline: docker14}
	m.play = func(n int, set caps.Set, _ bool) outcome {
		o := outcome{granted: caps.Of(caps.Chown), identities: []usage.Identity{root()}}
		if !set.Has(caps.Chown) || n == 4 { // the confirmation
			o.exit = 1
		}
		return o
	}
	p := mustLearn(t, m, learn.Options{})
	if p.Proven || len(p.Notes) == 0 || !strings.Contains(p.Notes[len(p.Notes)-1], "flaky") {
		t.Errorf("proven %v, notes %q", p.Proven, p.Notes)
	}
}

func TestBaselineFails(t *testing.T) {
	m := &model{baseline: docker14, play: func(int, caps.Set, bool) outcome {
		return outcome{exit: 3, identities: []usage.Identity{root()}}
	}}
	_, err := learnModel(t, m, learn.Options{})
	var b *learn.BaselineError
	if !errors.As(err, &b) || !strings.Contains(b.Reason, "exited 3") || b.Logs == "" {
		t.Errorf("got %v, want the baseline's failure with its logs", err)
	}
	if m.n != 2 || !strings.Contains(b.Reason, "2 of 2 times") {
		t.Errorf("%d runs of a baseline that fails, %v", m.n, b)
	}
}

func TestObserveOnly(t *testing.T) {
	used := caps.Of(caps.Chown, caps.Kill)
	m := &model{baseline: docker14, play: needs(used, caps.Of(caps.Chown))}
	p := mustLearn(t, m, learn.Options{ObserveOnly: true})
	if p.Used != used || p.Required != 0 || p.Proven || p.Recommended != used || m.n != 1 {
		t.Errorf("used %v required %v recommended %v proven %v runs %d", p.Used, p.Required, p.Recommended, p.Proven, m.n)
	}
}

func TestLostDataIsIncomplete(t *testing.T) {
	m := &model{baseline: docker14, play: func(int, caps.Set, bool) outcome {
		return outcome{identities: []usage.Identity{root()}, lost: map[string]uint64{"sets": 2}}
	}}
	if p := mustLearn(t, m, learn.Options{}); p.Complete || p.Lost["sets"] != 4 {
		t.Errorf("complete %v, lost %v", p.Complete, p.Lost)
	}
}

// --privileged gives more than capabilities: the learned set is first tried
// without the rest of it, and with it if that is needed.
func TestPrivileged(t *testing.T) {
	for _, needsMore := range []bool{false, true} {
		m := &model{baseline: caps.All(), privileged: true}
		m.play = func(_ int, set caps.Set, unconfined bool) outcome {
			o := outcome{granted: caps.Of(caps.NetAdmin), identities: []usage.Identity{root()}}
			if !set.Has(caps.NetAdmin) || needsMore && !unconfined {
				o.exit = 1
			}
			return o
		}
		p := mustLearn(t, m, learn.Options{})
		if p.Required != caps.Of(caps.NetAdmin) || !p.Proven {
			t.Errorf("needs more %v: required %v proven %v", needsMore, p.Required, p.Proven)
		}
	}
}

// In a container dac_read_search is reported as an alternative and not taken:
// file handles ignore mount namespaces.
func TestSubstituteIsReported(t *testing.T) {
	m := &model{baseline: docker14, play: func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{granted: caps.Of(caps.DacOverride), identities: []usage.Identity{root()}}
		if !set.Has(caps.DacReadSearch) {
			o.denied = caps.Of(caps.DacReadSearch) // asked first, for reading
		} else {
			o.granted = caps.Of(caps.DacReadSearch)
		}
		if !set.Has(caps.DacOverride) && !set.Has(caps.DacReadSearch) {
			o.exit = 1
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if len(p.Substitutes) != 1 || !p.Substitutes[0].Passed || p.Substitutes[0].Adopted {
		t.Fatalf("substitutes %+v", p.Substitutes)
	}
	if p.Recommended != caps.Of(caps.DacOverride) {
		t.Errorf("recommended %v", p.Recommended)
	}
}

func TestSubstituteIsAdopted(t *testing.T) {
	base := docker14.With(caps.SysAdmin)
	m := &model{baseline: base, play: func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{granted: caps.Of(caps.SysAdmin), identities: []usage.Identity{root()}}
		if !set.Has(caps.Syslog) && !set.Has(caps.SysAdmin) {
			o.exit, o.denied = 1, caps.Of(caps.Syslog)
		}
		if set.Has(caps.Syslog) {
			o.granted = caps.Of(caps.Syslog)
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Recommended != caps.Of(caps.Syslog) || !p.Proven {
		t.Errorf("recommended %v (substitutes %+v), want syslog instead of sys_admin", p.Recommended, p.Substitutes)
	}
}

func TestTimeLimit(t *testing.T) {
	m := &model{baseline: docker14}
	m.play = func(n int, set caps.Set, _ bool) outcome {
		o := needs(docker14, docker14)(n, set, false)
		if n > 2 {
			o.slow = 50 * time.Millisecond
		}
		return o
	}
	p := mustLearn(t, m, learn.Options{Timeout: 400 * time.Millisecond})
	if p.Complete || p.Proven || p.Recommended != docker14 {
		t.Errorf("complete %v proven %v recommended %v: a cut-off proof must keep what it did not try", p.Complete, p.Proven, p.Recommended)
	}
}

func TestEngineErrorEndsTheRun(t *testing.T) {
	want := &engine.Error{Problem: "docker is not running"}
	m := &model{baseline: docker14, play: func(n int, _ caps.Set, _ bool) outcome {
		if n == 2 {
			return outcome{fail: want}
		}
		return outcome{identities: []usage.Identity{root()}}
	}}
	if _, err := learnModel(t, m, learn.Options{}); !errors.Is(err, error(want)) {
		t.Errorf("got %v", err)
	}
}

func TestCancel(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	m := &model{baseline: docker14, play: func(n int, _ caps.Set, _ bool) outcome {
		if n == 1 {
			cancel()
		}
		return outcome{hang: true, identities: []usage.Identity{root()}}
	}}
	_, err := learn.Run(ctx, m, m, learn.Options{Settle: 50 * time.Millisecond}, nil)
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if m.live != 0 {
		t.Errorf("%d runs were not removed", m.live)
	}
}

func TestCheckCommands(t *testing.T) {
	m := &model{baseline: docker14, play: func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{hang: true, granted: caps.Of(caps.Chown), identities: []usage.Identity{root()}}
		if !set.Has(caps.Chown) {
			o.exit = 1 // the check reads it from its environment
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{
		Checks: checks("true", `test "$MODEL_EXIT" = 0 || { echo chown: Operation not permitted; false; }`),
		Settle: time.Millisecond,
	})
	if p.Required != caps.Of(caps.Chown) || !p.Proven {
		t.Errorf("required %v proven %v", p.Required, p.Proven)
	}
	for _, tr := range p.Trials {
		if tr.Kind == usage.Remove && (tr.Failure != "check" || !strings.Contains(tr.Reason, "chown: Operation not permitted")) {
			t.Errorf("%+v", tr)
		}
	}
}

// A check that hangs where the baseline's passed is cut off.
func TestHangingCheck(t *testing.T) {
	m := &model{baseline: docker14, play: func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{hang: true, granted: caps.Of(caps.Setgid), identities: []usage.Identity{root()}}
		if !set.Has(caps.Setgid) {
			o.exit = 1
		}
		return o
	}}
	began := time.Now()
	p := mustLearn(t, m, learn.Options{Checks: checks(`test "$MODEL_EXIT" = 0 || sleep 600`), Settle: time.Millisecond})
	if p.Required != caps.Of(caps.Setgid) {
		t.Errorf("required %v", p.Required)
	}
	if d := time.Since(began); d > 30*time.Second {
		t.Errorf("took %v", d)
	}
}

func TestProgress(t *testing.T) {
	m := &model{baseline: docker14, play: needs(caps.Of(caps.Chown), caps.Of(caps.Chown))}
	var done []learn.Event
	_, err := learn.Run(t.Context(), m, m, learn.Options{}, func(e learn.Event) {
		if e.Trial > e.Of || e.Trial < 1 {
			t.Errorf("run %d of %d", e.Trial, e.Of)
		}
		if e.Step == learn.Done {
			done = append(done, e)
		}
	})
	if err != nil || len(done) != m.n {
		t.Fatalf("%v; %d outcomes of %d runs", err, len(done), m.n)
	}
	if last := done[len(done)-1]; last.Trial != last.Of {
		t.Errorf("the last run is %d of %d", last.Trial, last.Of)
	}
}

// A service that gives up by itself, with the status that it has when it is
// stopped, did not pass.
func TestServiceThatQuits(t *testing.T) {
	m := &model{baseline: docker14, play: func(_ int, set caps.Set, _ bool) outcome {
		return outcome{granted: caps.Of(caps.Chown), hang: set.Has(caps.Chown), identities: []usage.Identity{root()}}
	}}
	p := mustLearn(t, m, learn.Options{Settle: 10 * time.Millisecond})
	if p.Required != caps.Of(caps.Chown) || !p.Proven {
		t.Errorf("required %v", p.Required)
	}
}

// What only the first run used, where runs share a volume, is kept: later runs
// cannot tell whether a fresh volume needs it. Without a volume it is chance.
func TestFirstRunOnly(t *testing.T) {
	for _, persistent := range []bool{true, false} {
		m := &model{baseline: docker14, persistent: persistent, play: func(n int, _ caps.Set, _ bool) outcome {
			o := outcome{identities: []usage.Identity{root()}}
			if n == 0 {
				o.granted = caps.Of(caps.Chown)
			}
			return o
		}}
		p := mustLearn(t, m, learn.Options{})
		if want := persistent; p.Recommended.Has(caps.Chown) != want || p.Used.Has(caps.Chown) != want {
			t.Errorf("persistent %v: recommended %v used %v", persistent, p.Recommended, p.Used)
		}
		if persistent && (len(p.Notes) == 0 || !strings.Contains(p.Notes[0], "first run")) {
			t.Errorf("notes %q", p.Notes)
		}
	}
}

// A proof that is cut short recommends what passed, never what failed.
func TestTimeLimitAfterRepair(t *testing.T) {
	m := &model{baseline: docker14}
	m.play = func(n int, set caps.Set, _ bool) outcome {
		o := outcome{granted: caps.Of(caps.Chown), identities: []usage.Identity{root()}}
		if !set.Has(caps.Fowner) {
			o.denied, o.exit = caps.Of(caps.Fowner), 1
		}
		if !set.Has(caps.Chown) {
			o.exit = 1
		}
		if n > 3 {
			o.slow = 2 * time.Second
		}
		return o
	}
	p := mustLearn(t, m, learn.Options{Timeout: 1500 * time.Millisecond})
	want := caps.Of(caps.Chown, caps.Fowner)
	if p.Complete || p.Proven || p.Recommended != want || p.Unused.Has(caps.Fowner) {
		t.Errorf("complete %v recommended %v unused %v", p.Complete, p.Recommended, p.Unused)
	}
}

func TestTimeLimitBeforeAnything(t *testing.T) {
	m := &model{baseline: docker14, play: func(int, caps.Set, bool) outcome {
		return outcome{hang: true, identities: []usage.Identity{root()}}
	}}
	if _, err := learnModel(t, m, learn.Options{Timeout: 100 * time.Millisecond}); !errors.Is(err, learn.ErrTimeLimit) {
		t.Errorf("got %v", err)
	}
}

// A removal that passed by chance is taken back when the final set fails.
func TestFailedConfirmation(t *testing.T) {
	needed := caps.Of(caps.Chown)
	m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
		o := needs(needed, needed)(n, set, false)
		if n == 3 { // "without chown" slips through once
			o.exit = 0
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Proven || p.Recommended != needed || p.Optional != 0 || p.Used != needed {
		t.Errorf("proven %v recommended %v optional %v used %v", p.Proven, p.Recommended, p.Optional, p.Used)
	}
}

// A set that failed and then passed has to pass more often, and it is said.
func TestContradiction(t *testing.T) {
	needed := caps.Of(caps.Chown)
	m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
		o := needs(needed, needed)(n, set, false)
		if n == 2 { // the prediction fails once; it leaves a trace of another
			o.exit, o.denied = 1, caps.Of(caps.Kill)
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Proven || p.Required != needed || !strings.Contains(strings.Join(p.Notes, " "), "flaky") {
		t.Errorf("proven %v in %d runs, notes %q", p.Proven, p.Runs, p.Notes)
	}
}

// A trial in which identities were lost may have passed for that reason.
func TestLossInATrial(t *testing.T) {
	for kind, complete := range map[string]bool{"identities": false, "events": false, "evidence": true} {
		m := &model{baseline: docker14, play: func(n int, _ caps.Set, _ bool) outcome {
			o := outcome{identities: []usage.Identity{root()}}
			if n >= 2 {
				o.lost = map[string]uint64{kind: 3}
			}
			return o
		}}
		if p := mustLearn(t, m, learn.Options{}); p.Complete != complete {
			t.Errorf("%s: complete %v", kind, p.Complete)
		}
	}
}

// What the kernel left out of one run is seen in another, unless none begins as that one did.
func TestLossOnce(t *testing.T) {
	for _, c := range []struct {
		persistent bool
		lossy      int // the run
		complete   bool
	}{{false, 0, true}, {false, 1, true}, {false, 2, true}, {true, 1, true}, {true, 2, true}, {true, 0, false}} {
		m := &model{baseline: docker14, persistent: c.persistent, play: func(n int, _ caps.Set, _ bool) outcome {
			o := outcome{granted: caps.Of(caps.Chown), identities: []usage.Identity{root()}}
			if n == c.lossy {
				o.granted, o.lost = 0, map[string]uint64{"events": 3}
			}
			return o
		}}
		p := mustLearn(t, m, learn.Options{})
		said := slices.ContainsFunc(p.Notes, func(n string) bool { return strings.Contains(n, "was made again") })
		if p.Complete != c.complete || said != c.complete || p.Optional != caps.Of(caps.Chown) {
			t.Errorf("%+v: complete %v, optional %v, notes %q", c, p.Complete, p.Optional, p.Notes)
		}
	}
}

// Without a check everything used is kept; a substitute would only come on top.
func TestKeepUsedAdoptsNothing(t *testing.T) {
	m := &model{baseline: docker14.With(caps.SysAdmin), play: func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{granted: caps.Of(caps.SysAdmin), identities: []usage.Identity{root()}}
		if !set.Has(caps.SysAdmin) && !set.Has(caps.Syslog) {
			o.exit, o.denied = 1, caps.Of(caps.Syslog)
		}
		return o
	}}
	if p := mustLearn(t, m, learn.Options{Keep: learn.KeepUsed}); p.Recommended != caps.Of(caps.SysAdmin) {
		t.Errorf("recommended %v", p.Recommended)
	}
}

// An outcome that is not known is neither a pass nor a failure.
func TestUnknownOutcome(t *testing.T) {
	lost := errors.New("wait: connection lost")
	m := &model{baseline: docker14, play: func(n int, _ caps.Set, _ bool) outcome {
		o := outcome{granted: caps.Of(caps.Chown), identities: []usage.Identity{root()}}
		if n == 3 {
			o.exitErr = lost
		}
		return o
	}}
	if _, err := learnModel(t, m, learn.Options{}); !errors.Is(err, lost) {
		t.Errorf("got %v", err)
	}
}

// Where not even all capabilities by name pass, nothing is recommended to change.
func TestNothingPasses(t *testing.T) {
	m := &model{baseline: docker14, play: func(n int, _ caps.Set, _ bool) outcome {
		o := outcome{granted: caps.Of(caps.Chown), identities: []usage.Identity{root()}}
		if n >= 2 {
			o.exit = 1
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Proven || p.Recommended != docker14 || len(p.Notes) == 0 {
		t.Errorf("proven %v recommended %v notes %q", p.Proven, p.Recommended, p.Notes)
	}
}

func TestUnseen(t *testing.T) {
	m := &model{baseline: docker14, play: func(int, caps.Set, bool) outcome { return outcome{} }}
	m.unseen = true
	if _, err := learnModel(t, m, learn.Options{}); !errors.Is(err, learn.ErrUnseen) {
		t.Errorf("got %v", err)
	}
}

func TestHealthcheck(t *testing.T) {
	m := &model{baseline: docker14, play: func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{hang: true, granted: caps.Of(caps.Setgid), health: engine.Healthy, identities: []usage.Identity{root()}}
		if !set.Has(caps.Setgid) {
			o.health = engine.Unhealthy
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{Settle: time.Millisecond})
	if p.Required != caps.Of(caps.Setgid) || !p.Proven {
		t.Errorf("required %v", p.Required)
	}
}

// A run that is late is given up only if it was refused what none was that passed: what is
// refused and does no harm stays so when the machine is slow.
func TestHarmlessRefusal(t *testing.T) {
	// The machine's idle time has its part in it.
	m := &model{baseline: docker14, real: true, play: func(n int, set caps.Set, _ bool) outcome {
		o := outcome{hang: true, granted: caps.Of(caps.Fowner, caps.Setgid), health: engine.Healthy, identities: []usage.Identity{root()}}
		switch {
		case n == 3: // what the engine takes is not its time
			o.begin, o.late = 1500*time.Millisecond, 200*time.Millisecond
		case n > 3: // all that decides is over but setgid, and the final set's second run
			o.late = 1500 * time.Millisecond
		}
		if !set.Has(caps.Setgid) {
			o.late = time.Hour
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{Settle: time.Millisecond, Runs: 3})
	if p.Required != caps.Of(caps.Setgid) || !p.Proven {
		t.Errorf("required %v, proven %v, notes %q", p.Required, p.Proven, p.Notes)
	}
	for _, tr := range p.Trials {
		t.Logf("%v %v passed %v %s", tr.Kind, tr.Set, tr.Passed, tr.Reason)
		if !tr.Passed && !strings.HasSuffix(tr.Reason, "(: model(setgid) gave EPERM)") {
			t.Errorf("the reason is %q", tr.Reason)
		}
	}
}

// A check that leaves a child behind has passed if it said so, and the child
// ends with it.
func TestCheckWithChild(t *testing.T) {
	pid := filepath.Join(t.TempDir(), "pid")
	m := &model{baseline: docker14, play: func(int, caps.Set, bool) outcome {
		return outcome{hang: true, identities: []usage.Identity{root()}}
	}}
	p := mustLearn(t, m, learn.Options{Checks: checks("sleep 600 & echo $! >" + pid), Settle: time.Millisecond})
	if !p.Proven {
		t.Errorf("not proven: %+v", p.Trials)
	}
	data, err := os.ReadFile(pid)
	if err != nil {
		t.Fatal(err)
	}
	for end := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		stat, err := os.ReadFile("/proc/" + strings.TrimSpace(string(data)) + "/stat")
		if err != nil || strings.Contains(string(stat), ") Z ") {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("the check's child still runs: %s", stat)
		}
	}
}

// A result is not lost because something could not be removed, and it says so.
func TestLeftBehind(t *testing.T) {
	m := &model{baseline: docker14, play: needs(0, 0), cleanErr: errors.New("device busy")}
	p := mustLearn(t, m, learn.Options{})
	if !p.Proven || !strings.Contains(strings.Join(p.Notes, " "), "device busy") {
		t.Errorf("proven %v notes %q", p.Proven, p.Notes)
	}
	m = &model{baseline: docker14, cleanErr: errors.New("device busy"), play: func(int, caps.Set, bool) outcome {
		return outcome{exit: 1, identities: []usage.Identity{root()}}
	}}
	if _, err := learnModel(t, m, learn.Options{}); !errors.Is(err, learn.ErrLeftBehind) {
		t.Errorf("got %v", err)
	}
}

// A program that sets again all that it holds costs one run more, not one for
// each.
func TestCapsetOfEverything(t *testing.T) {
	needed := caps.Of(caps.Setuid)
	m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
		o := needs(needed, needed)(n, set, false)
		o.capset = set
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Required != needed || p.Optional != docker14&^needed || !p.Proven || m.n > 6 {
		t.Errorf("required %v optional %v in %d runs", p.Required, p.Optional, m.n)
	}
	if p := mustLearn(t, &model{baseline: docker14, play: m.play}, learn.Options{Keep: learn.KeepUsed}); p.Recommended != needed {
		t.Errorf("kept %v: what was only set again was not used", p.Recommended)
	}
}
