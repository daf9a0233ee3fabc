package learn_test

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/usage"
)

// unseeing observes a model, and sees none of its checks.
type unseeing struct{ *model }

func (unseeing) Hook() string { return learn.HookNone }
func (u unseeing) Watch(ref proc.ScopeRef) (learn.Watch, error) {
	w, err := u.model.Watch(ref)
	return quiet{w.(*played)}, err
}

type quiet struct{ *played }

func (q quiet) Record() (*usage.Record, error) {
	r := &usage.Record{Sets: map[usage.Phase]usage.Sets{}}
	if !q.m.unseen {
		r.Launch = &caps.State{Bounding: q.set}
	}
	return r, nil
}

// knowing is a workload that knows what it has.
type knowing struct{ *model }

func (k knowing) Today() (caps.Set, error) { return k.baseline, nil }

func TestUnaided(t *testing.T) {
	for _, c := range []struct {
		name   string
		needed caps.Set
		most   int // runs
	}{
		{"nothing", 0, 6},
		{"nginx", caps.Of(caps.Chown, caps.DacOverride, caps.Setgid, caps.Setuid), 10},
		{"what drops root", caps.Of(caps.Setgid, caps.Setuid), 6},
		{"ping", caps.Of(caps.NetRaw), 10},
		{"a rare one", caps.Of(caps.AuditWrite), 15},
		{"all", docker14, 33},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := &model{baseline: docker14, play: needs(docker14, c.needed)}
			p, err := learn.Run(t.Context(), m, unseeing{m}, learn.Options{}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if p.Required != c.needed || p.Recommended != c.needed || !p.Proven || p.Runs < 2 {
				t.Errorf("required %v, recommended %v, proven %t in %d runs", p.Required, p.Recommended, p.Proven, p.Runs)
			}
			if p.Optional != docker14&^c.needed || p.Unused != 0 || p.Used != 0 {
				t.Errorf("optional %v, unused %v, used %v", p.Optional, p.Unused, p.Used)
			}
			if p.Complete || p.Hook != learn.HookNone || !strings.Contains(strings.Join(p.Notes, " "), "trials alone") {
				t.Errorf("complete %t, hook %q, notes %q", p.Complete, p.Hook, p.Notes)
			}
			if m.n > c.most {
				t.Errorf("%d runs, want %d at most", m.n, c.most)
			}
			t.Logf("%d runs", m.n)
			for _, f := range p.Capabilities {
				if f.Without == nil || f.Without.Passed != !c.needed.Has(f.Cap) {
					t.Fatalf("%v: the run without it: %+v", f.Cap, f.Without)
				}
				// The trial that decided was without it, and had no more than what is left.
				if tr := p.Trials[f.Without.Trial]; tr.Set.Has(f.Cap) || tr.Passed != f.Without.Passed {
					t.Errorf("%v was decided by run %d: %+v", f.Cap, f.Without.Trial+1, tr)
				}
			}
		})
	}
}

// TestUnaidedPairs: of every pair and triple that is needed exactly that is found.
func TestUnaidedPairs(t *testing.T) {
	list := docker14.Caps()
	runs, n := 0, 0
	for i := range list {
		for j := range list {
			needed := caps.Of(list[i], list[j], list[(i*j+3)%len(list)])
			m := &model{baseline: docker14, play: needs(0, needed)}
			p, err := learn.Run(t.Context(), m, unseeing{m}, learn.Options{Runs: 1}, nil)
			if err != nil || p.Required != needed {
				t.Fatalf("needed %v, found %v, %v", needed, p.Required, err)
			}
			runs, n = runs+m.n, n+1
		}
	}
	t.Logf("%.1f runs on average", float64(runs)/float64(n))
}

// Where the engine runs elsewhere its rules say what the workload has.
func TestUnaidedElsewhere(t *testing.T) {
	needed := caps.Of(caps.Setuid)
	m := &model{baseline: docker14, unseen: true, play: needs(0, needed)}
	p, err := learn.Run(t.Context(), knowing{m}, unseeing{m}, learn.Options{}, nil)
	if err != nil || p.Baseline != docker14 || p.Required != needed {
		t.Errorf("baseline %v, required %v, %v", p.Baseline, p.Required, err)
	}
	if _, err := learn.Run(t.Context(), m, unseeing{m}, learn.Options{}, nil); !errors.Is(err, learn.ErrUnseen) {
		t.Errorf("%v: want that nothing is known of it", err)
	}
}

// A service that only stays up shows nothing; with a check the identities of what
// stays are compared all the same.
func TestUnaidedService(t *testing.T) {
	play := func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{hang: true, identities: []usage.Identity{root(), worker(33, 33)}}
		if !set.Has(caps.Setgid) { // it works, as another
			o.identities = []usage.Identity{root(), worker(33, 0)}
		}
		return o
	}
	m := &model{baseline: docker14, play: play}
	if _, err := learn.Run(t.Context(), m, unseeing{m}, learn.Options{Settle: time.Millisecond}, nil); !errors.Is(err, learn.ErrNeedsCheck) {
		t.Errorf("%v: want that a check is needed", err)
	}
	m = &model{baseline: docker14, play: play}
	p, err := learn.Run(t.Context(), m, unseeing{m}, learn.Options{Settle: time.Millisecond, Checks: checks("true")}, nil)
	if err != nil || p.Required != caps.Of(caps.Setgid) || !p.Proven {
		t.Errorf("%v: got %+v", err, p)
	}
	if !slices.ContainsFunc(p.Trials, func(tr usage.Trial) bool { return tr.Failure == "guard" }) {
		t.Errorf("no trial failed by its identities: %+v", p.Trials)
	}
}

// A final set that passes once and fails once is not called proven.
func TestUnaidedFlaky(t *testing.T) {
	n := 0
	m := &model{baseline: docker14, play: func(_ int, set caps.Set, _ bool) outcome {
		o := outcome{}
		if set == 0 {
			if n++; n > 1 {
				o.exit = 1
			}
		}
		return o
	}}
	p, err := learn.Run(t.Context(), m, unseeing{m}, learn.Options{}, nil)
	if err != nil || p.Proven || p.Recommended != docker14 {
		t.Errorf("%v: proven %t, recommended %v, %q", err, p.Proven, p.Recommended, p.Notes)
	}
}

// One that takes longer to end, for once, has that time: one that fails seldom hangs.
func TestUnaidedLate(t *testing.T) {
	needed := caps.Of(caps.Setuid)
	for late := 2; late < 5; late++ {
		m := &model{baseline: docker14, play: func(n int, set caps.Set, _ bool) outcome {
			o := needs(0, needed)(n, set, false)
			o.last = time.Second
			if n == late {
				o.last = 6 * time.Second
			}
			return o
		}}
		var p *usage.Profile
		var err error
		synctest.Test(t, func(t *testing.T) { p, err = learn.Run(t.Context(), m, unseeing{m}, learn.Options{}, nil) })
		if err != nil || p.Required != needed || !p.Proven {
			t.Errorf("run %d: %v: required %v, proven %t, trials %+v", late+1, err, p.Required, p.Proven, p.Trials)
		}
	}
}

// What /proc shows of this process.
func TestUnaidedIdentity(t *testing.T) {
	i, err := proc.Identity(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	if i.Exe != exe || i.UIDs[1] != uint32(os.Geteuid()) || i.GIDs[1] != uint32(os.Getegid()) || i.Root != "/" {
		t.Errorf("got %+v", i)
	}
}
