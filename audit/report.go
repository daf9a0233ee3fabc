package audit

import (
	"slices"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/manifest"
)

// A Report is what came of an audit; package report shows it.
type Report struct {
	// Files are those that define containers, or were named, in the order of the call.
	Files []File
	// Subjects are the containers, in the order of the files.
	Subjects []Subject
	// Findings are in the order of the subjects, of one the worst first; those that are
	// about no container come last. Those that an exception covers are among them.
	Findings []*Finding
	// Errors are what could not be read.
	Errors []*manifest.Error
	// Known is how many findings were left out since the baseline has them.
	Known int
}

// A File is one that was looked at.
type File struct {
	Name string
	// Format is the name of a manifest.Format, "" if it is none: then it was named.
	Format     string
	Containers int
}

// Open are the findings that no exception covers and that are at least as severe, without
// those that another one explains.
func (r *Report) Open(least Severity) []*Finding {
	var list []*Finding
	for _, f := range r.Findings {
		if f.Exception == nil && f.Within == nil && f.Severity >= least {
			list = append(list, f)
		}
	}
	return list
}

// ByContainer are the findings of each container, without those that another one explains;
// those that are about none are nil's.
func (r *Report) ByContainer() map[*manifest.Container][]*Finding {
	m := make(map[*manifest.Container][]*Finding, len(r.Subjects))
	for _, f := range r.Findings {
		if f.Within != nil {
			continue
		}
		m[f.Container] = append(m[f.Container], f)
	}
	return m
}

// Count says how many open findings there are of each severity.
func (r *Report) Count() map[Severity]int {
	counts := map[Severity]int{}
	for _, f := range r.Open(Note) {
		counts[f.Severity]++
	}
	return counts
}

// Holds is what a container's engine gives it: the most that a process in it can have.
// known is false where the file does not say enough, or the engine refuses it.
func (s *Subject) Holds() (set caps.Set, known bool) {
	if s.held == nil {
		sub := newSubject(s)
		s.held = &held{sub.holds(), sub.err == nil}
	}
	return s.held.set, s.held.known
}

// Danger is how dangerous a capability is in the container, with what it shares.
func (s *Subject) Danger(c caps.Cap) catalog.Level {
	sub := subject{c: s.Container, sharing: sharing(s.Container), ownUsers: ownUsers(s.Container)}
	return sub.level(c)
}

// Changes are the wants of findings, one change a container: what is proven goes before
// what merely tidies up, which it makes needless. Excepted findings want nothing.
func Changes(findings []*Finding) []manifest.Change {
	var list []manifest.Change
	index := map[*manifest.Container]int{}
	for _, f := range findings {
		if f.Want == nil || f.Container == nil || f.Exception != nil {
			continue
		}
		i, ok := index[f.Container]
		if !ok {
			i = len(list)
			index[f.Container] = i
			list = append(list, manifest.Change{Container: f.Container})
		}
		w := &list[i].Want
		if f.Want.Exactly != nil {
			w.Exactly = f.Want.Exactly
		}
		w.Unprivileged = w.Unprivileged || f.Want.Unprivileged
		w.NoNewPrivs = w.NoNewPrivs || f.Want.NoNewPrivs
		for _, c := range f.Want.Correct {
			if !slices.Contains(w.Remove, c.At) {
				w.Correct = append(w.Correct, c)
			}
		}
		for _, at := range f.Want.Remove {
			w.Correct = slices.DeleteFunc(w.Correct, func(c manifest.Correction) bool { return c.At == at })
			if !slices.Contains(w.Remove, at) {
				w.Remove = append(w.Remove, at)
			}
		}
	}
	for i := range list {
		if w := &list[i].Want; w.Exactly != nil { // it plans the lists itself
			w.Correct, w.Remove = nil, nil
		}
	}
	return list
}
