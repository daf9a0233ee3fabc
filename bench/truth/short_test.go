package truth_test

import (
	"os"
	"os/exec"
	"path/filepath"
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
	program := filepath.Join(t.TempDir(), "leastcap")
	build := exec.Command("go", "build", "-buildvcs=false", "-o", program, "github.com/leastcap/leastcap/cmd/leastcap")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, w := range short {
		t.Run(w.Name, func(t *testing.T) {
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
