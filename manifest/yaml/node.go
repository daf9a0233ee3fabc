package yaml

import (
	"strings"

	v3 "go.yaml.in/yaml/v3"

	"github.com/leastcap/leastcap/manifest"
)

// A Node is a place in the tree. The zero Node is none; its methods say so.
type Node struct {
	n      *v3.Node
	doc    *Document
	indent int // columns that the block collection around it is indented by; -1 at the top
}

// An Entry is a key of a mapping and its value.
type Entry struct {
	Key, Value Node
	// In is the mapping that has it, which is another one than was asked if Merged.
	In     Node
	Merged bool
}

// Exists says that there is a node.
func (n Node) Exists() bool { return n.n != nil }

// Document is the one that the node is in.
func (n Node) Document() *Document { return n.doc }

// An Identity tells nodes apart.
type Identity struct{ n *v3.Node }

// Identity is the same for two nodes that are one place in the tree.
func (n Node) Identity() Identity { return Identity{n.n} }

// Same says that two are one place in the tree.
func (n Node) Same(m Node) bool { return n.n == m.n }

// IsAlias says that it is written as *name.
func (n Node) IsAlias() bool { return n.n != nil && n.n.Kind == v3.AliasNode }

// Deref is what an alias stands for; any other node is itself.
func (n Node) Deref() Node {
	if n.IsAlias() {
		return Node{n.n.Alias, n.doc, unknownIndent}
	}
	return n
}

// unknownIndent is that of a node which was not reached through its parent.
const unknownIndent = -2

// Anchor is its name, "" if it has none. An alias's is the name it refers to.
func (n Node) Anchor() string {
	switch {
	case n.n == nil:
		return ""
	case n.n.Kind == v3.AliasNode:
		return n.n.Value
	}
	return n.n.Anchor
}

// isReferred says that the node has an anchor which something refers to.
func (n Node) isReferred() bool {
	if n.n.Anchor == "" || n.n.Kind == v3.AliasNode {
		return false
	}
	for _, a := range n.doc.aliases {
		if a.Node.n.Alias == n.n {
			return true
		}
	}
	return false
}

// IsMapping, IsSequence, IsScalar and IsNull look through aliases.
func (n Node) IsMapping() bool  { return n.kind() == v3.MappingNode }
func (n Node) IsSequence() bool { return n.kind() == v3.SequenceNode }
func (n Node) IsScalar() bool   { return n.kind() == v3.ScalarNode && !n.IsNull() }

// IsNull is true of null, ~ and nothing at all.
func (n Node) IsNull() bool {
	d := n.Deref()
	return d.n != nil && d.n.Kind == v3.ScalarNode && d.n.Tag == "!!null"
}

func (n Node) kind() v3.Kind {
	if d := n.Deref(); d.n != nil {
		return d.n.Kind
	}
	return 0
}

// IsFlow says that a collection is written in brackets.
func (n Node) IsFlow() bool { return n.n != nil && n.n.Style&v3.FlowStyle != 0 }

// IsPlain says that a scalar is written without quotes.
func (n Node) IsPlain() bool {
	return n.n != nil && n.n.Style&(v3.SingleQuotedStyle|v3.DoubleQuotedStyle|v3.LiteralStyle|v3.FoldedStyle) == 0
}

// Tag is the one that is written or resolved: "!!str", "!reset".
func (n Node) Tag() string {
	if n.n == nil {
		return ""
	}
	return n.n.Tag
}

// Value is a scalar's, through aliases; "" of all else.
func (n Node) Value() string {
	if d := n.Deref(); d.n != nil && d.n.Kind == v3.ScalarNode && !n.IsNull() {
		return d.n.Value
	}
	return ""
}

// Len is how many items or entries a collection has, as written.
func (n Node) Len() int {
	d := n.Deref()
	switch {
	case d.n == nil:
		return 0
	case d.n.Kind == v3.MappingNode:
		return len(d.n.Content) / 2
	case d.n.Kind == v3.SequenceNode:
		return len(d.n.Content)
	}
	return 0
}

// Item is the i-th of a sequence.
func (n Node) Item(i int) Node {
	d := n.Deref()
	if !d.IsSequence() || i >= len(d.n.Content) {
		return Node{}
	}
	return Node{d.n.Content[i], d.doc, d.column() - 1}
}

// Entry is the i-th of a mapping, as written; a merge key is one.
func (n Node) Entry(i int) Entry {
	d := n.Deref()
	if !d.IsMapping() || 2*i+1 >= len(d.n.Content) {
		return Entry{}
	}
	indent := d.column() - 1
	return Entry{Key: Node{d.n.Content[2*i], d.doc, indent}, Value: Node{d.n.Content[2*i+1], d.doc, indent}, In: d}
}

// IsMerge says that the key is <<.
func (e Entry) IsMerge() bool { return e.Key.Tag() == mergeTag }

// Exists says that there is such an entry.
func (e Entry) Exists() bool { return e.Key.n != nil }

// Own is the mapping's own entry of that key, without merged ones; of two the last.
func (n Node) Own(key string) Entry {
	d := n.Deref()
	if d.n == nil || d.n.Kind != v3.MappingNode {
		return Entry{}
	}
	for i := len(d.n.Content) - 2; i >= 0; i -= 2 {
		if k := d.n.Content[i]; k.Value == key && k.Kind == v3.ScalarNode && k.Tag != mergeTag {
			return d.Entry(i / 2)
		}
	}
	return Entry{}
}

