//go:build linux

package kerneltest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"slices"
	"strconv"
	"strings"
)

// Run is one test program's run in a guest.
type Run struct {
	Name   string
	Status int    // of the program; -1 if it did not end
	Tests  []Test // the top-level ones, in order
	Output string // what belongs to no test
}

// Test is a top-level test, with its subtests.
type Test struct {
	Name    string
	Result  string // pass, fail or skip; empty if it did not end
	Output  string // of the test and its subtests
	Skipped []Skip // it or its subtests
	Passed  []string
	Failed  []string
}

// failed says whether a test of the run did.
func (r Run) failed() bool {
	return slices.ContainsFunc(r.Tests, func(t Test) bool { return len(t.Failed) > 0 })
}

// Skip is a test that was skipped, and what it said.
type Skip struct{ Name, Output string }

// Around each program's output the guest's script prints these marks.
const (
	beginMark = "@@ begin "
	doneMark  = "@@ done "
)

// Parse divides what a guest printed into its programs' runs.
func Parse(ctx context.Context, results []byte) ([]Run, error) {
	var runs []Run
	var body bytes.Buffer
	inside := false
	end := func(status int) error {
		r := &runs[len(runs)-1]
		r.Status = status
		inside = false
		return r.read(ctx, body.Bytes())
	}
	for line := range bytes.Lines(results) {
		text := strings.TrimRight(string(line), "\r\n")
		if name, ok := strings.CutPrefix(text, beginMark); ok {
			runs = append(runs, Run{Name: name})
			body.Reset()
			inside = true
			continue
		}
		// A program's last line may lack its end.
		if before, after, ok := strings.Cut(text, doneMark); ok && inside {
			status, err := strconv.Atoi(after)
			if err != nil {
				return runs, fmt.Errorf("%q is no end of a program", text)
			}
			body.WriteString(before + "\n")
			if err := end(status); err != nil {
				return runs, err
			}
			continue
		}
		if inside {
			body.Write(line)
		}
	}
	if inside {
		return runs, end(-1)
	}
	return runs, nil
}

// event is one of those that test2json makes (cmd/test2json).
type event struct{ Action, Test, Output string }

func (r *Run) read(ctx context.Context, text []byte) error {
	cmd := exec.CommandContext(ctx, "go", "tool", "test2json")
	cmd.Stdin = bytes.NewReader(text)
	out, err := output(cmd)
	if err != nil {
		return err
	}
	index := map[string]int{}
	said := map[string]string{} // by each single test
	sc := bufio.NewScanner(strings.NewReader(out))
	sc.Buffer(nil, 16<<20)
	for sc.Scan() {
		var e event
		if err := json.Unmarshal(sc.Bytes(), &e); err != nil {
			return fmt.Errorf("test2json: %w: %q", err, sc.Text())
		}
		if e.Test == "" {
			r.Output += e.Output
			continue
		}
		top, _, sub := strings.Cut(e.Test, "/")
		i, ok := index[top]
		if !ok {
			i = len(r.Tests)
			index[top] = i
			r.Tests = append(r.Tests, Test{Name: top})
		}
		t := &r.Tests[i]
		switch e.Action {
		case "output":
			t.Output += e.Output
			said[e.Test] += e.Output
		case "skip":
			t.Skipped = append(t.Skipped, Skip{e.Test, said[e.Test]})
		case "pass":
			t.Passed = append(t.Passed, e.Test)
		case "fail":
			t.Failed = append(t.Failed, e.Test)
		}
		if !sub && (e.Action == "pass" || e.Action == "fail" || e.Action == "skip") {
			t.Result = e.Action
		}
	}
	return sc.Err()
}
