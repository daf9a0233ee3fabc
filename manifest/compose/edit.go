package compose

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// Edit writes cap_drop, cap_add, security_opt and privileged. What a service has from an
// anchor or a merge key gets an entry of its own, which takes the other's place. The lists
// of an extended service are joined with its own; where they must not be, its own are
// tagged !override (docker compose 2.24.4 of 2024; compose-spec 13-merge.md).
func Edit(src manifest.Source, changes []manifest.Change) ([]manifest.Edit, []*manifest.Refusal) {
	p := load(src)
	byPath := map[string]*service{}
	extends := false
	for _, s := range p.services {
		byPath[s.Path] = s
		extends = extends || s.def.extends()
	}
	edit := func(isolate bool) ([]manifest.Edit, []*manifest.Refusal) {
		return manifest.Guard(src, changes, Parse, func(c manifest.Change) ([]manifest.Edit, *manifest.Refusal) {
			s := byPath[c.Container.Path]
			if s == nil {
				return nil, &manifest.Refusal{Container: c.Container, Reason: "it is not in the file any more"}
			}
			return s.edit(c, isolate)
		})
	}
	edits, refusals := edit(false)
	if len(refusals) == 0 || !extends {
		return edits, refusals
	}
	// A change of a service is one of all that extend it, unless those are made
	// independent of it.
	if apart, fewer := edit(true); len(fewer) < len(refusals) {
		return apart, fewer
	}
	return edits, refusals
}

// extends says that a service has something of one that it extends.
func (d *definition) extends() bool {
	return slices.ContainsFunc(d.layers, func(l layer) bool { return l.kind == "extends" })
}

// editor edits one service, in as many files as it has layers.
type editor struct {
	s       *service
	want    manifest.Want
	home    *layer // where new entries go: the strongest of its own
	editors map[*yaml.Document]*yaml.Editor
	isolate bool // its lists are to have nothing of the services that it extends
	reason  string
	pairs   []yaml.Pair // to be put into home
}

func (s *service) edit(c manifest.Change, isolate bool) ([]manifest.Edit, *manifest.Refusal) {
	refuse := func(at manifest.Pos, reason string) *manifest.Refusal {
		return &manifest.Refusal{Container: c.Container, At: at, Reason: reason}
	}
	w := c.Want
	if s.def.why != "" {
		return nil, refuse(s.At, s.def.why)
	}
	if w.Exactly != nil && !w.Unprivileged && s.Privileged.State != manifest.Unset && !manifest.Is(s.Privileged, false) {
		return nil, refuse(s.Privileged.At, "it is privileged, where capabilities mean nothing")
	}
	e := &editor{s: s, want: w, isolate: isolate && s.def.extends(), editors: map[*yaml.Document]*yaml.Editor{}}
	for i := range s.def.layers {
		l := &s.def.layers[i]
		if err := l.file.doc.Doubtful(l.path); err != nil {
			errs := manifest.Errors(err)
			return nil, refuse(errs[0].At, errs[0].Reason)
		}
		if l.kind != "extends" {
			e.home = l
		}
	}
	if e.home == nil {
		return nil, refuse(s.At, "it has no definition of its own")
	}
	for _, step := range []func() error{e.unprivileged, e.capabilities, e.noNewPrivs, e.insert} {
		if err := step(); err != nil {
			if errs := manifest.Errors(err); len(errs) > 0 && !errs[0].At.IsZero() {
				return nil, refuse(errs[0].At, errs[0].Reason)
			}
			return nil, refuse(s.At, err.Error())
		}
	}
	var edits []manifest.Edit
	for _, ed := range e.editors {
		edits = append(edits, ed.Edits()...)
	}
	return edits, nil
}

// in is the editor of a layer's file.
func (e *editor) in(f *file) *yaml.Editor {
	ed := e.editors[f.doc]
	if ed == nil {
		ed = yaml.NewEditor(f.doc)
		e.editors[f.doc] = ed
	}
	ed.Because(e.reason)
	return ed
}

// own is home's entry of a key, if it is written there and not merged from elsewhere.
func (e *editor) own(key string) yaml.Entry {
	entry := e.home.node.Get(key)
	if entry.Merged {
		return yaml.Entry{}
	}
	return entry
}

