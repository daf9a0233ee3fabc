package usage_test

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// learned is a profile as learn writes one: the sets part the baseline, and each
// capability that was used has a trial without it.
func learned(baseline, required, optional, used caps.Set) *usage.Profile {
	p := &usage.Profile{
		Version: usage.Version, Created: time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC), Kernel: "6.12.9", Hook: "fentry",
		Subject:  usage.Subject{Kind: "container", Engine: "docker", Image: "db:1", ImageID: "sha256:1", Command: []string{"docker", "run", "db:1"}},
		Baseline: baseline, Required: required, Optional: optional, Used: used, Unused: baseline &^ (required | optional | used),
		Recommended: required | used, Keep: "required", Proven: used.Empty(), Runs: 2, Complete: true, Seconds: 3,
		Trials: []usage.Trial{{Kind: usage.Baseline, Set: baseline, Passed: true}},
		Sets:   map[usage.Phase]usage.Sets{usage.Start: {Granted: required | optional | used}},
	}
	for _, c := range baseline.Caps() {
		f := usage.Finding{Cap: c, Status: usage.Unused}
		switch {
		case required.Has(c):
			f.Status = usage.Required
		case optional.Has(c):
			f.Status = usage.Optional
		case used.Has(c):
			f.Status = usage.Used
		}
		if f.Status != usage.Unused {
			f.Reasons = []string{"check"}
			f.Checks = []usage.Check{{Cap: c, Verdict: usage.Granted, Phase: usage.Start, Syscall: "x", Count: 1, Process: usage.Process{Comm: "db"}}}
		}
		if (required | optional).Has(c) {
			f.Without = &usage.Proof{Trial: len(p.Trials), Passed: optional.Has(c), Reason: "without " + c.String()}
			p.Trials = append(p.Trials, usage.Trial{Kind: usage.Remove, Set: (required | optional).Without(c), Removed: caps.Of(c), Passed: optional.Has(c)})
		}
		p.Capabilities = append(p.Capabilities, f)
	}
	spell(p)
	return p
}

// spell writes down what to type, as the engine's package does.
func spell(p *usage.Profile) {
	p.Use.Flags = []string{"--cap-drop=ALL"}
	for _, n := range slices.Sorted(slices.Values(p.Recommended.Docker())) {
		p.Use.Flags = append(p.Use.Flags, "--cap-add="+n)
	}
	p.Use.Command = slices.Concat([]string{"docker", "run"}, p.Use.Flags, []string{"--security-opt", "seccomp=unconfined", "db:1"})
}

func merge(t *testing.T, in ...usage.Named) *usage.Profile {
	t.Helper()
	p, err := usage.Merge(false, in...)
	if err != nil {
		t.Fatal(err)
	}
	whole(t, p)
	return p
}

// whole holds what is true of every merged profile.
func whole(t *testing.T, p *usage.Profile) {
	t.Helper()
	if p.Required|p.Optional|p.Used|p.Unused != p.Baseline|p.Required ||
		p.Required.Len()+p.Optional.Len()+p.Used.Len()+p.Unused.Len() != (p.Baseline|p.Required).Len() {
		t.Errorf("the sets do not part the baseline %v: %v, %v, %v, %v", p.Baseline, p.Required, p.Optional, p.Used, p.Unused)
	}
	for _, f := range p.Capabilities {
		if f.Without == nil {
			continue
		}
		if n := f.Without.Trial; n < 0 || n >= len(p.Trials) || !p.Trials[n].Removed.Has(f.Cap) || p.Trials[n].Passed != f.Without.Passed {
			t.Errorf("%v: without refers to trial %d, which is of something else", f.Cap, n)
		}
	}
	data, err := p.Marshal()
	if err != nil {
		t.Fatal(err)
	}
	back, err := usage.Parse(data)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(p, back, cmpopts.EquateEmpty()); d != "" {
		t.Errorf("written and read back (-want +got):\n%s", d)
	}
}

func named(name string, p *usage.Profile) usage.Named { return usage.Named{Name: name, Profile: p} }

