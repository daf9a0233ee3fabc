// Package oci reads the config.json of an OCI bundle: the runtime gives what it states,
// no engine's rules are between (runtime-spec config.md, "POSIX process").
package oci

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"reflect"
	"regexp"
	"strings"
	"sync"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
	"github.com/leastcap/leastcap/usage"
)

// Format is that of config.json.
var Format = manifest.Format{
	Name: "oci", Title: "OCI runtime configuration",
	Recognise: recognise, Parse: Parse, Edit: edit, Verify: verify,
}

var version = sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(`"ociVersion"\s*:\s*"`) })

func recognise(name string, data []byte) manifest.Likelihood {
	trimmed := bytes.TrimLeft(data, " \t\r\n\ufeff")
	switch {
	case len(trimmed) == 0 || trimmed[0] != '{' || !version().Match(data[:min(len(data), 1<<20)]):
		return manifest.No
	case bytes.Contains(data, []byte(`"process"`)) && (bytes.Contains(data, []byte(`"root"`)) || path.Base(name) == "config.json"):
		return manifest.Sure
	}
	return manifest.Maybe
}

// lists are the five, as process.capabilities names them.
var lists = []struct {
	key string
	set manifest.Set
	of  func(*caps.State) *caps.Set
}{
	{"bounding", manifest.Bounding, func(s *caps.State) *caps.Set { return &s.Bounding }},
	{"effective", manifest.Effective, func(s *caps.State) *caps.Set { return &s.Effective }},
	{"inheritable", manifest.Inheritable, func(s *caps.State) *caps.Set { return &s.Inheritable }},
	{"permitted", manifest.Permitted, func(s *caps.State) *caps.Set { return &s.Permitted }},
	{"ambient", manifest.Ambient, func(s *caps.State) *caps.Set { return &s.Ambient }},
}

// bundle is a configuration that is read.
type bundle struct {
	doc  *yaml.Document
	root yaml.Node
	c    *manifest.Container
	errs []error
}

// Parse implements the Parse of a [manifest.Format].
func Parse(src manifest.Source) ([]*manifest.Container, error) {
	b, err := read(src)
	if err != nil {
		return nil, err
	}
	if b.c == nil {
		return nil, errors.Join(b.errs...)
	}
	return []*manifest.Container{b.c}, errors.Join(b.errs...)
}

func read(src manifest.Source) (*bundle, error) {
	if err := manifest.CheckSize(src); err != nil {
		return nil, err
	}
	lines := manifest.NewLines(src.Name, src.Data)
	bom := len(src.Data) - len(bytes.TrimPrefix(src.Data, []byte("\ufeff")))
	var any any
	if err := json.Unmarshal(src.Data[bom:], &any); err != nil {
		at, _ := usage.JSONOffset(src.Data[bom:], err)
		return nil, &manifest.Error{At: lines.Pos(bom+at, bom+at), Reason: "not JSON", Err: err, Hint: "a runtime's configuration is one JSON object, and nothing else"}
	}
	doc, root, err := yaml.ReadOne(src, "not one JSON object")
	if err != nil {
		return nil, err
	}
	b := &bundle{doc: doc, root: root, errs: doc.Duplicates()}
	process := b.root.At("process")
	if !process.Exists() || process.IsNull() {
		b.errs = append(b.errs, &manifest.Error{At: manifest.Pos{File: src.Name}, Reason: "it has no process", Hint: "runc spec writes a whole config.json"})
		return b, nil
	}
	b.container(src, process)
	return b, nil
}

