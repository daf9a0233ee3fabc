package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/cli"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/reading"
)

type fixFlags struct {
	sourceFlags
	write, list, grant, quiet, learn bool
	checks                           []string
	engine                           string
	tools                            string
}

func newFix(stdin io.Reader, stdout, stderr io.Writer) *cobra.Command {
	var f fixFlags
	cmd := &cobra.Command{
		Use:   "fix [flags] [FILE|DIR...]",
		Short: "Change files so that containers get what they need and no more",
		Long: `Change the files that leastcap audit reads. Without --write the change is shown as a diff
and nothing is written.

Of a container whose needs were learned and proven (--profile, or the profiles that
leastcap learn keeps) the definition is changed to drop ALL and add exactly what is
required. What an application needs is never guessed: without a profile only that is done
which changes nothing for it. Names are corrected that Pod Security or containerd would
not take; entries that have no effect, or stand there twice, are removed. What else could
be done, and by which command, is said.

--learn first learns what the containers need of which nothing is known, one after the other,
as docker run starts them (or another engine: --engine) with what the definition says: entry
point, command, variables, user, capabilities, devices, namespaces, sysctls. A volume is a new
and empty one, and so is a directory that may be written; what is mounted read-only is. --check
says when one works, as for leastcap learn. What cannot be had (a secret, another container) is
said; a workload that does not run without is better learned by hand: the result is kept, and is
found for the containers that start the same image with the same command as the same user.
Nothing is built: of a Compose service with a build the image is taken that docker compose
built last, and if there is none, the command is said that builds it.

A container is never given a capability that it does not have, unless --grant says so and
a proven profile that it is required.

Only the bytes of an edit change: comments, quotes, line ends, the order of keys and all
else stay. The result is read by a second parser, and by the format's own tool where there is
one: compose-go, Kubernetes' API types and Pod Security Admission's evaluator (they are in
leastcap-verifier, which is installed with leastcap; without it --write asks docker compose),
systemd-analyze, runc's libcontainer. A file of which any of them reads anything else than was
wanted is not written. leastcap doctor says which are there; what none was asked about is said.

Where a change would reach other containers too (an anchor, a template, an extended service),
it is not made, and the reason is said. What is rendered from a Helm chart that is known
(--chart, or it lies beside) is not changed: the key of the chart's values is named instead.
Exceptions (see leastcap audit) hold.

Files are replaced in one step, and keep their mode, owner and extended attributes.

Exit status:
  0    there is nothing to change, or all was changed
  1    there is something to change (without --write), or a change was not made
  2    wrong usage
  3    a file could not be read, understood or written
  130  interrupted`,
		Example: `  leastcap fix compose.yaml
  leastcap fix --write --profile nginx.json deploy/
  leastcap fix -l .`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, args []string) error {
			return f.run(cmd.Context(), stdin, stdout, stderr, args)
		},
	}
	fl := cmd.Flags()
	fl.SortFlags = false
	fl.BoolVarP(&f.write, "write", "w", false, "change the files")
	fl.BoolVarP(&f.list, "list", "l", false, "only list the files that would change")
	fl.BoolVar(&f.grant, "grant", false, "also give what a proven profile requires and the container does not have")
	fl.BoolVar(&f.learn, "learn", false, "learn first what the containers need of which nothing is known")
	fl.StringArrayVar(&f.checks, "check", nil, "with --learn: CONTAINER=COMMAND, or COMMAND for all, tells whether it works (repeatable)")
	fl.StringVar(&f.engine, "engine", "", "embedded or api: with --learn, what runs the containers, as for leastcap learn (default: docker)")
	fl.StringVar(&f.tools, "tools", toolsAuto, "auto, none or required: whether formats' own tools are asked; required writes nothing that has one and was not read by it")
	fl.BoolVarP(&f.quiet, "quiet", "q", false, "do not say what else could be done")
	f.sourceFlags.add(cmd)
	return cmd
}