func TestMerge(t *testing.T) {
	base := caps.Of(caps.Chown, caps.Setuid, caps.Setgid, caps.Kill, caps.Fowner)
	fresh := learned(base, caps.Of(caps.Chown, caps.Setuid), 0, 0)
	used := learned(base.With(caps.NetAdmin), caps.Of(caps.Setuid, caps.Kill), caps.Of(caps.Chown, caps.Setgid), 0)
	used.Kernel, used.Subject.Engine = "6.1.0", "podman"
	used.Notes, used.Lost = []string{"a note"}, map[string]uint64{"evidence": 2}
	used.Complete = false
	p := merge(t, named("fresh.json", fresh), named("used.json", used))

	if p.Required != caps.Of(caps.Chown, caps.Setuid, caps.Kill) || p.Optional != caps.Of(caps.Setgid) || p.Recommended != p.Required ||
		p.Baseline != base.With(caps.NetAdmin) || p.Unused != caps.Of(caps.Fowner, caps.NetAdmin) {
		t.Errorf("sets: %+v", p)
	}
	if p.Proven || p.Complete || p.Runs != 0 || p.Lost["evidence"] != 2 || p.Seconds != 6 || p.Kernel != "6.1.0, 6.12.9" {
		t.Errorf("proven %t, complete %t, runs %d, lost %v, %v s, kernel %s", p.Proven, p.Complete, p.Runs, p.Lost, p.Seconds, p.Kernel)
	}
	want := []usage.Conflict{
		{Cap: caps.Chown, Claims: []usage.Claim{
			{Source: "fresh.json", Status: usage.Required, Kept: true, Phases: []usage.Phase{usage.Start}},
			{Source: "used.json", Status: usage.Optional, Phases: []usage.Phase{usage.Start}},
		}},
		{Cap: caps.Kill, Claims: []usage.Claim{
			{Source: "fresh.json", Status: usage.Unused},
			{Source: "used.json", Status: usage.Required, Kept: true, Phases: []usage.Phase{usage.Start}},
		}},
	}
	if d := cmp.Diff(want, p.Conflicts); d != "" {
		t.Error(d)
	}
	if got := strings.Join(p.Use.Command, " "); got != "docker run --cap-drop=ALL --cap-add=CHOWN --cap-add=KILL --cap-add=SETUID --security-opt seccomp=unconfined db:1" {
		t.Error(got)
	}
	notes := strings.Join(p.Notes, "\n")
	for _, n := range []string{
		"incomplete: used.json", "proven in parts", "kernels differ: 6.12.9 (fresh.json); 6.1.0 (used.json)",
		"engines differ: docker (fresh.json); podman (used.json)",
		"baselines differ, their union is taken; beyond what all have: none (fresh.json); net_admin (used.json)", "used.json: a note",
	} {
		if !strings.Contains(notes, n) {
			t.Errorf("no note %q in:\n%s", n, notes)
		}
	}
	// Chown's trial is the one that failed, not the one that passed elsewhere.
	for _, f := range p.Capabilities {
		if f.Cap == caps.Chown && (f.Without == nil || f.Without.Passed || f.Status != usage.Required || f.Checks[0].Count != 2) {
			t.Errorf("%+v", f)
		}
	}
	// What was merged is as it was.
	if fresh.Trials[0].Kind != usage.Baseline || len(fresh.Trials) != 3 || len(used.Notes) != 1 || fresh.Merged != nil {
		t.Error("merge changed its input")
	}
}

func TestMergeProven(t *testing.T) {
	base := caps.Of(caps.Chown, caps.Setuid)
	a, b := learned(base, base, 0, 0), learned(base, base, 0, 0)
	b.Seconds = 4
	p := merge(t, named("a", a), named("b", b))
	if !p.Proven || p.Runs != 4 || len(p.Conflicts) != 0 || len(p.Notes) != 0 || len(p.Merged) != 2 {
		t.Errorf("%+v", p)
	}
	b.Proven = false
	if p = merge(t, named("a", a), named("b", b)); p.Proven || !strings.Contains(p.Notes[0], "not proven: b") {
		t.Errorf("proven %t, %q", p.Proven, p.Notes)
	}
}

