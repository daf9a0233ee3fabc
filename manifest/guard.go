package manifest

import (
	"errors"
	"fmt"
	"maps"
	"slices"
)

// Guard is for formats in which one place can be part of several containers. edit turns
// one change into edits, wherever they have to be; Guard tries them on a copy, and keeps
// the changes that reach no other container, or only such that want the same. The others
// are refused, with what is shared as the reason.
func Guard(src Source, changes []Change, parse func(Source) ([]*Container, error), edit func(Change) ([]Edit, *Refusal)) ([]Edit, []*Refusal) {
	var refusals []*Refusal
	edits := map[*Container][]Edit{}
	var open []Change
	for _, c := range changes {
		list, refusal := edit(c)
		if refusal != nil {
			refusals = append(refusals, refusal)
			continue
		}
		edits[c.Container] = list
		open = append(open, c)
	}
	before, _ := parse(src)
	join := func(list []Change) []Edit {
		var all []Edit
		for _, c := range list {
			all = append(all, edits[c.Container]...)
		}
		return all
	}
	if all := join(open); len(all) == 0 || try(src, before, parse, all, open, nil) == nil {
		return all, refusals
	}
	// What stands in the way is found by halves: a file may have thousands of containers.
	search := func(list, maybe []Change) (kept []Change) {
		var part func(list []Change)
		part = func(list []Change) {
			all := append(slices.Clone(kept), list...)
			err := try(src, before, parse, join(all), all, maybe)
			switch {
			case err == nil:
				kept = all
			case len(list) == 1:
				refusals = append(refusals, refuse(list[0].Container, err))
			default:
				part(list[:len(list)/2])
				part(list[len(list)/2:])
			}
		}
		part(list)
		return kept
	}
	// Another one may become what is wanted of it …
	kept := search(open, open)
	if len(kept) > 0 && try(src, before, parse, join(kept), kept, nil) != nil {
		kept = search(kept, nil) // … but not if its own change is refused
	}
	return join(kept), refusals
}

// refuse explains why a change is not made.
func refuse(c *Container, err error) *Refusal {
	r := &Refusal{Container: c, At: c.At, Reason: err.Error()}
	var reach *reachError
	if !errors.As(err, &reach) {
		return r
	}
	for _, s := range c.Shared {
		if slices.Contains(s.With, reach.other.Path) {
			r.At = s.At
			r.Reason = fmt.Sprintf("%s %s is used by %s, too", s.Kind, s.Name, reach.other.Name)
		}
	}
	r.Hint = "give " + reach.other.Name + " the same, or its own"
	return r
}

// try makes edits on a copy and compares.
func try(src Source, before []*Container, parse func(Source) ([]*Container, error), edits []Edit, changes, maybe []Change) error {
	files, err := edited(src, edits)
	if err != nil {
		return err
	}
	after, _ := parse(Overlay(src, files))
	return compare(before, after, changes, maybe)
}

// edited is what edits make of the files they are of.
func edited(src Source, edits []Edit) ([]FileChange, error) {
	byFile := map[string][]Edit{}
	for _, e := range edits {
		byFile[e.File] = append(byFile[e.File], e)
	}
	var files []FileChange
	for _, name := range slices.Sorted(maps.Keys(byFile)) {
		before := src.Data
		if name != src.Name {
			if src.Open == nil {
				return nil, fmt.Errorf("an edit is in %s, which is not there", name)
			}
			var err error
			if before, err = src.Open(name); err != nil {
				return nil, &Error{At: Pos{File: name}, Err: err}
			}
		}
		sorted, err := order(len(before), byFile[name])
		if err != nil {
			return nil, err
		}
		after, err := Apply(before, sorted)
		if err != nil {
			return nil, err
		}
		files = append(files, FileChange{Name: name, Before: before, After: after, Edits: sorted})
	}
	return files, nil
}
