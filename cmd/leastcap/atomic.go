package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// atomicFlags are those of atomic run, install, uninstall and stop.
type atomicFlags struct {
	name, engine            string
	opts                    [3]string
	quiet, display          bool
	replace, ignore, detach bool // run's
	spc, force              bool
	allow                   bool
}

const atomicExitHelp = `Exit status:
  1  refused: the label asks for more than the image is known to need, or for what is
     never run; or the image has to be installed first
  2  wrong usage, or a label that makes no command, or no such container
  3  the image is not there, or could not be looked at
  otherwise the engine's own, which is the container's`

func newAtomic(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "atomic",
		Short: "Run, install, uninstall and stop an image as its labels say",
		Long: `Do what an image's labels RUN, INSTALL, UNINSTALL and STOP say, as projectatomic's
atomic command did.

A label is data from a stranger. No shell sees it; only docker, podman and nerdctl are
run, from the directories of PATH whatever directory the label names, and of their
commands run, create, exec, start, stop, restart, rm, kill, wait, pause and unpause.
What it asks for is shown, and refused without --allow where it is more than the image
is known to need: by a profile that leastcap learn proved here for this image, command
and user, else by the image's own label ` + labelCaps + ` as far as
Docker's default goes, else Docker's fourteen default capabilities and no other privilege.

In a label, IMAGE, NAME, IMAGE=IMAGE and NAME=NAME as words of their own, and $VAR and
${VAR} anywhere, are replaced. Variables are those of the environment, and NAME, IMAGE,
PWD, SUDO_UID, SUDO_GID, RUN_OPTS (the contents of the file that the label RUN_OPTS_FILE
names), OPT1, OPT2 and OPT3. What stands from an unset variable to the next space is
deleted, and that is said. ARGS follow the label's words as they are.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("unknown command %q", "atomic "+args[0]), "use leastcap atomic run, install, uninstall or stop"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(
		newAtomicRun(stdout, stderr),
		newAtomicVerb(stdout, stderr, "install", "Do what the image's label INSTALL says, and remember it", `Pull the image if it is not there, do what its label INSTALL says, with ARGS behind it,
and remember that it is installed. Without that label there is nothing to do.`),
		newAtomicVerb(stdout, stderr, "uninstall", "Do what the image's label UNINSTALL says, and forget it", `Stop and remove the container that --name names; do what the image's label UNINSTALL
says, with ARGS behind it, and forget that it was installed. Without that label the
image is removed, unless it is installed under another name. Containers of the image
that are left are an error without --force, which removes them.`),
		newAtomicVerb(stdout, stderr, "stop", "Stop a container as its image's label STOP says", `Do what the label STOP of the container says, with ARGS behind it, or without that label
stop it. The container is the one that is named, or the one that atomic run IMAGE made.`),
	)
	return cmd
}

func newAtomicRun(stdout, stderr io.Writer) *cobra.Command {
	cmd := newAtomicVerb(stdout, stderr, "run", "Run an image as its label RUN says", `Run an image as its label RUN says, with ARGS behind it. Without that label it is

  docker run [-t] [-d] -i --name NAME IMAGE [ARGS]

with -t where standard input is a terminal, -d with --detach, and as capabilities what
the image is known to need, if anything is known. NAME is --name, or else the last part
of the image's name without its tag.

If there is a container of that name, it is started, or ARGS are run in it if it runs;
--replace makes it anew. An image with a label INSTALL that was not installed is refused
without --ignore. The command is printed to standard error before it is run; leastcap
run --label IMAGE is the same.`)
	cmd.Example = `  leastcap atomic run --quiet web
  leastcap atomic run --display web
  leastcap atomic run --name web2 --allow web sh
  leastcap run --label web`
	return cmd
}

func newAtomicVerb(stdout, stderr io.Writer, verb, short, long string) *cobra.Command {
	var f atomicFlags
	what := "IMAGE"
	if verb == "stop" {
		what = "CONTAINER|IMAGE"
	}
	cmd := &cobra.Command{
		Use:                   verb + " [flags] " + what + " [ARGS...]",
		Short:                 short,
		Long:                  long + "\n\n" + atomicExitHelp,
		DisableFlagsInUseLine: true,
		SilenceErrors:         true,
		SilenceUsage:          true,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return &usageError{errors.New("no image is named"), "use leastcap atomic " + verb + " " + what}
			case args[0] == "" || strings.HasPrefix(args[0], "-"):
				return &usageError{fmt.Errorf("%q is no image", args[0]), "flags of leastcap stand before the image, words behind it are the container's"}
			case f.quiet && f.display:
				return &usageError{errors.New("--quiet and --display contradict each other"), "leave one of them out"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			a, err := newAtomicCall(cmd.Context(), stdout, stderr, verb, &f, args)
			if err != nil {
				return err
			}
			switch verb {
			case "install":
				return a.install()
			case "uninstall":
				return a.uninstall()
			case "stop":
				return a.stop()
			}
			return a.run()
		},
	}
	cmd.SetFlagErrorFunc(func(_ *cobra.Command, err error) error {
		return &usageError{err, "leastcap atomic " + verb + " --help lists the flags"}
	})
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.SetInterspersed(false)
	fl.BoolVar(&f.display, "display", false, "print the command and do not run it")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "do not say what the label asks for, unless it is refused")
	fl.StringVarP(&f.name, "name", "n", "", "the container's name (default from the image's)")
	fl.BoolVar(&f.allow, "allow", false, "give what the label asks for, all of it")
	switch verb {
	case "run":
		fl.BoolVarP(&f.detach, "detach", "d", false, "in the background (without a label RUN)")
		fl.BoolVar(&f.replace, "replace", false, "remove a container of that name first")
		fl.BoolVar(&f.ignore, "ignore", false, "run it though it was not installed")
		fl.BoolVar(&f.spc, "spc", false, "super privileged: the host is the container's own (without a label RUN)")
	case "uninstall":
		fl.BoolVarP(&f.force, "force", "f", false, "remove all containers of the image")
	}
	for i := range f.opts {
		fl.StringVar(&f.opts[i], fmt.Sprintf("opt%d", i+1), "", fmt.Sprintf("the value of ${OPT%d} in the label", i+1))
	}
	fl.StringVar(&f.engine, "engine", "", "docker, podman or nerdctl (default: the first that is there)")
	return cmd
}

// labelMode tells `leastcap run --label IMAGE` from the engine's own --label KEY=VALUE:
// nothing but flags of atomic run stands before it, and what follows has no "=". The
// words of atomic run are returned.
func labelMode(args []string) ([]string, bool) {
	for i, w := range args {
		if w != "--label" {
			continue
		}
		if i+1 == len(args) || strings.Contains(args[i+1], "=") && !strings.HasPrefix(args[i+1], "-") {
			return nil, false
		}
		fs := newAtomicRun(io.Discard, io.Discard).Flags()
		if fs.Parse(args[:i]) != nil || fs.NArg() > 0 {
			return nil, false
		}
		return append(append([]string{}, args[:i]...), args[i+1:]...), true
	}
	return nil, false
}
