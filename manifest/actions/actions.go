// Package actions reads GitHub's workflows and composite actions: job containers and
// services, whose options are docker's, and docker lines in the steps' scripts.
package actions

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/flags"
	"github.com/leastcap/leastcap/manifest/words"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// Format is that of workflows and of action.yml.
var Format = manifest.Format{
	Name: "actions", Title: "GitHub Actions workflow",
	Recognise: recognise, Parse: parse, Edit: edit, Verify: verify,
}

var (
	jobsKey  = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^(jobs|"jobs"|'jobs')[ \t]*:`) })
	onKey    = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^(on|"on"|'on'|true)[ \t]*:`) })
	stepsKey = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?m)^[ \t]+(steps|uses|runs-on)[ \t]*:`) })
	runsKey  = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?m)^runs[ \t]*:[^\n]*\n(?:[ \t]*(?:#[^\n]*)?\r?\n)*[ \t]+using[ \t]*:`)
	})
)

func recognise(name string, data []byte) manifest.Likelihood {
	data = bytes.TrimPrefix(data[:min(len(data), 1<<20)], []byte("\ufeff"))
	switch {
	case jobsKey().Match(data) && onKey().Match(data) && stepsKey().Match(data), runsKey().Match(data):
		return manifest.Sure
	case jobsKey().Match(data) && strings.Contains(name, ".github/workflows/"):
		return manifest.Likely
	}
	return manifest.No
}

// A place is a container in a workflow.
type place struct {
	*flags.Invocation
	path []string  // of the YAML node that an edit may change
	m    yaml.Node // the container's mapping, for options; none of a script's
	key  yaml.Entry
	// fixed says why its words cannot be edited, "" if they can.
	fixed string
}

// workflow is a file that is read.
type workflow struct {
	file  *yaml.File
	doc   *yaml.Document
	root  yaml.Node
	found []place
	errs  []error

	sets    []set
	sharing *yaml.Sharing // once it is needed
}

// owner is the container that a path leads into.
func owner(path []string) string {
	switch {
	case len(path) >= 3 && path[0] == "jobs" && path[2] == "container":
		return strings.Join(path[:3], ".")
	case len(path) >= 4 && path[0] == "jobs" && path[2] == "services":
		return strings.Join(path[:4], ".")
	}
	return ""
}

func parse(src manifest.Source) ([]*manifest.Container, error) {
	w, err := read(src)
	if err != nil {
		return nil, err
	}
	var list []*manifest.Container
	for _, p := range w.found {
		list = append(list, p.Container)
	}
	return list, errors.Join(w.errs...)
}

func read(src manifest.Source) (*workflow, error) {
	doc, root, err := yaml.ReadOne(src, "a workflow is one YAML document")
	if err != nil {
		return nil, err
	}
	w := &workflow{file: doc.File(), doc: doc, root: root, errs: doc.Duplicates()}
	jobs := root.At("jobs")
	for i := range jobs.Len() {
		job := jobs.Entry(i)
		if job.IsMerge() || !job.Value.IsMapping() {
			continue
		}
		base := []string{"jobs", job.Key.Value()}
		w.container(job.Value, "container", "job container", base)
		services := job.Value.At("services")
		for j := range services.Len() {
			s := services.Entry(j)
			w.container(services, s.Key.Value(), "service container", append(slices.Clip(base), "services"))
		}
		w.steps(job.Value.At("steps"), job.Value, base)
	}
	w.steps(root.At("runs", "steps"), yaml.Node{}, []string{"runs"})
	for i := range w.found {
		w.found[i].Container.Format = "actions"
	}
	return w, nil
}

