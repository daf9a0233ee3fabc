package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/caps/catalog"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

func newConvert(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "convert --to FORMAT PROFILE|SET",
		Short: "Write a set of capabilities in the words of another place",
		Long: `Write a profile's recommendation, or a set of capabilities, in the words of a place where
containers are defined: drop everything, add these.

PROFILE is a file that leastcap learn wrote, or - for standard input. SET is names with
commas between them in any spelling, a mask (a80425fb, 0x3), none, or the name of a
default set (docker, podman, crio …).

FORMAT is one of:
` + conversionList() + `
leastcap fix puts the same into the files themselves.

Exit status:
  0  done
  2  wrong usage, or no set and no profile
  3  a file cannot be read, or the output not be written`,
		Example: `  leastcap convert --to kubernetes nginx.json
  leastcap convert --to systemd net_bind_service,setuid
  leastcap convert --to names a80425fb`,
		DisableFlagsInUseLine: true,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) == 0:
				return &usageError{errors.New("no profile and no set is given"), "use leastcap convert --to FORMAT PROFILE|SET"}
			case len(args) > 1:
				return &usageError{fmt.Errorf("too many arguments: %s", strings.Join(args[1:], " ")), "write a set with commas: " + strings.Join(args, ",")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return convert(cmd.Context(), stdin, stdout, stderr, to, args[0])
		},
	}
	cmd.Flags().StringVar(&to, "to", "", "the format")
	return cmd
}

func conversionList() string {
	var b strings.Builder
	for _, c := range report.Conversions() {
		fmt.Fprintf(&b, "  %-13s %s\n", c.Name, c.Title)
	}
	return b.String()
}

func convert(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, to, arg string) error {
	var names []string
	for _, c := range report.Conversions() {
		names = append(names, c.Name)
		if c.Name != to {
			continue
		}
		set, p, err := setOf(ctx, stdin, arg)
		if err != nil {
			return err
		}
		if p != nil {
			sayCaveats(stderr, c, p)
		}
		return c.WriteTo(stdout, set)
	}
	hint := "use one of " + strings.Join(names, ", ")
	if to == "" {
		return &usageError{errors.New("--to is missing"), hint}
	}
	return &usageError{fmt.Errorf("--to %q is not known", to), hint}
}

// setOf reads a set or a profile. A file that is called as a set is named by its path.
func setOf(ctx context.Context, stdin io.Reader, arg string) (caps.Set, *usage.Profile, error) {
	var data []byte
	var err error
	if arg == stdinArg {
		data, err = readWhole(ctx, arg, stdin, maxNamed, "a profile")
	} else {
		if set, ok := catalog.DefaultSet(strings.ToLower(arg)); ok {
			return set, nil, nil
		}
		set, serr := caps.ParseSet(arg)
		if serr == nil {
			return set, nil, nil
		}
		if data, err = readWhole(ctx, arg, nil, maxNamed, "a profile"); errors.Is(err, fs.ErrNotExist) {
			return 0, nil, &usageError{serr, "give the file of a profile, names with commas between them, or a mask"}
		}
	}
	if err != nil {
		return 0, nil, err
	}
	p, err := usage.Parse(data)
	if err != nil {
		return 0, nil, &usageError{fmt.Errorf("%s: %w", usage.At(arg, err), err), "leastcap learn --profile FILE writes one"}
	}
	if !p.Complete && !p.Proven && p.Recommended.Empty() {
		return 0, nil, &usageError{fmt.Errorf("%s: nothing was learned: it is incomplete and unproven", arg), "learn it again"}
	}
	return p.Recommended, p, nil
}

// sayCaveats says what a profile does not vouch for in another place.
func sayCaveats(stderr io.Writer, c report.Conversion, p *usage.Profile) {
	switch {
	case !p.Complete:
		say(stderr, "warning: the profile is not complete: more may be needed")
	case !p.Proven:
		say(stderr, "warning: the profile is not proven")
	}
	inferred := p.Portability.Inferred.Minus(p.Recommended)
	if c.Engine != "" && c.Engine != p.Subject.Engine && !inferred.Empty() {
		say(stderr, "warning: there %s may be needed too (inferred, not proven): %s", inferred, strings.Join(p.Portability.Reasons, "; "))
	}
}
