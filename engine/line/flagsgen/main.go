// Flagsgen writes engine/line/flags_docker.json: what docker's command line
// accepts, read from the real command tree of github.com/docker/cli.
//
// It is a Go module of its own because docker/cli brings some seventy modules
// that leastcap does not need at run time. Run it with
//
//	go generate ./engine/line
//
// docker/cli has no go.mod, so this module's go.mod has the versions of its
// vendor.mod (copied, then "go mod tidy"), with one change: swarmkit/v2 is
// v2.0.0, not v2.1.3, which the Go module proxy refused. Swarmkit has to do
// with services, not with run or create.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"runtime/debug"
	"sort"

	"github.com/docker/cli/cli"
	"github.com/docker/cli/cli/command"
	"github.com/docker/cli/cli/command/commands"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagSpec and table have the JSON shape of line.FlagSpec and line.Table.
type flagSpec struct {
	Name    string `json:"name"`
	Short   string `json:"short,omitempty"`
	Type    string `json:"type"`
	NoOpt   string `json:"no_opt,omitempty"`
	Repeat  bool   `json:"repeat,omitempty"`
	AliasOf string `json:"alias_of,omitempty"`
}

type table struct {
	Engine string     `json:"engine"`
	Source string     `json:"source"`
	Global []flagSpec `json:"global"`
	Run    []flagSpec `json:"run"`
	Create []flagSpec `json:"create"`
}

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: flagsgen FILE")
		os.Exit(2)
	}
	if err := write(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "flagsgen:", err)
		os.Exit(1)
	}
}

func write(file string) error {
	t, err := docker()
	if err != nil {
		return err
	}
	data, err := json.MarshalIndent(t, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

// docker builds the command tree as docker/cli's own cmd/docker does.
func docker() (*table, error) {
	dockerCLI, err := command.NewDockerCli()
	if err != nil {
		return nil, err
	}
	root := &cobra.Command{Use: "docker"}
	cli.SetupRootCommand(root)
	// These two are not set up by the library but by cmd/docker/docker.go.
	root.Flags().BoolP("version", "v", false, "")
	root.Flags().String("cloud", "", "")
	root.Flags().Lookup("cloud").NoOptDefVal = "default"
	commands.AddCommands(root, dockerCLI)

	t := &table{Engine: "docker", Source: "github.com/docker/cli " + version(), Global: flags(root)}
	for verb, to := range map[string]*[]flagSpec{"run": &t.Run, "create": &t.Create} {
		cmd, _, err := root.Find([]string{"container", verb})
		if err != nil {
			return nil, err
		}
		if cmd.Name() != verb {
			return nil, fmt.Errorf("the command tree has no container %s", verb)
		}
		*to = flags(cmd)
	}
	return t, nil
}

// version is the version of docker/cli that this program was built with.
func version() string {
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, m := range info.Deps {
			if m.Path == "github.com/docker/cli" {
				return m.Version
			}
		}
	}
	return "unknown"
}

// flags lists the flags of a command by name, hidden and deprecated ones too:
// docker accepts them.
func flags(cmd *cobra.Command) []flagSpec {
	set := pflag.NewFlagSet(cmd.Name(), pflag.ContinueOnError)
	set.AddFlagSet(cmd.Flags())
	set.AddFlagSet(cmd.PersistentFlags())

	var list []*pflag.Flag
	set.VisitAll(func(f *pflag.Flag) { list = append(list, f) })
	sort.Slice(list, func(i, j int) bool { return list[i].Name < list[j].Name })

	out := make([]flagSpec, 0, len(list))
	for _, f := range list {
		out = append(out, flagSpec{
			Name:    f.Name,
			Short:   f.Shorthand,
			Type:    f.Value.Type(),
			NoOpt:   f.NoOptDefVal,
			Repeat:  repeats(f.Value),
			AliasOf: aliasOf(f, list),
		})
	}
	return out
}

// aliasOf finds the visible flag that stores its value in the same place as a
// hidden one: --net is --network.
func aliasOf(f *pflag.Flag, list []*pflag.Flag) string {
	if !f.Hidden {
		return ""
	}
	for _, g := range list {
		if !g.Hidden && sameValue(f.Value, g.Value) {
			return g.Name
		}
	}
	return ""
}

func sameValue(a, b pflag.Value) bool {
	x, y := reflect.ValueOf(a), reflect.ValueOf(b)
	return x.Kind() == reflect.Pointer && y.Kind() == reflect.Pointer && x.Pointer() == y.Pointer()
}

// repeats reports whether a value collects what it is given: it then has a
// method that takes nothing and returns a slice or a map (GetSlice, GetAll,
// GetList, Value).
func repeats(v pflag.Value) bool {
	t := reflect.TypeOf(v)
	for i := range t.NumMethod() {
		m := t.Method(i).Type
		if m.NumIn() == 1 && m.NumOut() > 0 {
			switch m.Out(0).Kind() {
			case reflect.Slice, reflect.Map:
				return true
			}
		}
	}
	return false
}