// container reads one that is an image, or a mapping with image and options.
func (w *workflow) container(in yaml.Node, key, kind string, base []string) {
	entry := in.Get(key)
	if !entry.Exists() || entry.Value.IsNull() {
		return
	}
	path := append(slices.Clip(base), key)
	image, m := entry.Value, yaml.Node{}
	if entry.Value.IsMapping() {
		m = entry.Value
		image = m.At("image")
	}
	if !image.Exists() || image.Value() == "" { // no container: the runner takes "" for none
		return
	}
	p := place{path: path, m: m, key: entry}
	var list []words.Word
	if o := m.At("options"); o.Exists() && o.Value() != "" {
		text, ok := scalarText(w.file.Data, o)
		if !ok {
			text = words.Opaque(o.Value(), o.Pos().Start, o.Pos().End)
			p.fixed = "its options are written over several lines or with escapes"
		}
		commands, err := words.Parse(text, nil)
		if err != nil || len(commands) != 1 {
			w.errs = append(w.errs, &manifest.Error{At: o.Pos(), Reason: "these options cannot be read as words"})
			p.fixed = "its options cannot be read"
		} else {
			list = commands[0].Words
		}
		for i := range list {
			if list[i].Why != "" && expression().ReplaceAllString(list[i].Text, "") == "" {
				list[i].Many = true // an expression can be all of the options
				list[i].Why = "an expression is GitHub's to fill in"
			}
		}
	}
	v, err := flags.Options("docker", list, expressed(image.Text()), w.file.Lines(), entry.Key.Pos())
	if err != nil {
		w.errs = append(w.errs, err)
		return
	}
	p.Invocation = v
	c := v.Container
	c.Path, c.Kind, c.Name = strings.Join(path, "."), kind, key
	if kind == "job container" {
		c.Name = base[len(base)-1]
	}
	if w.sharing == nil {
		w.sharing = w.doc.Sharing(owner)
	}
	c.Shared = w.sharing.Of(path, c.Path)
	env := m.At("env")
	for i := range env.Len() {
		e := env.Entry(i)
		c.Env = append(c.Env, manifest.Pair{Key: e.Key.Value(), KeyAt: e.Key.Pos(), Value: expressed(e.Value.Literal())})
	}
	if kind == "job container" && c.Entrypoint.State == manifest.Unset {
		// It is kept alive, and the steps run in it (actions/runner
		// src/Runner.Worker/ContainerOperationProvider.cs).
		at := entry.Key.Pos()
		word := func(s string) manifest.Text { return manifest.Of(s, s, at) }
		c.Entrypoint = manifest.Of([]manifest.Text{word("tail")}, "", at)
		c.Command = manifest.Of([]manifest.Text{word("-f"), word("/dev/null")}, "", at)
	}
	for _, k := range [][2]string{{"volumes", "volume"}, {"ports", "publish"}} {
		l := m.At(k[0])
		for i := range l.Len() {
			w.more(c, k[1], l.Item(i))
		}
	}
	if p.fixed != "" && c.CapsWhy == "" && len(list) == 0 {
		c.CapsWhy = p.fixed
	}
	w.found = append(w.found, p)
}

// more reads volumes and ports as the flags that the runner makes of them.
func (w *workflow) more(c *manifest.Container, flag string, n yaml.Node) {
	at := n.Pos()
	v, err := flags.Options("docker", []words.Word{words.New("--"+flag+"="+n.Value(), n.Value(), at.Start, at.End, nil)}, c.Image, w.file.Lines(), at)
	if err == nil {
		c.Mounts, c.Ports = append(c.Mounts, v.Container.Mounts...), append(c.Ports, v.Container.Ports...)
	}
}

// expressed is a text that is not known if it has an expression in it.
func expressed(t manifest.Text) manifest.Text {
	if strings.Contains(t.V, "${{") {
		return manifest.NotKnown[string](t.Raw, "an expression is GitHub's to fill in", t.At)
	}
	return t
}

// steps reads the scripts of steps.
func (w *workflow) steps(steps, job yaml.Node, base []string) {
	runner := "" // a word, a list or a mapping, as it stands there
	if n := job.At("runs-on").Deref(); n.Exists() {
		runner = strings.ToLower(string(w.file.Data[n.Pos().Start:n.Pos().End]))
	}
	for i := range steps.Len() {
		step := steps.Item(i)
		run := step.At("run")
		if !run.Exists() || !run.IsScalar() {
			continue
		}
		shell := step.At("shell").Value()
		for _, n := range []yaml.Node{job, w.root} {
			if shell == "" {
				shell = n.At("defaults", "run", "shell").Value()
			}
		}
		perhaps := false // it is for another shell
		switch program, _, _ := strings.Cut(shell, " "); {
		case program == "" && strings.Contains(runner, "windows"):
			continue // whose own is PowerShell (GitHub's workflow syntax, jobs.<job_id>.steps[*].shell)
		case program == "":
			perhaps = strings.Contains(runner, "${{")
		case strings.Contains(program, "${{"):
			perhaps = true
		case program != "bash" && program != "sh":
			continue
		}
		var path []string
		fixed := ""
		text, ok := scalarText(w.file.Data, run)
		if !ok {
			text = words.Opaque(run.Value(), run.Pos().Start, run.Pos().End)
			fixed = "the script is written with escapes or folded lines"
		}
		path = append(slices.Clip(base), "steps", strconv.Itoa(i))
		commands, err := words.ParseIn(text, nil, w.env([]variables{{step, path}, {job, base}, {w.root, nil}}))
		path = append(path, "run")
		var we *words.Error
		if err != nil && perhaps {
			continue // so it is
		}
		if errors.As(err, &we) && strings.Contains(run.Value(), "docker") {
			w.errs = append(w.errs, &manifest.Error{At: w.file.Lines().Pos(we.At, we.At), Reason: "the shell cannot read this: " + we.Error()})
		}
		n := 0
		for _, c := range commands {
			v, err := flags.Parse(c.Program(), w.file.Lines())
			if err != nil && !perhaps {
				w.errs = append(w.errs, err)
			}
			if v == nil {
				continue
			}
			n++
			v.Settings = true
			v.Container.Path = fmt.Sprintf("%s #%d", strings.Join(path[:len(path)-1], "."), n)
			w.found = append(w.found, place{Invocation: v, path: path, fixed: fixed})
		}
	}
}

