package compose

import (
	"path"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// A layer is one mapping that says something of a service.
type layer struct {
	file *file
	node yaml.Node // the mapping, or an alias of one
	path []string  // of the mapping in its file, not of what an alias stands for
	// kind is "" for the service's own, "base" where another file is put over it, "merge"
	// where all of services is merged, "include", "extends".
	kind string
	name string // of the service that is extended
}

// A definition is a service with its layers, the strongest last.
type definition struct {
	section string // services or jobs
	name    string
	key     yaml.Node
	layers  []layer
	why     string // why not all layers are known
}

func (d *definition) path() string { return d.section + "." + d.name }

// fileLayers are the services of one file, with what it includes and extends. outer are
// the names of the files that include it.
func (p *project) fileLayers(f *file, outer []string) []*definition {
	var defs []*definition
	if include := f.root.Get("include"); include.Exists() && !include.Value.IsNull() {
		defs = p.include(f, include.Value, append(outer, f.name))
	}
	var own []*definition
	for _, section := range []string{"services", "jobs"} {
		e := f.root.Get(section)
		if !e.Exists() || e.Value.IsNull() {
			continue
		}
		if !e.Value.IsMapping() {
			p.fail(e.Value, "%s: a mapping is needed", section)
			continue
		}
		for _, entry := range entries(e.Value) {
			if d := p.define(f, section, entry, nil); d != nil {
				own = append(own, d)
			}
		}
	}
	// An included service is below one of the same name (compose-go loader/include.go).
	return p.stack(defs, own)
}

// entries are a mapping's own and merged ones, without those that others hide.
func entries(m yaml.Node) []yaml.Entry {
	var list []yaml.Entry
	seen := map[string]bool{}
	visited := map[yaml.Identity]bool{}
	var visit func(m yaml.Node, merged bool)
	visit = func(m yaml.Node, merged bool) {
		if visited[m.Deref().Identity()] {
			return
		}
		visited[m.Deref().Identity()] = true
		last := make(map[string]int, m.Len()) // of two keys the last counts
		for i := range m.Len() {
			last[m.Entry(i).Key.Value()] = i
		}
		for i := range m.Len() {
			e := m.Entry(i)
			key := e.Key.Value()
			if e.IsMerge() || seen[key] || last[key] != i {
				continue
			}
			seen[key] = true
			e.Merged = merged
			list = append(list, e)
		}
		for _, o := range m.Merges() {
			visit(o, true)
		}
	}
	visit(m, false)
	return list
}

// define gathers a service's layers in one file. chain are the services that are being
// extended.
func (p *project) define(f *file, section string, e yaml.Entry, chain []string) *definition {
	name := e.Key.Value()
	d := &definition{section: section, name: name, key: e.Key}
	v := e.Value
	switch {
	case v.IsNull() || v.Tag() == "!reset":
		// No service by itself, but perhaps one that another file defines.
	case !v.IsMapping():
		p.fail(v, "%s.%s: a mapping is needed", section, name)
		return nil
	}
	if p.resolved++; p.resolved > maxLayers {
		if p.resolved == maxLayers+1 {
			p.fail(e.Key, "too many services that extend each other")
		}
		return nil
	}
	if extends := v.Get("extends"); extends.Exists() && !extends.Value.IsNull() {
		p.extend(d, f, section, extends.Value, append(chain, f.name+"\x00"+name))
	}
	own := layer{file: f, node: v, path: []string{section, name}}
	if e.Merged {
		own.kind = "merge"
	}
	d.layers = append(d.layers, own)
	return d
}

// extend puts the layers of the extended service below.
func (p *project) extend(d *definition, f *file, section string, v yaml.Node, chain []string) {
	ref, from := f.text(v), f
	if v.IsMapping() {
		ref = f.text(v.At("service"))
		if named := v.Get("file"); named.Exists() && !named.Value.IsNull() {
			t := f.text(named.Value)
			if t.State != manifest.Known {
				d.why = "it extends a service of a file whose name is not known: " + t.Why
				return
			}
			from = p.open(relative(f.dir, t.V), f.env)
			if from == nil {
				d.why = "it extends a service of " + t.V + ", which cannot be read"
				p.failUnread(named.Value, t.V, relative(f.dir, t.V))
				return
			}
		}
	}
	if ref.State != manifest.Known {
		d.why = "it extends a service that is not known"
		p.fail(v, "extends: the name of a service is needed")
		return
	}
	if slices.Contains(chain, from.name+"\x00"+ref.V) {
		p.fail(v, "%s extends itself", ref.V)
		d.why = "it extends itself"
		return
	}
	e := from.root.At(section).Get(ref.V)
	if !e.Exists() {
		if base := p.included(from, section, ref.V, chain); base != nil {
			p.below(d, base, ref.V)
			return
		}
		d.why = "it extends " + ref.V + ", which is not there"
		p.fail(v, "extends: there is no service %s in %s", ref.V, from.name)
		return
	}
	if base := p.define(from, section, e, chain); base != nil {
		p.below(d, base, ref.V)
	}
}

func (p *project) below(d, base *definition, name string) {
	for _, l := range base.layers {
		if l.kind == "" || l.kind == "merge" {
			l.kind, l.name = "extends", name
		}
		d.layers = append(d.layers, l)
	}
	if base.why != "" {
		d.why = base.why
	}
}

// included is a service that a file has from one that it includes.
func (p *project) included(f *file, section, name string, chain []string) *definition {
	include := f.root.Get("include")
	if !include.Exists() || len(chain) > manifest.MaxDepth {
		return nil
	}
	before := len(p.errs)
	defer func() { p.errs = p.errs[:before] }() // they are said where the file is read
	for _, d := range p.include(f, include.Value, chain) {
		if d.section == section && d.name == name {
			return d
		}
	}
	return nil
}

// include reads the files that a file includes.
func (p *project) include(f *file, list yaml.Node, outer []string) []*definition {
	if !list.IsSequence() {
		p.fail(list, "include: a list is needed")
		return nil
	}
	var defs []*definition
	for i := range list.Len() {
		item := list.Item(i)
		paths := []yaml.Node{item}
		dir, env := "", f.env
		if item.IsMapping() {
			paths = oneOrMany(item.At("path"))
			if t := f.text(item.At("project_directory")); t.State == manifest.Known {
				dir = relative(f.dir, t.V)
			}
		}
		var group []*definition
		for n, node := range paths {
			t := f.text(node)
			if t.State != manifest.Known {
				p.fail(node, "an included file's name is not known: %s", t.Why)
				continue
			}
			name := relative(f.dir, t.V)
			if slices.Contains(outer, name) || len(outer) > 50 {
				p.fail(node, "%s includes itself", t.V)
				continue
			}
			if p.resolved++; p.resolved > maxLayers {
				p.fail(node, "too many files that include each other")
				return defs
			}
			if n == 0 {
				if dir == "" {
					dir = path.Dir(name)
				}
				env = p.environment(dir, path.Join(dir, ".env"), f.env)
				for _, file := range oneOrMany(item.At("env_file")) {
					if t := f.text(file); t.State == manifest.Known {
						env = p.environment(f.dir, relative(f.dir, t.V), f.env)
					}
				}
			}
			inner := p.open(name, env)
			if inner == nil {
				p.failUnread(node, t.V, name)
				continue
			}
			group = p.stack(group, p.fileLayers(inner, outer))
		}
		for _, d := range group {
			for k := range d.layers {
				if d.layers[k].kind == "" {
					d.layers[k].kind = "include"
				}
			}
		}
		defs = p.stack(defs, group)
	}
	return defs
}

// stack puts the definitions of one file over those of another.
func (p *project) stack(below, above []*definition) []*definition {
	index := make(map[string]int, len(below))
	for i, b := range below {
		index[b.path()] = i
	}
	for _, a := range above {
		i, ok := index[a.path()]
		if !ok {
			index[a.path()] = len(below)
			below = append(below, a)
			continue
		}
		b := below[i]
		for k := range b.layers {
			if b.layers[k].kind == "" {
				b.layers[k].kind = "base"
			}
		}
		if len(a.layers) == len(b.layers) && len(a.layers) == 1 && a.layers[0].node.Same(b.layers[0].node) {
			continue // the same file, included in two ways
		}
		merged := &definition{section: a.section, name: a.name, key: b.key, why: b.why, layers: slices.Concat(b.layers, a.layers)}
		if a.why != "" {
			merged.why = a.why
		}
		below[i] = merged
	}
	return below
}

func oneOrMany(n yaml.Node) []yaml.Node {
	if n.IsSequence() {
		list := make([]yaml.Node, n.Len())
		for i := range list {
			list[i] = n.Item(i)
		}
		return list
	}
	if !n.Exists() || n.IsNull() {
		return nil
	}
	return []yaml.Node{n}
}

// relative joins a name to the directory of the file that it is in.
func relative(dir, name string) string {
	if path.IsAbs(name) || strings.Contains(name, "://") {
		return name
	}
	return path.Join(dir, name)
}
