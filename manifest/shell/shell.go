// Package shell finds the containers that docker, podman and nerdctl lines start, in
// shell scripts, in the recipes of Makefiles and in the code of Markdown files. A real
// shell parser (mvdan.cc/sh) and the engines' own tables of flags read them.
//
// It does not see lines that a script writes into another file, or composes at run time.
package shell

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/flags"
	"github.com/leastcap/leastcap/manifest/words"
)

// Format, Makefile and Markdown are the kinds of files that have such lines.
var (
	Format   = format("shell", "shell script", isScript, recogniseScript, script)
	Makefile = format("makefile", "Makefile", isMakefile, recogniseMakefile, recipes)
	Markdown = format("markdown", "Markdown file", isMarkdown, recogniseMarkdown, blocks)
)

// maxLines is how many lines of one file are looked at; nobody writes as many.
const maxLines = 2000

// A snippet is shell text in a file.
type snippet struct {
	text words.Text
	// prose: it is not meant to be run as it stands; what cannot be read is no error.
	prose bool
}

// reader takes the shell text out of a file, and returns what variables the file sets
// around it. Other variables are those of the environment.
type reader func(src manifest.Source) ([]snippet, words.Host)

func format(name, title string, certain func(string, []byte) bool, recognise func(string, []byte) manifest.Likelihood, read reader) manifest.Format {
	f := host{name, read}
	return manifest.Format{
		Name: name, Title: title, Certain: certain, Recognise: recognise,
		Parse: f.parse, Edit: f.edit, Verify: f.verify,
	}
}

type host struct {
	name string
	read reader
}

// invocations finds all lines of a file.
func (h host) invocations(src manifest.Source) ([]*flags.Invocation, error) {
	if err := manifest.CheckSize(src); err != nil {
		return nil, err
	}
	if !mentions(src.Data) {
		return nil, nil
	}
	lines := manifest.NewLines(src.Name, src.Data)
	env := words.Env(src.Env)
	snippets, host := h.read(src)
	var found []*flags.Invocation
	var errs []error
	for _, s := range snippets {
		if len(found) >= maxLines {
			errs = append(errs, tooMany(lines.Pos(s.text.Place(0), s.text.Place(0))))
			break
		}
		commands, err := words.ParseIn(s.text, env, host)
		var we *words.Error
		if errors.As(err, &we) && !s.prose && mentions(s.text.Bytes) {
			e := &manifest.Error{At: lines.Pos(we.At, we.At), Reason: "the shell cannot read this: " + we.Error(), Hint: "check it with sh -n or bash -n"}
			if we.Bound {
				e.Reason, e.Hint = "this is not read: "+we.Error(), "nobody writes as much: leave the file out (ignore: in .leastcap.yaml), or split it"
			}
			errs = append(errs, e)
		}
		for _, c := range commands {
			if len(found) >= maxLines {
				errs = append(errs, tooMany(lines.Pos(c.Start, c.Start)))
				return named(h.name, found), errors.Join(errs...)
			}
			v, err := flags.Parse(c.Program(), lines)
			switch {
			case err != nil && !s.prose:
				errs = append(errs, err)
			case v == nil, s.prose && strings.Contains(v.Container.Image.Raw, "["): // docker run [OPTIONS] IMAGE
			default:
				v.Settings = true
				if c.Function != "" {
					v.Container.Facts = append(v.Container.Facts, manifest.Pair{Key: "function", Value: manifest.Of(c.Function, c.Function, v.Container.At)})
				}
				found = append(found, v)
			}
		}
	}
	return named(h.name, found), errors.Join(errs...)
}

func tooMany(at manifest.Pos) error {
	return &manifest.Error{At: at, Reason: fmt.Sprintf("more than %d lines that start containers: the rest is not looked at", maxLines)}
}

// named orders what was found, and gives it paths.
func named(format string, found []*flags.Invocation) []*flags.Invocation {
	slices.SortStableFunc(found, func(a, b *flags.Invocation) int { return a.Container.At.Start - b.Container.At.Start })
	for i, v := range found {
		v.Container.Format = format
		v.Container.Path = fmt.Sprintf("#%d %s", i+1, v.Container.Name)
	}
	return found
}

func (h host) parse(src manifest.Source) ([]*manifest.Container, error) {
	found, err := h.invocations(src)
	return containers(found), err
}

func (h host) edit(src manifest.Source, changes []manifest.Change) (edits []manifest.Edit, refusals []*manifest.Refusal) {
	found, _ := h.invocations(src)
	for _, c := range changes {
		i := slices.IndexFunc(found, func(v *flags.Invocation) bool { return v.Container.Path == c.Container.Path })
		if i < 0 {
			refusals = append(refusals, &manifest.Refusal{Container: c.Container, Reason: "it is not in the file any more"})
			continue
		}
		plan, refusal := found[i].Plan(c.Container, c.Want)
		if refusal != nil {
			refusals = append(refusals, refusal)
			continue
		}
		edits = append(edits, found[i].Edits(src.Name, src.Data, plan)...)
	}
	return edits, refusals
}