// Get is the entry of that key. What a merge key brings counts where the mapping has no
// own; of several merged mappings the first wins (yaml.org/type/merge.html).
func (n Node) Get(key string) Entry {
	e := n.Own(key)
	if e.Exists() || !n.merges() {
		return e
	}
	return n.get(key, map[*v3.Node]bool{})
}

// get visits each mapping once, however often and around which circle it is merged.
func (n Node) get(key string, seen map[*v3.Node]bool) Entry {
	seen[n.Deref().n] = true
	if e := n.Own(key); e.Exists() {
		return e
	}
	for _, m := range n.Merges() {
		if seen[m.n] {
			continue
		}
		if e := m.get(key, seen); e.Exists() {
			e.Merged = true
			return e
		}
	}
	return Entry{}
}

// merges says that the mapping has a merge key.
func (n Node) merges() bool {
	d := n.Deref()
	if d.n == nil || d.n.Kind != v3.MappingNode {
		return false
	}
	for i := 0; i < len(d.n.Content); i += 2 {
		if d.n.Content[i].Tag == mergeTag {
			return true
		}
	}
	return false
}

// Merges are the mappings that merge keys name, in the order in which they count.
func (n Node) Merges() []Node {
	d := n.Deref()
	if !d.IsMapping() {
		return nil
	}
	var list []Node
	for i := range d.Len() {
		e := d.Entry(i)
		switch {
		case !e.IsMerge():
		case e.Value.IsMapping():
			list = append(list, e.Value.Deref())
		case e.Value.IsSequence():
			for j := range e.Value.Len() {
				if m := e.Value.Item(j).Deref(); m.IsMapping() {
					list = append(list, m)
				}
			}
		}
	}
	return list
}

// At follows keys through mappings.
func (n Node) At(keys ...string) Node {
	for _, k := range keys {
		n = n.Get(k).Value
	}
	return n
}

// Text is a scalar as a fact. A collection, where a scalar should be, is not known, nor
// is what a template has yet to fill in.
func (n Node) Text() manifest.Text {
	t := n.Literal()
	if t.State == manifest.Known && strings.Contains(t.V, "{{") && strings.Contains(t.V, "}}") {
		return manifest.NotKnown[string](t.V, "it is a template that is not rendered", t.At)
	}
	return t
}

// Literal is Text where braces are nothing special.
func (n Node) Literal() manifest.Text {
	switch d := n.Deref(); {
	case d.n == nil || n.IsNull():
		return manifest.Text{}
	case d.n.Kind != v3.ScalarNode:
		if n.IsTemplate() {
			return manifest.NotKnown[string](n.source(), "it is a template that is not rendered", n.Pos())
		}
		return manifest.NotKnown[string]("", "it is no single value", n.Pos())
	default:
		return manifest.Of(d.n.Value, d.n.Value, n.Pos())
	}
}

// IsTemplate says that it is {{something}} without quotes, which YAML takes for a
// mapping with a mapping as its key.
func (n Node) IsTemplate() bool {
	d := n.Deref()
	return d.IsMapping() && d.IsFlow() && d.Len() > 0 && d.n.Content[0].Kind == v3.MappingNode && d.n.Content[0].Style&v3.FlowStyle != 0
}

// Args is a list of scalars as the words of a command line; text reads one.
func (n Node) Args(text func(Node) manifest.Text) manifest.Args {
	switch {
	case !n.Exists() || n.IsNull():
		return manifest.Args{}
	case n.IsTemplate():
		return manifest.NotKnown[[]manifest.Text](n.source(), "it is a template that is not rendered", n.Pos())
	case !n.IsSequence():
		return manifest.NotKnown[[]manifest.Text](n.Value(), "it is no list", n.Pos())
	}
	list := make([]manifest.Text, n.Len())
	for i := range list {
		list[i] = text(n.Item(i))
	}
	return manifest.Of(list, "", n.Pos())
}

// source is the node as it is written.
func (n Node) source() string {
	p := n.Pos()
	return string(n.doc.file.Data[p.Start:p.End])
}

// Bool is a scalar as a fact that is true or false. old: also yes, no, on, off, y and n,
// as YAML 1.1 has them and Kubernetes' reader knows them.
func (n Node) Bool(old bool) manifest.Bool {
	t := n.Text()
	out := manifest.Bool{State: t.State, Raw: t.Raw, Why: t.Why, At: t.At}
	if t.State != manifest.Known {
		return out
	}
	plain := n.Deref().IsPlain()
	switch v := t.V; {
	case plain && (v == "true" || v == "True" || v == "TRUE"):
		out.V = true
	case plain && (v == "false" || v == "False" || v == "FALSE"):
	case plain && old && isAny(v, "yes", "on", "y"):
		out.V = true
	case plain && old && isAny(v, "no", "off", "n"):
	default:
		out.State, out.Why = manifest.Unknown, "it is neither true nor false"
	}
	return out
}

// isAny compares as YAML 1.1 spells its words: yes, Yes, YES.
func isAny(v string, words ...string) bool {
	for _, w := range words {
		if v == w || v == strings.ToUpper(w) || v == strings.ToUpper(w[:1])+w[1:] {
			return true
		}
	}
	return false
}
