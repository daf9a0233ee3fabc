package line

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write flags_podman.json and flags_nerdctl.json")

// helpTexts are the versions of podman whose help is in testdata, oldest first.
var helpTexts = []string{"podman-4.3.1", "podman-5.4.2"}

// podmanBefore are the global flags that podman takes before the command only;
// it inherits all others. Found by trying "podman run --FLAG=x --bogus x": all
// that 4.3.1 has, and of 5.4.2 the ones listed, imagestore and transient-store.
var podmanBefore = []string{
	"config", "connection", "help", "identity", "module", "noout", "out",
	"remote", "ssh", "url", "version",
}

// podmanAliases are accepted and not shown. Each was tried with 4.3.1.
var podmanAliases = map[string]string{
	"dns-opt":                  "dns-option",
	"healthcheck-command":      "health-cmd",
	"healthcheck-interval":     "health-interval",
	"healthcheck-retries":      "health-retries",
	"healthcheck-start-period": "health-start-period",
	"healthcheck-timeout":      "health-timeout",
	"net":                      "network",
	"override-arch":            "arch",
	"override-os":              "os",
	"override-variant":         "variant",
}

// podmanRepeated are flags whose help shows the form of a value, not its type,
// and of which every occurrence counts.
var podmanRepeated = []string{"blkio-weight-device", "tmpfs"}

// nerdctlBefore are the global flags that nerdctl takes before the command
// only (cmd/nerdctl/main.go: all others are PersistentFlags).
var nerdctlBefore = []string{"help", "version"}

var nerdctlAliases = map[string]string{"dns-opt": "dns-option", "net": "network"}

// TestTablesAreCurrent makes the tables of Podman and nerdctl from the texts in
// flagsgen/testdata and compares them with the committed ones; with -update it
// writes them. Docker's table is flagsgen's own.
func TestTablesAreCurrent(t *testing.T) {
	docker, err := TableFor("docker")
	if err != nil {
		t.Fatal(err)
	}
	for _, table := range []*Table{podmanTable(t), nerdctlTable(t, docker)} {
		data, err := json.MarshalIndent(table, "", "\t")
		if err != nil {
			t.Fatal(err)
		}
		data = append(data, '\n')
		file := "flags_" + table.Engine + ".json"
		if *update {
			if err := os.WriteFile(file, data, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		committed, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(committed, data) {
			t.Errorf("%s is not what its sources give; run: go generate ./engine/cli", file)
		}
	}
}

func podmanTable(t *testing.T) *Table {
	table := &Table{Engine: "podman", Source: "help of " + strings.Join(helpTexts, ", ") + "; podman-more.txt"}
	for _, version := range helpTexts {
		table = table.With(help(t, version+"-global"), help(t, version+"-run"), help(t, version+"-create"))
	}
	verb, global, ok := strings.Cut(text(t, "podman-more"), "\nglobal:\n")
	if !ok {
		t.Fatal("podman-more.txt has no part for global flags")
	}
	// What newer help texts do show stays as they show it.
	table.Global = mergeSpecs(ParseHelp(global), table.Global)
	table.Run = mergeSpecs(ParseHelp(verb), table.Run)
	table.Create = mergeSpecs(ParseHelp(verb), table.Create)
	table.Run = withAliases(t, table.Run, podmanAliases)
	table.Create = withAliases(t, table.Create, podmanAliases)
	for _, list := range [][]FlagSpec{table.Run, table.Create} {
		for i := range list {
			list[i].Repeat = list[i].Repeat || slices.Contains(podmanRepeated, list[i].Name)
		}
	}
	markPersistent(table.Global, podmanBefore)
	return table
}

func nerdctlTable(t *testing.T, docker *Table) *Table {
	run := mergeSpecs(docker.Run, help(t, "nerdctl-run"))
	create := slices.DeleteFunc(help(t, "nerdctl-run"), func(f FlagSpec) bool {
		return f.Name == "detach" || f.Name == "attach"
	})
	table := &Table{
		Engine: "nerdctl",
		Source: "nerdctl docs/command-reference.md (nerdctl-*.txt); the rest from " + docker.Source,
		Global: help(t, "nerdctl-global"),
		Run:    withAliases(t, run, nerdctlAliases),
		Create: withAliases(t, mergeSpecs(docker.Create, create), nerdctlAliases),
	}
	// docker create has an --attach, nerdctl create has none.
	table.Create = slices.DeleteFunc(table.Create, func(f FlagSpec) bool { return f.Name == "attach" })
	for i := range table.Global {
		switch f := &table.Global[i]; f.Name {
		case "host":
			f.AliasOf = "address"
		case "storage-driver":
			f.AliasOf = "snapshotter"
		}
	}
	markPersistent(table.Global, nerdctlBefore)
	return table
}

func withAliases(t *testing.T, list []FlagSpec, aliases map[string]string) []FlagSpec {
	var more []FlagSpec
	for alias, of := range aliases {
		i := slices.IndexFunc(list, func(f FlagSpec) bool { return f.Name == of })
		if i < 0 {
			t.Fatalf("--%s is to be another name of --%s, which is not there", alias, of)
		}
		f := list[i]
		f.Name, f.Short, f.AliasOf = alias, "", of
		more = append(more, f)
	}
	return mergeSpecs(list, more)
}

func markPersistent(list []FlagSpec, before []string) {
	for i := range list {
		list[i].Persistent = !slices.Contains(before, list[i].Name)
	}
}

func text(t *testing.T, name string) string {
	data, err := os.ReadFile(filepath.Join("flagsgen", "testdata", name+".txt"))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func help(t *testing.T, name string) []FlagSpec {
	list := ParseHelp(text(t, name))
	if len(list) < 10 {
		t.Fatalf("%s.txt: only %d flags", name, len(list))
	}
	return list
}
