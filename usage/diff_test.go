package usage_test

import (
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

func TestCompare(t *testing.T) {
	base := caps.Of(caps.Chown, caps.Setuid, caps.Kill)
	a := learned(base, caps.Of(caps.Chown, caps.Setuid), 0, 0)
	b := learned(base.With(caps.NetRaw), caps.Of(caps.Setuid, caps.NetRaw), caps.Of(caps.Kill), 0)
	b.Kernel = "6.1.0"
	d := usage.Compare(named("a", a), named("b", b))
	if d.Same || d.Empty() {
		t.Error("the same")
	}
	if diff := cmp.Diff([]usage.FactChange{{"kernel", "6.12.9", "6.1.0"}, {"baseline", "3", "4 with net_raw"}}, d.Facts); diff != "" {
		t.Error(diff)
	}
	type brief struct {
		cap  caps.Cap
		a, b usage.Status
		from string
		new  bool
	}
	var got []brief
	for _, c := range d.Changes {
		got = append(got, brief{c.Cap, c.A.Status, c.B.Status, c.From, c.New})
		if len(c.Evidence.Checks) != 1 || c.Evidence.Checks[0].Cap != c.Cap {
			t.Errorf("%v: evidence %+v", c.Cap, c.Evidence)
		}
	}
	want := []brief{
		{caps.Chown, usage.Required, usage.Unused, "a", false},
		{caps.Kill, usage.Unused, usage.Optional, "b", true},
		{caps.NetRaw, usage.Absent, usage.Required, "b", true},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(brief{})); diff != "" {
		t.Error(diff)
	}
}

// Only a phase differs: worth a word, and no difference in what to give.
func TestComparePhases(t *testing.T) {
	a, b := learned(1, 1, 0, 0), learned(1, 1, 0, 0)
	b.Sets[usage.Stop] = usage.Sets{Granted: 1}
	d := usage.Compare(named("a", a), named("b", b))
	if !d.Same || d.Empty() || len(d.Changes) != 1 || !d.Changes[0].New {
		t.Errorf("%+v", d)
	}
	d = usage.Compare(named("b", b), named("a", a))
	if !d.Same || len(d.Changes) != 1 || d.Changes[0].New || d.Changes[0].From != "b" {
		t.Errorf("%+v", d)
	}
}

func TestCompareLaws(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 2))
		a, b := random(r, 1), random(r, 2)
		if d := usage.Compare(a, a); !d.Empty() {
			t.Fatalf("seed %d: differs from itself: %+v", seed, d)
		}
		there, back := usage.Compare(a, b), usage.Compare(b, a)
		if there.Same != back.Same || len(there.Facts) != len(back.Facts) || len(there.Changes) != len(back.Changes) {
			t.Fatalf("seed %d: not symmetric", seed)
		}
		if there.Same != (a.Profile.Required == b.Profile.Required && a.Profile.Recommended == b.Profile.Recommended) {
			t.Fatalf("seed %d: same %t", seed, there.Same)
		}
		if !there.Same && len(there.Changes) == 0 {
			t.Fatalf("seed %d: does not say what", seed)
		}
	}
}
