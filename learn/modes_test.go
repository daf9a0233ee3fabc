package learn_test

import (
	"strings"
	"testing"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/usage"
)

// What only a second start needs is found by runs of two starts.
func TestStarts(t *testing.T) {
	first, second := caps.Of(caps.Chown), caps.Of(caps.DacOverride)
	m := &model{baseline: docker14, persistent: true}
	m.play = func(n int, set caps.Set, _ bool) outcome {
		need := first
		if m.again() {
			need = second
		}
		return needs(need, need)(n, set, false)
	}
	p := mustLearn(t, m, learn.Options{Starts: 2})
	if p.Required != first|second || !p.Proven {
		t.Errorf("required %v proven %v: %+v", p.Required, p.Proven, p.Trials)
	}
	for i, g := range m.grants {
		if g.Fresh == (g.After != nil) {
			t.Errorf("instance %d: fresh %v after %v", i, g.Fresh, g.After)
		}
	}
	for _, f := range p.Capabilities {
		for _, c := range f.Checks {
			if want := map[caps.Cap]int{caps.DacOverride: 2}[f.Cap]; c.Start != want {
				t.Errorf("%v: evidence of start %d, want %d", f.Cap, c.Start, want)
			}
		}
		if f.Cap == caps.DacOverride && !strings.HasPrefix(f.Without.Reason, "start 2: ") {
			t.Errorf("without %v: %q", f.Cap, f.Without.Reason)
		}
	}
}

// Without a named volume nothing is made fresh.
func TestOneStartLeavesVolumes(t *testing.T) {
	m := &model{baseline: docker14, persistent: true, play: needs(0, 0)}
	mustLearn(t, m, learn.Options{})
	for i, g := range m.grants {
		if g.Fresh || g.After != nil {
			t.Errorf("instance %d: %+v", i, g)
		}
	}
}

func TestHelpers(t *testing.T) {
	needed := caps.Of(caps.SysChroot)
	m := &model{baseline: docker14, play: func(int, caps.Set, bool) outcome {
		return outcome{hang: true, granted: needed, identities: []usage.Identity{root()}, exec: func(command string, set caps.Set) (string, int) {
			if command == "chroot /jail id" && !set.Has(caps.SysChroot) {
				return "chroot: Operation not permitted", 125
			}
			return "", 0
		}}
	}}
	opts := learn.Options{Exec: []learn.Command{learn.ParseCommand("true"), learn.ParseCommand("jail: chroot /jail id")}, Settle: time.Millisecond}
	p := mustLearn(t, m, opts)
	if p.Required != needed || !p.Proven {
		t.Errorf("required %v proven %v", p.Required, p.Proven)
	}
	for _, tr := range p.Trials {
		if tr.Removed == needed && (tr.Failure != "exec" || !strings.HasPrefix(tr.Reason, `the helper "jail" exited 125: chroot: Operation not permitted`)) {
			t.Errorf("%+v", tr)
		}
	}
	if strings.Join(p.Subject.Exec, "|") != "true|jail: chroot /jail id" {
		t.Errorf("subject: %q", p.Subject.Exec)
	}
}

