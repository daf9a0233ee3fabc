package nomad

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/leastcap/leastcap/manifest"
)

func sortPairs(list []manifest.Pair) {
	slices.SortStableFunc(list, func(a, b manifest.Pair) int { return a.KeyAt.Start - b.KeyAt.Start })
}

func edit(src manifest.Source, changes []manifest.Change) (edits []manifest.Edit, refusals []*manifest.Refusal) {
	j, err := read(src)
	for _, c := range changes {
		if err != nil {
			refusals = append(refusals, &manifest.Refusal{Container: c.Container, Reason: err.Error()})
			continue
		}
		i := slices.IndexFunc(j.tasks, func(t task) bool { return t.c.Path == c.Container.Path })
		if i < 0 {
			refusals = append(refusals, &manifest.Refusal{Container: c.Container, Reason: "it is not in the file any more"})
			continue
		}
		list, err := j.edit(j.tasks[i], c.Want)
		if err != nil {
			refusals = append(refusals, &manifest.Refusal{Container: c.Container, Reason: err.Error()})
			continue
		}
		edits = append(edits, list...)
	}
	return edits, refusals
}

// A change of one list attribute.
type change struct {
	key     string
	remove  map[int]bool
	correct map[int]string
	add     []string
}

func (j *job) edit(t task, w manifest.Want) ([]manifest.Edit, error) {
	c := t.c
	if w.Empty() {
		return nil, nil
	}
	if t.config == nil {
		return nil, errors.New("the task has no config")
	}
	var edits []manifest.Edit
	if c.Privileged.State != manifest.Unset && !manifest.Is(c.Privileged, false) {
		switch {
		case w.Unprivileged:
			edits = append(edits, manifest.Edit{File: j.name, Start: c.Privileged.At.Start, End: c.Privileged.At.End, New: "false", Reason: "not privileged"})
		case w.Exactly != nil:
			return nil, errors.New("it is privileged, where capabilities mean nothing")
		}
	}
	lists := map[manifest.Action]*change{
		manifest.Add:  {key: "cap_add", remove: map[int]bool{}, correct: map[int]string{}},
		manifest.Drop: {key: "cap_drop", remove: map[int]bool{}, correct: map[int]string{}},
	}
	gone := map[int]bool{}
	if w.Exactly != nil {
		p, err := c.Plan(*w.Exactly, false)
		if err != nil {
			return nil, err
		}
		for _, i := range p.Remove {
			gone[i] = true
		}
		if p.DropAll {
			lists[manifest.Drop].add = []string{"ALL"}
		}
		for _, one := range p.Add {
			lists[manifest.Add].add = append(lists[manifest.Add].add, one.Docker())
		}
	}
	index := map[manifest.Action]int{}
	for i, r := range c.Caps {
		n := index[r.Action]
		index[r.Action]++
		if gone[i] || slices.Contains(w.Remove, r.Word.At) {
			lists[r.Action].remove[n] = true
		}
		for _, x := range w.Correct {
			if x.At == r.Word.At {
				lists[r.Action].correct[n] = x.Word
			}
		}
	}
	all := []*change{lists[manifest.Drop], lists[manifest.Add]}
	if w.NoNewPrivs && !manifest.Is(c.NoNewPrivs, true) {
		if c.NoNewPrivs.State != manifest.Unset {
			return nil, errors.New("no-new-privileges is there, and not true")
		}
		all = append(all, &change{key: "security_opt", add: []string{"no-new-privileges"}})
	}
	var lines []string
	for _, l := range all {
		if len(l.remove)+len(l.correct)+len(l.add) == 0 {
			continue
		}
		a := t.config.Attributes[l.key]
		if a == nil {
			lines = append(lines, l.key+" = "+quoted(l.add))
			continue
		}
		e, err := j.list(a, l)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
	if len(lines) > 0 {
		e, err := j.insert(t.config, lines)
		if err != nil {
			return nil, err
		}
		edits = append(edits, e)
	}
	return edits, nil
}

func quoted(words []string) string {
	list := make([]string, len(words))
	for i, w := range words {
		list[i] = strconv.Quote(w)
	}
	return "[" + strings.Join(list, ", ") + "]"
}

// list writes a list anew, in its own layout: in a line, or an item a line.
func (j *job) list(a *hclsyntax.Attribute, l *change) (manifest.Edit, error) {
	tuple, ok := a.Expr.(*hclsyntax.TupleConsExpr)
	if !ok {
		return manifest.Edit{}, fmt.Errorf("%s is no list that is written here", l.key)
	}
	at := j.pos(tuple.Range())
	text := j.data[at.Start:at.End]
	var items []string
	for i, e := range tuple.Exprs {
		p := j.pos(e.Range())
		if word, ok := l.correct[i]; ok {
			items = append(items, strconv.Quote(word))
		} else if !l.remove[i] {
			items = append(items, string(j.data[p.Start:p.End]))
		}
	}
	for _, w := range l.add {
		items = append(items, strconv.Quote(w))
	}
	out := "[" + strings.Join(items, ", ") + "]"
	if bytes.IndexByte(text, '\n') >= 0 && len(tuple.Exprs) > 0 {
		if bytes.Contains(text, []byte("#")) || bytes.Contains(text, []byte("//")) || bytes.Contains(text, []byte("/*")) {
			return manifest.Edit{}, fmt.Errorf("%s has comments in it", l.key)
		}
		first := j.pos(tuple.Exprs[0].Range()).Start
		open := string(j.data[at.Start+1 : first]) // line break and indentation
		last := j.pos(tuple.Exprs[len(tuple.Exprs)-1].Range()).End
		end := string(j.data[last : at.End-1])
		if strings.Contains(open, "\n") {
			out = "[" + open + strings.Join(items, ","+open) + end + "]"
			if len(items) == 0 {
				out = "[]"
			}
		}
	}
	return manifest.Edit{File: j.name, Start: at.Start, End: at.End, New: out, Reason: l.key + " " + strings.Join(l.add, " ")}, nil
}

// insert puts attributes behind the capabilities, the image or the last attribute, with
// that one's indentation and alignment.
func (j *job) insert(b *hclsyntax.Body, lines []string) (manifest.Edit, error) {
	var beside *hclsyntax.Attribute
	for _, key := range []string{"cap_add", "cap_drop", "image"} {
		if a := b.Attributes[key]; a != nil && beside == nil {
			beside = a
		}
	}
	if beside == nil {
		return manifest.Edit{}, errors.New("the config has no image")
	}
	at := j.pos(beside.Range())
	start := bytes.LastIndexByte(j.data[:at.Start], '\n') + 1
	indent := string(j.data[start:at.Start])
	end := bytes.IndexByte(j.data[at.End:], '\n')
	if strings.Trim(indent, " \t") != "" || end < 0 {
		return manifest.Edit{}, errors.New("the config is written in one line")
	}
	width := beside.EqualsRange.Start.Byte - beside.NameRange.Start.Byte
	eol := manifest.Newline(j.data, at.End)
	var text strings.Builder
	for _, l := range lines {
		key, rest, _ := strings.Cut(l, " ")
		text.WriteString(indent + key + strings.Repeat(" ", max(width-len(key), 1)) + rest + eol)
	}
	pos := at.End + end + 1
	return manifest.Edit{File: j.name, Start: pos, End: pos, New: text.String(), Reason: strings.Join(lines, ", ")}, nil
}

// verify compares all tokens, comments too, but those of the attributes that may change.
func verify(before, after manifest.Source, changes []manifest.Change) error {
	was, err := parse(before)
	if err != nil && was == nil {
		return err
	}
	is, err := parse(after)
	if err != nil && is == nil {
		return err
	}
	if err := manifest.Compare(was, is, changes); err != nil {
		return err
	}
	paths := map[string]bool{}
	for _, c := range changes {
		paths[c.Container.Path] = true
	}
	a, err := tokens(before, paths)
	if err != nil {
		return err
	}
	b, err := tokens(after, paths)
	if err != nil {
		return err
	}
	if !reflect.DeepEqual(a, b) {
		return errors.New("other parts of the job would change")
	}
	return nil
}

// tokens are a file's, without blanks and the attributes that may change.
func tokens(src manifest.Source, paths map[string]bool) ([]string, error) {
	j, err := read(src)
	if err != nil {
		return nil, err
	}
	var skip [][2]int
	for _, t := range j.tasks {
		if !paths[t.c.Path] || t.config == nil {
			continue
		}
		for _, key := range []string{"cap_add", "cap_drop", "security_opt", "privileged"} {
			if a := t.config.Attributes[key]; a != nil {
				at := j.pos(a.Range())
				skip = append(skip, [2]int{at.Start, at.End})
			}
		}
	}
	slices.SortFunc(skip, func(a, b [2]int) int { return a[0] - b[0] })
	var rest []byte
	at := 0
	for _, s := range skip {
		rest = append(rest, src.Data[at:s[0]]...)
		at = s[1]
	}
	rest = append(rest, src.Data[at:]...)
	found, diags := hclsyntax.LexConfig(bytes.TrimPrefix(rest, []byte("\ufeff")), src.Name, hcl.InitialPos)
	if diags.HasErrors() {
		return nil, diags
	}
	var list []string
	for _, t := range found {
		if s := strings.TrimSpace(string(t.Bytes)); s != "" {
			list = append(list, s)
		}
	}
	return list, nil
}
