// Package verify says what differs in meaning between two readings of a file: after an
// edit nothing may differ but what was wanted.
package verify

import (
	"fmt"
	"reflect"
	"slices"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

// Containers compares all containers of a file before and after the changes. Those that
// were changed are as wanted, by [Wanted], and beyond that all are the same, places
// aside.
func Containers(before, after []*manifest.Container, changes []manifest.Change) error {
	if len(before) != len(after) {
		return fmt.Errorf("there are %d containers where %d were", len(after), len(before))
	}
	for i, b := range before {
		a := after[i]
		if a.Path != b.Path {
			return fmt.Errorf("%s is where %s was", a.Path, b.Path)
		}
		var want manifest.Want
		if j := slices.IndexFunc(changes, func(c manifest.Change) bool { return c.Container.Path == b.Path }); j >= 0 {
			want = changes[j].Want
			if err := Wanted(a, want); err != nil {
				return fmt.Errorf("%s: %w", a.Path, err)
			}
		}
		if field := differs(meaning(b, want), meaning(a, want)); field != "" {
			return fmt.Errorf("%s: %s would change", a.Path, field)
		}
	}
	return nil
}

// Wanted says what of a want a container does not have.
func Wanted(c *manifest.Container, w manifest.Want) error {
	if w.Exactly != nil {
		if err := exactly(c, *w.Exactly); err != nil {
			return err
		}
	}
	if w.NoNewPrivs && !manifest.Is(c.NoNewPrivs, true) {
		return fmt.Errorf("no_new_privs is not there")
	}
	if w.Unprivileged && c.Privileged.State != manifest.Unset && !manifest.Is(c.Privileged, false) {
		return fmt.Errorf("it is still privileged")
	}
	return nil
}

func exactly(c *manifest.Container, set caps.Set) error {
	if c.Stated != nil {
		if got := c.Stated.Bounding; got != set {
			return fmt.Errorf("it may have %v where %v is wanted", got, set)
		}
		return nil
	}
	var adds caps.Set
	dropAll := false
	for i := range c.Caps {
		r := &c.Caps[i]
		one, all, err := r.Capability()
		switch {
		case err != nil:
			return err
		case r.Action == manifest.Drop && all:
			dropAll = true
		case r.Action == manifest.Add && !all:
			adds = adds.With(one)
		default:
			return fmt.Errorf("%s %s is there", r.Action, r.Word.V)
		}
	}
	if !dropAll || adds != set {
		return fmt.Errorf("it gets %v where %v is wanted", adds, set)
	}
	return nil
}

// meaning is a copy without what the want may change.
func meaning(c *manifest.Container, w manifest.Want) *manifest.Container {
	m := *c
	if w.Exactly != nil || len(w.Correct) > 0 || len(w.Remove) > 0 {
		m.Caps, m.Stated = nil, nil
	}
	if w.NoNewPrivs {
		m.NoNewPrivs = manifest.Bool{}
	}
	if w.Unprivileged {
		m.Privileged = manifest.Bool{}
	}
	return &m
}

// differs names the first field that differs, places aside.
func differs(a, b *manifest.Container) string {
	va, vb := reflect.ValueOf(*a), reflect.ValueOf(*b)
	for i := range va.NumField() {
		if !same(va.Field(i), vb.Field(i)) {
			return va.Type().Field(i).Name
		}
	}
	return ""
}

var posType = reflect.TypeFor[manifest.Pos]()

func same(a, b reflect.Value) bool {
	switch a.Kind() {
	case reflect.Struct:
		if a.Type() == posType {
			return true
		}
		for i := range a.NumField() {
			if !same(a.Field(i), b.Field(i)) {
				return false
			}
		}
		return true
	case reflect.Slice:
		if a.Len() != b.Len() {
			return false
		}
		for i := range a.Len() {
			if !same(a.Index(i), b.Index(i)) {
				return false
			}
		}
		return true
	case reflect.Pointer:
		if a.IsNil() || b.IsNil() {
			return a.IsNil() == b.IsNil()
		}
		return same(a.Elem(), b.Elem())
	}
	return a.Equal(b)
}
