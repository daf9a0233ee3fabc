package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/term"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/leastcap/leastcap/engine"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/engine/host"
	"github.com/leastcap/leastcap/learn"
	"github.com/leastcap/leastcap/probe"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

type learnFlags struct {
	opts    learn.Options
	checks  []string
	exec    []string
	keep    string
	output  string
	profile string
	user    string
	stop    time.Duration
	quiet   bool
	noSave  bool
	engine  string
	image   string
	rootfs  string
	hook    string
}

func newLearn(stdout, stderr io.Writer) *cobra.Command {
	var f learnFlags
	cmd := &cobra.Command{
		Use:   "learn [flags] -- COMMAND [ARG...]\n  leastcap learn [flags] --image REF|--rootfs DIR [-- COMMAND [ARG...]]",
		Short: "Find and prove the capabilities that a workload needs",
		Long: `Run a workload as it is and watch what the kernel checks, predict the set of
capabilities that it needs, run it again with exactly that set, and take away
one capability after the other to see what breaks.

COMMAND is what you type already: a docker, podman or nerdctl run line, which is
run as it stands with other capabilities put in, or any other command, which is
run on this host in a cgroup of its own with a reduced bounding set. Containers
are started and removed several times; volumes and networks in the line are
used as they are.

Without an engine, on leastcap's embedded runtime, run: --image with an image of any
place, --rootfs with a directory, or --engine embedded with a docker line; runs then
take milliseconds. Containers there have a network with the host alone. With --engine
api a docker line is run through the Engine API, Docker's or Podman's: no command of the
engine is needed then.

The check runs with sh -c on this host until it passes, with LEASTCAP_CONTAINER,
LEASTCAP_IP and LEASTCAP_PID set. Without one a run passes if the command exits
as it does today, if the image's HEALTHCHECK says healthy, or if it stays up for
--settle; then all that was used is kept, unless --keep required says otherwise.
--exec runs a helper in the running workload once the check passed. With
--starts 2 every run starts it twice: the volumes that the line names are
replaced by new, empty ones, and the second start finds what the first left.
In all cases every process must end up with the same identity (user, groups,
no_new_privs, seccomp, root) as today.

Where the kernel's checks cannot be watched (no root, Docker Desktop, a managed host: see
leastcap doctor) a container's set is found by trials alone, in groups. Then a service
needs a --check, nothing is known of why, and the result is called incomplete. --hook
none does so anywhere.

What is proven of a container is kept for leastcap run, by image, command and user, in
/var/lib/leastcap/profiles (without root in ~/.local/state/leastcap/profiles), or in the
directory that LEASTCAP_PROFILES names.

` + exitHelp,
		Example: `  leastcap learn --check 'curl -fsS http://$LEASTCAP_IP/' -- docker run -p 80:80 nginx
  leastcap learn --profile ping.json -- docker run --rm alpine ping -c1 127.0.0.1
  leastcap learn --check 'redis-cli ping' --output flags -- docker run -p 6379:6379 redis
  leastcap learn --image ./image.tar --check 'curl -fsS http://$LEASTCAP_IP/'
  leastcap learn --engine embedded -- docker run --rm -v "$PWD:/src" builder make
  leastcap learn --starts 2 --exec 'backup: pg_dumpall -U postgres' -- docker run -v data:/var/lib/postgresql/data postgres
  leastcap learn --user www-data --check 'curl -fsS http://127.0.0.1/' -- /usr/local/bin/server`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := f.validate(args, cmd.Flags().Changed); err != nil {
				return err
			}
			return f.run(cmd.Context(), stdout, stderr, args)
		},
	}
	fl := cmd.Flags()
	fl.SetInterspersed(false) // the workload's own flags are not ours
	fl.SortFlags = false
	f.runFlags(fl)
	fl.StringVar(&f.keep, "keep", "", "keep what is required, or all that was used (default: required with --check, else used)")
	fl.BoolVar(&f.opts.ObserveOnly, "observe-only", false, "run it once as it is and only report what it used")
	fl.StringVar(&f.user, "user", "", "run a host command as this user, with ambient capabilities")
	fl.StringVar(&f.engine, "engine", "", "embedded or api: run a docker line without docker, or through the Engine API at DOCKER_HOST (default: the line's own command)")
	fl.StringVar(&f.image, "image", "", "run this image on the embedded runtime: a name, an OCI layout, an archive")
	fl.StringVar(&f.rootfs, "rootfs", "", "run the root file system in this directory on the embedded runtime")
	addHook(fl, &f.hook, ", or none: trials alone")
	fl.StringVarP(&f.output, "output", "o", "text", "text, json (the profile) or flags")
	fl.StringVar(&f.profile, "profile", "", "write the profile to this file")
	fl.BoolVar(&f.noSave, "no-save", false, "do not keep what is proven for leastcap run")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "no progress")
	return cmd
}

