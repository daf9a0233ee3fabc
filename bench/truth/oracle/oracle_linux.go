package oracle

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/leastcap/leastcap/bench/truth"
	"github.com/leastcap/leastcap/caps"
)

// dockerDefault is what Docker gives since 1.2.0 (moby, oci/caps/defaults.go).
const dockerDefault = caps.Set(0xa80425fb)

// baselines is how often the workload runs with all that it has.
const baselines = 3

// Oracle finds truths. Close it at the end.
type Oracle struct {
	c              *connector
	kernel, engine string
}

// New begins to listen to the kernel's process events.
func New(ctx context.Context) (*Oracle, error) {
	version, err := docker(ctx, "version", "-f", "{{.Server.Version}}")
	if err != nil {
		return nil, err
	}
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return nil, err
	}
	c, err := newConnector()
	if err != nil {
		return nil, err
	}
	return &Oracle{c, unix.ByteSliceToString(u.Release[:]), "Docker " + version}, nil
}

// Close ends the listening and removes what is left of interrupted runs.
func (o *Oracle) Close() error {
	o.c.close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	out, err := docker(ctx, "ps", "-aq", "--filter", fmt.Sprintf("label=%s=%d", label, os.Getpid()))
	for id := range strings.FieldsSeq(out) {
		_, rerr := docker(ctx, "rm", "-f", "-v", id)
		err = errors.Join(err, rerr)
	}
	return err
}

// Find finds what a workload needs. flaky names sets that passed and failed.
func (o *Oracle) Find(ctx context.Context, w *truth.Workload) (t *truth.Truth, flaky []string, err error) {
	began := time.Now()
	r := &runner{w: w, c: o.c}
	baseline, err := today(w.Flags)
	if err != nil {
		return nil, nil, err
	}
	expect, err := r.expect(ctx)
	if err != nil {
		return nil, nil, err
	}
	run := func(ctx context.Context, set caps.Set) (bool, string, error) {
		out, err := r.run(ctx, &set, expect)
		return out.ok, out.why, err
	}
	f, err := find(ctx, baseline, run)
	if err != nil {
		return nil, f.flaky, err
	}
	t = &truth.Truth{
		Recipe: w.Recipe(), Date: began.UTC().Format(time.DateOnly), Kernel: o.kernel, Engine: o.engine,
		Baseline: baseline, Required: f.required, Minimal: f.minimal, Why: f.why,
	}
	for _, c := range f.required.Caps() {
		for _, n := range narrower[c] {
			if f.required.Has(n) {
				continue
			}
			set := f.required.Without(c).With(n)
			ok, _, err := f.decide(ctx, set, run)
			if err != nil && strings.Contains(err.Error(), "unknown capability") {
				continue // newer than this engine, which cannot give it
			}
			if err != nil {
				return nil, f.flaky, err
			}
			t.Substitutes = append(t.Substitutes, truth.Substitute{For: c, Use: n, Passed: ok})
		}
	}
	if t.Packages, err = versions(ctx, w); err != nil {
		return nil, f.flaky, err
	}
	t.Runs, t.Seconds = r.runs, time.Since(began).Round(100*time.Millisecond).Seconds()
	return t, f.flaky, nil
}

// expect runs the workload as it is.
func (r *runner) expect(ctx context.Context) ([]expectation, error) {
	all := make([]expectation, max(r.w.Starts, 1))
	for n := range baselines {
		o, err := r.run(ctx, nil, nil)
		if err != nil {
			return nil, err
		}
		if !o.ok {
			return nil, fmt.Errorf("it fails with all that it has: %s", o.why)
		}
		for i, s := range o.starts {
			e := &all[i]
			if n == 0 {
				e.must, e.may, e.ended = maps.Clone(s.facts), map[string]bool{}, s.ended
			}
			maps.DeleteFunc(e.must, func(f string, _ bool) bool { return !s.facts[f] })
			maps.Copy(e.may, s.facts)
			e.exits = append(e.exits, s.exit)
			e.ready, e.stop = max(e.ready, s.ready), max(e.stop, s.stop)
		}
	}
	return all, nil
}

// today is what the flags give by Docker's rules.
func today(flags []string) (caps.Set, error) {
	set := dockerDefault
	for i, f := range flags {
		var name string
		switch {
		case (f == "--cap-add" || f == "--cap-drop") && i+1 < len(flags):
			name = flags[i+1]
		case strings.HasPrefix(f, "--cap-"):
			f, name, _ = strings.Cut(f, "=")
		default:
			continue
		}
		s, all, err := caps.ParseList([]string{name})
		switch {
		case err != nil:
			return 0, err
		case f == "--cap-drop" && all:
			set = 0
		case f == "--cap-drop":
			set = set.Minus(s)
		case all:
			return 0, errors.New("--cap-add ALL: the oracle knows no such baseline")
		default:
			set |= s
		}
	}
	return set, nil
}

// versions are those of the packages in the image.
func versions(ctx context.Context, w *truth.Workload) (map[string]string, error) {
	if len(w.Packages) == 0 {
		return nil, nil
	}
	args := append([]string{"run", "--rm", "--label", fmt.Sprintf("%s=%d", label, os.Getpid()), "--entrypoint", "dpkg-query",
		truth.SharedImage, "-W", "-f", `${Package} ${Version}\n`}, w.Packages...)
	out, err := docker(ctx, args...)
	if err != nil {
		return nil, err
	}
	all := map[string]string{}
	for l := range strings.Lines(out) {
		if name, version, ok := strings.Cut(strings.TrimSpace(l), " "); ok {
			all[name] = version
		}
	}
	return all, nil
}
