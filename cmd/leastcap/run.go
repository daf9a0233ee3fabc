package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

// labelCaps is how an image says what it needs: podman-run(1), "--cap-add".
const labelCaps = "io.containers.capabilities"

// runFlags are leastcap's own among the engine's.
var runFlags = []cli.FlagSpec{
	{Name: "engine", Type: "string"},
	{Name: "profile", Type: "string"},
	{Name: "rules", Type: "string"},
	{Name: "pull-profile", Type: "bool", NoOpt: "true"},
	{Name: "explain", Type: "bool", NoOpt: "true"},
	{Name: "dry-run", Type: "bool", NoOpt: "true"},
}

func newRun(stdout, stderr io.Writer) *cobra.Command {
	return &cobra.Command{
		Use:   "run [flags] IMAGE [COMMAND] [ARG...]",
		Short: "Run a container with the least it needs",
		Long: `Run a container with docker, podman, nerdctl or no engine at all, and with as few
capabilities as are known to do: those are added that are needed, instead of none
being dropped.

The flags are the engine's own run flags, and these:

      --engine NAME     docker, podman, nerdctl or embedded (default: the first that is
                        there; embedded is leastcap's own, and needs nothing)
      --profile FILE    give what a learned profile recommends
      --pull-profile    if none was learned here, look for one in the image's registry
      --rules NAME      give what another engine would give for the same flags:
                        docker, podman, containerd, crio or runc
      --explain         say where each capability comes from, before it starts
      --dry-run         print the engine's command line and do not run it

Capabilities come from the first of these that there is:

  1. --cap-add, --cap-drop and --privileged, which mean what they mean to the engine
  2. the profile
  3. what leastcap learn proved here, or leastcap profile pull brought, for this
     image, command and user
  4. the image's label ` + labelCaps + `, as far as Docker's default goes
  5. nothing: a container without a word on capabilities gets none

An image that is not there yet is pulled first, as its label has to be read. No
registry is asked for profiles without --pull-profile, which does what leastcap
profile pull does.

The embedded runtime takes docker's flags, and --rootfs as podman does: IMAGE is then
a directory. Images come from an engine, a registry, an OCI layout or an archive; they
are unpacked once. A container lives no longer than leastcap, so there is no --detach;
it has a network with the host alone, unless it is --network host.

With --label IMAGE, and no = in it, the image's own label RUN says how it is run: that
is leastcap atomic run IMAGE. (The engine's own --label takes KEY=VALUE.)

Exit status:
  2  wrong usage, or the engine refuses what is asked for
  3  the image, or with --pull-profile its registry, could not be looked at, or the
     container not be made
  otherwise the engine's own, which is the container's`,
		Example: `  leastcap run --profile nginx.json -d -p 80:80 nginx
  leastcap run --explain --cap-drop all --cap-add chown alpine chown 33 /tmp
  leastcap run --engine embedded --rm -p 8080:80 --cap-add chown nginx
  leastcap run --rules crio --explain --dry-run --cap-add net_raw alpine ping -c1 127.0.0.1`,
		DisableFlagParsing:    true, // they are the engine's
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 || slices.Contains(args[:1], "--help") {
				return cmd.Help()
			}
			if words, ok := labelMode(args); ok {
				run := newAtomicRun(stdout, stderr)
				run.SetArgs(words)
				return run.ExecuteContext(cmd.Context())
			}
			return runContainer(cmd.Context(), stdout, stderr, args)
		},
		ValidArgsFunction: completeRun,
	}
}

