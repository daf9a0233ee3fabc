package catalog

import (
	"slices"

	"github.com/leastcap/leastcap/caps"
)

// Default is a set of capabilities that somebody gives, or allows, by default.
type Default struct {
	// Engine is the name that [DefaultSet] takes: "docker".
	Engine string `json:"name"`
	// Aliases are other names that it takes.
	Aliases []string `json:"aliases,omitempty"`
	// Title is what people call it: "Docker".
	Title string `json:"title"`
	// Allows is true for a policy, which allows capabilities and gives none.
	Allows bool `json:"allows,omitempty"`
	// Caps is the set.
	Caps caps.Set `json:"capabilities"`
	// Since is the first version with this set, and Checked the newest that
	// was compared.
	Since   string `json:"since"`
	Checked string `json:"checked"`
	// Source is the repository and file that defines it.
	Source string `json:"source"`
	// Note is what else there is to know.
	Note string `json:"note,omitempty"`
	// History are the sets before, the oldest first.
	History []Former `json:"history,omitempty"`
}

// Former is a default set as it was until it changed.
type Former struct {
	// Since is the version and year from which on it was so.
	Since string   `json:"since"`
	Caps  caps.Set `json:"capabilities"`
	// Why is what changed, in a few words.
	Why string `json:"why"`
}

// DefaultSet returns the capabilities that an engine gives a container by
// default: "docker", "containerd", "podman", "crio", "runc" and whatever else
// [DefaultSets] has. It reports false for a name that the catalog does not
// have, and for a policy.
func DefaultSet(engine string) (caps.Set, bool) {
	d, ok := FindDefault(engine)
	return d.Caps, ok && !d.Allows
}

// FindDefault returns the default set of a name or alias.
func FindDefault(name string) (Default, bool) {
	for _, d := range defaults {
		if d.Engine == name || slices.Contains(d.Aliases, name) {
			return d.clone(), true
		}
	}
	return Default{}, false
}

// DefaultSets returns the default sets of all engines and policies, in the
// file's order.
func DefaultSets() []Default {
	sets := slices.Clone(defaults)
	for i := range sets {
		sets[i] = sets[i].clone()
	}
	return sets
}

// GivenBy returns the names of the engines whose default set has a capability.
func GivenBy(c caps.Cap) []string {
	var names []string
	for _, d := range defaults {
		if !d.Allows && d.Caps.Has(c) {
			names = append(names, d.Engine)
		}
	}
	return names
}

func (d Default) clone() Default {
	d.Aliases = slices.Clone(d.Aliases)
	d.History = slices.Clone(d.History)
	return d
}
