package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/engine/rules"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/actions"
	"github.com/leastcap/leastcap/manifest/compose"
	"github.com/leastcap/leastcap/manifest/devcontainer"
	"github.com/leastcap/leastcap/manifest/dockerfile"
	"github.com/leastcap/leastcap/manifest/ecs"
	inspected "github.com/leastcap/leastcap/manifest/inspect"
	"github.com/leastcap/leastcap/manifest/kube"
	"github.com/leastcap/leastcap/manifest/nomad"
	"github.com/leastcap/leastcap/manifest/oci"
	"github.com/leastcap/leastcap/manifest/shell"
	"github.com/leastcap/leastcap/manifest/systemd"
	"github.com/leastcap/leastcap/manifest/yaml"
	"github.com/leastcap/leastcap/report"
	"github.com/leastcap/leastcap/usage"
)

// formats are those that are recognised; of two that are equally sure the first wins.
var formats = []*manifest.Format{
	&kube.Format, &compose.Format, &dockerfile.Format, &systemd.Quadlet, &systemd.Format, &oci.Format,
	&actions.Format, &devcontainer.Format, &ecs.Format, &nomad.Format, &shell.Makefile, &shell.Markdown, &shell.Format, &inspected.Format,
}

func formatNames() []string {
	var names []string
	for _, f := range formats {
		names = append(names, f.Name)
	}
	return names
}

// sourceFlags say what is read and how; audit and fix have them in common.
type sourceFlags struct {
	format, rules string
	profiles      []string
	config        string
	noStore       bool
	images        bool
	charts        []string
	verbose       bool
}

type auditFlags struct {
	sourceFlags
	output, failOn, severity, baseline string
	excepted                           bool
}

func newAudit(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var f auditFlags
	cmd := &cobra.Command{
		Use:   "audit [flags] [FILE|DIR|IMAGE...]\n  leastcap audit [flags] docker|podman|proc|image|bundle [NAME...]",
		Short: "Find containers that are given more than they need",
		Long: `Find every container that is given more than it needs, and definitions that do not mean
what they say, in files of these formats, recognised by their content:

` + formatList() + `
Directories are searched; what .gitignore names and vendored directories (node_modules,
vendor, third_party …), source code, links, pipes and devices are left out unless they are
named (-v says which). - is standard input, and <(helm template …) of a shell is read like
it. Without an argument the current directory is searched. Of Kubernetes' manifests every
document is read, and every object where JSON objects stand one behind the other, as kubectl
reads them. What follows the end of a definition and is none is an error, and is not passed over.

` + liveHelp + `

What a container would be given is worked out by the rules of the engine that will run
it, which is inferred from the format; --rules names another. If a container's needs were
learned (--profile, or the profiles that leastcap learn keeps), what it has beyond them is
a finding, with exactly what to give instead.

Of what a Helm chart renders, findings name the key of values.yaml that the chart's template
puts at that place, where that can be told from the template: --chart names the chart's
directory, or it lies beside the rendered file.

Decisions to live with a finding stand in ` + audit.ConfigName + `, in the directory that is
audited or above it:

  exceptions:
    - rule: adds-capability
      file: deploy/*.yaml        # left out: every file
      container: vpn             # left out: every container
      capability: NET_ADMIN      # left out: whatever the rule finds
      reason: it makes routes
      expires: 2027-06-30
  ignore: [examples/]            # as in .gitignore
  rules: containerd              # the engine
  fail-on: high

or in a comment, on the line of the finding or of the container, or on one before it:

  - NET_ADMIN  # leastcap: allow adds-capability NET_ADMIN until 2027-06-30: makes routes

An exception that is past its date, or that covers nothing, is a finding. Where one finding
explains another, people are shown that one, with the ids of both: each has exceptions of
its own. The JSON has all.

--baseline takes a report (--output json) of before: only what is new is reported.

Exit status:
  0    no finding of the severity of --fail-on or above
  1    such findings
  2    wrong usage, or a configuration, profile or baseline that is not valid
  3    a file could not be read or understood (the others were audited)
  130  interrupted`,
		Example: `  leastcap audit
  leastcap audit --fail-on high --output github deploy/
  helm template chart | leastcap audit --chart chart -
  leastcap audit --profile nginx.json compose.yaml`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), stdin, stdout, stderr, args)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.StringVarP(&f.output, "output", "o", "text", strings.Join(auditOutputNames(), ", "))
	fl.StringVar(&f.failOn, "fail-on", "", "the least severity that makes the exit status 1: note, low, medium, high, critical or never (default: medium)")
	fl.StringVar(&f.severity, "severity", "low", "the least severity that the text shows")
	fl.BoolVar(&f.excepted, "excepted", false, "show what exceptions cover, too")
	fl.StringVar(&f.baseline, "baseline", "", "report only what is not in this report of before")
	f.sourceFlags.add(cmd)
	return cmd
}

