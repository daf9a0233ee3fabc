package report

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// explainCol is the column at which the texts of a capability's page begin.
const explainCol = 13

// capability writes a page about one: as much as fits the height, or all.
func (p *page) capability(e *ExplainedCapability, o ExplainOptions) {
	if !e.Cap.Known() {
		p.para(span{}, 0, span{fmt.Sprintf("capability %d", e.Number), strong})
		p.para(span{}, 0, text("newer than this leastcap, which does not know what it grants; see include/uapi/linux/capability.h of the kernel"))
		return
	}
	if o.Long {
		p.capabilityLong(e)
		return
	}
	// What matters most is always there; of the rest as much as the height takes, in
	// this order.
	have := extent{checks: 1, needs: 1, instead: 1}
	for _, more := range []extent{
		{narrower: true}, {userns: true}, {root: true}, {checks: 1}, {instead: 1}, {needs: 1}, {checks: 1}, {instead: 1}, {checks: 1}, {needs: 1}, {instead: 1}, {checks: 1},
	} {
		try := &page{color: p.color, width: p.width}
		try.capabilityShort(e, have.and(more))
		try.flush()
		if bytes.Count(try.b.Bytes(), []byte("\n")) <= o.height() {
			have = have.and(more)
		}
	}
	p.capabilityShort(e, have)
}

// extent is how much of each kind a short page shows.
type extent struct {
	checks, needs, instead int
	root, userns, narrower bool
}

func (s extent) and(t extent) extent {
	return extent{
		checks: s.checks + t.checks, needs: s.needs + t.needs, instead: s.instead + t.instead,
		root: s.root || t.root, userns: s.userns || t.userns, narrower: s.narrower || t.narrower,
	}
}

func (p *page) row(label string, spans ...span) {
	p.para(span{label, faint}, explainCol, spans...)
}

// capabilityHead is the title and what it grants.
func (p *page) capabilityHead(e *ExplainedCapability) {
	about := fmt.Sprintf("%s, number %d, since Linux %s", e.Cap.Name(), e.Number, e.Since)
	if len(e.Before) > 0 {
		about += ", before that " + caps.Of(e.Before...).String()
	}
	p.title(e.Cap.String(), about)
	p.para(span{}, 0, text("It lets a process "+e.Grants+"."))
	p.blank()
}

func (p *page) capabilityShort(e *ExplainedCapability, n extent) {
	p.capabilityHead(e)
	p.row("danger", p.dangerText(&e.Entry)...)
	p.row("on a host", rootText(&e.Entry, n.root))
	p.row("namespaced?", text("It "+e.Container.Confined+"."))
	for _, r := range e.Container.Reaches {
		p.row("", span{r.Shared.Condition(), dangerInk(r.Level)}, text(" it can "+r.What+"."))
	}
	if len(e.Container.Reaches) == 0 {
		p.row("", text("It is not known to reach anything outside."))
	}
	if n.userns {
		p.row("in a userns", text(userEffect(&e.Entry)))
	}
	for i, c := range firstOf(e.Checks, n.checks) {
		row := []span{text(c.Operation + ": " + outcome(c))}
		if more := len(e.Checks) - n.checks; i == n.checks-1 && more > 0 {
			row = append(row, span{fmt.Sprintf(", and %d more", more), faint})
		}
		p.row(first(i, "without it"), row...)
	}
	if len(e.Measured) > 0 {
		p.row("measured", text(e.Measured[0].Sentence()))
	}
	for i, u := range firstOf(e.Needed, n.needs) {
		p.row(first(i, "needed by"), text(strings.Join(u.Programs, ", ")+": "+u.Why))
	}
	for i, a := range firstOf(e.Instead, n.instead) {
		p.row(first(i, "instead"), alternative(a)...)
	}
	if len(e.Narrower) > 0 && n.narrower {
		var names []caps.Cap
		for _, s := range e.Narrower {
			names = append(names, s.Cap)
		}
		p.row("narrower", text(list(names)+", for some of it"))
	}
	p.row("given by", text(givenBy(e.Cap)))
	if e.Verdict != "" {
		p.row("verdict", span{e.Verdict, strong})
	}
	p.row("more", span{"leastcap explain --long " + e.Cap.String(), faint})
}

func (p *page) dangerText(e *catalog.Entry) []span {
	return []span{{"it " + e.Danger.Means(), dangerInk(e.Danger)}, text(fmt.Sprintf(" (%d of %d)", e.Rank, caps.Last+1))}
}

func firstOf[T any](list []T, n int) []T { return list[:min(n, len(list))] }

// first labels the first of several rows.
func first(i int, label string) string {
	if i == 0 {
		return label
	}
	return ""
}

// rootText is what the capability is worth as root, without containment; with how, and
// what is newer, if all is wanted.
func rootText(e *catalog.Entry, all bool) span {
	t := e.Root.Class.Means() + " (Spengler 2011)"
	if e.Root.Class == catalog.RootYounger {
		t = "younger than Spengler's list (2011)"
	}
	if all && e.Root.How != "" {
		t += ": it " + e.Root.How
	}
	if all && e.Root.Newer != "" {
		t += ". Newer: " + e.Root.Newer
	}
	return text(t)
}

func userEffect(e *catalog.Entry) string {
	switch e.UserNamespace.Effect {
	case catalog.UserUseless:
		return "grants nothing: " + e.UserNamespace.Why
	case catalog.UserPartly:
		return "grants a part: " + e.UserNamespace.Why
	}
	return e.UserNamespace.Why
}

