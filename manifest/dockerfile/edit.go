package dockerfile

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/flags"
	"github.com/leastcap/leastcap/manifest/label"
	"github.com/leastcap/leastcap/manifest/words"
)

// LabelCaps is the label in which an image names the capabilities that it needs; Podman
// gives no more than those (containers/podman pkg/specgen/generate/security_linux.go).
const LabelCaps = "io.containers.capabilities"

// lines are the labels whose text is a command line.
var lineLabels = []string{"RUN", "INSTALL", "UNINSTALL", "UPDATE", "STOP"}

// label reads a LABEL. A label that is set again has the last value.
func (s *stage) label(b *build, i int, n *parser.Node, at manifest.Pos) {
	pairs, err := b.pairs(i)
	j := 0
	for k := n.Next; k != nil && k.Next != nil && k.Next.Next != nil; k = k.Next.Next.Next {
		key := b.expand(s.env, k.Value)
		v := b.expand(s.env, k.Next.Value)
		v.At = at
		if err == nil {
			v.At = b.lines.Pos(pairs[j].start, pairs[j].end)
		}
		j++
		s.labels = slices.DeleteFunc(slices.Clone(s.labels), func(p manifest.Pair) bool { return p.Key == key.V })
		s.labels = append(s.labels, manifest.Pair{Key: key.V, KeyAt: v.At, Value: v})
	}
}

// invocation is the container that a label's line starts.
type invocation struct {
	*flags.Invocation
	label string
	lost  []label.Lost // what the label has and a line of words has not
}

// The variables of a label stand in its words as marks, which no label has.
const imageMark, nameMark = "\x02IMAGE", "\x02NAME"

var marks = strings.NewReplacer(imageMark, label.ImageVariable, nameMark, label.NameVariable)

// invocations reads the labels that are lines of an engine.
func (b *build) invocations() []invocation {
	var list []invocation
	s := b.stages[len(b.stages)-1]
	for _, p := range s.labels {
		text, known := p.Value.Get()
		if !known || !slices.Contains(lineLabels, strings.ToUpper(p.Key)) {
			continue
		}
		env := map[string]string{"IMAGE": imageMark, "NAME": nameMark}
		c, err := label.Parse(text, env, nil)
		if err != nil {
			b.errs = append(b.errs, &manifest.Error{At: p.Value.At, Reason: "the label " + p.Key + " is no command: " + err.Error()})
			continue
		}
		var ws []words.Word
		for _, w := range c.Words {
			w = marks.Replace(w)
			ws = append(ws, words.New(w, w, p.Value.At.Start, p.Value.At.End, nil))
		}
		v, err := flags.Parse(ws, b.lines)
		if err != nil {
			b.errs = append(b.errs, err)
		}
		if v == nil {
			continue
		}
		v.Container.Format, v.Container.Path = "dockerfile", "label "+p.Key
		v.Container.Name = "label " + p.Key
		v.Container.Kind = "label"
		list = append(list, invocation{v, p.Key, c.Lost})
	}
	return list
}

func edit(src manifest.Source, changes []manifest.Change) (edits []manifest.Edit, refusals []*manifest.Refusal) {
	refuse := func(c *manifest.Container, hint, format string, args ...any) {
		refusals = append(refusals, &manifest.Refusal{Container: c, Reason: fmt.Sprintf(format, args...), Hint: hint})
	}
	b, err := readBuild(src)
	if err != nil {
		for _, c := range changes {
			refuse(c.Container, "", "%v", err)
		}
		return nil, refusals
	}
	for _, c := range changes {
		l, hint, err := b.wanted(c)
		switch {
		case err != nil:
			refuse(c.Container, hint, "%v", err)
		case l != nil:
			e, err := b.edit(*l)
			if err != nil {
				refuse(c.Container, "", "%v", err)
			} else if e != nil {
				e.File, e.Reason = src.Name, "label "+l.Name
				edits = append(edits, *e)
			}
		}
	}
	return merged(edits), refusals
}

// merged makes one insertion of those at the same place.
func merged(edits []manifest.Edit) []manifest.Edit {
	slices.SortStableFunc(edits, func(a, b manifest.Edit) int { return cmp.Compare(a.Start, b.Start) })
	var out []manifest.Edit
	for _, e := range edits {
		if n := len(out); n > 0 && out[n-1].Start == e.Start && out[n-1].End == e.Start && e.End == e.Start {
			out[n-1].New += e.New
			out[n-1].Reason += ", " + e.Reason
			continue
		}
		out = append(out, e)
	}
	return out
}

