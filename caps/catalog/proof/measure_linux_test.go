package proof_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog/proof"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/embedded"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/proc"
)

// laboratory is where the experiments are made: a root file system, and a directory of
// the host with one that containers share and one that they do not.
type laboratory struct {
	root, shared string
	all          caps.Set
}

func newLaboratory(t *testing.T) *laboratory {
	t.Helper()
	testenv.Need(t, testenv.Root, testenv.Feature("the embedded runtime", embedded.Available))
	// What a killed test leaves under such a name, the next one of engine/embedded removes.
	dir, err := os.MkdirTemp("", "leastcap-embedded-"+string(proc.Self())+".")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Setenv("LEASTCAP_ROOT", filepath.Join(dir, "state"))
	l := &laboratory{root: filepath.Join(dir, "root"), shared: filepath.Join(dir, "shared")}
	build(t, dir, l.root)
	if l.all, err = proc.Bounding(os.Getpid()); err != nil {
		t.Fatal(err)
	}
	return l
}

// build makes the program, and has it make its root file system in root, a secret in dir,
// and the secret's handle in dir/shared.
func build(t *testing.T, dir, root string) {
	t.Helper()
	shared := filepath.Join(dir, "shared")
	if err := os.Mkdir(shared, 0o755); err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(dir, "operate")
	build := exec.Command("go", "build", "-ldflags=-s -w", "-o", program, "./testdata/operate")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	if out, err := exec.Command(program, "tree", root, dir, shared).CombinedOutput(); err != nil {
		t.Fatalf("%v %s", err, out)
	}
}

// bare are the flags of a container in which nothing hides the kernel's answer.
var bare = []string{"--security-opt", "seccomp=unconfined", "--network=none", "--tmpfs", "/tmp:mode=1777"}

// measure makes an experiment in one container, in one of the ways of operate.
func (l *laboratory) measure(set caps.Set, way, flags []string) (proof.Outcome, error) {
	words := []string{"docker", "run"}
	for _, f := range flags {
		words = append(words, strings.ReplaceAll(f, "{shared}", l.shared))
	}
	line, err := cli.Parse(append(words, append([]string{"root", "/operate"}, way...)...))
	if err != nil {
		return "", err
	}
	c, err := cli.Container(line, nil)
	if err != nil {
		return "", err
	}
	c.State = caps.State{Effective: set, Permitted: set, Bounding: set}
	var out, errOut bytes.Buffer
	k, err := embedded.Run(context.Background(), embedded.Options{Container: c, RootFS: l.root, Stdout: &out, Stderr: &errOut})
	if err != nil {
		return "", err
	}
	exit := k.Wait()
	if err := errors.Join(exit.Err, k.Remove()); err != nil {
		return "", err
	}
	var r struct {
		Outcome proof.Outcome
		Error   string
	}
	if err := json.Unmarshal(out.Bytes(), &r); err != nil {
		return "", fmt.Errorf("exit status %d: %w: %s%s", exit.Code, err, out.String(), errOut.String())
	}
	if r.Error != "" {
		return "", errors.New(r.Error)
	}
	return r.Outcome, nil
}

// TestMeasured makes every experiment. What this machine cannot show is checked to be so
// for the reason that the table gives.
func TestMeasured(t *testing.T) {
	l := newLaboratory(t)
	running := version(read("/proc/sys/kernel/osrelease"))
	for _, e := range proof.All() {
		t.Run(e.Cap.String()+"/"+e.Name, func(t *testing.T) {
			t.Parallel()
			if older(running, e.Since) {
				t.Logf("Linux %d.%d is older than %s: %s", running[0], running[1], e.Since, e.Before)
				return
			}
			if f := lacking(t, e); f != nil {
				if e.Measured == "" {
					testenv.Need(t, testenv.Feature(f.Means, func() error { return errors.New("this machine has none") }))
				}
				l.absent(t, e, f)
				return
			}
			if e.Measured == proof.Never {
				t.Errorf("this machine has %v, and so can show it: take the line %q out of proofs.yaml", e.Needs, "measured: "+proof.Never)
			}
			if !l.hold(t, e) && e.Measured == "" {
				testenv.Need(t, testenv.Feature(e.Cap.String(), func() error { return errors.New("this machine withholds it") }))
			}
		})
	}
}

// version reads "6.18.44-fc": the first two numbers.
func version(release string) (v [2]int) {
	_, _ = fmt.Sscanf(release, "%d.%d", &v[0], &v[1]) // 0.0 is older than all
	return v
}

