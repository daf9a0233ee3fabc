package compose

import (
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// each visits the items of a list in all layers.
func (d *definition) each(key string, visit func(f *file, n yaml.Node)) {
	for _, r := range d.all(key) {
		f := d.layers[r.layer].file
		for i := range r.entry.Value.Len() {
			if n := r.entry.Value.Item(i); !n.IsNull() {
				visit(f, n)
			}
		}
	}
}

// A list in which a later element takes the place of an earlier one with the same key;
// elements without a key are never the same.
type unique[T any] struct {
	list []T
	at   map[string]int
}

func (u *unique[T]) put(key string, v T) {
	if i, ok := u.at[key]; ok && key != "" {
		u.list[i] = v
		return
	}
	if u.at == nil {
		u.at = map[string]int{}
	}
	u.at[key] = len(u.list)
	u.list = append(u.list, v)
}

// volumes: of two with one target the stronger layer's counts (compose-go
// override/uncity.go volumeIndexer).
func (s *service) volumes() {
	var mounts unique[manifest.Mount]
	s.def.each("volumes", func(f *file, n yaml.Node) {
		m := manifest.Mount{At: n.Pos()}
		if n.IsMapping() {
			m.Type = f.text(n.At("type")).V
			m.Source, m.Target, m.ReadOnly = f.text(n.At("source")), f.text(n.At("target")), f.truth(n.At("read_only"))
		} else {
			m = f.shortVolume(f.text(n), m)
		}
		if m.Type == "bind" && m.Source.State == manifest.Known {
			m.Source.V = hostPath(f.dir, m.Source.V)
		}
		if m.Target.V != "" {
			m.Target.V = path.Clean(m.Target.V)
		}
		if m.Type == "volume" {
			m.Name = m.Source.V
		}
		mounts.put(m.Target.V, m)
	})
	s.Mounts = mounts.list
	s.def.each("tmpfs", func(f *file, n yaml.Node) {
		t := f.text(n)
		t.V, _, _ = strings.Cut(t.V, ":")
		s.Mounts = append(s.Mounts, manifest.Mount{Type: "tmpfs", Target: t, At: n.Pos()})
	})
	if manifest.Is(s.def.truth("use_api_socket"), true) {
		// compose-go loader: the engine's socket is mounted
		at := s.def.truth("use_api_socket").At
		socket := manifest.Of("/var/run/docker.sock", "", at)
		s.Mounts = append(s.Mounts, manifest.Mount{Type: "bind", Source: socket, Target: socket, At: at})
	}
}

// shortVolume reads [SOURCE:]TARGET[:OPTIONS] (compose-go format/volume.go). Where a
// variable has no value, the parts around it are still what they are.
func (f *file) shortVolume(t manifest.Text, m manifest.Mount) manifest.Mount {
	m.Type = "volume"
	text := t.V
	if t.State != manifest.Known {
		text = t.Raw
	}
	words := splitVolume(text)
	part := func(word string) manifest.Text {
		if t.State == manifest.Known {
			return manifest.Of(word, word, t.At)
		}
		v, why := f.substitute(word)
		if why != "" {
			return manifest.NotKnown[string](word, why, t.At)
		}
		return manifest.Of(v, word, t.At)
	}
	if len(words) == 1 {
		m.Target = part(words[0])
		return m
	}
	m.Source, m.Target = part(words[0]), part(words[1])
	switch v := m.Source.V; {
	case m.Source.State == manifest.Unknown && strings.ContainsAny(words[0], `/\.~`),
		strings.HasPrefix(v, "/"), strings.HasPrefix(v, "."), strings.HasPrefix(v, "~"), len(v) > 2 && v[1] == ':':
		m.Type = "bind"
	}
	if len(words) > 2 {
		for option := range strings.SplitSeq(words[2], ",") {
			if option == "ro" || option == "readonly" {
				m.ReadOnly = manifest.Of(true, option, t.At)
			}
		}
	}
	return m
}

// splitVolume splits at colons that stand in no ${…}, and behind no drive's letter.
func splitVolume(s string) []string {
	var words []string
	depth, start := 0, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '{':
			depth++
		case s[i] == '}':
			depth--
		case s[i] == ':' && depth <= 0:
			if i == start+1 && i+1 < len(s) && s[i+1] == '\\' {
				continue
			}
			words = append(words, s[start:i])
			start = i + 1
		}
	}
	return append(words, s[start:])
}

