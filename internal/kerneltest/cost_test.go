//go:build linux && cgo

package kerneltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/host"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/usage"
)

// BenchmarkWays measures what each way in of this kernel adds to a system call that makes
// one check, in a scope and beside it, and what bcc's capable adds where there is one. The
// rounds alternate, and the best flood of all counts: what else the machine does only adds.
func BenchmarkWays(b *testing.B) {
	testenv.Need(b, testenv.Root, testenv.BPF, testenv.MadeBy("gcc", "workload"))
	const rounds = 3
	b.Setenv("LEASTCAP_ROOT", filepath.Join(b.TempDir(), "state"))
	times, seen := map[string][]float64{}, map[string][]float64{}
	var names []string
	add := func(name string, ns, saw float64) {
		if !slices.Contains(names, name) {
			names = append(names, name)
		}
		times[name], seen[name] = append(times[name], ns), append(seen[name], saw)
		fmt.Printf("%s: %.0f ns\n", name, ns) // a guest that is silent for minutes is taken to hang
	}
	for range b.N {
		for range rounds {
			add("nothing", flood(b), 0)
			for _, way := range notSeen {
				p, err := probe.Open(probe.Options{Hook: way[0]})
				if err != nil {
					if len(times["nothing"]) == 1 {
						b.Logf("%s: %v", way[0], err)
					}
					continue
				}
				ns, saw := floodScope(b, p)
				add(way[0], ns, saw)
				add(way[0]+", elsewhere", flood(b), 0)
				p.Close()
			}
			// It needs kprobes, as our way of that name does.
			if _, err := exec.LookPath("capable"); err == nil && times["kprobe/cap_capable"] != nil {
				ns, saw := floodBeside(b, "capable")
				add("bcc's capable", ns, saw)
			}
		}
	}
	b.ReportMetric(0, "ns/op")
	var costs []Cost
	for _, name := range names {
		c := Cost{name, slices.Min(times[name]), slices.Min(seen[name])}
		costs = append(costs, c)
		b.ReportMetric(c.Nanoseconds, "ns/"+strings.ReplaceAll(name, " ", "-"))
	}
	data, err := json.Marshal(costs)
	if err != nil {
		b.Fatal(err)
	}
	fmt.Printf("\n%s%s\n", costMark, data)
}

const (
	floods = 5
	calls  = 20_000
)

// parseFlood reads the nanoseconds that a flood of calls says that it took.
func parseFlood(b *testing.B, out string) float64 {
	b.Helper()
	ns, err := strconv.ParseFloat(strings.TrimSpace(out), 64)
	if err != nil {
		b.Fatalf("a flood said %q", out)
	}
	return ns / calls
}

// flood is the best of several, outside any scope.
func flood(b *testing.B) float64 {
	b.Helper()
	best := 0.0
	for range floods {
		out, err := exec.Command(static(b, "workload"), "flood", "setgid", "1", strconv.Itoa(calls)).Output()
		if err != nil {
			b.Fatal(err)
		}
		if ns := parseFlood(b, string(out)); best == 0 || ns < best {
			best = ns
		}
	}
	return best
}

// floodScope is the best of several in scopes of a probe, and which part of the checks
// was counted in the worst.
func floodScope(b *testing.B, p *probe.Probe) (best, seen float64) {
	b.Helper()
	seen = 1
	command, err := host.New(inside([]string{"ROOT/bin/workload", "flood", "setgid", "1", strconv.Itoa(calls)}, rootFS(b)), "", p.Hierarchy())
	if err != nil {
		b.Fatal(err)
	}
	defer command.Clean(b.Context())
	for range floods {
		inst, err := command.Prepare(b.Context(), engine.Grant{Set: dockers})
		if err != nil {
			b.Fatal(err)
		}
		w, err := p.Watch(inst.Scope())
		if err != nil {
			b.Fatal(err)
		}
		if err := inst.Start(b.Context()); err != nil {
			b.Fatal(err)
		}
		<-inst.Exited()
		out := inst.Logs(b.Context(), 20)
		if e := inst.Exit(); e.Err != nil || e.Code != 0 {
			b.Fatalf("%v: %s", e, out)
		}
		r, err := w.Record()
		if err != nil {
			b.Fatal(err)
		}
		w.End()
		if err := inst.Remove(b.Context()); err != nil {
			b.Fatal(err)
		}
		var n uint64
		for _, k := range r.Checks {
			if k.Cap == caps.Setgid && k.Verdict == usage.Granted {
				n += k.Count
			}
		}
		if ns := parseFlood(b, out); best == 0 || ns < best {
			best = ns
		}
		seen = min(seen, float64(n)/calls)
	}
	return best, seen
}

// floodBeside is the best of several while a program looks that prints each check, and
// which part of them it printed.
func floodBeside(b *testing.B, program string) (best, seen float64) {
	b.Helper()
	var out, errOut bytes.Buffer
	cmd := exec.Command(program)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	time.Sleep(3 * time.Second) // it says nothing when it begins
	best = flood(b)
	time.Sleep(time.Second)
	_ = cmd.Process.Signal(unix.SIGINT)
	if err := cmd.Wait(); err != nil && !strings.Contains(err.Error(), "interrupt") {
		b.Fatalf("%s: %v\n%s", program, err, errOut.Bytes())
	}
	n := 0
	for line := range bytes.Lines(out.Bytes()) {
		if bytes.Contains(line, []byte(" CAP_SETGID")) && bytes.Contains(line, []byte(" workload ")) {
			n++
		}
	}
	return best, float64(n) / (floods * calls)
}
