package helm

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/manifest"
)

// look finds a place of a rendered manifest in the template that it was rendered from: below
// any of the nodes.
func (c *Chart) look(p *page, a Asked, from ...*node) *manifest.Origin {
	var found []spot
	for _, n := range from {
		found = append(found, p.follow(n, a)...)
	}
	o := &manifest.Origin{}
	if len(found) == 0 {
		o.Template = p.in.lines.Pos(0, 0)
		o.Why = fmt.Sprintf("the template has no container %s of a %s that could be told", a.Container, a.Kind)
		return o
	}
	// What was found deepest is nearest to the place.
	deepest := 0
	for _, f := range found {
		deepest = max(deepest, f.depth)
	}
	found = slices.DeleteFunc(found, func(f spot) bool { return f.depth < deepest })
	whole := deepest == len(a.Path)
	for _, f := range found {
		if o.Template.IsZero() {
			o.Template = f.n.at
		}
		marks := f.n.marks
		if whole && len(marks) == 0 { // its items may have some
			marks = f.n.below()
		}
		for _, i := range marks {
			m := p.marks[i]
			for _, ref := range m.value.refs {
				if len(ref) < 2 || ref[0] != "Values" {
					continue
				}
				o.Template = m.at
				k := c.key(m.file, slices.Concat(ref, a.Path[f.depth:]))
				if !slices.ContainsFunc(o.Keys, func(have manifest.ValuesKey) bool { return have.Key == k.Key }) {
					o.Keys = append(o.Keys, k)
				}
			}
		}
	}
	if len(o.Keys) > 0 {
		return o
	}
	n := found[0].n
	switch {
	case len(n.marks) > 0:
		o.Why = "the template works it out, and not from a value alone"
	case whole || n.value != "":
		o.Why = "it is written in the template itself"
	default:
		o.Why = "the template has no value for it: " + strings.Join(a.Path[deepest:], ".") + " would be put in there"
	}
	return o
}

// spot is a node on the way to what is asked, and how far on the way it is.
type spot struct {
	n     *node
	depth int
}

// Capabilities are the keys that the containers of a template, by its path in the chart, take
// their capabilities from. Nothing that is known of them is left out, and no more is in it.
func (c *Chart) Capabilities(template string) []manifest.ValuesKey {
	t := c.texts[template]
	if t == nil || t.err != nil {
		return nil
	}
	p := c.draw(t)
	var keys []manifest.ValuesKey
	var walk func(n *node)
	walk = func(n *node) {
		for _, item := range n.children {
			if !item.item || !slices.Contains(containerLists, n.key) {
				walk(item)
				continue
			}
			for _, k := range c.look(p, Asked{Path: []string{"securityContext", "capabilities"}}, item).Keys {
				if !slices.ContainsFunc(keys, func(have manifest.ValuesKey) bool { return have.Key == k.Key }) {
					keys = append(keys, k)
				}
			}
		}
	}
	for _, doc := range p.docs {
		walk(doc)
	}
	return keys
}

// below are the marks of all that is in a node.
func (n *node) below() []int {
	var list []int
	for _, c := range n.children {
		list = append(append(list, c.marks...), c.below()...)
	}
	return list
}

// isKind says of a document that it may be of the kind.
func (n *node) isKind(kind string) bool {
	said := false
	for _, c := range n.children {
		if c.key != "kind" {
			continue
		}
		if len(c.marks) > 0 || plain(c.value) == kind {
			return true
		}
		said = true
	}
	return !said && len(n.children) > 0
}

// follow goes down a path as far as the template has it, by all branches.
func (p *page) follow(doc *node, a Asked) []spot {
	at := []*node{doc}
	var found []spot
	container := false // the container that is asked for is on the way
	for depth, name := range a.Path {
		var next []*node
		_, err := strconv.Atoi(name)
		for _, n := range at {
			items, below := false, []*node{}
			for _, c := range n.children {
				switch {
				case c.item && err == nil:
					items = true
					below = append(below, c)
				case !c.item && c.key == name:
					below = append(below, c)
				}
			}
			if items && slices.Contains(containerLists, n.key) {
				below = p.choose(below, a.Container)
				container = container || len(below) > 0
			}
			next = append(next, below...)
		}
		if len(next) == 0 {
			for _, n := range at {
				found = append(found, spot{n, depth})
			}
			break
		}
		at = next
		if depth+1 == len(a.Path) {
			for _, n := range at {
				found = append(found, spot{n, depth + 1})
			}
		}
	}
	if a.Container != "" && !container {
		// The list itself may be a value's.
		return slices.DeleteFunc(found, func(f spot) bool { return len(f.n.marks) == 0 })
	}
	return found
}

// containerLists are those whose items are found by their names.
var containerLists = []string{"containers", "initContainers", "ephemeralContainers"}

// choose takes the items that are the container: those of its name, else the only one
// whose name is an expression.
func (p *page) choose(items []*node, name string) []*node {
	var exact, open []*node
	for _, n := range items {
		said := false
		for _, c := range n.children {
			if c.key != "name" {
				continue
			}
			said = true
			switch {
			case len(c.marks) > 0:
				open = append(open, n)
			case plain(c.value) == name:
				exact = append(exact, n)
			}
			break
		}
		if !said {
			open = append(open, n)
		}
	}
	switch {
	case len(exact) > 0:
		return exact
	case len(open) == 1:
		return open
	}
	return nil
}
