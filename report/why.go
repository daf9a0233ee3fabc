package report

import (
	"fmt"
	"io"
	"strings"
	"time"
)

// Refused is a refusal with what it means, as leastcap why shows it.
type Refused struct {
	Time     time.Time
	Who      string // the container, or the unit
	Call     string
	Errno    string
	Process  string // "nginx (/usr/sbin/nginx) as uid 0, process 42"
	Cause    string
	Mattered bool
	Certain  bool
	Why      []string
	Allow    string
	Instead  []string
}

// Refusal writes one.
func Refusal(w io.Writer, r Refused, s Style) error {
	p := newPage(s)
	const col = 11
	ink := alarm
	if !r.Mattered {
		ink = caution
	}
	who := ""
	if r.Who != "" {
		who = Clean(r.Who, 60) + ": "
	}
	p.para(span{r.Time.Format(time.TimeOnly), faint}, whenWidth, span{who, strong}, span{r.Call, strong}, span{" gave " + r.Errno, ink}, text(" ("+r.Cause+")"))
	p.para(text("  who"), col, text(r.Process))
	label := "  why"
	if !r.Certain {
		label = "  maybe"
	}
	p.para(text(label), col, text(strings.Join(r.Why, "; ")))
	if r.Allow != "" {
		p.para(text("  allowed"), col, text("by "+r.Allow))
	}
	for i, do := range r.Instead {
		label := ""
		if i == 0 {
			label = "  instead"
		}
		p.para(text(label), col, text("- "+do))
	}
	return p.writeTo(w)
}

// Harmless is a denied check whose system call went on, or failed for another reason.
type Harmless struct {
	Who, Cap, Call string
	Errno          string
	Count          uint64
}

// WhyTotal is the end of a leastcap why.
type WhyTotal struct {
	Kinds, Mattered int
	Refusals        uint64
	Harmless        []Harmless
	Omitted         int // that did not matter either, kinds
	Lost            string
}

// WhyTotals writes it.
func WhyTotals(w io.Writer, t WhyTotal, s Style) error {
	p := newPage(s)
	if t.Kinds > 0 {
		p.blank()
	}
	switch {
	case t.Kinds == 0 && t.Lost != "":
		p.para(text(""), 0, text("nothing was seen to be refused"))
	case t.Kinds == 0:
		p.para(text(""), 0, span{"nothing was refused", good})
	default:
		p.para(text(""), 0, text(fmt.Sprintf("%s of %s; %d of the kinds mattered", plural(t.Refusals, "refusal"), plural(uint64(t.Kinds), "kind"), t.Mattered)))
	}
	const most = 10
	for i, h := range t.Harmless {
		if i == 0 {
			p.para(text(""), 0, text("Denied, and it did not matter:"))
		}
		if i == most {
			p.para(text(""), 2, text("and "+plural(uint64(len(t.Harmless)-most+t.Omitted), "other kind")))
			break
		}
		what := "went on"
		if h.Errno != "" {
			what = "gave " + h.Errno
		}
		who := ""
		if h.Who != "" {
			who = Clean(h.Who, 60) + ": "
		}
		p.para(text(""), 2, text(fmt.Sprintf("- %s%s: %s %s, %s", who, h.Cap, h.Call, what, plural(h.Count, "time"))))
	}
	if t.Lost != "" {
		p.para(span{"LOST", alarm}, 6, text(t.Lost))
	}
	return p.writeTo(w)
}

func plural(n uint64, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
