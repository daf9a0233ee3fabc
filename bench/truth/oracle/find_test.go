package oracle

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
)

const base = caps.Set(0xa80425fb)

// working is a workload that works with any superset of one of the sets.
func working(runs *int, sets ...caps.Set) try {
	return func(_ context.Context, set caps.Set) (bool, string, error) {
		*runs++
		ok := slices.ContainsFunc(sets, func(s caps.Set) bool { return s.SubsetOf(set) })
		return ok, "exit status 1", nil
	}
}

func TestFind(t *testing.T) {
	a, b, c := caps.Of(caps.Chown, caps.Setuid), caps.Of(caps.Chown, caps.Setgid), caps.Of(caps.Setuid, caps.Setgid)
	for _, k := range []struct {
		name     string
		sets     []caps.Set
		required caps.Set
		minimal  []caps.Set
	}{
		{"needs nothing", []caps.Set{0}, 0, []caps.Set{0}},
		{"needs two", []caps.Set{a}, a, []caps.Set{a}},
		{"one and either of two", []caps.Set{a, b}, caps.Of(caps.Chown), []caps.Set{a, b}},
		{"any two of three", []caps.Set{a, b, c}, 0, []caps.Set{a, b, c}},
	} {
		runs := 0
		f, err := find(t.Context(), base, working(&runs, k.sets...))
		if err != nil {
			t.Fatalf("%s: %v", k.name, err)
		}
		slices.Sort(f.minimal)
		slices.Sort(k.minimal)
		if f.required != k.required || !slices.Equal(f.minimal, k.minimal) || len(f.flaky) > 0 {
			t.Errorf("%s: required %v minimal %v flaky %v", k.name, f.required, f.minimal, f.flaky)
		}
		for c := range f.required.Values() {
			if f.why[c.String()] != "exit status 1" {
				t.Errorf("%s: why %v", k.name, f.why)
			}
		}
	}
}

// What fails once and then passes twice is not required, and said.
func TestFindFlaky(t *testing.T) {
	runs, failed := 0, false
	inner := working(&runs, caps.Of(caps.Chown))
	f, err := find(t.Context(), base, func(ctx context.Context, set caps.Set) (bool, string, error) {
		if !set.Has(caps.Kill) && !failed {
			failed = true
			return false, "by chance", nil
		}
		return inner(ctx, set)
	})
	if err != nil || f.required != caps.Of(caps.Chown) || len(f.flaky) != 1 || !strings.Contains(f.flaky[0], "by chance") {
		t.Errorf("%+v %v", f, err)
	}
}

func TestFindErrors(t *testing.T) {
	broken := errors.New("no engine")
	if _, err := find(t.Context(), base, func(context.Context, caps.Set) (bool, string, error) { return false, "", broken }); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	full := func(_ context.Context, set caps.Set) (bool, string, error) {
		return set.Len() >= base.Len()-1, "x", nil
	}
	if _, err := find(t.Context(), base, full); err == nil || !strings.Contains(err.Error(), "no set found") {
		t.Errorf("a search without end: %v", err)
	}
}
