package catalog

import (
	"bytes"
	_ "embed"
	"fmt"
	"sync"

	"go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/caps"
)

//go:embed catalog.yaml
var file []byte

// contents is the parsed file.
type contents struct {
	entries  []Entry // by number
	defaults []Default
	means    map[Level]string
	families map[string]string // a system call → the one that stands for it
	errnos   []Errno
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

// document is the file's shape.
type document struct {
	Levels []struct {
		Name  Level  `yaml:"name"`
		Means string `yaml:"means"`
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
	Errnos       []Errno    `yaml:"errnos"`
	Families     [][]string `yaml:"call_families"`
	Capabilities []Entry    `yaml:"capabilities"`
}

// parse reads a catalog that has an entry for every known capability, in the
// order of their numbers. Keys that Entry does not have are errors.
func parse(data []byte) (contents, error) {
	var doc document
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&doc); err != nil {
		return contents{}, err
	}

	c := contents{
		entries: doc.Capabilities, errnos: doc.Errnos,
		means: make(map[Level]string), families: make(map[string]string),
	}
	if got, want := len(c.entries), int(caps.Last)+1; got != want {
		return contents{}, fmt.Errorf("%d capabilities, want %d", got, want)
	}
	for i, entry := range c.entries {
		if int(entry.Cap) != i || entry.Number != i {
			return contents{}, fmt.Errorf("entry %d is number %d, %v, which is number %d", i, entry.Number, entry.Cap, int(entry.Cap))
		}
	}
	for _, d := range doc.DefaultSets {
		set := Default{
			Engine: d.Name, Aliases: d.Aliases, Title: d.Title, Allows: d.Allows, Caps: caps.Set(d.Caps),
			Since: d.Since, Checked: d.Checked, Source: d.Source, Note: d.Note,
		}
		for _, h := range d.History {
			set.History = append(set.History, Former{Since: h.Since, Caps: caps.Set(h.Caps), Why: h.Why})
		}
		c.defaults = append(c.defaults, set)
	}
	for _, level := range doc.Levels {
		c.means[level.Name] = level.Means
	}
	for _, family := range doc.Families {
		for _, member := range family[1:] {
			if other, ok := c.families[member]; ok {
				return contents{}, fmt.Errorf("%s is in the families of %s and %s", member, other, family[0])
			}
			c.families[member] = family[0]
		}
	}
	return c, nil
}