// older reports whether a kernel is older than the one named; nothing is older than "".
func older(kernel [2]int, than string) bool {
	other := version(than)
	return slices.Compare(kernel[:], other[:]) < 0
}

// A run is one of an experiment's.
type run struct {
	what  string
	set   caps.Set
	way   []string
	flags []string
	want  proof.Outcome
}

// unmasked: a new /proc may be mounted where nothing of the old one is hidden.
var unmasked = []string{"--security-opt", "systempaths=unconfined"}

// runs are those of an experiment on a machine that has some capabilities. full says
// that they show that the operation works with the capability.
func runs(e proof.Experiment, machine caps.Set) (rs []run, full bool) {
	also, others := caps.Of(e.Also...), caps.Of(e.Others...)
	flags := slices.Concat(bare, e.Flags)
	plain := func(what string, set caps.Set, want proof.Outcome) {
		rs = append(rs, run{what, set, []string{"do", e.Name}, flags, want})
	}
	rs = append(rs, run{"without it, confined by Docker", also, []string{"do", e.Name}, docker(e), e.Docker.Without})
	plain("without it", also, e.Without)
	plain("with all but it and its substitutes", machine.Minus(others.With(e.Cap)), e.Without)
	if machine.Has(e.Cap) {
		full = true
		plain("with it", also.With(e.Cap), e.With)
		for _, o := range e.Others {
			plain("with "+o.String()+" in its place", also.With(o), e.With)
		}
		rs = append(rs, run{"with it, confined by Docker", also.With(e.Cap), []string{"do", e.Name}, docker(e), e.Docker.With})
	} else if e.New == e.With {
		// In a user namespace of its own a process has all capabilities, also those that
		// the machine withholds (kernel/user_namespace.c:set_cred_user_ns).
		full = true
		anew := func(what string, set caps.Set, want proof.Outcome) {
			rs = append(rs, run{what, machine, []string{"namespaces", e.Name, fmt.Sprintf("%x", uint64(set))}, slices.Concat(flags, unmasked), want})
		}
		anew("with it, in a new user namespace", also.With(e.Cap), e.With)
		anew("without it, in a new user namespace", also, e.Without)
		anew("with all but it and its substitutes, in a new user namespace", caps.All().Minus(others.With(e.Cap)), e.Without)
	}
	rs = append(rs,
		run{"in a child user namespace", machine, []string{"userns", e.Name}, flags, e.Child},
		run{"with all namespaces new", machine, []string{"namespaces", e.Name}, slices.Concat(flags, unmasked), e.New})
	return rs, full
}

// docker are the flags of a container that is confined as Docker does it.
func docker(e proof.Experiment) []string {
	flags := []string{"--network=none", "--tmpfs", "/tmp:mode=1777"}
	for i := 0; i < len(e.Flags); i++ {
		if e.Flags[i] == "--sysctl" || e.Flags[i] == "--security-opt" { // these loosen it
			i++
			continue
		}
		flags = append(flags, e.Flags[i])
	}
	return flags
}

// hold makes all runs of an experiment, and reports whether they show all of it.
func (l *laboratory) hold(t *testing.T, e proof.Experiment) (full bool) {
	t.Helper()
	rs, full := runs(e, l.all)
	for _, r := range rs {
		got, err := l.measure(r.set, r.way, r.flags)
		switch {
		case err != nil:
			t.Errorf("%s: %s: %v", e.Operation, r.what, err)
		case got != r.want:
			t.Errorf("%s: %s: %s, want %s", e.Operation, r.what, got, r.want)
		}
	}
	return full
}

// absent checks that the operation cannot be shown here, whatever a process may do.
func (l *laboratory) absent(t *testing.T, e proof.Experiment, f *proof.Feature) {
	t.Helper()
	t.Logf("this machine cannot show it: it lacks %s", f.Means)
	try := func(set caps.Set, flags []string, want proof.Outcome) {
		t.Helper()
		got, err := l.measure(set, []string{"do", e.Name}, flags)
		switch {
		case err != nil:
			t.Errorf("%s: %v", e.Operation, err)
		case want != "" && got != want:
			t.Errorf("%s: %s with %v, want %s: it is not true that this machine lacks %s", e.Operation, got, set, want, f.Means)
		}
	}
	try(l.all, slices.Concat(bare, e.Flags), f.Absent)
	if e.Docker.With != e.With { // that is measured all the same: the profile comes first
		try(caps.Of(e.Also...).With(e.Cap).Intersect(l.all), docker(e), e.Docker.With)
	}
}
