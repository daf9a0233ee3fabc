package systemd

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/leastcap/leastcap/caps"
	"github.com/leastcap/leastcap/manifest"
)

// refused is a reason with a hint and a place.
type refused struct {
	at     manifest.Pos
	reason string
	hint   string
}

func (r *refused) Error() string { return r.reason }

// refusal makes one for a container.
func refusal(c *manifest.Container, err error) *manifest.Refusal {
	r := &manifest.Refusal{Container: c, Reason: err.Error()}
	var e *refused
	if errors.As(err, &e) {
		r.At, r.Hint = e.at, e.hint
	}
	return r
}

func editService(src manifest.Source, changes []manifest.Change) (edits []manifest.Edit, refusals []*manifest.Refusal) {
	s, err := readService(src)
	for _, c := range changes {
		if err != nil {
			refusals = append(refusals, refusal(c.Container, err))
			continue
		}
		if c.Container.Path == "unit" {
			list, err := s.edit(c)
			if err != nil {
				refusals = append(refusals, refusal(c.Container, err))
			}
			edits = append(edits, list...)
			continue
		}
		found := s.invocations()
		i := slices.IndexFunc(found, func(v invocation) bool { return v.Container.Path == c.Container.Path })
		if i < 0 {
			refusals = append(refusals, refusal(c.Container, errors.New("it is not in the file any more")))
			continue
		}
		plan, no := found[i].Plan(c.Container, c.Want)
		if no != nil {
			refusals = append(refusals, no)
			continue
		}
		edits = append(edits, found[i].Edits(found[i].unit.name, found[i].unit.data, plan)...)
	}
	return edits, refusals
}

// edit changes the settings of the unit itself.
func (s *service) edit(ch manifest.Change) ([]manifest.Edit, error) {
	c, w := s.container(), ch.Want
	var edits []manifest.Edit
	if w.Exactly != nil {
		list, err := s.exactly(c, *w.Exactly)
		if err != nil {
			return nil, err
		}
		edits = append(edits, list...)
	}
	list, err := s.words(c, w)
	if err != nil {
		return nil, err
	}
	edits = append(edits, list...)
	if w.NoNewPrivs && !manifest.Is(c.NoNewPrivs, true) {
		list, err := s.assign("NoNewPrivileges", s.yes())
		if err != nil {
			return nil, err
		}
		edits = append(edits, list...)
	}
	if err := reaches(s.files[0].name, edits); err != nil {
		return nil, err
	}
	return joined(edits), nil
}

// reaches refuses edits of drop-ins that other units have, too.
func reaches(unit string, edits []manifest.Edit) error {
	for _, e := range edits {
		if e.File != unit && path.Base(path.Dir(e.File)) != path.Base(unit)+".d" {
			return &refused{manifest.Pos{File: e.File}, "the drop-in " + e.File + " is for other units, too (" + e.Reason + ")",
				"change it by hand, or take it back in a drop-in of this one alone, whose name sorts behind: " + unit + ".d/zz.conf"}
		}
	}
	return nil
}

// exactly writes the bounding set, and takes what is not in it from the ambient one,
// which the bounding set does not limit at an exec (capabilities(7), P'(permitted)).
func (s *service) exactly(c *manifest.Container, set caps.Set) ([]manifest.Edit, error) {
	for _, t := range takers {
		b := s.boolean(t.key)
		if lost := t.set.Intersect(set); !lost.Empty() && b.State != manifest.Unset && !manifest.Is(b, false) {
			return nil, &refused{b.At, fmt.Sprintf("%s=%s takes %v away", t.key, b.Raw, lost), "set it to no, if that is really needed"}
		}
	}
	for _, r := range c.Caps {
		if r.Word.State == manifest.Unknown {
			return nil, &refused{r.Word.At, r.Word.Why, ""}
		}
	}
	if c.CapsWhy != "" && c.Kind != "drop-in" {
		return nil, &refused{c.At, c.CapsWhy, ""}
	}
	var edits []manifest.Edit
	if c.Stated.Bounding != set {
		list, err := s.assign("CapabilityBoundingSet", strings.Join(set.Names(), " "))
		if err != nil {
			return nil, err
		}
		edits = list
	}
	if less := c.Stated.Ambient.Intersect(set); less != c.Stated.Ambient {
		list, err := s.assign("AmbientCapabilities", strings.Join(less.Names(), " "))
		if err != nil {
			return nil, err
		}
		edits = append(edits, list...)
	}
	return edits, nil
}

// lists are the settings whose assignments add up, and which an empty one takes back.
var lists = map[string]bool{"CapabilityBoundingSet": true, "AmbientCapabilities": true}

