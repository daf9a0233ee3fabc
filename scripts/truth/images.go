package main

import (
	"context"
	"os"

	build "github.com/leastcap/leastcap/bench/truth/images"

	"github.com/leastcap/leastcap/bench/truth"
)

// images is the verb: all images, or those of the named workloads.
func images(ctx context.Context, args []string) error {
	all, err := truth.Workloads()
	if err != nil {
		return err
	}
	ws, err := truth.Select(all, args)
	if err != nil {
		return err
	}
	return build.Build(ctx, ws, os.Stderr)
}