func TestMergeUse(t *testing.T) {
	a := learned(caps.Of(caps.Kill, caps.Chown), caps.Of(caps.Kill), 0, 0)
	b := learned(caps.Of(caps.Kill, caps.Chown), caps.Of(caps.Chown), 0, 0)
	for name, tt := range map[string]struct {
		command, want []string
	}{
		"as learn writes it": {[]string{"docker", "run", "--cap-drop=ALL", "--cap-add=KILL", "i"}, []string{"docker", "run", "--cap-drop=ALL", "--cap-add=CHOWN", "--cap-add=KILL", "i"}},
		"another set":        {[]string{"docker", "run", "--cap-drop=ALL", "--cap-add=FOWNER", "i"}, nil},
		"more":               {[]string{"docker", "run", "--cap-drop=ALL", "--cap-add=KILL", "--cap-add=FOWNER", "i"}, nil},
		"cut off":            {[]string{"docker", "run", "--cap-drop=ALL"}, nil},
		"none":               {[]string{"docker", "run", "i"}, nil},
		"empty":              {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a.Use.Command = tt.command
			if d := cmp.Diff(tt.want, merge(t, named("a", a), named("b", b)).Use.Command); d != "" {
				t.Error(d)
			}
		})
	}
	for _, p := range []*usage.Profile{a, b} {
		p.Subject = usage.Subject{Kind: "command", Command: []string{"/bin/x"}}
	}
	for name, tt := range map[string]struct{ lines, want []string }{
		"root": {[]string{"CapabilityBoundingSet=CAP_KILL", "AmbientCapabilities="}, []string{"CapabilityBoundingSet=CAP_CHOWN CAP_KILL", "AmbientCapabilities="}},
		"user": {[]string{"User=x", "CapabilityBoundingSet=CAP_KILL", "AmbientCapabilities=CAP_KILL"}, []string{"User=x", "CapabilityBoundingSet=CAP_CHOWN CAP_KILL", "AmbientCapabilities=CAP_CHOWN CAP_KILL"}},
		"odd":  {[]string{"CapabilityBoundingSet=CAP_FOWNER"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			a.Use = usage.Use{Systemd: tt.lines}
			if d := cmp.Diff(usage.Use{Systemd: tt.want}, merge(t, named("a", a), named("b", b)).Use); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestMergeSubjects(t *testing.T) {
	image := func(ref, id, digest string) usage.Subject {
		return usage.Subject{Kind: "container", Image: ref, ImageID: id, Digest: digest}
	}
	command := func(words ...string) usage.Subject { return usage.Subject{Kind: "command", Command: words} }
	for name, tt := range map[string]struct {
		a, b usage.Subject
		same bool
	}{
		"same id, other name":      {image("a", "1", ""), image("b", "1", ""), true},
		"same name, other id":      {image("a", "1", ""), image("a", "2", ""), false},
		"same digest, other id":    {image("a", "1", "d"), image("a", "2", "d"), true},
		"other digest":             {image("a", "", "d"), image("a", "", "e"), false},
		"an id on one side":        {image("a", "1", ""), image("a", "", "d"), true},
		"other name, nothing else": {image("a", "1", ""), image("b", "", "d"), false},
		"no name":                  {image("", "", ""), image("", "", ""), true},
		"same program":             {command("/bin/x", "1"), command("/bin/x"), true},
		"other program":            {command("/bin/x"), command("/bin/y"), false},
		"no program":               {command(), command("/bin/y"), false},
		"other kind":               {command("x"), image("x", "", ""), false},
	} {
		t.Run(name, func(t *testing.T) {
			a, b := learned(1, 1, 0, 0), learned(1, 1, 0, 0)
			a.Subject, b.Subject = tt.a, tt.b
			_, err := usage.Merge(false, named("a.json", a), named("b.json", b))
			var subject *usage.SubjectError
			if tt.same != (err == nil) || !tt.same && !errors.As(err, &subject) {
				t.Errorf("%v", err)
			}
			p, err := usage.Merge(true, named("a.json", a), named("b.json", b))
			if err != nil {
				t.Fatal(err)
			}
			if forced := len(p.Notes) > 0 && strings.HasPrefix(p.Notes[0], "merged by force: not the same workload: a.json is of "); forced == tt.same {
				t.Errorf("notes %q", p.Notes)
			}
		})
	}
}

// random is a profile of the one workload, in circumstances of its own.
func random(r *rand.Rand, n int) usage.Named {
	const some = 1<<12 - 1
	base := caps.Set(r.Uint64() & some)
	parts := [4]caps.Set{}
	for _, c := range base.Caps() {
		i := r.IntN(4)
		parts[i] = parts[i].With(c)
	}
	p := learned(base, parts[0], parts[1], parts[2])
	if r.IntN(3) == 0 {
		p.Keep, p.Recommended = "used", p.Recommended|p.Optional
		spell(p)
	}
	p.Complete, p.Proven = r.IntN(4) > 0, r.IntN(4) > 0
	p.Kernel = fmt.Sprint("6.", r.IntN(3))
	p.Denied = caps.Set(r.Uint64()&some) &^ base
	p.Lost = map[string]uint64{"x": uint64(r.IntN(3))}
	p.Notes = []string{fmt.Sprint("note ", n)}
	p.Seconds = float64(r.IntN(100))
	p.Sets = map[usage.Phase]usage.Sets{usage.Phases[r.IntN(3)]: {Granted: parts[0]}}
	p.Identities = []usage.Identity{{Exe: fmt.Sprint("/", r.IntN(4)), Root: "/"}}
	p.Execs = []usage.Exec{{Path: fmt.Sprint("/", r.IntN(4))}}
	p.NotExercised = []string{"all", fmt.Sprint(r.IntN(2))}
	return named(fmt.Sprintf("%d.json", n), p)
}

// content is what of a profile does not hang on the order of its sources.
func content(p *usage.Profile) *usage.Profile {
	q := *p
	q.Merged = slices.Clone(p.Merged)
	slices.SortFunc(q.Merged, func(a, b usage.Source) int { return strings.Compare(a.SHA256, b.SHA256) })
	q.Conflicts = slices.Clone(p.Conflicts)
	for i := range q.Conflicts {
		q.Conflicts[i].Claims = slices.Clone(q.Conflicts[i].Claims)
		slices.SortFunc(q.Conflicts[i].Claims, func(a, b usage.Claim) int { return strings.Compare(a.Source, b.Source) })
	}
	q.Trials = slices.Clone(p.Trials)
	slices.SortFunc(q.Trials, func(a, b usage.Trial) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
	q.Capabilities = slices.Clone(p.Capabilities)
	for i := range q.Capabilities {
		f := &q.Capabilities[i]
		f.Reasons = slices.Sorted(slices.Values(f.Reasons))
		if f.Without != nil { // which trial is cited hangs on the order, its outcome not
			f.Without = &usage.Proof{Passed: f.Without.Passed}
		}
	}
	q.NotExercised = slices.Sorted(slices.Values(p.NotExercised))
	q.Notes = nil // they list the sources in order
	return &q
}

func alike(t *testing.T, law string, a, b *usage.Profile) {
	t.Helper()
	if d := cmp.Diff(content(a), content(b), cmpopts.EquateEmpty()); d != "" {
		t.Fatalf("not %s:\n%s", law, d)
	}
}

// isUnion holds what the merged profile of two says, in other words than Merge's.
func isUnion(t *testing.T, m, a, b *usage.Profile) {
	t.Helper()
	if m.Baseline != a.Baseline|b.Baseline || m.Required != a.Required|b.Required || m.Recommended != a.Recommended|b.Recommended ||
		m.Complete != (a.Complete && b.Complete) || m.Lost["x"] != a.Lost["x"]+b.Lost["x"] || m.Seconds != a.Seconds+b.Seconds ||
		m.Proven != (a.Proven && b.Proven && a.Recommended == b.Recommended) {
		t.Fatalf("not the union of\n%+v and\n%+v:\n%+v", a, b, m)
	}
	var got, want caps.Set
	for _, c := range m.Conflicts {
		got = got.With(c.Cap)
	}
	for c := caps.Cap(0); c < 64; c++ {
		keep := a.Recommended.Has(c) != b.Recommended.Has(c)
		dispensable := func(p *usage.Profile) bool { return !p.Required.Has(c) && !p.Used.Has(c) }
		if keep || a.Required.Has(c) && dispensable(b) || b.Required.Has(c) && dispensable(a) {
			want = want.With(c)
		}
	}
	if got != want {
		t.Fatalf("conflicts over %v, want %v", got, want)
	}
}

func TestMergeLaws(t *testing.T) {
	for seed := range uint64(50) {
		r := rand.New(rand.NewPCG(seed, 1))
		a, b, c := random(r, 1), random(r, 2), random(r, 3)
		ab, bc, aa := merge(t, a, b), merge(t, b, c), merge(t, a, a)
		alike(t, "commutative", ab, merge(t, b, a))
		isUnion(t, ab, a.Profile, b.Profile)
		all := merge(t, a, b, c)
		left, right := merge(t, named("ab", ab), c), merge(t, a, named("bc", bc))
		alike(t, "associative", left, right)
		alike(t, "flat", left, all)
		for _, p := range []*usage.Profile{left, right} {
			if d := cmp.Diff(all.Notes, p.Notes); d != "" {
				t.Fatalf("seed %d: notes: %s", seed, d)
			}
			if d := cmp.Diff(all.Trials, p.Trials, cmpopts.EquateEmpty()); d != "" {
				t.Fatalf("seed %d: trials: %s", seed, d)
			}
		}
		alike(t, "idempotent for a merged one", ab, merge(t, named("ab", ab), named("ab", ab)))
		alike(t, "absorbing", ab, merge(t, named("ab", ab), b))
		alike(t, "absorbing", ab, merge(t, a, named("ab", ab)))

		// With itself it is what it was, with one source.
		p := a.Profile
		if len(aa.Conflicts) != 0 || len(aa.Merged) != 1 || aa.Required != p.Required || aa.Optional != p.Optional || aa.Used != p.Used ||
			aa.Unused != p.Unused || aa.Baseline != p.Baseline || aa.Recommended != p.Recommended || aa.Denied != p.Denied ||
			aa.Proven != p.Proven || aa.Complete != p.Complete || aa.Runs != p.Runs || aa.Keep != p.Keep || len(aa.Trials) != len(p.Trials) {
			t.Fatalf("seed %d: with itself:\n%+v\n%+v", seed, p, aa)
		}
		// Overlapping ones count no source and no trial twice.
		over := merge(t, named("ab", ab), named("bc", bc))
		if over.Required != all.Required || over.Recommended != all.Recommended || len(over.Merged) != 3 || len(over.Trials) != len(all.Trials) || over.Seconds != all.Seconds {
			t.Fatalf("seed %d: overlapping: %+v", seed, over)
		}
	}
}

func TestMergeOddFiles(t *testing.T) {
	p := learned(3, 1, 2, 0)
	p.Capabilities[0].Without.Trial = -1
	p.Capabilities[1].Without.Trial = math.MaxInt
	p.Substitutes = []usage.Substitute{{For: 0, Use: 1, Trial: 99}}
	p.Runs, p.Seconds = -5, math.MaxFloat64
	p.Lost = map[string]uint64{"x": math.MaxUint64}
	p.Complete = false
	q := learned(3, 1, 0, 0)
	q.Seconds, q.Lost = math.MaxFloat64, map[string]uint64{"x": 1}
	q.Capabilities = append(q.Capabilities, usage.Finding{Cap: 40})
	got := merge(t, named("p", p), named("q", q))
	if len(got.Substitutes) != 0 || !strings.Contains(strings.Join(got.Notes, "\n"), "p: it refers 3 times to trials that it does not have") {
		t.Errorf("%+v", got)
	}
	if got.Lost["x"] != math.MaxUint64 || got.Seconds != math.MaxFloat64 || got.Runs != 2 {
		t.Errorf("lost %v, %v s, %d runs", got.Lost, got.Seconds, got.Runs)
	}

	// The same name for different files.
	got = merge(t, named("p", p), named("p", q))
	if a, b := got.Merged[0].Name, got.Merged[1].Name; a == b || !strings.HasPrefix(a, "p#") || !strings.HasPrefix(b, "p#") {
		t.Errorf("%q, %q", a, b)
	}

	// A merged profile that is not the sum of its sources.
	for name, break_ := range map[string]func(*usage.Profile){
		"a set":              func(p *usage.Profile) { p.Required = 0 },
		"proven":             func(p *usage.Profile) { p.Proven = !p.Proven },
		"trials":             func(p *usage.Profile) { p.Trials = p.Trials[1:] },
		"a source's trials":  func(p *usage.Profile) { p.Merged[0].Trials = math.MaxInt },
		"a source's trials-": func(p *usage.Profile) { p.Merged[0].Trials = -1 },
		"a source":           func(p *usage.Profile) { p.Merged = p.Merged[:1] },
	} {
		bad := merge(t, named("p", p), named("q", q))
		break_(bad)
		if _, err := usage.Merge(true, named("bad.json", bad), named("p", p)); err == nil || !strings.HasPrefix(err.Error(), "bad.json: ") {
			t.Errorf("%s: error %v", name, err)
		}
	}
	if _, err := usage.Merge(false); err == nil {
		t.Error("nothing was merged")
	}
}
