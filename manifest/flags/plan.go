package flags

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/engine/line"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/words"
)

// A Plan says which words of a line are to change. Words are counted as they were given
// to [Parse].
type Plan struct {
	Remove  []int      // words to take away, ascending
	Set     []int      // those of them that go where the variable is set that they come from
	Replace []Part     // of words that stay
	Insert  [][]string // flags to put in, each one word or two
	After   int        // the word behind which they go
}

// A Part is a part of a word's text that is replaced.
type Part struct {
	Word     int
	From, To int
	New      string
}

// Empty says that nothing is to change.
func (p *Plan) Empty() bool { return len(p.Remove)+len(p.Replace)+len(p.Insert) == 0 }

// planner makes one Plan.
type planner struct {
	v      *Invocation
	want   manifest.Want
	remove map[int]bool         // flags, by index in Line.Flags
	parts  map[int]map[int]bool // parts of a value with commas that go
	plan   Plan
	err    *manifest.Refusal
}

// Plan says what has to change for the container to be as wanted. c is the container as
// the caller knows it, which [manifest.Refusal] names.
func (v *Invocation) Plan(c *manifest.Container, want manifest.Want) (*Plan, *manifest.Refusal) {
	p := &planner{v: v, want: want, remove: map[int]bool{}, parts: map[int]map[int]bool{}}
	p.privileged()
	if want.Exactly != nil {
		p.exactly()
	}
	p.words()
	if want.NoNewPrivs {
		p.noNewPrivs()
	}
	p.finish()
	if p.err != nil {
		p.err.Container = c
		return nil, p.err
	}
	return &p.plan, nil
}

func (p *planner) refuse(at manifest.Pos, hint, format string, args ...any) {
	if p.err == nil {
		p.err = &manifest.Refusal{At: at, Reason: fmt.Sprintf(format, args...), Hint: hint}
	}
}

func (p *planner) privileged() {
	priv := p.v.Container.Privileged
	if p.want.Unprivileged {
		for i := range p.v.Line.Flags {
			if f := &p.v.Line.Flags[i]; f.Name == "privileged" && !f.Global && !manifest.Is(p.v.boolean(f), false) {
				p.remove[i] = true
			}
		}
		return
	}
	if p.want.Exactly == nil {
		return
	}
	switch {
	case manifest.Is(priv, true):
		p.refuse(priv.At, "take --privileged away as well", "it is privileged, where capability flags mean nothing")
	case priv.State == manifest.Unknown:
		p.refuse(priv.At, "", "it may be privileged: %s", priv.Why)
	}
}

func (p *planner) exactly() {
	c := p.v.Container
	plan, err := c.Plan(*p.want.Exactly, false)
	if err != nil {
		at, reason := c.At, err.Error()
		if list := manifest.Errors(err); len(list) > 0 && !list[0].At.IsZero() {
			at, reason = list[0].At, list[0].Reason
		}
		p.refuse(at, "write the flags into the line itself", "%s", reason)
		return
	}
	for _, i := range plan.Remove {
		p.drop(p.v.from[i])
	}
	if plan.DropAll {
		p.insert("cap-drop", "ALL")
	}
	for _, one := range plan.Add {
		p.insert("cap-add", one.Docker())
	}
}

// drop takes one request away.
func (p *planner) drop(s source) {
	f := &p.v.Line.Flags[s.flag]
	n := 1
	if p.v.Line.Splits(f.Name) {
		n = strings.Count(f.Value, ",") + 1
	}
	if p.parts[s.flag] == nil {
		p.parts[s.flag] = map[int]bool{}
	}
	p.parts[s.flag][s.part] = true
	if len(p.parts[s.flag]) == n {
		p.remove[s.flag] = true
	}
}

// words corrects and removes single requests.
func (p *planner) words() {
	at := func(pos manifest.Pos) int {
		return slices.IndexFunc(p.v.Container.Caps, func(r manifest.Request) bool {
			return r.Word.At.Start == pos.Start && r.Word.At.End == pos.End
		})
	}
	for _, pos := range p.want.Remove {
		if i := at(pos); i >= 0 {
			p.drop(p.v.from[i])
		} else {
			p.refuse(pos, "", "no capability stands there")
		}
	}
	for _, c := range p.want.Correct {
		i := at(c.At)
		if i < 0 {
			p.refuse(c.At, "", "no capability stands there")
			continue
		}
		s := p.v.from[i]
		if p.remove[s.flag] || p.parts[s.flag][s.part] {
			continue
		}
		f := &p.v.Line.Flags[s.flag]
		from, to := 0, len(f.Value)
		if p.v.Line.Splits(f.Name) {
			fields := strings.Split(f.Value, ",")
			for _, before := range fields[:s.part] {
				from += len(before) + 1
			}
			to = from + len(fields[s.part])
		}
		p.replace(f, from, to, c.Word)
	}
}

