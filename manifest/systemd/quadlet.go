package systemd

import (
	"errors"
	"path"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/manifest"
	"github.com/leastcap/leastcap/manifest/flags"
	"github.com/leastcap/leastcap/manifest/words"
)

func recogniseQuadlet(name string, data []byte) manifest.Likelihood {
	switch {
	case beginsWithSection(head(data)) && quadletHeader().Match(head(data)):
		return manifest.Sure
	case path.Ext(name) == ".pod" && !beginsWithSection(head(data)): // Perl's documentation
	case slices.Contains([]string{".container", ".pod", ".kube"}, path.Ext(name)):
		return manifest.Likely
	}
	return manifest.No
}

// quadlet is a .container file: podman-systemd.unit(5). Its settings are its own and those of
// its drop-ins, in their order, as Podman merges them (pkg/systemd/parser/unitfile.go Merge).
type quadlet struct {
	*unit
	c    *manifest.Container
	args int // how many of c.Caps, the last ones, are of PodmanArgs=
	errs []error
}

const containerSection = "Container"

func parseQuadlet(src manifest.Source) ([]*manifest.Container, error) {
	q, err := readQuadlet(src)
	if err != nil {
		return nil, err
	}
	if q.c == nil { // a pod, or a list of Kubernetes objects in another file
		return nil, errors.Join(q.errs...)
	}
	return []*manifest.Container{q.c}, errors.Join(q.errs...)
}

func readQuadlet(src manifest.Source) (*quadlet, error) {
	if err := manifest.CheckSize(src); err != nil {
		return nil, err
	}
	u, errs := readMerged(src)
	q := &quadlet{unit: u, errs: errs}
	if u.has(containerSection) && !ofUnitBeside(src) {
		q.container(src)
		if path.Ext(src.Name) == ".conf" {
			q.c.CapsWhy = "it is a drop-in, and what it is dropped into is another file"
			q.c.Kind = "drop-in"
		}
	}
	return q, nil
}

// readMerged reads a file of Quadlet's with its drop-ins.
func readMerged(src manifest.Source) (*unit, []error) {
	u, errs := parseUnit(src.Name, src.Data)
	for _, d := range dropIns(src) {
		other, more := parseUnit(d.name, d.data)
		u.settings, errs = append(u.settings, other.settings...), append(errs, more...)
	}
	return u, errs
}

// list are the words of all assignments of a key; an empty one takes back those before
// it (podman pkg/systemd/parser/unitfile.go LookupAllStrv).
func (u *unit) list(section, key string) (found []listed) {
	for _, a := range u.written(section, key) {
		for _, w := range splitWords(a.value) {
			found = append(found, listed{w, a})
		}
	}
	return found
}

type listed struct {
	words.Word
	of *setting
}

// fact makes a fact of it, or of a part.
func (l *listed) fact(from, to int) manifest.Text { return l.of.in.fact(&l.Word, from, to) }

// fact makes a fact of a word, or of a part of it.
func (u *unit) fact(w *words.Word, from, to int) manifest.Text {
	start, end := w.Range(from, to)
	if from == to || from == 0 && to == len(w.Text) {
		start, end = w.Start, w.End // with its quotes
	}
	at := u.lines.Pos(start, end)
	text := w.Text[from:to]
	if w.Why != "" && unknown(text) != "" {
		return manifest.NotKnown[string](text, w.Why, at)
	}
	return manifest.Of(text, text, at)
}

// args are the words of the last assignment of a key.
func (u *unit) args(section, key string) manifest.Args {
	all := u.all(section, key)
	if len(all) == 0 || len(all[len(all)-1].value.Bytes) == 0 {
		return manifest.Args{}
	}
	a := all[len(all)-1]
	return a.in.line(splitWords(a.value), a.at())
}

// line makes a command line of words.
func (u *unit) line(list []words.Word, at manifest.Pos) manifest.Args {
	args := make([]manifest.Text, len(list))
	for i := range list {
		if list[i].Many {
			return manifest.NotKnown[[]manifest.Text]("", list[i].Why, at)
		}
		args[i] = u.fact(&list[i], 0, len(list[i].Text))
	}
	return manifest.Of(args, "", at)
}

