package report

import (
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// The columns of a set's table.
const (
	dangerCol = 20
	grantsCol = 30
)

// set writes a set as a table, the most dangerous first, and what is known of it.
func (p *page) set(s *ExplainedSet, o ExplainOptions) {
	p.para(span{}, 0, span{s.Title, strong}, text(fmt.Sprintf(": %s, mask %s", size(s.Caps), s.Mask)))
	if len(s.Same) > 0 {
		p.para(span{}, 0, text("the same as the default of "+strings.Join(s.Same, ", ")))
	}
	for _, fact := range s.Facts {
		p.para(span{}, 0, text(fact))
	}
	if s.Caps.Empty() {
		return
	}
	p.blank()
	column := "DANGER"
	if s.UserNamespace {
		column = "EFFECT"
	}
	p.tableLine(span{"CAPABILITY", faint}, span{column, faint}, span{"IT LETS A PROCESS", faint})
	var legend []span
	for _, c := range s.byDanger() {
		word := s.word(c)
		p.tableRow(c, word, s, o.Long)
		if !slices.Contains(legend, word) {
			legend = append(legend, word)
		}
	}
	p.blank()
	for _, word := range legend {
		p.para(word, 10, text(s.means(word.text)))
	}
	if d := s.Default; d != nil {
		p.defaultSet(d)
	}
}

// byDanger returns the set's members, what is the most dangerous in its place first.
func (s *ExplainedSet) byDanger() []caps.Cap {
	cs := catalog.ByDanger(s.Caps)
	if s.Shared != nil && !s.UserNamespace {
		here := func(c caps.Cap) int {
			if !c.Known() {
				return int(catalog.Host) + 1
			}
			return int(s.danger(c))
		}
		slices.SortStableFunc(cs, func(a, b caps.Cap) int { return here(b) - here(a) })
	}
	return cs
}

// word is how dangerous a capability is here, or, in a user namespace, what becomes of
// it.
func (s *ExplainedSet) word(c caps.Cap) span {
	level := s.danger(c)
	if effect := catalog.Get(c).UserNamespace.Effect; s.UserNamespace && effect != "" {
		return text(string(effect))
	}
	return span{level.String(), dangerInk(level)}
}

// means explains such a word.
func (s *ExplainedSet) means(word string) string {
	if means := catalog.UserEffect(word).Means(); s.UserNamespace && means != "" {
		return means
	}
	var level catalog.Level
	if err := level.UnmarshalText([]byte(word)); err != nil || level == catalog.Unknown {
		return "nobody knows yet"
	}
	switch {
	case s.Shared != nil && level == catalog.Host:
		return "takes over the host, with what is shared with it here"
	case s.Shared != nil && level == catalog.Inside:
		return "gives power inside only, with what is shared here"
	}
	return level.Means()
}

func size(set caps.Set) string {
	if set.Empty() {
		return "no capabilities"
	}
	return count(set.Len(), "capability")
}

// tableLine writes a row; the last cell is wrapped within its column.
func (p *page) tableLine(name, danger span, rest ...span) {
	p.ink(name)
	p.space(max(1, dangerCol-len(name.text)))
	p.ink(danger)
	p.space(max(1, grantsCol-dangerCol-len(danger.text)))
	p.paraFrom(grantsCol, rest...)
}

// paraFrom is a paragraph whose label has been written up to its column.
func (p *page) paraFrom(col int, spans ...span) {
	sub := &page{color: p.color, width: p.width - col}
	sub.para(span{}, 0, spans...)
	sub.flush()
	lines := strings.SplitAfter(sub.b.String(), "\n")
	p.flush()
	for i, line := range lines {
		if line == "" {
			continue
		}
		if i > 0 {
			p.b.WriteString(strings.Repeat(" ", col))
		}
		p.b.WriteString(line)
	}
}

func (p *page) tableRow(c caps.Cap, danger span, s *ExplainedSet, long bool) {
	e := catalog.Get(c)
	rest := []span{text(e.Grants)}
	if !c.Known() {
		rest = []span{text("(newer than this leastcap, which does not know what it grants)")}
	}
	if origin := s.Origin[c]; origin != "" && !strings.HasSuffix(origin, " default") {
		rest = append(rest, span{" (" + origin + ")", strong})
	}
	p.tableLine(span{c.String(), strong}, danger, rest...)
	if !long || !c.Known() {
		return
	}
	for _, r := range e.Container.Reaches {
		if s.Shared == nil || r.Shared == catalog.SharesNothing || slices.Contains(s.Shared, r.Shared) {
			p.para(span{}, grantsCol, span{r.Shared.Condition(), dangerInk(r.Level)}, text(" it can "+r.What+"."))
		}
	}
	if e.Verdict != "" {
		p.para(span{}, grantsCol, text(e.Verdict))
	}
}

// defaultSet writes what is known of a default set besides its members.
func (p *page) defaultSet(d *catalog.Default) {
	p.blank()
	if d.Since != "" {
		p.para(span{"since", faint}, 10, text(d.Since))
	}
	for i, h := range d.History {
		p.para(span{first(i, "before"), faint}, 10, text(fmt.Sprintf("%s: %d, %s - %s", h.Since, h.Caps.Len(), changed(h.Caps, d.Caps), h.Why)))
	}
	p.para(span{"source", faint}, 10, text(d.Source+", checked at "+d.Checked))
	if d.Note != "" {
		p.para(span{"note", faint}, 10, text(d.Note))
	}
}

// changed says how a set was compared with what it is now.
func changed(then, now caps.Set) string {
	var parts []string
	if more := then.Minus(now); !more.Empty() {
		parts = append(parts, "with "+list(more.Caps()))
	}
	if less := now.Minus(then); !less.Empty() {
		parts = append(parts, "without "+list(less.Caps()))
	}
	if len(parts) == 0 {
		return "the same"
	}
	return strings.Join(parts, ", ")
}

// setDiff writes how two sets differ.
func (p *page) setDiff(x *Explanation) {
	d := x.Diff
	side := func(only caps.Set, has, other string, s *ExplainedSet) {
		if only.Empty() {
			p.para(span{}, 0, text(fmt.Sprintf("%s has nothing that %s has not", has, other)))
			return
		}
		p.para(span{}, 0, span{fmt.Sprintf("only %s", has), strong}, text(": "+size(only)))
		for _, c := range catalog.ByDanger(only) {
			p.tableRow(c, s.word(c), s, false)
		}
	}
	if d.OnlyA.Empty() && d.OnlyB.Empty() {
		p.para(span{}, 0, text(fmt.Sprintf("%s and %s are the same: ", d.A, d.B)), text(size(d.Both)+", mask "+d.Both.Hex()))
		return
	}
	side(d.OnlyA, d.A, d.B, &x.Sets[0])
	p.blank()
	side(d.OnlyB, d.B, d.A, &x.Sets[1])
	p.blank()
	p.para(span{}, 0, span{"both", strong}, text(": "+size(d.Both)))
	if !d.Both.Empty() {
		p.para(span{}, 2, text(list(catalog.ByDanger(d.Both))))
	}
}

// checks writes the checks of a system call, or with an error number.
func (p *page) checks(x *ExplainedChecks, o ExplainOptions) {
	switch {
	case len(x.Checks) == 0 && x.Call != "" && x.Errno != "" && len(catalog.Find(x.Call, "")) > 0:
		p.para(span{}, 0, span{x.Call + " " + x.Errno, strong}, text(": this is no capability's error, as far as the catalog knows. Those that it may be asked for give others: leastcap explain --syscall "+x.Call))
	case len(x.Checks) == 0:
		p.para(span{}, 0, span{strings.TrimSpace(x.Call + " " + x.Errno), strong}, text(": no capability is asked for, as far as the catalog knows. If it fails, look at file modes, seccomp, LSMs and cgroups."))
	case x.Call == "":
		p.para(span{}, 0, span{x.Errno, strong}, text(" without one of these capabilities, as far as the catalog knows:"))
	case x.Errno == "":
		p.para(span{}, 0, span{x.Call, strong}, text(" may be asked for one of these capabilities, as far as the catalog knows:"))
	default:
		p.para(span{}, 0, span{x.Call + " gives " + x.Errno, strong}, text(" without one of these capabilities, as far as the catalog knows:"))
	}
	if x.Family != "" && len(x.Checks) > 0 {
		p.para(span{}, 0, text("("+x.Call+" is asked as "+x.Family+" is)"))
	}
	last := caps.Cap(255)
	for _, a := range x.Checks {
		if a.Cap != last {
			p.blank()
			p.title(a.Cap.String(), a.Cap.Name())
			last = a.Cap
		}
		if o.Long {
			p.check(a.Check)
			continue
		}
		p.para(span{}, 2, result(a.Check, x.Call)...)
		if a.Note != "" && x.Call != "" {
			p.para(span{}, 4, span{a.Note, faint})
		}
		if len(a.And) > 0 {
			p.para(span{}, 4, span{"needed besides: " + list(a.And), faint})
		}
	}
	if !x.Opened.Empty() {
		p.blank()
		p.para(span{}, 0, text("Docker's default seccomp profile refuses "+x.Call+", before anything is asked, to containers without "+strings.Join(strings.Split(x.Opened.String(), ","), " or ")+"."))
	}
}
