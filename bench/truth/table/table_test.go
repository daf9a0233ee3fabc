package table_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/leastcap/leastcap/bench/truth"
	"github.com/leastcap/leastcap/bench/truth/table"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

var update = flag.Bool("update", false, "write the golden files anew")

var workload = &truth.Workload{Name: "web", Kinds: []string{"web"}, Command: []string{"httpd"}, Notes: "A server | with <b>.\n"}

func theTruth(sets ...caps.Set) *truth.Truth {
	return &truth.Truth{
		Recipe: workload.Recipe(), Baseline: 0xa80425fb, Required: sets[0], Minimal: sets,
		Why: map[string]string{"setuid": "exit status 1; setuid: Operation *not* permitted", "chown": "check failed"},
	}
}

func profile(required caps.Set) *usage.Profile {
	return &usage.Profile{
		Required: required, Proven: true, Complete: true, Seconds: 4.25,
		Trials: []usage.Trial{{Kind: usage.Baseline, Passed: true}, {Kind: usage.Predict, Set: required, Passed: true}},
		Sets: map[usage.Phase]usage.Sets{
			usage.Start: {PlainAll: required | caps.Of(caps.SysAdmin, caps.Mknod), PlainOwn: caps.Of(caps.SysAdmin)},
			usage.Stop:  {PlainAll: caps.Of(caps.Kill), PlainOwn: caps.Of(caps.Kill)},
		},
	}
}

func TestCompare(t *testing.T) {
	chown, setuid := caps.Of(caps.Chown), caps.Of(caps.Setuid)
	unproven, incomplete := profile(chown), profile(chown)
	unproven.Proven, incomplete.Complete = false, false
	swapped := profile(caps.Of(caps.DacReadSearch))
	swapped.Substitutes = []usage.Substitute{{For: caps.DacOverride, Use: caps.DacReadSearch, Passed: true, Adopted: true}}
	narrow := theTruth(caps.Of(caps.DacOverride))
	narrow.Substitutes = []truth.Substitute{{For: caps.DacOverride, Use: caps.DacReadSearch, Passed: true}}
	old := theTruth(chown)
	old.Recipe = "another"
	for _, c := range []struct {
		name           string
		truth          *truth.Truth
		profile        *usage.Profile
		err            error
		exact          bool
		missing, extra caps.Set
		problem        string
	}{
		{"exact", theTruth(chown), profile(chown), nil, true, 0, 0, ""},
		{"none", theTruth(0), profile(0), nil, true, 0, 0, ""},
		{"missing", theTruth(chown | setuid), profile(chown), nil, false, setuid, 0, ""},
		{"extra", theTruth(chown), profile(chown | setuid), nil, false, 0, setuid, ""},
		{"one of several", theTruth(chown, setuid), profile(setuid), nil, true, 0, 0, ""},
		{"not proven", theTruth(chown), unproven, nil, false, 0, 0, "not proven"},
		{"incomplete", theTruth(chown), incomplete, nil, false, 0, 0, "incomplete"},
		{"a narrower one", narrow, swapped, nil, true, 0, 0, ""},
		{"a narrower one that the oracle never saw", theTruth(caps.Of(caps.DacOverride)), swapped, nil, false, caps.Of(caps.DacOverride), caps.Of(caps.DacReadSearch), ""},
		{"no truth", nil, profile(chown), nil, false, 0, 0, "make truth"},
		{"older truth", old, profile(chown), nil, false, 0, 0, "older definition"},
		{"nothing learned", theTruth(chown), nil, errors.New("exit status 4"), false, chown, 0, "exit status 4"},
	} {
		r := table.Compare(workload, c.truth, c.profile, c.err)
		if r.Exact != c.exact || r.Missing != c.missing || r.Extra != c.extra || !strings.Contains(r.Problem, c.problem) || (r.Problem == "") != (c.problem == "") {
			t.Errorf("%s: %+v", c.name, r)
		}
	}
}

func rows() []table.Row {
	other := *workload
	other.Name = "other"
	return []table.Row{
		table.Compare(workload, theTruth(caps.Of(caps.Chown, caps.Setuid)), profile(caps.Of(caps.Chown, caps.Setuid)), nil),
		table.Compare(&other, func() *truth.Truth {
			t := theTruth(caps.Of(caps.Chown, caps.NetRaw))
			t.Recipe = other.Recipe()
			return t
		}(), profile(caps.Of(caps.Chown, caps.Fowner)), nil),
	}
}

func TestSum(t *testing.T) {
	got := table.Sum(rows())
	want := table.Totals{
		Workloads: 2, Exact: 1, Precision: 0.75, Recall: 0.75, OverAll: 3.5, OverOwn: 2, MissAll: 1, MissOwn: 4,
		Runs: 4, Seconds: 8.5, Median: 4.25,
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if empty := table.Sum(nil); empty.Precision != 1 || empty.Recall != 1 {
		t.Errorf("of nothing: %+v", empty)
	}
}

func TestPages(t *testing.T) {
	var text, markdown strings.Builder
	if err := table.Text(&text, rows()); err != nil {
		t.Fatal(err)
	}
	env := table.Environment{Date: "2026-01-02", Kernel: "6.18.0", Engine: "Docker 20.10.24", CPUs: 2}
	if err := table.Markdown(&markdown, env, [][]table.Row{rows(), rows()}); err != nil {
		t.Fatal(err)
	}
	for name, got := range map[string]string{"table.txt": text.String(), "page.md": markdown.String()} {
		file := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), got); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
}