// runFlags are those that say how runs are made, and what passes.
func (f *learnFlags) runFlags(fl *pflag.FlagSet) {
	fl.StringArrayVar(&f.checks, "check", nil, "command that tells whether the workload works, or NAME: COMMAND (repeatable: all must pass)")
	fl.StringArrayVar(&f.exec, "exec", nil, "command to run with sh -c in the running workload, as docker exec does, or NAME: COMMAND (repeatable: each must exit 0)")
	fl.DurationVar(&f.opts.CheckTimeout, "check-timeout", learn.DefaultCheckTimeout, "how long the workload may take until it works today")
	fl.DurationVar(&f.opts.Settle, "settle", 0, fmt.Sprintf("how long to watch it then (default %v, %v without --check)", learn.DefaultSettle, learn.DefaultStayUp))
	fl.DurationVar(&f.stop, "stop-timeout", 0, "how long it may take to stop (default: the engine's)")
	fl.DurationVar(&f.opts.Timeout, "timeout", 0, "time limit for everything (default none)")
	fl.IntVar(&f.opts.Runs, "runs", learn.DefaultRuns, "how often the final set must pass to be called proven")
	fl.IntVar(&f.opts.Starts, "starts", 0, "start it this often in every run, with the same volumes, which are new at the first start")
	fl.IntVar(&f.opts.Parallel, "parallel", 1, "how many independent runs to make at the same time")
}

func (f *learnFlags) validate(args []string, changed func(flag string) bool) error {
	if f.image != "" && f.rootfs != "" {
		return &usageError{errors.New("--image and --rootfs contradict each other"), "leave one of them out"}
	}
	switch f.engine {
	case "", engineEmbedded, engineAPI:
	default:
		return &usageError{fmt.Errorf("--engine %q is not known", f.engine), "use embedded or api, or leave it out: the line names its engine"}
	}
	for _, name := range []string{"image", "rootfs"} {
		if changed(name) && fmt.Sprint(f.image, f.rootfs) == "" {
			return &usageError{fmt.Errorf("--%s is empty", name), "name an image, or a directory"}
		}
	}
	if len(args) == 0 && f.image == "" && f.rootfs == "" {
		return &usageError{errors.New("no command to learn"), "put it behind --: leastcap learn --check 'curl -fsS http://$LEASTCAP_IP/' -- docker run nginx"}
	}
	switch f.output {
	case "text", "json", "flags":
	default:
		return &usageError{fmt.Errorf("--output %q is not known", f.output), "use text, json or flags"}
	}
	if f.hook == learn.HookNone && f.opts.ObserveOnly {
		return &usageError{errors.New("--hook none and --observe-only contradict each other"), "leave one of them out: nothing would be seen, and nothing tried"}
	}
	switch learn.Keep(f.keep) {
	case learn.KeepAuto, learn.KeepRequired, learn.KeepUsed:
		f.opts.Keep = learn.Keep(f.keep)
	default:
		return &usageError{fmt.Errorf("--keep %q is not known", f.keep), "use required or used"}
	}
	if err := f.validateRuns(changed); err != nil {
		return err
	}
	if changed("profile") {
		return f.validateProfile()
	}
	return nil
}

