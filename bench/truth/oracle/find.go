// Package oracle finds what a workload really needs by running it: with the
// docker command, /proc and the kernel's process events, and with nothing of
// what leastcap decides by.
//
// Every capability that the workload has today is taken away by itself. It is
// required if the workload then fails: a check or helper, the exit status, or a
// process that is not what it was in all runs with everything. What fails is run
// a second time, and a third if that passed. The required ones together are run
// three times by themselves.
package oracle

import (
	"context"
	"fmt"
	"slices"

	"github.com/leastcap/leastcap/caps"
)

// try runs a workload with a set and says whether it works, and if not, why.
type try func(ctx context.Context, set caps.Set) (ok bool, why string, err error)

// found is what an exhaustive removal found.
type found struct {
	required caps.Set
	minimal  []caps.Set
	why      map[string]string
	flaky    []string // sets that passed and failed, with why
}

// maxSupersets bounds the search for sets where one of several will do.
const maxSupersets = 200

// find takes away each capability of the baseline.
func find(ctx context.Context, baseline caps.Set, run try) (found, error) {
	f := found{why: map[string]string{}}
	works := func(set caps.Set) (bool, string, error) { return f.decide(ctx, set, run) }
	for _, c := range baseline.Caps() {
		ok, why, err := works(baseline.Without(c))
		if err != nil {
			return f, err
		}
		if !ok {
			f.required = f.required.With(c)
			f.why[c.String()] = why
		}
	}
	for n := range 3 {
		ok, why, err := run(ctx, f.required)
		if err != nil {
			return f, err
		}
		if ok {
			continue
		}
		if n > 0 {
			f.flaky = append(f.flaky, fmt.Sprintf("%v (%s)", f.required, why))
		}
		// Some need has alternatives: any one of several, none of them by itself.
		if f.minimal, err = supersets(f.required, baseline&^f.required, works); err != nil {
			return f, fmt.Errorf("the required ones alone fail (%s): %w", why, err)
		}
		return f, nil
	}
	f.minimal = []caps.Set{f.required}
	return f, nil
}

// decide repeats what fails.
func (f *found) decide(ctx context.Context, set caps.Set, run try) (bool, string, error) {
	ok, why, err := run(ctx, set)
	if ok || err != nil {
		return ok, "", err
	}
	again, _, err := run(ctx, set)
	if !again || err != nil {
		return false, why, err
	}
	f.flaky = append(f.flaky, fmt.Sprintf("%v (%s)", set, why))
	third, _, err := run(ctx, set)
	return third, why, err
}

// supersets gives all smallest sets above required that work.
func supersets(required, rest caps.Set, works func(caps.Set) (bool, string, error)) ([]caps.Set, error) {
	layer, runs := []caps.Set{required}, 0
	for !rest.Empty() {
		var next, good []caps.Set
		for _, set := range layer {
			for _, c := range rest.Caps() {
				if s := set.With(c); s != set && !slices.Contains(next, s) {
					next = append(next, s)
				}
			}
		}
		for _, s := range next {
			if runs++; runs > maxSupersets {
				return nil, fmt.Errorf("no set found in %d runs", maxSupersets)
			}
			ok, _, err := works(s)
			if err != nil {
				return nil, err
			}
			if ok {
				good = append(good, s)
			}
		}
		if len(good) > 0 {
			return good, nil
		}
		if len(next) == 0 {
			break
		}
		layer = next
	}
	return nil, fmt.Errorf("no set works")
}

// narrower are the kernel's alternatives to a wider capability, in the order
// in which it asks: fs/namei.c generic_permission(), include/linux/capability.h
// (bpf_capable(), perfmon_capable(), checkpoint_restore_ns_capable()),
// block/ioprio.c ioprio_check_cap(), kernel/bpf/syscall.c, net/core/sock.c,
// kernel/fork.c copy_process(), kernel/fork.c mm_access().
var narrower = map[caps.Cap][]caps.Cap{
	caps.DacOverride: {caps.DacReadSearch},
	caps.SysAdmin:    {caps.SysNice, caps.NetAdmin, caps.Bpf, caps.Perfmon, caps.CheckpointRestore, caps.Syslog},
	caps.NetAdmin:    {caps.NetRaw},
	caps.SysPtrace:   {caps.Perfmon},
}