func (f *sourceFlags) add(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.StringArrayVar(&f.profiles, "profile", nil, "what was learned of containers with the profile's image, or CONTAINER=FILE (repeatable)")
	fl.BoolVar(&f.noStore, "no-store", false, "do not look into the profiles that leastcap learn keeps")
	fl.BoolVar(&f.images, "images", false, "also look into the containers' images, for set-uid programs and file capabilities, where the engine has them")
	fl.StringArrayVar(&f.charts, "chart", nil, "the directory of a Helm chart that the files were rendered from (repeatable; default: one of its name beside them)")
	if err := cmd.MarkFlagDirname("chart"); err != nil {
		panic(err) // there is no such flag
	}
	fl.BoolVarP(&f.verbose, "verbose", "v", false, "say which files of a directory are passed over, and why")
	fl.StringVar(&f.rules, "rules", "", "the engine that runs them: "+strings.Join(rules.Names(), ", ")+" (default: by the format)")
	fl.StringVar(&f.format, "format", "", "take every file for this: "+strings.Join(formatNames(), ", ")+" (default: by its content)")
	fl.StringVar(&f.config, "config", "", "the configuration (default: "+audit.ConfigName+" in the directory or above)")
}

func formatList() string {
	var b strings.Builder
	for _, f := range formats {
		fmt.Fprintf(&b, "  %-14s %s\n", f.Name, f.Title)
	}
	return b.String()
}

// auditWriters are the outputs, text first.
var auditWriters = []struct {
	name  string
	write func(w io.Writer, r *audit.Report, o report.AuditOptions) error
}{
	{"text", report.AuditText},
	{"json", always(report.AuditJSON)},
	{"sarif", always(func(w io.Writer, r *audit.Report) error { return report.AuditSARIF(w, r, version) })},
	{"junit", always(report.AuditJUnit)},
	{"github", report.AuditGitHub},
	{"markdown", report.AuditMarkdown},
	{"html", always(report.AuditHTML)},
}

// always is a writer that leaves nothing out, as it is for programs.
func always(write func(io.Writer, *audit.Report) error) func(io.Writer, *audit.Report, report.AuditOptions) error {
	return func(w io.Writer, r *audit.Report, _ report.AuditOptions) error { return write(w, r) }
}

func auditOutputNames() []string {
	var names []string
	for _, w := range auditWriters {
		names = append(names, w.name)
	}
	return names
}

// never is no severity: nothing fails.
const never = audit.Critical + 1

