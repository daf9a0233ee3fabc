package main

import (
	"context"
	"flag"
	"os"
	"slices"

	build "github.com/leastcap/leastcap/bench/truth/images"

	"github.com/leastcap/leastcap/bench/truth"
)

// images is the verb: all images, or those of the named workloads.
func images(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("images", flag.ExitOnError)
	short := flags.Bool("short", false, "of these only those that \"make test\" wants")
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
	if *short {
		ws = slices.DeleteFunc(slices.Clone(ws), func(w *truth.Workload) bool { return !w.Short })
	}
	return build.Build(ctx, ws, os.Stderr)
}