// hostPath is a path of the host, from the directory of the file if it is relative.
func hostPath(dir, p string) string {
	if path.IsAbs(p) || strings.HasPrefix(p, "~") || len(p) > 1 && p[1] == ':' {
		return p
	}
	return path.Join(dir, p)
}

func (s *service) devices() {
	var devices unique[manifest.Device]
	s.def.each("devices", func(f *file, n yaml.Node) {
		d := manifest.Device{Rights: "rwm", At: n.Pos()}
		if n.IsMapping() {
			d.Host, d.Container = f.text(n.At("source")), f.text(n.At("target"))
			if p := f.text(n.At("permissions")); p.V != "" {
				d.Rights = p.V
			}
		} else {
			t := f.text(n)
			d.Host = t
			if t.State == manifest.Known {
				words := strings.Split(t.V, ":")
				d.Host.V, d.Container = words[0], t
				d.Container.V = words[min(1, len(words)-1)]
				if len(words) > 2 {
					d.Rights = words[2]
				}
			}
		}
		if d.Container.State == manifest.Unset {
			d.Container = d.Host
		}
		devices.put(d.Container.V, d)
	})
	s.Devices = devices.list
}

// ports reads published ports and those that are only exposed.
func (s *service) ports() {
	var ports unique[manifest.Port]
	s.def.each("ports", func(f *file, n yaml.Node) {
		p := manifest.Port{At: n.Pos()}
		if n.IsMapping() {
			p.Raw = f.text(n.At("target")).V
			p.Container, p.Last = portRange(p.Raw)
			p.Host, _ = portRange(f.text(n.At("published")).V)
			p.HostIP, p.Protocol = f.text(n.At("host_ip")).V, f.text(n.At("protocol")).V
		} else {
			p = shortPort(f.text(n), p)
		}
		key := ""
		if p.Container != 0 {
			key = fmt.Sprint(p.HostIP, " ", p.Host, " ", p.Container, " ", p.Last, " ", p.Protocol)
		}
		ports.put(key, p)
	})
	s.Ports = ports.list
	s.def.each("expose", func(f *file, n yaml.Node) {
		t := f.text(n)
		p := manifest.Port{Raw: t.Raw, At: n.Pos()}
		number, protocol, _ := strings.Cut(t.V, "/")
		p.Protocol = protocol
		p.Container, p.Last = portRange(number)
		s.Ports = append(s.Ports, p)
	})
}

// shortPort reads [[IP:]HOST:]CONTAINER[/PROTOCOL] (docker/go-connections nat.ParsePortSpec).
func shortPort(t manifest.Text, p manifest.Port) manifest.Port {
	p.Raw = t.Raw
	text, protocol, _ := strings.Cut(t.V, "/")
	p.Protocol = protocol
	i := strings.LastIndexByte(text, ':')
	p.Container, p.Last = portRange(text[i+1:])
	if i < 0 {
		return p
	}
	text = text[:i]
	if j := strings.LastIndexByte(text, ':'); j >= 0 {
		p.HostIP, text = strings.Trim(text[:j], "[]"), text[j+1:]
	}
	p.Host, _ = portRange(text)
	return p
}

func portRange(s string) (first, last int) {
	a, b, isRange := strings.Cut(s, "-")
	first, _ = strconv.Atoi(a)
	if isRange {
		last, _ = strconv.Atoi(b)
	}
	return first, last
}