func (f *auditFlags) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, args []string) error {
	if err := known(f.output, auditOutputNames()...); err != nil {
		return err
	}
	o := report.AuditOptions{Style: styleOf(stdout), Excepted: f.excepted}
	if err := o.Least.UnmarshalText([]byte(f.severity)); err != nil {
		return &usageError{fmt.Errorf("--severity: %w", err), ""}
	}
	var known audit.Baseline
	if f.baseline != "" {
		data, err := readWhole(ctx, f.baseline, stdin, maxNamed, "a report")
		if err == nil {
			known, err = audit.ParseBaseline(data)
		}
		if cerr := ctx.Err(); cerr != nil {
			return cerr
		}
		if err != nil {
			return &usageError{fmt.Errorf("--baseline %s: %w", usage.At(f.baseline, err), err), "make one with leastcap audit --output json >" + f.baseline}
		}
	}
	answered := func() {}
	if len(args) > 0 && slices.Contains([]string{"docker", "podman"}, args[0]) {
		answered = waiting(stderr, slow, args[0])
	}
	in, live, err := f.loadLive(ctx, args)
	answered()
	if !live {
		in, err = f.load(ctx, stdin, args)
	}
	if err != nil {
		return err
	}
	least := audit.Medium
	failOn := f.failOn
	if failOn == "" {
		failOn = in.config.FailOn
	}
	switch failOn {
	case "":
	case "never":
		least = never
	default:
		if err := least.UnmarshalText([]byte(failOn)); err != nil {
			return &usageError{fmt.Errorf("--fail-on: %w", err), "or never"}
		}
	}
	for _, name := range in.unused {
		say(stderr, "warning: %s is of no container that was found: --profile CONTAINER=FILE says whose it is", name)
	}
	for _, text := range in.uncompared {
		say(stderr, "warning: %s", text)
	}
	in.sayUnusedCharts(stderr)
	f.sayPassed(stderr, in)
	if len(in.subjects) > 100 {
		// What was read stays to the end, and would let as much garbage lie.
		defer debug.SetGCPercent(debug.SetGCPercent(70))
	}
	r := in.audit(time.Now())
	if known != nil {
		all := len(r.Findings)
		r.Findings = known.New(r.Findings)
		r.Known = all - len(r.Findings)
	}
	audit.Fold(r.Findings)
	if f.output == "sarif" {
		in.edits(r)
	}
	for _, w := range auditWriters {
		if w.name == f.output {
			err = w.write(stdout, r, o)
		}
	}
	sayErrors(stderr, r.Errors)
	switch {
	case err != nil:
		return err
	case len(r.Errors) > 0:
		return status(exitBlind)
	case len(r.Open(least)) > 0:
		return status(exitFindings)
	}
	return nil
}

// sayErrors says what could not be read; hints that are alike once.
func sayErrors(stderr io.Writer, errs []*manifest.Error) {
	hinted := map[string]bool{}
	for _, e := range errs {
		say(stderr, "error: %v", e)
		if e.Hint != "" && !hinted[e.Hint] {
			hinted[e.Hint] = true
			say(stderr, "hint: %s", e.Hint)
		}
	}
}

// sayPassed says what was passed over, for who misses a file.
func (f *sourceFlags) sayPassed(stderr io.Writer, d *definitions) {
	if !f.verbose {
		return
	}
	slices.SortStableFunc(d.passed, func(a, b passedOver) int { return strings.Compare(a.name, b.name) })
	for _, p := range d.passed {
		say(stderr, "passed over: %s: %s", p.name, p.why)
	}
}

// definitions are the files of a call, understood.
type definitions struct {
	config   *audit.Config
	files    []definition
	of       map[*manifest.Container]*definition
	errs     []*manifest.Error
	subjects []audit.Subject
	excepted []*audit.Exception
	// unused are profiles that were named and are of no container.
	unused []string
	// uncompared says of which containers what was learned could not be compared.
	uncompared []string
	charts     charts
	// passed is what of directories was passed over.
	passed []passedOver
}

type passedOver struct{ name, why string }

// definition is one file.
type definition struct {
	source     manifest.Source
	format     *manifest.Format // nil if it is none
	containers []*manifest.Container
	exceptions []*audit.Exception
	errs       []*manifest.Error
	project    *string // docker compose's name of it, once that was asked for
}

