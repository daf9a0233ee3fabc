package kube

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/yaml"
)

// Edit writes securityContext.capabilities and allowPrivilegeEscalation.
func Edit(src manifest.Source, changes []manifest.Change) ([]manifest.Edit, []*manifest.Refusal) {
	list, _ := parse(src)
	byPath := make(map[string]*found, len(list))
	for _, f := range list {
		byPath[f.Path] = f
	}
	return manifest.Guard(src, changes, Parse, func(c manifest.Change) ([]manifest.Edit, *manifest.Refusal) {
		f := byPath[c.Container.Path]
		if f == nil {
			return nil, &manifest.Refusal{Container: c.Container, Reason: "it is not in the file any more"}
		}
		return f.edit(c)
	})
}

// editor edits one container.
type editor struct {
	*yaml.Editor
	f      *found
	change manifest.Change
	sc     yaml.Node
	pairs  []yaml.Pair // to be put into the securityContext
}

func (f *found) edit(c manifest.Change) ([]manifest.Edit, *manifest.Refusal) {
	refuse := func(at manifest.Pos, format string, args ...any) *manifest.Refusal {
		return &manifest.Refusal{Container: c.Container, At: at, Reason: fmt.Sprintf(format, args...)}
	}
	if err := f.doc.Doubtful(join(f.path, "securityContext")); err != nil {
		e := manifest.Errors(err)[0]
		return nil, refuse(e.At, "%s", e.Reason)
	}
	w := c.Want
	privileged := f.Privileged.State != manifest.Unset && !manifest.Is(f.Privileged, false)
	if privileged && !w.Unprivileged {
		switch {
		case w.Exactly != nil:
			return nil, refuse(f.Privileged.At, "it is privileged, where capabilities mean nothing")
		case w.NoNewPrivs:
			// k8s.io/kubernetes pkg/apis/core/validation: ValidateSecurityContext
			return nil, refuse(f.Privileged.At, "Kubernetes does not start a privileged container without privilege escalation")
		}
	}
	if w.NoNewPrivs && f.willHave(w, caps.SysAdmin) {
		// kubernetes.io "Configure a Security Context for a Pod or Container":
		// allowPrivilegeEscalation is always true with CAP_SYS_ADMIN.
		return nil, refuse(f.At, "Kubernetes allows privilege escalation wherever SYS_ADMIN is added")
	}
	e := &editor{Editor: yaml.NewEditor(f.doc), f: f, change: c, sc: f.node.At("securityContext")}
	steps := []func() error{e.unprivileged, e.noNewPrivs, e.capabilities, e.insert}
	for _, step := range steps {
		if err := step(); err != nil {
			at := e.sc.Pos()
			if errs := manifest.Errors(err); len(errs) > 0 && !errs[0].At.IsZero() {
				return nil, refuse(errs[0].At, "%s", errs[0].Reason)
			}
			return nil, refuse(at, "%v", err)
		}
	}
	return e.Edits(), nil
}

// willHave says that the container asks for a capability once it is as wanted.
func (f *found) willHave(w manifest.Want, c caps.Cap) bool {
	if w.Exactly != nil {
		return w.Exactly.Has(c)
	}
	for _, r := range f.Caps {
		if one, _, err := r.Capability(); err == nil && r.Action == manifest.Add && one == c && !slices.Contains(w.Remove, r.Word.At) {
			return true
		}
	}
	return false
}

func (e *editor) unprivileged() error {
	if !e.change.Want.Unprivileged || e.f.Privileged.State == manifest.Unset || manifest.Is(e.f.Privileged, false) {
		return nil
	}
	e.Because("not privileged")
	return e.SetPlain(e.sc.At("privileged"), "false")
}

func (e *editor) noNewPrivs() error {
	if !e.change.Want.NoNewPrivs || manifest.Is(e.f.NoNewPrivs, true) {
		return nil
	}
	e.Because("no privilege escalation")
	entry := e.sc.Get("allowPrivilegeEscalation")
	switch {
	case !entry.Exists():
		e.pairs = append(e.pairs, yaml.Pair{Key: "allowPrivilegeEscalation", Value: yaml.Word("false")})
		return nil
	case entry.Value.IsNull():
		return e.SetNothing(entry, yaml.Word("false"))
	}
	return e.SetPlain(entry.Value, "false")
}

// capabilities makes the two lists what they should be.
func (e *editor) capabilities() error {
	w := e.change.Want
	if w.Exactly != nil {
		return e.exactly(*w.Exactly)
	}
	for _, c := range w.Correct {
		e.Because("write " + c.Word)
		n, err := e.word(c.At)
		if err != nil {
			return err
		}
		if err := e.SetWord(n, c.Word); err != nil {
			return err
		}
	}
	if len(w.Remove) == 0 {
		return nil
	}
	e.Because("remove")
	remove := map[string][]int{}
	for _, at := range w.Remove {
		key, i, err := e.find(at)
		if err != nil {
			return err
		}
		remove[key] = append(remove[key], i)
	}
	return e.lists(remove, nil)
}

