package kube

import (
	"math/rand/v2"
	"testing"

	"github.com/leastcap/leastcap/internal/formattest"
	"github.com/leastcap/leastcap/internal/testenv"
	"github.com/leastcap/leastcap/manifest"
)

type (
	tree = testenv.Tree
	list = testenv.List
)

var of = testenv.MapOf

// words is a random list of capabilities.
func words(r *rand.Rand) list {
	l := list{}
	for range r.IntN(4) {
		l = append(l, []string{"NET_ADMIN", "CHOWN", "KILL", "SYS_TIME", "ALL", "cap_chown", "Kill"}[r.IntN(7)])
	}
	return l
}

// randomPod is a pod with one to three containers, whose securityContext is anything.
func randomPod(r *rand.Rand) tree {
	one := func(n int) bool { return r.IntN(n) == 0 }
	containers := list{}
	anchors := []string{}
	anchored := func(t tree) tree { // some have an anchor, which later ones may refer to
		switch {
		case len(anchors) > 0 && one(4):
			return testenv.Alias(anchors[r.IntN(len(anchors))])
		case one(5):
			name := "a" + string(rune('a'+len(anchors)))
			anchors = append(anchors, name)
			return testenv.Anchored{Name: name, Tree: t}
		}
		return t
	}
	for i := range 1 + r.IntN(3) {
		c := of("image", "registry.example/x:1")
		if one(2) {
			c = append(of("name", "c"+string(rune('0'+i))), c...)
		}
		if one(3) {
			c = append(c, of("args", list{"one", "line\n  and more\n\n\n"})...)
		}
		sc := of()
		if one(3) {
			sc = append(sc, of("runAsUser", "1000")...)
		}
		if one(4) {
			sc = append(sc, of("privileged", []string{"true", "false"}[r.IntN(2)])...)
		}
		if one(4) {
			sc = append(sc, of("allowPrivilegeEscalation", []string{"true", "false", ""}[r.IntN(3)])...)
		}
		if !one(3) {
			m := of()
			for _, key := range []string{"add", "drop"} {
				switch r.IntN(4) {
				case 0, 1:
					m = append(m, of(key, words(r))...)
				case 2:
					m = append(m, of(key, []tree{"", "null"}[r.IntN(2)])...)
				}
			}
			sc = append(sc, of("capabilities", m)...)
		}
		r.Shuffle(len(sc), func(i, j int) { sc[i], sc[j] = sc[j], sc[i] })
		switch r.IntN(4) {
		case 0:
		case 1:
			c = append(c, of("securityContext", []tree{"", of(), "null"}[r.IntN(3)])...)
		default:
			c = append(c, of("securityContext", anchored(sc))...)
		}
		if one(3) {
			c = append(c, of("command", list{"a\nb\n"})...)
		}
		r.Shuffle(len(c), func(i, j int) { c[i], c[j] = c[j], c[i] })
		containers = append(containers, c)
	}
	spec := of("containers", containers)
	if one(2) {
		spec = append(spec, of("hostNetwork", "true")...)
	}
	return of("apiVersion", "v1", "kind", "Pod", "metadata", of("name", "p"), "spec", spec)
}

// TestLayouts edits thousands of pods that are laid out in every way. All of the edits
// must be made, but those that Kubernetes would not take.
func TestLayouts(t *testing.T) {
	edits := 0
	for seed := range uint64(800) {
		r := rand.New(rand.NewPCG(seed, 1))
		text := testenv.Layout(r, randomPod(r))
		src := manifest.Source{Name: "f.yaml", Data: []byte(text)}
		containers, err := Parse(src)
		if err != nil || len(containers) == 0 {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		changes := formattest.RandomChanges(r, containers)
		files, refused := formattest.EditAll(t, &Format, src, changes)
		for _, r := range refused {
			if len(r.Container.Shared) == 0 {
				t.Errorf("seed %d: %v\n%s", seed, r, text)
			}
		}
		for _, f := range files {
			edits += len(f.Edits)
		}
		if t.Failed() {
			t.FailNow()
		}
	}
	t.Logf("%d edits", edits)
}
