package dockerfile

import (
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/parser"
	"github.com/moby/buildkit/frontend/dockerfile/shell"

	"github.com/leastcap/leastcap/manifest"
)

// scope are the variables of a stage. ENV wins over ARG, wherever it stands.
type scope struct {
	global   *scope
	env, arg map[string]manifest.Text
}

func newScope(global *scope) *scope {
	return &scope{global: global, env: map[string]manifest.Text{}, arg: map[string]manifest.Text{}}
}

// inherit is the scope of a stage that is made from this one's: ENV comes with it.
func (s *scope) inherit(global *scope) *scope {
	n := newScope(global)
	n.env = maps.Clone(s.env)
	return n
}

func (s *scope) set(name string, v manifest.Text) { s.env[name] = v }

// args reads an ARG. One without a default has the value of the ARG before the first
// FROM, if that has one.
func (s *scope) args(b *build, n *parser.Node) {
	for w := n.Next; w != nil; w = w.Next {
		name, value, given := strings.Cut(w.Value, "=")
		switch {
		case given:
			s.arg[name] = b.expand(s, value)
		case s.global != nil && s.global.arg[name].State != manifest.Unset:
			s.arg[name] = s.global.arg[name]
		default:
			s.arg[name] = manifest.NotKnown[string](name, "the build argument "+name+" has no default", manifest.Pos{})
		}
	}
}

// maxValue is how long a variable's value may be: those that hold each other could
// grow without bound.
const maxValue = 1 << 10

// lookup makes a scope an environment of BuildKit's lexer. What is not known is left
// to fill, and noted.
type lookup struct {
	*scope
	fill    string
	unknown map[string]string // why
}

func (l *lookup) Get(name string) (string, bool) {
	v, ok := l.env[name]
	if !ok {
		v, ok = l.arg[name]
	}
	switch {
	case ok && v.State == manifest.Known && len(v.V) <= maxValue:
		return v.V, true
	case ok && v.State == manifest.Known:
		l.unknown[name] = "the variable " + name + " is longer than anybody's"
	case ok:
		l.unknown[name] = v.Why
	default:
		l.unknown[name] = "the variable " + name + " has no value in this stage"
	}
	return l.fill, l.fill != ""
}

func (l *lookup) Keys() []string { return slices.Collect(maps.Keys(l.env)) }

// expand resolves the variables of a value, and its quotes.
func (b *build) expand(s *scope, raw string) manifest.Text {
	plain := &lookup{scope: s, unknown: map[string]string{}}
	lex := shell.NewLex(b.escape)
	value, _, err := lex.ProcessWord(raw, plain)
	if err != nil {
		return manifest.NotKnown[string](raw, err.Error(), manifest.Pos{})
	}
	if len(plain.unknown) == 0 {
		return manifest.Of(value, raw, manifest.Pos{})
	}
	// ${X:-1000} is known without X. What differs if X has a value, and has no default,
	// is not.
	filled, _, err := lex.ProcessWord(raw, &lookup{scope: s, fill: "\x00", unknown: map[string]string{}})
	if err == nil && filled == value {
		return manifest.Of(value, raw, manifest.Pos{})
	}
	for _, name := range slices.Sorted(maps.Keys(plain.unknown)) {
		if !strings.Contains(raw, "${"+name+":-") && !strings.Contains(raw, "${"+name+"-") {
			return manifest.NotKnown[string](raw, plain.unknown[name], manifest.Pos{})
		}
	}
	return manifest.Of(value, raw, manifest.Pos{})
}

// text is expand with a place: that of raw in the instruction, or of all of it.
func (b *build) text(s *scope, raw string, at manifest.Pos) manifest.Text {
	t := b.expand(s, raw)
	t.At = at
	if i := strings.Index(string(b.data[at.Start:at.End]), raw); i > 0 && raw != "" {
		t.At = b.lines.Pos(at.Start+i, at.Start+i+len(raw))
	}
	return t
}

// value is the text behind an instruction of one value: USER.
func (b *build) value(s *scope, n *parser.Node, at manifest.Pos) manifest.Text {
	if n.Next == nil {
		return manifest.Text{}
	}
	return b.text(s, n.Next.Value, at)
}

// command is that of CMD and ENTRYPOINT: a list, or a line that the stage's shell runs.
func (b *build) command(s *stage, n *parser.Node, at manifest.Pos) manifest.Args {
	var list []manifest.Text
	word := func(w string) { list = append(list, manifest.Of(w, w, at)) }
	if !n.Attributes["json"] && n.Next != nil {
		shell := s.shell
		if shell == nil {
			shell = []string{"/bin/sh", "-c"}
		}
		for _, w := range shell {
			word(w)
		}
	}
	for w := n.Next; w != nil; w = w.Next {
		word(w.Value)
	}
	return manifest.Of(list, "", at)
}

// workdir goes to a directory, from the one before.
func (s *stage) workdir(dir manifest.Text) {
	before, ok := s.dir.Get()
	if dir.State == manifest.Known && !path.IsAbs(dir.V) {
		if s.dir.State == manifest.Unset {
			before, ok = "/", true // or what the image below has, which is not read
		}
		if !ok {
			dir = s.dir
		} else {
			dir.V = path.Join(before, dir.V)
		}
	}
	s.dir = dir
}
