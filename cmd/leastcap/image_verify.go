package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/embedded"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/manifest/label"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
)

func newImageVerify(stdout, stderr io.Writer) *cobra.Command {
	var f learnFlags
	cmd := &cobra.Command{
		Use:   "verify [flags] REF [COMMAND] [ARG...]\n  leastcap image verify [flags] -- docker run [FLAGS] REF [COMMAND] [ARG...]",
		Short: "Run an image with the capabilities that it declares: do they suffice, are they minimal?",
		Long: `Run an image with exactly the capabilities that its labels declare, and say whether
they suffice and whether it works without some of them. For the pipeline that builds it.

The declaration is the label ` + labelCaps + `, or else the capability flags
of the label RUN; where both are there they have to say the same. Without a COMMAND the
one of the label RUN is taken, or the image's own.

It runs on the embedded runtime where this build has it, or with the engine that --engine
or the line names. What counts as working is as in leastcap learn.

Exit status:
  0  what is declared suffices, and nothing of it is too much
  1  it does not suffice, or is not minimal, or nothing is declared, or could not be proven
  2  wrong usage, or the image could not be run as written
  3  could not look: no permission, no BPF, data lost, cut short
  4  the image fails its check with all of it and Docker's default set too
  130  interrupted by a signal, after everything was removed`,
		Example: `  leastcap image verify --check 'curl -fsS http://$LEASTCAP_IP/' registry.example/web:1
  leastcap image verify -o json -- docker run -v data:/data -e KEY=value registry.example/db:1`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return &usageError{errors.New("no image to verify"), "name one: leastcap image verify --check 'curl -fsS http://$LEASTCAP_IP/' IMAGE"}
			}
			if f.output == "flags" {
				return &usageError{errors.New(`--output "flags" is not known`), "use text or json"}
			}
			if err := f.validateRuns(cmd.Flags().Changed); err != nil {
				return err
			}
			return f.verify(cmd.Context(), stdout, stderr, args)
		},
	}
	fl := cmd.Flags()
	fl.SetInterspersed(false) // the container's own are not ours
	fl.SortFlags = false
	f.runFlags(fl)
	fl.StringVar(&f.engine, "engine", "", "embedded, docker, podman or nerdctl")
	fl.StringVarP(&f.output, "output", "o", "text", "text or json (the profile, with what is declared)")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	return cmd
}

func (f *learnFlags) verify(ctx context.Context, stdout, stderr io.Writer, args []string) error {
	argv := args
	if _, ok := cli.Recognise(args); !ok {
		program := f.engine
		if program == "" || program == engineEmbedded {
			program = "docker"
		}
		argv = slices.Concat([]string{program, "run"}, args)
	}
	own := f.engine == engineEmbedded || f.engine == "" && embedded.Available() == nil
	switch f.engine {
	case "", engineEmbedded, "docker", "podman", "nerdctl":
	default:
		return &usageError{fmt.Errorf("--engine %q is not known", f.engine), "use " + strings.Join(append(cli.Engines(), engineEmbedded), ", ")}
	}
	line, err := cli.Understand(argv, nil)
	if err != nil {
		return err
	}
	img, err := f.look(ctx, stderr, line, own)
	if err != nil {
		return err
	}
	d, err := declared(img, line)
	if err != nil {
		return err
	}
	if len(line.Command) == 0 && len(d.command) > 0 {
		if line, err = cli.Understand(slices.Concat(argv, d.command), nil); err != nil {
			return err
		}
	}
	// The baseline is Docker's default and what is declared, so that what is missing is
	// found as well.
	docker, err := rules.For("docker")
	if err != nil {
		return err
	}
	baseline := docker.Default | d.set
	if line, err = cli.Understand(line.Run(&baseline, nil), nil); err != nil {
		return err
	}
	var workload engine.Workload
	if own {
		w, done, err := embeddedWorkload(ctx, line, false)
		if err != nil {
			return err
		}
		defer done() // a lock on what is unpacked
		workload = w
	} else if workload, err = cli.New(ctx, line.Words()); err != nil {
		return err
	}
	p, err := probe.Open(probe.Options{})
	if err != nil {
		return err
	}
	defer p.Close()
	opts := f.opts
	opts.Declared = &d.set
	progress := newProgress(stderr, !f.quiet)
	defer progress.Close() // also after a panic
	profile, err := learn.Run(ctx, workload, observer{p}, opts, progress.Event)
	progress.Close()
	if err != nil {
		return err
	}
	profile.Tool, profile.Kernel = "leastcap "+version, proc.Kernel()
	if f.output == "json" {
		err = report.JSON(stdout, profile)
	} else {
		err = report.Declaration(stdout, profile, d.source)
	}
	if d.conflict != "" {
		say(stderr, "warning: %s", d.conflict)
	}
	switch v := profile.Declared; {
	case err != nil:
		return err
	case !profile.Complete:
		say(stderr, "warning: the result is incomplete: %s", strings.Join(profile.Notes, "; "))
		return status(exitBlind)
	case v == nil || !v.Suffices || !v.Unneeded.Empty() || !profile.Proven || d.conflict != "":
		return status(exitFindings)
	}
	return nil
}

