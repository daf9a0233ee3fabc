// Package reading has what a format's own tool reads of a file before and after an edit,
// and says whether that is what was meant. The tool is another program, or one of many
// packages that this one does without; [Request] and [Answer] are what is said between.
package reading

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

// Protocol is the version of [Hello], [Request] and [Answer]. Another one is another
// language: fields are added to none of them without a new number.
const Protocol = 1

// A Hello is the first line that the other program writes.
type Hello struct {
	Protocol int
	Version  string            // of the program, as `leastcap --version` has it
	Tools    map[string]string // by format, what reads it: "compose-go v2.16.2"
}

// A Request asks for one definition: a file, with the others that belong to it.
type Request struct {
	ID     int
	Format string // [manifest.Format]'s Name
	Files  []File
}

// A File is one of a request.
type File struct {
	Name          string // absolute
	Role          Role   `json:",omitempty"`
	Before, After []byte `json:",omitempty"`
	// Same says that After is Before, and was left out.
	Same bool `json:",omitempty"`
}

// Data is what the file has before or after the edit.
func (f *File) Data(after bool) []byte {
	if after && !f.Same {
		return f.After
	}
	return f.Before
}

// A Role says what a file is for.
type Role string

const (
	Main  Role = "main"  // the definition; of several those behind the first are put over it
	Env   Role = "env"   // variables, as of .env
	Other Role = "other" // one that these name
)

// An Answer is what the tool reads.
type Answer struct {
	ID            int
	Before, After Reading
	// Changed are the paths of what differs between the two beside what a [Container] has.
	// What is there is not said: it may be a secret.
	Changed []string `json:",omitempty"`
	// Whole says that it knows every container of such a file. Of Kubernetes' manifests some
	// are of resources that nobody but their own controller knows.
	Whole bool `json:",omitempty"`
	// Err says why the tool could not be asked; nothing else counts then.
	Err string `json:",omitempty"`
}

// A Reading is what a tool reads at one time.
type Reading struct {
	Containers []Container `json:",omitempty"`
	// Problems are what it does not take.
	Problems []Problem `json:",omitempty"`
}

// A Problem is what a tool refuses, or warns of.
type Problem struct {
	Document int // from 1; 0 where there is but one
	Text     string
	// Unread says that nothing of the document is known for it.
	Unread bool `json:",omitempty"`
}

// A Container is what the tool reads of one.
type Container struct {
	// Path is [manifest.Container]'s, without the number of a document; Owner tells those of
	// several documents apart.
	Path, Owner string
	Name        string
	Add, Drop   []string // as they are written there
	// State are the five sets, of a format that states them.
	State      *caps.State `json:",omitempty"`
	Privileged bool
	NoNewPrivs bool
	// Refused are the checks of Pod Security Admission that refuse the pod it is in:
	// "baseline/privileged".
	Refused []string `json:",omitempty"`
}

// Owner is how a container's owner is told apart.
func Owner(o *manifest.Owner) string {
	if o == nil {
		return ""
	}
	return strings.Join([]string{o.Kind, o.Namespace, o.Name}, "/")
}

// Disagreement is a tool's reading that is not what was meant.
type Disagreement struct {
	Tool      string
	Container *manifest.Container // nil if it is of none
	Reason    string
}

func (d *Disagreement) Error() string { return d.Tool + " " + d.Reason }

// An UnreadError says that a tool could not read what was there before the edit, either, so
// that it has nothing to compare.
type UnreadError struct{ Reason string }

func (e *UnreadError) Error() string { return "it could not be read before the edit: " + e.Reason }

// A Verdict is what follows from an answer where the tool does not disagree.
type Verdict struct {
	// Heard are the paths of the changed containers that the tool read as they are meant.
	Heard []string
	// Refused are pods that Pod Security Admission would refuse from now on, because of what
	// was wanted, by container.
	Refused map[string][]string
	// Unread says why the others were not read before the edit, either, "" if nothing was wrong
	// with them: they are resources that the tool does not know.
	Unread string
	// Read is what the tool reads of each container that it knows, after the edit.
	Read map[*manifest.Container]*Container
}

