package main

import (
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"
)

// newRoot makes the command that args call, with all below it that they can reach.
func newRoot(stdout, stderr io.Writer, args ...string) *cobra.Command {
	root := &cobra.Command{
		Use:   "leastcap",
		Short: "Find the Linux capabilities a program or container really needs, and prove it",
		Long: `leastcap finds the Linux capabilities that a program or a container really
needs, proves it by running the workload with exactly those, and says how to
take the rest away.

` + exitHelp,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("unknown command %q", args[0]), "leastcap --help lists the commands; to learn a workload: leastcap learn -- docker run …"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(stdout)
	root.SetErr(stderr)
	root.SetVersionTemplate("leastcap {{.Version}}\n")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		return &usageError{err, cmd.CommandPath() + " --help lists the flags"}
	})
	if i := slices.IndexFunc(verbs, func(v verb) bool { return len(args) > 0 && v.name == args[0] }); i >= 0 && args[0] != "man" {
		root.CompletionOptions.DisableDefaultCmd = true // a verb, too
		root.AddCommand(verbs[i].make(stdout, stderr))
		return root
	}
	for _, v := range verbs {
		root.AddCommand(v.make(stdout, stderr))
	}
	completeFlags(root)
	return root
}

// A verb is made with its flags only where it is the one that is called, or where all
// are looked at (help, completion, manuals): making all takes half as long as a short
// command.
type verb struct {
	name string
	make func(stdout, stderr io.Writer) *cobra.Command
	// looks: it runs no container, and does without the thread that engine/embedded keeps.
	looks bool
}

var verbs = []verb{
	{"learn", newLearn, false},
	{"run", newRun, false},
	{"spec", newSpec, false},
	{"ps", newPs, true},
	{"top", newTop, true},
	{"watch", newWatch, false},
	{"why", newWhy, false},
	{"audit", func(out, err io.Writer) *cobra.Command { return newAudit(os.Stdin, out, err) }, true},
	{"convert", func(out, err io.Writer) *cobra.Command { return newConvert(os.Stdin, out, err) }, true},
	{"fix", func(out, err io.Writer) *cobra.Command { return newFix(os.Stdin, out, err) }, false},
	{"explain", newExplain, true},
	{"atomic", newAtomic, false},
	{"image", newImage, false},
	{"profile", newProfile, false},
	{"doctor", func(out, _ io.Writer) *cobra.Command { return newDoctor(out) }, false},
	{"man", func(out, _ io.Writer) *cobra.Command { return newMan(out) }, true},
}
