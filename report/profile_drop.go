package report

import (
	"fmt"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// drop is what can go: what was used first, then what never was.
func (r *profileReport) drop() {
	gone := r.Baseline.Minus(r.Recommended)
	if unknown(r.Profile) {
		return
	}
	if gone.Empty() {
		r.section("DROP", "nothing")
		return
	}
	about := count(gone.Len(), "capability")
	if !r.Proven {
		about += ", not proven"
	}
	r.section("DROP", about)

	if r.unaided() {
		r.blank()
		r.para(span{}, 2, span{"it works without; whether it used them is not known", faint})
		r.byDanger(gone)
		return
	}
	used := gone.Minus(r.Unused)
	for _, c := range catalog.ByDanger(used) {
		r.blank()
		r.spared(c)
	}
	if unused := gone.Intersect(r.Unused); !unused.Empty() {
		r.blank()
		seen := "never used"
		if !r.Complete {
			seen = "not seen in use"
		}
		r.para(span{}, 2, span{seen + ", the most dangerous first", faint})
		r.byDanger(unused)
	}
}

// unaided says that nothing of the kernel's checks was seen.
func (r *profileReport) unaided() bool { return r.Hook == "none" }

// spared is a capability that was used and can go all the same.
func (r *profileReport) spared(c caps.Cap) {
	f := r.finding(c)
	r.name(c)
	switch by := r.replacement(c); {
	case by != "":
		r.line("used", text("but "+by+" takes its place"))
	case r.Required.Has(c):
		// Only a substitute makes the required dispensable.
	case f.Without != nil && f.Without.Passed:
		r.line("used", text(fmt.Sprintf("but not needed: run %d passed without it", f.Without.Trial+1)))
	default:
		r.line("used", text("but not needed"))
	}
	r.conflict(c)
	r.evidence(f)
	r.without(f.Without)
}

// replacement is the adopted substitute for c, if any.
func (r *profileReport) replacement(c caps.Cap) string {
	for _, s := range r.Substitutes {
		if s.Adopted && s.For == c {
			return s.Use.String()
		}
	}
	return ""
}

// byDanger lists capabilities, each level of danger with what it means. An
// exclamation mark points at what reaches out of a container.
func (r *profileReport) byDanger(set caps.Set) {
	sorted := catalog.ByDanger(set)
	if isCommand(r.Profile) {
		r.para(span{}, 4, commas(sorted, plain)...) // the levels speak of containers
		return
	}
	var levels []catalog.Level // in the order in which they come up
	groups := map[catalog.Level][]caps.Cap{}
	for _, c := range sorted {
		l := catalog.Get(c).Danger
		if groups[l] == nil {
			levels = append(levels, l)
		}
		groups[l] = append(groups[l], c)
	}
	for _, l := range levels {
		group := groups[l]
		mark, ink := "", plain
		if l == catalog.Unknown || l >= catalog.Shared {
			mark, ink = "  !", caution
		}
		r.para(span{mark, alarm}, 4, commas(group, ink)...)
		means := l.Means()
		switch {
		case means == "":
			means = "newer than this leastcap, which does not know what it grants"
		case len(group) > 1:
			means = "each " + means
		}
		r.para(span{}, 6, span{means, faint})
	}
}

// commas is "a, b, c".
func commas(cs []caps.Cap, ink ink) []span {
	spans := make([]span, len(cs))
	for i, c := range cs {
		spans[i] = span{c.String() + ", ", ink}
	}
	last := &spans[len(spans)-1]
	last.text = last.text[:len(last.text)-len(", ")]
	return spans
}

// notes are what else there is to know.
func (r *profileReport) notes() {
	var notes []string
	add := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }

	for _, s := range r.Substitutes {
		switch {
		case s.Adopted:
		case s.Passed:
			add("%v in place of %v passed too (run %d), but is not used%s", s.Use, s.For, s.Trial+1, because(s.Reason))
		default:
			add("%v does not do in place of %v (run %d)%s", s.Use, s.For, s.Trial+1, because(s.Reason))
		}
	}
	if denied := r.Denied.Minus(r.Baseline); !denied.Empty() {
		works := "It works without"
		if r.Observed != nil {
			works = "Whether it works without was not looked at"
		}
		add("Asked for, but not in what it has today, and so denied: %s. %s; leastcap adds nothing.",
			list(catalog.ByDanger(denied)), works)
	}
	port := r.Portability
	if !port.Inferred.Empty() {
		add("Elsewhere %s may be needed too (inferred, not proven)%s", list(catalog.ByDanger(port.Inferred)),
			because(strings.Join(port.Reasons, "; ")))
	} else {
		for _, reason := range port.Reasons {
			add("Elsewhere (inferred, not proven): %s", reason)
		}
	}
	if len(r.NotExercised) > 0 {
		add("Not exercised, and so not learned: %s", strings.Join(r.NotExercised, "; "))
	}
	if r.Complete {
		notes = append(notes, r.Notes...)
	}
	if len(notes) == 0 {
		return
	}
	r.section("NOTES", "")
	r.bullets(notes)
}

// use is what to type.
func (r *profileReport) use() {
	if unknown(r.Profile) {
		r.section("USE", "nothing yet")
		return
	}
	about := ""
	switch {
	case !r.Proven:
		about = "(not proven)"
	case !r.Complete:
		about = "(incomplete: try it before you rely on it)"
	}
	r.section("USE", about)
	r.blank()
	const indent = "  "
	lines := systemd(r.Profile)
	switch {
	case len(lines) > 0:
		r.para(span{}, len(indent), span{"in the unit's [Service] section:", faint})
		r.lines(indent, lines...)
	case len(r.Use.Command) > 0:
		r.lines(indent, fold(Quote(r.Use.Command, true), r.width-len(indent))...)
	default:
		r.lines(indent, fold(Quote(flags(r.Profile), false), r.width-len(indent))...)
	}
}
