package actions

import (
	"bytes"
	"slices"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/flags"
	"github.com/leastcap/leastcap/manifest/words"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// variables are what may have an env: of its own, and the path to it: a step, a job, the
// workflow, the inner ones the stronger (GitHub's workflow syntax, "env").
type variables struct {
	node yaml.Node
	path []string
}

// env looks variables up that env: sets for a step.
func (w *workflow) env(levels []variables) words.Host {
	return func(name string, _ int) (words.Variable, bool) {
		for _, l := range levels {
			if !l.node.Exists() {
				continue
			}
			e := l.node.At("env").Get(name)
			if !e.Exists() {
				continue
			}
			return w.variable(name, e, append(slices.Clip(l.path), "env", name)), true
		}
		return words.Variable{}, false
	}
}

func (w *workflow) variable(name string, e yaml.Entry, path []string) words.Variable {
	text, ok := scalarText(w.file.Data, e.Value)
	v := words.Variable{Value: text}
	at := e.Value.Pos()
	switch {
	case e.Value.IsNull() || e.Value.IsScalar() && e.Value.Value() == "":
		v.Value, ok = words.Opaque("", at.Start, at.End), true
	case !e.Value.IsScalar():
		v.Why = "the variable " + name + " is no text"
	case bytes.Contains([]byte(e.Value.Value()), []byte("${{")):
		v.Why = "the variable " + name + " has an expression that is GitHub's to fill in"
	}
	uses := manifest.Mentions(w.file.Data, name)
	switch {
	case v.Why != "":
	case uses > 1 && bytes.Contains(w.file.Data, []byte("GITHUB_ENV")) && bytes.Contains(w.file.Data, []byte(name+"=")):
		v.Why = "the variable " + name + " may be set by way of GITHUB_ENV"
	case !ok:
		v.Value, v.Kept = words.Opaque(e.Value.Value(), at.Start, at.End), "is written with escapes or over several lines"
	case uses != 2: // where it is set, and where it is used
		v.Kept = "is used elsewhere, too"
	case e.Value.IsAlias() || e.Value.Anchor() != "":
		v.Kept = "is shared by an anchor"
	case w.doc.Doubtful(path) != nil:
		v.Kept = "is set in a mapping that has it twice"
	}
	if v.Kept == "" && v.Why == "" && ok {
		w.sets = append(w.sets, set{at.Start, at.End, path})
	}
	return v
}

// A set is where a variable is set that a change may reach.
type set struct {
	start, end int
	path       []string
}

// setAt is the path of the env: that a setting is a part of.
func (w *workflow) setAt(s flags.Setting) ([]string, bool) {
	for _, v := range w.sets {
		if v.start <= s.Start && s.End <= v.end {
			return v.path, true
		}
	}
	return nil, false
}