// Judge holds a tool's reading against what was meant: after are the containers as the
// format's own parser reads them once they are changed. Its error is a [*Disagreement], or
// an [*UnreadError] with the tool's words.
func Judge(tool string, a *Answer, after []*manifest.Container, changes []manifest.Change) (*Verdict, error) {
	disagree := func(c *manifest.Container, format string, args ...any) error {
		return &Disagreement{tool, c, fmt.Sprintf(format, args...)}
	}
	before := map[Problem]bool{}
	var unread *Problem
	for i, p := range a.Before.Problems {
		before[p.known()] = true
		if p.Unread && unread == nil {
			unread = &a.Before.Problems[i]
		}
	}
	for _, p := range a.After.Problems {
		if !before[p.known()] {
			return nil, disagree(nil, "would not take it any more: %s", p)
		}
	}
	if i := slices.IndexFunc(a.Before.Problems, func(p Problem) bool { return p.Unread && p.Document == 0 }); i >= 0 {
		return nil, &UnreadError{a.Before.Problems[i].Text}
	}
	if len(a.Changed) > 0 {
		return nil, disagree(nil, "reads a change that was not meant: %s", strings.Join(a.Changed[:min(3, len(a.Changed))], ", "))
	}
	if b, n := len(a.Before.Containers), len(a.After.Containers); b != n {
		return nil, disagree(nil, "reads %d containers where there were %d", n, b)
	}
	v := &Verdict{Refused: map[string][]string{}, Read: map[*manifest.Container]*Container{}}
	ours := match(after, a.After.Containers)
	wanted, heard := manifest.ByPath(changes), map[string]bool{}
	for i := range a.After.Containers {
		was, is, c := &a.Before.Containers[i], &a.After.Containers[i], ours[i]
		if was.Path != is.Path || was.Owner != is.Owner {
			return nil, disagree(c, "reads %s where %s was", is.Path, was.Path)
		}
		var want *manifest.Want
		if c != nil {
			v.Read[c] = is
			if change := wanted[c.Path]; change != nil {
				want = &change.Want
			}
		}
		if want == nil {
			if what := differs(was, is); what != "" {
				return nil, disagree(c, "reads another %s of %s, which was not to change", what, is.Name)
			}
			continue
		}
		if reason := meant(was, is, c, want); reason != "" {
			return nil, disagree(c, "%s", reason)
		}
		v.Heard = append(v.Heard, c.Path)
		heard[c.Path] = true
		if more := minus(is.Refused, was.Refused); len(more) > 0 {
			v.Refused[c.Path] = more
		}
	}
	for _, change := range changes {
		if heard[change.Container.Path] {
			continue
		}
		if a.Whole {
			return nil, disagree(change.Container, "reads no %s", change.Container.Path)
		}
		if unread != nil {
			v.Unread = unread.String()
		}
	}
	capable := map[string]bool{} // owners with a container that is wanted to have some
	for i, c := range ours {
		if c == nil {
			continue
		}
		if change := wanted[c.Path]; change != nil && change.Want.Exactly != nil && !change.Want.Exactly.Empty() {
			capable[a.After.Containers[i].Owner] = true
		}
	}
	for i := range a.After.Containers {
		// A pod is refused for any of its containers, and may be because of capabilities that
		// one is wanted to have.
		is := &a.After.Containers[i]
		for _, check := range minus(is.Refused, a.Before.Containers[i].Refused) {
			if !strings.Contains(check, "capabilities") || !capable[is.Owner] {
				return nil, disagree(ours[i], "would refuse the pod of %s from now on (%s)", is.Name, check)
			}
		}
	}
	return v, nil
}

// known is what a problem is known by when it is there again. Where a document could not be
// read, the reason may name another line than before.
func (p Problem) known() Problem {
	if p.Unread {
		p.Text = ""
	}
	return p
}

func (p Problem) String() string {
	if p.Document > 0 {
		return "document " + strconv.Itoa(p.Document) + ": " + p.Text
	}
	return p.Text
}

// match finds our container for each of a tool's; nil where there is none. Of several of one
// path and owner each stands for the next. Where there is but one document no owner is needed.
func match(ours []*manifest.Container, theirs []Container) []*manifest.Container {
	type key struct{ path, owner string }
	of := map[key][]*manifest.Container{}
	for _, c := range ours {
		path := c.Path
		if strings.HasPrefix(path, "#") {
			_, path, _ = strings.Cut(path, " ")
		}
		k := key{path: path}
		if c.Format == "kubernetes" {
			k.owner = Owner(c.Owner)
		}
		of[k] = append(of[k], c)
	}
	found := make([]*manifest.Container, len(theirs))
	for i := range theirs {
		k := key{theirs[i].Path, theirs[i].Owner}
		if list := of[k]; len(list) > 0 {
			found[i], of[k] = list[0], list[1:]
		}
	}
	return found
}

// differs names what a tool reads differently, "" if nothing.
func differs(a, b *Container) string {
	switch {
	case !slices.Equal(a.Add, b.Add):
		return "list of capabilities to add"
	case !slices.Equal(a.Drop, b.Drop):
		return "list of capabilities to drop"
	case !reflect.DeepEqual(a.State, b.State):
		return "set of capabilities"
	case a.Privileged != b.Privileged:
		return "privileged"
	case a.NoNewPrivs != b.NoNewPrivs:
		return "no_new_privs"
	}
	return ""
}

