package yaml

import (
	"strings"

	v3 "go.yaml.in/yaml/v3"
)

// A Value is what an edit writes: a word, a list of words, or a mapping.
type Value struct {
	word string
	list []string
	keys []Pair
	kind v3.Kind
	tag  string
}

// A Pair is a key with its value.
type Pair struct {
	Key   string
	Value Value
}

// Word is a scalar that needs no quotes: a capability's name, true, a number.
func Word(s string) Value { return Value{word: s, kind: v3.ScalarNode} }

// List is a sequence of such words.
func List(words ...string) Value { return Value{list: words, kind: v3.SequenceNode} }

// Map is a mapping.
func Map(pairs ...Pair) Value { return Value{keys: pairs, kind: v3.MappingNode} }

// Tagged is the value with a tag before it.
func (v Value) Tagged(tag string) Value {
	v.tag = tag
	return v
}

// A style is how a document writes things, so that what is new looks like the rest.
type style struct {
	step    int  // columns that a mapping in a mapping is indented by
	list    int  // columns that a sequence in a mapping is indented by
	json    bool // keys and words are in double quotes
	quote   string
	newline string
}

// styleOf looks at the node and then at all of its document.
func styleOf(near Node, newline string) style {
	s := style{step: -1, list: -1, newline: newline}
	budget := 2000
	s.look(near.Deref(), &budget)
	s.look(Node{near.doc.root.Content[0], near.doc, -1}, &budget)
	if s.step <= 0 {
		s.step = 2
		if s.list > 0 {
			s.step = s.list
		}
	}
	if s.list < 0 {
		s.list = s.step
	}
	if first := (Node{near.doc.root.Content[0], near.doc, -1}).Entry(0); first.Exists() {
		s.json = first.In.IsFlow() && first.Key.n.Style&v3.DoubleQuotedStyle != 0
	}
	return s
}

// look finds the first mapping in a mapping, and the first sequence in one.
func (s *style) look(n Node, budget *int) {
	if *budget--; *budget < 0 || n.n == nil || n.IsFlow() || s.step > 0 && s.list >= 0 {
		return
	}
	switch n.n.Kind {
	case v3.MappingNode:
		for i := range n.Len() {
			v := n.Entry(i).Value
			if v.n.Kind == v3.AliasNode || v.IsFlow() || len(v.n.Content) == 0 {
				continue
			}
			by := v.column() - n.column()
			switch {
			case v.n.Kind == v3.MappingNode && s.step < 0 && by > 0:
				s.step = by
			case v.n.Kind == v3.SequenceNode && s.list < 0 && by >= 0:
				s.list = by
			}
			s.look(v, budget)
		}
	case v3.SequenceNode:
		for i := range n.Len() {
			s.look(n.Item(i), budget)
		}
	}
}

// block writes a key and its value as lines, the last one ended, too.
func (s style) block(b *strings.Builder, indent int, p Pair) {
	space := strings.Repeat(" ", indent)
	b.WriteString(space + p.Key + ":")
	if p.Value.tag != "" {
		b.WriteString(" " + p.Value.tag)
	}
	switch p.Value.kind {
	case v3.ScalarNode:
		b.WriteString(" " + p.Value.word + s.newline)
	case v3.SequenceNode:
		if len(p.Value.list) == 0 {
			b.WriteString(" []" + s.newline)
			return
		}
		b.WriteString(s.newline)
		for _, w := range p.Value.list {
			b.WriteString(space + strings.Repeat(" ", s.list) + "- " + s.quote + w + s.quote + s.newline)
		}
	default:
		b.WriteString(s.newline)
		for _, q := range p.Value.keys {
			s.block(b, indent+s.step, q)
		}
	}
}

// flow writes a value into one line.
func (s style) flow(v Value) string {
	if v.tag != "" {
		tag := v.tag
		v.tag = ""
		return tag + " " + s.flow(v)
	}
	switch v.kind {
	case v3.ScalarNode:
		return s.scalar(v.word)
	case v3.SequenceNode:
		words := make([]string, len(v.list))
		for i, w := range v.list {
			words[i] = s.scalar(w)
		}
		return "[" + strings.Join(words, ", ") + "]"
	}
	words := make([]string, len(v.keys))
	for i, p := range v.keys {
		words[i] = s.pair(p)
	}
	return "{" + strings.Join(words, ", ") + "}"
}

func (s style) pair(p Pair) string {
	key := p.Key
	if s.json {
		key = `"` + key + `"`
	}
	return key + ": " + s.flow(p.Value)
}

func (s style) scalar(w string) string {
	switch {
	case s.json && w != "true" && w != "false":
		return `"` + w + `"`
	case !s.json && s.quote != "":
		return s.quote + w + s.quote
	case strings.Contains(w, ":"):
		return `"` + w + `"` // older parsers take a colon in brackets for a key's
	}
	return w
}