// environment is Environment= and EnvironmentFile=.
func (u *unit) environment(section string) []manifest.Pair {
	var list []manifest.Pair
	for _, l := range u.list(section, "Environment") {
		key, _, _ := strings.Cut(l.Text, "=")
		from := min(len(key)+1, len(l.Text))
		list = append(list, manifest.Pair{Key: key, KeyAt: l.fact(0, len(key)).At, Value: l.fact(from, len(l.Text))})
	}
	for _, a := range u.written(section, "EnvironmentFile") {
		list = append(list, manifest.Pair{KeyAt: a.at(), Value: manifest.NotKnown[string](a.text(), "it stands in the file "+a.text(), a.at())})
	}
	return list
}

func (q *quadlet) container(src manifest.Source) {
	u := q.unit
	at := u.lines.Pos(0, 0)
	for _, sec := range u.sections {
		if sec.name == containerSection {
			at = u.lines.Pos(sec.start, sec.start+len(sec.name)+2)
		}
	}
	text := func(key string) manifest.Text { return u.last(containerSection, key) }
	c := &manifest.Container{
		Format: "quadlet", Path: "container", Kind: "container", At: at,
		Name:   strings.TrimSuffix(path.Base(u.name), path.Ext(u.name)),
		Target: manifest.Target{Engines: []string{"podman"}, Why: "Podman's Quadlet makes it"},
		Image:  text("Image"), User: text("User"),
		NoNewPrivs:   u.boolean(containerSection, "NoNewPrivileges"),
		ReadOnlyRoot: u.boolean(containerSection, "ReadOnly"),
		Seccomp:      text("SeccompProfile"), AppArmor: text("AppArmor"), SELinux: text("SecurityLabelType"),
	}
	q.c = c
	if name, ok := text("ContainerName").Get(); ok {
		c.Name = name
	}
	if group := text("Group"); group.State == manifest.Known && c.User.State == manifest.Known {
		c.User.V += ":" + group.V
	}
	if manifest.Is(u.boolean(containerSection, "SecurityLabelDisable"), true) {
		t := text("SecurityLabelDisable")
		c.SELinux = manifest.Of("disable", t.Raw, t.At)
	}
	if all := text("Unmask"); strings.EqualFold(all.V, "all") {
		c.ProcMount = manifest.Of("Unmasked", all.Raw, all.At)
	}
	for _, key := range []string{"AddCapability", "DropCapability"} {
		for _, w := range u.list(containerSection, key) {
			r := manifest.Request{Word: w.fact(0, len(w.Text)), List: w.of.at()}
			if key == "DropCapability" {
				r.Action = manifest.Drop
			}
			c.Caps = append(c.Caps, r)
		}
	}
	c.Command, c.WorkDir = u.args(containerSection, "Exec"), text("WorkingDir")
	c.Env = u.environment(containerSection)
	// The same words as the flags that Quadlet makes of them.
	var list []listed
	put := func(a *setting, text string) {
		p := a.at()
		list = append(list, listed{words.New(text, text, p.Start, p.End, nil), a})
	}
	for _, k := range [][2]string{{"Volume", "volume"}, {"Mount", "mount"}, {"PublishPort", "publish"}, {"Network", "network"},
		{"AddDevice", "device"}, {"Tmpfs", "tmpfs"}, {"UserNS", "userns"}, {"Entrypoint", "entrypoint"}} {
		for _, a := range u.written(containerSection, k[0]) {
			put(a, "--"+k[1]+"="+a.text())
		}
	}
	for _, k := range [][2]string{{"Label", "label"}, {"Sysctl", "sysctl"}} {
		for _, w := range u.list(containerSection, k[0]) {
			put(w.of, "--"+k[1]+"="+w.Text)
		}
	}
	q.merge(list, false)
	q.merge(u.list(containerSection, "PodmanArgs"), true)
	if pod := text("Pod"); pod.State == manifest.Known && src.Open != nil {
		name := path.Join(path.Dir(u.name), pod.V)
		if data, err := src.Open(name); err == nil {
			own := src
			own.Name, own.Data = name, data
			p, _ := readMerged(own)
			for _, key := range []string{"Network", "UserNS"} {
				if t := p.last("Pod", key); t.V == "host" {
					c.Namespaces = append(c.Namespaces, manifest.Namespace{Kind: map[string]string{"Network": "net", "UserNS": "user"}[key], With: t})
				}
			}
		}
	}
}