// look reads the image's labels where it will be run.
func (f *learnFlags) look(ctx context.Context, stderr io.Writer, line *cli.Line, own bool) (*localImage, error) {
	if !own {
		return inspectImage(ctx, stderr, line)
	}
	src, err := openSource(ctx, line.Image, false)
	if err != nil {
		return nil, err
	}
	defer src.Close() // a lock on what is unpacked
	return src.local(), nil
}

// declaration is what an image's labels say that it needs.
type declaration struct {
	set      caps.Set
	source   string
	command  []string // the label RUN's
	conflict string   // two labels, two answers
}

func declared(img *localImage, line *cli.Line) (*declaration, error) {
	d := &declaration{}
	var fromRun *caps.Set
	if key, text, ok := label.Lookup(img.Config.Labels, "RUN"); ok {
		c, err := label.Parse(text, label.Environment(nil, label.Name(line.Image, false), line.Image, label.Options{}), nil)
		if err != nil {
			return nil, &usageError{fmt.Errorf("the image's label %s: %w", key, err), "build the image again with a label that is a docker run line"}
		}
		run, err := cli.UnderstandAs("docker", slices.Concat([]string{"docker"}, c.Words[1:]), nil)
		if err == nil {
			d.command = run.Command
			if run.Has("cap-add") || run.Has("cap-drop") || run.Privileged() {
				docker, err := rules.For("docker")
				if err != nil {
					return nil, err
				}
				result, err := docker.Apply(rules.Request{Add: run.CapAdd(), Drop: run.CapDrop(), Privileged: run.Privileged()})
				if err != nil {
					return nil, &usageError{fmt.Errorf("the image's label %s: %w", key, err), "mend the label"}
				}
				fromRun, d.set, d.source = &result.Set, result.Set, "the label "+key
			}
		}
	}
	text, ok := img.Config.Labels[labelCaps]
	if !ok && fromRun == nil {
		return nil, &undeclared{line.Image}
	}
	if ok {
		set, all, err := caps.Set(0), false, error(nil)
		if strings.TrimSpace(text) != "" {
			set, all, err = caps.ParseList([]string{text})
		}
		if err != nil || all {
			return nil, &usageError{fmt.Errorf("the image's label %s=%q is no list of capabilities", labelCaps, text), "write it as CHOWN,SETUID"}
		}
		d.set, d.source = set, "the label "+labelCaps
		if fromRun != nil && *fromRun != set {
			d.conflict = fmt.Sprintf("the label RUN gives %v, and the label %s names %v", *fromRun, labelCaps, set)
		}
	}
	return d, nil
}

// undeclared is a finding.
type undeclared struct{ image string }

func (e *undeclared) Error() string {
	return fmt.Sprintf("image %s declares nothing: it has neither the label %s nor capability flags in a label RUN", e.image, labelCaps)
}