// assign gives a key one value, in the last file that assigns it: its last assignment there
// is changed, and its others there go. What files before that assign of a list is taken back
// by an empty assignment. Without any a line is put into the section.
func (s *service) assign(key, value string) ([]manifest.Edit, error) {
	reason := key + "=" + value
	at, before := -1, false
	for i, u := range s.files {
		if len(u.all(s.section, key)) > 0 {
			before = before || at >= 0
			at = i
		}
	}
	if at < 0 {
		u := s.home()
		if u == nil || packaged(u.name) {
			return nil, s.ofPackage(s.files[0], key+"="+value)
		}
		return []manifest.Edit{u.insert(s.section, key+"="+value, reason)}, nil
	}
	u := s.files[at]
	all := u.all(s.section, key)
	last := all[len(all)-1]
	if packaged(u.name) {
		return nil, s.ofPackage(u, key+"="+value)
	}
	var edits []manifest.Edit
	reset := before && lists[key] && value != "" // an empty value takes back by itself
	for _, a := range all[:len(all)-1] {
		if reset && len(a.value.Bytes) == 0 {
			reset = false // it stands there already
			continue
		}
		edits = append(edits, manifest.Edit{File: u.name, Start: a.start, End: a.end, Reason: "remove another " + key + "="})
	}
	if reset {
		edits = append(edits, manifest.Edit{File: u.name, Start: last.start, End: last.start, New: key + "=" + manifest.Newline(u.data, last.start), Reason: "take back what is assigned before"})
	}
	return append(edits, last.put(value, reason)), nil
}

// home is the file that a new setting goes to: the unit itself, or where that is a
// package's the last of its drop-ins that is not.
func (s *service) home() *unit {
	if u := s.files[0]; !packaged(u.name) && u.has(s.section) {
		return u
	}
	for _, u := range slices.Backward(s.files[1:]) {
		if !packaged(u.name) && u.has(s.section) {
			return u
		}
	}
	return nil
}

func (s *service) ofPackage(u *unit, setting string) error {
	key, _, _ := strings.Cut(setting, "=")
	lines := "[" + s.section + "] " + setting
	if lists[key] {
		lines = "[" + s.section + "] " + key + "= " + setting
	}
	return &refused{manifest.Pos{File: u.name}, "it is a package's file, which the next update replaces",
		"put it into a drop-in, with systemctl edit " + path.Base(s.files[0].name) + " (a line each): " + lines}
}

// put replaces the value of an assignment, continuations and all.
func (a *setting) put(value, reason string) manifest.Edit {
	u, at := a.in, a.at()
	start, end := at.Start, at.End
	if len(a.value.Bytes) == 0 {
		eq := a.keyEnd + bytes.IndexByte(u.data[a.keyEnd:], '=') + 1
		start = eq + len(u.data[eq:a.end]) - len(bytes.TrimLeft(u.data[eq:a.end], " \t"))
		end = start
	} else if bytes.IndexByte(u.data[start:a.end], '\\') >= 0 {
		end = a.start + len(trimEnd(u.data[a.start:a.end])) // a last line that is empty, too
		end = max(end, at.End)
	}
	return manifest.Edit{File: u.name, Start: start, End: end, New: value, Reason: reason}
}

// insert puts a line at the end of a section.
func (u *unit) insert(name, line, reason string) manifest.Edit {
	at := len(u.data)
	for _, sec := range u.sections {
		if sec.name == name {
			at = sec.end
		}
	}
	eol := manifest.Newline(u.data, max(at-1, 0))
	text := line + eol
	if at > 0 && u.data[at-1] != '\n' {
		text = eol + line
	}
	return manifest.Edit{File: u.name, Start: at, End: at, New: text, Reason: reason}
}

// yes is the true that the unit writes.
func (s *service) yes() string {
	for _, u := range s.files {
		for i := range u.settings {
			switch t := u.settings[i].text(); t {
			case "true", "on", "yes":
				return t
			}
		}
	}
	return "yes"
}

// words corrects and takes away single words of a list.
func (s *service) words(c *manifest.Container, w manifest.Want) ([]manifest.Edit, error) {
	var edits []manifest.Edit
	for _, x := range w.Correct {
		edits = append(edits, manifest.Edit{File: x.At.File, Start: x.At.Start, End: x.At.End, New: x.Word, Reason: "write " + x.Word})
	}
	for _, pos := range w.Remove {
		if !slices.ContainsFunc(c.Caps, func(r manifest.Request) bool { return r.Word.At == pos }) {
			return nil, &refused{pos, "no capability stands there", ""}
		}
	}
	for i, r := range c.Caps {
		if i > 0 && c.Caps[i-1].List == r.List {
			continue
		}
		var list []manifest.Pos
		var gone []bool
		left, some := false, false
		for _, o := range c.Caps {
			if o.List == r.List {
				g := slices.Contains(w.Remove, o.Word.At)
				list, gone = append(list, o.Word.At), append(gone, g)
				left, some = left || !g, some || g
			}
		}
		switch {
		case !some:
		case !left:
			return nil, &refused{r.List, "nothing would be left in the list, and an empty one takes all away", ""}
		default:
			u := s.files[slices.IndexFunc(s.files, func(u *unit) bool { return u.name == r.List.File })]
			edits = append(edits, u.cuts(list, gone)...)
		}
	}
	return edits, nil
}