// replace puts other text into a part of a flag's value.
func (p *planner) replace(f *line.Flag, from, to int, text string) {
	i := p.v.index[f.Word+f.Words-1]
	w := &p.v.all[i]
	shift := 0
	if f.Words == 1 {
		shift = len(w.Text) - len(f.Value)
	}
	if !w.Written() && !p.v.set(i) {
		p.refuse(p.v.pos(i, i), "change it where the variable is set", "%s comes from the variable %s%s", f.Value, w.From, because(w))
		return
	}
	p.plan.Replace = append(p.plan.Replace, Part{i, shift + from, shift + to, text})
}

const noNewPrivs = "no-new-privileges"

func (p *planner) noNewPrivs() {
	c := p.v.Container
	if manifest.Is(c.NoNewPrivs, true) {
		return
	}
	if c.CapsWhy != "" {
		p.refuse(c.At, "write the flags into the line itself", "%s", c.CapsWhy)
		return
	}
	for i := range p.v.Line.Flags {
		f := &p.v.Line.Flags[i]
		if f.Name != "security-opt" {
			continue
		}
		if t := p.v.whole(f); t.State == manifest.Unknown {
			p.refuse(t.At, "", "the security option %s cannot be known: %s", t.Raw, t.Why)
			return
		}
		if strings.HasPrefix(f.Value, noNewPrivs) {
			p.remove[i] = true
		}
	}
	p.insert("security-opt", noNewPrivs)
}

// insert puts a flag in, written as the line writes its others.
func (p *planner) insert(name, value string) {
	if p.v.apart() {
		p.plan.Insert = append(p.plan.Insert, []string{"--" + name, value})
	} else {
		p.plan.Insert = append(p.plan.Insert, []string{"--" + name + "=" + value})
	}
}

// apart says that the line writes --flag VALUE and not --flag=VALUE. What it does with
// capabilities counts most.
func (v *Invocation) apart() bool {
	score := 0
	for i := range v.Line.Flags {
		f := &v.Line.Flags[i]
		weight := 1
		if f.Name == "cap-add" || f.Name == "cap-drop" {
			weight = 100
		}
		switch {
		case f.Global || !strings.HasPrefix(f.Typed, "--"):
		case f.Words == 2:
			score += weight
		case strings.Contains(v.word(f.Word).Text, "="):
			score -= weight
		}
	}
	return score > 0
}

// finish makes words of the flags that go, and finds the place for the new ones.
func (p *planner) finish() {
	if p.err != nil {
		return
	}
	l := p.v.Line
	for i, parts := range p.parts {
		if p.remove[i] {
			continue
		}
		f := &l.Flags[i]
		var keep []string
		for j, field := range strings.Split(f.Value, ",") {
			if !parts[j] {
				keep = append(keep, field)
			}
		}
		// Corrections of the same value are in one replacement with this.
		p.plan.Replace = slices.DeleteFunc(p.plan.Replace, func(r Part) bool { return r.Word == p.v.index[f.Word+f.Words-1] })
		p.replace(f, 0, len(f.Value), strings.Join(keep, ","))
	}
	for i := range l.Flags {
		if p.remove[i] {
			p.removeWords(&l.Flags[i])
		}
	}
	slices.Sort(p.plan.Remove)
	p.emptied()
	slices.SortFunc(p.plan.Replace, func(a, b Part) int { return cmp.Or(a.Word-b.Word, a.From-b.From) })
	if len(p.plan.Insert) > 0 {
		p.anchor()
	}
}

// emptied refuses to leave an array without elements: older shells take "${A[@]}" of one
// for an error under set -u (bash before 4.4).
func (p *planner) emptied() {
	left := map[string]int{}
	for i := range p.v.all {
		if w := &p.v.all[i]; p.v.set(i) && w.Set.Array {
			left[w.From]++
		}
	}
	for _, i := range p.plan.Set {
		w := &p.v.all[i]
		if _, ok := left[w.From]; !ok || w.Set == nil {
			continue
		}
		if left[w.From]--; left[w.From] == 0 {
			p.refuse(p.v.pos(i, i), "take "+w.From+" out of the line", "nothing would be left in the array %s", w.From)
		}
	}
}

