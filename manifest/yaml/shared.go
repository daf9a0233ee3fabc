package yaml

import (
	"maps"
	"slices"
	"strings"

	v3 "go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/manifest"
)

// Sharing is what anchors tie together in a document.
type Sharing struct {
	doc    *Document
	groups map[*v3.Node]*group
	byPath map[string][]*group // where the anchor stands
	byUser map[string][]*group // containers that stand in it, or refer to it
}

// group is an anchor and the containers that have something of it.
type group struct {
	anchor *v3.Node
	kind   string
	users  map[string]bool
	sorted []string // the first of them
}

// Sharing looks at all anchors of a document that something refers to. owner says which
// container a path leads into, "" if none.
func (d *Document) Sharing(owner func(path []string) string) *Sharing {
	s := &Sharing{doc: d, groups: map[*v3.Node]*group{}, byPath: map[string][]*group{}, byUser: map[string][]*group{}}
	for _, a := range d.aliases {
		g := s.groups[a.Node.n.Alias]
		if g == nil {
			g = &group{anchor: a.Node.n.Alias, kind: "anchor", users: map[string]bool{}}
			s.groups[g.anchor] = g
			path := d.paths[g.anchor]
			key := strings.Join(path, "\x00")
			s.byPath[key] = append(s.byPath[key], g)
			s.use(g, owner(path))
		}
		if a.Merge {
			g.kind = "merge"
		}
		s.use(g, owner(a.Path))
	}
	for _, g := range s.groups {
		g.sorted = slices.Sorted(maps.Keys(g.users))
		g.sorted = slices.Clip(g.sorted[:min(len(g.sorted), maxNamed)])
	}
	return s
}

// maxNamed is how many of those that share something are named.
const maxNamed = 100

func (s *Sharing) use(g *group, user string) {
	if user != "" && !g.users[user] {
		g.users[user] = true
		s.byUser[user] = append(s.byUser[user], g)
	}
}

// Of is what the container at path, whose own name is own, shares with others.
func (s *Sharing) Of(path []string, own string) []manifest.Shared {
	if len(s.groups) == 0 {
		return nil
	}
	var list []manifest.Shared
	seen := map[*group]bool{}
	add := func(g *group) {
		others := len(g.users)
		if g.users[own] {
			others--
		}
		if seen[g] || others == 0 || len(list) >= maxNamed {
			return
		}
		seen[g] = true
		with := g.sorted
		if g.users[own] {
			with = slices.DeleteFunc(slices.Clone(with), func(u string) bool { return u == own })
		}
		list = append(list, manifest.Shared{Kind: g.kind, Name: g.anchor.Anchor, At: Node{g.anchor, s.doc, unknownIndent}.Pos(), With: with})
	}
	for i := range path { // an anchor around all of the container
		for _, g := range s.byPath[strings.Join(path[:i+1], "\x00")] {
			add(g)
		}
	}
	for _, g := range s.byUser[own] {
		add(g)
	}
	return list
}

// within says that path is p or below it.
func within(path, p []string) bool {
	return len(path) >= len(p) && slices.Equal(path[:len(p)], p)
}

// PathOf is the way to a node that has an anchor; nil for any other.
func (d *Document) PathOf(n Node) []string { return d.paths[n.n] }
