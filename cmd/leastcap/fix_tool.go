package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/leastcap/leastcap/audit"
	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/engine/embedded"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/compose"
	"github.com/leastcap/leastcap/manifest/kube"
	"github.com/leastcap/leastcap/manifest/oci"
	"github.com/leastcap/leastcap/manifest/reading"
	"github.com/leastcap/leastcap/manifest/systemd"
	"github.com/leastcap/leastcap/proc"
	"github.com/leastcap/leastcap/verifier"
)

// toolTime is how long a format's own tool may take.
const toolTime = 20 * time.Second

// toolModes are the values of --tools.
const (
	toolsAuto     = "auto"
	toolsNone     = "none"
	toolsRequired = "required"
)

// ownTools are the tools that formats have of their own: what will read a file in the end.
type ownTools struct {
	mode string
	// slow says that tools may be asked that take some tenths of a second for a file.
	slow bool

	verifier func() (*verifier.Verifier, error)
	cli      func() (*verifier.ComposeCLI, error)
	started  atomic.Pointer[verifier.Verifier]
}

func newOwnTools(ctx context.Context, mode string, slow bool) *ownTools {
	t := &ownTools{mode: mode, slow: slow, cli: sync.OnceValues(func() (*verifier.ComposeCLI, error) { return verifier.FindComposeCLI(ctx) })}
	t.verifier = sync.OnceValues(func() (*verifier.Verifier, error) {
		v, err := openVerifier(ctx)
		t.started.Store(v)
		return v, err
	})
	return t
}

// prepare starts what will be asked, while the edits are being made; wait returns once that
// is done.
func (t *ownTools) prepare(changes []manifest.Change) (wait func()) {
	var wg sync.WaitGroup
	if t.mode != toolsNone && slices.ContainsFunc(changes, func(c manifest.Change) bool {
		return c.Container.Format == compose.Format.Name || c.Container.Format == kube.Format.Name
	}) {
		wg.Go(func() { _, _ = t.verifier() }) // who needs it hears the error
	}
	return wg.Wait
}

// close ends what was started.
func (t *ownTools) close() error {
	if v := t.started.Load(); v != nil {
		return v.Close()
	}
	return nil
}

// consulted is what came of asking about one file.
type consulted struct {
	// unasked says why its format's tool was not asked, "" if it was, or if it has none.
	unasked string
	// warnings are about what was wanted.
	warnings []string
}

// ask has the format's own tool read the file as it is and as it would be. Its error says
// that the tool reads something else than was meant, or gave no answer though it is there.
func (t *ownTools) ask(ctx context.Context, file *definition, files []manifest.FileChange, changes []manifest.Change) (consulted, error) {
	if t.mode == toolsNone {
		return consulted{}, nil
	}
	after := manifest.Overlay(file.source, files)
	var a consulted
	var err error
	switch file.format.Name {
	case systemd.Format.Name:
		a, err = askSystemd(ctx, file.format, after, changes)
	case oci.Format.Name:
		a, err = t.askRunc(file, after, changes)
	case compose.Format.Name:
		a, err = t.askCompose(ctx, file, files, after, changes)
	case kube.Format.Name:
		a, err = t.askKubernetes(ctx, file, after, changes)
	}
	if err == nil && a.unasked != "" && t.mode == toolsRequired {
		err = fmt.Errorf("its format's own tool was not asked: %s", a.unasked)
	}
	return a, err
}

func (t *ownTools) askRunc(file *definition, after manifest.Source, changes []manifest.Change) (consulted, error) {
	answer, err := embedded.ReadConfig(file.source.Data, after.Data)
	if err != nil {
		return consulted{unasked: err.Error()}, nil
	}
	_, a, err := judge("runc", answer, file, after, changes)
	return a, err
}