func (b *bundle) container(src manifest.Source, process yaml.Node) {
	name := path.Base(path.Dir(src.Name))
	if h := b.root.At("hostname").Value(); name == "." || name == "/" {
		if name = "bundle"; h != "" {
			name = h
		}
	}
	c := &manifest.Container{
		Format: "oci", Path: "process", Name: name, Kind: "bundle", At: b.root.Get("process").Key.Pos(),
		Target:     manifest.Target{Engines: []string{"runc"}, Why: "it is a runtime's configuration"},
		NoNewPrivs: process.At("noNewPrivileges").Bool(false), ReadOnlyRoot: b.root.At("root", "readonly").Bool(false),
		AppArmor: process.At("apparmorProfile").Text(), SELinux: process.At("selinuxLabel").Text(),
	}
	b.c = c
	if c.NoNewPrivs.State == manifest.Unset { // the JSON's default
		c.NoNewPrivs = manifest.Bool{}
	}
	uid, gid := process.At("user", "uid"), process.At("user", "gid")
	if uid.Exists() {
		c.User = uid.Text()
		if gid.Exists() && c.User.State == manifest.Known {
			c.User.V += ":" + gid.Value()
		}
	}
	c.Command, c.WorkDir = process.At("args").Args(yaml.Node.Text), process.At("cwd").Text()
	if c.Command.State != manifest.Unset {
		c.Entrypoint = manifest.Of([]manifest.Text{}, "", c.Command.At) // args are all of it
	}
	env := process.At("env")
	for i := range env.Len() {
		t := env.Item(i).Literal()
		key, value, _ := strings.Cut(t.V, "=")
		at := t.At
		c.Env = append(c.Env, manifest.Pair{Key: key, KeyAt: at, Value: manifest.Of(value, value, at)})
	}
	b.capabilities(process.At("capabilities"))
	b.linux()
	for i := range b.root.At("mounts").Len() {
		m := b.root.At("mounts").Item(i)
		mount := manifest.Mount{Type: m.At("type").Value(), Source: m.At("source").Text(), Target: m.At("destination").Text(), At: m.Pos()}
		options := m.At("options")
		for j := range options.Len() {
			switch options.Item(j).Value() {
			case "bind", "rbind":
				mount.Type = "bind"
			case "ro":
				mount.ReadOnly = manifest.Of(true, "ro", options.Item(j).Pos())
			}
		}
		c.Mounts = append(c.Mounts, mount)
	}
	annotations := b.root.At("annotations")
	for i := range annotations.Len() {
		e := annotations.Entry(i)
		c.Labels = append(c.Labels, manifest.Pair{Key: e.Key.Value(), KeyAt: e.Key.Pos(), Value: e.Value.Text()})
	}
}

func (b *bundle) capabilities(n yaml.Node) {
	state := &caps.State{}
	for _, l := range lists {
		list := n.At(l.key)
		if list.Exists() && !list.IsSequence() && !list.IsNull() {
			b.errs = append(b.errs, &manifest.Error{At: list.Pos(), Reason: "process.capabilities." + l.key + " is no list"})
			continue
		}
		for i := range list.Len() {
			item := list.Item(i)
			word := item.Text()
			b.c.Caps = append(b.c.Caps, manifest.Request{Set: l.set, Word: word, List: list.Pos()})
			// runc takes the names as the kernel has them, and warns of others
			// (libcontainer/capabilities/capabilities.go capSlice).
			if c, err := caps.ParseCap(word.V); err == nil && c.Name() == word.V {
				*l.of(state) = l.of(state).With(c)
			}
		}
	}
	b.c.Stated = state
}

// shared are the namespaces that a container has its own of, by the names of
// config-linux.md.
var shared = []struct{ typ, kind string }{{"pid", "pid"}, {"network", "net"}, {"ipc", "ipc"}, {"uts", "uts"}}

