package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

// maxProfile is the most bytes that are read as a profile; one is some hundred
// kilobytes.
const maxProfile = 64 << 20

func newProfile(stdout, stderr io.Writer) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "profile",
		Short: "Show, merge, compare and share learned profiles",
		Long: `Show, merge and compare the profiles that leastcap learn --profile FILE writes;
share them through the image's registry; list and remove those that are kept for
leastcap run. Nothing is run, and no privileges are needed.`,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return &usageError{fmt.Errorf("unknown command %q", "profile "+args[0]), "use leastcap profile show, merge, diff, push, pull, list or remove"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newProfileShow(stdout, stderr), newProfileMerge(stdout, stderr), newProfileDiff(stdout),
		newProfilePush(stdout, stderr), newProfilePull(stdout, stderr), newProfileList(stdout, stderr), newProfileRemove(stdout))
	return cmd
}

const profileExitHelp = `Exit status:
  0  proven
  1  not proven, which a profile of learn --observe-only never is
  2  wrong usage, or a file that is no profile
  3  incomplete, or output that cannot be written`

func newProfileShow(stdout, stderr io.Writer) *cobra.Command {
	var f learnFlags // its --output
	cmd := &cobra.Command{
		Use:   "show [flags] FILE",
		Short: "Print a profile as learn does",
		Long: `Print a profile as leastcap learn does. FILE - is standard input.

` + profileExitHelp,
		Example: `  leastcap profile show nginx.json
  leastcap profile show --output flags nginx.json`,
		DisableFlagsInUseLine: true,
		Args:                  files(1, 1, "leastcap profile show FILE"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := known(f.output, "text", "json", "flags"); err != nil {
				return err
			}
			in, err := readProfiles(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			return f.finish(stdout, stderr, in[0].Profile)
		},
	}
	cmd.Flags().StringVarP(&f.output, "output", "o", "text", "text, json (the profile) or flags")
	return cmd
}

func newProfileMerge(stdout, stderr io.Writer) *cobra.Command {
	var f learnFlags // its --output and --profile
	var force bool
	cmd := &cobra.Command{
		Use:   "merge [flags] FILE FILE...",
		Short: "Merge profiles of one workload that were learned apart",
		Long: `Merge profiles of one workload, learned with other checks, on other machines,
with a fresh and a used volume, into their union. What one of them requires is
required; where another did without, the result says so and names the files.

It is proven only if all of them are and recommend the same: otherwise the union
itself was never run. It is complete only if all are. Another kernel, engine or
baseline is noted; another image (by its id or digest where both profiles have
one, else by its name) or program is an error without --force.

A FILE can be a merged profile, and - is standard input. The same profile given
twice counts once. Fields that this version of leastcap does not know are not
carried over.

` + profileExitHelp,
		Example: `  leastcap profile merge --profile db.json fresh.json used.json
  leastcap profile merge --output flags replica-*.json`,
		DisableFlagsInUseLine: true,
		Args:                  files(2, -1, "leastcap profile merge FILE FILE..."),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := known(f.output, "text", "json", "flags"); err != nil {
				return err
			}
			if cmd.Flags().Changed("profile") {
				if err := f.validateProfile(); err != nil {
					return err
				}
			}
			in, err := readProfiles(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			p, err := usage.Merge(force, in...)
			if err != nil {
				return mergeError(err)
			}
			p.Tool = "leastcap " + version
			return f.finish(stdout, stderr, p)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.output, "output", "o", "text", "text, json (the profile) or flags")
	fl.StringVar(&f.profile, "profile", "", "write the merged profile to this file")
	fl.BoolVar(&force, "force", false, "merge profiles of different workloads, and note it")
	return cmd
}

func newProfileDiff(stdout io.Writer) *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "diff [flags] A B",
		Short: "Say what changed from one profile to another",
		Long: `Say what changed from profile A to profile B: what was learned and where, and of
each capability that differs its status, when it was asked for, and the first
evidence of the profile that needs it more. A or B can be - for standard input.

Exit status:
  0  no difference in what is required or recommended
  1  they differ
  2  wrong usage, or a file that is no profile
  3  output that cannot be written`,
		Example: `  leastcap profile diff nginx-1.26.json nginx-1.27.json
  leastcap profile diff --output json before.json after.json`,
		DisableFlagsInUseLine: true,
		Args:                  files(2, 2, "leastcap profile diff A B"),
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := known(output, "text", "json"); err != nil {
				return err
			}
			in, err := readProfiles(cmd.InOrStdin(), args)
			if err != nil {
				return err
			}
			d := usage.Compare(in[0], in[1])
			if output == "json" {
				err = report.DiffJSON(stdout, d)
			} else {
				err = report.Diff(stdout, d, styleOf(stdout))
			}
			if err == nil && !d.Same {
				return status(exitFindings)
			}
			return err
		},
	}
	cmd.Flags().StringVarP(&output, "output", "o", "text", "text or json")
	return cmd
}