func (e *editor) exactly(set caps.Set) error {
	plan, err := e.f.Plan(set, true)
	if err != nil || plan.Empty() {
		return err
	}
	e.Because("drop ALL, add " + strings.Join(set.Docker(), " "))
	if set.Empty() {
		e.Because("drop ALL")
	}
	entry := e.sc.Get("capabilities")
	full := []yaml.Pair{{Key: "drop", Value: yaml.List("ALL")}}
	if !set.Empty() {
		full = append(full, yaml.Pair{Key: "add", Value: yaml.List(set.Docker()...)})
	}
	switch {
	case !entry.Exists(), entry.Merged:
		// What a merge key brings is another place's; an entry of its own takes its place.
		e.pairs = append(e.pairs, yaml.Pair{Key: "capabilities", Value: yaml.Map(full...)})
		return nil
	case entry.Value.IsNull(), entry.Value.Len() == 0:
		return e.SetNothing(entry, yaml.Map(full...))
	}
	for _, c := range plan.Respell {
		n, err := e.word(c.At)
		if err != nil {
			return err
		}
		if err := e.SetWord(n, c.Word); err != nil {
			return err
		}
	}
	remove := map[string][]int{}
	for _, i := range plan.Remove {
		key, at, err := e.find(e.f.Caps[i].Word.At)
		if err != nil {
			return err
		}
		remove[key] = append(remove[key], at)
	}
	add := map[string][]string{}
	if plan.DropAll {
		add["drop"] = []string{"ALL"}
	}
	for _, c := range plan.Add {
		add["add"] = append(add["add"], c.Docker())
	}
	return e.lists(remove, add)
}

// lists takes items out of add and drop and puts words in; a list that is left with
// nothing goes, and what is left with nothing around it.
func (e *editor) lists(remove map[string][]int, add map[string][]string) error {
	entry := e.sc.Get("capabilities")
	m := entry.Value.Deref()
	var insert []yaml.Pair
	var gone []yaml.Entry
	for _, key := range []string{"drop", "add"} {
		l := m.Get(key)
		switch {
		case len(remove[key]) == 0 && len(add[key]) == 0:
		case !l.Exists():
			insert = append(insert, yaml.Pair{Key: key, Value: yaml.List(add[key]...)})
		case l.Value.IsNull(), l.Value.Len() == 0:
			if err := e.SetNothing(l, yaml.List(add[key]...)); err != nil {
				return err
			}
		case len(remove[key]) == l.Value.Len() && len(add[key]) == 0:
			gone = append(gone, l)
		default:
			slices.Sort(remove[key])
			if err := e.SetItems(l.Value.Deref(), remove[key], add[key]); err != nil {
				return err
			}
		}
	}
	switch {
	case len(gone) > 0 && len(gone) == m.Len() && len(insert) > 0:
		if len(gone) > 1 {
			return fmt.Errorf("its lists are to be replaced altogether")
		}
		return e.Replace(gone[0], insert...)
	case len(gone) > 0 && len(gone) == m.Len():
		return e.removeUp(entry)
	}
	for _, l := range gone {
		if err := e.Remove(l); err != nil {
			return err
		}
	}
	if len(insert) > 0 {
		return e.Insert(m, nil, insert...)
	}
	return nil
}

// removeUp removes an entry, or the one around it if it is alone there.
func (e *editor) removeUp(entry yaml.Entry) error {
	switch pairs := e.pairs; {
	case e.sc.Len() == 1 && len(pairs) > 0:
		e.pairs = nil
		return e.Replace(entry, pairs...)
	case e.sc.Len() == 1:
		return e.Remove(e.f.node.Get("securityContext"))
	}
	return e.Remove(entry)
}

// find says which item of which list a word is.
func (e *editor) find(at manifest.Pos) (key string, index int, err error) {
	m := e.sc.At("capabilities")
	for _, key := range []string{"drop", "add"} {
		list := m.At(key)
		for i := range list.Len() {
			if p := list.Item(i).Pos(); p.Start == at.Start && p.End == at.End {
				return key, i, nil
			}
		}
	}
	return "", 0, fmt.Errorf("there is no capability at byte %s", strconv.Itoa(at.Start))
}

func (e *editor) word(at manifest.Pos) (yaml.Node, error) {
	key, i, err := e.find(at)
	if err != nil {
		return yaml.Node{}, err
	}
	return e.sc.At("capabilities", key).Item(i), nil
}

// insert puts what is new into the securityContext, which it may have to make.
func (e *editor) insert() error {
	if len(e.pairs) == 0 {
		return nil
	}
	entry := e.f.node.Get("securityContext")
	switch {
	case !entry.Exists():
		return e.Insert(e.f.node.Deref(), []string{"imagePullPolicy", "image", "name"}, yaml.Pair{Key: "securityContext", Value: yaml.Map(e.pairs...)})
	case entry.Value.IsNull(), entry.Value.Len() == 0:
		return e.SetNothing(entry, yaml.Map(e.pairs...))
	}
	return e.Insert(entry.Value.Deref(), nil, e.pairs...)
}

// Verify has a second YAML parser read both, and allows only the securityContext of
// changed containers to differ.
func Verify(before, after manifest.Source, changes []manifest.Change) error {
	was, _ := parse(before)
	is, err := Parse(after)
	if err != nil {
		if _, old := Parse(before); old == nil {
			return err
		}
	}
	old := make([]*manifest.Container, len(was))
	for i, f := range was {
		old[i] = &f.Container
	}
	if err := manifest.Compare(old, is, changes); err != nil {
		return err
	}
	type place struct {
		document int
		path     string
	}
	allowed := map[place]bool{}
	wanted := manifest.ByPath(changes)
	for _, f := range was {
		if wanted[f.Path] == nil {
			continue
		}
		allowed[place{f.doc.Number, strings.Join(append(f.path, "securityContext"), "\x00")}] = true
	}
	return yaml.Verify(before, after, func(document int, path []string) bool {
		return allowed[place{document, strings.Join(path, "\x00")}]
	})
}