// cuts take words out of a list, which has these words: each with the blanks before it,
// those at the beginning with the blanks behind. Something stays.
func (u *unit) cuts(list []manifest.Pos, gone []bool) []manifest.Edit {
	var edits []manifest.Edit
	for i := 0; i < len(list); i++ {
		if !gone[i] {
			continue
		}
		first := i
		for i+1 < len(list) && gone[i+1] {
			i++
		}
		e := manifest.Edit{File: u.name, Start: list[first].Start, End: list[i].End}
		e.Reason = "remove " + strings.Join(strings.Fields(string(u.data[e.Start:e.End])), " ")
		if first == 0 {
			e.End = list[i+1].Start
		} else {
			e.Start = list[first-1].End
		}
		edits = append(edits, e)
	}
	return edits
}

// joined makes one edit of those that begin at the same place: what is put in comes
// before what is put in the place of something.
func joined(edits []manifest.Edit) []manifest.Edit {
	var out []manifest.Edit
	for _, e := range edits {
		i := slices.IndexFunc(out, func(o manifest.Edit) bool {
			return o.File == e.File && o.Start == e.Start && (o.End == e.Start || e.End == e.Start)
		})
		switch {
		case i < 0:
			out = append(out, e)
			continue
		case e.End == e.Start && out[i].End > e.Start:
			out[i].New = e.New + out[i].New
		default:
			out[i].New += e.New
			out[i].End = max(out[i].End, e.End)
		}
		out[i].Reason += ", " + e.Reason
	}
	return out
}

// edited are the settings that a want may change.
var edited = map[string]bool{
	"CapabilityBoundingSet": true, "AmbientCapabilities": true, "NoNewPrivileges": true, "AddCapability": true, "DropCapability": true,
}

// verifyUnit compares what the parser sees, and then every other assignment as a second
// reader sees it, which shares no code with it.
func verifyUnit(parse func(manifest.Source) ([]*manifest.Container, error)) func(before, after manifest.Source, changes []manifest.Change) error {
	return func(before, after manifest.Source, changes []manifest.Change) error {
		x, _ := parse(before)
		y, _ := parse(after)
		names := map[string]bool{before.Name: true}
		for _, d := range dropIns(before) {
			names[d.name] = true
		}
		if err := manifest.Compare(x, y, changes); err != nil {
			return err
		}
		for name := range names {
			a, b := before.Data, after.Data
			if name != before.Name {
				var err error
				if a, err = before.Open(name); err != nil {
					return err
				}
				if b, err = after.Open(name); err != nil {
					return err
				}
			}
			if p, q := plain(a), plain(b); !slices.Equal(p, q) {
				return fmt.Errorf("%s: other settings would change", name)
			}
		}
		return nil
	}
}

// plain are the assignments of a unit but for those that may change, read line by line.
func plain(data []byte) []string {
	var list []string
	section := ""
	text := strings.ReplaceAll(string(data), "\r\n", "\n")
	lines := strings.Split(strings.TrimPrefix(text, "\ufeff"), "\n")
	for i := 0; i < len(lines); i++ {
		l := strings.Trim(lines[i], " \t")
		if l == "" || strings.HasPrefix(l, "#") || strings.HasPrefix(l, ";") {
			continue
		}
		if strings.HasPrefix(l, "[") {
			section = l
			continue
		}
		for strings.HasSuffix(l, `\`) && i+1 < len(lines) {
			i++
			if t := strings.TrimLeft(lines[i], " \t"); strings.HasPrefix(t, "#") || strings.HasPrefix(t, ";") {
				continue
			}
			l = l[:len(l)-1] + " " + strings.TrimRight(lines[i], " \t")
		}
		key, value, _ := strings.Cut(l, "=")
		if key = strings.TrimRight(key, " \t"); edited[key] {
			continue
		}
		if strings.HasPrefix(key, "Exec") && value != "" { // docker lines are compared as containers
			var words []string
			skip := false
			for _, w := range strings.Fields(value) {
				switch {
				case skip:
					skip = false
				case w == "--cap-add" || w == "--cap-drop" || w == "--security-opt":
					skip = true
				case strings.HasPrefix(w, "--cap-add=") || strings.HasPrefix(w, "--cap-drop=") || strings.HasPrefix(w, "--security-opt=") || strings.HasPrefix(w, "--privileged"):
				default:
					words = append(words, w)
				}
			}
			value = strings.Join(words, " ")
		}
		list = append(list, section+key+"="+value)
	}
	return list
}
