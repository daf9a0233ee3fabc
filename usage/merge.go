package usage

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Named is a profile and the name of its file.
type Named struct {
	Name    string
	Profile *Profile
}

// SubjectError says that two profiles are not of the same workload.
type SubjectError struct {
	A, B         string // the files
	WhatA, WhatB string // what each learned
}

func (e *SubjectError) Error() string {
	return fmt.Sprintf("not the same workload: %s is of %s, %s of %s", e.A, e.WhatA, e.B, e.WhatB)
}

// Merge joins profiles of one workload that were learned apart, on other
// machines or in other circumstances, into one: the union. Where they disagree
// stays visible in Conflicts, and who said what in Merged.
//
// All sets follow from the sources alone, and a source counts once however
// often it comes, so the order matters only for what a text cites first. The
// counts in the evidence are sums, too high where merged profiles overlap
// without one holding all of the other.
//
// Profiles of different workloads are a [SubjectError] unless force is set.
func Merge(force bool, in ...Named) (*Profile, error) {
	if len(in) == 0 {
		return nil, errors.New("no profile to merge")
	}
	m := merging{out: &Profile{Version: Version}, index: map[string]int{}}
	for _, n := range in {
		if err := m.take(n); err != nil {
			return nil, err
		}
	}
	sources := make([]Source, len(m.parts))
	for i, part := range m.parts {
		sources[i] = part.source
		m.out.Trials = append(m.out.Trials, part.trials...)
	}
	distinguish(sources)
	other := different(sources)
	if other != nil && !force {
		return nil, other
	}
	p := m.out
	p.add(sources)
	p.Subject = joinSubjects(sources)
	m.evidence()
	p.Use = joinUse(in[0].Profile, p.Recommended)
	p.Notes = mergeNotes(p, other)
	return p, nil
}

// merging is a merge under way.
type merging struct {
	out   *Profile
	parts []part
	index map[string]int // of a part, by its source's content
	taken []taken
}

// part is a source and its trials.
type part struct {
	source Source
	trials []Trial
}

// taken is an input and which parts it holds, in its order.
type taken struct {
	profile *Profile
	parts   []int
}

// take splits an input into its sources; those that are known already are not
// taken again.
func (m *merging) take(n Named) error {
	sources, err := n.Profile.sources(n.Name)
	if err != nil {
		return err
	}
	t := taken{profile: n.Profile}
	rest := n.Profile.Trials
	for _, s := range sources {
		trials := rest[:s.Trials]
		rest = rest[s.Trials:]
		// The name alone may differ: the same file, copied.
		content := s
		content.Name = ""
		key, err := json.Marshal([]any{content, trials})
		if err != nil {
			return fmt.Errorf("%s: %w", n.Name, err)
		}
		i, known := m.index[string(key)]
		if !known {
			i = len(m.parts)
			m.index[string(key)] = i
			m.parts = append(m.parts, part{s, trials})
		}
		t.parts = append(t.parts, i)
	}
	m.taken = append(m.taken, t)
	return nil
}

// trial is the index of an input's n-th trial in the merged profile.
func (m *merging) trial(t taken, n int) (int, bool) {
	for _, i := range t.parts {
		count := len(m.parts[i].trials)
		if n >= 0 && n < count {
			for _, before := range m.parts[:i] {
				n += len(before.trials)
			}
			return n, true
		}
		n -= count
	}
	return 0, false
}

// covered reports whether another input holds all sources of the i-th, so that
// its evidence is there already.
func (m *merging) covered(i int) bool {
	holds := func(a, b []int) bool { // a all of b
		return !slices.ContainsFunc(b, func(n int) bool { return !slices.Contains(a, n) })
	}
	for j, other := range m.taken {
		if j == i || !holds(other.parts, m.taken[i].parts) {
			continue
		}
		if j < i || !holds(m.taken[i].parts, other.parts) {
			return true
		}
	}
	return false
}

