package truth_test

import (
	"slices"
	"testing"

	"github.com/leastcap/leastcap/bench/truth"
)

func workloads(t *testing.T) []*truth.Workload {
	t.Helper()
	all, err := truth.Workloads()
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// The corpus is large enough, and it and its short part cover every kind.
func TestCorpusCoversTheField(t *testing.T) {
	all := workloads(t)
	short := slices.DeleteFunc(slices.Clone(all), func(w *truth.Workload) bool { return !w.Short })
	if len(all) < 30 || len(short) < 10 {
		t.Errorf("%d workloads, %d of them short", len(all), len(short))
	}
	for _, kind := range truth.Kinds {
		of := func(w *truth.Workload) bool { return slices.Contains(w.Kinds, kind) }
		if !slices.ContainsFunc(all, of) {
			t.Errorf("no workload of kind %s", kind)
		}
		if !slices.ContainsFunc(short, of) {
			t.Errorf("no short workload of kind %s", kind)
		}
	}
}

// Every workload has a truth of its present definition, and every truth a
// workload.
func TestEveryWorkloadHasATruth(t *testing.T) {
	all := workloads(t)
	known, err := truth.Committed()
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range all {
		tr := known.Truths[w.Name]
		switch {
		case tr == nil:
			t.Errorf("%s: no truth; make truth", w.Name)
			continue
		case tr.Recipe != w.Recipe():
			t.Errorf("%s: its truth is of an older definition; make truth", w.Name)
		}
		if !tr.Required.SubsetOf(tr.Baseline) || len(tr.Minimal) == 0 {
			t.Errorf("%s: required %v of %v, minimal %v", w.Name, tr.Required, tr.Baseline, tr.Minimal)
		}
		for c := range tr.Required.Values() {
			if tr.Why[c.String()] == "" {
				t.Errorf("%s: no reason for %v", w.Name, c)
			}
		}
		for _, p := range w.Packages {
			if tr.Packages[p] == "" {
				t.Errorf("%s: no version of %s", w.Name, p)
			}
		}
	}
	for name := range known.Truths {
		if !slices.ContainsFunc(all, func(w *truth.Workload) bool { return w.Name == name }) {
			t.Errorf("%s: a truth, and no workload", name)
		}
	}
}

// A recipe changes with what can change the truth, and with nothing else.
func TestRecipe(t *testing.T) {
	w := truth.Workload{Name: "a", Command: []string{"true"}, Notes: "x", Kinds: []string{"web"}}
	same := w
	same.Notes, same.Kinds, same.Short = "y", nil, true
	if w.Recipe() != same.Recipe() {
		t.Error("notes changed it")
	}
	other := w
	other.Flags = []string{"--cap-add", "SYS_NICE"}
	if w.Recipe() == other.Recipe() {
		t.Error("flags did not change it")
	}
}

func TestSelect(t *testing.T) {
	all := workloads(t)
	if got, err := truth.Select(all, nil); err != nil || len(got) != len(all) {
		t.Errorf("%d %v", len(got), err)
	}
	if got, err := truth.Select(all, []string{"ping", "nginx"}); err != nil || got[0].Name != "ping" || got[1].Name != "nginx" {
		t.Errorf("%v %v", got, err)
	}
	if _, err := truth.Select(all, []string{"nonesuch"}); err == nil {
		t.Error("an unknown name is no error")
	}
}