// askKubernetes asks leastcap-verifier, or nobody: without a cluster kubectl reads nothing, not
// even for --dry-run=client --validate=false, since it asks a server which resources there are
// (k8s.io/cli-runtime pkg/resource, mapper.infoForData).
func (t *ownTools) askKubernetes(ctx context.Context, file *definition, after manifest.Source, changes []manifest.Change) (consulted, error) {
	v, err := t.verifier()
	if err != nil {
		return consulted{unasked: notThere(err)}, nil
	}
	name, err := filepath.Abs(file.source.Name)
	if err != nil {
		return consulted{}, err
	}
	answer, err := v.Ask(ctx, reading.Request{Format: kube.Format.Name, Files: []reading.File{
		{Name: name, Role: reading.Main, Before: file.source.Data, After: after.Data},
	}})
	if err != nil {
		return consulted{}, noAnswer(v.Tools[kube.Format.Name], err)
	}
	verdict, a, err := judge(v.Tools[kube.Format.Name], answer, file, after, changes)
	if err != nil {
		return a, err
	}
	if err := samePodSecurity(verdict); err != nil {
		return a, err
	}
	for _, c := range slices.SortedFunc(maps.Keys(verdict.Read), func(x, y *manifest.Container) int { return cmp.Compare(x.At.Start, y.At.Start) }) {
		if more := verdict.Refused[c.Path]; len(more) > 0 {
			a.warnings = append(a.warnings, fmt.Sprintf("%s: %s: with what its profile says that it needs Pod Security Admission refuses its pod (%s)", c.At, c.Name, strings.Join(more, ", ")))
		}
	}
	return a, nil
}

func (t *ownTools) askCompose(ctx context.Context, file *definition, files []manifest.FileChange, after manifest.Source, changes []manifest.Change) (consulted, error) {
	req, err := composeRequest(file, files)
	if err != nil {
		return consulted{}, err
	}
	v, verr := t.verifier()
	if verr == nil {
		answer, err := v.Ask(ctx, req)
		if err != nil {
			return consulted{}, noAnswer(v.Tools[compose.Format.Name], err)
		}
		_, a, err := judge(v.Tools[compose.Format.Name], answer, file, after, changes)
		return a, err
	}
	if !t.slow {
		return consulted{unasked: notThere(verr)}, nil
	}
	cli, err := t.cli()
	if err != nil {
		return consulted{unasked: notThere(verr)}, nil
	}
	answer, err := cli.Ask(ctx, req)
	switch {
	case errors.Is(err, verifier.ErrNotAskable):
		return consulted{unasked: notThere(verr) + "; of " + cli.Title + ", " + err.Error()}, nil
	case err != nil:
		return consulted{}, noAnswer(cli.Title, err)
	}
	_, a, err := judge(cli.Title, answer, file, after, changes)
	return a, err
}

