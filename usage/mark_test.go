package usage_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// What was asked for between two looks is marked, in its own phase only, and
// folding keeps all names.
func TestMark(t *testing.T) {
	record := func(start, steady uint64) *usage.Record {
		return &usage.Record{Sets: map[usage.Phase]usage.Sets{}, Checks: []usage.Check{
			{Cap: caps.Chown, Verdict: usage.Granted, Phase: usage.Start, Syscall: "chown", Count: start},
			{Cap: caps.Chown, Verdict: usage.Granted, Phase: usage.Steady, Syscall: "chown", Count: steady},
		}}
	}
	a, b := record(1, 5), record(1, 5)
	a.Mark(record(1, 2), record(1, 3), "check up")
	a.Mark(record(1, 3), record(1, 3), "check idle")
	a.Mark(nil, record(9, 9), "nothing was looked at")
	b.Mark(record(1, 0), record(1, 1), "helper x")
	b.Mark(record(1, 1), record(1, 2), "check up")
	b.MarkStart(2)
	got := usage.Fold(a, b).Checks
	want := []usage.Check{
		{Cap: caps.Chown, Verdict: usage.Granted, Phase: usage.Start, Syscall: "chown", Count: 2},
		{Cap: caps.Chown, Verdict: usage.Granted, Phase: usage.Steady, Syscall: "chown", Count: 10, During: []string{"check up", "helper x"}},
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if b.Checks[0].Start != 2 {
		t.Errorf("start %d", b.Checks[0].Start)
	}
}