func runContainer(ctx context.Context, stdout, stderr io.Writer, args []string) error {
	// What it reads to start a container is a few megabytes, and lives as long as it does:
	// collecting the garbage in them would only delay the start.
	debug.SetGCPercent(400)
	line, own, err := runLine(args)
	if err != nil {
		return err
	}
	var (
		img *localImage
		src *source
	)
	if own {
		if again, code, err := rootless(); again || err != nil {
			return cmp.Or(err, statusOf(code))
		}
		ref := line.Image
		if line.Value("pull") == "always" && !line.Bool("rootfs") {
			ref = "docker://" + ref
		}
		if src, err = openSource(ctx, ref, line.Bool("rootfs")); err != nil {
			return err
		}
		defer src.Close() // a lock on what is unpacked
		img = src.local()
	} else if img, err = inspectImage(ctx, stderr, line); err != nil {
		return err
	}
	if line.Bool("pull-profile") && !asked(line) && !line.Has("rules") && !line.Has("profile") {
		if err := pullForRun(ctx, stderr, line, img); err != nil {
			return err
		}
	}
	var available *caps.Set
	if own {
		available = proc.Available()
	}
	g, err := choose(line, img, available)
	if err != nil {
		return err
	}
	argv := line.Run(g.exact, names(runFlags))
	if own {
		argv = slices.Concat([]string{"leastcap", "run", "--engine", engineEmbedded}, argv[2:])
	}
	if line.Bool("explain") {
		g.explain(stderr, line)
	}
	if g.nothing && !line.Bool("quiet") && !line.Bool("explain") {
		learn := "leastcap learn -- "
		if own {
			learn = "leastcap learn --engine " + engineEmbedded + " -- "
		}
		say(stderr, "%s gets no capabilities, as %s; to find out: %s%s", line.Image, g.source, learn,
			report.Clean(cli.Quote(line.Run(nil, names(runFlags))), 300))
	}
	for _, w := range g.warnings {
		say(stderr, "warning: %s", w)
	}
	if line.Bool("dry-run") {
		_, err := fmt.Fprintln(stdout, cli.Quote(argv))
		return err
	}
	if own {
		return runEmbedded(ctx, stdout, stderr, line, src, g)
	}
	return execute(argv, os.Environ())
}

// execute puts the engine's command in leastcap's place, so that the terminal, signals
// and the exit status are the container's own.
func execute(argv, env []string) error {
	program, err := exec.LookPath(argv[0])
	if err != nil {
		return &engine.Error{Problem: fmt.Sprintf("cannot run %q", argv[0]), Reason: errors.Unwrap(err).Error(), Hint: "install it, or name another with --engine"}
	}
	signal.Reset(syscall.SIGPIPE)
	return fmt.Errorf("execute %s: %w", program, syscall.Exec(program, argv, env))
}

func names(flags []cli.FlagSpec) []string {
	list := make([]string, len(flags))
	for i, f := range flags {
		list[i] = f.Name
	}
	return list
}

// runLine makes the engine's line of what the user typed behind `leastcap run`. own
// says that no engine is to run it: then it is as for docker.
func runLine(args []string) (line *cli.Line, own bool, err error) {
	// Only leastcap's own is looked for first: the tables tell the engines apart, and
	// asking an installed one for its flags takes longer than a container does.
	embeddedLine := func() (*cli.Line, error) {
		return cli.UnderstandAs("docker", slices.Concat([]string{"docker", "run"}, args), append(slices.Clone(runFlags), rootfsFlag))
	}
	line, err = embeddedLine()
	if err == nil && line.Value("engine") == engineEmbedded {
		return line, true, nil
	}
	engines := cli.Engines()
	understand := func(program string) (*cli.Line, error) {
		return cli.Understand(slices.Concat([]string{program, "run"}, args), runFlags)
	}
	// Each engine has flags of its own, so that the line is whole only for the one
	// that it names.
	for _, name := range engines {
		line, err := understand(name)
		if err != nil || !line.Has("engine") {
			continue
		}
		switch engine := line.Value("engine"); {
		case engine == name:
			return line, false, nil
		case engine != engineEmbedded && !slices.Contains(engines, engine):
			return nil, false, &usageError{fmt.Errorf("--engine %q is not known", engine), "use " + strings.Join(append(engines, engineEmbedded), ", ")}
		}
	}
	if line != nil && line.Value("engine") == engineEmbedded {
		return nil, true, err
	}
	for _, name := range engines {
		if _, err := exec.LookPath(name); err == nil {
			line, err = understand(name)
			return line, false, err
		}
	}
	line, err = embeddedLine()
	return line, true, err
}

// localImage is what is used of `docker image inspect`.
type localImage struct {
	ID           string `json:"Id"`
	RepoDigests  []string
	Os           string
	Architecture string
	Config       struct {
		User   string
		Labels map[string]string
	}
}

// unseenImage says that an engine could not be asked about an image.
type unseenImage engine.Error

func (e *unseenImage) Error() string { return (*engine.Error)(e).Error() }