// wanted is the label that says what is wanted, nil if it does already.
func (b *build) wanted(c manifest.Change) (*Label, string, error) {
	w := c.Want
	if c.Container.Path != "image" {
		return b.wantedLine(c)
	}
	switch {
	case w.NoNewPrivs:
		return nil, "give it to the engine: --security-opt no-new-privileges", errors.New("an image cannot ask for no_new_privs")
	case len(w.Correct) > 0 || len(w.Remove) > 0:
		return nil, "", errors.New("an image asks for no capabilities")
	case w.Exactly == nil:
		return nil, "", nil
	}
	text := strings.Join(w.Exactly.Docker(), ",")
	if have, ok := b.declared(); ok && have == *w.Exactly {
		return nil, "", nil
	}
	return &Label{LabelCaps, text}, "", nil
}

// declared is what the label names.
func (b *build) declared() (caps.Set, bool) {
	for _, p := range b.stages[len(b.stages)-1].labels {
		if text, ok := p.Value.Get(); ok && p.Key == LabelCaps {
			if strings.TrimSpace(text) == "" {
				return 0, true
			}
			set, all, err := caps.ParseList([]string{text})
			return set, err == nil && !all
		}
	}
	return 0, false
}

// wantedLine writes the line of a label.
func (b *build) wantedLine(c manifest.Change) (*Label, string, error) {
	list := b.invocations()
	i := slices.IndexFunc(list, func(v invocation) bool { return v.Container.Path == c.Container.Path })
	if i < 0 {
		return nil, "", errors.New("the label is not there any more")
	}
	plan, refusal := list[i].Plan(c.Container, c.Want)
	if refusal != nil {
		return nil, refusal.Hint, errors.New(refusal.Reason)
	}
	if plan.Empty() {
		return nil, "", nil
	}
	if lost := list[i].lost; len(lost) > 0 {
		return nil, "write the flags into the label by hand", fmt.Errorf("the label has %s, which only its user's environment can tell", lost[0].Text)
	}
	text, err := label.Format(list[i].Changed(plan))
	if err != nil {
		return nil, "", err
	}
	return &Label{list[i].label, text}, "", nil
}

// edit sets one label, in bytes.
func (f *file) edit(l Label) (*manifest.Edit, error) {
	old, err := f.find(l.Name)
	if err != nil {
		return nil, err
	}
	word := l.Name + "=" + quote(l.Value, f.escape)
	switch {
	case old == nil:
		at, text := f.insertion("LABEL " + word)
		return &manifest.Edit{Start: at, End: at, New: text}, nil
	case f.is(old.value, l.Value):
		return nil, nil
	}
	return &manifest.Edit{Start: old.start, End: old.end, New: word}, nil
}

// verifyAll compares all instructions, as BuildKit's parser reads them, but for the
// labels that were to change; their places come from this package's own code.
func verifyAll(before, after manifest.Source, changes []manifest.Change) error {
	x, err := readBuild(before)
	if err != nil {
		return err
	}
	y, err := readBuild(after)
	if err != nil {
		return err
	}
	var lines [2][]*manifest.Container
	for i, b := range []*build{x, y} {
		for _, v := range b.invocations() {
			lines[i] = append(lines[i], v.Container)
		}
	}
	if err := manifest.Compare(lines[0], lines[1], changes); err != nil {
		return err
	}
	expect := map[string]string{}
	for _, c := range changes {
		l, _, err := x.wanted(c)
		if err != nil {
			return err
		}
		if l != nil {
			expect[l.Name] = l.Value
		}
	}
	if a, b := x.rest(), y.rest(); !slices.Equal(a, b) {
		return errors.New("other instructions would change")
	}
	labels := func(b *build) map[string]string {
		m := map[string]string{}
		for _, s := range b.stages {
			for _, p := range s.labels {
				m[s.name+" "+p.Key] = p.Value.Raw
				if v, ok := p.Value.Get(); ok {
					m[s.name+" "+p.Key] = v
				}
			}
		}
		return m
	}
	a, b := labels(x), labels(y)
	last := x.stages[len(x.stages)-1].name
	for name, value := range expect {
		a[last+" "+name] = value
	}
	for key, value := range a {
		if got, ok := b[key]; !ok || got != value {
			return fmt.Errorf("the label %s would be %q, not %q", strings.TrimSpace(key), got, value)
		}
	}
	if len(a) != len(b) {
		return errors.New("other labels would come")
	}
	return nil
}

// rest are the instructions that are no labels.
func (b *build) rest() []string {
	var list []string
	for _, n := range b.nodes {
		if !strings.EqualFold(n.Value, "label") {
			list = append(list, n.Dump())
		}
		for _, h := range n.Heredocs {
			list = append(list, h.Content)
		}
	}
	return list
}
