package compose

import (
	"slices"
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// A service is a container with the way back to where it is defined.
type service struct {
	manifest.Container
	def  *definition
	refs []ref // of Container.Caps, one each
}

// A ref is where an item of a list is.
type ref struct {
	layer int
	entry yaml.Entry
	index int
}

var target = manifest.Target{
	Engines: []string{"docker", "podman"},
	Why:     "a Compose file is for docker compose, and podman reads it, too",
}

// read makes services of definitions.
func (p *project) read(defs []*definition) {
	owner := &manifest.Owner{Kind: "project"}
	if main := p.files[p.src.Name]; main != nil {
		if e := main.root.Get("name"); e.Exists() {
			t := main.text(e.Value)
			owner.Name, owner.At = t.V, t.At
		}
	}
	for _, d := range defs {
		if d.gone() {
			continue
		}
		if e, _ := d.last("provider"); e.Exists() {
			continue // no container of Compose's
		}
		s := &service{def: d}
		s.Kind = strings.TrimSuffix(d.section, "s")
		s.Name, s.Path, s.Owner, s.Target, s.Format = d.name, d.path(), owner, target, "compose"
		s.At = d.key.Pos()
		p.facts(s)
		p.services = append(p.services, s)
		p.hooks(s)
	}
	p.share()
}

// gone says that a service is nothing: null, or taken back with !reset.
func (d *definition) gone() bool {
	for i := len(d.layers) - 1; i >= 0; i-- {
		n := d.layers[i].node
		if n.Deref().Tag() == "!reset" {
			return true
		}
		if !n.IsNull() {
			return false
		}
	}
	return true
}

// hooks are the containers that run before a service's own.
func (p *project) hooks(s *service) {
	for li, l := range s.def.layers {
		list := l.node.At("pre_start")
		for i := range list.Len() {
			n := list.Item(i)
			if !n.IsMapping() {
				continue
			}
			way := append(slices.Clone(l.path), "pre_start", strconv.Itoa(i))
			d := &definition{section: s.def.section, name: s.def.name, key: n, layers: []layer{{file: l.file, node: n, path: way, kind: l.kind}}}
			h := &service{def: d}
			h.Kind, h.Name, h.Owner, h.Target, h.Format = "init container", s.Name+" pre_start "+strconv.Itoa(i+1), s.Owner, target, "compose"
			h.Path = s.Path + ".pre_start." + strconv.Itoa(li) + "." + strconv.Itoa(i)
			h.At = n.Pos()
			p.facts(h)
			if h.Image.State == manifest.Unset {
				h.Image = s.Image
			}
			p.services = append(p.services, h)
		}
	}
}

// last is the entry that counts for a key with one value: the strongest layer's, where
// null says nothing and !reset that there is none.
func (d *definition) last(key string) (yaml.Entry, *file) {
	for i := len(d.layers) - 1; i >= 0; i-- {
		l := &d.layers[i]
		e := l.node.Get(key)
		switch {
		case !e.Exists():
		case e.Value.Deref().Tag() == "!reset":
			return yaml.Entry{}, l.file
		case !e.Value.IsNull():
			return e, l.file
		}
	}
	return yaml.Entry{}, nil
}

// all are the entries of a key whose values are joined, the weakest layer's first.
func (d *definition) all(key string) []ref {
	var list []ref
	for i := range d.layers {
		e := d.layers[i].node.Get(key)
		if !e.Exists() {
			continue
		}
		switch e.Value.Deref().Tag() {
		case "!reset":
			list = nil
			continue
		case "!override":
			list = nil
		}
		if !e.Value.IsNull() {
			list = append(list, ref{layer: i, entry: e})
		}
	}
	return list
}

func (d *definition) text(key string) manifest.Text {
	e, f := d.last(key)
	if !e.Exists() {
		return manifest.Text{}
	}
	return f.text(e.Value)
}

func (d *definition) truth(key string) manifest.Bool {
	e, f := d.last(key)
	if !e.Exists() {
		return manifest.Bool{}
	}
	return f.truth(e.Value)
}

// facts reads everything but hooks.
func (p *project) facts(s *service) {
	d := s.def
	s.CapsWhy = d.why
	s.Image = d.text("image")
	if e, f := d.last("build"); e.Exists() {
		if e.Value.IsMapping() {
			s.Build = f.text(e.Value.At("context"))
			if s.Build.State == manifest.Unset {
				s.Build = manifest.Of(".", "", e.Value.Pos()) // where the file is, with an inline Dockerfile
			}
			s.fact("build.privileged", f, e.Value.At("privileged"))
			s.fact("build.entitlements", f, e.Value.At("entitlements"))
		} else {
			s.Build = f.text(e.Value)
		}
	}
	s.User = d.text("user")
	s.Entrypoint, s.Command, s.WorkDir = d.command("entrypoint"), d.command("command"), d.text("working_dir")
	p.environmentOf(s)
	s.Privileged = d.truth("privileged")
	s.ReadOnlyRoot = d.truth("read_only")
	p.capabilities(s)
	p.security(s)
	s.namespaces()
	s.volumes()
	s.devices()
	s.ports()
	s.Labels = d.pairs("labels")
	s.Sysctls = d.pairs("sysctls")
	for _, key := range []string{"profiles", "develop", "group_add", "gpus", "runtime", "use_api_socket", "volumes_from", "device_cgroup_rules", "cgroup_parent", "credential_spec", "isolation", "container_name"} {
		if e, f := d.last(key); e.Exists() {
			s.fact(key, f, e.Value)
		}
	}
	for _, hook := range []string{"post_start", "pre_stop"} {
		for _, r := range d.all(hook) {
			f := d.layers[r.layer].file
			for i := range r.entry.Value.Len() {
				s.fact(hook+".privileged", f, r.entry.Value.Item(i).At("privileged"))
			}
		}
	}
}

// fact notes something that only Compose has. A list is its words.
func (s *service) fact(name string, f *file, n yaml.Node) {
	if !n.Exists() || n.IsNull() {
		return
	}
	v := f.text(n)
	if n.IsSequence() {
		words := make([]string, n.Len())
		for i := range words {
			words[i] = f.text(n.Item(i)).V
		}
		v = manifest.Of(strings.Join(words, " "), "", n.Pos())
	} else if n.IsMapping() {
		v = manifest.Of("", "", n.Pos())
	}
	s.Facts = append(s.Facts, manifest.Pair{Key: name, KeyAt: n.Pos(), Value: v})
}

// capabilities joins the lists of all layers. What a weaker layer has and a stronger one
// repeats is there once (compose-go override/merge.go appendWithoutDuplicates); what one
// list has twice is as it is written.
func (p *project) capabilities(s *service) {
	for _, l := range []struct {
		key    string
		action manifest.Action
	}{{"cap_drop", manifest.Drop}, {"cap_add", manifest.Add}} {
		weaker := map[string]bool{}
		for _, r := range s.def.all(l.key) {
			f := s.def.layers[r.layer].file
			if !r.entry.Value.IsSequence() {
				s.CapsWhy = l.key + " is no list"
				p.fail(r.entry.Value, "%s: a list is needed", l.key)
				continue
			}
			at := r.entry.Value.Pos()
			before := len(s.Caps)
			for i := range r.entry.Value.Len() {
				word := f.text(r.entry.Value.Item(i))
				if word.State == manifest.Unset {
					continue
				}
				if word.State == manifest.Known && weaker[word.V] {
					continue
				}
				s.Caps = append(s.Caps, manifest.Request{Action: l.action, Word: word, List: at})
				s.refs = append(s.refs, ref{r.layer, r.entry, i})
			}
			for _, c := range s.Caps[before:] {
				weaker[c.Word.V] = true
			}
		}
	}
}

// security reads security_opt as the daemon does (moby daemon/daemon_unix.go
// parseSecurityOpt): the option and its value stand on two sides of = or :.
func (p *project) security(s *service) {
	for _, r := range s.def.all("security_opt") {
		f := s.def.layers[r.layer].file
		if !r.entry.Value.IsSequence() {
			p.fail(r.entry.Value, "security_opt: a list is needed")
			continue
		}
		for i := range r.entry.Value.Len() {
			t := f.text(r.entry.Value.Item(i))
			if t.State == manifest.Unset {
				continue
			}
			s.option(t)
		}
	}
}

func (s *service) option(t manifest.Text) {
	word := t.V
	if t.State != manifest.Known {
		word = t.Raw
	}
	at := strings.IndexAny(word, "=:")
	name, value := word, ""
	if at >= 0 {
		name, value = word[:at], word[at+1:]
	}
	set := func(dst *manifest.Text) {
		*dst = t
		dst.V = value
	}
	switch name {
	case "no-new-privileges":
		s.NoNewPrivs = manifest.Bool{State: t.State, Raw: t.Raw, Why: t.Why, At: t.At}
		yes, err := strconv.ParseBool(value)
		switch {
		case t.State != manifest.Known:
		case at < 0:
			s.NoNewPrivs.V = true
		case err != nil:
			s.NoNewPrivs.State, s.NoNewPrivs.Why = manifest.Unknown, "it is neither true nor false"
		default:
			s.NoNewPrivs.V = yes
		}
	case "seccomp":
		set(&s.Seccomp)
	case "apparmor":
		set(&s.AppArmor)
	case "label":
		set(&s.SELinux)
	case "systempaths":
		set(&s.ProcMount)
		if value == "unconfined" {
			s.ProcMount.V = "Unmasked"
		}
	default:
		if t.State != manifest.Known {
			s.NoNewPrivs = manifest.NotKnown[bool](t.Raw, t.Why, t.At)
		}
	}
}

func (s *service) namespaces() {
	for _, n := range []struct{ key, kind string }{
		{"network_mode", "net"}, {"pid", "pid"}, {"ipc", "ipc"}, {"userns_mode", "user"}, {"uts", "uts"}, {"cgroup", "cgroup"},
	} {
		t := s.def.text(n.key)
		switch {
		case t.State == manifest.Unset:
		case t.State == manifest.Unknown, t.V == "host", strings.Contains(t.V, ":"), t.V == "shareable":
			s.Namespaces = append(s.Namespaces, manifest.Namespace{Kind: n.kind, With: t})
		}
	}
}

// pairs reads a mapping, or a list of KEY=VALUE; a stronger layer's value counts.
func (d *definition) pairs(key string) []manifest.Pair {
	var list unique[manifest.Pair]
	put := func(p manifest.Pair) { list.put(p.Key, p) }
	for _, r := range d.all(key) {
		f := d.layers[r.layer].file
		if r.entry.Value.IsMapping() {
			for _, e := range entries(r.entry.Value) {
				put(manifest.Pair{Key: e.Key.Value(), KeyAt: e.Key.Pos(), Value: f.fill(e.Value.Literal())}) // Traefik's rules have braces
			}
			continue
		}
		for i := range r.entry.Value.Len() {
			t := f.fill(r.entry.Value.Item(i).Literal())
			k, v, _ := strings.Cut(t.V, "=")
			if t.State != manifest.Known {
				k, _, _ = strings.Cut(t.Raw, "=")
			}
			at := t.At
			t.V = v
			put(manifest.Pair{Key: k, KeyAt: at, Value: t})
		}
	}
	return list.list
}
