package advise

import (
	"encoding/json"
	"math"
	"os"
	"slices"
	"testing"

	"github.com/leastcap/leastcap/caps"
)

// TestFrequency compares the table with the corpus that it is of.
func TestFrequency(t *testing.T) {
	data, err := os.ReadFile("../bench/truth/oracle.json")
	if err != nil {
		t.Fatal(err)
	}
	var corpus struct {
		Workloads map[string]struct {
			Required caps.Set `json:"required"`
		} `json:"workloads"`
	}
	if err := json.Unmarshal(data, &corpus); err != nil {
		t.Fatal(err)
	}
	n := map[caps.Cap]int{}
	for _, w := range corpus.Workloads {
		for _, c := range w.Required.Caps() {
			n[c]++
		}
	}
	for _, c := range caps.All().Caps() {
		share := float64(n[c]) / float64(len(corpus.Workloads))
		// New workloads may shift it a little.
		if got := Likelihood(c, true); math.Abs(got-share) > 0.05 {
			t.Errorf("%v: likelihood %.2f, and %.2f of the corpus need it", c, got, share)
		}
	}
}

func TestGroup(t *testing.T) {
	docker := caps.Set(0xa80425fb)
	list := Unlikely(docker, true)
	if len(list) != 14 {
		t.Fatalf("%d of 14: %v", len(list), list)
	}
	if g := Group(list, true); len(g) != 11 || slices.ContainsFunc(g, caps.Of(caps.Setuid, caps.Setgid, caps.Chown).Has) {
		t.Errorf("of a root's: %v", g)
	}
	if g := Group(list[11:], true); !slices.Equal(g, []caps.Cap{caps.Chown}) {
		t.Errorf("then: %v", g)
	}
	if g := Group(list[12:], true); len(g) != 1 {
		t.Errorf("then: %v", g)
	}
	if g := Group(Unlikely(docker, false), false); len(g) != 14 {
		t.Errorf("of another user's: %v", g)
	}
	if g := Group(nil, true); len(g) != 0 {
		t.Errorf("of none: %v", g)
	}
}