func (e *editor) unprivileged() error {
	if !e.want.Unprivileged || e.s.Privileged.State == manifest.Unset || manifest.Is(e.s.Privileged, false) {
		return nil
	}
	e.reason = "not privileged"
	entry := e.own("privileged")
	switch {
	case !entry.Exists():
		e.pairs = append(e.pairs, yaml.Pair{Key: "privileged", Value: yaml.Word("false")})
		return nil
	case entry.Value.IsNull():
		return e.in(e.home.file).SetNothing(entry, yaml.Word("false"))
	case entry.Value.IsAlias():
		return e.in(e.home.file).ReplaceAlias(entry, yaml.Word("false"))
	}
	return e.in(e.home.file).SetPlain(entry.Value, "false")
}

func (e *editor) capabilities() error {
	if e.want.Exactly != nil {
		return e.exactly(*e.want.Exactly)
	}
	correct := map[int]string{}
	for _, c := range e.want.Correct {
		i, err := e.find(c.At)
		if err != nil {
			return err
		}
		correct[i] = c.Word
	}
	var remove []int
	for _, at := range e.want.Remove {
		i, err := e.find(at)
		if err != nil {
			return err
		}
		remove = append(remove, i)
		delete(correct, i)
	}
	slices.Sort(remove)
	e.reason = "remove"
	for _, key := range []string{"cap_drop", "cap_add"} {
		if err := e.list(key, remove, nil, correct); err != nil {
			return err
		}
	}
	for _, i := range slices.Sorted(maps.Keys(correct)) {
		e.reason = "write " + correct[i]
		r := e.s.refs[i]
		if err := e.in(e.file(r)).SetWord(r.entry.Value.Item(r.index), correct[i]); err != nil {
			return err
		}
	}
	return nil
}

func (e *editor) file(r ref) *file { return e.s.def.layers[r.layer].file }

// find says which of the service's capabilities a word is.
func (e *editor) find(at manifest.Pos) (int, error) {
	for i, r := range e.s.Caps {
		if r.Word.At.File == at.File && r.Word.At.Start == at.Start {
			return i, nil
		}
	}
	return 0, fmt.Errorf("there is no capability at %s", at)
}

func (e *editor) exactly(set caps.Set) error {
	plan, err := e.s.Plan(set, false)
	if err != nil || plan.Empty() {
		return err
	}
	e.reason = "drop ALL, add " + strings.Join(set.Docker(), " ")
	if set.Empty() {
		e.reason = "drop ALL"
	}
	add := map[string][]string{}
	if plan.DropAll {
		add["cap_drop"] = []string{"ALL"}
	}
	spell := e.spelling(plan.Remove)
	for _, c := range plan.Add {
		add["cap_add"] = append(add["cap_add"], spell(c))
	}
	for _, key := range []string{"cap_drop", "cap_add"} {
		if err := e.list(key, plan.Remove, add[key], nil); err != nil {
			return err
		}
	}
	return nil
}

// spelling writes capabilities as the ones that stay are written, if these are of one
// mind: engines take all of them (moby daemon/pkg/oci/caps/utils.go
// NormalizeLegacyCapabilities).
func (e *editor) spelling(remove []int) func(caps.Cap) string {
	prefix, lower, n := 0, 0, 0
	for i, r := range e.s.Caps {
		if _, all, err := r.Capability(); err != nil || all || r.Action != manifest.Add || slices.Contains(remove, i) {
			continue
		}
		n++
		if strings.HasPrefix(strings.ToUpper(r.Word.V), "CAP_") {
			prefix++
		}
		if strings.ToLower(r.Word.V) == r.Word.V {
			lower++
		}
	}
	return func(c caps.Cap) string {
		word := c.Docker()
		if n > 0 && prefix == n {
			word = c.Name()
		}
		if n > 0 && lower == n {
			word = strings.ToLower(word)
		}
		return word
	}
}

