package report

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// Happening is one line of what goes on.
type Happening struct {
	Time  time.Time
	Who   string
	Words string
	// Alarm and Quiet say how it stands out, where there is colour.
	Alarm, Quiet bool
}

// whenWidth is that of "15:04:05  ".
const whenWidth = 10

// Happened writes a happening, wrapped behind its time.
func Happened(w io.Writer, h Happening, s Style) error {
	p := newPage(s)
	ink := plain
	switch {
	case h.Alarm:
		ink = alarm
	case h.Quiet:
		ink = faint
	}
	p.para(span{h.Time.Format(time.TimeOnly), faint}, whenWidth, span{Clean(h.Who, 60) + " ", strong}, span{h.Words, ink})
	return p.writeTo(w)
}

// WatchTotal is what a watch saw of one workload.
type WatchTotal struct {
	Label, What  string // "web"; "docker, nginx:latest"
	Seconds      float64
	StartSeen    bool
	Ended        bool
	Incomplete   string    // why something may be missing, "" if nothing is
	Granted      *caps.Set // nil: not known
	Used, Denied caps.Set
	Lacked       caps.Set // denied to processes without it, though it may be had
}

// WatchTotals writes the end of a watch: who used what, and what the others are.
func WatchTotals(w io.Writer, totals []WatchTotal, s Style) error {
	p := newPage(s)
	idle := map[string][]string{} // by why something may be missing
	for _, t := range totals {
		if t.Used.Empty() && t.Denied.Empty() && t.Lacked.Empty() && t.What == "" {
			idle[t.Incomplete] = append(idle[t.Incomplete], Clean(t.Label, 60))
			continue
		}
		p.blank()
		what := []string{}
		if t.What != "" {
			what = append(what, t.What)
		}
		what = append(what, "watched "+lasted(t.Seconds))
		if !t.StartSeen {
			what = append(what, "its start was not seen")
		}
		if t.Ended {
			what = append(what, "ended")
		}
		p.para(text(""), 0, span{Clean(t.Label, 60), strong}, text(" ("+strings.Join(what, ", ")+")"))
		const col = 10
		of := ""
		switch {
		case t.Granted == nil:
		case t.Used.SubsetOf(*t.Granted):
			of = fmt.Sprintf(" of %d", t.Granted.Len())
		default: // by docker exec --privileged, say
			of = fmt.Sprintf(", %d of them beyond its %d", t.Used.Minus(*t.Granted).Len(), t.Granted.Len())
		}
		p.para(text("  used"), col, text(fmt.Sprintf("%d%s%s", t.Used.Len(), of, behindColon(t.Used))))
		if !t.Denied.Empty() {
			p.para(span{"  denied", caution}, col, text(t.Denied.Brief()))
		}
		if !t.Lacked.Empty() {
			p.para(span{"  denied", caution}, col, text(t.Lacked.Brief()+", to a process without it: another user's, or one with fewer"))
		}
		if t.Granted != nil {
			if unused := t.Granted.Minus(t.Used); !unused.Empty() {
				p.para(text("  not used"), col+1, text(fmt.Sprintf("%d%s", unused.Len(), mostDangerous(unused))))
			}
		}
		if t.Incomplete != "" {
			p.para(span{"  BUT", alarm}, col, text(t.Incomplete))
		}
	}
	for _, but := range slices.Sorted(maps.Keys(idle)) {
		p.blank()
		p.para(text("no capability used or asked for:"), 2, text(strings.Join(idle[but], ", ")))
		if but != "" {
			p.para(span{"  BUT", alarm}, 10, text(but))
		}
	}
	return p.writeTo(w)
}

func behindColon(set caps.Set) string {
	if set.Empty() {
		return ""
	}
	return ": " + set.Brief()
}

// mostDangerous lists a set by danger; of a long one the first, and how many there are.
func mostDangerous(set caps.Set) string {
	var names []string
	for _, c := range catalog.ByDanger(set) {
		names = append(names, c.String())
	}
	const most = 14
	if len(names) > most {
		names = append(names[:most], "and "+plural(uint64(len(names)-most), "other"))
	}
	if len(names) == 1 {
		return ": " + names[0]
	}
	return ", the most dangerous first: " + strings.Join(names, ", ")
}

func lasted(seconds float64) string {
	d := time.Duration(seconds * float64(time.Second))
	if d < 10*time.Second {
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
