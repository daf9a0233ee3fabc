package compose

import (
	"slices"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// share notes what services have from each other: anchors, merges, extends.
func (p *project) share() {
	users := map[yaml.Identity][]string{} // services by the mappings they are made of
	for _, s := range p.services {
		for _, l := range s.def.layers {
			id := l.node.Deref().Identity()
			if !slices.Contains(users[id], s.Path) {
				users[id] = append(users[id], s.Path)
			}
		}
	}
	sharing := map[*file]*yaml.Sharing{}
	for _, s := range p.services {
		for i := range s.def.layers {
			l := &s.def.layers[i]
			if sharing[l.file] == nil {
				sharing[l.file] = l.file.doc.Sharing(ownerPath)
			}
			for _, sh := range sharing[l.file].Of(l.path, ownerPath(l.path)) {
				if !slices.ContainsFunc(s.Shared, func(o manifest.Shared) bool { return o.At == sh.At }) {
					s.Shared = append(s.Shared, sh)
				}
			}
			with := slices.DeleteFunc(slices.Clone(users[l.node.Deref().Identity()]), func(p string) bool { return p == s.Path })
			if len(with) > 0 {
				s.Shared = append(s.Shared, manifest.Shared{Kind: "service", Name: l.path[len(l.path)-1], At: l.node.Pos(), With: with})
			}
		}
	}
}

// ownerPath is the service that a path in a file leads into.
func ownerPath(path []string) string {
	if len(path) >= 2 && (path[0] == "services" || path[0] == "jobs") {
		return path[0] + "." + path[1]
	}
	return ""
}
