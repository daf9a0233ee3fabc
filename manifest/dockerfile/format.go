package dockerfile

import (
	"bytes"
	"errors"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/moby/buildkit/frontend/dockerfile/parser"

	"github.com/leastcap/leastcap/manifest"
)

// Format is the Dockerfile's: the image of its last stage is a container, which anything
// may run, and so is the line in each label that atomic knows (RUN, INSTALL, …).
var Format = manifest.Format{
	Name: "dockerfile", Title: "Dockerfile",
	Recognise: recognise, Parse: read, Edit: edit, Verify: verifyAll,
}

var (
	fromLine = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?im)^[ \t]*from[ \t]+(--platform=\S+[ \t]+)?[\w$][^\s:]*(:[^\s:]*)*([ \t]+as[ \t]+\S+)?[ \t]*\r?$`)
	})
	otherLine = sync.OnceValue(func() *regexp.Regexp {
		return regexp.MustCompile(`(?im)^[ \t]*(run|cmd|copy|add|entrypoint|workdir|expose|env|label|user|arg|volume|maintainer)[ \t]+\S`)
	})
	fileSuffix = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`(?i)(^|[._-])(dockerfile|containerfile)($|[._-])`) })
)

func recognise(name string, data []byte) manifest.Likelihood {
	head := data[:min(len(data), 64<<10)]
	named := fileSuffix().MatchString(path.Base(name))
	from := fromLine().FindIndex(head)
	switch {
	case from == nil:
		if named && otherLine().Match(head) {
			return manifest.Maybe
		}
		return manifest.No
	case named:
		return manifest.Sure
	case onlyBefore(head[:from[0]]) && (otherLine().Match(head[from[1]:]) || bytes.HasPrefix(bytes.ToLower(bytes.TrimPrefix(head, []byte("\ufeff"))), []byte("from"))):
		return manifest.Likely
	}
	return manifest.No
}

// onlyBefore says that nothing but comments and ARG stands before the first FROM.
func onlyBefore(head []byte) bool {
	for line := range bytes.Lines(bytes.TrimPrefix(head, []byte("\ufeff"))) {
		line = bytes.TrimSpace(line)
		if len(line) > 0 && line[0] != '#' && !bytes.HasPrefix(bytes.ToUpper(line), []byte("ARG ")) {
			return false
		}
	}
	return true
}

// build is a Dockerfile that is read.
type build struct {
	*file
	src    manifest.Source
	lines  *manifest.Lines
	global *scope
	stages []*stage
	errs   []error
}

// A stage is one of the build.
type stage struct {
	name   string
	node   int
	image  manifest.Text // what it is made from, through other stages
	env    *scope
	user   manifest.Text
	ports  []manifest.Port
	mounts []manifest.Mount
	labels []manifest.Pair
	facts  []manifest.Pair // with those of the stage it is made from
	copies []manifest.Pair // facts of stages that it copies from

	shell           []string // that of SHELL
	entrypoint, cmd manifest.Args
	ownCommand      bool // CMD stands in this stage
	vars            []manifest.Pair
	dir             manifest.Text
}

func read(src manifest.Source) ([]*manifest.Container, error) {
	b, err := readBuild(src)
	if err != nil {
		return nil, err
	}
	list := []*manifest.Container{b.image()}
	for _, l := range b.invocations() {
		list = append(list, l.Container)
	}
	return list, errors.Join(b.errs...)
}

func readBuild(src manifest.Source) (*build, error) {
	if err := manifest.CheckSize(src); err != nil {
		return nil, err
	}
	lines := manifest.NewLines(src.Name, src.Data)
	f, err := parse(src.Data)
	if err != nil {
		return nil, located(err, lines)
	}
	b := &build{file: f, src: src, lines: lines, global: newScope(nil)}
	for i, n := range f.nodes {
		b.instruction(i, n)
	}
	return b, nil
}

// located makes a [*manifest.Error] of the parser's.
func located(err error, lines *manifest.Lines) error {
	line := 0
	var le *parser.LocationError
	if errors.As(err, &le) && len(le.Locations) > 0 && len(le.Locations[0]) > 0 {
		line = le.Locations[0][0].Start.Line
	}
	reason := err.Error()
	var e *Error
	if errors.As(err, &e) && e.Err != nil {
		reason = e.Reason + ": " + e.Err.Error()
	}
	line = min(max(line, 1), lines.Count())
	at := lines.Start(line)
	return &manifest.Error{At: lines.Pos(at, at), Reason: reason}
}

// at is where an instruction stands, without the blanks around it.
func (b *build) at(n *parser.Node) manifest.Pos {
	start, end := b.file.lines[n.StartLine-1], b.file.lines[min(n.EndLine, len(b.file.lines)-1)]
	text := b.data[start:end]
	if n.StartLine == 1 {
		start += len(text) - len(bytes.TrimPrefix(text, []byte("\ufeff")))
		text = b.data[start:end]
	}
	trimmed := bytes.TrimRight(text, " \t\r\n")
	start += len(trimmed) - len(bytes.TrimLeft(trimmed, " \t"))
	return b.lines.Pos(start, start+len(bytes.TrimLeft(trimmed, " \t")))
}

// instruction reads one into its stage.
func (b *build) instruction(i int, n *parser.Node) {
	at := b.at(n)
	cmd := strings.ToLower(n.Value)
	if cmd == "from" {
		b.from(i, n, at)
		return
	}
	if len(b.stages) == 0 {
		if cmd == "arg" {
			b.global.args(b, n)
		}
		return
	}
	s := b.stages[len(b.stages)-1]
	switch cmd {
	case "arg":
		s.env.args(b, n)
	case "env":
		for k := n.Next; k != nil && k.Next != nil && k.Next.Next != nil; k = k.Next.Next.Next {
			v := b.expand(s.env, k.Next.Value)
			v.At = at
			s.vars = slices.DeleteFunc(slices.Clone(s.vars), func(p manifest.Pair) bool { return p.Key == k.Value })
			s.vars = append(s.vars, manifest.Pair{Key: k.Value, KeyAt: at, Value: v})
			s.env.set(k.Value, v)
		}
	case "user":
		s.user = b.value(s.env, n, at)
	case "expose":
		s.expose(b, n, at)
	case "volume":
		for w := n.Next; w != nil; w = w.Next {
			t := b.text(s.env, w.Value, at)
			s.mounts = append(s.mounts, manifest.Mount{Type: "volume", Target: t, At: at})
		}
	case "label":
		s.label(b, i, n, at)
	case "entrypoint":
		s.entrypoint = b.command(s, n, at)
		if !s.ownCommand { // that of the image below goes (moby builder/dockerfile dispatchEntrypoint)
			s.cmd = manifest.Of([]manifest.Text{}, "", at)
		}
	case "cmd":
		s.cmd, s.ownCommand = b.command(s, n, at), true
	case "shell":
		s.shell = nil
		for w := n.Next; w != nil; w = w.Next {
			s.shell = append(s.shell, w.Value)
		}
	case "workdir":
		s.workdir(b.value(s.env, n, at))
	case "run":
		s.run(b, n, at)
	case "copy", "add":
		s.copy(b, n, at)
	}
}

// from begins a stage.
func (b *build) from(i int, n *parser.Node, at manifest.Pos) {
	s := &stage{node: i, env: newScope(b.global)}
	words := []string{}
	for w := n.Next; w != nil; w = w.Next {
		words = append(words, w.Value)
	}
	if len(words) == 3 && strings.EqualFold(words[1], "as") {
		s.name = strings.ToLower(words[2])
	}
	if len(words) > 0 {
		s.image = b.text(b.global, words[0], at)
		if base := b.stage(s.image.V); base != nil {
			s.image = base.image
			s.user, s.ports, s.mounts = base.user, base.ports[:len(base.ports):len(base.ports)], base.mounts[:len(base.mounts):len(base.mounts)]
			s.labels, s.facts = base.labels[:len(base.labels):len(base.labels)], base.facts[:len(base.facts):len(base.facts)]
			s.copies = base.copies[:len(base.copies):len(base.copies)]
			s.shell, s.entrypoint, s.cmd, s.dir = base.shell, base.entrypoint, base.cmd, base.dir
			s.vars = base.vars[:len(base.vars):len(base.vars)]
			s.env = base.env.inherit(b.global)
		}
	}
	b.stages = append(b.stages, s)
}

// stage finds one by name or number, nil if it is none.
func (b *build) stage(name string) *stage {
	for i := len(b.stages) - 1; i >= 0; i-- {
		if b.stages[i].name != "" && b.stages[i].name == strings.ToLower(name) {
			return b.stages[i]
		}
	}
	return nil
}

// image is the container of the last stage.
func (b *build) image() *manifest.Container {
	s := b.stages[len(b.stages)-1]
	c := &manifest.Container{
		Format: "dockerfile", Path: "image", Name: s.name, Kind: "image", At: b.at(b.nodes[s.node]),
		Target: manifest.Target{Engines: []string{"docker", "podman", "containerd", "crio"}, Why: "an image does not say what runs it"},
		Image:  s.image, User: s.user, Ports: s.ports, Mounts: s.mounts, Labels: s.labels,
		Entrypoint: s.entrypoint, Command: s.cmd, Env: s.vars, WorkDir: s.dir,
	}
	if c.Name == "" {
		c.Name = "image"
	}
	c.Facts = append(append(c.Facts, s.facts...), s.copies...)
	return c
}