func edit(src manifest.Source, changes []manifest.Change) ([]manifest.Edit, []*manifest.Refusal) {
	w, err := read(src)
	return manifest.Guard(src, changes, parse, func(c manifest.Change) ([]manifest.Edit, *manifest.Refusal) {
		if err != nil {
			return nil, &manifest.Refusal{Container: c.Container, Reason: err.Error()}
		}
		i := slices.IndexFunc(w.found, func(p place) bool { return p.Container.Path == c.Container.Path })
		if i < 0 {
			return nil, &manifest.Refusal{Container: c.Container, Reason: "it is not in the file any more"}
		}
		return w.change(src, w.found[i], c)
	})
}

func (w *workflow) change(src manifest.Source, p place, c manifest.Change) ([]manifest.Edit, *manifest.Refusal) {
	refuse := func(err error) *manifest.Refusal {
		return &manifest.Refusal{Container: c.Container, Reason: err.Error()}
	}
	plan, refusal := p.Plan(c.Container, c.Want)
	switch {
	case refusal != nil:
		return nil, refusal
	case plan.Empty():
		return nil, nil
	case p.fixed != "":
		return nil, &manifest.Refusal{Container: c.Container, Reason: p.fixed, Hint: "write it as a block that begins with |, or without escapes"}
	}
	if err := w.doc.Doubtful(p.path); err != nil {
		return nil, refuse(err)
	}
	isScript := p.path[len(p.path)-1] == "run"
	if o := p.m.At("options"); isScript || o.Exists() && o.Value() != "" {
		return p.Edits(src.Name, src.Data, plan), nil
	}
	e := yaml.NewEditor(w.doc)
	e.Because("options " + plan.NewOptions())
	options := yaml.Pair{Key: "options", Value: yaml.Word(plan.NewOptions())}
	var err error
	switch entry := p.m.Get("options"); {
	case !p.m.Exists():
		key := p.key.Key.Value()
		err = e.Replace(p.key, yaml.Pair{Key: key, Value: yaml.Map(yaml.Pair{Key: "image", Value: yaml.Word(p.key.Value.Value())}, options)})
	case entry.Exists():
		err = e.SetNothing(entry, options.Value)
	default:
		err = e.Insert(p.m, []string{"image"}, options)
	}
	if err != nil {
		return nil, refuse(err)
	}
	return e.Edits(), nil
}

// verify has a second YAML parser compare all but the options and scripts that change;
// of those another lexer compares the words.
func verify(before, after manifest.Source, changes []manifest.Change) error {
	x, err := read(before)
	if err != nil {
		return err
	}
	y, err := read(after)
	if err != nil {
		return err
	}
	var was, is []*manifest.Container
	for _, p := range x.found {
		was = append(was, p.Container)
	}
	for _, p := range y.found {
		is = append(is, p.Container)
	}
	if err := manifest.Compare(was, is, changes); err != nil {
		return err
	}
	allowed := map[string]bool{}
	wanted := manifest.ByPath(changes)
	for i, p := range x.found {
		change := wanted[p.Container.Path]
		if change == nil {
			continue
		}
		path := p.path
		if path[len(path)-1] == "run" {
			for _, s := range p.Set() {
				at, ok := x.setAt(s)
				if !ok { // a variable of the script itself
					continue
				}
				text := ""
				for _, o := range y.found[i].Set() {
					if o.Name == s.Name {
						text = string(after.Data[o.Start:o.End])
					}
				}
				if err := flags.SameWords(string(before.Data[s.Start:s.End]), text, change.Want); err != nil {
					return err
				}
				allowed[strings.Join(at, "\x00")] = true
			}
			a, b := p.Container.At, y.found[i].Container.At
			if err := flags.SameWords(string(before.Data[a.Start:a.End]), string(after.Data[b.Start:b.End]), change.Want); err != nil {
				return err
			}
		} else if p.m.Exists() {
			path = append(slices.Clip(path), "options")
			if err := flags.SameWords(p.m.At("options").Value(), y.found[i].m.At("options").Value(), change.Want); err != nil {
				return err
			}
		}
		allowed[strings.Join(path, "\x00")] = true
	}
	return yaml.Verify(before, after, func(_ int, path []string) bool { return allowed[strings.Join(path, "\x00")] })
}