// composeRequest has all files of the project, each before and after.
func composeRequest(file *definition, files []manifest.FileChange) (reading.Request, error) {
	req := reading.Request{Format: compose.Format.Name}
	project := compose.Files(file.source)
	add := func(name string, role reading.Role) error {
		abs, err := filepath.Abs(name)
		f := reading.File{Name: abs, Role: role, Before: project.Data[name], Same: true}
		for _, c := range files {
			if c.Name == name {
				f.After, f.Same = c.After, false
			}
		}
		req.Files = append(req.Files, f)
		return err
	}
	for _, name := range project.Main {
		if err := add(name, reading.Main); err != nil {
			return req, err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(project.Data)) {
		role := reading.Other
		switch {
		case slices.Contains(project.Main, name):
			continue
		case name == project.Env:
			role = reading.Env
		}
		if err := add(name, role); err != nil {
			return req, err
		}
	}
	return req, nil
}

// judge holds an answer against what was meant.
func judge(tool string, answer *reading.Answer, file *definition, after manifest.Source, changes []manifest.Change) (*reading.Verdict, consulted, error) {
	list, _ := file.format.Parse(after) // it was parsed before without an error that is not there now
	verdict, err := reading.Judge(tool, answer, list, changes)
	if unread, ok := errors.AsType[*reading.UnreadError](err); ok {
		verdict, err = &reading.Verdict{Unread: unread.Reason}, nil
	}
	var c consulted
	if err == nil && verdict.Unread != "" {
		c.unasked = fmt.Sprintf("%s cannot read it, as it is already: %s", tool, verdict.Unread)
	}
	return verdict, c, err
}

func noAnswer(tool string, err error) error {
	return fmt.Errorf("%s gave no answer: %w", tool, err)
}

// samePodSecurity holds Pod Security Admission's verdict against that of audit's rules, of the
// checks that are about capabilities.
func samePodSecurity(v *reading.Verdict) error {
	var subjects []audit.Subject
	unknown := map[*manifest.Owner]bool{}
	for c := range v.Read {
		subjects = append(subjects, audit.Subject{Container: c})
		_, missing := c.Request()
		if len(missing) > 0 || c.NoNewPrivs.State == manifest.Unknown || slices.ContainsFunc(c.Namespaces, func(n manifest.Namespace) bool { return n.With.State == manifest.Unknown }) {
			unknown[c.Owner] = true
		}
	}
	findings := audit.Audit(subjects)
	for _, rule := range []struct {
		id     string
		checks []string
	}{
		{"pod-security-baseline", []string{"baseline/capabilities_baseline", "baseline/privileged", "baseline/hostNamespaces"}},
		{"pod-security-restricted", []string{"restricted/capabilities_restricted", "restricted/allowPrivilegeEscalation"}},
	} {
		ours, theirs := map[*manifest.Owner]bool{}, map[*manifest.Owner]*manifest.Container{}
		for _, f := range findings {
			if f.Rule.ID == rule.id {
				ours[f.Container.Owner] = true
			}
		}
		for c, read := range v.Read {
			if slices.ContainsFunc(rule.checks, func(check string) bool { return slices.Contains(read.Refused, check) }) {
				theirs[c.Owner] = c
			}
		}
		for c := range v.Read {
			if refuses := theirs[c.Owner] != nil; refuses != ours[c.Owner] && !unknown[c.Owner] {
				what := map[bool]string{true: "refuses", false: "takes"}
				return &reading.Disagreement{Tool: "Pod Security Admission", Container: c,
					Reason: fmt.Sprintf("%s the pod of %s by %s, where leastcap's rule %s says that it %s it", what[refuses], c.Name, strings.Join(rule.checks, ", "), rule.id, what[!refuses])}
			}
		}
	}
	return nil
}

// askSystemd has systemd-analyze read a unit, where this machine has it.
func askSystemd(ctx context.Context, f *manifest.Format, after manifest.Source, changes []manifest.Change) (consulted, error) {
	if !slices.ContainsFunc(changes, func(c manifest.Change) bool { return c.Container.Path == "unit" && c.Container.Kind == "unit" }) {
		return consulted{}, nil // a drop-in by itself, whose sets are not known
	}
	list, _ := f.Parse(after)
	i := slices.IndexFunc(list, func(c *manifest.Container) bool { return c.Path == "unit" })
	if i < 0 || list[i].Stated == nil {
		return consulted{}, nil
	}
	tool, err := exec.LookPath("systemd-analyze")
	switch {
	case err != nil:
		return consulted{unasked: "systemd-analyze is not installed: it comes with systemd"}, nil
	case !strings.HasSuffix(after.Name, ".service"):
		return consulted{unasked: "systemd-analyze security reads services only"}, nil
	}
	seen, asked, err := analyze(ctx, tool, after)
	switch different := seen.Minus(list[i].Stated.Bounding).Union(list[i].Stated.Bounding.Minus(seen)).Intersect(asked); {
	case err != nil:
		return consulted{}, err
	case asked.Empty():
		return consulted{unasked: "systemd-analyze cannot read it, or is older than systemd 250"}, nil
	case !different.Empty():
		return consulted{}, &reading.Disagreement{Tool: "systemd-analyze", Container: list[i], Reason: fmt.Sprintf("does not read %v as it is meant", different)}
	}
	return consulted{}, nil
}

// analyze asks systemd-analyze for a unit's bounding set: seen of those that were asked for,
// which are none if it cannot answer.
func analyze(ctx context.Context, tool string, src manifest.Source) (seen, asked caps.Set, err error) {
	proc.SweepTemp(os.TempDir()) // what a killed one left
	root, err := os.MkdirTemp("", proc.TempPattern())
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(root)) }()
	for name, data := range systemd.Files(src) {
		name = filepath.Join(root, "etc/systemd/system", name)
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return 0, 0, err
		}
		if err := os.WriteFile(name, data, 0o600); err != nil {
			return 0, 0, err
		}
	}
	unit := path.Base(src.Name)
	unit = strings.Replace(unit, "@.", "@x.", 1) // of a template some instance
	ctx, cancel := context.WithTimeout(ctx, toolTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, tool, "security", "--offline=yes", "--root="+root, "--no-pager", "--json=short", unit)
	cmd.WaitDelay = time.Second
	out, _ := cmd.Output()
	var tests []struct {
		Set   *bool  `json:"set"` // true: it is not there
		Field string `json:"json_field"`
	}
	if json.Unmarshal(out, &tests) != nil { // older ones know no --offline
		return 0, 0, nil
	}
	for _, t := range tests {
		name, ok := strings.CutPrefix(t.Field, "CapabilityBoundingSet_")
		c, err := caps.ParseCap(name)
		if !ok || err != nil || t.Set == nil {
			continue // one for several
		}
		if asked = asked.With(c); !*t.Set {
			seen = seen.With(c)
		}
	}
	return seen, asked, nil
}
