package advise

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"

	"github.com/leastcap/leastcap/caps"
)

// study is a workload of the corpus: what its files suggest, and what it needs.
type study struct {
	clues    *Clues
	baseline caps.Set
	required caps.Set
	words    map[caps.Cap]string // of the run without it
}

func corpus(t *testing.T) map[string]study {
	t.Helper()
	read := func(name string, v any) {
		t.Helper()
		data, err := os.ReadFile(name)
		if err == nil {
			err = json.Unmarshal(data, v)
		}
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	var clues map[string]*Clues
	read("testdata/clues.json", &clues)
	var truth struct {
		Workloads map[string]struct {
			Baseline caps.Set            `json:"baseline"`
			Required caps.Set            `json:"required"`
			Why      map[caps.Cap]string `json:"why"`
		} `json:"workloads"`
	}
	read("../bench/truth/oracle.json", &truth)
	all := map[string]study{}
	for name, w := range truth.Workloads {
		if clues[name] == nil {
			t.Errorf("%s: testdata/clues.json does not have it: go run ./scripts/truth clues", name)
			continue
		}
		all[name] = study{clues[name], w.Baseline, w.Required, w.Why}
	}
	return all
}

// TestFrequency compares the table with the corpus that it is of.
func TestFrequency(t *testing.T) {
	all := corpus(t)
	mute := &Clues{Root: true, Mute: true}
	for _, c := range caps.All().Caps() {
		n := 0
		for _, w := range all {
			if w.required.Has(c) {
				n++
			}
		}
		share := float64(n) / float64(len(all))
		// New workloads may shift it a little.
		if got := mute.Likelihood(c); math.Abs(got-share) > 0.05 {
			t.Errorf("%v: likelihood %.2f, and %.2f of the corpus need it", c, got, share)
		}
	}
}

// priorWeight is how many workloads the general experience of clues is worth.
const priorWeight = 2

// estimates makes the table of likelihoods of a corpus.
func estimates(all map[string]study) map[caps.Cap][clueKinds]float64 {
	table := map[caps.Cap][clueKinds]float64{}
	for _, c := range caps.All().Caps() {
		var needed, total [clueKinds]int
		known := false
		for _, w := range all {
			clue := w.clues.Of[c]
			known = known || clue != NoClue || w.required.Has(c)
			if !w.clues.Root || w.clues.Mute {
				continue
			}
			total[clue]++
			if w.required.Has(c) {
				needed[clue]++
			}
		}
		if !known {
			continue
		}
		var row [clueKinds]float64
		for clue := range row {
			row[clue] = (float64(needed[clue]) + priorWeight*prior[clue]) / float64(total[clue]+priorWeight)
		}
		table[c] = row
	}
	return table
}

// TestLikelihoods compares the table with the corpus that it is of.
func TestLikelihoods(t *testing.T) {
	for c, want := range estimates(corpus(t)) {
		for clue, p := range want {
			if got := likelihoods()[c][clue]; math.Abs(got-p) > 0.1 {
				t.Errorf("%v, clue %d: %.3f, and the corpus gives %.3f", c, clue, got, p)
			}
		}
	}
}

// trials plays a search against what is needed, and gives what was found and how many
// trials that took.
func trials(baseline, needed caps.Set, words map[caps.Cap]string, c *Clues) (found caps.Set, n int) {
	set := baseline
	s := NewSearch(set, c)
	for ; !s.Group().Empty(); n++ {
		group := s.Group()
		if needed.SubsetOf(set &^ group) {
			set &^= group
			s.Passed()
		} else {
			// It ends at one of those that it misses.
			s.Failed(n, words[Order(needed & group)[0]])
		}
	}
	return set, n
}

// TestSearchCorpus: what a workload needs is found exactly, and its files' clues and what it
// says when it fails spare trials, also where the likelihoods are those of all other workloads alone. It can not
// take fewer than one for each that is needed, and one for all others.
func TestSearchCorpus(t *testing.T) {
	all := corpus(t)
	kept := likelihoods
	defer func() { likelihoods = kept }()
	with, without, least := 0, 0, 0
	for name, w := range all {
		others := map[string]study{}
		for other, v := range all {
			if other != name {
				others[other] = v
			}
		}
		table := estimates(others)
		likelihoods = func() map[caps.Cap][clueKinds]float64 { return table }
		found, n := trials(w.baseline, w.required, w.words, w.clues)
		if found != w.required {
			t.Errorf("%s: found %v, needs %v", name, found, w.required)
		}
		found, m := trials(w.baseline, w.required, nil, &Clues{Root: w.clues.Root, Mute: true})
		if found != w.required {
			t.Errorf("%s, without clues: found %v, needs %v", name, found, w.required)
		}
		l := w.required.Len()
		if w.required != w.baseline {
			l++
		}
		with, without, least = with+n, without+m, least+l
		t.Logf("%-18s %2d trials, %2d without clues, %d at least", name, n, m, l)
	}
	count := float64(len(all))
	t.Logf("on average %.2f trials, %.2f without clues, %.2f at least", float64(with)/count, float64(without)/count, float64(least)/count)
	if float64(with) > 1.7*float64(least) || with >= without {
		t.Errorf("%d trials, %d without clues, %d at least: the clues spare too little", with, without, least)
	}
}

// TestSearchAll: every set of five is found, and the number of trials to be expected is
// that of all sets, weighed by how likely each is.
func TestSearchAll(t *testing.T) {
	list := []Suspect{{caps.Mknod, 0.01}, {caps.NetRaw, 0.1}, {caps.Chown, 0.3}, {caps.Setgid, 0.6}, {caps.Setuid, 0.95}}
	var all caps.Set
	for _, k := range list {
		all = all.With(k.Cap)
	}
	mean := 0.0
	for mask := range 1 << len(list) {
		s := &Search{Decided: map[caps.Cap]int{}, rest: append([]Suspect{}, list...)}
		needed, p := caps.Set(0), 1.0
		for i, k := range list {
			if mask&(1<<i) != 0 {
				needed, p = needed.With(k.Cap), p*k.Likelihood
			} else {
				p *= 1 - k.Likelihood
			}
		}
		set, n := all, 0
		for ; !s.Group().Empty(); n++ {
			if group := s.Group(); needed.SubsetOf(set &^ group) {
				set &^= group
				s.Passed()
			} else {
				s.Failed(n, "")
			}
		}
		if set != needed {
			t.Errorf("found %v, needed %v", set, needed)
		}
		if len(s.Decided) != needed.Len() {
			t.Errorf("%v: decided %v", needed, s.Decided)
		}
		mean += p * float64(n)
	}
	if got := ExpectedTrials(list, 0); math.Abs(got-mean) > 1e-9 {
		t.Errorf("%.6f trials are expected, and there are %.6f on average", got, mean)
	}
}

// TestSearchHears: a failed run's own words say where to look.
func TestSearchHears(t *testing.T) {
	docker := caps.Set(0xa80425fb)
	for _, c := range []struct {
		words string
		want  caps.Set
	}{
		{"chown(\"/var/lib/nginx/body\", 33) failed (1: Operation not permitted)", caps.Of(caps.Chown)},
		{"install: cannot change owner and permissions of '/run/mysqld': Operation not permitted", caps.Of(caps.Chown)},
		{"failed to drop supplementary groups: Operation not permitted", caps.Of(caps.Setgid)},
		{"setresuid 113: Operation not permitted [preauth]", caps.Of(caps.Setuid)},
		{"chroot(\"/run/sshd\"): Operation not permitted [preauth]", caps.Of(caps.SysChroot)},
		{"open() \"/var/log/nginx/error.log\" failed (13: Permission denied)", caps.Of(caps.DacOverride)},
		{"exit status 1", 0},
	} {
		if got := Heard(c.words); got != c.want {
			t.Errorf("%q: heard %v, want %v", c.words, got, c.want)
		}
	}
	count := func(words string) (n int) {
		s, set, needed := NewSearch(docker, &Clues{Root: true}), docker, caps.Of(caps.SysChroot)
		for ; !s.Group().Empty(); n++ {
			if group := s.Group(); needed.SubsetOf(set &^ group) {
				set &^= group
				s.Passed()
			} else {
				s.Failed(n, words)
			}
		}
		return n
	}
	if deaf, hears := count(""), count("chroot: Operation not permitted"); hears >= deaf {
		t.Errorf("%d trials with the run's words, %d without", hears, deaf)
	}
}

// TestSearchUnlikely: what nothing suggests goes in one trial, and is found if it is needed
// all the same.
func TestSearchUnlikely(t *testing.T) {
	set := caps.Of(caps.AuditWrite, caps.Mknod, caps.NetRaw, caps.Setfcap)
	s := NewSearch(set, &Clues{Root: true})
	if got := s.Group(); got != set {
		t.Errorf("first without %v, want %v", got, set)
	}
	if s.Failed(0, ""); s.Left() < 1 || s.Left() > 10 {
		t.Errorf("%d trials are left", s.Left())
	}
	for _, needed := range []caps.Set{0, caps.Of(caps.Mknod), set} {
		if found, n := trials(set, needed, nil, &Clues{Root: true}); found != needed || n > 8 {
			t.Errorf("found %v in %d trials, needed %v", found, n, needed)
		}
	}
}

// Of all 41 capabilities the choice is made in no time.
func TestSearchLarge(t *testing.T) {
	for _, needed := range []caps.Set{0, caps.Of(caps.SysAdmin), caps.All()} {
		found, n := trials(caps.All(), needed, nil, &Clues{Root: true})
		if found != needed {
			t.Errorf("found %v, needed %v", found, needed)
		}
		t.Log(fmt.Sprint(needed.Len(), " needed: ", n, " trials"))
	}
}
