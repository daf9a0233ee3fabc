package compose

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/leastcap/leastcap/internal/formattest"
	"github.com/leastcap/leastcap/internal/testenv"
)

type (
	tree = testenv.Tree
	list = testenv.List
)

var of = testenv.MapOf

// randomProject has services that merge, alias and extend each other in any way that
// compose-go takes.
func randomProject(r *rand.Rand) tree {
	one := func(n int) bool { return r.IntN(n) == 0 }
	words := func() list {
		l := list{}
		for range r.IntN(4) {
			l = append(l, []string{"NET_ADMIN", "CHOWN", "KILL", "SYS_TIME", "ALL", "cap_chown", "kill"}[r.IntN(7)])
		}
		return l
	}
	anchors := []string{}
	anchor := func(t tree) tree {
		if !one(3) {
			return t
		}
		name := string(rune('a' + len(anchors)))
		anchors = append(anchors, name)
		return testenv.Anchored{Name: name, Tree: t}
	}
	lists := []string{}
	body := func() testenv.Map {
		m := of()
		for _, key := range []string{"cap_add", "cap_drop"} {
			switch r.IntN(6) {
			case 0, 1:
				m = append(m, of(key, words())...)
			case 2:
				if len(lists) > 0 && one(2) {
					m = append(m, of(key, testenv.Alias(lists[r.IntN(len(lists))]))...)
				} else {
					name := "l" + string(rune('a'+len(lists)))
					lists = append(lists, name)
					m = append(m, of(key, testenv.Anchored{Name: name, Tree: append(words(), "MKNOD")})...)
				}
			}
		}
		if one(4) {
			m = append(m, of("privileged", []tree{"true", "false"}[r.IntN(2)])...)
		}
		if one(4) {
			m = append(m, of("security_opt", list{[]string{"label:disable", "no-new-privileges:true", "no-new-privileges:false", "seccomp=unconfined"}[r.IntN(4)]})...)
		}
		if one(4) {
			m = append(m, of("command", "text\nof lines\n")...)
		}
		return m
	}
	project := of()
	if one(2) {
		project = append(project, of("x-one", testenv.Anchored{Name: "x", Tree: append(of("read_only", "true"), body()...)})...)
		anchors = append(anchors, "x")
	}
	services := of()
	names := []string{}
	for i := range 1 + r.IntN(4) {
		name := "s" + string(rune('0'+i))
		if len(anchors) > 0 && one(8) && anchors[len(anchors)-1] != "x" {
			services = append(services, of(name, testenv.Alias(anchors[len(anchors)-1]))...)
			names = append(names, name)
			continue
		}
		m := append(of("image", "x:1"), body()...)
		if len(names) > 0 && one(4) {
			base := names[r.IntN(len(names))]
			if one(2) {
				m = append(m, of("extends", base)...)
			} else {
				m = append(m, of("extends", of("service", base))...)
			}
		}
		r.Shuffle(len(m), func(i, j int) { m[i], m[j] = m[j], m[i] })
		if len(anchors) > 0 && one(3) {
			m = append(of("<<", testenv.Alias(anchors[r.IntN(len(anchors))])), m...)
		}
		services = append(services, of(name, anchor(m))...)
		names = append(names, name)
	}
	return append(project, of("services", services)...)
}

// TestLayouts edits projects that are laid out in every way. compose-go must read them as
// this package does, before and after; what is refused is refused because something is
// shared.
func TestLayouts(t *testing.T) {
	edits, made, refusedAll := 0, 0, 0
	for seed := range uint64(250) {
		r := rand.New(rand.NewPCG(seed, 2))
		text := testenv.Layout(r, randomProject(r))
		f := files{"compose.yaml": text}
		if _, err := oracle(t, f); err != nil {
			continue // no project for compose-go either
		}
		agree(t, f)
		src := f.source()
		containers, err := Parse(src)
		if err != nil {
			t.Fatalf("seed %d: %v\n%s", seed, err, text)
		}
		changes := formattest.RandomChanges(r, containers)
		out, refused := formattest.EditAll(t, &Format, src, changes)
		for _, r := range refused {
			if len(r.Container.Shared) == 0 && !strings.Contains(text, "*l") { // or a list that is used twice in it
				t.Errorf("seed %d: %v\n%s", seed, r, text)
			}
		}
		refusedAll += len(refused)
		made += len(changes) - len(refused)
		for _, c := range out {
			edits += len(c.Edits)
			f[c.Name] = string(c.After)
		}
		agree(t, f)
		if t.Failed() {
			t.Fatalf("seed %d:\n%s\nbecame\n%s", seed, text, f["compose.yaml"])
		}
	}
	t.Logf("%d changes made by %d edits, %d refused", made, edits, refusedAll)
}