// verify reads both files again; the lines' words are compared by another lexer, and
// what is around the lines byte for byte.
func (h host) verify(before, after manifest.Source, changes []manifest.Change) error {
	was, _ := h.invocations(before)
	is, _ := h.invocations(after)
	if err := manifest.Compare(containers(was), containers(is), changes); err != nil {
		return err
	}
	var cutA, cutB [][2]int
	fromA := 0
	for i := range was {
		var want manifest.Want
		for _, c := range changes {
			if c.Container.Path == was[i].Container.Path {
				want = c.Want
			}
		}
		for _, s := range was[i].Set() {
			text, there := "", false
			for _, o := range is[i].Set() {
				if o.Name == s.Name {
					cutB = append(cutB, [2]int{o.Start, o.End})
					text, there = string(after.Data[o.Start:o.End]), true
				}
			}
			err := flags.SameWords(string(before.Data[s.Start:s.End]), text, want)
			if err != nil && !there {
				continue // the line does not use it any more: then it is what it was
			}
			if err != nil {
				return err
			}
			cutA = append(cutA, [2]int{s.Start, s.End})
		}
		a, b := was[i].Container.At, is[i].Container.At
		if a.Start < fromA { // within another line: sh -c
			continue
		}
		fromA = a.End
		cutA, cutB = append(cutA, [2]int{a.Start, a.End}), append(cutB, [2]int{b.Start, b.End})
		if err := flags.SameWords(string(before.Data[a.Start:a.End]), string(after.Data[b.Start:b.End]), want); err != nil {
			return err
		}
	}
	if !bytes.Equal(without(before.Data, cutA), without(after.Data, cutB)) {
		return errors.New("what is around the lines would change")
	}
	return nil
}

func containers(found []*flags.Invocation) []*manifest.Container {
	var list []*manifest.Container
	for _, v := range found {
		list = append(list, v.Container)
	}
	return list
}

// without is what stands around parts of a text.
func without(data []byte, parts [][2]int) []byte {
	slices.SortFunc(parts, func(a, b [2]int) int { return a[0] - b[0] })
	var out []byte
	from := 0
	for _, p := range parts {
		out = append(out, data[from:max(p[0], from)]...)
		from = max(p[1], from)
	}
	return append(out, data[from:]...)
}

// mentions says that there could be a line at all.
func mentions(data []byte) bool {
	lower := data
	engine := false
	for _, name := range []string{"docker", "podman", "nerdctl", "DOCKER", "PODMAN", "NERDCTL", "CONTAINER_", "container_"} {
		engine = engine || bytes.Contains(lower, []byte(name))
	}
	return engine && (bytes.Contains(data, []byte("run")) || bytes.Contains(data, []byte("create")))
}

var shebang = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`^(\x{feff})?#![^\n]*\b(sh|bash|dash|ash|ksh|zsh)\b`) })

func isScript(name string, data []byte) bool {
	switch path.Ext(name) {
	case ".sh", ".bash", ".ash", ".ksh", ".zsh":
		return true
	}
	return bytes.Contains(data[:min(len(data), 5)], []byte("#!")) && shebang().Match(data[:min(len(data), 256)])
}

func recogniseScript(name string, data []byte) manifest.Likelihood {
	switch {
	case isScript(name, data):
		return manifest.Sure
	case runLine().Match(data[:min(len(data), 64<<10)]):
		return manifest.Maybe
	}
	return manifest.No
}

// runLine is a line that begins with an engine's run or create.
var runLine = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[ \t]*(?:sudo +(?:-\S+ +)*)?(?:docker|podman|nerdctl)(?: +container)? +(?:run|create) `)
})

// script is all of the file.
func script(src manifest.Source) ([]snippet, words.Host) {
	base := len(src.Data) - len(bytes.TrimPrefix(src.Data, []byte("\ufeff")))
	return []snippet{{text: words.Whole(src.Data[base:], base)}}, nil
}

func isMakefile(name string, _ []byte) bool {
	switch base := path.Base(name); {
	case base == "Makefile", base == "makefile", base == "GNUmakefile", strings.EqualFold(path.Ext(base), ".makefile"), path.Ext(base) == ".mk", path.Ext(base) == ".make",
		strings.HasPrefix(base, "Makefile."):
		return true
	}
	return false
}

// nameless: the name says nothing of what is in it, as that of standard input. Others are
// what they are called: the cases of a switch in C or Go look like a Makefile's rules.
func nameless(name string) bool {
	ext := path.Ext(name)
	return ext == "" || ext == ".txt"
}

func recogniseMakefile(name string, data []byte) manifest.Likelihood {
	switch {
	case isMakefile(name, data):
		return manifest.Sure
	case nameless(name) && rule().Match(data[:min(len(data), 64<<10)]):
		return manifest.Maybe
	}
	return manifest.No
}

var rule = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?m)^[A-Za-z0-9_.%/-]+( [A-Za-z0-9_.%/-]+)*:[^=\n]*\n\t[^\n]*\S`)
})
