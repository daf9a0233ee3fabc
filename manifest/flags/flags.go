// Package flags makes a container of the words of an engine's line (docker run …), and
// says which words are to change for it to be another. What the words stand in (a
// script, a unit, a JSON array) is their host's affair.
package flags

import (
	"errors"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/engine/line"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/words"
)

// An Invocation is one line of an engine.
type Invocation struct {
	Line      *line.Line
	Container *manifest.Container

	all   []words.Word // as they stand there
	index []int        // which of all each word of the line is
	lines *manifest.Lines
	// Settings: words can be changed where the variables are set that they come from.
	Settings bool
	bare     bool     // made by [Options]: the engine, the verb and the image are not there
	from     []source // where each of Container.Caps stands
}

// maxSkipped is how many variables without a value may stand where flags do: each is
// passed over by reading the line again.
const maxSkipped = 20

// source says where a request stands in the line.
type source struct {
	flag int // index in Line.Flags
	part int // of a value with commas
}

// Parse reads a line. It is nil if the line is no engine's, neither run nor create, or only prints.
// An error is a [*manifest.Error].
func Parse(list []words.Word, lines *manifest.Lines) (*Invocation, error) {
	v := &Invocation{all: list, lines: lines}
	engine, named := v.engine()
	if engine == "" {
		return nil, nil
	}
	argv := make([]string, 0, len(list))
	for i := range list {
		argv = append(argv, list[i].Text)
		v.index = append(v.index, i)
	}
	if named >= 0 {
		argv[named] = engine
	}
	var why string
	skipped := 0
	for {
		l, err := line.Read(argv)
		if err != nil {
			var e *line.Error
			if !errors.As(err, &e) {
				return nil, &manifest.Error{At: v.pos(0, len(list)-1), Err: err}
			}
			// A variable before the verb holds flags of the engine itself.
			if skipped++; skipped <= maxSkipped && e.At < len(v.index) && list[v.index[e.At]].Many && errors.Is(err, line.ErrOtherVerb) {
				argv, v.index = slices.Delete(argv, e.At, e.At+1), slices.Delete(v.index, e.At, e.At+1)
				continue
			}
			if errors.Is(err, line.ErrOtherVerb) || errors.Is(err, line.ErrOnlyPrints) {
				return nil, nil
			}
			at := min(e.At, len(v.index)-1)
			return nil, &manifest.Error{At: v.pos(v.index[at], v.index[at]), Reason: e.Reason, Hint: e.Hint}
		}
		v.Line = l
		at := l.ImageAt()
		w := &list[v.index[at]]
		if !w.Many || isImage(w.Text) {
			break
		}
		if skipped++; skipped > maxSkipped {
			why = "too many of its words are variables"
			break
		}
		why = w.Raw + " can hold more flags: " + w.Why
		if at == len(argv)-1 {
			break
		}
		argv, v.index = slices.Delete(argv, at, at+1), slices.Delete(v.index, at, at+1)
	}
	v.container()
	if named >= 0 {
		v.Container.Target.Why = list[named].Raw + " is taken to be " + engine
	}
	v.Container.CapsWhy = why
	return v, nil
}

// engine finds the engine's name, and the index of a variable that is taken for it.
func (v *Invocation) engine() (name string, at int) {
	var argv []string
	for i := range v.all {
		argv = append(argv, v.all[i].Text)
	}
	if name, ok := line.Recognise(argv); ok {
		return name, -1
	}
	for i := range min(len(v.all)-1, 6) {
		if v.all[i].Why == "" {
			continue
		}
		m := engineVariable().FindStringSubmatch(v.all[i].Text)
		if m == nil {
			return "", -1
		}
		name := "docker"
		if m[1] != "" {
			name = strings.ToLower(m[1])
		}
		argv[i] = name
		if _, ok := line.Recognise(argv); ok {
			return name, i
		}
		return "", -1
	}
	return "", -1
}