// outcome is what happens without the capability.
func outcome(c catalog.Check) string {
	if c.Errno == "" {
		return c.Silent + ", without an error"
	}
	return c.Errno + " from " + strings.Join(firstOf(c.Calls, 3), ", ")
}

func alternative(a catalog.Alternative) []span {
	do := a.Do
	if a.In == "host" {
		do += " (on a host)"
	}
	if a.How == "" {
		return []span{text(do)}
	}
	return []span{text(do + ": "), {a.How, strong}}
}

// givenBy says which engines give a capability by default, and which do not.
func givenBy(c caps.Cap) string {
	gives := catalog.GivenBy(c)
	var not []string
	for _, d := range catalog.DefaultSets() {
		if !d.Allows && !slices.Contains(gives, d.Engine) {
			not = append(not, d.Engine)
		}
	}
	switch {
	case len(gives) == 0:
		return "no engine, by default"
	case len(not) == 0:
		return "every engine, by default"
	case len(not) > len(gives):
		return strings.Join(gives, ", ") + ", by default; no other"
	}
	return strings.Join(gives, ", ") + ", by default; not " + strings.Join(not, ", ")
}

// capabilityLong is all that is known.
func (p *page) capabilityLong(e *ExplainedCapability) {
	p.capabilityHead(e)
	p.row("manual", text(e.Manual))
	if e.History != "" {
		p.row("history", text(e.History))
	}
	if e.Verdict != "" {
		p.row("verdict", span{e.Verdict, strong})
	}
	p.row("given by", text(givenBy(e.Cap)))

	p.section("DANGER", "why drop it if the container is namespaced?")
	p.row("in general", p.dangerText(&e.Entry)...)
	if e.RankException != "" {
		p.row("", text(e.RankException))
	}
	p.row("confined", text("It "+e.Container.Confined+"."))
	for i, r := range e.Container.Reaches {
		p.row(first(i, "not confined"), span{r.Shared.Condition(), dangerInk(r.Level)}, text(" it can "+r.What+"."))
	}
	if len(e.Container.Reaches) == 0 {
		p.row("not confined", text("It is not known to reach anything outside."))
	}
	p.row("in a userns", text(userEffect(&e.Entry)))
	p.row("on a host", rootText(&e.Entry, true))
	for i, a := range e.Abuse {
		p.row(first(i, "abuse"), text(a.What))
		p.row("", span{a.Reference, faint})
	}

	p.section("CHECKS", "where the kernel asks for it, and what happens without")
	for _, c := range e.Checks {
		p.check(c)
	}
	switch s := e.Seccomp; {
	case len(s.Opens) > 0:
		p.row("seccomp", text("Docker's default profile refuses these without it: "+strings.Join(s.Opens, ", ")))
		if s.Note != "" {
			p.row("", text(s.Note))
		}
	case s.Note != "":
		p.row("seccomp", text("under Docker's default profile "+s.Note))
	}

	p.section("MEASURED", "with it and without it")
	for _, x := range e.Measured {
		p.para(span{}, 2, text(x.Sentence()))
		p.para(span{}, 4, span{strings.Join(x.Details(), "; "), faint})
	}

	p.section("WHO NEEDS IT", "and what to do instead")
	for i, u := range e.Needed {
		p.row(first(i, "needed by"), text(strings.Join(u.Programs, ", ")+": "+u.Why))
	}
	for i, a := range e.Instead {
		p.row(first(i, "instead"), alternative(a)...)
	}
	for i, s := range e.Narrower {
		what := " for " + s.For
		if !s.Container {
			what += " (weaker on a host, not in a container)"
		}
		p.row(first(i, "narrower"), span{s.Cap.String(), strong}, text(what))
	}

	p.section("SOURCES", "")
	p.row("", text(strings.Join(e.Sources, ", ")))
	if e.Root.Class != catalog.RootYounger {
		p.row("", text(`B. Spengler, "False Boundaries and Arbitrary Code Execution" (2011), `), span{spenglerAddress, faint})
	}
}

// spenglerAddress is where his list is.
const spenglerAddress = "https://forums.grsecurity.net/viewtopic.php?f=7&t=2522"

func (p *page) section(title, about string) {
	p.blank()
	p.title(title, about)
}

// title writes what stands out, and after two spaces what it is about.
func (p *page) title(title, about string) {
	p.ink(span{title, strong})
	at := len(title) + gap
	switch {
	case about == "":
		p.blank()
	case p.width-at < len(about) && p.width-at < p.width/2:
		p.blank()
		p.para(span{}, gap, span{about, faint})
	default:
		p.flush()
		p.space(gap)
		p.paraFrom(at, span{about, faint})
	}
}

// check writes one check: what is done and what it gives, then where.
func (p *page) check(c catalog.Check) {
	p.para(span{}, 2, result(c, "")...)
	where := "asked in " + c.In.Means() + "; " + c.Site
	if len(c.Or) > 0 {
		where = list(c.Or) + " would do instead; " + where
	}
	if len(c.And) > 0 {
		where = list(c.And) + " is needed besides; " + where
	}
	if c.Note != "" {
		p.para(span{}, 4, text(c.Note))
	}
	p.para(span{}, 4, span{where, faint})
}

// result is what is done, and what it gives without the capability: from which calls,
// unless it is the one that was asked about.
func result(c catalog.Check, about string) []span {
	what := []span{{c.Operation, strong}, text(": ")}
	if c.Errno != "" {
		what = append(what, span{c.Errno, caution})
	} else {
		what = append(what, span{c.Silent, caution}, text(", without an error"))
	}
	if about == "" {
		what = append(what, text(" ("+strings.Join(c.Calls, ", ")+")"))
	}
	return what
}