// noNewPrivs is an option among the security options.
func (e *editor) noNewPrivs() error {
	if !e.want.NoNewPrivs || manifest.Is(e.s.NoNewPrivs, true) {
		return nil
	}
	const option = "no-new-privileges:true"
	e.reason = "no new privileges"
	if e.s.NoNewPrivs.State != manifest.Unset {
		// It is said to be false somewhere; that word is the one to change.
		for _, r := range e.s.def.all("security_opt") {
			for i := range r.entry.Value.Len() {
				if n := r.entry.Value.Item(i); n.Pos() == e.s.NoNewPrivs.At {
					return e.in(e.file(r)).SetWord(n, option)
				}
			}
		}
		return &manifest.Error{At: e.s.NoNewPrivs.At, Reason: e.s.NoNewPrivs.Why}
	}
	entry := e.home.node.Get("security_opt")
	switch {
	case !entry.Exists():
		e.pairs = append(e.pairs, yaml.Pair{Key: "security_opt", Value: yaml.List(option)})
		return nil
	case entry.Value.IsNull(), entry.Value.Len() == 0 && !entry.Merged && !entry.Value.IsAlias():
		return e.in(e.home.file).SetNothing(entry, yaml.List(option))
	case entry.Merged, entry.Value.IsAlias():
		var words []string
		for i := range entry.Value.Len() {
			words = append(words, entry.Value.Item(i).Value())
		}
		words = append(words, option)
		if slices.ContainsFunc(words, func(w string) bool { return !plainWord().MatchString(w) }) {
			return errors.New("security_opt has words that would need quotes")
		}
		if entry.Merged {
			e.pairs = append(e.pairs, yaml.Pair{Key: "security_opt", Value: yaml.List(words...)})
			return nil
		}
		return e.in(e.home.file).ReplaceAlias(entry, yaml.List(words...))
	}
	return e.in(e.home.file).SetItems(entry.Value, nil, []string{option})
}

// insert puts new entries into home, near those that belong to them.
func (e *editor) insert() error {
	if len(e.pairs) == 0 {
		return nil
	}
	n := e.home.node
	if n.IsNull() {
		return errors.New("its mapping is empty")
	}
	return e.in(e.home.file).Insert(n.Deref(), []string{"cap_add", "cap_drop", "privileged", "security_opt", "image", "build", "container_name"}, e.pairs...)
}

// Verify has a second YAML parser read all files that differ, and allows only the four
// keys of changed services to.
func Verify(before, after manifest.Source, changes []manifest.Change) error {
	was, is := load(before), load(after)
	if len(is.errs) > len(was.errs) {
		return errors.Join(is.errs...)
	}
	containers := func(p *project) []*manifest.Container {
		list := make([]*manifest.Container, len(p.services))
		for i, s := range p.services {
			list[i] = &s.Container
		}
		return list
	}
	if err := manifest.Compare(containers(was), containers(is), changes); err != nil {
		return err
	}
	allowed := map[string]map[string]bool{} // by file
	allow := func(f *file, path []string, more ...string) {
		if path == nil {
			return
		}
		if allowed[f.name] == nil {
			allowed[f.name] = map[string]bool{}
		}
		allowed[f.name][strings.Join(append(slices.Clone(path), more...), "\x00")] = true
	}
	wanted := manifest.ByPath(changes)
	for _, s := range was.services {
		if wanted[s.Path] == nil {
			continue
		}
		for _, l := range s.def.layers {
			for _, key := range []string{"cap_add", "cap_drop", "security_opt", "privileged"} {
				allow(l.file, l.path, key)
				allow(l.file, l.file.doc.PathOf(l.node.Deref()), key)
				if e := l.node.Get(key); e.Exists() {
					allow(l.file, l.file.doc.PathOf(e.In), key)
					allow(l.file, l.file.doc.PathOf(e.Value.Deref()))
				}
			}
		}
	}
	for name, f := range is.files {
		old := was.files[name]
		if f == nil || old == nil {
			continue
		}
		a := manifest.Source{Name: name, Data: old.doc.File().Data}
		b := manifest.Source{Name: name, Data: f.doc.File().Data}
		err := yaml.Verify(a, b, func(_ int, path []string) bool { return allowed[name][strings.Join(path, "\x00")] })
		if err != nil {
			return err
		}
	}
	return nil
}
