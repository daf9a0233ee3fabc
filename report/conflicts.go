package report

import (
	"fmt"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/usage"
)

// merged says what a merged profile was merged from.
func (r *profileReport) merged() {
	if len(r.Merged) == 0 {
		return
	}
	var names []string
	for _, s := range r.Merged {
		names = append(names, Clean(s.Name, 60))
	}
	const most = 8
	if n := len(names); n > most {
		names = append(names[:most], fmt.Sprintf("and %d more", n-most))
	}
	r.para(span{}, 0, span{fmt.Sprintf("merged from %s: %s", count(len(r.Merged), "profile"), strings.Join(names, ", ")), faint})
}

// conflict says which of the merged profiles need a capability, and which did
// without.
func (r *profileReport) conflict(c caps.Cap) {
	for _, conflict := range r.Conflicts {
		if conflict.Cap == c {
			r.line("needed", conflictText(conflict.Claims)...)
			return
		}
	}
}

// conflictText is "by a.json at start; b.json did without".
func conflictText(claims []usage.Claim) []span {
	var order []string // what is said, those in need first
	by := map[string][]string{}
	say := func(text, name string) {
		if by[text] == nil {
			order = append(order, text)
		}
		by[text] = append(by[text], Clean(name, 60))
	}
	need := func(c usage.Claim) bool { return c.Kept || c.Status == usage.Required || c.Status == usage.Used }
	for _, c := range claims {
		if need(c) {
			say(needText(c), c.Source)
		}
	}
	needs := len(order)
	for _, c := range claims {
		if !need(c) {
			say(withoutText(c), c.Source)
		}
	}
	spans := make([]span, len(order))
	for i, what := range order {
		names := by[what]
		const most = 4
		if n := len(names); n > most {
			names = append(names[:most:most], fmt.Sprintf("%d more", n-most))
		}
		words := strings.Join(names, ", ") + " " + what
		ink := caution
		if i < needs {
			words, ink = "by "+words, plain
		}
		if i < len(order)-1 {
			words += "; "
		}
		spans[i] = span{words, ink}
	}
	return spans
}

// needText says how a source needs it.
func needText(c usage.Claim) string {
	words := phases(c.Phases)
	switch c.Status {
	case usage.Required:
	case usage.Used:
		words += " (used; not tried without)"
	default:
		words += " (kept, though it passed without)"
	}
	return strings.TrimSpace(words)
}

// withoutText says how a source did without it.
func withoutText(c usage.Claim) string {
	switch c.Status {
	case usage.Optional:
		return strings.TrimSpace("used it "+phases(c.Phases)) + ", and passed without"
	case usage.Absent:
		return "did not have it"
	}
	return "did without"
}

// phases is "at start, at stop".
func phases(ps []usage.Phase) string {
	var words []string
	for i, p := range ps {
		if i == len(usage.Phases) { // a file can hold anything
			break
		}
		words = append(words, when(p))
	}
	return strings.Join(words, " and ")
}
