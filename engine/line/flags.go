package line

import (
	"embed"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/spf13/pflag"
)

// The flag tables are data. Docker's comes from docker/cli's own command tree;
// Podman's and nerdctl's from the texts in flagsgen/testdata, each of which
// says where it is from.
//
//go:generate go run -C flagsgen . ../flags_docker.json
//go:generate go test -vet=off -run=^TestTablesAreCurrent$ -count=1 . -update

//go:embed flags_docker.json flags_podman.json flags_nerdctl.json
var tableFiles embed.FS

// FlagSpec is what has to be known about one flag to find where it ends.
type FlagSpec struct {
	// Name is the long name without dashes.
	Name string `json:"name"`
	// Short is the one-letter form without its dash, or "".
	Short string `json:"short,omitempty"`
	// Type is pflag's name of the value's type, as help texts show it ("bool",
	// "string", "list", "strings"). Values of type "strings" are split at
	// commas by the engine.
	Type string `json:"type"`
	// NoOpt is the value the flag has when none is given with "=". A flag
	// with a NoOpt never takes the next word; one without always does.
	NoOpt string `json:"no_opt,omitempty"`
	// Repeat: every occurrence counts. Otherwise the last one wins.
	Repeat bool `json:"repeat,omitempty"`
	// AliasOf is the flag that this one is another name of, or "".
	AliasOf string `json:"alias_of,omitempty"`
	// Persistent is for global flags: the flag may also stand after the verb.
	Persistent bool `json:"persistent,omitempty"`
}

// canonical is the name that accessors know the flag by.
func (f *FlagSpec) canonical() string {
	if f.AliasOf != "" {
		return f.AliasOf
	}
	return f.Name
}

// Table is what an engine's command line accepts. A [Line] keeps the one that
// it was parsed with: do not change it afterwards ([Table.With] makes a copy).
type Table struct {
	Engine string     `json:"engine"`
	Source string     `json:"source"` // where the table is from, with versions
	Global []FlagSpec `json:"global"` // before the verb
	Run    []FlagSpec `json:"run"`
	Create []FlagSpec `json:"create"`

	// Flag sets are costly to make and keep nothing of what they parse.
	sets [3]sync.Pool
}

// The flag sets of a table.
const (
	globalSet = iota
	runSet
	createSet
)

// borrow returns one of the table's flag sets, which has to be given back.
func (t *Table) borrow(which int) *pflag.FlagSet {
	if fs, ok := t.sets[which].Get().(*pflag.FlagSet); ok {
		return fs
	}
	switch which {
	case runSet:
		return newFlagSet(t.Run, false, t.inherited())
	case createSet:
		return newFlagSet(t.Create, false, t.inherited())
	}
	return newFlagSet(t.Global, true, nil)
}

// TableFor returns the built-in table of docker, podman or nerdctl.
func TableFor(engine string) (*Table, error) {
	if !slices.Contains(engines, engine) {
		return nil, fmt.Errorf("no flag table for %q (there is one for %s)", engine, strings.Join(engines, ", "))
	}
	data, err := tableFiles.ReadFile("flags_" + engine + ".json")
	if err != nil {
		return nil, err
	}
	t := new(Table)
	if err := json.Unmarshal(data, t); err != nil {
		return nil, fmt.Errorf("flags_%s.json: %w", engine, err)
	}
	return t, nil
}

// With returns a copy of the table to which the flags of the installed
// engine's own help are added; see [ParseHelp]. Where both know a flag, the
// installed engine's word counts. Any of the three lists may be nil.
func (t *Table) With(global, run, create []FlagSpec) *Table {
	return &Table{
		Engine: t.Engine,
		Source: t.Source,
		Global: mergeSpecs(t.Global, global),
		Run:    mergeSpecs(t.Run, run),
		Create: mergeSpecs(t.Create, create),
	}
}

// mergeSpecs returns older with newer laid over it, by name. What a help text
// does not tell (aliases, persistence, and repetition of odd types) stays.
func mergeSpecs(older, newer []FlagSpec) []FlagSpec {
	byName := make(map[string]FlagSpec, len(older)+len(newer))
	taken := make(map[string]bool) // shorthands of newer
	for _, f := range newer {
		taken[f.Short] = f.Short != ""
	}
	for _, f := range older {
		if taken[f.Short] {
			f.Short = ""
		}
		byName[f.Name] = f
	}
	for _, f := range newer {
		if old, ok := byName[f.Name]; ok {
			f.Repeat = f.Repeat || old.Repeat
			f.Persistent = f.Persistent || old.Persistent
			if f.AliasOf == "" {
				f.AliasOf = old.AliasOf
			}
		}
		byName[f.Name] = f
	}
	merged := make([]FlagSpec, 0, len(byName))
	for _, f := range byName {
		merged = append(merged, f)
	}
	slices.SortFunc(merged, func(a, b FlagSpec) int { return strings.Compare(a.Name, b.Name) })
	return merged
}

// verbFlags lists what may stand between a verb and the image: the verb's own
// flags, and behind them the global flags that the engine inherits.
func (t *Table) verbFlags(verb string) (own, inherited []FlagSpec) {
	own = t.Run
	if verb == verbCreate {
		own = t.Create
	}
	return own, t.inherited()
}

// inherited lists the persistent global flags. Their letters are not inherited,
// neither by podman (which has none on them) nor by nerdctl.
func (t *Table) inherited() []FlagSpec {
	var list []FlagSpec
	for _, f := range t.Global {
		if f.Persistent {
			f.Short = ""
			list = append(list, f)
		}
	}
	return list
}

// runOnly lists by canonical name the flags that run has and create has not.
func (t *Table) runOnly() map[string]bool {
	only := make(map[string]bool)
	for i := range t.Run {
		only[t.Run[i].canonical()] = true
	}
	for i := range t.Create {
		delete(only, t.Create[i].canonical())
	}
	return only
}

// specValue makes a FlagSpec a pflag.Value. Nothing is ever stored in it: the
// parser only asks pflag which words belong to which flag.
type specValue struct {
	FlagSpec
	global bool
}

func (*specValue) String() string   { return "" }
func (*specValue) Set(string) error { return nil }
func (v *specValue) Type() string   { return v.FlagSpec.Type }

// newFlagSet builds the flag set of one command. Of two flags that claim the
// same name or letter the first has it, so nothing in a table can make pflag
// panic.
func newFlagSet(own []FlagSpec, ownGlobal bool, inherited []FlagSpec) *pflag.FlagSet {
	fs := pflag.NewFlagSet("", pflag.ContinueOnError)
	fs.SetInterspersed(false)
	fs.Usage = func() {}
	add := func(spec FlagSpec, global bool) {
		if spec.Name == "" || fs.Lookup(spec.Name) != nil {
			return
		}
		if len(spec.Short) != 1 || fs.ShorthandLookup(spec.Short) != nil {
			spec.Short = ""
		}
		fs.VarPF(&specValue{spec, global}, spec.Name, spec.Short, "").NoOptDefVal = spec.NoOpt
	}
	for _, spec := range own {
		add(spec, ownGlobal)
	}
	for _, spec := range inherited {
		add(spec, true)
	}
	add(helpSpec, ownGlobal)
	return fs
}

var helpSpec = FlagSpec{Name: "help", Type: "bool", NoOpt: "true"}