// validateRuns checks what runFlags are given.
func (f *learnFlags) validateRuns(changed func(flag string) bool) error {
	if f.opts.Runs < 1 {
		return &usageError{fmt.Errorf("--runs %d: must be at least 1", f.opts.Runs), ""}
	}
	if f.opts.CheckTimeout <= 0 {
		return &usageError{fmt.Errorf("--check-timeout %v: must be more than nothing", f.opts.CheckTimeout), "for example --check-timeout 30s"}
	}
	for name, d := range map[string]time.Duration{"settle": f.opts.Settle, "timeout": f.opts.Timeout, "stop-timeout": f.stop} {
		if d < 0 {
			return &usageError{fmt.Errorf("--%s %v: must not be negative", name, d), ""}
		}
	}
	var err error
	if f.opts.Checks, err = parseCommands("check", f.checks); err != nil {
		return err
	}
	if f.opts.Exec, err = parseCommands("exec", f.exec); err != nil {
		return err
	}
	if f.opts.Starts < 0 || changed("starts") && f.opts.Starts == 0 {
		return &usageError{fmt.Errorf("--starts %d: must be at least 1", f.opts.Starts), "--starts 2 shows a fresh volume and a used one"}
	}
	if f.opts.Parallel < 1 {
		return &usageError{fmt.Errorf("--parallel %d: must be at least 1", f.opts.Parallel), ""}
	}
	if changed("stop-timeout") && f.stop == 0 {
		// The kill would race with an end that was asked for.
		return &usageError{errors.New("--stop-timeout 0s: must be more than nothing"), "for example --stop-timeout 1s"}
	}
	f.opts.StopTimeout = f.stop
	return nil
}

// parseCommands reads a repeatable flag. A name is how the evidence tells one command
// from another, so that it stands for one only.
func parseCommands(flag string, texts []string) ([]learn.Command, error) {
	var list []learn.Command
	for _, text := range texts {
		if strings.TrimSpace(text) == "" {
			return nil, &usageError{fmt.Errorf("--%s is empty", flag), fmt.Sprintf("give a command that exits 0 when the workload works, or leave --%s out", flag)}
		}
		c := learn.ParseCommand(text)
		if c.Name != "" && slices.ContainsFunc(list, func(other learn.Command) bool { return other.Name == c.Name }) {
			return nil, &usageError{fmt.Errorf("--%s: two have the name %q", flag, c.Name), "give each another name"}
		}
		list = append(list, c)
	}
	return list, nil
}

// validateProfile finds out now, and not after minutes of learning, whether
// the profile can be written.
func (f *learnFlags) validateProfile() error {
	if f.profile == "" || f.profile == "-" {
		return &usageError{fmt.Errorf("--profile %q: not the name of a file", f.profile), "to print the profile: --output json"}
	}
	if fi, err := os.Stat(filepath.Dir(f.profile)); err != nil || !fi.IsDir() {
		return &usageError{fmt.Errorf("--profile %s: its directory does not exist", f.profile), "make it first"}
	}
	if fi, err := os.Lstat(f.profile); err == nil && !fi.Mode().IsRegular() {
		return &usageError{fmt.Errorf("--profile %s: not a regular file", f.profile), "give the name of a file; links are not followed"}
	}
	tmp, err := os.CreateTemp(filepath.Dir(f.profile), proc.TempPattern())
	if err != nil {
		return &usageError{fmt.Errorf("--profile %s: %w", f.profile, meant(err, f.profile)), "give a directory that can be written to"}
	}
	tmp.Close()
	return os.Remove(tmp.Name())
}

