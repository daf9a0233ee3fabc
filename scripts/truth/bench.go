package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"runtime"
	"slices"
	"time"

	"github.com/leastcap/leastcap/bench/truth"
	build "github.com/leastcap/leastcap/bench/truth/images"
	"github.com/leastcap/leastcap/bench/truth/run"
	"github.com/leastcap/leastcap/bench/truth/table"
)

// bench is the verb: it learns the workloads, one after the other, and
// compares.
func bench(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("bench", flag.ContinueOnError)
	leastcap := fl.String("leastcap", "bin/leastcap", "the program")
	markdown := fl.String("markdown", "", "also write the page to this file")
	rounds := fl.Int("rounds", 1, "how often everything is learned")
	parallel := fl.Int("parallel", 2, "learn's --parallel")
	short := fl.Bool("short", false, "only the subset of the tests")
	if err := fl.Parse(args); err != nil {
		return err
	}
	all, err := truth.Workloads()
	if err != nil {
		return err
	}
	ws, err := truth.Select(all, fl.Args())
	if err != nil {
		return err
	}
	if *short {
		ws = slices.DeleteFunc(slices.Clone(ws), func(w *truth.Workload) bool { return !w.Short })
	}
	known, err := truth.Committed()
	if err != nil {
		return err
	}
	if err := build.Build(ctx, ws, os.Stderr); err != nil {
		return err
	}
	var done [][]table.Row
	wrong := 0
	for round := range *rounds {
		var rows []table.Row
		for i, w := range ws {
			r := run.Learn(ctx, *leastcap, *parallel, w, known.Truths[w.Name])
			if ctx.Err() != nil {
				return ctx.Err()
			}
			rows = append(rows, r)
			verdict := "exact"
			if !r.Exact {
				wrong++
				verdict = fmt.Sprintf("NOT EXACT: missing %v, extra %v, %s", r.Missing, r.Extra, r.Problem)
			}
			fmt.Fprintf(os.Stderr, "round %d, %d of %d: %s: %v: %s (%d runs, %.1f s)\n", round+1, i+1, len(ws), w.Name, r.Learned, verdict, r.Runs, r.Seconds)
			if !r.Exact {
				for _, t := range r.Trials {
					fmt.Fprintln(os.Stderr, "   ", t)
				}
			}
		}
		if err := table.Text(os.Stdout, rows); err != nil {
			return err
		}
		done = append(done, rows)
	}
	if *markdown != "" {
		env := table.Environment{Date: time.Now().UTC().Format(time.DateOnly), Kernel: known.Kernel, Engine: known.Engine, CPUs: runtime.NumCPU()}
		var page bytes.Buffer
		if err := table.Markdown(&page, env, done); err != nil {
			return err
		}
		if err := os.WriteFile(*markdown, page.Bytes(), 0o644); err != nil {
			return err
		}
	}
	if wrong > 0 {
		return fmt.Errorf("%d of %d not exact", wrong, *rounds*len(ws))
	}
	return nil
}