// merge reads flags, with Podman's own table: those of each file by themselves, since a
// line's words have their places in one.
func (q *quadlet) merge(list []listed, podman bool) {
	for len(list) > 0 {
		u := list[0].of.in
		var args []words.Word
		for len(list) > 0 && list[0].of.in == u {
			args, list = append(args, list[0].Word), list[1:]
		}
		q.mergeFrom(u, args, podman)
	}
}

func (q *quadlet) mergeFrom(u *unit, args []words.Word, podman bool) {
	word := func(s string) words.Word { return words.New(s, s, args[0].Start, args[0].Start, nil) }
	all := slices.Concat([]words.Word{word("podman"), word("run")}, args, []words.Word{word("localhost/x")})
	v, err := flags.Parse(all, u.lines)
	if err != nil || v == nil || !podman && v.Line.ImageAt() != len(all)-1 {
		if err == nil {
			err = &manifest.Error{At: q.c.At, Reason: "flags that cannot be read"}
		}
		q.errs = append(q.errs, err)
		if podman {
			q.c.CapsWhy = "PodmanArgs= cannot be read"
		}
		return
	}
	q.args += len(v.Container.Caps)
	v.Onto(q.c)
}

func editQuadlet(src manifest.Source, changes []manifest.Change) (edits []manifest.Edit, refusals []*manifest.Refusal) {
	for _, c := range changes {
		q, err := readQuadlet(src)
		if err == nil && q.c == nil {
			err = errors.New("it is not in the file any more")
		}
		var list []manifest.Edit
		if err == nil {
			list, err = q.edit(c.Want)
		}
		if err != nil {
			refusals = append(refusals, refusal(c.Container, err))
			continue
		}
		edits = append(edits, list...)
	}
	return edits, refusals
}

func (q *quadlet) edit(w manifest.Want) ([]manifest.Edit, error) {
	c := q.c
	var edits []manifest.Edit
	remove := map[int]bool{}
	var add, drop []string
	if c.Privileged.State != manifest.Unset && (w.Exactly != nil || w.Unprivileged) && !manifest.Is(c.Privileged, false) {
		return nil, &refused{c.Privileged.At, "it is privileged, by PodmanArgs=", "take --privileged out of PodmanArgs="}
	}
	if w.Exactly != nil {
		p, err := c.Plan(*w.Exactly, false)
		if err != nil {
			return nil, err
		}
		for _, i := range p.Remove {
			remove[i] = true
		}
		if p.DropAll {
			drop = []string{"all"}
		}
		for _, one := range p.Add {
			add = append(add, one.Name())
		}
	}
	for _, pos := range w.Remove {
		i := slices.IndexFunc(c.Caps, func(r manifest.Request) bool { return r.Word.At == pos })
		if i < 0 {
			return nil, &refused{pos, "no capability stands there", ""}
		}
		remove[i] = true
	}
	for i := range remove {
		if i >= len(c.Caps)-q.args {
			return nil, &refused{c.Caps[i].Word.At, "it stands in PodmanArgs=", "use AddCapability= and DropCapability="}
		}
	}
	for _, x := range w.Correct {
		edits = append(edits, manifest.Edit{File: x.At.File, Start: x.At.Start, End: x.At.End, New: x.Word, Reason: "write " + x.Word})
	}
	edits = append(edits, q.lists(remove, drop, add)...)
	if w.NoNewPrivs && !manifest.Is(c.NoNewPrivs, true) {
		if list := q.all(containerSection, "NoNewPrivileges"); len(list) > 0 && c.NoNewPrivs.At == list[len(list)-1].at() {
			edits = append(edits, list[len(list)-1].put("true", "NoNewPrivileges=true"))
		} else if c.NoNewPrivs.State == manifest.Unset {
			edits = append(edits, q.insertBehind("NoNewPrivileges=true", "NoNewPrivileges"))
		} else {
			return nil, &refused{c.NoNewPrivs.At, "PodmanArgs= says otherwise", "take it out of PodmanArgs="}
		}
	}
	if err := reaches(q.name, edits); err != nil {
		return nil, err
	}
	return joined(edits), nil
}