func (b *bundle) linux() {
	c, linux := b.c, b.root.At("linux")
	namespaces := linux.At("namespaces")
	at := map[string]yaml.Node{}
	for i := range namespaces.Len() {
		n := namespaces.Item(i)
		at[n.At("type").Value()] = n
	}
	for _, s := range shared {
		n, ok := at[s.typ]
		switch {
		case !ok:
			place := c.At
			if namespaces.Exists() {
				place = linux.Get("namespaces").Key.Pos()
			}
			c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: s.kind, With: manifest.Of("host", "", place)})
		case n.At("path").Exists():
			c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: s.kind, With: n.At("path").Text()})
		}
	}
	if n, ok := at["user"]; ok {
		c.Facts = append(c.Facts, manifest.Pair{Key: "user namespace", KeyAt: n.Pos(), Value: manifest.Of("own", "", n.Pos())})
	}
	if linux.Exists() {
		if s := linux.Get("seccomp"); !s.Exists() || s.Value.IsNull() {
			c.Seccomp = manifest.Of("unconfined", "", b.root.Get("linux").Key.Pos())
		} else {
			c.Seccomp = manifest.Of("localhost", "", s.Key.Pos())
		}
		if m := linux.Get("maskedPaths"); !m.Exists() || m.Value.Len() == 0 {
			c.ProcMount = manifest.Of("Unmasked", "", b.root.Get("linux").Key.Pos())
		}
	}
	devices := linux.At("devices")
	for i := range devices.Len() {
		d := devices.Item(i)
		c.Devices = append(c.Devices, manifest.Device{Host: d.At("path").Text(), Container: d.At("path").Text(), Rights: "rwm", At: d.Pos()})
	}
	sysctl := linux.At("sysctl")
	for i := range sysctl.Len() {
		e := sysctl.Entry(i)
		c.Sysctls = append(c.Sysctls, manifest.Pair{Key: e.Key.Value(), KeyAt: e.Key.Pos(), Value: e.Value.Text()})
	}
}

// wanted are the five sets of a want: all are the set, as `oci-runtime-tool generate
// --process-cap-drop-all --process-cap-add …` has them. But a user that is not root
// keeps no more in the inheritable and the ambient set than it had if that was nothing:
// the ambient set is what it would have at once.
func (b *bundle) wanted(set caps.Set) caps.State {
	s := caps.State{Bounding: set, Permitted: set, Effective: set, Inheritable: set, Ambient: set}
	uid, _, _ := strings.Cut(b.c.User.V, ":")
	if old := b.c.Stated; uid != "0" && uid != "" && old.Ambient.Empty() {
		s.Ambient, s.Inheritable = 0, old.Inheritable.Intersect(set)
	}
	return s
}

func edit(src manifest.Source, changes []manifest.Change) (edits []manifest.Edit, refusals []*manifest.Refusal) {
	for _, c := range changes {
		b, err := read(src)
		var list []manifest.Edit
		if err == nil {
			list, err = b.edit(c.Want)
		}
		if err != nil {
			refusals = append(refusals, &manifest.Refusal{Container: c.Container, Reason: err.Error()})
			continue
		}
		edits = append(edits, list...)
	}
	return edits, refusals
}

func (b *bundle) edit(w manifest.Want) ([]manifest.Edit, error) {
	if b.c == nil {
		return nil, errors.New("it has no process")
	}
	if err := b.doc.Doubtful([]string{"process"}); err != nil {
		return nil, err
	}
	e := yaml.NewEditor(b.doc)
	process := b.root.At("process")
	if w.Exactly != nil {
		if err := b.exactly(e, process, *w.Exactly); err != nil {
			return nil, err
		}
	} else if err := b.words(e, w); err != nil {
		return nil, err
	}
	if w.NoNewPrivs && !manifest.Is(b.c.NoNewPrivs, true) {
		e.Because("no new privileges")
		var err error
		if n := process.At("noNewPrivileges"); n.Exists() {
			err = e.SetPlain(n, "true")
		} else {
			err = e.Insert(process, []string{"rlimits", "capabilities", "cwd"}, yaml.Pair{Key: "noNewPrivileges", Value: yaml.Word("true")})
		}
		if err != nil {
			return nil, err
		}
	}
	return e.Edits(), nil
}

