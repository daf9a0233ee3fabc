package yaml

import (
	"slices"

	"github.com/leastcap/leastcap/manifest"
)

// Shares are the anchors that tie what is at path to other places in the document: it
// stands around, at or in one that is referred to from outside of path, or it refers to
// one. owner says which container a path is of, "" if none.
func Shares(d *Document, path []string, owner func(path []string) string) []manifest.Shared {
	own := owner(path)
	var list []manifest.Shared
	for _, anchor := range d.anchors {
		kind := "anchor"
		users := map[string]bool{}
		mine := false
		for _, a := range d.aliases {
			if a.Node.n.Alias != anchor {
				continue
			}
			if a.Merge {
				kind = "merge"
			}
			switch user := owner(a.Path); {
			case within(a.Path, path):
				mine = true
			case user != "" && user != own:
				users[user] = true
			}
		}
		at := d.paths[anchor]
		if within(at, path) || within(path, at) {
			mine = true
		} else if user := owner(at); mine && user != "" && user != own {
			users[user] = true
		}
		if !mine || len(users) == 0 {
			continue
		}
		s := manifest.Shared{Kind: kind, Name: anchor.Anchor, At: Node{anchor, d, unknownIndent}.Pos()}
		for u := range users {
			s.With = append(s.With, u)
		}
		slices.Sort(s.With)
		list = append(list, s)
	}
	return list
}

// within says that path is p or below it.
func within(path, p []string) bool {
	return len(path) >= len(p) && slices.Equal(path[:len(p)], p)
}

// PathOf is the way to a node that has an anchor; nil for any other.
func (d *Document) PathOf(n Node) []string { return d.paths[n.n] }