// load reads all that args name.
func (f *sourceFlags) load(ctx context.Context, stdin io.Reader, args []string) (*definitions, error) {
	if len(args) == 0 {
		args = []string{"."}
	}
	if f.rules != "" {
		if _, err := rules.For(f.rules); err != nil {
			return nil, &usageError{fmt.Errorf("--rules: %w", err), ""}
		}
	}
	var only *manifest.Format
	if f.format != "" {
		i := slices.IndexFunc(formats, func(x *manifest.Format) bool { return x.Name == f.format })
		if i < 0 {
			return nil, &usageError{fmt.Errorf("--format %q is not known", f.format), "use one of " + strings.Join(formatNames(), ", ")}
		}
		only = formats[i]
	}
	d := &definitions{of: map[*manifest.Container]*definition{}}
	var err error
	if d.config, err = f.loadConfig(ctx, args); err != nil {
		return nil, err
	}
	engine := f.rules
	if engine == "" {
		engine = d.config.Rules
	}
	profiles, err := f.loadProfiles(ctx)
	if err != nil {
		return nil, err
	}
	args, refs := imageRefs(args)
	for _, ref := range refs {
		if err := d.loadImage(ctx, ref); err != nil {
			if ctx.Err() == nil && !strings.Contains(ref, ":") {
				err = fmt.Errorf("there is no file %s, and as an image: %w", ref, err)
			}
			return nil, err
		}
		profiles.find(&d.subjects[len(d.subjects)-1], []string{ref})
	}
	files, errs := findFiles(args, d.config.Ignore, func(name, why string) { d.passed = append(d.passed, passedOver{name, why}) })
	d.errs = errs
	d.files = make([]definition, len(files))
	parallel(len(files), func(i int) {
		if ctx.Err() == nil {
			d.files[i] = define(ctx, files[i], stdin, only, engine)
		}
	})
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := d.inspectedImages(ctx, profiles); err != nil {
		return nil, err
	}
	d.excepted = d.config.Exceptions
	for i := range d.files {
		file := &d.files[i]
		if file.format == nil && len(file.errs) == 0 {
			d.passed = append(d.passed, passedOver{file.source.Name, "it is of no format that is known"})
		}
		d.errs = append(d.errs, file.errs...)
		d.excepted = append(d.excepted, file.exceptions...)
		for _, c := range file.containers {
			d.of[c] = file
			s := audit.Subject{Container: c}
			if len(profiles.list) > 0 {
				profiles.find(&s, file.imagesOf(c))
			}
			d.subjects = append(d.subjects, s)
		}
	}
	d.unused = profiles.unused(d.subjects)
	if d.charts, err = findCharts(f.charts, d.subjects); err != nil {
		return nil, err
	}
	if f.images {
		err = d.lookIntoImages(ctx)
	}
	return d, err
}

// parallel calls do for 0 to n-1 on all processors.
func parallel(n int, do func(i int)) {
	var wg sync.WaitGroup
	next := make(chan int, n)
	for i := range n {
		next <- i
	}
	close(next)
	for range min(n, runtime.GOMAXPROCS(0)) {
		wg.Go(func() {
			for i := range next {
				do(i)
			}
		})
	}
	wg.Wait()
}

// define reads and understands one file.
func define(ctx context.Context, f foundFile, stdin io.Reader, only *manifest.Format, engine string) (d definition) {
	name, data, err := readFile(ctx, f, stdin)
	d.source = manifest.Source{Name: name, Data: data, Env: os.LookupEnv, Open: readNamed, List: listDir}
	fail := func(err error) {
		d.errs = append(d.errs, &manifest.Error{At: manifest.Pos{File: name}, Err: bare(err)})
	}
	if err != nil {
		fail(err)
		return d
	}
	if data == nil {
		return d
	}
	d.format = only
	if d.format == nil {
		if d.format = manifest.Recognise(formats, name, data); d.format == nil {
			if f.named {
				d.errs = append(d.errs, &manifest.Error{
					At: manifest.Pos{File: name}, Reason: "it is of no format that is known",
					Hint: "--format says what it is; leastcap audit --help lists the formats",
				})
			}
			return d
		}
	}
	containers, err := d.format.Parse(d.source)
	for _, e := range manifest.Errors(err) {
		if e.Hint == yaml.TemplateHint {
			if hint := ofTemplate(name); hint != "" {
				e.Hint = hint
			}
		}
		d.errs = append(d.errs, e)
	}
	for _, c := range containers {
		if engine != "" && c.Stated == nil {
			c.Target = manifest.Target{Engines: []string{engine}, Chosen: true}
		}
	}
	d.containers = containers
	exceptions, err := audit.Comments(name, data)
	d.exceptions = exceptions
	d.errs = append(d.errs, manifest.Errors(err)...)
	return d
}

