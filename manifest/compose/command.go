package compose

import (
	"bytes"
	"maps"
	"slices"

	"github.com/compose-spec/compose-go/v2/dotenv"
	"github.com/mattn/go-shellwords"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// command is command or entrypoint: a list, or a text that is cut into words as compose-go
// does (types/command.go ShellCommand), without a shell's expansions.
func (d *definition) command(key string) manifest.Args {
	e, f := d.last(key)
	if !e.Exists() {
		return manifest.Args{}
	}
	if e.Value.IsSequence() {
		return e.Value.Args(f.text)
	}
	t := f.text(e.Value)
	if t.State != manifest.Known {
		return manifest.NotKnown[[]manifest.Text](t.Raw, t.Why, t.At)
	}
	parts, err := shellwords.Parse(t.V)
	if err != nil {
		return manifest.NotKnown[[]manifest.Text](t.Raw, "it cannot be cut into words: "+err.Error(), t.At)
	}
	list := make([]manifest.Text, len(parts))
	for i, w := range parts {
		list[i] = manifest.Of(w, w, t.At)
	}
	return manifest.Of(list, t.Raw, t.At)
}

// environmentOf reads env_file and, over it, environment. A name without a value is taken
// from the environment of who starts it.
func (p *project) environmentOf(s *service) {
	var list unique[manifest.Pair]
	for _, r := range s.def.all("env_file") {
		f := s.def.layers[r.layer].file
		items := []yaml.Node{r.entry.Value}
		if v := r.entry.Value; v.IsSequence() {
			items = items[:0]
			for i := range v.Len() {
				items = append(items, v.Item(i))
			}
		}
		for _, n := range items {
			name, required := n, true
			if n.IsMapping() {
				name, required = n.At("path"), !manifest.Is(f.truth(n.At("required")), false)
			}
			for _, v := range p.envFile(f, f.text(name), required) {
				list.put(v.Key, v)
			}
		}
	}
	for _, r := range s.def.all("environment") {
		f := s.def.layers[r.layer].file
		given := func(key string, v manifest.Text) {
			if v.State == manifest.Unset {
				v = manifest.NotKnown[string](key, "it is taken from the environment of who starts it", v.At)
				if value, ok := f.env(key); ok {
					v = manifest.Of(value, key, v.At)
				}
			}
			list.put(key, manifest.Pair{Key: key, KeyAt: v.At, Value: v})
		}
		if v := r.entry.Value; v.IsMapping() {
			for _, e := range entries(v) {
				value := f.fill(e.Value.Literal())
				if value.State == manifest.Unset {
					value.At = e.Key.Pos()
				}
				given(e.Key.Value(), value)
			}
			continue
		}
		for i := range r.entry.Value.Len() {
			t := r.entry.Value.Item(i).Literal()
			at := bytes.IndexByte([]byte(t.Raw), '=')
			if at < 0 {
				given(t.Raw, manifest.Text{At: t.At})
				continue
			}
			key := t.Raw[:at]
			t.V, t.Raw = t.Raw[at+1:], t.Raw[at+1:]
			given(key, f.fill(t))
		}
	}
	s.Env = list.list
}

// envFile reads one.
func (p *project) envFile(f *file, name manifest.Text, required bool) []manifest.Pair {
	missing := func(why string) []manifest.Pair {
		return []manifest.Pair{{KeyAt: name.At, Value: manifest.NotKnown[string](name.Raw, why, name.At)}}
	}
	if name.State != manifest.Known {
		return missing("the name of an env_file is not known: " + name.Why)
	}
	var data []byte
	ok := p.src.Open != nil
	if ok {
		var err error
		data, err = p.src.Open(relative(f.dir, name.V))
		ok = err == nil && len(data) <= manifest.MaxSize
	}
	switch {
	case !ok && !required:
		return nil
	case !ok:
		return missing(name.V + " cannot be read")
	}
	vars, err := dotenv.ParseWithLookup(bytes.NewReader(data), f.env)
	if err != nil {
		return missing(envError(relative(f.dir, name.V), data, err).Error())
	}
	var list []manifest.Pair
	for _, key := range slices.Sorted(maps.Keys(vars)) {
		list = append(list, manifest.Pair{Key: key, KeyAt: name.At, Value: manifest.Of(vars[key], vars[key], name.At)})
	}
	return list
}