// evidence merges what was seen, as the records of several runs are.
func (m *merging) evidence() {
	p := m.out
	var records []*Record
	byCap := map[int][]*Record{}
	found := map[int]*Finding{}
	for _, c := range (p.Baseline | p.Required).Caps() {
		status := (&Source{Required: p.Required, Used: p.Used, Optional: p.Optional, Baseline: p.Baseline}).status(c)
		found[int(c)] = &Finding{Cap: c, Status: status}
	}
	for i, t := range m.taken {
		if m.covered(i) {
			continue
		}
		from := t.profile
		records = append(records, &Record{
			Sets: from.Sets, Execs: from.Execs, Capsets: from.Capsets, Identities: from.Identities,
			Ports: from.Portability.Ports, Sysctls: from.Portability.Sysctls,
		})
		for _, f := range from.Capabilities {
			into := found[int(f.Cap)]
			if into == nil {
				continue // a hand-made file: not of its baseline
			}
			byCap[int(f.Cap)] = append(byCap[int(f.Cap)], &Record{Checks: f.Checks, Execs: f.Execs, Capsets: f.Capsets})
			into.Reasons = union(into.Reasons, f.Reasons)
			if f.Without == nil {
				continue
			}
			// A failure says more than that it passed elsewhere.
			if n, ok := m.trial(t, f.Without.Trial); ok && (into.Without == nil || into.Without.Passed && !f.Without.Passed) {
				w := *f.Without
				w.Trial = n
				into.Without = &w
			}
		}
		for _, s := range from.Substitutes {
			n, ok := m.trial(t, s.Trial)
			if !ok {
				continue
			}
			s.Trial = n
			// Nothing stands in for what another source has to keep.
			s.Adopted = s.Adopted && !p.Recommended.Has(s.For)
			if !slices.Contains(p.Substitutes, s) {
				p.Substitutes = append(p.Substitutes, s)
			}
		}
		if inferred := from.Portability.Inferred.Minus(p.Recommended); !inferred.Empty() || from.Portability.Inferred.Empty() {
			p.Portability.Inferred |= inferred
			p.Portability.Reasons = union(p.Portability.Reasons, from.Portability.Reasons)
		}
		// What one of them exercised was exercised.
		if len(records) == 1 {
			p.NotExercised = from.NotExercised
		} else {
			p.NotExercised = slices.DeleteFunc(slices.Clone(p.NotExercised), func(s string) bool { return !slices.Contains(from.NotExercised, s) })
		}
	}
	all := Fold(records...)
	p.Sets, p.Execs, p.Capsets, p.Identities = all.Sets, all.Execs, all.Capsets, all.Identities
	p.Portability.Ports, p.Portability.Sysctls = all.Ports, all.Sysctls
	for _, c := range (p.Baseline | p.Required).Caps() {
		f := found[int(c)]
		r := Fold(byCap[int(c)]...)
		f.Checks, f.Execs, f.Capsets = r.Checks, r.Execs, r.Capsets
		p.Capabilities = append(p.Capabilities, *f)
	}
}

// distinguish gives different sources different names.
func distinguish(sources []Source) {
	seen := map[string]int{}
	for _, s := range sources {
		seen[s.Name]++
	}
	for i := range sources {
		if s := &sources[i]; seen[s.Name] > 1 {
			s.Name += "#" + s.SHA256[:min(8, len(s.SHA256))]
		}
	}
}

// different finds two sources that are not of the same workload. Each is
// compared with each: one that does not know its image's id is like two that
// are unlike.
func different(sources []Source) *SubjectError {
	for i, a := range sources {
		for _, b := range sources[i+1:] {
			if !a.Subject.same(b.Subject) {
				return &SubjectError{A: a.Name, B: b.Name, WhatA: a.Subject.what(), WhatB: b.Subject.what()}
			}
		}
	}
	return nil
}

// Different says whether two profiles are of different workloads.
func Different(a, b *Profile) bool { return !a.Subject.same(b.Subject) }

// same reports whether both are the same workload: the same image, by its id or
// digest where both have one, else by its reference; or the same program.
func (s Subject) same(t Subject) bool {
	if s.Kind != t.Kind {
		return false
	}
	if s.Kind == "command" || s.Image == "" && t.Image == "" {
		return len(s.Command) > 0 == (len(t.Command) > 0) && (len(s.Command) == 0 || s.Command[0] == t.Command[0])
	}
	ids, digests := s.ImageID != "" && t.ImageID != "", s.Digest != "" && t.Digest != ""
	switch {
	case ids && s.ImageID == t.ImageID, digests && s.Digest == t.Digest:
		return true
	case ids, digests:
		return false
	}
	return s.Image == t.Image
}

// what names the workload.
func (s Subject) what() string {
	switch {
	case s.Kind == "command" && len(s.Command) > 0:
		return "the command " + s.Command[0]
	case s.Image == "":
		return fmt.Sprintf("a %s without a name", s.Kind)
	case s.ImageID != "":
		return fmt.Sprintf("the image %s (id %s)", s.Image, s.ImageID)
	case s.Digest != "":
		return fmt.Sprintf("the image %s (%s)", s.Image, s.Digest)
	}
	return "the image " + s.Image
}

// joinSubjects is the first, with what the others know and did besides.
func joinSubjects(sources []Source) Subject {
	out := sources[0].Subject
	for _, s := range sources[1:] {
		if out.same(s.Subject) {
			if out.ImageID == "" {
				out.ImageID = s.Subject.ImageID
			}
			if out.Digest == "" {
				out.Digest = s.Subject.Digest
			}
		}
		out.Checks = union(out.Checks, s.Subject.Checks)
		out.Exec = union(out.Exec, s.Subject.Exec)
		out.Starts = max(out.Starts, s.Subject.Starts)
	}
	return out
}

// list is "a, b": the different values, in the order of the alphabet.
func list(sources []Source, value func(Source) string) string {
	var values []string
	for _, s := range sources {
		for v := range strings.SplitSeq(value(s), ", ") {
			if v != "" {
				values = append(values, v)
			}
		}
	}
	slices.Sort(values)
	return strings.Join(slices.Compact(values), ", ")
}