// listDir are the names in a directory.
func listDir(dir string) ([]string, error) {
	entries, err := os.ReadDir(dir)
	names := make([]string, len(entries))
	for i, e := range entries {
		names[i] = e.Name()
	}
	return names, err
}

// loadConfig finds the configuration: the one named, or the nearest above what is audited.
func (f *sourceFlags) loadConfig(ctx context.Context, args []string) (*audit.Config, error) {
	name := f.config
	if name == "" {
		dir := args[0]
		if onceOnly(dir) {
			dir = "."
		}
		if info, err := os.Stat(dir); err == nil && !info.IsDir() {
			dir = filepath.Dir(dir)
		}
		abs, err := filepath.Abs(dir)
		if err != nil {
			return &audit.Config{}, nil
		}
		for {
			name = filepath.Join(abs, audit.ConfigName)
			if _, err := os.Stat(name); err == nil {
				break
			}
			up := filepath.Dir(abs)
			if up == abs {
				return &audit.Config{}, nil
			}
			abs = up
		}
		if wd, err := os.Getwd(); err == nil {
			if rel, err := filepath.Rel(wd, name); err == nil {
				name = rel
			}
		}
	}
	read := readNamed
	if f.config != "" {
		read = func(name string) ([]byte, error) {
			return readWhole(ctx, name, nil, manifest.MaxSize, "a configuration")
		}
	}
	data, err := read(name)
	if cerr := ctx.Err(); cerr != nil {
		return nil, cerr
	}
	if err != nil {
		return nil, &usageError{fmt.Errorf("read the configuration: %w", err), ""}
	}
	c, err := audit.ParseConfig(name, data)
	if err != nil {
		var all []string
		hint := ""
		for _, e := range manifest.Errors(err) {
			all, hint = append(all, e.Error()), e.Hint
		}
		return nil, &usageError{errors.New(strings.Join(all, "\n")), hint}
	}
	if c.Rules != "" {
		if _, err := rules.For(c.Rules); err != nil {
			return nil, &usageError{fmt.Errorf("%s: rules: %w", name, err), ""}
		}
	}
	return c, nil
}

// audit applies the rules.
func (d *definitions) audit(now time.Time) *audit.Report {
	r := &audit.Report{Subjects: d.subjects, Errors: d.errs}
	names := map[string]bool{}
	for i := range d.files {
		file := &d.files[i]
		if file.format == nil {
			continue
		}
		names[file.source.Name] = true
		r.Files = append(r.Files, audit.File{Name: file.source.Name, Format: file.format.Name, Containers: len(file.containers)})
	}
	r.Findings = audit.Except(audit.Audit(d.subjects), d.excepted, now, func(e *audit.Exception) bool {
		return e.Looked(names)
	})
	for _, f := range r.Findings {
		f.Origin = d.charts.origin(f)
	}
	return r
}

// edits works out what would mend each finding, for reports that carry it.
func (d *definitions) edits(r *audit.Report) {
	for _, f := range r.Findings {
		file := d.of[f.Container]
		if f.Want == nil || file == nil || file.format.Edit == nil {
			continue
		}
		changes, refusals, err := manifest.Rewrite(file.format, file.source, []manifest.Change{{Container: f.Container, Want: *f.Want}})
		if err != nil || len(refusals) > 0 {
			continue // leastcap fix says why
		}
		for _, c := range changes {
			f.Edits = append(f.Edits, c.Edits...)
		}
	}
}