func (f *learnFlags) run(ctx context.Context, stdout, stderr io.Writer, args []string) error {
	// What is wrong with the line is said before privileges are asked for.
	_, isContainer := cli.Recognise(args)
	var workload engine.Workload
	var line *cli.Line
	var err error
	own := f.engine == engineEmbedded
	switch {
	case f.image != "" || f.rootfs != "":
		if line, err = rootfsLine(f.image+f.rootfs, f.rootfs != "", args); err != nil {
			return err
		}
		own, isContainer = true, true
	case f.engine != "" && !isContainer:
		return &usageError{fmt.Errorf("--engine %s needs a docker run line", f.engine), "give one behind --: leastcap learn --engine " + f.engine + " -- docker run IMAGE"}
	case f.engine == engineAPI:
		if line, err = cli.Understand(args, nil); err != nil {
			return err
		}
	case own:
		if line, err = cli.Understand(args, []cli.FlagSpec{rootfsFlag}); err != nil {
			return err
		}
	}
	if isContainer && f.user != "" {
		return &usageError{errors.New("--user is for host commands"), "give --user in the container line itself"}
	}
	if own {
		if os.Geteuid() != 0 {
			// In a user namespace of its own a container has other powers.
			return &neitherError{errors.New("the embedded runtime learns as root alone"),
				&engine.Error{Problem: "no engine of this user's is named", Hint: "give a docker or podman line, without --engine"}, "docker"}
		}
		w, done, err := embeddedWorkload(ctx, line, f.image != "" || f.rootfs != "")
		if err != nil {
			return err
		}
		defer done() // a lock on what is unpacked
		workload = w
	} else if line != nil {
		answered := waiting(stderr, slow, line.Engine)
		w, done, err := apiWorkload(ctx, stderr, line)
		answered()
		if err != nil {
			return err
		}
		defer done() // a connection
		workload = w
	} else if isContainer {
		w, err := cli.New(ctx, args)
		if err != nil {
			return err
		}
		workload, line = w, w.Line()
	}
	o, hierarchy, done, blind, err := f.observe(stderr, isContainer)
	if err != nil {
		return err
	}
	defer done()
	if !isContainer {
		if workload, err = host.New(args, f.user, hierarchy); err != nil {
			return err
		}
	}
	progress := newProgress(stderr, !f.quiet)
	defer progress.Close() // also after a panic
	answered := func() {}
	if isContainer && !own {
		answered = waiting(stderr, slow, line.Engine)
	}
	removed := ending(ctx, stderr, slowEnd, progress.Close)
	profile, err := learn.Run(ctx, workload, o, f.opts, func(e learn.Event) {
		answered()
		progress.Event(e)
	})
	answered()
	removed()
	progress.Close()
	if absent := (*engine.Error)(nil); blind != nil && errors.As(err, &absent) && absent.Absent {
		return &neitherError{blind, absent, line.Engine}
	}
	if err != nil {
		return err
	}
	profile.Tool = "leastcap " + version
	profile.Kernel = proc.Kernel()
	// Both are tried: a full disk behind one must not lose the other.
	err = f.print(stdout, profile)
	if f.profile != "" {
		err = errors.Join(err, writeFile(f.profile, profile))
	}
	if line != nil && !f.noSave {
		if serr := save(line, profile); serr != nil {
			say(stderr, "warning: the profile is not kept for leastcap run: %v", serr)
		}
	}
	if err != nil && profile.Complete {
		return err
	}
	switch {
	case !profile.Complete:
		if f.output != "text" {
			say(stderr, "warning: the result is incomplete: %s", strings.Join(profile.Notes, "; "))
		}
		return status(exitBlind)
	case !profile.Proven && !f.opts.ObserveOnly:
		if f.output != "text" {
			say(stderr, "warning: the result is not proven: %s", strings.Join(profile.Notes, "; "))
		}
		return status(exitFindings)
	}
	return nil
}

