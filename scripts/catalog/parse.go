package main

import (
	"bytes"
	"fmt"

	"go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
)

// document is the file's shape.
type document struct {
	Levels []struct {
		Name  catalog.Level `yaml:"name"`
		Means string        `yaml:"means"`
	} `yaml:"levels"`
	DefaultSets []struct {
		Name    string   `yaml:"name"`
		Aliases []string `yaml:"aliases"`
		Title   string   `yaml:"title"`
		Allows  bool     `yaml:"allows"`
		Caps    members  `yaml:"caps"`
		Since   string   `yaml:"since"`
		Checked string   `yaml:"checked"`
		Source  string   `yaml:"source"`
		Note    string   `yaml:"note"`
		History []struct {
			Since string  `yaml:"since"`
			Caps  members `yaml:"caps"`
			Why   string  `yaml:"why"`
		} `yaml:"history"`
	} `yaml:"default_sets"`
	Errnos       []catalog.Errno `yaml:"errnos"`
	Families     [][]string      `yaml:"call_families"`
	Capabilities []catalog.Entry `yaml:"capabilities"`
}

// contents is what is compiled: the values of package catalog's tables.
type contents struct {
	entries  []catalog.Entry // by number
	defaults []catalog.Default
	means    []string // by level
	families [][]string
	errnos   []catalog.Errno
}

func (c contents) tables() []table {
	return []table{{"entries", c.entries}, {"defaults", c.defaults}, {"levelMeans", c.means}, {"families", c.families}, {"errnos", c.errnos}}
}

// parse reads a catalog that has an entry for every known capability, in the
// order of their numbers. Keys that the types do not have are errors.
func parse(data []byte) (contents, error) {
	var doc document
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&doc); err != nil {
		return contents{}, err
	}

	c := contents{entries: doc.Capabilities, errnos: doc.Errnos, families: doc.Families, means: make([]string, catalog.Host+1)}
	if got, want := len(c.entries), int(caps.Last)+1; got != want {
		return contents{}, fmt.Errorf("%d capabilities, want %d", got, want)
	}
	for i, entry := range c.entries {
		if int(entry.Cap) != i || entry.Number != i {
			return contents{}, fmt.Errorf("entry %d is number %d, %v, which is number %d", i, entry.Number, entry.Cap, int(entry.Cap))
		}
	}
	for _, d := range doc.DefaultSets {
		set := catalog.Default{
			Engine: d.Name, Aliases: d.Aliases, Title: d.Title, Allows: d.Allows, Caps: caps.Set(d.Caps),
			Since: d.Since, Checked: d.Checked, Source: d.Source, Note: d.Note,
		}
		for _, h := range d.History {
			set.History = append(set.History, catalog.Former{Since: h.Since, Caps: caps.Set(h.Caps), Why: h.Why})
		}
		c.defaults = append(c.defaults, set)
	}
	for _, level := range doc.Levels {
		c.means[level.Name] = level.Means
	}
	in := map[string]string{}
	for _, family := range c.families {
		for _, member := range family {
			if other, ok := in[member]; ok {
				return contents{}, fmt.Errorf("%s is in the families of %s and %s", member, other, family[0])
			}
			in[member] = family[0]
		}
	}
	return c, nil
}

// members is a set in the file: a list of names, or "but: […]" for all but
// those.
type members caps.Set

func (m *members) UnmarshalYAML(n *yaml.Node) error {
	list := []caps.Cap{}
	if n.Kind == yaml.SequenceNode {
		if err := n.Decode(&list); err != nil {
			return err
		}
		*m = members(caps.Of(list...))
	} else {
		var all struct {
			But []caps.Cap `yaml:"but"`
		}
		if err := n.Decode(&all); err != nil {
			return err
		}
		list = all.But
		*m = members(caps.All().Without(list...))
	}
	if caps.Of(list...).Len() != len(list) {
		return fmt.Errorf("line %d: a capability is there twice", n.Line)
	}
	return nil
}