func (f *fixFlags) run(ctx context.Context, stdin io.Reader, stdout, stderr io.Writer, args []string) error {
	if f.write && f.list {
		return &usageError{errors.New("--write and --list contradict each other"), "leave one of them out"}
	}
	if i := slices.IndexFunc(args, onceOnly); i >= 0 {
		name := args[i] + ", which is no file,"
		if args[i] == stdinArg {
			name = "standard input"
		}
		switch {
		case f.write:
			return &usageError{fmt.Errorf("%s cannot be changed", name), "leave --write out: the diff goes to standard output"}
		case f.learn:
			return &usageError{fmt.Errorf("%s is read once, and --learn reads twice", name), "name a file"}
		}
	}
	if len(f.checks) > 0 && !f.learn {
		return &usageError{errors.New("--check is for --learn"), "add --learn"}
	}
	if f.engine != "" && !f.learn {
		return &usageError{errors.New("--engine is for --learn"), "add --learn"}
	}
	if f.engine != "" && f.engine != engineEmbedded && f.engine != engineAPI {
		return &usageError{fmt.Errorf("--engine %q is not known", f.engine), "use " + engineEmbedded + " or " + engineAPI + ", or leave it out for docker"}
	}
	if err := known(f.tools, toolsAuto, toolsNone, toolsRequired); err != nil {
		return err
	}
	in, err := f.load(ctx, stdin, args)
	if err != nil {
		return err
	}
	if f.learn {
		if err := f.learnAll(ctx, stderr, in); err != nil {
			return err
		}
		if in, err = f.load(ctx, stdin, args); err != nil { // and now the store has them
			return err
		}
	}
	for _, name := range in.unused {
		say(stderr, "warning: %s is of no container that was found: --profile CONTAINER=FILE says whose it is", name)
	}
	in.sayUnusedCharts(stderr)
	f.sayPassed(stderr, in)
	r := in.audit(time.Now())
	tools := newOwnTools(ctx, f.tools, f.write)
	plan := f.plan(ctx, in, r, tools)
	if err := tools.close(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	sayErrors(stderr, in.errs)
	for _, refusal := range plan.refusals {
		say(stderr, "%v", refusal)
		if refusal.Hint != "" {
			say(stderr, "hint: %s", refusal.Hint)
		}
	}
	for _, err := range plan.errs {
		say(stderr, "error: %v", err)
	}
	for _, text := range plan.warnings {
		say(stderr, "warning: %s", text)
	}
	if f.write {
		plan.sayUnasked(stderr)
	}
	failed := len(in.errs)+len(plan.errs) > 0
	for _, c := range plan.files {
		if err := ctx.Err(); err != nil {
			return err
		}
		switch {
		case f.list:
			_, err = fmt.Fprintln(stdout, c.Name)
		case !f.write:
			_, err = stdout.Write(unified(c))
		default:
			if err := f.replace(c); err != nil {
				say(stderr, "error: %s is not changed: %v", c.Name, err)
				failed = true
				continue
			}
			say(stderr, "%s: %d %s", c.Name, len(c.Edits), plural(len(c.Edits), "edit", "edits"))
		}
		if err != nil {
			return err
		}
	}
	if !f.quiet {
		sayUnlearned(stderr, in, r)
	}
	switch {
	case failed:
		return status(exitBlind)
	case len(plan.refusals) > 0, !f.write && len(plan.files) > 0:
		return status(exitFindings)
	}
	return nil
}

// fixPlan is what becomes of the files.
type fixPlan struct {
	files    []manifest.FileChange
	refusals []*manifest.Refusal
	errs     []error
	warnings []string
	// unasked are the files whose format's own tool was not asked, by the reason.
	unasked map[string][]string
}

// plan turns findings into changed files.
func (f *fixFlags) plan(ctx context.Context, in *definitions, r *audit.Report, tools *ownTools) *fixPlan {
	p := &fixPlan{}
	rendered := map[*manifest.Container]bool{}
	type refusedFor struct {
		container *manifest.Container
		reason    string
	}
	refused := map[refusedFor]bool{}
	var open []*audit.Finding
	for _, finding := range r.Findings {
		if finding.Exception != nil {
			continue
		}
		if finding.Want == nil {
			f.notKnown(in, r, finding, rendered, p)
			continue
		}
		if f.ofChart(in, finding, rendered, p) {
			continue
		}
		if reason := f.mayNot(r, finding); reason != nil {
			if key := (refusedFor{reason.Container, reason.Reason}); !refused[key] {
				refused[key] = true
				p.refusals = append(p.refusals, reason)
			}
			continue
		}
		open = append(open, finding)
	}
	changes := audit.Changes(open)
	defer tools.prepare(changes)()
	edited := make([]editedFile, len(in.files))
	of := map[*manifest.Container]int{}
	for i := range in.files {
		for _, c := range in.files[i].containers {
			of[c] = i
		}
	}
	own := make([][]manifest.Change, len(in.files))
	for _, c := range changes {
		if i, ok := of[c.Container]; ok {
			own[i] = append(own[i], c)
		}
	}
	parallel(len(in.files), func(i int) { edited[i] = editFile(ctx, &in.files[i], own[i], tools) })
	changed := map[string][]byte{}
	for i := range edited {
		e := &edited[i]
		p.refusals = append(p.refusals, e.refusals...)
		p.warnings = append(p.warnings, e.warnings...)
		if e.err != nil {
			p.errs = append(p.errs, e.err)
		}
		if e.unasked != "" {
			if p.unasked == nil {
				p.unasked = map[string][]string{}
			}
			p.unasked[e.unasked] = append(p.unasked[e.unasked], in.files[i].source.Name)
		}
		for _, c := range e.files {
			if before, again := changed[c.Name]; again {
				if !bytes.Equal(before, c.After) {
					p.errs = append(p.errs, fmt.Errorf("%s: two files want it changed in different ways: fix one of them first", c.Name))
				}
				continue
			}
			changed[c.Name] = c.After
			p.files = append(p.files, c)
		}
	}
	return p
}

// editedFile is what becomes of one file.
type editedFile struct {
	files    []manifest.FileChange // it, and others that it names
	refusals []*manifest.Refusal
	err      error
	consulted
}

// editFile makes the changes, which are of one file, and has its format's own tool read them.
func editFile(ctx context.Context, file *definition, own []manifest.Change, tools *ownTools) (e editedFile) {
	if len(own) == 0 || ctx.Err() != nil {
		return e
	}
	if e.files, e.refusals, e.err = manifest.Rewrite(file.format, file.source, own); e.err != nil || len(e.files) == 0 {
		e.files = nil
		return e
	}
	made := manifest.Made(own, e.refusals)
	var err error
	if e.consulted, err = tools.ask(ctx, file, e.files, made); err == nil {
		return e
	}
	refusal := &manifest.Refusal{Container: made[0].Container, At: made[0].Container.At, Reason: err.Error() + "; nothing in the file is changed"}
	var other *reading.Disagreement
	if errors.As(err, &other) && other.Container != nil {
		refusal.Container, refusal.At = other.Container, other.Container.At
	} else {
		refusal.Hint = "--tools " + toolsNone + " does without, if it is the tool that is wrong"
	}
	return editedFile{refusals: append(e.refusals, refusal)}
}

// sayUnasked says in a line what will be read for the first time by what runs it.
func (p *fixPlan) sayUnasked(stderr io.Writer) {
	for _, why := range slices.Sorted(maps.Keys(p.unasked)) {
		say(stderr, "note: no tool of its format has read the edit of %s: %s", cutList(p.unasked[why], 3), why)
	}
}

// ofChart refuses to change what is rendered from a chart that is known: it would be as it
// was with the next rendering. It says what to change instead, once for a container and its
// capabilities (refused: true).
func (f *fixFlags) ofChart(in *definitions, finding *audit.Finding, refused map[*manifest.Container]bool, p *fixPlan) bool {
	c := finding.Container
	chart := in.charts.of(chartSource(c))
	if chart == nil {
		return false
	}
	exactly := finding.Want.Exactly
	if said, again := refused[c]; again && (said || exactly == nil) {
		return true
	}
	refused[c] = exactly != nil
	_, template, _ := strings.Cut(chartSource(c), "/")
	refusal := &manifest.Refusal{Container: c, At: c.At, Reason: "it is rendered from " + filepath.Join(chart.Dir, template)}
	if c.At.File == filepath.Join(chart.Dir, template) {
		refusal.Reason = "it is a chart's template, whose text is not what it renders to"
	}
	o := finding.Origin
	if exactly != nil { // replaces all of them, whatever the finding is about
		o = in.charts.originOf(c, capabilitiesPath(c))
	}
	switch {
	case o == nil:
	case len(o.Keys) == 1:
		k := o.Keys[0]
		where := "values.yaml"
		if k.At.File != "" {
			where = k.At.String()
		}
		refusal.Hint = fmt.Sprintf("set %s of the chart's values (%s)", k.Key, where)
		if exactly != nil && strings.HasSuffix(k.Key, "capabilities") {
			refusal.Hint += fmt.Sprintf(" to {drop: [ALL], add: [%s]}", strings.Join(exactly.Docker(), ", "))
		}
		refusal.Hint += ", and render it anew"
		if exactly != nil && strings.HasSuffix(k.Key, "capabilities") {
			refusal.Hint += ", or with " + cli.Quote([]string{"helm", "template", "--set-json", valueFor(k.Key, *exactly)}) + " …"
		}
	case len(o.Keys) > 1:
		var keys []string
		for _, k := range o.Keys {
			keys = append(keys, k.Key)
		}
		refusal.Hint = "set one of " + strings.Join(keys, ", ") + " of the chart's values, and render it anew"
	default:
		refusal.Hint = "no value of the chart can be named for it: " + o.Why
		if o.Template.Line > 0 {
			refusal.Hint += " (" + o.Template.String() + ")"
		}
	}
	p.refusals = append(p.refusals, refusal)
	return true
}

// valueFor is a key with the capabilities that it is to have, as helm's --set-json takes it
// (Helm 3.10 and later; pkg/strvals ParseJSON()).
func valueFor(key string, set caps.Set) string {
	value, _ := json.Marshal(struct {
		Drop []string `json:"drop"`
		Add  []string `json:"add"`
	}{[]string{"ALL"}, append([]string{}, set.Docker()...)}) // words: cannot fail
	return key + "=" + string(value)
}

// notKnown refuses what a proven profile would change, had the file said what is there.
func (f *fixFlags) notKnown(in *definitions, r *audit.Report, finding *audit.Finding, rendered map[*manifest.Container]bool, p *fixPlan) {
	if finding.Rule.ID != "not-known" {
		return
	}
	i := slices.IndexFunc(r.Subjects, func(s audit.Subject) bool { return s.Container == finding.Container })
	if i < 0 || r.Subjects[i].Profile == nil || !r.Subjects[i].Profile.Proven || !r.Subjects[i].Profile.Complete {
		return
	}
	would := *finding
	would.Want = &manifest.Want{Exactly: &r.Subjects[i].Profile.Recommended}
	if !f.ofChart(in, &would, rendered, p) {
		p.refusals = append(p.refusals, &manifest.Refusal{Container: finding.Container, At: finding.At, Reason: finding.Message, Hint: finding.Mend})
	}
}

// mayNot says why a want would give what is not there today.
func (f *fixFlags) mayNot(r *audit.Report, finding *audit.Finding) *manifest.Refusal {
	exactly := finding.Want.Exactly
	if exactly == nil {
		return nil
	}
	i := slices.IndexFunc(r.Subjects, func(s audit.Subject) bool { return s.Container == finding.Container })
	s := &r.Subjects[i]
	holds, known := s.Holds()
	refusal := &manifest.Refusal{Container: finding.Container, At: finding.Container.At}
	switch {
	case !known:
		refusal.Reason = "what it has today cannot be known from the file"
		return refusal
	case exactly.Minus(holds).Empty(), f.grant:
		return nil
	}
	refusal.Reason = fmt.Sprintf("%s says that it needs %s, which it does not have", s.ProfileName, exactly.Minus(holds))
	refusal.Hint = "--grant gives it, if this definition is for the use that was learned"
	return refusal
}

// replace writes a file, unless it changed since it was read.
func (f *fixFlags) replace(c manifest.FileChange) error {
	now, err := os.ReadFile(c.Name)
	if err != nil {
		return err
	}
	if !bytes.Equal(now, c.Before) {
		return errors.New("somebody changed it meanwhile")
	}
	return replaceFile(c.Name, c.After)
}

// unified is a diff as patch(1) and git apply take it.
func unified(c manifest.FileChange) []byte {
	name := strings.TrimPrefix(c.Name, "/")
	out := diff.Diff("a/"+name, c.Before, "b/"+name, c.After)
	// Its first line, "diff A B", is no part of the format.
	if i := bytes.IndexByte(out, '\n'); bytes.HasPrefix(out, []byte("diff ")) && i >= 0 {
		out = out[i+1:]
	}
	return out
}

// sayUnlearned names the command that would find out what containers need.
func sayUnlearned(stderr io.Writer, in *definitions, r *audit.Report) {
	images := map[string]bool{}
	var list []string
	var first []string // a line for one
	for i := range r.Subjects {
		s := &r.Subjects[i]
		image, ok := s.Container.Image.Get()
		if file := in.of[s.Container]; !ok && file != nil {
			if names := file.imagesOf(s.Container); len(names) > 0 {
				image, ok = names[0], true
			}
		}
		if s.Profile != nil || !ok || images[image] {
			continue
		}
		if set, known := s.Holds(); known && set.Empty() {
			continue
		}
		images[image] = true
		list = append(list, image)
		if w, err := startOf(s.Container, image); err == nil && first == nil {
			first = w.words("docker", "run")
		}
	}
	if len(list) == 0 {
		return
	}
	const shown = 5
	say(stderr, "what these images need was not learned, and what they have is left as it is: %s", cutList(list, shown))
	if first != nil {
		say(stderr, "hint: leastcap learn --check COMMAND -- %s finds and keeps it; then run leastcap fix again", cli.Quote(first))
	}
}

// cutList joins the first of a list.
func cutList(list []string, most int) string {
	text := ""
	for i, s := range list[:min(most, len(list))] {
		if i > 0 {
			text += ", "
		}
		text += s
	}
	if more := len(list) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}
