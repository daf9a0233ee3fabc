package line

import (
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
)

// Rewrite says how [Line.Create] changes a line. The zero value changes only
// what a create line cannot have.
type Rewrite struct {
	// Labels (KEY=VALUE) are added.
	Labels []string
	// Caps replaces --cap-add, --cap-drop and --privileged by exactly this
	// set. Nil leaves them as they are: the baseline.
	Caps *caps.Set
	// Unconfined gives a line whose --privileged is replaced what that gave
	// beside capabilities, as far as flags can: no seccomp, AppArmor or label
	// confinement, no masked paths, any device. (Not the host's device nodes
	// themselves, nor a writable /sys.) A --security-opt of the user's own on
	// one of these stays, as it does with --privileged. It means nothing on a
	// line without --privileged, or without Caps.
	Unconfined bool
	// Fresh puts anonymous volumes in the place of named ones.
	Fresh bool
	// VolumesFrom is a container whose volumes are taken, in place of the line's
	// own that have a name.
	VolumesFrom string
	// Drop names more flags of the verb to leave out ("name", "publish").
	Drop []string
}

// takenOver are the flags that create may have and leastcap deals with itself:
// it attaches, removes, restarts and notes the ID.
var takenOver = []string{"detach", "rm", "sig-proxy", "detach-keys", "attach", "cidfile", "restart"}

// capFlags are the flags that decide over capabilities.
var capFlags = []string{"cap-add", "cap-drop", "privileged"}

// Create returns the create line that makes the container which the line would
// run. Flags that only run has (detach, Podman's --rmi …) are left out, and
// those that leastcap takes over: rm, restart, cidfile, attach. All else
// stays, in its order.
func (l *Line) Create(o Rewrite) []string {
	drop := l.table.runOnly()
	for _, name := range slices.Concat(takenOver, o.Drop) {
		drop[name] = true
	}
	r := rewriting{verb: verbCreate, drop: drop}
	for _, label := range o.Labels {
		r.afterVerb = append(r.afterVerb, "--label", label)
	}
	if o.Fresh || o.VolumesFrom != "" {
		r.leaveOut = func(f *Flag) bool {
			v, ok := f.Volume()
			return ok && v.Named()
		}
	}
	switch {
	case o.VolumesFrom != "":
		r.afterVerb = append(r.afterVerb, "--volumes-from", o.VolumesFrom)
	case o.Fresh:
		for i := range l.Flags {
			if v, ok := l.Flags[i].Volume(); ok && v.Named() {
				r.afterVerb = append(r.afterVerb, "--mount", v.anonymous())
			}
		}
	}
	if o.Caps != nil {
		r.replaceCaps, r.caps = true, l.capWords(*o.Caps, o.Unconfined)
	}
	return l.render(r)
}

// Recommend returns the user's own line, with --detach, --rm, --name and all
// else in place, and its capability flags replaced by --cap-drop ALL and one
// --cap-add for each member of the set, where the first of them stood or
// behind the verb. For unconfined see [Rewrite].
func (l *Line) Recommend(set caps.Set, unconfined bool) []string {
	return l.render(rewriting{verb: l.Verb, replaceCaps: true, caps: l.capWords(set, unconfined)})
}

// capWords spells a set as flags, in order of name.
func (l *Line) capWords(set caps.Set, unconfined bool) []string {
	words := []string{"--cap-drop=ALL"}
	for _, name := range slices.Sorted(slices.Values(set.Docker())) {
		words = append(words, "--cap-add="+name)
	}
	if unconfined && l.Privileged() {
		words = append(words, l.unconfinedWords()...)
	}
	return words
}

// unconfinedWords are the flags for what --privileged gives beside
// capabilities. nerdctl has neither label nor device rules (its
// docs/command-reference.md, "Unimplemented docker run flags").
func (l *Line) unconfinedWords() []string {
	opts := []string{"seccomp=unconfined", "apparmor=unconfined", "label=disable", "systempaths=unconfined"}
	switch l.Engine {
	case "podman":
		opts[3] = "unmask=ALL"
	case "nerdctl":
		opts = slices.Delete(opts, 2, 3)
	}
	var words []string
	for _, opt := range opts {
		if !l.hasSecurityOpt(opt) {
			words = append(words, "--security-opt", opt)
		}
	}
	if l.Engine != "nerdctl" {
		words = append(words, "--device-cgroup-rule", "a *:* rwm")
	}
	return words
}

// hasSecurityOpt reports whether the user set an option of the same kind.
// Docker also takes "seccomp:unconfined", the spelling before 1.11.
func (l *Line) hasSecurityOpt(opt string) bool {
	kind, _, _ := strings.Cut(opt, "=")
	return slices.ContainsFunc(l.SecurityOpt(), func(own string) bool {
		return strings.HasPrefix(own, kind+"=") || strings.HasPrefix(own, kind+":")
	})
}

// rewriting is what render does to a line.
type rewriting struct {
	verb        string
	drop        map[string]bool  // flags of the verb to leave out
	leaveOut    func(*Flag) bool // and some by more than their name; may be nil
	afterVerb   []string         // words to put in behind the verb
	replaceCaps bool             // leave the capability flags out …
	caps        []string         // … and put these in their place
}

// render puts the words together again.
func (l *Line) render(r rewriting) []string {
	out := slices.Concat(l.Prefix, []string{l.Program}, l.Global, l.command[:len(l.command)-1], []string{r.verb}, r.afterVerb)
	behindVerb := len(out)
	placed := !r.replaceCaps
	for _, g := range l.groups {
		keep := make([]bool, g.count)
		for i := range keep {
			f := &l.Flags[g.first+i]
			isCap := r.replaceCaps && !f.Global && slices.Contains(capFlags, f.Name)
			keep[i] = !isCap && (f.Global || !r.drop[f.Name] && (r.leaveOut == nil || !r.leaveOut(f)))
			if isCap && !placed {
				out = append(out, r.caps...)
				placed = true
			}
		}
		out = append(out, g.without(keep)...)
	}
	if !placed {
		out = slices.Insert(out, behindVerb, r.caps...)
	}
	if l.dash {
		out = append(out, "--")
	}
	out = append(out, l.Image)
	return append(out, l.Command...)
}

// without returns the words of the group with only the flags to keep: of -itd
// without d remains -it, of -dp 80:80 without p (and its value) -d.
func (g *group) without(keep []bool) []string {
	if !slices.Contains(keep, false) {
		return g.words
	}
	if !slices.Contains(keep, true) {
		return nil
	}
	// More than one flag: letters, of which the last has the rest of the word
	// and the next word.
	var word strings.Builder
	word.WriteByte('-')
	for i := range keep {
		end := 2 + i
		if i == len(keep)-1 {
			end = len(g.words[0])
		}
		if keep[i] {
			word.WriteString(g.words[0][1+i : end])
		}
	}
	words := []string{word.String()}
	if keep[len(keep)-1] {
		words = append(words, g.words[1:]...)
	}
	return words
}
