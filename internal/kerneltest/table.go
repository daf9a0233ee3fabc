//go:build linux

package kerneltest

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Cell is one way in on one kernel: how many workloads of the corpus gave exactly
// what they need, for each runtime.
type Cell struct {
	Kernel  string         `json:"kernel"`  // of [Kernels]
	Release string         `json:"release"` // uname -r
	Version string         `json:"version"` // of Debian's package
	Cgroups Cgroups        `json:"cgroups"`
	Way     string         `json:"way"`
	Exact   map[string]int `json:"exact"` // by runtime
	Of      map[string]int `json:"of"`
}

// Cost is what one way to look costs a system call that makes one check.
type Cost struct {
	Name        string  `json:"name"`
	Nanoseconds float64 `json:"nanoseconds"` // of a call, with the check
	Seen        float64 `json:"seen"`        // the part of the checks that was counted; 0 where none should be
}

// costMark begins the line of results that holds a guest's costs.
const costMark = "@@ cost "

// CostsOf finds the costs that a run printed.
func CostsOf(run Run) (costs []Cost, err error) {
	text := run.Output
	for _, t := range run.Tests {
		text += t.Output
	}
	_, list, ok := strings.Cut(text, costMark)
	if !ok {
		return nil, fmt.Errorf("%s measured no costs:\n%s", run.Name, text)
	}
	err = json.NewDecoder(strings.NewReader(list)).Decode(&costs)
	return costs, err
}

// Costs are those of a kernel.
type Costs struct {
	Kernel  string `json:"kernel"`
	Release string `json:"release"`
	Costs   []Cost `json:"costs"`
}

// SaveCosts keeps them in a directory, beside its cells.
func SaveCosts(dir string, c Costs) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	data, err := json.MarshalIndent(c, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "cost-"+c.Kernel+".json"), append(data, '\n'), 0o644)
}

// LoadCosts reads all that were saved in a directory.
func LoadCosts(dir string) ([]Costs, error) {
	return load[Costs](dir, func(name string) bool { return strings.HasPrefix(name, "cost-") })
}