// files takes so many names of files; most < 0 is any number.
func files(least, most int, how string) func(*cobra.Command, []string) error {
	return func(_ *cobra.Command, args []string) error {
		wrong := func(format string, a ...any) error { return &usageError{fmt.Errorf(format, a...), "use " + how} }
		switch {
		case len(args) == 0:
			return wrong("no profile is named")
		case len(args) < least:
			return wrong("only one profile is named: %s", args[0])
		case most >= 0 && len(args) > most:
			return wrong("too many arguments: %s", strings.Join(args[most:], " "))
		}
		stdin := 0
		for _, name := range args {
			switch name {
			case "":
				return wrong("the name of a profile is empty")
			case "-":
				stdin++
			}
		}
		if stdin > 1 {
			return &usageError{errors.New("- is named twice: standard input can be read once"), "put one of them in a file"}
		}
		return nil
	}
}

// known holds --output to what there is.
func known(output string, formats ...string) error {
	for _, f := range formats {
		if output == f {
			return nil
		}
	}
	n := len(formats) - 1
	return &usageError{fmt.Errorf("--output %q is not known", output), "use " + strings.Join(formats[:n], ", ") + " or " + formats[n]}
}

// readProfiles reads files, which are then called by their base names; files of
// the same base name by all of their paths.
func readProfiles(stdin io.Reader, names []string) ([]usage.Named, error) {
	paths := map[string]string{}
	ambiguous := map[string]bool{}
	for _, name := range names {
		base, path := filepath.Base(name), filepath.Clean(name)
		if other, ok := paths[base]; ok && other != path {
			ambiguous[base] = true
		}
		paths[base] = path
	}
	var out []usage.Named
	for _, name := range names {
		p, err := readProfile(stdin, name)
		if err != nil {
			return nil, err
		}
		called := filepath.Base(name)
		switch {
		case name == "-":
			called = "stdin"
		case ambiguous[called]:
			called = filepath.Clean(name)
		}
		out = append(out, usage.Named{Name: called, Profile: p})
	}
	return out, nil
}

func readProfile(stdin io.Reader, name string) (*usage.Profile, error) {
	what := name
	in := stdin
	if name == "-" {
		what = "standard input"
	} else {
		f, err := os.Open(name)
		if err != nil {
			return nil, &usageError{fmt.Errorf("read a profile: %w", err), "leastcap learn --profile FILE writes one"}
		}
		defer f.Close()
		in = f
	}
	data, err := io.ReadAll(io.LimitReader(in, maxProfile+1))
	switch {
	case err != nil:
		return nil, &usageError{fmt.Errorf("read a profile: %w", err), "leastcap learn --profile FILE writes one"}
	case len(data) > maxProfile:
		return nil, &usageError{fmt.Errorf("%s: larger than any profile (%d bytes)", what, maxProfile), "name a file that leastcap learn --profile wrote"}
	case len(strings.TrimSpace(string(data))) == 0:
		return nil, &usageError{fmt.Errorf("%s is empty", what), "name a file that leastcap learn --profile wrote, and look at what failed to write this one"}
	}
	p, err := usage.Parse(data)
	if err != nil {
		hint := "name a file that leastcap learn --profile wrote"
		if strings.Contains(err.Error(), "unexpected end of JSON") {
			hint = "it is cut off: copy it again, or learn again"
		} else if strings.Contains(err.Error(), "its version is \"leastcap.profile/") {
			hint = "use the version of leastcap that wrote it, or learn again"
		}
		return nil, &usageError{fmt.Errorf("%s: %w", usage.At(what, err), err), hint}
	}
	return p, nil
}

// mergeError adds the next step.
func mergeError(err error) error {
	var subject *usage.SubjectError
	if errors.As(err, &subject) {
		return &usageError{err, "merge profiles of one workload only; leastcap profile diff compares two; --force merges them all the same"}
	}
	return &usageError{fmt.Errorf("merge: %w", err), "merge the profiles that it was merged from"}
}

// finish prints and writes a profile and gives the exit status that learn gives
// for it.
func (f *learnFlags) finish(stdout, stderr io.Writer, p *usage.Profile) error {
	err := f.print(stdout, p)
	if f.profile != "" {
		err = errors.Join(err, writeFile(f.profile, p))
	}
	warn := func(what string) {
		if f.output != "text" {
			say(stderr, "warning: the result is %s%s", what, strings.TrimSuffix(": "+strings.Join(p.Notes, "; "), ": "))
		}
	}
	switch {
	case err != nil:
		return err
	case !p.Complete:
		warn("incomplete")
		return status(exitBlind)
	case !p.Proven:
		warn("not proven")
		return status(exitFindings)
	}
	return nil
}
