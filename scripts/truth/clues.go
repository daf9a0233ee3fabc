package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"

	"github.com/leastcap/leastcap/bench/truth"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/learn"
)

// clues is the verb: what the files of each workload suggest, for advise's test.
func clues(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("clues", flag.ExitOnError)
	output := flags.String("o", "advise/testdata/clues.json", "the file to write")
	if err := flags.Parse(args); err != nil {
		return err
	}
	all, err := truth.Workloads()
	if err != nil {
		return err
	}
	ws, err := truth.Select(all, flags.Args())
	if err != nil {
		return err
	}
	found := map[string]any{}
	for _, w := range ws {
		c, err := cluesOf(ctx, w)
		if err != nil {
			return fmt.Errorf("%s: %w", w.Name, err)
		}
		found[w.Name] = c
	}
	data, err := json.MarshalIndent(found, "", " ")
	if err != nil {
		return err
	}
	return os.WriteFile(*output, append(data, '\n'), 0o644)
}

func cluesOf(ctx context.Context, w *truth.Workload) (any, error) {
	workload, err := cli.New(ctx, w.Line())
	if err != nil {
		return nil, err
	}
	inst, err := workload.Prepare(ctx, engine.Grant{Baseline: true})
	if err != nil {
		return nil, err
	}
	defer inst.Remove(context.WithoutCancel(ctx))
	helpers := make([]string, len(w.Exec))
	for i, h := range w.Exec {
		helpers[i] = learn.ParseCommand(h).Command
	}
	return learn.Clues(ctx, inst.(engine.Files), helpers)
}
