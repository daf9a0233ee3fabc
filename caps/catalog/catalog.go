// Package catalog is what leastcap knows about capabilities: what each grants,
// how dangerous it is in a container, what could stand in for it, and which
// ones container engines give by default.
//
// The knowledge is the commented file catalog.yaml, with the source of every
// fact; this package is a typed view of it, read at first use. What the
// functions return belongs to the caller. What leastcap ps and top need of it (dangers,
// ranks, default sets) is compiled in as table.go: to read the file takes longer than to
// list all processes.
package catalog

//go:generate go run gen.go

import (
	"bytes"
	_ "embed"
	"fmt"
	"slices"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/caps"
)

// Entry is the knowledge about one capability.
type Entry struct {
	// Cap is the capability.
	Cap caps.Cap `yaml:"name"`
	// Number is Cap's number; the file has both so that a test can compare.
	Number int `yaml:"number"`
	// Since is the first kernel that has it: "2.2" for the original ones,
	// "5.8".
	Since string `yaml:"since"`
	// Danger is how dangerous it is in a container that has its own
	// namespaces but no user namespace.
	Danger Level `yaml:"danger"`
	// Rank orders all capabilities by danger: 1 is the most dangerous, and
	// every rank is there once.
	Rank int `yaml:"rank"`
	// RankException says why the rank is not among those of its level; empty
	// if it is.
	RankException string `yaml:"rank_exception"`
	// Grants is a clause that completes "it lets a process …".
	Grants string `yaml:"grants"`
	// Sources are manual pages, and kernel places as "file:function".
	Sources []string `yaml:"sources"`
	// Narrower are the capabilities that can stand in for it in some
	// operations, the weakest first.
	Narrower []Narrower `yaml:"narrower"`
}

// Narrower is a capability that does instead of another one in some
// operations.
type Narrower struct {
	Cap caps.Cap `yaml:"cap"`
	// For is the operations, as a noun clause.
	For string `yaml:"for"`
	// Source is where the kernel takes either, as "file:function".
	Source string `yaml:"source"`
	// Container is whether the exchange is a reduction in a container too. If
	// not, it is one only for a process on a host: dac_read_search is weaker
	// than dac_override there, and a way out of a container.
	Container bool `yaml:"container"`
}

// Default is the set of capabilities that an engine gives a container.
type Default struct {
	// Engine is the name that [DefaultSet] takes: "docker".
	Engine string
	// Caps is the set.
	Caps caps.Set
	// Source is the repository and file that defines it.
	Source string
}

// Get returns the entry of a capability. For one without a name it is the
// empty entry, but for Cap and Number: Danger is [Unknown] and Rank 0.
func Get(c caps.Cap) Entry {
	if !c.Known() {
		return Entry{Cap: c, Number: int(c)}
	}
	return load().entries[c].clone()
}

// All returns the entries of all known capabilities in the order of their
// numbers.
func All() []Entry {
	entries := slices.Clone(load().entries)
	for i := range entries {
		entries[i] = entries[i].clone()
	}
	return entries
}

// ByDanger returns the capabilities of a set, the most dangerous first.
// Capabilities without a name come before all others: nobody knows what they
// can do.
func ByDanger(set caps.Set) []caps.Cap {
	cs := set.Caps()
	slices.SortStableFunc(cs, func(a, b caps.Cap) int { return rank(a) - rank(b) })
	return cs
}

func rank(c caps.Cap) int {
	if !c.Known() {
		return 0
	}
	return int(table[c].rank)
}

// DangerOf is [Entry.Danger] of a capability.
func DangerOf(c caps.Cap) Level {
	if !c.Known() {
		return Unknown
	}
	return table[c].danger
}

// RankOf is [Entry.Rank] of a capability.
func RankOf(c caps.Cap) int { return rank(c) }

// DefaultSet returns the capabilities that an engine gives a container by
// default: "docker", "containerd", "podman", "crio", "runc". It reports false
// for an engine that the catalog does not have.
func DefaultSet(engine string) (caps.Set, bool) {
	for _, d := range defaults {
		if d.Engine == engine {
			return d.Caps, true
		}
	}
	return 0, false
}

// DefaultSets returns the default sets of all engines, in the file's order.
func DefaultSets() []Default { return slices.Clone(defaults) }

// ParsedDefaults returns the default sets as the file has them, for table.go's generator.
func ParsedDefaults() []Default { return slices.Clone(load().defaults) }

func (e Entry) clone() Entry {
	e.Sources = slices.Clone(e.Sources)
	e.Narrower = slices.Clone(e.Narrower)
	return e
}

//go:embed catalog.yaml
var file []byte

// contents is the parsed file.
type contents struct {
	entries  []Entry // by number
	defaults []Default
	means    map[Level]string
}

// load parses the file once. It is part of the program and held by tests, so a
// mistake in it is a mistake in the program.
var load = sync.OnceValue(func() contents {
	c, err := parse(file)
	if err != nil {
		panic(fmt.Sprintf("catalog.yaml: %v", err))
	}
	return c
})

// parse reads a catalog that has an entry for every known capability, in the
// order of their numbers. Keys that Entry does not have are errors.
func parse(data []byte) (contents, error) {
	var doc struct {
		Levels []struct {
			Name  Level  `yaml:"name"`
			Means string `yaml:"means"`
		} `yaml:"levels"`
		DefaultSets []struct {
			Name   string     `yaml:"name"`
			Caps   []caps.Cap `yaml:"caps"`
			Source string     `yaml:"source"`
		} `yaml:"default_sets"`
		Capabilities []Entry `yaml:"capabilities"`
	}
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&doc); err != nil {
		return contents{}, err
	}

	c := contents{entries: doc.Capabilities, means: make(map[Level]string)}
	if got, want := len(c.entries), int(caps.Last)+1; got != want {
		return contents{}, fmt.Errorf("%d capabilities, want %d", got, want)
	}
	for i, entry := range c.entries {
		if int(entry.Cap) != i || entry.Number != i {
			return contents{}, fmt.Errorf("entry %d is number %d, %v, which is number %d", i, entry.Number, entry.Cap, int(entry.Cap))
		}
	}
	for _, d := range doc.DefaultSets {
		c.defaults = append(c.defaults, Default{Engine: d.Name, Caps: caps.Of(d.Caps...), Source: d.Source})
	}
	for _, level := range doc.Levels {
		c.means[level.Name] = level.Means
	}
	return c, nil
}