// meant says what a tool reads of a changed container that was not meant, "" if it is.
func meant(was, is *Container, c *manifest.Container, w *manifest.Want) string {
	if w.Exactly == nil && len(w.Correct) == 0 && len(w.Remove) == 0 {
		unchanged := *is
		unchanged.Privileged, unchanged.NoNewPrivs = was.Privileged, was.NoNewPrivs
		if what := differs(was, &unchanged); what != "" {
			return fmt.Sprintf("reads another %s of %s, which was not to change", what, c.Name)
		}
	}
	switch {
	case w.NoNewPrivs && !is.NoNewPrivs:
		return fmt.Sprintf("reads no no_new_privs of %s, which was meant to have it", c.Name)
	case !w.NoNewPrivs && is.NoNewPrivs != was.NoNewPrivs:
		return fmt.Sprintf("reads another no_new_privs of %s, which was not to change", c.Name)
	case w.Unprivileged && is.Privileged:
		return fmt.Sprintf("reads %s as privileged, which was meant to end", c.Name)
	case !w.Unprivileged && is.Privileged != was.Privileged:
		return fmt.Sprintf("reads another privileged of %s, which was not to change", c.Name)
	}
	if c.Stated != nil {
		switch {
		case is.State == nil || *is.State != *c.Stated:
			return fmt.Sprintf("reads %s of %s, where %s was meant", state(is.State), c.Name, state(c.Stated))
		case w.Exactly != nil && is.State.Bounding != *w.Exactly:
			return fmt.Sprintf("reads %v of %s, where %v was meant", is.State.Bounding, c.Name, *w.Exactly)
		}
		return ""
	}
	var add, drop []string
	for _, r := range c.Caps {
		word, ok := r.Word.Get()
		if !ok {
			return "" // its lists are not changed
		}
		if r.Action == manifest.Drop {
			drop = append(drop, word)
		} else {
			add = append(add, word)
		}
	}
	if !alike(add, is.Add) || !alike(drop, is.Drop) {
		return fmt.Sprintf("reads %s of %s, where %s was meant", lists(is.Add, is.Drop), c.Name, lists(add, drop))
	}
	if w.Exactly != nil {
		set, all, err := caps.ParseList(is.Add)
		dropped, dropAll, derr := caps.ParseList(is.Drop)
		if err != nil || derr != nil || all || set != *w.Exactly || !dropAll || !dropped.Intersect(set).Empty() {
			return fmt.Sprintf("reads %s of %s, where exactly %v was meant", lists(is.Add, is.Drop), c.Name, *w.Exactly)
		}
	}
	return ""
}

// alike compares without order and repetition: no engine minds either.
func alike(a, b []string) bool {
	set := func(list []string) []string { return slices.Compact(slices.Sorted(slices.Values(list))) }
	return slices.Equal(set(a), set(b))
}

func lists(add, drop []string) string {
	return fmt.Sprintf("add %v, drop %v", add, drop)
}

func state(s *caps.State) string {
	if s == nil {
		return "no sets"
	}
	return fmt.Sprintf("bounding %v, effective %v, permitted %v, inheritable %v, ambient %v", s.Bounding, s.Effective, s.Permitted, s.Inheritable, s.Ambient)
}

func minus(a, b []string) []string {
	return slices.DeleteFunc(slices.Clone(a), func(s string) bool { return slices.Contains(b, s) })
}

// Everything is the path of all of a value.
const Everything = "all of it"

// Difference is the first path where two values, made of maps, lists and what JSON has beside
// them, differ; "" if none is.
func Difference(a, b any) string {
	switch path, differ := difference(a, b); {
	case !differ:
		return ""
	case len(path) == 0:
		return Everything
	default:
		return strings.Join(path, ".")
	}
}

func difference(a, b any) (path []string, differ bool) {
	switch x := a.(type) {
	case map[string]any:
		y, ok := b.(map[string]any)
		if !ok {
			return nil, true
		}
		keys := map[string]any{}
		maps.Copy(keys, x)
		maps.Copy(keys, y)
		for _, k := range slices.Sorted(maps.Keys(keys)) {
			v, in := x[k]
			w, there := y[k]
			if in != there {
				return []string{k}, true
			}
			if p, differ := difference(v, w); differ {
				return append([]string{k}, p...), true
			}
		}
		return nil, false
	case []any:
		y, ok := b.([]any)
		if !ok || len(x) != len(y) {
			return nil, true
		}
		for i := range x {
			if p, differ := difference(x[i], y[i]); differ {
				return append([]string{strconv.Itoa(i)}, p...), true
			}
		}
		return nil, false
	}
	return nil, !reflect.DeepEqual(a, b)
}
