package manifest

import (
	"errors"
	"fmt"
	"slices"
)

// A FileChange is what becomes of one file.
type FileChange struct {
	Name          string
	Before, After []byte
	Edits         []Edit // in the order of the file
}

// Rewrite makes the changes, in memory. The result is one element for each file that
// changes, and the changes that were refused: by the format, or because its second
// parser, or its first when it reads its own work again, does not see exactly what was
// wanted. Nothing that is refused is in the files.
func Rewrite(f *Format, src Source, changes []Change) ([]FileChange, []*Refusal, error) {
	if f.Edit == nil {
		return nil, nil, fmt.Errorf("%s: %s cannot be edited", src.Name, f.Title)
	}
	files, made, refusals, err := rewrite(f, src, changes)
	if err == nil {
		return files, refusals, nil
	}
	// Something is not as it should be. What is, is found by halves, so that one strange
	// document does not stop a file of a hundred.
	var kept []Change
	var search func(list []Change)
	search = func(list []Change) {
		_, _, more, err := rewrite(f, src, append(slices.Clone(kept), list...))
		switch {
		case err == nil && len(more) == 0:
			kept = append(kept, list...)
		case len(list) == 1 && err == nil:
			refusals = append(refusals, more[0])
		case len(list) == 1:
			refusals = append(refusals, &Refusal{Container: list[0].Container, At: list[0].Container.At, Reason: err.Error()})
		default:
			search(list[:len(list)/2])
			search(list[len(list)/2:])
		}
	}
	if len(made) > 0 {
		search(made)
	}
	files, _, _, err = rewrite(f, src, kept)
	return files, refusals, err
}

// rewrite makes all of the changes that the format does not refuse, and checks them.
func rewrite(f *Format, src Source, changes []Change) (files []FileChange, made []Change, refusals []*Refusal, err error) {
	edits, refusals := f.Edit(src, changes)
	made = Made(changes, refusals)
	if len(edits) == 0 {
		return nil, made, refusals, nil
	}
	if files, err = edited(src, edits); err != nil {
		return nil, made, refusals, err
	}
	after := Overlay(src, files)
	if err := f.Verify(src, after, made); err != nil {
		return nil, made, refusals, fmt.Errorf("the edit would not mean what it should: %w", err)
	}
	if err := settled(f, after, made); err != nil {
		return nil, made, refusals, fmt.Errorf("the edit would not be all: %w", err)
	}
	return files, made, refusals, nil
}

// Made are the changes that were not refused.
func Made(changes []Change, refusals []*Refusal) []Change {
	refused := make(map[*Container]bool, len(refusals))
	for _, r := range refusals {
		refused[r.Container] = true
	}
	return slices.DeleteFunc(slices.Clone(changes), func(c Change) bool { return refused[c.Container] })
}

// Overlay is the source with the files changed.
func Overlay(src Source, files []FileChange) Source {
	after := src
	changed := map[string][]byte{}
	for _, f := range files {
		if f.Name == src.Name {
			after.Data = f.After
		}
		changed[f.Name] = f.After
	}
	after.Open = func(name string) ([]byte, error) {
		if data, ok := changed[name]; ok {
			return data, nil
		}
		if src.Open == nil {
			return nil, errors.New("no other files can be read")
		}
		return src.Open(name)
	}
	return after
}

// settled says that the same wants find nothing left to edit.
func settled(f *Format, after Source, made []Change) error {
	containers, _ := f.Parse(after)
	byPath := make(map[string]*Container, len(containers))
	for _, c := range slices.Backward(containers) { // the first of one path
		byPath[c.Path] = c
	}
	var again []Change
	for _, c := range made {
		now := byPath[c.Container.Path]
		if now == nil {
			return fmt.Errorf("%s is not there any more", c.Container.Path)
		}
		w := c.Want
		w.Correct, w.Remove = nil, nil // they name places of the file as it was
		again = append(again, Change{now, w})
	}
	edits, refusals := f.Edit(after, again)
	switch {
	case len(refusals) > 0:
		return refusals[0]
	case len(edits) > 0:
		return fmt.Errorf("a second run would change it again: %s", edits[0].Reason)
	}
	return nil
}
