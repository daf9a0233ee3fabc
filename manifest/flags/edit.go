package flags

import (
	"bytes"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
)

// Edits makes a plan for a line whose words stand in a file with blanks between them:
// in a script, a Makefile, a unit, a string of options. What is put in gets the blanks,
// line continuations and indentation of what it stands beside.
func (v *Invocation) Edits(file string, data []byte, p *Plan) []manifest.Edit {
	var edits []manifest.Edit
	for i := 0; i < len(p.Remove); i++ {
		first := p.Remove[i]
		for i+1 < len(p.Remove) && p.Remove[i+1] == p.Remove[i]+1 && v.beside(p, p.Remove[i], p.Remove[i+1]) {
			i++
		}
		last := p.Remove[i]
		if slices.Contains(p.Set, first) {
			edits = append(edits, v.cut(file, first, last))
			continue
		}
		start, end := v.gap(data, first), v.all[last].End
		if v.bare && first == 2 { // nothing is before it
			start = v.all[first].Start
			if last+1 < len(v.all)-1 {
				end = v.all[last+1].Start
			}
		}
		edits = append(edits, manifest.Edit{File: file, Start: start, End: end, Reason: "remove " + v.text(first, last)})
	}
	for _, r := range p.Replace {
		start, end := v.all[r.Word].Range(r.From, r.To)
		if v.set(r.Word) {
			start, end = v.all[r.Word].Set.Range(r.From, r.To)
		}
		edits = append(edits, manifest.Edit{File: file, Start: start, End: end, New: r.New, Reason: "write " + r.New})
	}
	if len(p.Insert) == 0 {
		return edits
	}
	sep := v.separator(data, p.After)
	var text strings.Builder
	var names []string
	for _, flag := range p.Insert {
		text.WriteString(sep + strings.Join(flag, " "))
		names = append(names, strings.Join(flag, " "))
	}
	at := v.all[p.After].End
	if v.bare && len(p.Remove) == len(v.all)-3 { // nothing of the options stays
		edits[0].New, edits[0].Reason = strings.TrimPrefix(text.String(), sep), edits[0].Reason+", add "+strings.Join(names, " ")
		return edits
	}
	e := manifest.Edit{File: file, Start: at, End: at, New: text.String(), Reason: "add " + strings.Join(names, " ")}
	// Something that goes may begin where the new flags go: then they take its place.
	if i := slices.IndexFunc(edits, func(x manifest.Edit) bool { return x.Start == at && x.New == "" }); i >= 0 {
		edits[i].New, edits[i].Reason = e.New, edits[i].Reason+", "+e.Reason
		return edits
	}
	return append(edits, e)
}

// beside says that two words that follow each other go in the same place: in the line, or
// in the value of one variable.
func (v *Invocation) beside(p *Plan, i, j int) bool {
	a, b := slices.Contains(p.Set, i), slices.Contains(p.Set, j)
	return a == b && (!a || v.all[i].From == v.all[j].From)
}

// sibling says that word i is there and comes from the same variable as word of.
func (v *Invocation) sibling(i, of int) bool {
	return i >= 0 && i < len(v.all) && v.all[i].Set != nil && v.all[i].From == v.all[of].From
}

// cut takes words out of a variable's value, with the blanks before them, or behind those
// that it begins with.
func (v *Invocation) cut(file string, first, last int) manifest.Edit {
	start, end := v.all[first].Set.Start, v.all[last].Set.End
	switch {
	case v.sibling(first-1, first):
		start = v.all[first-1].Set.End
	case v.sibling(last+1, last):
		end = v.all[last+1].Set.Start
	}
	return manifest.Edit{File: file, Start: start, End: end, Reason: "remove " + v.text(first, last)}
}

func (v *Invocation) text(first, last int) string {
	var list []string
	for i := first; i <= last; i++ {
		list = append(list, v.all[i].Text)
	}
	return strings.Join(list, " ")
}

// gap is where the blanks before a word begin.
func (v *Invocation) gap(data []byte, i int) int {
	at := v.all[i].Start
	if i == 0 {
		return at
	}
	end := v.all[i-1].End
	for at > end {
		c := data[at-1]
		if c == ' ' || c == '\t' || c == '\r' || c == '\n' || c == '\\' && at < len(data) && (data[at] == '\n' || data[at] == '\r') {
			at--
			continue
		}
		break
	}
	return at
}

// separator is what to put before a word behind word i: what stands there, if it is a
// line break, or what stands before it; else a space.
func (v *Invocation) separator(data []byte, i int) string {
	for _, at := range []int{i, i + 1, i - 1} {
		if at < 1 || at >= len(v.all) {
			continue
		}
		from := v.gap(data, at)
		if from != v.all[at-1].End {
			continue // a redirection, or the like
		}
		if sep := data[from:v.all[at].Start]; bytes.IndexByte(sep, '\n') >= 0 {
			// Only if this word begins a line's flags: behind the verb, not before it.
			if at > v.index[v.Line.VerbAt()] && at <= v.index[v.Line.ImageAt()] {
				return string(sep)
			}
		}
	}
	return " "
}