func (p *planner) removeWords(f *line.Flag) {
	if strings.HasPrefix(f.Typed, "-") && !strings.HasPrefix(f.Typed, "--") {
		i := p.v.index[f.Word]
		p.refuse(p.v.pos(i, i), "", "%s is one of several flags in %s", f.Typed, p.v.all[i].Raw)
		return
	}
	inSetting := true // all of the flag comes from one variable
	for i := f.Word; i < f.Word+f.Words; i++ {
		at := p.v.index[i]
		inSetting = inSetting && p.v.set(at) && p.v.all[at].From == p.v.all[p.v.index[f.Word]].From
	}
	for i := f.Word; i < f.Word+f.Words; i++ {
		at := p.v.index[i]
		w := &p.v.all[at]
		if inSetting {
			p.plan.Set = append(p.plan.Set, at)
		} else if w.From != "" && p.v.together(at) {
			p.refuse(p.v.pos(at, at), "change it where the variable is set", "%s comes from the variable %s%s", w.Text, w.From, because(w))
			return
		}
		p.plan.Remove = append(p.plan.Remove, at)
	}
}

// set says that a word is changed where the variable is set that it comes from: one of
// several there, or a part of it.
func (v *Invocation) set(i int) bool { return v.Settings && v.all[i].Set != nil }

// A Setting is the part of a variable's value that words of the line come from.
type Setting struct {
	Name       string
	Start, End int
}

// Set are the settings of the line's words.
func (v *Invocation) Set() []Setting {
	var list []Setting
	for i := range v.all {
		w := &v.all[i]
		if w.Set == nil {
			continue
		}
		if n := len(list); n > 0 && list[n-1].Name == w.From {
			list[n-1].End = w.Set.End
			continue
		}
		list = append(list, Setting{w.From, w.Set.Start, w.Set.End})
	}
	return list
}

// together says that other words stand at the same place: all are of one variable.
func (v *Invocation) together(i int) bool {
	return i > 0 && v.all[i-1].Start == v.all[i].Start || i+1 < len(v.all) && v.all[i+1].Start == v.all[i].Start
}

// anchor chooses the word behind which flags go: the last capability flag that stays,
// or the word before the first line break, or the verb.
func (p *planner) anchor() {
	l := p.v.Line
	at := -1
	for i := range l.Flags {
		f := &l.Flags[i]
		if (f.Name == "cap-add" || f.Name == "cap-drop") && !p.remove[i] && p.v.word(f.Word+f.Words-1).From == "" && f.Word > l.VerbAt() {
			at = p.v.index[f.Word+f.Words-1]
		}
	}
	if at < 0 {
		at = p.v.index[l.VerbAt()]
		for i := range l.Flags {
			f := &l.Flags[i]
			if f.Word < l.VerbAt() || p.v.breaks(at) {
				continue
			}
			at = p.v.index[f.Word+f.Words-1]
		}
		if !p.v.breaks(at) {
			at = p.v.index[l.VerbAt()]
		}
		if p.v.bare {
			at = len(p.v.all) - 2 // the last of the options
		}
	}
	for p.v.all[at].From != "" && at+1 < len(p.v.all) && p.v.all[at+1].Start == p.v.all[at].Start {
		at++
	}
	p.plan.After = at
}

// breaks says that a word is the last one of its line in the file, and the next one is
// on another.
func (v *Invocation) breaks(i int) bool {
	return i+1 < len(v.all) && v.lines.Pos(v.all[i].End, v.all[i].End).Line < v.lines.Pos(v.all[i+1].Start, v.all[i+1].Start).Line
}

// Changed are the words as they are after a plan, for hosts that write all of them.
func (v *Invocation) Changed(p *Plan) []string {
	var out []string
	for i := range v.all {
		text := v.all[i].Text
		for _, r := range slices.Backward(p.Replace) { // the later parts first
			if r.Word == i {
				text = text[:r.From] + r.New + text[r.To:]
			}
		}
		if !slices.Contains(p.Remove, i) {
			out = append(out, text)
		}
		if i == p.After {
			for _, flag := range p.Insert {
				out = append(out, flag...)
			}
		}
	}
	return out
}

// because says why a word is not changed where its variable is set.
func because(w *words.Word) string {
	if w.Kept == "" {
		return ""
	}
	return ", which " + w.Kept
}
