// Package run learns a workload of the corpus with the real program.
package run

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/leastcap/leastcap/bench/truth"
	"github.com/leastcap/leastcap/bench/truth/table"
	"github.com/leastcap/leastcap/usage"
)

// Learn has the program at leastcap learn a workload, and compares.
func Learn(ctx context.Context, leastcap string, parallel int, w *truth.Workload, t *truth.Truth) table.Row {
	p, err := learn(ctx, leastcap, parallel, w)
	return table.Compare(w, t, p, err)
}

func learn(ctx context.Context, leastcap string, parallel int, w *truth.Workload) (*usage.Profile, error) {
	dir, err := os.MkdirTemp("", "leastcap-bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	file := filepath.Join(dir, "profile.json")
	args := []string{"learn", "--quiet", "--no-save", "--output", "flags", "--profile", file, "--keep", "required", "--parallel", strconv.Itoa(parallel)}
	for _, c := range w.Checks {
		args = append(args, "--check", c)
	}
	for _, e := range w.Exec {
		args = append(args, "--exec", e)
	}
	if w.Starts > 1 {
		args = append(args, "--starts", strconv.Itoa(w.Starts))
	}
	args = append(append(args, "--"), w.Line()...)
	cmd := exec.CommandContext(ctx, leastcap, args...)
	var errOut bytes.Buffer
	cmd.Stderr = &errOut
	// It removes what it started.
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = time.Minute
	err = cmd.Run()
	data, rerr := os.ReadFile(file)
	if rerr != nil {
		return nil, fmt.Errorf("%w: %s", errors.Join(err), strings.TrimSpace(errOut.String()))
	}
	p, perr := usage.Parse(data)
	var exit *exec.ExitError
	if errors.As(err, &exit) && (exit.ExitCode() == 1 || exit.ExitCode() == 3) {
		err = nil // not proven, or incomplete: the profile says so
	}
	return p, errors.Join(err, perr)
}
