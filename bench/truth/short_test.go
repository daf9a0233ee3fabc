package truth_test

import (
	"os"
	"testing"

	"github.com/leastcap/leastcap/bench/truth"
	"github.com/leastcap/leastcap/bench/truth/images"
	"github.com/leastcap/leastcap/bench/truth/run"
	"github.com/leastcap/leastcap/internal/testenv"
)

// What leastcap learns of the short workloads is the oracle's truth.
func TestShort(t *testing.T) {
	testenv.Need(t, testenv.Root, testenv.BPF, testenv.Docker, testenv.Command("mmdebstrap"))
	known, err := truth.Committed()
	if err != nil {
		t.Fatal(err)
	}
	var short []*truth.Workload
	for _, w := range workloads(t) {
		if w.Short {
			short = append(short, w)
		}
	}
	if err := images.Build(t.Context(), short, os.Stderr); err != nil {
		t.Fatal(err)
	}
	program := testenv.Leastcap(t)
	// Two at a time, since much of it is waiting; each tells its own processes from others.
	turns := make(chan struct{}, 2)
	for _, w := range short {
		t.Run(w.Name, func(t *testing.T) {
			t.Parallel()
			turns <- struct{}{}
			defer func() { <-turns }()
			r := run.Learn(t.Context(), program, 2, w, known.Truths[w.Name])
			if !r.Exact {
				t.Errorf("learned %v: missing %v, extra %v %s", r.Learned, r.Missing, r.Extra, r.Problem)
				for _, line := range r.Trials {
					t.Log(line)
				}
			}
		})
	}
}
