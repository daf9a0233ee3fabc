package main

import (
	"io"
	"slices"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// What is made for one verb alone is what it is among all.
func TestVerbAlone(t *testing.T) {
	words := func(cmd *cobra.Command) []string {
		var list []string
		var visit func(cmd *cobra.Command)
		visit = func(cmd *cobra.Command) {
			list = append(list, cmd.CommandPath())
			cmd.Flags().VisitAll(func(f *pflag.Flag) { list = append(list, cmd.CommandPath()+" --"+f.Name) })
			for _, c := range cmd.Commands() {
				visit(c)
			}
		}
		visit(cmd)
		return list
	}
	all := newRoot(io.Discard, io.Discard)
	if got, want := len(all.Commands()), len(verbs); got != want {
		t.Errorf("%d commands, %d verbs", got, want)
	}
	for _, v := range verbs {
		among, _, err := all.Find([]string{v.name})
		if err != nil || among.Name() != v.name {
			t.Errorf("%s: %v", v.name, err)
			continue
		}
		alone, _, err := newRoot(io.Discard, io.Discard, v.name, "--help").Find([]string{v.name})
		if err != nil {
			t.Errorf("%s: %v", v.name, err)
		} else if !slices.Equal(words(alone), words(among)) {
			t.Errorf("%s alone has %v, among all %v", v.name, words(alone), words(among))
		}
	}
}
