package manifest

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/leastcap/leastcap/caps"
)

// Compare says where the containers of a file, read before and after an edit, differ in
// more than the changes or less. Places and spellings do not count.
func Compare(before, after []*Container, changes []Change) error {
	return compare(before, after, changes, nil)
}

// ByPath finds changes by the paths of their containers; of several of one path the first.
func ByPath(changes []Change) map[string]*Change {
	m := make(map[string]*Change, len(changes))
	for i := range changes {
		if c := &changes[i]; m[c.Container.Path] == nil {
			m[c.Container.Path] = c
		}
	}
	return m
}

// compare allows the containers of maybe to be as they were, or as they are wanted.
func compare(before, after []*Container, changes, maybe []Change) error {
	if len(before) != len(after) {
		return fmt.Errorf("%d containers would be %d", len(before), len(after))
	}
	wanted, perhaps := ByPath(changes), ByPath(maybe)
	for i, b := range before {
		a := after[i]
		if a.Path != b.Path {
			return fmt.Errorf("%s would be %s", b.Path, a.Path)
		}
		change := wanted[b.Path]
		if change == nil {
			if fact := differs(b, a, Want{}); fact != "" {
				if m := perhaps[b.Path]; m == nil || fulfilled(b, a, m.Want) != nil || differs(b, a, m.Want) != "" {
					return &reachError{b, fact}
				}
			}
			continue
		}
		if err := fulfilled(b, a, change.Want); err != nil {
			return err
		}
		if fact := differs(b, a, change.Want); fact != "" {
			return fmt.Errorf("%s of %s would change", fact, b.Name)
		}
	}
	return nil
}

// A reachError is a change that would reach another container.
type reachError struct {
	other *Container
	fact  string
}

func (e *reachError) Error() string {
	return fmt.Sprintf("it would change %s, too", e.other.Name)
}

// differs is the name of a fact that differs though nobody wanted it to, "" if there is
// none.
func differs(b, a *Container, w Want) string {
	x, y := reflect.ValueOf(*b), reflect.ValueOf(*a)
	for i := range x.NumField() {
		switch name := x.Type().Field(i).Name; name {
		case "Caps", "CapsWhy", "Stated":
			if w.Exactly != nil || len(w.Correct) > 0 || len(w.Remove) > 0 {
				continue
			}
		case "Privileged":
			if w.Unprivileged {
				continue
			}
		case "NoNewPrivs":
			if w.NoNewPrivs {
				continue
			}
		case "Shared":
			continue
		}
		if !same(x.Field(i), y.Field(i)) {
			return x.Type().Field(i).Name
		}
	}
	return ""
}

var posType = reflect.TypeFor[Pos]()

// same compares without places, and without Raw: how something is written.
func same(x, y reflect.Value) bool {
	switch x.Kind() {
	case reflect.Pointer:
		if x.IsNil() || y.IsNil() {
			return x.IsNil() == y.IsNil()
		}
		return same(x.Elem(), y.Elem())
	case reflect.Slice:
		if x.Len() != y.Len() {
			return false
		}
		for i := range x.Len() {
			if !same(x.Index(i), y.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Struct:
		if x.Type() == posType {
			return true
		}
		for i := range x.NumField() {
			if x.Type().Field(i).Name != "Raw" && !same(x.Field(i), y.Field(i)) {
				return false
			}
		}
		return true
	}
	return x.Equal(y)
}

// fulfilled says what of a want a container is not.
func fulfilled(b, a *Container, w Want) error {
	switch {
	case w.NoNewPrivs && !Is(a.NoNewPrivs, true):
		return fmt.Errorf("%s would not have no_new_privs", a.Name)
	case w.Unprivileged && Is(a.Privileged, true):
		return fmt.Errorf("%s would still be privileged", a.Name)
	case w.Exactly != nil:
		return exactly(a, *w.Exactly)
	}
	if len(w.Correct) == 0 && len(w.Remove) == 0 {
		return nil
	}
	type entry struct {
		action Action
		set    Set
		word   string
	}
	var want, have []entry
	for _, r := range b.Caps {
		if slices.Contains(w.Remove, r.Word.At) {
			continue
		}
		word := r.Word.V
		for _, c := range w.Correct {
			if c.At == r.Word.At {
				word = c.Word
			}
		}
		want = append(want, entry{r.Action, r.Set, word})
	}
	for _, r := range a.Caps {
		have = append(have, entry{r.Action, r.Set, r.Word.V})
	}
	if !slices.Equal(want, have) {
		return fmt.Errorf("%s would not ask for what it should", a.Name)
	}
	return nil
}

func exactly(c *Container, set caps.Set) error {
	if c.Stated != nil {
		if c.Stated.Bounding != set {
			return fmt.Errorf("%s would have %v, not %v", c.Name, c.Stated.Bounding, set)
		}
		return nil
	}
	p, err := c.Plan(set, false)
	if err != nil {
		return err
	}
	if !p.Empty() {
		return fmt.Errorf("%s would not have exactly %v", c.Name, set)
	}
	return nil
}