func inspectImage(ctx context.Context, stderr io.Writer, line *cli.Line) (*localImage, error) {
	if line.Has("rootfs") {
		return &localImage{}, nil
	}
	base := slices.Concat(line.Prefix, []string{line.Program}, line.Global)
	inspect := func() ([]byte, error) {
		argv := append(slices.Clone(base), "image", "inspect", line.Image)
		var text strings.Builder
		cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
		cmd.Stderr = &text
		out, err := cmd.Output()
		if err != nil && text.Len() > 0 {
			err = errors.New(strings.TrimSpace(text.String()))
		}
		return out, err
	}
	answered := waiting(stderr, slow, line.Engine)
	out, err := inspect()
	answered()
	if err != nil && line.Value("pull") != "never" && absent(err) {
		argv := append(slices.Clone(base), "pull")
		if p := line.Value("platform"); p != "" {
			argv = append(argv, "--platform", p)
		}
		cmd := exec.CommandContext(ctx, argv[0], append(argv[1:], line.Image)...)
		cmd.Stdout, cmd.Stderr = stderr, stderr
		if err := cmd.Run(); err != nil {
			return nil, &unseenImage{Problem: fmt.Sprintf("image %s is not there and could not be pulled", line.Image), Reason: err.Error(), Hint: "look at its name, or at what the engine said above"}
		}
		out, err = inspect()
	}
	if err != nil {
		return nil, &unseenImage{Problem: "cannot look at image " + line.Image, Reason: err.Error(), Hint: "it has to be there, and " + line.Engine + " to answer: try " + cli.Quote(append(slices.Clone(base), "image", "inspect", line.Image))}
	}
	var list []localImage
	if err := json.Unmarshal(out, &list); err != nil || len(list) != 1 {
		return nil, fmt.Errorf("%s image inspect %s: an answer that is not understood", line.Engine, line.Image)
	}
	return &list[0], nil
}

// absent tells an image that is not there from an engine that is not.
func absent(err error) bool {
	text := strings.ToLower(err.Error())
	return strings.Contains(text, "no such image") || strings.Contains(text, "image not known") || strings.Contains(text, "failed to find image") || strings.Contains(text, "not found")
}

// given is what a container gets, and why.
type given struct {
	exact    *caps.Set // put into the line; nil leaves the user's own flags
	result   rules.Result
	user     string
	origin   map[caps.Cap]string
	source   string
	nothing  bool // is known of what it needs
	warnings []string
}

// asked says that the line itself has a word on capabilities.
func asked(line *cli.Line) bool {
	return line.Has("cap-add") || line.Has("cap-drop") || line.Privileged()
}

// choose finds out what the container gets.
func choose(line *cli.Line, img *localImage, available *caps.Set) (*given, error) {
	g := &given{user: line.User()}
	if g.user == "" {
		g.user = img.Config.User
	}
	if asked(line) && line.Has("profile") {
		return nil, &usageError{errors.New("--profile and capability flags contradict each other"), "leave one of them out"}
	}
	name := line.Engine
	if name == "nerdctl" {
		name = "docker" // pkg/cmd/container/run_security_linux.go: the same rules
	}
	if line.Has("rules") {
		name = line.Value("rules")
	}
	engineRules, err := rules.For(name)
	if err != nil {
		return nil, &usageError{fmt.Errorf("--rules: %w", err), "leastcap run --help says what they are for"}
	}
	in := rules.Request{Add: line.CapAdd(), Drop: line.CapDrop(), Privileged: line.Privileged(), User: g.user, Available: available}
	if label, ok := img.Config.Labels[labelCaps]; ok {
		in.Label = &label
	}

	file, err := saved(img.ID, line)
	if err != nil {
		return nil, err
	}

	switch {
	case asked(line) || line.Has("rules"):
		if g.result, err = engineRules.Apply(in); err != nil {
			return nil, &usageError{err, "change the flags, or leave --rules out"}
		}
		g.origin, g.source = g.result.Origins(), "the flags"
		g.warnings = g.result.Warnings
		if line.Has("rules") {
			if line.Privileged() {
				return nil, &usageError{errors.New("--rules does not go with --privileged, which gives more than capabilities"), "leave one of them out"}
			}
			g.source += ", by the rules of " + name
			g.exact = &g.result.Set
		}
		return g, nil
	case line.Has("profile"):
		if line.Value("profile") == "-" {
			return nil, &usageError{errors.New("--profile -: standard input is the container's"), "name a file"}
		}
		p, err := readProfile(nil, line.Value("profile"))
		if err != nil {
			return nil, err
		}
		g.fromProfile(p, line.Value("profile"), img)
	case file != "":
		p, err := readProfile(nil, file)
		if err != nil {
			return nil, err
		}
		g.fromProfile(p, file, img)
	case in.Label != nil:
		set, all, err := caps.Set(0), false, error(nil)
		if strings.TrimSpace(*in.Label) != "" {
			set, all, err = caps.ParseList([]string{*in.Label})
		}
		if err != nil || all {
			return nil, &usageError{fmt.Errorf("the image's label %s=%q is no list of capabilities", labelCaps, *in.Label), "say what it gets: --cap-drop ALL and one --cap-add for each, or --profile"}
		}
		// The label is a stranger's, who could have all of the host with it.
		docker, err := rules.For("docker")
		if err != nil {
			return nil, err
		}
		if more := set.Minus(docker.Default); !more.Empty() {
			return nil, &usageError{
				fmt.Errorf("the image's label %s asks for %v: an image cannot vouch for more than docker gives by default", labelCaps, more),
				"if you trust the image with it: " + strings.Join(exactFlags(set), " ") + "; or leastcap learn, which finds out what it needs",
			}
		}
		g.set(set, "the image's label "+labelCaps)
		if more := set.Minus(engineRules.Default); !more.Empty() {
			g.warnings = append(g.warnings, fmt.Sprintf("the image's label %s names %v, which %s gives to nobody by default", labelCaps, more, name))
		}
	default:
		g.set(0, "nothing says that it needs any")
		g.nothing = true
	}

	// What the engine makes of the exact set is looked at as well.
	in.Drop, in.Add = []string{"ALL"}, g.exact.Docker()
	if g.result, err = engineRules.Apply(in); err != nil {
		return nil, &usageError{err, "give the flags that this engine takes"}
	}
	g.warnings = append(g.warnings, g.result.Warnings...)
	if missing := g.exact.Minus(g.result.Set); !missing.Empty() {
		g.warnings = append(g.warnings, fmt.Sprintf("%s will not give %v: the image's label %s does not name it", name, missing, labelCaps))
	}
	return g, nil
}