// lists takes words out of the lists, and puts others in: into a list that stays, else
// as a new line.
func (q *quadlet) lists(remove map[int]bool, drop, add []string) []manifest.Edit {
	var edits []manifest.Edit
	own := q.c.Caps[:len(q.c.Caps)-q.args]
	for i, r := range own {
		if i > 0 && own[i-1].List == r.List {
			continue
		}
		var list []manifest.Pos
		var gone []bool
		left := false
		for j, o := range own {
			if o.List == r.List {
				list, gone = append(list, o.Word.At), append(gone, remove[j])
				left = left || !remove[j]
			}
		}
		if left {
			edits = append(edits, q.of(r.List).in.cuts(list, gone)...)
			continue
		}
		a := q.of(r.List)
		edits = append(edits, manifest.Edit{File: a.in.name, Start: a.start, End: a.end, Reason: "remove " + strings.TrimSpace(string(a.in.data[a.start:a.end]))})
	}
	put := func(action manifest.Action, key string, names []string) {
		if len(names) == 0 {
			return
		}
		reason := action.String() + " " + strings.Join(names, " ")
		last := -1
		for i, r := range own {
			if r.Action == action && !remove[i] {
				last = i
			}
		}
		if last >= 0 {
			file, at, text := own[last].Word.At.File, own[last].Word.At.End, " "+strings.Join(names, " ")
			if i := slices.IndexFunc(edits, func(o manifest.Edit) bool { return o.File == file && o.Start == at }); i >= 0 {
				edits[i].New, edits[i].Reason = text+edits[i].New, edits[i].Reason+", "+reason
				return
			}
			edits = append(edits, manifest.Edit{File: file, Start: at, End: at, New: text, Reason: reason})
			return
		}
		e := q.insertBehind(key+"="+strings.Join(names, " "), "DropCapability", "AddCapability")
		e.Reason = reason
		for i := range edits { // a line that goes makes room
			if o := &edits[i]; o.File == e.File && o.End == e.Start && o.New == "" && strings.HasPrefix(o.Reason, "remove "+key) {
				o.New, o.Reason = e.New, o.Reason+", "+reason
				return
			}
		}
		edits = append(edits, e)
	}
	put(manifest.Drop, "DropCapability", drop)
	put(manifest.Add, "AddCapability", add)
	return edits
}

// of is the assignment whose value stands at a place.
func (q *quadlet) of(at manifest.Pos) *setting {
	i := slices.IndexFunc(q.settings, func(s setting) bool { return len(s.value.Bytes) > 0 && s.at() == at })
	return &q.settings[i]
}

// insertBehind puts a line behind the last assignment of the keys in the file where it
// counts, else behind Image=, else at the section's end. It counts in the container's own
// file, unless a drop-in assigns the line's key: what that one says comes later, and an
// empty assignment takes back what was before.
func (q *quadlet) insertBehind(text string, keys ...string) manifest.Edit {
	key, _, _ := strings.Cut(text, "=")
	u := q.unit
	if list := q.all(containerSection, key); len(list) > 0 && list[len(list)-1].in.name != q.name {
		u = list[len(list)-1].in
	}
	at := -1
	in := func(a *setting) bool { return a.in.name == u.name }
	for _, key := range keys {
		for _, a := range q.all(containerSection, key) {
			if in(a) {
				at = max(at, a.end)
			}
		}
	}
	if list := q.all(containerSection, "Image"); at < 0 && len(list) > 0 && in(list[len(list)-1]) {
		at = list[len(list)-1].end
	}
	if at < 0 {
		return u.insert(containerSection, text, text)
	}
	eol := manifest.Newline(u.data, max(at-1, 0))
	line := text + eol
	if at > 0 && u.data[at-1] != '\n' {
		line = eol + text
	}
	return manifest.Edit{File: u.name, Start: at, End: at, New: line, Reason: text}
}