func (b *bundle) exactly(e *yaml.Editor, process yaml.Node, set caps.Set) error {
	want := b.wanted(set)
	if want == *b.c.Stated && b.clean() {
		return nil
	}
	e.Because(fmt.Sprintf("exactly %v", set))
	entry := process.Get("capabilities")
	if !entry.Exists() || !entry.Value.IsMapping() || entry.Value.Len() == 0 {
		var pairs []yaml.Pair
		for _, l := range lists {
			if s := *l.of(&want); !s.Empty() || l.key == "bounding" {
				pairs = append(pairs, yaml.Pair{Key: l.key, Value: yaml.List(s.Names()...)})
			}
		}
		if entry.Exists() {
			return e.SetNothing(entry, yaml.Map(pairs...))
		}
		if set.Empty() {
			return nil // without the object there are none
		}
		return e.Insert(process, []string{"cwd", "env"}, yaml.Pair{Key: "capabilities", Value: yaml.Map(pairs...)})
	}
	for _, l := range lists {
		if err := b.list(e, entry.Value, l.key, *l.of(&want)); err != nil {
			return fmt.Errorf("process.capabilities.%s: %w", l.key, err)
		}
	}
	return nil
}

// clean says that no list has a word that the runtime ignores.
func (b *bundle) clean() bool {
	for _, r := range b.c.Caps {
		if c, err := caps.ParseCap(r.Word.V); err != nil || c.Name() != r.Word.V {
			return false
		}
	}
	return true
}

func (b *bundle) list(e *yaml.Editor, m yaml.Node, key string, set caps.Set) error {
	var remove []int
	have := caps.Set(0)
	items := m.Get(key).Value
	for i := range items.Len() {
		c, err := caps.ParseCap(items.Item(i).Value())
		if err != nil || c.Name() != items.Item(i).Value() || !set.Has(c) || have.Has(c) {
			remove = append(remove, i)
			continue
		}
		have = have.With(c)
	}
	return e.SetList(m, key, []string{"permitted", "inheritable", "effective", "bounding"}, remove, set.Minus(have).Names())
}

// words corrects and removes single entries.
func (b *bundle) words(e *yaml.Editor, w manifest.Want) error {
	for _, l := range lists {
		n := b.root.At("process", "capabilities", l.key)
		var remove []int
		for i := range n.Len() {
			item := n.Item(i)
			for _, c := range w.Correct {
				if c.At == item.Pos() {
					e.Because("write " + c.Word)
					if err := e.SetWord(item, c.Word); err != nil {
						return err
					}
				}
			}
			for _, pos := range w.Remove {
				if pos == item.Pos() {
					remove = append(remove, i)
				}
			}
		}
		if len(remove) == 0 {
			continue
		}
		e.Because("remove what means nothing")
		err := error(nil)
		if len(remove) == n.Len() {
			err = e.Empty(b.root.At("process", "capabilities").Get(l.key))
		} else {
			err = e.SetItems(n, remove, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// verify has encoding/json read both, which shares nothing with the parser that the
// edits come from.
func verify(before, after manifest.Source, changes []manifest.Change) error {
	x, err := Parse(before)
	if err != nil && x == nil {
		return err
	}
	y, err := Parse(after)
	if err != nil && y == nil {
		return err
	}
	if err := manifest.Compare(x, y, changes); err != nil {
		return err
	}
	var values [2]map[string]any
	for i, src := range []manifest.Source{before, after} {
		if err := json.Unmarshal(bytes.TrimPrefix(src.Data, []byte("\ufeff")), &values[i]); err != nil {
			return err
		}
		process, _ := values[i]["process"].(map[string]any)
		for _, c := range changes {
			if c.Want.NoNewPrivs {
				delete(process, "noNewPrivileges")
			}
			if c.Want.Exactly != nil || len(c.Want.Correct) > 0 || len(c.Want.Remove) > 0 {
				delete(process, "capabilities")
			}
		}
	}
	if !reflect.DeepEqual(values[0], values[1]) {
		return errors.New("other values would change")
	}
	return nil
}
