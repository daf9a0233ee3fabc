// The truth bench's program: it builds the images of the corpus, has the
// oracle find what each workload needs, and compares what leastcap learns.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

const usage = `usage: go run ./scripts/truth VERB [flags] [WORKLOAD...]

  images   build the images of the workloads (all, or the named ones)
  oracle   find what each workload really needs, and write bench/truth/oracle.json
  bench    learn each workload, compare, and write docs/accuracy.md
  clues    read what the files of each workload suggest, and write advise/testdata/clues.json

Each verb's -h lists its flags.`

var verbs = map[string]func(ctx context.Context, args []string) error{
	"images": images,
	"oracle": oracle,
	"bench":  bench,
	"clues":  clues,
}

func main() {
	if len(os.Args) < 2 || verbs[os.Args[1]] == nil {
		fmt.Fprintln(os.Stderr, usage)
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := verbs[os.Args[1]](ctx, os.Args[2:]); err != nil {
		fmt.Fprintf(os.Stderr, "truth: error: %v\n", err)
		stop()
		os.Exit(1)
	}
}
