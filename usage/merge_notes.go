package usage

import (
	"fmt"
	"strings"

	"github.com/leastcap/leastcap/caps"
)

// mergeNotes are what a merged profile has to say of itself, and then what its
// sources said.
func mergeNotes(p *Profile, other *SubjectError) []string {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
	if names := which(p.Merged, func(s Source) bool { return !s.Complete }); names != "" {
		add("incomplete: %s", names)
	}
	unproven := which(p.Merged, func(s Source) bool { return !s.Proven })
	switch {
	case unproven != "":
		add("not proven: %s", unproven)
	case !p.Proven:
		add("proven in parts: the set of each profile passed by itself, the union of them was not run%s", toProve(p))
	}
	if other != nil {
		add("merged by force: %v", other)
	}
	differ := func(what string, value func(Source) string) {
		if text := differing(p.Merged, value); text != "" {
			add("%s: %s", what, text)
		}
	}
	differ("kernels differ", func(s Source) string { return s.Kernel })
	differ("engines differ", func(s Source) string { return s.Subject.Engine })
	differ("users differ", func(s Source) string { return s.Subject.User })
	differ("command lines differ", func(s Source) string { return strings.Join(s.Subject.Command, " ") })
	differ("starts in a run differ", func(s Source) string { return fmt.Sprint(max(s.Subject.Starts, 1)) })
	differ("what was kept differs", func(s Source) string { return s.Keep })
	var all, common caps.Set
	common = ^caps.Set(0)
	for _, s := range p.Merged {
		all |= s.Baseline
		common &= s.Baseline
	}
	if some := all.Minus(common); !some.Empty() {
		differ("baselines differ, their union is taken; beyond what all have", func(s Source) string {
			return s.Baseline.Intersect(some).String()
		})
	}
	if len(p.Merged) == 1 {
		return append(notes, p.Merged[0].Notes...)
	}
	for _, s := range p.Merged {
		for _, n := range s.Notes {
			add("%s: %s", s.Name, n)
		}
	}
	return notes
}

// toProve is the next step to a proven union.
func toProve(p *Profile) string {
	if p.Subject.Kind == "command" {
		return "; to prove it, learn it once more with all checks and circumstances in one"
	}
	return fmt.Sprintf("; to see it pass, learn in each of the circumstances with %s in the line: the baseline runs are with exactly that",
		strings.Join(flags(p.Recommended.Docker()), " "))
}

// which are the names of those sources, "a, b".
func which(sources []Source, is func(Source) bool) string {
	var names []string
	for _, s := range sources {
		if is(s) {
			names = append(names, s.Name)
		}
	}
	return strings.Join(names, ", ")
}

// differing is "x (a.json, b.json), y (c.json)", or nothing if all are alike.
func differing(sources []Source, value func(Source) string) string {
	var values []string
	by := map[string][]string{}
	for _, s := range sources {
		v := value(s)
		if v == "" {
			v = "none"
		}
		if by[v] == nil {
			values = append(values, v)
		}
		by[v] = append(by[v], s.Name)
	}
	if len(values) < 2 {
		return ""
	}
	for i, v := range values {
		values[i] = fmt.Sprintf("%s (%s)", v, strings.Join(by[v], ", "))
	}
	return strings.Join(values, "; ")
}