// load reads the files of a directory whose names are wanted, each one value.
func load[T any](dir string, wanted func(name string) bool) ([]T, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []T
	for _, file := range files {
		if !wanted(filepath.Base(file)) {
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var v T
		if err := json.Unmarshal(data, &v); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		all = append(all, v)
	}
	return all, nil
}

// CellOf counts the subtests TestSets/RUNTIME/WORKLOAD of a run, of the runtimes that
// came to their end; ok is false if none did.
func CellOf(run Run) (exact, of map[string]int, ok bool) {
	i := slices.IndexFunc(run.Tests, func(t Test) bool { return t.Name == "TestSets" })
	if i < 0 {
		return nil, nil, false
	}
	exact, of = map[string]int{}, map[string]int{}
	count := func(names []string, into ...map[string]int) {
		for _, name := range names {
			if f := strings.Split(name, "/"); len(f) == 3 {
				for _, m := range into {
					m[f[1]]++
				}
			}
		}
	}
	count(run.Tests[i].Passed, exact, of)
	count(run.Tests[i].Failed, of)
	for runtime := range of {
		ended := func(names []string) bool { return slices.Contains(names, "TestSets/"+runtime) }
		if !ended(run.Tests[i].Passed) && !ended(run.Tests[i].Failed) {
			delete(of, runtime)
			delete(exact, runtime)
		}
	}
	return exact, of, len(of) > 0
}

// Save keeps a guest's cells in a directory, in place of older ones of the same guest and
// way.
func Save(dir, guest string, cells []Cell) error {
	if len(cells) == 0 {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	for _, c := range cells {
		data, err := json.MarshalIndent(c, "", "  ")
		if err != nil {
			return err
		}
		name := fmt.Sprintf("%s-%s.json", guest, strings.ReplaceAll(c.Way, "/", "-"))
		if err := os.WriteFile(filepath.Join(dir, name), append(data, '\n'), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// Load reads all that was saved in a directory.
func Load(dir string) ([]Cell, error) {
	return load[Cell](dir, func(name string) bool { return !strings.HasPrefix(name, "cost-") })
}

// notSeen is what each way in does not show, beside what docs/limits.md says of all.
var notSeen = [][2]string{
	{"tp_btf/cap_capable", "Linux 6.14 and later. Refusals by other security modules look like the program's own. Where the kernel preempts itself (all from 7.0 on) it may miss checks; that is counted, makes a result incomplete, and kprobe/cap_capable is preferred there."},
	{"fexit/cap_capable", "As above, and it needs BPF trampolines, which lockdown and some hosts refuse. What commoncap asks itself in capset(2) and PR_SET_SECUREBITS is asked in its place, since compilers put that inline."},
	{"fexit/security_capable", "Shows the verdict of all security modules. What other modules ask of commoncap themselves does not pass it."},
	{"kprobe/cap_capable", "Needs kprobes. The verdict is worked out from the credentials before the kernel does so. Neither it nor what goes with it is preempted, so that load loses nothing."},
}

const costsHead = `
## Cost

What each way in adds to setgid(2), a cheap system call that makes one check: in a
workload that is learned, and elsewhere on the machine meanwhile. Beside it bcc's
` + "`capable`" + ` (libbpf-tools 0.26), which prints each check. The best of fifteen floods of
20,000 calls, in three alternating rounds (BenchmarkWays). The processor is emulated, by
one thread: compare lines, and not nanoseconds with those of a real one.

| Linux | what looks | added ns | times the call | checks that it has |
|---|---|---|---|---|
`

// Table writes docs/kernels.md.
func Table(w io.Writer, cells []Cell, costs []Costs, runtimes []string) error {
	order := func(name string) int { return slices.IndexFunc(Kernels, func(k Kernel) bool { return k.Name == name }) }
	way := func(name string) int {
		return slices.IndexFunc(notSeen, func(n [2]string) bool { return n[0] == name })
	}
	slices.SortFunc(cells, func(a, b Cell) int {
		return cmp.Or(order(a.Kernel)-order(b.Kernel), -strings.Compare(string(a.Cgroups), string(b.Cgroups)), way(a.Way)-way(b.Way))
	})
	var b strings.Builder
	b.WriteString(`# Kernels

<!-- Written by "make test-kernels". -->

What leastcap sees on Debian's kernels, in QEMU: a corpus of small workloads
(internal/kerneltest/sets_test.go), each started on the host and by three container
runtimes with Docker's default capabilities. "exact" says that all of them gave
exactly the sets that they need: granted, denied, set by capset(2) and demanded by
executables' file capabilities. A run that says of itself that it is incomplete, as may
be where the kernel preempts programs of BPF, is made again.

| Linux | cgroups | way in |`)
	for _, r := range runtimes {
		b.WriteString(" " + r + " |")
	}
	b.WriteString("\n|---|---|---|" + strings.Repeat("---|", len(runtimes)) + "\n")
	for _, c := range cells {
		fmt.Fprintf(&b, "| %s | %s | %s |", c.Release, c.Cgroups, c.Way)
		for _, r := range runtimes {
			switch exact, of := c.Exact[r], c.Of[r]; {
			case of == 0:
				b.WriteString(" not run |")
			case exact == of:
				fmt.Fprintf(&b, " exact (%d) |", of)
			default:
				fmt.Fprintf(&b, " %d of %d |", exact, of)
			}
		}
		b.WriteString("\n")
	}
	b.WriteString("\nThe ways in, and what each does not show:\n\n")
	for _, n := range notSeen {
		fmt.Fprintf(&b, "- `%s`: %s\n", n[0], n[1])
	}
	b.WriteString(`
` + "`leastcap doctor`" + ` says which of them this machine has, and ` + "`--hook`" + ` takes one.
`)
	slices.SortFunc(costs, func(a, b Costs) int { return order(a.Kernel) - order(b.Kernel) })
	if len(costs) > 0 {
		b.WriteString(costsHead)
	}
	for _, k := range costs {
		base := k.Costs[0].Nanoseconds // of no probe
		for _, c := range k.Costs {
			seen := "-"
			if c.Seen > 0 {
				seen = fmt.Sprintf("%.0f %%", math.Floor(100*c.Seen))
			}
			fmt.Fprintf(&b, "| %s | %s | %.0f | %.2f | %s |\n", k.Release, c.Name, c.Nanoseconds-base, c.Nanoseconds/base, seen)
		}
	}
	_, err := io.WriteString(w, b.String())
	return err
}
