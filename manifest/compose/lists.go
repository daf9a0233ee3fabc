package compose

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"sync"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// list takes requests out of a key's lists, by their index among the service's, and puts
// words into home's. correct are words that are to be others, by their index; those that
// are written here are deleted from it.
func (e *editor) list(key string, remove []int, add []string, correct map[int]string) error {
	action := manifest.Add
	if key == "cap_drop" {
		action = manifest.Drop
	}
	// Which items of which list go, and what stays in a list that home does not own.
	gone := map[int][]int{} // by layer
	for _, i := range remove {
		if r := e.s.refs[i]; e.s.Caps[i].Action == action {
			gone[r.layer] = append(gone[r.layer], r.index)
		}
	}
	home := e.homeIndex()
	entry := e.home.node.Get(key)
	isolated := entry.Exists() && entry.Value.Deref().Tag() == "!override"
	if e.want.Exactly != nil && !isolated && (e.isolate || e.takesExtended(gone)) {
		return e.override(key, action, remove, gone[home], add)
	}
	if len(gone) == 0 && len(add) == 0 {
		return nil
	}
	foreign := entry.Exists() && !entry.Value.IsNull() && (entry.Merged || entry.Value.IsAlias())
	if foreign && (len(gone[home]) > 0 || len(add) > 0) {
		// A merge key's or an anchor's list is written out in its place.
		var words []string
		for i, r := range e.s.refs {
			if r.layer != home || e.s.Caps[i].Action != action || slices.Contains(remove, i) {
				continue
			}
			word := e.s.Caps[i].Word.Raw
			if w, ok := correct[i]; ok {
				word = w
				delete(correct, i)
			}
			words = append(words, word)
		}
		words = append(words, add...)
		if slices.ContainsFunc(words, func(w string) bool { return !plainWord().MatchString(w) }) {
			return errors.New(key + " has words that would need quotes")
		}
		delete(gone, home)
		add = nil
		if entry.Merged {
			e.pairs = append(e.pairs, yaml.Pair{Key: key, Value: yaml.List(words...)})
		} else if err := e.in(e.home.file).ReplaceAlias(entry, yaml.List(words...)); err != nil {
			return err
		}
	}
	for _, l := range slices.Sorted(maps.Keys(gone)) {
		if l == home && len(add) > 0 {
			continue
		}
		if err := e.take(&e.s.def.layers[l], key, gone[l], nil); err != nil {
			return err
		}
	}
	switch {
	case len(add) == 0:
	case !entry.Exists():
		e.pairs = append(e.pairs, yaml.Pair{Key: key, Value: yaml.List(add...)})
	case entry.Value.IsNull(), entry.Value.Len() == 0:
		return e.in(e.home.file).SetNothing(entry, yaml.List(add...))
	default:
		return e.take(e.home, key, gone[home], add)
	}
	return nil
}

// takesExtended says that something has to go that an extended service has.
func (e *editor) takesExtended(gone map[int][]int) bool {
	for l := range gone {
		if e.s.def.layers[l].kind == "extends" {
			return true
		}
	}
	return false
}

// override makes home's list the only one: what stays of the others' is written into it.
func (e *editor) override(key string, action manifest.Action, remove, gone []int, add []string) error {
	const tag = "!override"
	home := e.homeIndex()
	var others, own []string
	for i, r := range e.s.refs {
		if e.s.Caps[i].Action != action || slices.Contains(remove, i) {
			continue
		}
		if word := e.s.Caps[i].Word.Raw; r.layer == home {
			own = append(own, word)
		} else {
			others = append(others, word)
		}
	}
	more := slices.Concat(others, add)
	all := slices.Concat(own, more)
	if slices.ContainsFunc(all, func(w string) bool { return !plainWord().MatchString(w) }) {
		return errors.New(key + " has words that would need quotes")
	}
	entry := e.home.node.Get(key)
	ed := e.in(e.home.file)
	whole := yaml.List(all...).Tagged(tag)
	switch {
	case !entry.Exists(), entry.Merged:
		e.pairs = append(e.pairs, yaml.Pair{Key: key, Value: whole})
		return nil
	case entry.Value.IsAlias():
		return ed.ReplaceAlias(entry, whole)
	case len(own) == 0:
		return ed.Replace(entry, yaml.Pair{Key: key, Value: whole})
	}
	if err := ed.Tag(entry, tag); err != nil {
		return err
	}
	if len(gone) == 0 && len(more) == 0 {
		return nil
	}
	return ed.SetItems(entry.Value, gone, more)
}

func (e *editor) homeIndex() int {
	for i := range e.s.def.layers {
		if &e.s.def.layers[i] == e.home {
			return i
		}
	}
	return -1
}

// plainWord is one that needs no quotes in any style.
var plainWord = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.=/-]*(:[A-Za-z0-9_./=-]+)*$`) })

// take edits the list of one layer.
func (e *editor) take(l *layer, key string, remove []int, add []string) error {
	entry := l.node.Get(key)
	ed := e.in(l.file)
	list := entry.Value.Deref()
	slices.Sort(remove)
	if len(remove) < list.Len() || len(add) > 0 {
		return ed.SetItems(list, remove, add)
	}
	in := l.node.Deref()
	if entry.Merged {
		in = entry.In
	}
	if l == e.home && in.Len() == 1 && len(e.pairs) > 0 && !entry.Merged && entry.Value.Tag() != "!override" {
		pairs := e.pairs
		e.pairs = nil
		return ed.Replace(entry, pairs...)
	}
	if in.Len() == 1 || len(in.Merges()) > 0 || entry.Value.IsAlias() || entry.Value.Tag() == "!override" {
		// Without the key there would be something else in its place, or nothing.
		if entry.Value.IsAlias() {
			return ed.ReplaceAlias(entry, yaml.List())
		}
		return ed.Empty(entry)
	}
	return ed.Remove(entry)
}