// engineVariable is a variable that scripts and Makefiles keep the engine in:
// $DOCKER, ${PODMAN_CMD}, $(CONTAINER_ENGINE).
var engineVariable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^\$[{(]?(?:(docker|podman|nerdctl)|container_(?:engine|tool|runtime|cli|cmd)|oci_(?:bin|engine))(?:_?(?:cmd|bin|cli|exe|command|tool))?[})]?$`)
})

// imageVariable is one that holds an image and not flags.
var imageVariable = sync.OnceValue(func() *regexp.Regexp {
	return regexp.MustCompile(`(?i)^\$[{(]?[a-z0-9_]*(image|img|tag|repo|registry|container_name)[a-z0-9_]*[})]?$`)
})

// isImage says of a word that is not known and not quoted that it is an image: there is
// more to it than a variable, or the variable is called so.
func isImage(text string) bool {
	if !strings.ContainsAny(text, "$`") {
		return true
	}
	if imageVariable().MatchString(text) {
		return true
	}
	rest := expansion().ReplaceAllString(text, "")
	return strings.ContainsAny(rest, "/:@") || rest != "" && !strings.ContainsAny(rest, "$`-= ")
}

var expansion = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`\$(\{\{.*?\}\}|\w+|[@*#?!-]|\{[^}]*\}|\([^)]*\))`) })

// pos is where the words from one to another stand.
func (v *Invocation) pos(from, to int) manifest.Pos {
	return v.lines.Pos(v.all[from].Start, v.all[to].End)
}

// word is one of the line's words.
func (v *Invocation) word(i int) *words.Word { return &v.all[v.index[i]] }

// value is a flag's value, or a part of it.
func (v *Invocation) value(f *line.Flag, from, to int) manifest.Text {
	w := v.word(f.Word + f.Words - 1)
	text := f.Value[from:to]
	shift := 0
	if f.Words == 1 {
		if !strings.HasSuffix(w.Text, f.Value) || f.Value == "true" && !strings.Contains(w.Text, "=") {
			if w.Set != nil {
				return manifest.Of(text, text, v.lines.Pos(w.Set.Start, w.Set.End))
			}
			return manifest.Of(text, text, v.lines.Pos(w.Start, w.End))
		}
		shift = len(w.Text) - len(f.Value)
	}
	start, end := w.Range(shift+from, shift+to)
	switch {
	case w.Set != nil:
		start, end = w.Set.Range(shift+from, shift+to)
	case from == 0 && to == len(f.Value) && f.Words == 2:
		start, end = w.Start, w.End // with its quotes
	}
	at := v.lines.Pos(start, end)
	if w.Why != "" && (!w.Written() || strings.ContainsAny(text, "$`{<*?%")) {
		return manifest.NotKnown[string](text, w.Why, at)
	}
	return manifest.Of(text, text, at)
}

// whole is a flag's whole value.
func (v *Invocation) whole(f *line.Flag) manifest.Text { return v.value(f, 0, len(f.Value)) }

func (v *Invocation) boolean(f *line.Flag) manifest.Bool {
	t := v.whole(f)
	switch s, ok := t.Get(); {
	case !ok:
		return manifest.NotKnown[bool](t.Raw, t.Why, t.At)
	case slices.Contains([]string{"1", "t", "T", "true", "TRUE", "True"}, s): // strconv.ParseBool
		return manifest.Of(true, t.Raw, t.At)
	case slices.Contains([]string{"0", "f", "F", "false", "FALSE", "False"}, s):
		return manifest.Of(false, t.Raw, t.At)
	default:
		return manifest.NotKnown[bool](t.Raw, "not a boolean", t.At)
	}
}

// name is the container's own, or its image's.
func (v *Invocation) name(image manifest.Text) string {
	for i := range v.Line.Flags {
		if f := &v.Line.Flags[i]; f.Name == "name" && !f.Global {
			if s, ok := v.whole(f).Get(); ok {
				return s
			}
		}
	}
	if s, ok := image.Get(); ok {
		if base := ImageName(s); base != "" {
			return base
		}
	}
	return "container"
}

// ImageName is the last part of an image's reference, without tag and digest.
func ImageName(image string) string {
	image, _, _ = strings.Cut(image, "@")
	base := path.Base(image)
	base, _, _ = strings.Cut(base, ":")
	return base
}
