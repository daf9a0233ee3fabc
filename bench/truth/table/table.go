// Package table compares what leastcap learned with the truth, and shows it.
package table

import (
	"fmt"
	"slices"

	"github.com/leastcap/leastcap/bench/truth"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// Row is one workload, learned once.
type Row struct {
	Workload *truth.Workload
	Truth    *truth.Truth
	Learned  caps.Set
	// Missing and Extra are against the nearest of the truth's minimal sets.
	Missing, Extra caps.Set
	Exact          bool
	Runs           int
	Seconds        float64
	// PlainAll is what a plain trace says: every check that was granted in the
	// container's cgroup. PlainOwn is the same without the runtime's set-up.
	PlainAll, PlainOwn caps.Set
	Problem            string   // why it is not exact though the sets agree
	Trials             []string // for a person
}

// Compare makes a row. err is why nothing was learned, if so.
func Compare(w *truth.Workload, t *truth.Truth, p *usage.Profile, err error) Row {
	r := Row{Workload: w, Truth: t}
	switch {
	case t == nil:
		r.Problem = "no truth is known: make truth"
	case t.Recipe != w.Recipe():
		r.Problem = "its truth is of an older definition: make truth"
	}
	if err != nil {
		r.Problem = err.Error()
	}
	if p == nil {
		if r.Problem == "" {
			r.Problem = "no profile"
		}
		if t != nil {
			r.Missing = t.Required
		}
		return r
	}
	r.Learned, r.Runs, r.Seconds = p.Required, len(p.Trials), p.Seconds
	for _, s := range p.Sets {
		r.PlainAll |= s.PlainAll
		r.PlainOwn |= s.PlainOwn
	}
	for i, tr := range p.Trials {
		r.Trials = append(r.Trials, fmt.Sprintf("run %d %s %v: passed %v %s", i+1, tr.Kind, tr.Set, tr.Passed, tr.Reason))
	}
	for _, n := range p.Notes {
		r.Trials = append(r.Trials, "note: "+n)
	}
	if t == nil {
		return r
	}
	r.Missing, r.Extra = nearest(t, p)
	switch {
	case r.Problem != "":
	case !p.Complete:
		r.Problem = "the profile is incomplete"
	case !p.Proven:
		r.Problem = "not proven"
	}
	r.Exact = r.Problem == "" && r.Missing.Empty() && r.Extra.Empty()
	return r
}

// nearest gives the differences to the nearest of the sets that are true. A
// narrower capability that was adopted is as good if the oracle saw it pass.
func nearest(t *truth.Truth, p *usage.Profile) (missing, extra caps.Set) {
	learned := p.Required
	for _, s := range p.Substitutes {
		same := truth.Substitute{For: s.For, Use: s.Use, Passed: true}
		if s.Adopted && slices.Contains(t.Substitutes, same) {
			learned = learned.Without(s.Use).With(s.For)
		}
	}
	best := -1
	for _, set := range t.Minimal {
		m, e := set&^learned, learned&^set
		if n := m.Len() + e.Len(); best < 0 || n < best {
			best, missing, extra = n, m, e
		}
	}
	return missing, extra
}

// Totals are over all rows of a round.
type Totals struct {
	Workloads, Exact  int
	Precision, Recall float64
	// OverAll and OverOwn are by how many capabilities a plain trace says too much,
	// on average; MissAll and MissOwn how many needs it does not show, in all.
	OverAll, OverOwn float64
	MissAll, MissOwn int
	Runs             int
	Seconds, Median  float64
}

// Sum adds up.
func Sum(rows []Row) Totals {
	t := Totals{Workloads: len(rows)}
	var learned, needed, both int
	var seconds []float64
	for _, r := range rows {
		if r.Exact {
			t.Exact++
		}
		right := (r.Learned &^ r.Extra).Len()
		learned += r.Learned.Len()
		needed += right + r.Missing.Len()
		both += right
		t.Runs += r.Runs
		t.Seconds += r.Seconds
		seconds = append(seconds, r.Seconds)
		if r.Truth != nil {
			t.OverAll += float64((r.PlainAll &^ r.Truth.Required).Len())
			t.OverOwn += float64((r.PlainOwn &^ r.Truth.Required).Len())
			t.MissAll += (r.Truth.Required &^ r.PlainAll).Len()
			t.MissOwn += (r.Truth.Required &^ r.PlainOwn).Len()
		}
	}
	if n := float64(len(rows)); n > 0 {
		t.OverAll /= n
		t.OverOwn /= n
		slices.Sort(seconds)
		t.Median = seconds[len(seconds)/2]
	}
	t.Precision, t.Recall = ratio(both, learned), ratio(both, needed)
	return t
}

// ratio is 1 where there is nothing to be wrong about.
func ratio(part, whole int) float64 {
	if whole == 0 {
		return 1
	}
	return float64(part) / float64(whole)
}
