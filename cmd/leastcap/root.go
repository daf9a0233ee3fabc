package main

import (
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
)

func newRoot(stdout, stderr io.Writer) *cobra.Command {
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
	root.AddCommand(newLearn(stdout, stderr))
	root.AddCommand(newRun(stdout, stderr))
	root.AddCommand(newSpec(stdout, stderr))
	root.AddCommand(newPs(stdout, stderr))
	root.AddCommand(newTop(stdout, stderr))
	root.AddCommand(newWatch(stdout, stderr))
	root.AddCommand(newWhy(stdout, stderr))
	root.AddCommand(newAudit(os.Stdin, stdout, stderr))
	root.AddCommand(newConvert(os.Stdin, stdout, stderr))
	root.AddCommand(newFix(os.Stdin, stdout, stderr))
	root.AddCommand(newExplain(stdout, stderr))
	root.AddCommand(newAtomic(stdout, stderr))
	root.AddCommand(newImage(stdout, stderr))
	root.AddCommand(newProfile(stdout, stderr))
	root.AddCommand(newDoctor(stdout))
	root.AddCommand(newMan(stdout))
	completeFlags(root)
	return root
}
