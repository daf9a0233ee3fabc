package report

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/usage"
)

// Diff writes what changed from one profile to another for a person.
func Diff(w io.Writer, d *usage.Diff, style Style) error {
	r := &profileReport{Profile: &usage.Profile{Subject: usage.Subject{Kind: d.Kind}}, page: newPage(style)}
	a, b := Clean(d.A, 60), Clean(d.B, 60)
	if d.Empty() {
		r.para(span{}, 0, span{fmt.Sprintf("no difference between %s and %s", a, b), good})
		return r.writeTo(w)
	}
	about := span{"what is required or recommended differs", alarm}
	if d.Same {
		about = span{"no difference in what is required or recommended", good}
	}
	r.para(span{}, 0, span{fmt.Sprintf("from %s to %s: ", a, b), strong}, about)
	r.factChanges(d.Facts)
	r.capChanges(d)
	return r.writeTo(w)
}

// DiffJSON writes it for a program.
func DiffJSON(w io.Writer, d *usage.Diff) error {
	data, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return fmt.Errorf("write the difference: %w", err)
	}
	_, err = w.Write(append(usage.EscapeJSON(data), '\n'))
	return err
}

func (r *profileReport) factChanges(facts []usage.FactChange) {
	if len(facts) == 0 {
		return
	}
	r.section("CIRCUMSTANCES", "")
	for _, f := range facts {
		r.para(span{"  " + f.What, faint}, 13, text(orNone(f.A)+" -> "), text(orNone(f.B)))
	}
}

// orNone is a cleaned value, or that there is none.
func orNone(s string) string {
	if s = Clean(s, 150); s == "" {
		return "none"
	}
	return s
}

func (r *profileReport) capChanges(d *usage.Diff) {
	if len(d.Changes) == 0 {
		return
	}
	var set caps.Set
	by := map[caps.Cap]usage.CapChange{}
	for _, c := range d.Changes {
		set = set.With(c.Cap)
		by[c.Cap] = c
		r.nameCol = max(r.nameCol, len("  ")+len(c.Cap.String())+len("  "))
	}
	r.section("CAPABILITIES", "")
	for _, c := range catalog.ByDanger(set) {
		r.blank()
		change := by[c]
		r.name(c)
		a, b := claimText(change.A), claimText(change.B)
		ink := plain
		if change.New {
			ink = caution
		}
		r.line("was", text(a))
		r.line("is", span{b, ink})
		f := change.Evidence
		if f.Without != nil && f.Without.Passed {
			f.Without = nil // the statuses say it
		}
		if len(f.Checks)+len(f.Execs)+len(f.Capsets) > 0 || f.Without != nil {
			r.line("seen in", text(Clean(change.From, 60)))
		}
		r.evidence(f)
		r.without(f.Without)
	}
}

// claimText is "required, kept, asked for at start".
func claimText(c usage.Claim) string {
	words := []string{string(c.Status)}
	switch {
	case c.Status == usage.Absent:
		words[0] = "not in its baseline"
	case c.Status == usage.Optional && c.Kept:
		words = append(words, "kept")
	case c.Status == usage.Used && !c.Kept, c.Status == usage.Required && !c.Kept:
		words = append(words, "not kept")
	case c.Status == usage.Unused && c.Kept:
		words = append(words, "kept")
	}
	if len(c.Phases) > 0 {
		words = append(words, "asked for "+phases(c.Phases))
	}
	return strings.Join(words, ", ")
}
