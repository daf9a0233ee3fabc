package testenv

import (
	"math/rand/v2"
	"strings"
)

// A Tree is what [Layout] writes: a string, a List, a Map, one of these with an anchor,
// or an Alias of such a one.
type (
	Tree     any
	List     []Tree
	Map      []Entry
	Alias    string
	Anchored struct {
		Name string
		Tree Tree
	}
)

// Entry is a key of a [Map].
type Entry struct {
	Key   string
	Value Tree
}

// MapOf makes a Map of keys and values, in turn.
func MapOf(keysAndValues ...Tree) Map {
	m := Map{}
	for i := 0; i < len(keysAndValues); i += 2 {
		m = append(m, Entry{Key: keysAndValues[i].(string), Value: keysAndValues[i+1]})
	}
	return m
}

// Layout writes a tree as YAML in one of the many ways that people do: block and flow
// style, indentations, quotes, comments, blank lines, trailing space, a byte order mark,
// LF and CRLF, with and without an end of the last line. The tree's strings are plain
// words, or texts of several lines, which become block scalars.
func Layout(r *rand.Rand, tree Tree) string {
	w := &layout{r: r, step: 1 + r.IntN(4), list: r.IntN(3)}
	w.block(tree, 0)
	text := w.String()
	if r.IntN(4) == 0 {
		text = "---\n" + text
	}
	switch r.IntN(6) {
	case 0:
		text = strings.TrimRight(text, "\n")
	case 1:
		text += "# the end\n"
	case 2:
		text += "---\n# nothing\n"
	}
	if r.IntN(3) == 0 {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	if r.IntN(6) == 0 {
		text = "\ufeff" + text
	}
	return text
}

type layout struct {
	strings.Builder
	r          *rand.Rand
	step, list int
}

func (w *layout) one(n int) bool { return w.r.IntN(n) == 0 }

// end finishes a line.
func (w *layout) end() {
	switch w.r.IntN(8) {
	case 0:
		w.WriteString("  # ü: a [comment, 'with' {marks")
	case 1:
		w.WriteString("  ")
	}
	w.WriteString("\n")
}

// between puts what may stand between two lines.
func (w *layout) between(indent int) {
	switch w.r.IntN(12) {
	case 0:
		w.WriteString("\n")
	case 1:
		w.WriteString(strings.Repeat(" ", indent) + "# - not: an entry\n")
	case 2:
		w.WriteString("# far left\n")
	}
}

func (w *layout) space(n int) { w.WriteString(strings.Repeat(" ", n)) }

// block writes lines at an indentation; the first one has it already if it is behind a
// dash.
func (w *layout) block(t Tree, indent int) { w.lines(t, indent, false) }

func (w *layout) lines(t Tree, indent int, behind bool) {
	switch t := t.(type) {
	case Map:
		for i, e := range t {
			if i > 0 || !behind {
				w.between(indent)
				w.space(indent)
			}
			w.WriteString(w.key(e.Key) + ":")
			w.value(e.Value, indent, false)
		}
	case List:
		for i, v := range t {
			if i > 0 || !behind {
				w.between(indent)
				w.space(indent)
			}
			w.WriteString("-")
			w.value(v, indent, true)
		}
	}
}

// value writes what is behind a key's colon or a dash.
func (w *layout) value(v Tree, indent int, dash bool) {
	if a, ok := v.(Anchored); ok {
		w.WriteString(" &" + a.Name)
		v, dash = a.Tree, false
	}
	if a, ok := v.(Alias); ok {
		w.WriteString(" *" + string(a))
		w.end()
		return
	}
	if s, ok := v.(string); ok {
		switch {
		case strings.Contains(s, "\n"):
			w.WriteString(" " + []string{"|", "|-", "|+", ">", ">-"}[w.r.IntN(5)] + "\n")
			for line := range strings.Lines(s) {
				if strings.TrimSpace(line) != "" {
					w.space(indent + w.step)
				}
				w.WriteString(line)
			}
			return
		case s == "":
		default:
			w.WriteString(strings.Repeat(" ", 1+w.r.IntN(2)) + w.word(s))
		}
		w.end()
		return
	}
	if size(v) == 0 || w.one(5) {
		w.WriteString(" ")
		w.flow(v, indent)
		w.end()
		return
	}
	if dash {
		n := 1 + w.r.IntN(3)
		w.space(n)
		w.lines(v, indent+1+n, true)
		return
	}
	w.end()
	if _, ok := v.(List); ok {
		w.block(v, indent+w.list)
		return
	}
	w.block(v, indent+w.step)
}

func size(v Tree) int {
	switch v := v.(type) {
	case Map:
		return len(v)
	case List:
		return len(v)
	}
	return 1
}

// flow writes a tree in brackets, over several lines perhaps.
func (w *layout) flow(v Tree, indent int) {
	gap := func() {
		switch w.r.IntN(10) {
		case 0:
			w.WriteString("\n")
			w.space(indent + 6)
		case 1, 2:
			w.WriteString(" ")
		}
	}
	switch v := v.(type) {
	case Anchored:
		w.WriteString("&" + v.Name + " ")
		w.flow(v.Tree, indent)
	case Alias:
		w.WriteString("*" + string(v) + " ")
	case string:
		if strings.Contains(v, "\n") {
			v = "lines"
		}
		w.WriteString(w.word(v))
	case Map:
		w.WriteString("{")
		for i, e := range v {
			if i > 0 {
				w.WriteString(", ")
			}
			gap()
			w.WriteString(w.key(e.Key) + ": ")
			w.flow(e.Value, indent)
			gap()
		}
		w.WriteString("}")
	case List:
		w.WriteString("[")
		for i, e := range v {
			if i > 0 {
				w.WriteString(", ")
			}
			gap()
			w.flow(e, indent)
			gap()
		}
		if len(v) > 0 && w.one(6) {
			w.WriteString(",")
		}
		w.WriteString("]")
	}
}

func (w *layout) key(s string) string {
	if w.one(12) {
		return `"` + s + `"`
	}
	return s
}

// word writes a string, in quotes or not. true and false are no strings, and stay so.
func (w *layout) word(s string) string {
	switch s {
	case "true", "false", "null":
		return s
	case "": // nothing, which is null
		return []string{"", "~"}[w.r.IntN(2)]
	}
	switch w.r.IntN(4) {
	case 0:
		return `"` + s + `"`
	case 1:
		return "'" + s + "'"
	}
	if strings.ContainsAny(s, ":{}[],#&*!|>'\"%@`$ ") {
		return `"` + s + `"`
	}
	return s
}