// observe opens the way in that is asked for, or the best there is. Where there is none
// a container is learned by trials alone; a host command needs root for its cgroup, and
// who is root has a way in or asks for none.
//
// blind is why nothing can be watched, where that was not asked for.
func (f *learnFlags) observe(stderr io.Writer, container bool) (o learn.Observer, h proc.Hierarchy, done func(), blind error, err error) {
	if f.hook != learn.HookNone {
		p, err := openProbe(probe.Options{Hook: f.hook}, learn.HookNone)
		if err == nil {
			return observer{p}, p.Hierarchy(), p.Close, nil, nil
		}
		if f.hook != "" || !container || f.opts.ObserveOnly || !errors.Is(err, probe.ErrUnavailable) {
			return nil, h, nil, nil, err
		}
		blind = err
		if f := (*probe.FeatureError)(nil); errors.As(err, &f) {
			blind = fmt.Errorf("%w: missing: %s", probe.ErrUnavailable, f.Missing)
		}
		say(stderr, "warning: %v", blind)
		say(stderr, "warning: so the set is found by trials alone, and there will be no evidence; leastcap doctor says what would improve it")
	}
	if h, err = proc.FindHierarchy(); err != nil {
		if !container {
			return nil, h, nil, nil, err
		}
		return learn.Unaided{}, h, func() {}, blind, nil
	}
	return learn.Unaided{Hierarchy: &h}, h, func() {}, blind, nil
}

// neitherError says that there is neither a look at the kernel nor an engine, so that
// nothing can be learned.
type neitherError struct {
	blind  error
	engine *engine.Error
	name   string // of the line's engine
}

func (e *neitherError) Error() string {
	return fmt.Sprintf("nothing can be learned here: %v; and %v", e.blind, e.engine)
}

func (e *neitherError) Unwrap() error { return e.engine }

// hint names every way out, the best first.
func (e *neitherError) hint() string {
	return fmt.Sprintf(`learning runs the container several times, each time with fewer capabilities. That takes
  an engine that this user may use; watching the kernel tells the reasons, too, and takes
  root. Any one of these is enough:
  - as root: sudo leastcap learn -- …
    the kernel is watched, so that the result is complete and says why;
  - an engine for this user: %s
    the set is found by trials alone, and there is no evidence;
  - rootless Podman or Docker: give a podman line, or point DOCKER_HOST at the rootless
    engine (unix:///run/user/%d/docker.sock);
  - as root, without an engine: sudo leastcap learn --image IMAGE --check COMMAND
  - on another machine: learn it there with --profile FILE, and use it here with
    leastcap run --profile FILE -- …
  leastcap doctor says what this machine offers.`, e.access(), os.Getuid())
}

// access is how this user gets an engine.
func (e *neitherError) access() string {
	switch {
	case strings.HasSuffix(e.engine.Problem, "is not installed"):
		return "install " + e.name
	case strings.HasSuffix(e.engine.Problem, "let this user in"):
		return "sudo usermod -aG docker $USER, and log in anew (that group is as powerful as root)"
	}
	return e.engine.Hint
}

func (f *learnFlags) print(stdout io.Writer, p *usage.Profile) error {
	switch f.output {
	case "json":
		return report.JSON(stdout, p)
	case "flags":
		return report.Flags(stdout, p)
	}
	return report.Profile(stdout, p, styleOf(stdout))
}

func styleOf(w io.Writer) report.Style {
	s := report.Style{Width: 80}
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(file.Fd()) {
		return s
	}
	if width, _, err := term.GetSize(file.Fd()); err == nil && width > 0 {
		s.Width = min(width, 120)
	}
	s.Color = os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	return s
}

// writeFile replaces a file in one step, so that nobody reads half a profile.
func writeFile(name string, p *usage.Profile) error {
	data, err := p.Marshal()
	if err != nil {
		return err
	}
	// The line in a profile may hold a password: a new file is its owner's alone.
	if err := replaceFile(name, data); err != nil {
		return fmt.Errorf("write the profile: %w", err)
	}
	return nil
}

// observer makes the probe what learn asks for.
type observer struct{ *probe.Probe }

func (o observer) Watch(ref proc.ScopeRef) (learn.Watch, error) { return o.Probe.Watch(ref) }
