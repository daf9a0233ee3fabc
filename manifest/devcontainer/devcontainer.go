// Package devcontainer reads devcontainer.json (containers.dev, "Dev Container metadata
// reference"): JSON with comments, whose capAdd, securityOpt, privileged and runArgs
// become flags of docker run.
//
// What its features ask for is in their own metadata, in a registry, and is not seen.
package devcontainer

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/engine/line"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/flags"
	"github.com/leastcap/leastcap/manifest/words"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// Format is that of devcontainer.json.
var Format = manifest.Format{
	Name: "devcontainer", Title: "devcontainer.json",
	Recognise: recognise, Parse: parse, Edit: edit, Verify: verify,
}

var (
	source = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"(image|build|dockerFile|dockerComposeFile)"\s*:`) })
	others = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`"(customizations|remoteUser|containerUser|forwardPorts|postCreateCommand|features|runArgs|workspaceFolder|onCreateCommand|updateRemoteUserUID)"\s*:`)
	})
)

func recognise(name string, data []byte) manifest.Likelihood {
	text := bytes.TrimLeft(strip(data[:min(len(data), 256<<10)]), " \t\r\n\ufeff")
	named := path.Base(name) == "devcontainer.json" || path.Base(name) == ".devcontainer.json"
	switch {
	case len(text) == 0 || text[0] != '{':
		return manifest.No
	case named:
		return manifest.Sure
	case source().Match(text) && others().Match(text):
		return manifest.Likely
	}
	return manifest.No
}

// strip puts blanks in the place of // and /* comments, so that every byte keeps its
// place.
func strip(data []byte) []byte {
	out := bytes.Clone(data)
	for i := 0; i < len(out); i++ {
		switch {
		case out[i] == '"':
			for i++; i < len(out) && out[i] != '"' && out[i] != '\n'; i++ {
				if out[i] == '\\' {
					i++
				}
			}
		case out[i] == '/' && i+1 < len(out) && out[i+1] == '/':
			for ; i < len(out) && out[i] != '\n' && out[i] != '\r'; i++ {
				out[i] = ' '
			}
		case out[i] == '/' && i+1 < len(out) && out[i+1] == '*':
			end := len(out)
			if j := bytes.Index(out[i+2:], []byte("*/")); j >= 0 {
				end = i + 2 + j + 2
			}
			for ; i < end; i++ {
				if out[i] != '\n' && out[i] != '\r' {
					out[i] = ' '
				}
			}
			i--
		}
	}
	return out
}

// definition is a file that is read.
type definition struct {
	doc  *yaml.Document
	root yaml.Node
	c    *manifest.Container
	args *flags.Invocation // of runArgs, nil if there are none
	own  int               // how many of c.Caps, the first ones, are of capAdd
	errs []error
}

func parse(src manifest.Source) ([]*manifest.Container, error) {
	d, err := read(src)
	if err != nil {
		return nil, err
	}
	return []*manifest.Container{d.c}, errors.Join(d.errs...)
}

func read(src manifest.Source) (*definition, error) {
	if err := manifest.CheckSize(src); err != nil {
		return nil, err
	}
	src.Data = strip(src.Data)
	doc, root, err := yaml.ReadOne(src, "not one JSON object")
	if err != nil {
		return nil, err
	}
	d := &definition{doc: doc, root: root, errs: doc.Duplicates()}
	if !d.root.IsMapping() || !d.root.IsFlow() {
		return nil, &manifest.Error{At: manifest.Pos{File: src.Name}, Reason: "not a JSON object"}
	}
	d.container(src, doc.File().Lines())
	return d, nil
}

// text is a fact; ${localEnv:X} and its like are known when the container is made.
func text(n yaml.Node) manifest.Text {
	t := n.Text()
	if i := strings.Index(t.V, "${"); i >= 0 {
		return manifest.NotKnown[string](t.Raw, "the variable "+t.V[i:]+" is known when the container is made", t.At)
	}
	return t
}

func (d *definition) container(src manifest.Source, lines *manifest.Lines) {
	r := d.root
	at := lines.Pos(r.Pos().Start, r.Pos().Start+1)
	c := &manifest.Container{
		Format: "devcontainer", Path: "devcontainer", Name: "devcontainer", Kind: "development container", At: at,
		Target: manifest.Target{Engines: []string{"docker", "podman"}, Why: "development containers are made with docker, if nothing else is set up"},
		Image:  text(r.At("image")), User: text(r.At("containerUser")), Privileged: r.At("privileged").Bool(false),
	}
	d.c = c
	if n := r.At("name").Value(); n != "" {
		c.Name = n
	}
	if b := r.At("build", "dockerfile"); b.Exists() {
		c.Build = text(b)
	} else if b := r.At("dockerFile"); b.Exists() {
		c.Build = text(b)
	}
	caps := r.At("capAdd")
	for i := range caps.Len() {
		c.Caps = append(c.Caps, manifest.Request{Word: text(caps.Item(i)), List: caps.Pos()})
	}
	if caps.Exists() && !caps.IsSequence() {
		d.errs = append(d.errs, &manifest.Error{At: caps.Pos(), Reason: "capAdd is no list"})
	}
	d.own = len(c.Caps)
	d.options(lines, "security-opt", r.At("securityOpt"))
	mounts := r.At("mounts")
	for i := range mounts.Len() {
		if m := mounts.Item(i); m.IsMapping() {
			c.Mounts = append(c.Mounts, manifest.Mount{Type: m.At("type").Value(), Source: text(m.At("source")), Target: text(m.At("target")), At: m.Pos()})
		}
	}
	d.options(lines, "mount", mounts)
	if w := r.At("workspaceMount"); w.Exists() && w.Value() != "" {
		d.option(lines, "mount", w)
	}
	if p := r.At("appPort"); p.IsScalar() {
		d.option(lines, "publish", p)
	} else {
		d.options(lines, "publish", p)
	}
	if f := r.Get("features"); f.Exists() && f.Value.Len() > 0 {
		for i := range f.Value.Len() {
			k := f.Value.Entry(i).Key
			c.Facts = append(c.Facts, manifest.Pair{Key: "feature", KeyAt: k.Pos(), Value: k.Text()})
		}
	}
	env := r.At("containerEnv")
	for i := range env.Len() {
		e := env.Entry(i)
		c.Env = append(c.Env, manifest.Pair{Key: e.Key.Value(), KeyAt: e.Key.Pos(), Value: text(e.Value)})
	}
	// overrideCommand is true where nothing else is said, but for Compose.
	if keep := r.At("overrideCommand").Bool(false); keep.State == manifest.Known && keep.V || keep.State == manifest.Unset && !r.At("dockerComposeFile").Exists() {
		c.Entrypoint = manifest.Shell(manifest.Of("while sleep 1000; do :; done", "", at))
		c.Command = manifest.Of([]manifest.Text{}, "", at)
	}
	if f := r.Get("dockerComposeFile"); f.Exists() {
		c.Facts = append(c.Facts, manifest.Pair{Key: "dockerComposeFile", KeyAt: f.Key.Pos(), Value: f.Value.Text()})
		return // runArgs is for docker run alone
	}
	args := r.At("runArgs")
	var list []words.Word
	for i := range args.Len() {
		list = append(list, jsonWord(src.Data, args.Item(i)))
	}
	if len(list) == 0 {
		return
	}
	v, err := flags.Options("docker", list, c.Image, lines, args.Pos())
	if err != nil {
		d.errs = append(d.errs, err)
		c.CapsWhy = "runArgs cannot be read"
		return
	}
	d.args = v
	v.Onto(c)
}

// jsonWord is a string of a list as a word.
func jsonWord(data []byte, n yaml.Node) words.Word {
	at := n.Pos()
	raw := string(data[at.Start:at.End])
	var places []int
	if len(raw) >= 2 && raw[1:len(raw)-1] == n.Value() {
		for i := range n.Value() {
			for len(places) < i {
				places = append(places, at.Start+1+len(places))
			}
			places = append(places, at.Start+1+i)
		}
		for len(places) < len(n.Value()) {
			places = append(places, at.Start+1+len(places))
		}
	}
	w := words.New(n.Value(), raw, at.Start, at.End, places)
	if t := text(n); t.State == manifest.Unknown {
		w.Why = t.Why
	}
	return w
}

// options reads a list as values of a flag.
func (d *definition) options(lines *manifest.Lines, flag string, list yaml.Node) {
	for i := range list.Len() {
		if list.Item(i).IsScalar() {
			d.option(lines, flag, list.Item(i))
		}
	}
}

func (d *definition) option(lines *manifest.Lines, flag string, n yaml.Node) {
	at := n.Pos()
	w := words.New("--"+flag+"="+n.Value(), n.Value(), at.Start, at.End, nil)
	if t := text(n); t.State == manifest.Unknown {
		w.Why = t.Why
	}
	if v, err := flags.Options("docker", []words.Word{w}, d.c.Image, lines, at); err == nil {
		v.Onto(d.c)
	}
}

func edit(src manifest.Source, changes []manifest.Change) (edits []manifest.Edit, refusals []*manifest.Refusal) {
	for _, c := range changes {
		d, err := read(src)
		var list []manifest.Edit
		if err == nil {
			list, err = d.edit(c.Want)
		}
		if err != nil {
			r := &manifest.Refusal{Container: c.Container, Reason: err.Error()}
			if d != nil && d.root.At("dockerComposeFile").Exists() {
				r.Hint = "change the service in " + d.root.At("dockerComposeFile").Value()
			}
			refusals = append(refusals, r)
			continue
		}
		for _, e := range list {
			edits = append(edits, keepComments(src.Data, e))
		}
	}
	return edits, refusals
}

// keepComments leaves the comments of what goes where they are: the editor has not seen
// them.
func keepComments(data []byte, e manifest.Edit) manifest.Edit {
	blank := strip(data)
	gone := data[e.Start:e.End]
	if bytes.Equal(gone, blank[e.Start:e.End]) {
		return e
	}
	var rest strings.Builder
	for i, c := range gone {
		if c != blank[e.Start+i] || strings.IndexByte(" \t\r\n", c) >= 0 {
			rest.WriteByte(c)
		}
	}
	e.New = rest.String() + e.New
	return e
}

func (d *definition) edit(w manifest.Want) ([]manifest.Edit, error) {
	c := d.c
	if err := d.doc.Doubtful(nil); err != nil && !w.Empty() {
		return nil, err
	}
	e := yaml.NewEditor(d.doc)
	compose := d.root.At("dockerComposeFile").Exists()
	var add, runAdd []string
	remove := map[int]bool{}
	switch {
	case w.Unprivileged && c.Privileged.State != manifest.Unset && !manifest.Is(c.Privileged, false):
		n := d.root.At("privileged")
		if !n.Exists() || n.Pos() != c.Privileged.At {
			return nil, errors.New("--privileged stands in runArgs: take it away there")
		}
		e.Because("not privileged")
		if err := e.SetPlain(n, "false"); err != nil {
			return nil, err
		}
	case w.Exactly != nil && c.Privileged.State != manifest.Unset && !manifest.Is(c.Privileged, false):
		return nil, errors.New("it is privileged, where capabilities mean nothing")
	}
	if w.Exactly != nil {
		p, err := c.Plan(*w.Exactly, false)
		if err != nil {
			return nil, err
		}
		for _, i := range p.Remove {
			remove[i] = true
		}
		for _, one := range p.Add {
			add = append(add, one.Docker())
		}
		if p.DropAll {
			if compose {
				return nil, errors.New("devcontainer.json cannot drop capabilities of a Compose service")
			}
			runAdd = append(runAdd, "--cap-drop=ALL")
		}
	}
	for i, r := range c.Caps {
		if slices.Contains(w.Remove, r.Word.At) {
			remove[i] = true
		}
	}
	for _, x := range w.Correct {
		list := d.root.At("capAdd")
		i := slices.IndexFunc(c.Caps[:d.own], func(r manifest.Request) bool { return r.Word.At == x.At })
		if i < 0 {
			return nil, fmt.Errorf("%s stands in runArgs: change it there", x.Word)
		}
		e.Because("write " + x.Word)
		if err := e.SetWord(list.Item(i), x.Word); err != nil {
			return nil, err
		}
	}
	var gone []int
	var words manifest.Want
	for i := range c.Caps {
		switch {
		case !remove[i]:
		case i < d.own:
			gone = append(gone, i)
		default:
			words.Remove = append(words.Remove, c.Caps[i].Word.At)
		}
	}
	var runGone []int
	if len(words.Remove) > 0 {
		plan, refusal := d.args.Plan(c, words)
		if refusal != nil {
			return nil, errors.New(refusal.Reason)
		}
		if len(plan.Replace) > 0 {
			return nil, errors.New("several capabilities stand in one of runArgs")
		}
		for _, i := range plan.Remove {
			runGone = append(runGone, i-2) // before them stand the engine and the verb
		}
	}
	if w.NoNewPrivs && !manifest.Is(c.NoNewPrivs, true) {
		if c.NoNewPrivs.State != manifest.Unset {
			return nil, errors.New("no-new-privileges is there, and not true")
		}
		if err := d.list(e, "securityOpt", nil, []string{"no-new-privileges"}); err != nil {
			return nil, err
		}
	}
	if err := d.list(e, "runArgs", runGone, runAdd); err != nil {
		return nil, err
	}
	if err := d.list(e, "capAdd", gone, add); err != nil {
		return nil, err
	}
	return e.Edits(), nil
}

// list takes items out of one of the object's lists, and puts others in.
func (d *definition) list(e *yaml.Editor, key string, remove []int, add []string) error {
	if len(remove)+len(add) == 0 {
		return nil
	}
	e.Because(key + " " + strings.Join(add, " "))
	return e.SetList(d.root, key, []string{"runArgs", "capAdd", "securityOpt", "build", "image", "dockerFile", "dockerComposeFile", "name"}, remove, add)
}

// verify has a second parser compare all but the keys that may change, and another lexer
// what stands in runArgs.
func verify(before, after manifest.Source, changes []manifest.Change) error {
	x, err := read(before)
	if err != nil {
		return err
	}
	y, err := read(after)
	if err != nil {
		return err
	}
	if err := manifest.Compare([]*manifest.Container{x.c}, []*manifest.Container{y.c}, changes); err != nil {
		return err
	}
	allowed := map[string]bool{}
	for _, c := range changes {
		if err := flags.SameWords(x.runArgs(), y.runArgs(), c.Want); err != nil {
			return err
		}
		allowed["runArgs"] = true
		allowed["capAdd"] = c.Want.Exactly != nil || len(c.Want.Correct)+len(c.Want.Remove) > 0
		allowed["securityOpt"] = c.Want.NoNewPrivs
		allowed["privileged"] = c.Want.Unprivileged
	}
	if err := comments(before.Data, after.Data); err != nil {
		return err
	}
	before.Data, after.Data = strip(before.Data), strip(after.Data)
	return yaml.Verify(before, after, func(_ int, path []string) bool { return len(path) == 1 && allowed[path[0]] })
}

func (d *definition) runArgs() string {
	var list []string
	n := d.root.At("runArgs")
	for i := range n.Len() {
		list = append(list, n.Item(i).Value())
	}
	return line.Quote(append([]string{"docker"}, list...))
}

// comments says whether all comments are there still.
func comments(a, b []byte) error {
	read := func(data []byte) string {
		blank := strip(data)
		var text strings.Builder
		for i, c := range data {
			if c != blank[i] {
				text.WriteByte(c)
			}
		}
		return text.String()
	}
	if read(a) != read(b) {
		return errors.New("comments would change")
	}
	return nil
}
