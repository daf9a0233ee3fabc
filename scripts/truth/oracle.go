package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/leastcap/leastcap/bench/truth"
	build "github.com/leastcap/leastcap/bench/truth/images"
	finder "github.com/leastcap/leastcap/bench/truth/oracle"
)

// oracle is the verb: it finds the truths, and keeps each as soon as it is
// found.
func oracle(ctx context.Context, args []string) error {
	fl := flag.NewFlagSet("oracle", flag.ContinueOnError)
	parallel := fl.Int("parallel", 2, "how many workloads at the same time")
	file := fl.String("out", "bench/truth/oracle.json", "where the truths are kept")
	missing := fl.Bool("missing", false, "only those without a truth of their present definition")
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
	known, err := readOracle(*file)
	if err != nil {
		return err
	}
	if *missing {
		ws = slices.DeleteFunc(slices.Clone(ws), func(w *truth.Workload) bool {
			t := known.Truths[w.Name]
			return t != nil && t.Recipe == w.Recipe()
		})
	}
	if err := build.Build(ctx, ws, os.Stderr); err != nil {
		return err
	}
	o, err := finder.New(ctx)
	if err != nil {
		return err
	}
	var mu sync.Mutex
	var bad []string
	keep := func(w *truth.Workload, t *truth.Truth, flaky []string, err error) error {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			bad = append(bad, w.Name)
			fmt.Printf("%-18s %v\n", w.Name, err)
			return nil
		case len(flaky) > 0:
			bad = append(bad, w.Name)
			fmt.Printf("%-18s flaky: %s\n", w.Name, strings.Join(flaky, "; "))
		}
		fmt.Printf("%-18s %v (%d runs, %.1f s)\n", w.Name, t.Required, t.Runs, t.Seconds)
		for _, gone := range unknown(known, all) {
			delete(known.Truths, gone)
		}
		known.Truths[w.Name] = t
		known.Date, known.Kernel, known.Engine = time.Now().UTC().Format(time.DateOnly), t.Kernel, t.Engine
		return writeOracle(*file, known)
	}
	queue := make(chan *truth.Workload)
	var wg sync.WaitGroup
	errs := make([]error, max(*parallel, 1))
	for i := range errs {
		wg.Go(func() {
			for w := range queue {
				t, flaky, err := o.Find(ctx, w)
				if ctx.Err() == nil {
					errs[i] = errors.Join(errs[i], keep(w, t, flaky, err))
				}
			}
		})
	}
	for _, w := range ws {
		select {
		case queue <- w:
		case <-ctx.Done():
		}
	}
	close(queue)
	wg.Wait()
	err = errors.Join(append(errs, ctx.Err(), o.Close())...)
	if err == nil && len(bad) > 0 {
		slices.Sort(bad)
		err = fmt.Errorf("no truth, or a doubtful one: %s", strings.Join(bad, ", "))
	}
	return err
}

// unknown are the truths of workloads that are gone.
func unknown(o *truth.Oracle, all []*truth.Workload) []string {
	var gone []string
	for name := range o.Truths {
		if !slices.ContainsFunc(all, func(w *truth.Workload) bool { return w.Name == name }) {
			gone = append(gone, name)
		}
	}
	return gone
}

func readOracle(file string) (*truth.Oracle, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("%w (run this in the top directory of the source)", err)
	}
	o := &truth.Oracle{}
	if err := json.Unmarshal(data, o); err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	if o.Truths == nil {
		o.Truths = map[string]*truth.Truth{}
	}
	return o, nil
}

func writeOracle(file string, o *truth.Oracle) error {
	var data bytes.Buffer
	e := json.NewEncoder(&data)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(o); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".oracle-*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data.Bytes())
	err = errors.Join(err, tmp.Chmod(0o644), tmp.Close())
	if err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
