package ecs

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

func edit(src manifest.Source, changes []manifest.Change) ([]manifest.Edit, []*manifest.Refusal) {
	t, err := read(src)
	return manifest.Guard(src, changes, parse, func(c manifest.Change) ([]manifest.Edit, *manifest.Refusal) {
		if err != nil {
			return nil, &manifest.Refusal{Container: c.Container, Reason: err.Error()}
		}
		i := slices.IndexFunc(t.found, func(p place) bool { return p.c.Path == c.Container.Path })
		if i < 0 {
			return nil, &manifest.Refusal{Container: c.Container, Reason: "it is not in the file any more"}
		}
		list, err := t.found[i].edit(c.Want)
		if err != nil {
			return nil, &manifest.Refusal{Container: c.Container, Reason: err.Error()}
		}
		return list, nil
	})
}

func (p *place) edit(w manifest.Want) ([]manifest.Edit, error) {
	if w.Empty() {
		return nil, nil
	}
	if err := p.doc.Doubtful(p.path); err != nil {
		return nil, err
	}
	e := yaml.NewEditor(p.doc)
	c := p.c
	privileged := c.Privileged.State != manifest.Unset && !manifest.Is(c.Privileged, false)
	switch {
	case privileged && w.Unprivileged:
		e.Because("not privileged")
		if err := e.SetPlain(p.at("privileged"), "false"); err != nil {
			return nil, err
		}
	case privileged && w.Exactly != nil:
		return nil, errors.New("it is privileged, where capabilities mean nothing")
	}
	if w.Exactly != nil {
		if more := w.Exactly.Minus(fargateAdds); p.fargate && !more.Empty() {
			return nil, fmt.Errorf("a task on Fargate may add %v only, not %v", fargateAdds, more)
		}
	}
	if err := p.capabilities(e, w); err != nil {
		return nil, err
	}
	if w.NoNewPrivs && !manifest.Is(c.NoNewPrivs, true) {
		if p.fargate {
			return nil, errors.New("a task on Fargate has no dockerSecurityOptions")
		}
		if c.NoNewPrivs.State != manifest.Unset {
			return nil, errors.New("no-new-privileges is there, and not true")
		}
		e.Because("no new privileges")
		if err := p.list(e, p.node, "dockerSecurityOptions", nil, []string{"no-new-privileges"}); err != nil {
			return nil, err
		}
	}
	return e.Edits(), nil
}

// capabilities changes the lists to add and drop.
func (p *place) capabilities(e *yaml.Editor, w manifest.Want) error {
	remove := map[manifest.Action][]int{}
	add := map[manifest.Action][]string{}
	correct := w.Correct
	gone := map[int]bool{}
	if w.Exactly != nil {
		plan, err := p.c.Plan(*w.Exactly, true)
		if err != nil {
			return err
		}
		for _, i := range plan.Remove {
			gone[i] = true
		}
		correct = append(slices.Clip(correct), plan.Respell...)
		if plan.DropAll {
			add[manifest.Drop] = []string{"ALL"}
		}
		for _, one := range plan.Add {
			add[manifest.Add] = append(add[manifest.Add], one.Docker())
		}
	}
	for i, r := range p.c.Caps {
		if slices.Contains(w.Remove, r.Word.At) {
			gone[i] = true
		}
	}
	capabilities := p.at("linuxParameters", "capabilities")
	index := map[manifest.Action]int{}
	for i, r := range p.c.Caps {
		n := index[r.Action]
		index[r.Action]++
		if gone[i] {
			remove[r.Action] = append(remove[r.Action], n)
			continue
		}
		for _, x := range correct {
			if x.At == r.Word.At {
				e.Because("write " + x.Word)
				if err := e.SetWord(capabilities.At(p.key(r.Action.String())).Item(n), x.Word); err != nil {
					return err
				}
			}
		}
	}
	if len(remove)+len(add) == 0 {
		return nil
	}
	e.Because("capabilities")
	if !capabilities.Exists() || capabilities.Len() == 0 {
		var pairs []yaml.Pair
		for _, a := range []manifest.Action{manifest.Add, manifest.Drop} {
			if len(add[a]) > 0 {
				pairs = append(pairs, yaml.Pair{Key: p.key(a.String()), Value: yaml.List(add[a]...)})
			}
		}
		value := yaml.Map(pairs...)
		linux := p.node.Get(p.key("linuxParameters"))
		switch {
		case capabilities.Exists():
			return e.SetNothing(linux.Value.Get(p.key("capabilities")), value)
		case linux.Exists() && linux.Value.Len() > 0:
			return e.Insert(linux.Value, nil, yaml.Pair{Key: p.key("capabilities"), Value: value})
		case linux.Exists():
			return e.SetNothing(linux, yaml.Map(yaml.Pair{Key: p.key("capabilities"), Value: value}))
		}
		return e.Insert(p.node, []string{p.key("user"), p.key("image"), p.key("name")},
			yaml.Pair{Key: p.key("linuxParameters"), Value: yaml.Map(yaml.Pair{Key: p.key("capabilities"), Value: value})})
	}
	for _, a := range []manifest.Action{manifest.Drop, manifest.Add} {
		if err := p.list(e, capabilities, a.String(), remove[a], add[a]); err != nil {
			return err
		}
	}
	return nil
}

// list takes items out of a list in a mapping, and puts others in.
func (p *place) list(e *yaml.Editor, m yaml.Node, name string, remove []int, add []string) error {
	return e.SetList(m, p.key(name), []string{p.key("add"), p.key("drop"), p.key("user"), p.key("image")}, remove, add)
}

// verify has a second parser compare all but what may change of the containers that do.
func verify(before, after manifest.Source, changes []manifest.Change) error {
	t, err := read(before)
	if err != nil {
		return err
	}
	is, err := parse(after)
	if err != nil && is == nil {
		return err
	}
	was, _ := parse(before)
	if err := manifest.Compare(was, is, changes); err != nil {
		return err
	}
	allowed := map[string]bool{}
	wanted := manifest.ByPath(changes)
	for _, p := range t.found {
		if wanted[p.c.Path] == nil {
			continue
		}
		for _, key := range [][]string{{"linuxParameters", "capabilities"}, {"dockerSecurityOptions"}, {"privileged"}} {
			path := []string{fmt.Sprint(p.doc.Number)}
			path = append(path, p.path...)
			if key[0] == "linuxParameters" && !p.at("linuxParameters").Exists() {
				key = key[:1]
			}
			for _, k := range key {
				path = append(path, p.key(k))
			}
			allowed[strings.Join(path, "\x00")] = true
		}
	}
	return yaml.Verify(before, after, func(document int, path []string) bool {
		return allowed[strings.Join(append([]string{fmt.Sprint(document)}, path...), "\x00")]
	})
}