// A helper that today fails, or has no time to run, is the baseline's failure.
func TestHelperFailsToday(t *testing.T) {
	for name, c := range map[string]struct {
		hang bool
		want string
	}{"fails": {true, "the helper exited 3"}, "ended before": {false, "it ended before the helper could run"}} {
		m := &model{baseline: docker14, play: func(int, caps.Set, bool) outcome {
			return outcome{hang: c.hang, identities: []usage.Identity{root()}, exec: func(string, caps.Set) (string, int) { return "", 3 }}
		}}
		_, err := learnModel(t, m, learn.Options{Exec: []learn.Command{{Command: "false"}}, Settle: time.Millisecond})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParseCommand(t *testing.T) {
	for text, want := range map[string]learn.Command{
		"curl -f http://x":   {Command: "curl -f http://x"},
		"up: curl http://x":  {Name: "up", Command: "curl http://x"},
		"http://x":           {Command: "http://x"},
		": nothing":          {Command: ": nothing"},
		"A=1 make x: y":      {Command: "A=1 make x: y"},
		"many:\nlines\nhere": {Name: "many", Command: "lines\nhere"},
		"empty: ":            {Command: "empty: "},
	} {
		if got := learn.ParseCommand(text); got != want {
			t.Errorf("%q: got %+v", text, got)
		}
	}
}

// Independent runs go side by side, and give the same as one after the other.
func TestParallel(t *testing.T) {
	used, needed := caps.Of(caps.Chown, caps.Kill, caps.Setuid, caps.Setgid, caps.Mknod), caps.Of(caps.Chown, caps.Setuid)
	for _, c := range []struct {
		parallel  int
		exclusive string
		most      int
	}{{1, "", 1}, {3, "", 3}, {3, "it has a name", 1}} {
		m := &model{baseline: docker14, exclusive: c.exclusive, play: func(n int, set caps.Set, _ bool) outcome {
			o := needs(used, needed)(n, set, false)
			o.last = 20 * time.Millisecond
			return o
		}}
		p := mustLearn(t, m, learn.Options{Parallel: c.parallel})
		if p.Required != needed || p.Optional != used&^needed || !p.Proven || p.Runs != 2 {
			t.Errorf("%+v: required %v optional %v proven %v in %d runs", c, p.Required, p.Optional, p.Proven, p.Runs)
		}
		if m.most != c.most {
			t.Errorf("%+v: %d instances at a time", c, m.most)
		}
		if c.exclusive != "" && !strings.Contains(strings.Join(p.Notes, " "), c.exclusive) {
			t.Errorf("notes %q", p.Notes)
		}
	}
}

// Two of which one will do: side by side both trials pass, and one stays.
func TestParallelEitherOf(t *testing.T) {
	either := caps.Of(caps.SysAdmin, caps.SysNice)
	m := &model{baseline: docker14 | either, play: func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{granted: either, identities: []usage.Identity{root()}}
		if set&either == 0 {
			o.exit = 1
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{Parallel: 2})
	if p.Required != caps.Of(caps.SysNice) || !p.Proven {
		t.Errorf("required %v proven %v %+v", p.Required, p.Proven, p.Trials)
	}
}

// A baseline that fails now and then is called flaky, and no trial is held
// against a capability for one failure.
func TestFlakyBaseline(t *testing.T) {
	needed := caps.Of(caps.Chown)
	m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
		o := needs(needed.With(caps.Kill), needed)(n, set, false)
		if n == 1 || n == 5 { // the second baseline run, and one without kill
			o.exit = 1
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Required != needed || !strings.Contains(strings.Join(p.Notes, " "), "failed 1 of 3 times") {
		t.Errorf("required %v, notes %q, trials %+v", p.Required, p.Notes, p.Trials)
	}
}

// A failure that no refusal explains is not believed before it is repeated.
func TestUnexplainedFailure(t *testing.T) {
	m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
		o := outcome{granted: caps.Of(caps.Kill, caps.Chown) & set, identities: []usage.Identity{root()}}
		if n == 3 { // without one of the two, for no reason
			o.exit = 1
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Required != 0 || !p.Proven || !strings.Contains(strings.Join(p.Notes, " "), "the same again, passed") {
		t.Errorf("required %v proven %v notes %q", p.Required, p.Proven, p.Notes)
	}
}

// A run that for once needs longer to stop is given all the time that the baseline may take.
// One that cannot stop without a capability fails all the same.
func TestSlowStop(t *testing.T) {
	needed := caps.Of(caps.Chown)
	for slow := 2; slow < 6; slow++ {
		m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
			o := needs(needed.With(caps.Fowner), needed)(n, set, false)
			o.hang, o.stop = o.exit == 0, 100*time.Millisecond
			if n == slow {
				o.stop = 5 * time.Second
			}
			return o
		}}
		p := mustLearn(t, m, learn.Options{})
		if p.Required != needed || p.Optional != caps.Of(caps.Fowner) || !p.Proven || len(p.Notes) != 1 {
			t.Errorf("run %d: required %v optional %v proven %v notes %q", slow+1, p.Required, p.Optional, p.Proven, p.Notes)
		}
	}
	needed = caps.Of(caps.Kill)
	m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
		o := needs(needed, 0)(n, set, false)
		o.hang, o.stop = true, 100*time.Millisecond
		if !set.Has(caps.Kill) {
			o.stop = time.Hour
		}
		return o
	}}
	if p := mustLearn(t, m, learn.Options{}); p.Required != needed || !p.Proven || m.n != 6 {
		t.Errorf("required %v proven %v in %d runs", p.Required, p.Proven, m.n)
	}
}

// What an engine takes to start a container is neither a time that it stayed up, nor one
// that it had to get ready.
func TestSlowEngine(t *testing.T) {
	needed := caps.Of(caps.Chown)
	m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
		o := needs(needed, needed)(n, set, false)
		o.begin, o.last = 10*time.Second, 100*time.Millisecond
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Required != needed || !p.Proven || len(p.Notes) > 0 {
		t.Errorf("required %v proven %v notes %q", p.Required, p.Proven, p.Notes)
	}
	m = &model{baseline: docker14, play: func(int, caps.Set, bool) outcome {
		return outcome{hang: true, begin: 10 * time.Second, health: engine.Healthy, late: time.Second, identities: []usage.Identity{root()}}
	}}
	if p := mustLearn(t, m, learn.Options{CheckTimeout: 5 * time.Second}); !p.Proven {
		t.Errorf("not proven: %+v", p.Trials)
	}
}

// The same set, once passed and once failed, is not proven.
func TestMixedIsNotProven(t *testing.T) {
	m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
		o := outcome{identities: []usage.Identity{root()}}
		if n == 3 { // the confirmation
			o.exit = 1
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Proven || !strings.Contains(strings.Join(p.Notes, " "), "passed 2 time(s) and failed 1 time(s)") {
		t.Errorf("proven %v notes %q", p.Proven, p.Notes)
	}
}

var _ engine.Workload = (*model)(nil)

// A substitute that the engine does not know costs no result.
func TestSubstituteUnknownToTheEngine(t *testing.T) {
	needed := caps.Of(caps.SysAdmin)
	m := &model{baseline: docker14 | needed, play: func(n int, set caps.Set, _ bool) outcome {
		o := needs(needed, needed)(n, set, false)
		o.denied = caps.Of(caps.Bpf) &^ set
		if set.Has(caps.Bpf) {
			o.fail = &engine.Error{Problem: "docker failed", Reason: `unknown capability: "CAP_BPF"`}
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Required != needed || !p.Proven || !strings.Contains(strings.Join(p.Notes, " "), "bpf in place of sys_admin could not be tried") {
		t.Errorf("required %v proven %v notes %q", p.Required, p.Proven, p.Notes)
	}
}

// A process that is there now and then, in a run that was refused nothing,
// makes no run fail and no workload flaky. One that stayed what it should not
// have does.
func TestProcessThatComesAndGoes(t *testing.T) {
	helper := worker(0, 7)
	helper.Exe = "/bin/sleep"
	m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
		o := needs(caps.Of(caps.Setuid), caps.Of(caps.Setuid))(n, set, false)
		if set.Has(caps.Setuid) {
			o.identities = append(o.identities, worker(33, 33))
		}
		if n == 2 || n == 5 { // the predicted and, were it not known by then, the final set
			o.identities = append(o.identities, helper)
		}
		return o
	}}
	p := mustLearn(t, m, learn.Options{})
	if p.Required != caps.Of(caps.Setuid) || !p.Proven || !strings.Contains(strings.Join(p.Notes, " "), "come and go") {
		t.Errorf("required %v proven %v notes %q %+v", p.Required, p.Proven, p.Notes, p.Trials)
	}
}