func (g *given) set(set caps.Set, source string) {
	g.exact, g.source, g.origin = &set, source, make(map[caps.Cap]string)
	for c := range set.Values() {
		g.origin[c] = source
	}
}

func (g *given) fromProfile(p *usage.Profile, file string, img *localImage) {
	source := "profile " + file
	var known []string
	if o := p.Origin; o != nil {
		source, known = "a profile from the registry of "+o.Reference, o.Images
		g.set(p.Recommended, fmt.Sprintf("%s (%s, in %s)", source, o.Digest, file))
	} else {
		g.set(p.Recommended, source)
	}
	for c := range p.Recommended.Values() {
		word := "used"
		if p.Required.Has(c) {
			word = "required"
		}
		g.origin[c] = word + ", says " + source
	}
	warn := func(format string, args ...any) { g.warnings = append(g.warnings, fmt.Sprintf(format, args...)) }
	same := func(id string) bool {
		return strings.TrimPrefix(id, "sha256:") == strings.TrimPrefix(img.ID, "sha256:")
	}
	if p.Subject.ImageID != "" && img.ID != "" && !same(p.Subject.ImageID) && !slices.ContainsFunc(known, same) {
		warn("the profile was learned from another image (%s, id %.19s) than this one (id %.19s)", p.Subject.Image, p.Subject.ImageID, img.ID)
	}
	if !p.Complete {
		warn("the profile is not complete: more may be needed")
	} else if !p.Proven {
		warn("the profile is not proven")
	}
}

// explain says where each capability comes from.
func (g *given) explain(stderr io.Writer, line *cli.Line) {
	set := g.result.Set
	if set.Empty() {
		say(stderr, "%s gets no capabilities: %s", line.Image, g.source)
		return
	}
	what := "capabilities"
	if set.Len() == 1 {
		what = "capability"
	}
	say(stderr, "%s gets %d %s, from %s", line.Image, set.Len(), what, g.source)
	for c := range set.Values() {
		fmt.Fprintf(stderr, "  %-18s %s\n", c, report.Clean(g.origin[c], 200))
	}
	if name, _, _ := strings.Cut(g.user, ":"); name != "" && name != "0" && name != "root" && g.result.Runtime.Ambient.Empty() {
		fmt.Fprintf(stderr, "  as user %s it can use them only through set-uid programs and file capabilities\n", report.Clean(name, 40))
	}
}
