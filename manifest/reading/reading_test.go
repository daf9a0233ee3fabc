package reading_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/reading"
)

// container is one of ours: "#2 spec.containers.0 drop ALL add CHOWN KILL".
func container(text string, owner *manifest.Owner) *manifest.Container {
	path, rest, _ := strings.Cut(text, " drop ")
	drop, add, _ := strings.Cut(rest, " add ")
	c := &manifest.Container{Format: "kubernetes", Path: path, Name: path[strings.LastIndexByte(path, '.')+1:], Owner: owner}
	for _, w := range strings.Fields(drop) {
		c.Caps = append(c.Caps, manifest.Request{Action: manifest.Drop, Word: manifest.Of(w, w, manifest.Pos{})})
	}
	for _, w := range strings.Fields(add) {
		c.Caps = append(c.Caps, manifest.Request{Word: manifest.Of(w, w, manifest.Pos{})})
	}
	return c
}

func TestJudge(t *testing.T) {
	chown := caps.Of(caps.Chown)
	one, two := &manifest.Owner{Kind: "Pod", Name: "a"}, &manifest.Owner{Kind: "Pod", Name: "b"}
	after := []*manifest.Container{
		container("#1 spec.containers.0 drop ALL add CHOWN", one), container("#1 spec.containers.1", one),
		container("#2 spec.containers.0", two), container("#3 spec.containers.0", two), // two of one name
		container("#4 x.containers.0 drop ALL add CHOWN", two), // a resource that nobody knows
	}
	changes := []manifest.Change{
		{Container: after[0], Want: manifest.Want{Exactly: &chown}},
		{Container: after[4], Want: manifest.Want{Exactly: &chown}},
	}
	side := func(first reading.Container) reading.Reading {
		first.Path, first.Owner, first.Name = "spec.containers.0", "Pod//a", "0"
		return reading.Reading{Containers: []reading.Container{
			first, {Path: "spec.containers.1", Owner: "Pod//a", Refused: first.Refused},
			{Path: "spec.containers.0", Owner: "Pod//b"}, {Path: "spec.containers.0", Owner: "Pod//b"},
		}}
	}
	right := reading.Container{Add: []string{"CHOWN"}, Drop: []string{"ALL"}}
	for _, tt := range []struct {
		name string
		mend func(a *reading.Answer)
		want string // "" if it agrees
	}{
		{"right", func(*reading.Answer) {}, ""},
		{"in another order, and twice", func(a *reading.Answer) { a.After.Containers[0].Add = []string{"CHOWN", "CHOWN"} }, ""},
		{"another set", func(a *reading.Answer) { a.After.Containers[0].Add = []string{"KILL"} }, "T reads add [KILL], drop [ALL] of 0, where add [CHOWN], drop [ALL] was meant"},
		{"another container", func(a *reading.Answer) { a.After.Containers[3].Drop = []string{"ALL"} }, "T reads another list of capabilities to drop"},
		{"more of them", func(a *reading.Answer) { a.After.Containers = append(a.After.Containers, right) }, "T reads 5 containers where there were 4"},
		{"another one in its place", func(a *reading.Answer) { a.After.Containers[2].Owner = "Pod//c" }, "T reads spec.containers.0 where"},
		{"something else", func(a *reading.Answer) { a.Changed = []string{"x.y"} }, "T reads a change that was not meant: x.y"},
		{"a new problem", func(a *reading.Answer) { a.After.Problems = []reading.Problem{{Document: 3, Text: "no"}} }, "T would not take it any more: document 3: no"},
		{"an old problem", func(a *reading.Answer) {
			a.Before.Problems, a.After.Problems = []reading.Problem{{Document: 3, Text: "no"}}, []reading.Problem{{Document: 3, Text: "no"}}
		}, ""},
		{"an unread document, now at another line", func(a *reading.Answer) {
			a.Before.Problems, a.After.Problems = []reading.Problem{{Document: 3, Text: "line 3", Unread: true}}, []reading.Problem{{Document: 3, Text: "line 4", Unread: true}}
		}, ""},
		{"unread", func(a *reading.Answer) {
			*a = reading.Answer{Before: reading.Reading{Problems: []reading.Problem{{Text: "line 3", Unread: true}}}}
		}, "it could not be read before the edit: line 3"},
		{"the unknown resource counts", func(a *reading.Answer) { a.Whole = true }, "T reads no #4 x.containers.0"},
		{"refused for what was wanted", func(a *reading.Answer) {
			a.After.Containers[0].Refused, a.After.Containers[1].Refused = []string{"restricted/capabilities_restricted"}, []string{"restricted/capabilities_restricted"}
		}, ""},
		{"refused for something else", func(a *reading.Answer) {
			a.After.Containers[0].Refused, a.After.Containers[1].Refused = []string{"baseline/privileged"}, []string{"baseline/privileged"}
		}, "T would refuse the pod of 0 from now on (baseline/privileged)"},
		{"refused where nothing was wanted", func(a *reading.Answer) { a.After.Containers[2].Refused = []string{"baseline/capabilities_baseline"} }, "T would refuse the pod"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &reading.Answer{Before: side(reading.Container{Drop: []string{"KILL"}}), After: side(right)}
			tt.mend(a)
			v, err := reading.Judge("T", a, after, changes)
			if tt.want == "" {
				if err != nil || len(v.Heard) != 1 || v.Heard[0] != after[0].Path || len(v.Read) != 4 || v.Read[after[2]] == v.Read[after[3]] {
					t.Errorf("%+v, %v", v, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			var d *reading.Disagreement
			if strings.HasPrefix(tt.want, "T ") && !errors.As(err, &d) {
				t.Errorf("%T", err)
			}
		})
	}
}

func TestDifference(t *testing.T) {
	m := func(pairs ...any) map[string]any {
		m := map[string]any{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i].(string)] = pairs[i+1]
		}
		return m
	}
	for _, tt := range []struct {
		a, b any
		want string
	}{
		{m("x", []any{1.0, m("y", nil)}), m("x", []any{1.0, m("y", nil)}), ""},
		{m("x", []any{1.0, m("y", nil)}), m("x", []any{1.0, m("y", "")}), "x.1.y"},
		{m("x", []any{1.0}), m("x", []any{1.0, 2.0}), "x"},
		{m("a", 1.0), m("a", 1.0, "b", nil), "b"},
		{m("a", m()), m("a", []any{}), "a"},
		{1.0, "1", reading.Everything},
	} {
		if got := reading.Difference(tt.a, tt.b); got != tt.want {
			t.Errorf("%v, %v: %q, want %q", tt.a, tt.b, got, tt.want)
		}
	}
}
